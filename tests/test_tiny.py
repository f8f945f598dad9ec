"""The tiny world: every problem solves itself, the splits are disjoint, everything follows from its seed."""

import json
import random
import re
from collections import Counter, defaultdict
from itertools import islice

import pytest

from r1lab.problems import load_problems, take_balanced
from r1lab.prompts import format_completion
from r1lab.rewards import grade_many
from tinyworld import corpus
from tinyworld.build import SEEDS, build_problems
from tinyworld.chain import OPERATORS, ChainWriter, Habits
from tinyworld.generators import DOMAINS, LANGUAGES, LARGEST, LEVELS, make_problem, normalise
from tinyworld.splits import make_splits

CELLS = [(domain, level, language) for domain in DOMAINS for level in LEVELS for language in LANGUAGES]
SUM = re.compile(r"(\d+)([-+*/])(\d+)=(-?\d+)")


def problems(count, seed=0):
    rng = random.Random(seed)
    return [make_problem(rng, *cell) for cell in CELLS for _ in range(count)]


def test_careful_reasoning_reaches_the_solution():
    for problem in problems(40):
        writer = ChainWriter(problem.language, random.Random(0))
        assert problem.reason(writer) == problem.solution, problem.prompt
        for left, sign, right, result in SUM.findall(writer.text):
            assert OPERATORS[sign](int(left), int(right)) == int(result) >= 0


def test_take_balanced_keeps_the_order_of_levels_and_loses_nothing():
    rows = load_problems("test")
    few = take_balanced(rows, 48)
    assert list(dict.fromkeys(row["level"] for row in few)) == ["easy", "medium", "hard"]
    cells = [(row["domain"], row["language"], row["level"]) for row in few]
    assert len(set(cells)) == 24 and len(set(cells[:24])) == 24
    everything = take_balanced(rows + rows[:1], len(rows) + 9)
    assert sorted(row["id"] for row in everything) == sorted(row["id"] for row in rows + rows[:1])


def test_every_shipped_solution_verifies_itself_and_no_other_problem():
    rows = take_balanced(load_problems("test"), 240)
    right = [format_completion("worked out", row["solution"]) for row in rows]
    assert all(grade_many(right, rows, require_tags=True))
    # The solution of the next problem in the same cell must fail wherever it is a different answer.
    others = rows[24:] + rows[:24]
    same = [row["solution"] == other["solution"] for row, other in zip(rows, others, strict=True)]
    assert [bool(v) for v in grade_many(right[24:] + right[:24], rows, require_tags=True)] == same


def test_levels_differ_by_the_number_of_links_alone():
    links = defaultdict(set)
    for problem in problems(30):
        writer = ChainWriter(problem.language, random.Random(0))
        problem.reason(writer)
        links[problem.kind, problem.level].add(len(writer.sentences))
        assert all(int(number) <= LARGEST + 40 for number in re.findall(r"\d+", problem.prompt))
    for kind in {kind for kind, _ in links}:
        assert max(links[kind, "easy"]) < min(links[kind, "medium"])
        assert max(links[kind, "medium"]) < min(links[kind, "hard"])


def test_a_slip_changes_the_answer_and_a_check_repairs_it():
    careless, repaired, wrong = Habits(slip=1.0), Habits(slip=1.0, check_after_slip=1.0), 0
    for problem in problems(5):
        wrong += problem.reason(ChainWriter(problem.language, random.Random(1), careless)) != problem.solution
        writer = ChainWriter(problem.language, random.Random(1), repaired)
        assert problem.reason(writer) == problem.solution
        assert "check:" in writer.text or "cek:" in writer.text
    assert wrong > 0.9 * 5 * len(CELLS)


def test_splits_are_balanced_disjoint_and_hard_only_in_test():
    splits = {split: load_problems(split) for split in ("train", "validation", "test")}
    assert len(splits["train"]) >= 5000 and len(splits["test"]) >= 500
    texts = [normalise(row["prompt"]) for rows in splits.values() for row in rows]
    assert len(texts) == len(set(texts))
    cells = Counter((row["domain"], row["language"], row["level"]) for row in splits["test"])
    assert len(cells) == len(CELLS) and len(set(cells.values())) == 1
    assert not any(row["level"] == "hard" for split in ("train", "validation") for row in splits[split])
    for row in splits["test"]:
        if row["domain"] == "code":  # hidden tests are hidden
            cases = {arguments[0] for arguments, _ in json.loads(row["tests"])["cases"]}
            assert len(cases) >= 4 and not {*map(int, re.findall(r"f\((\d+)\)", row["prompt"]))} & cases


def test_splits_are_the_ones_their_seed_makes(tmp_path):
    build_problems(tmp_path)
    made = [json.loads(line) for line in (tmp_path / "problems" / "test.jsonl").read_text().splitlines()]
    assert made == load_problems("test")
    assert make_splits(SEEDS["problems"] + 1)["test"] != made


@pytest.mark.slow
def test_pretraining_never_sees_a_problem_of_any_split():
    rows = [row for split in ("train", "validation", "test") for row in load_problems(split)]
    exclude = frozenset(normalise(row["prompt"]) for row in rows)
    # A world so small that unguarded documents would collide with these prompts for certain:
    seen = {normalise(row["prompt"]) for row in islice(corpus.documents(0), 60_000)}
    guarded = {normalise(row["prompt"]) for row in islice(corpus.documents(0, exclude), 60_000)}
    assert seen & exclude
    assert not guarded & exclude
