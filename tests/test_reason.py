"""The reasoning stage: its rewards, its selection of problems, a few steps; the whole run is in notebook 06."""

import json
from dataclasses import replace

import pytest
from helpers import SMALL, ScriptedPolicy, stand_in

from r1lab.stages import reason
from r1lab.stages.checkpoints import RECORD
from r1lab.stages.reason import reason_rewards, unsolved_problems
from r1lab.stages.runner import train_stage

SHORT = "<think>First 1+2=3.</think> <answer>3</answer>"
LONG = "<think>First 1+2=3. Then 3+4=7. Then 7+1=8. Then 8-5=3.</think> <answer>3</answer>"
MIXED = "<think>First 1+2=3. Lalu 3+4=7.</think> <answer>7</answer>"
NO_WORDS = "<think>1+2=3.</think> <answer>3</answer>"


def weights(rewards: dict) -> dict[str, float]:
    names = [function.__name__ for function in rewards["reward_funcs"]]
    return dict(zip(names, rewards["reward_weights"], strict=True))


def test_chains_in_one_language_earn_the_same_whatever_their_length():
    assert weights(reason_rewards())["language_consistency"] == 0.5
    assert weights(reason_rewards(0.0))["language_consistency"] == 0.0, "the ablation"

    def scores(texts: list[str], **options) -> list[float]:
        rewards = reason_rewards(**options)
        index = list(weights(rewards)).index("language_consistency")
        return rewards["reward_funcs"][index](texts, language=["en"] * len(texts))

    assert scores([SHORT, LONG, MIXED, NO_WORDS]) == [1.0, 1.0, 0.5, 0.5]
    short, long = scores([SHORT, LONG], smoothing=1.0)
    assert short < long, "the smoothed reward prefers more words, which is why this stage does not smooth"


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        ([SHORT] * 4, ["7"]),
        ([SHORT] * 3 + [MIXED.replace("7</", "8</")], ["3", "7"]),
        # Without tags an answer earns nothing.
        ([SHORT] * 2 + ["The answer is 3."] * 2, ["3", "7"]),
    ],
)
def test_only_what_is_solved_every_time_is_dropped(texts, kept):
    problems = [{"prompt": "1+2?", "language": "en", "solution": s, "verifier": "math"} for s in ("3", "7")]
    policy = ScriptedPolicy({"1+2?": ("", texts)})
    assert [p["solution"] for p in unsolved_problems(policy, problems, SMALL)] == kept
    assert policy.calls[0][1]["samples"] == len(texts)


def test_a_step_starts_from_the_cold_start_and_leaves_a_card(tmp_path, monkeypatch):
    monkeypatch.setattr(reason, "CANDIDATES", 6)
    monkeypatch.setattr(reason, "CHECKED", 4)
    folders = {"cold_start": stand_in(tmp_path / "cold_start", "cold_start")}
    scale = replace(SMALL, max_completion_tokens=24)
    run = train_stage("reason", scale, tmp_path / "out", folders=folders, max_steps=1, save_strategy="no")
    assert ["rewards/language_consistency/mean" in row for row in run["history"] if "reward" in row] == [True]
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert record["stage"] == "reason" and record["parents"] == {"cold_start": "cold_start"}
    assert "1 steps" in record["recipe"] and "0.5 language" in record["recipe"]
    assert 0 < run["facts"]["problems"] <= 6, "the base solves hardly anything every time"
    assert run["facts"]["checks"]["completions"] == 4 * reason.TRIES
