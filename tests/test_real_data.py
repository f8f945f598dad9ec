"""The rewards on real rows, which are not in the repository: R1LAB_REAL_DATA names the folder that holds them.

gsm8k_test.jsonl and HumanEval.jsonl.gz, as their authors publish them; both MIT.
"""

import os
import re
from pathlib import Path

import pytest

from r1lab.problems.adapters import SOURCES
from r1lab.problems.hub import load_source
from r1lab.problems.rows import read_lines
from r1lab.prompts import format_completion
from r1lab.rewards import make_reward

FOLDER = Path(os.environ.get("R1LAB_REAL_DATA") or "no-such-folder")


def rows(key, count):
    """All rows of a benchmark; every published row must be found sound, which includes that its gold verifies."""
    path = FOLDER / SOURCES[key].benchmark
    if not path.is_file():
        pytest.skip(f"no {path.name}: set R1LAB_REAL_DATA to the folder that holds it")
    made, dropped = load_source(key, file=path)
    assert (len(made), dict(dropped)) == (count, {})
    return made


def test_every_gsm8k_gold_verifies_itself_and_none_verifies_the_next_number():
    golds = [row["solution"] for row in rows("gsm8k", 1319)]
    wrong = [str(int(gold.replace(",", "")) + 1) for gold in golds]
    reward = make_reward("accuracy")
    for form in ("{}", "\\boxed{{{}}}", "The answer is {}."):
        for answers, expected in ((golds, 1.0), (wrong, 0.0)):
            completions = [format_completion("x", form.format(answer)) for answer in answers]
            assert reward(completions, solution=golds) == [expected] * 1319


def test_the_last_sentences_of_gsm8k_are_read_with_their_dollars_and_chains():
    """1,286 of 1,319; the others give their answer in words."""
    problems = rows("gsm8k", 1319)
    published = read_lines(FOLDER / SOURCES["gsm8k"].benchmark, "it is cut off")
    texts = [re.sub(r"<<.*?>>", "", row["answer"]).partition("####")[0].strip() for row in published]
    completions = [f"<think>x</think>\n{text}" for text in texts]
    golds = [row["solution"].replace(",", "") for row in problems]
    reward = make_reward("reasoning_accuracy", budget_s=600.0)
    assert sum(reward(completions, solution=golds)) >= 1270
    assert sum(reward(completions, solution=[str(int(gold) + 1) for gold in golds])) == 0


def test_every_canonical_humaneval_solution_passes_and_no_empty_one_does():
    problems = rows("humaneval", 164)
    heads = [row["prompt"].partition("\n\n")[2] for row in problems]
    completions = [format_completion("x", f"{head}    pass\n") for head in heads]
    reward = make_reward("code", budget_s=600.0)
    assert not any(reward(completions, tests=[row["tests"] for row in problems]))
