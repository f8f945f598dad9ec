"""The reasoning stage: what it pays for, what a few steps do, and what its facts count; the whole run is in notebook 06."""

import json
from dataclasses import replace

import pytest

from r1lab.policy import Sample
from r1lab.rewards import make_reward
from r1lab.scale import DATA, SCALES
from r1lab.stages import reason
from r1lab.stages.checkpoints import RECORD
from r1lab.stages.reason import ARMS, reason_rewards, train_reason, unsolved_problems

SMALL = replace(SCALES["tiny"], groups=4, group_size=4, max_completion_tokens=48)
SHORT = "<think>First 1+2=3.</think> <answer>3</answer>"
LONG = "<think>First 1+2=3. Then 3+4=7. Then 7+1=8. Then 8-5=3.</think> <answer>3</answer>"
MIXED = "<think>First 1+2=3. Lalu 3+4=7.</think> <answer>7</answer>"


@pytest.fixture
def cold_start(tmp_path):
    """A folder that passes for the cold start's checkpoint: the base model under its name."""
    folder = tmp_path / "cold_start"
    folder.mkdir()
    for path in (DATA / "models" / "tiny-base").iterdir():
        (folder / path.name).symlink_to(path)
    (folder / RECORD).write_text(json.dumps({"stage": "cold_start"}))
    return folder


@pytest.fixture
def few_problems(monkeypatch):
    monkeypatch.setattr(reason, "PROBED", 6)
    monkeypatch.setattr(reason, "COUNTED", 4)


def weights(rewards: dict) -> dict[str, float]:
    names = [function.__name__ for function in rewards["reward_funcs"]]
    return dict(zip(names, rewards["reward_weights"], strict=True))


def language_paid(texts: list[str], **options) -> list[float]:
    rewards = reason_rewards(**options)
    place = list(weights(rewards)).index("language_consistency")
    return rewards["reward_funcs"][place](texts, language=["en"] * len(texts))


def test_the_language_is_paid_and_in_the_ablation_only_watched():
    assert weights(reason_rewards()) == {
        "accuracy": 1.0,
        "logic": 1.0,
        "code": 1.0,
        "countdown": 1.0,
        "format": 0.5,
        "language_consistency": 0.5,
        "self_check": 0.0,
        "language_share_of_target": 0.0,
    }
    assert weights(reason_rewards(0.0))["language_consistency"] == 0.0


def test_a_longer_chain_in_one_language_is_not_paid_more():
    assert language_paid([SHORT, LONG, MIXED]) == [1.0, 1.0, 0.5]
    short, long, _ = language_paid([SHORT, LONG, MIXED], smoothing=1.0)
    assert short < long  # the smoothed reward pays words, which is why this stage does not smooth


def test_a_chain_without_words_does_not_earn_what_a_consistent_one_earns():
    bare = "<think>1+2=3.</think> <answer>3</answer>"
    assert language_paid([bare, SHORT]) == [0.5, 1.0]


def test_a_right_answer_beats_the_right_language():
    paid = weights(reason_rewards())
    assert paid["accuracy"] > paid["language_consistency"] / 2  # what a mixed chain can lose


def test_smoothing_below_zero_is_refused():
    with pytest.raises(ValueError, match="smoothing is -1"):
        make_reward("language_consistency", smoothing=-1)


def test_a_few_steps_start_from_the_cold_start_and_leave_a_card(tmp_path, cold_start, few_problems):
    run = train_reason(
        SMALL, tmp_path / "out", folders={"cold_start": cold_start}, max_steps=2, save_strategy="no"
    )
    steps = [row for row in run["history"] if "reward" in row]
    assert [row["step"] for row in steps] == [1, 2]
    assert all("rewards/language_consistency/mean" in row for row in steps)
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert record["stage"] == "reason" and record["parents"] == {"cold_start": "cold_start"}
    assert "2 steps" in record["recipe"] and "0.5 language" in record["recipe"]
    assert 0 < run["facts"]["problems"] <= 6  # the base solves hardly anything every time
    assert run["facts"]["checks"]["completions"] == 4 * reason.TRIES


class Fixed:
    """A policy that gives the same texts to every problem."""

    def __init__(self, *texts):
        self.texts = texts

    def generate(self, prompts, *, samples, temperature, seed, max_new_tokens):
        assert samples == len(self.texts)
        return [[Sample(text, 10, False) for text in self.texts] for _ in prompts]


def test_only_what_is_solved_every_time_is_left_out():
    problems = [{"prompt": "1+2?", "language": "en", "solution": s, "verifier": "math"} for s in ("3", "7")]
    wrong = MIXED.replace("7</", "8</")
    for texts, kept in (
        ([SHORT] * 4, ["7"]),
        ([SHORT] * 3 + [wrong], ["3", "7"]),
        ([SHORT] * 2 + ["The answer is 3."] * 2, ["3", "7"]),  # without tags it is not paid
    ):
        assert [p["solution"] for p in unsolved_problems(Fixed(*texts), problems, SMALL)] == kept


def test_a_missing_or_wrong_parent_is_refused_with_the_command(tmp_path, cold_start):
    with pytest.raises(FileNotFoundError, match="python -m r1lab cold_start"):
        train_reason(SMALL, tmp_path / "out", folders={"cold_start": tmp_path / "nowhere"})
    with pytest.raises(ValueError, match="checkpoint of stage 'cold_start', not 'zero'"):
        ARMS["reason-zero"](SMALL, tmp_path / "out", folders={"zero": cold_start})
    assert not (tmp_path / "out").exists()
