"""The three worked examples and the replay of a run do what the documents say they do."""

import json
import re
import runpy
import sys

import pytest
from course import ROOT

from r1lab import languages, prompts


def example(name: str) -> dict:
    return runpy.run_path(str(ROOT / "examples" / f"{name}.py"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("R1LAB_OUTPUT", str(tmp_path))


def test_a_third_language_is_paid_like_the_others(capsys):
    try:
        javanese, mixed, english, silent = example("own_language")["main"]()
    finally:
        for known in (languages.WORDS, prompts.ZERO, prompts.DIRECT):
            known.pop("jv", None)
    assert javanese == 1.0 and 0 < mixed < 1 and english == 0.0 and silent == 0.5
    assert "Javanese   1.00   raised" in capsys.readouterr().out
    assert not example("own_language")["JAVANESE"] & (languages.ENGLISH | languages.INDONESIAN)


def test_a_line_that_is_no_problem_is_named(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "1+1?", "solution": "2"}\n{"prompt": "1+1?", "solution": ""}\n')
    with pytest.raises(ValueError, match=r"line 2 of mine\.jsonl"):
        example("own_problems")["read_problems"](path)


def test_problems_of_different_verifiers_train_together(tmp_path):
    """A dataset takes its columns from the first row: countdown's `numbers` and `target` must not get lost."""
    from r1lab.rewards import make_reward
    from r1lab.scale import get_scale
    from r1lab.stages.zero import training_set

    path = tmp_path / "mine.jsonl"
    sums = {"prompt": "1+1?", "solution": "2"}
    countdown = {"prompt": "Make 7.", "verifier": "countdown", "numbers": [3, 4], "target": 7}
    path.write_text(json.dumps(sums) + "\n" + json.dumps(countdown) + "\n")
    module = example("own_problems")
    rows = module["read_problems"](path)
    assert [row["id"] for row in rows] == ["mine-1", "mine-2"] and module["unreadable"](rows) == []
    columns = training_set(rows, get_scale("tiny")).to_dict()
    texts = ["<think>a</think> <answer>3+4</answer>"] * 2
    assert sorted(make_reward("countdown")(texts, **columns), key=str) == [1.0, None]


def test_a_solution_that_the_grader_refuses_is_found():
    module = example("own_problems")
    rows = module["read_problems"](module["MARKET"])
    assert module["unreadable"](rows) == []
    assert module["unreadable"]([{**rows[0], "solution": "Prove that it is even."}]) == [rows[0]["prompt"]]
    for row in rows:  # the shipped solutions are right
        has, buys, sells = map(int, re.findall(r"\d+", row["prompt"]))
        assert row["solution"] == str(has + buys - sells)


def test_the_replay_is_the_recorded_run(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["replay.py", "--seed", "1", "--seconds", "0"])
    runpy.run_path(str(ROOT / "workshop" / "replay.py"), run_name="__main__")
    printed = capsys.readouterr().out
    run = json.loads((ROOT / "data" / "runs" / "zero-1.json").read_text())
    greedy = run["report"]["overall"]["greedy_accuracy"]
    assert f"R1-Zero  greedy accuracy {100 * greedy['value']:.0f} % [{100 * greedy['low']:.0f}" in printed
    assert len(re.findall(r"^ +\d+ ", printed, re.MULTILINE)) == len(run["history"]) // 10


@pytest.mark.slow
def test_own_problems_train():
    history = example("own_problems")["main"](["--steps", "1"])
    assert len(history) == 1 and history[0]["rewards/accuracy/mean"] is not None


@pytest.mark.slow
def test_own_reward_trains():
    means = example("own_reward")["main"](["--steps", "1"])
    first, last = means["rewards/brief_if_right/mean"]
    assert 0 <= first == last <= 1
