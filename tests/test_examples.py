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


def test_a_third_language_is_rewarded_like_the_others(capsys):
    module = example("own_language")
    assert not module["JAVANESE"] & (languages.ENGLISH | languages.INDONESIAN)
    try:
        javanese, mixed, english, silent = module["main"]()
    finally:
        for known in (languages.WORDS, prompts.ZERO, prompts.DIRECT):
            known.pop("jv", None)
    assert javanese == 1.0 and 0 < mixed < 1 and english == 0.0 and silent == 0.5


def test_a_line_that_is_no_problem_and_a_solution_that_the_grader_refuses_are_named(tmp_path):
    module, path = example("own_problems"), tmp_path / "mine.jsonl"
    rows = module["read_problems"](module["MARKET"])
    assert module["unreadable"](rows) == []
    assert module["unreadable"]([{**rows[0], "solution": "Prove that it is even."}]) == [rows[0]["prompt"]]
    path.write_text('{"prompt": "1+1?", "solution": "2"}\n{"prompt": "1+1?", "solution": ""}\n')
    with pytest.raises(ValueError, match=r"line 2 of mine\.jsonl"):
        module["read_problems"](path)


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
    found = example("own_reward")["main"](["--steps", "1"])
    first, last = found["rewards/brief_if_right/mean"]
    assert 0 <= first == last <= 1
