"""CONTRIBUTING shows how to add a reward, a verifier, a problem source and a stage: this test does exactly that."""

import re
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from r1lab import cli, recipe, rewards
from r1lab.problems import adapters, hub
from r1lab.rewards import grade, make_reward, reward_set
from r1lab.scale import SCALES
from r1lab.stages import runner

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTION = TEXT.split("## Add a reward")[1].split("\n## ")[0]
BLOCKS = re.findall(r"```python\n(.*?)```", SECTION, re.S)
(REWARD, REWARD_LINE, VERIFIER, VERIFIER_LINE, SOURCE, SOURCE_LINE, STAGE, STAGE_LINE) = BLOCKS
SMALL = replace(SCALES["tiny"], groups=2, group_size=2, max_completion_tokens=16)


@pytest.fixture
def add_module(tmp_path, monkeypatch):
    """A function that adds a file to a package, for one test."""

    def add(package, name, source):
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        module = import_module(f"{package.__name__}.{name}")
        # Nothing of it stays for other tests.
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.delattr(package, name)
        return module

    return add


@pytest.fixture
def brevity(add_module, monkeypatch):
    module = add_module(rewards, "brevity", REWARD)
    (kind,) = eval(f"({REWARD_LINE})", vars(module))
    monkeypatch.setitem(rewards.REWARDS, kind.name, kind)


def test_a_reward(brevity):
    assert make_reward("brevity", limit=2)(["one two", "one two three"]) == [1.0, 0.0]
    assert reward_set({"accuracy": 1.0, "brevity": 0.2})["reward_weights"] == [1.0, 0.2]


def test_a_verifier(add_module, monkeypatch):
    module = add_module(rewards, "palindrome", VERIFIER)
    (kind,) = eval(f"({VERIFIER_LINE})", vars(module))
    monkeypatch.setitem(rewards.VERIFIERS, kind.verifier, kind)
    row = {"verifier": "palindrome", "solution": "5"}
    answers = {"level": True, "noon": False, "lever": False}
    for answer, right in answers.items():
        text = f"<think>hm</think> <answer>{answer}</answer>"
        assert grade(text, row, require_tags=True) is right
        columns = {"solution": ["5", "7"], "verifier": ["palindrome", "math"]}
        assert make_reward("palindrome")([text, text], **columns) == [float(right), None]


def test_a_problem_source(tmp_path, monkeypatch):
    names = {**vars(adapters)}
    exec(SOURCE, names)
    monkeypatch.setitem(hub.SOURCES, "riddles", eval(f"{{{SOURCE_LINE}}}", names)["riddles"])
    file = tmp_path / "riddles.jsonl"
    file.write_text('{"question": "Legs of two cats?", "answer": 8}\n{"question": "", "answer": 1}\n')
    rows, dropped = hub.load_source("riddles", file=file)
    (row,) = rows
    assert (row["prompt"], row["solution"], row["level"]) == ("Legs of two cats?", "8", "easy")
    assert dropped == {"blank": 1}


def test_a_stage(brevity, add_module, monkeypatch, tmp_path, capsys):
    from r1lab import stages

    add_module(stages, "short", STAGE)
    added = eval(f"{{{STAGE_LINE}}}", vars(recipe))
    monkeypatch.setitem(recipe.STAGES, "short", added["short"])
    monkeypatch.setitem(recipe.VARIANTS, "short", ("short", {}))
    run = runner.train_stage("short", SMALL, tmp_path / "out", max_steps=1, save_strategy="no", weight=0.3)
    assert [row for row in run["history"] if "rewards/brevity/mean" in row]
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "brief R1-Zero" in card and "0.3 brevity" in card and "cold start SFT" in card
    # The command is made from the table.
    with pytest.raises(SystemExit):
        cli.main_stage("short", ["--help"])
    assert "cold start SFT to start from" in " ".join(capsys.readouterr().out.split())
