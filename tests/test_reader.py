"""Reading chains of thought: every kind of mistake is made on purpose, in every kind of problem, and found."""

import random

import pytest

from r1lab.problems import load_problems
from r1lab.prompts import format_completion
from tinyworld.chain import CAREFUL, ChainWriter, Habits
from tinyworld.reader import _problems, find_mistake

KINDS = ("arithmetic", "equation", "ordering", "truth", "code")
TEST = load_problems("test")
EGGS = next(row for row in TEST if row["prompt"].startswith("Intan has 14 eggs. Intan has 2 times as many."))


def rows(kind):
    return [row for row in TEST if row["kind"] == kind]


def work_out(row, habits=CAREFUL):
    writer = ChainWriter(row["language"], random.Random(1), habits)
    answer = _problems()[row["prompt"]].reason(writer)
    return writer.sentences, answer


def read(sentences, answer, row):
    return find_mistake(format_completion(" ".join(sentences), answer), row)


def test_the_problems_made_again_are_those_of_the_files():
    for row in TEST:
        problem = _problems()[row["prompt"]]
        assert (problem.solution, problem.kind, problem.tests) == (row["solution"], row["kind"], row["tests"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_chain_is_read_to_its_end_and_a_cut_or_a_wrong_one_is_not(kind):
    for row in rows(kind)[::3]:
        sentences, answer = work_out(row)
        assert answer == row["solution"]
        assert read(sentences, answer, row) == "right steps, wrong answer"
        if len(sentences) > 1:
            assert read(sentences[:-1], answer, row) == "stopped early"
        if kind == "code" and row["level"] == "hard":
            continue  # a slip may make the next quotient round down there
        sentences, answer = work_out(row, Habits(slip=1.0))
        assert read(sentences, answer, row) == "slip"
        sentences, answer = work_out(row, Habits(slip=1.0, check_after_slip=1.0, check_idle=1.0))
        assert read(sentences, answer, row) == "right steps, wrong answer"
    row = next(row for row in rows(kind) if row["level"] == "hard")
    sentences, answer = work_out(row)
    for index, name in ((0, "wrong first step"), (2, "wrong later step")):
        moved = sentences.copy()
        moved[index] = f"Then {sentences[index - 1].split(' ', 1)[1]}"
        assert read(moved, answer, row) == name


def test_what_needs_no_reading():
    assert EGGS["solution"] == "56"
    assert find_mistake("First 14*2=28. Then 28+", EGGS, truncated=True) == "cut off"
    assert find_mistake("<think>Hm.</think> <answer></answer>", EGGS) == "no answer"
    assert find_mistake("The answer is 57.", EGGS) == "no working"
    slip_at_the_end = "First 14*2=28. Lalu 28+28=56. So the answer is 57."
    assert find_mistake(slip_at_the_end, EGGS) == "right steps, wrong answer"
    with pytest.raises(ValueError, match="gsm8k-1 is no problem of the tiny world"):
        find_mistake("The answer is 3.", {"id": "gsm8k-1", "prompt": "1+2?", "verifier": "math"})
