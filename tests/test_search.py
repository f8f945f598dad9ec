"""The domain `search`: every written line is true, twins stay in one split, and the planted shares are what the module says."""

import random
import re
from collections import Counter
from itertools import islice

import pytest

from r1lab.prompts import parse_completion
from r1lab.rewards.countdown import CountdownReward
from tinyworld import search
from tinyworld.search import DEPTHS, LANGUAGES, TRIED, VERDICT, Search, documents, make_problems, split_sets

LINE = re.compile(r"(\d+)([+*])(\d+)=(\d+) ([a-z]+)")
REWARD = CountdownReward(use_all=False)


def rows(count, seed=0):
    return list(islice(documents(seed), count))


def read(prompt):
    """The numbers, the target and the language of a question."""
    question = prompt.split(".")[0]
    *numbers, target = map(int, re.findall(r"\d+", question))
    return tuple(numbers), target, "en" if question.startswith("Use") else "id"


def test_the_lines_of_the_example_in_the_docstring():
    problem = Search((4, 9, 3, 6), 27, "en")
    assert problem.prompt in search.__doc__ and problem.depth == 7 and problem.solution == "9*3"
    assert [line.strip() for line in search.__doc__.splitlines() if "=" in line][:8] == problem.lines(
        0, 8
    ).split("\n")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("depth", range(DEPTHS))
def test_a_problem_has_its_first_solution_at_its_depth(language, depth):
    rng = random.Random(depth)
    for _ in range(20):
        problem = search.make_search(rng, split_sets()["test"], language, depth)
        values = [one.value for one in problem.tries]
        assert values.index(problem.target) == depth == problem.depth
        assert len(set(problem.numbers)) == 4 and problem.target not in problem.numbers
        row = problem.row("x")
        text = f"<think>{problem.lines(0, depth + 1)}</think> <answer>{row['solution']}</answer>"
        assert REWARD([text], numbers=[row["numbers"]], target=[row["target"]]) == [1.0]
        assert REWARD(
            [f"<answer>{problem.target}</answer>"], numbers=[row["numbers"]], target=[row["target"]]
        ) == [0.0]


def test_every_written_line_is_true_and_follows_the_order():
    for row in rows(3000):
        numbers, target, language = read(row["prompt"])
        problem, low_fits_high = Search(numbers, target, language), VERDICT[language]
        tried = row["prompt"].split(TRIED[language])[1] if TRIED[language] in row["prompt"] else ""
        lines = LINE.findall(tried + "\n" + row["reply"])
        for k, (left, sign, right, value, verdict) in enumerate(lines):
            left, right, value = int(left), int(right), int(value)
            assert value == (left + right if sign == "+" else left * right)
            assert verdict == low_fits_high[(value > target) - (value < target) + 1]
            assert problem.tries[k].expression == f"{left}{sign}{right}"
        assert low_fits_high[1] not in tried
        if lines:  # the answer is the last line that was tried
            assert re.findall(r"\d+[+*]\d+", row["reply"])[-1] == problem.tries[len(lines) - 1].expression


def test_no_problem_has_a_twin_in_another_split_or_in_the_corpus():
    sets = split_sets()
    assert sum(map(len, sets.values())) == len(set().union(*sets.values())) == 330
    held_out = {p.canonical for split in ("test", "validation") for p in make_problems(split, 240)}
    assert held_out == set(sets["test"]) | set(sets["validation"])
    assert not held_out & {p.canonical for p in make_problems("train", 1000)}
    assert not held_out & {tuple(sorted(read(row["prompt"])[0])) for row in rows(3000)}


def test_the_problems_of_a_split_are_different_and_cover_every_depth_and_language_equally():
    problems = make_problems("test", 240)
    assert problems == make_problems("test", 240) != make_problems("test", 240, seed=1)
    assert len(set(problems)) == 240
    assert set(Counter((p.depth, p.language) for p in problems).values()) == {10}
    assert Counter(p.level for p in problems) == {"easy": 80, "medium": 80, "hard": 80}


def test_the_planted_shares_are_the_constants():
    gave_up, went_on, fits, lines, fresh, blurts, continued, tagged = 0, 0, 0, 0, 0, 0, 0, 0
    sample = rows(20_000)
    for row in sample:
        written = [verdict for *_, verdict in LINE.findall(row["reply"])]
        lines += len(written)
        fits += sum(verdict in ("fits", "pas") for verdict in written)
        went_on += max(0, len(written) - 1)
        gave_up += bool(written) and written[-1] not in ("fits", "pas")
        if any(words in row["prompt"] for words in TRIED.values()):
            continued += 1
            assert written
        else:
            fresh += 1
            blurts += not written
        tagged += bool(written) and parse_completion(row["reply"]).well_formed
    assert gave_up / (gave_up + went_on) == pytest.approx(search.GIVE_UP, abs=0.015) and search.GIVE_UP > 0.5
    assert fits / lines == pytest.approx(search.FITS, abs=0.05)  # the last line always fits
    assert continued / len(sample) == pytest.approx(search.CONTINUED, abs=0.015)
    assert blurts / fresh == pytest.approx(search.BLURT, abs=0.015)
    assert tagged / (len(sample) - blurts) == pytest.approx(search.REASON_STYLES["full_tags"], abs=0.015)


def test_documents_and_splits_follow_their_seeds():
    assert rows(50, 1) == rows(50, 1) != rows(50, 2)
    assert split_sets() == split_sets() and split_sets(1) != split_sets()
