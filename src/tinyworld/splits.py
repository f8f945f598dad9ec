"""Cut the tiny world into train, validation and test problems that share no text."""

import json
import random
from pathlib import Path

from tinyworld.generators import DOMAINS, LANGUAGES, LEVELS, Problem, make_problem, normalise

SOURCE = "r1lab-tiny"
# split -> (levels, problems per domain x language x level); hard problems are kept for the test alone
SPLITS = {
    "test": (LEVELS, 25),
    "validation": (LEVELS[:2], 20),
    "train": (LEVELS[:2], 375),
}


def make_problems(seed: int) -> dict[str, list[Problem]]:
    """The problems of all three splits, deterministic by seed; no prompt appears twice, in one split or in two."""
    rng, seen = random.Random(seed), set()
    return {
        split: [
            problem
            for domain in DOMAINS
            for language in LANGUAGES
            for level in levels
            for problem in fresh_problems(rng, seen, domain, level, language, count)
        ]
        for split, (levels, count) in SPLITS.items()
    }


def make_splits(seed: int) -> dict[str, list[dict[str, str]]]:
    """`make_problems` as the rows that are written down."""
    return {
        split: [_row(f"{split}-{number:06d}", problem) for number, problem in enumerate(problems)]
        for split, problems in make_problems(seed).items()
    }


def fresh_problems(
    rng: random.Random, seen: set[str], domain: str, level: str, language: str, count: int
) -> list[Problem]:
    """`count` problems whose normalised prompts are not in `seen`, to which they are added."""
    problems = []
    while len(problems) < count:
        problem = make_problem(rng, domain, level, language)
        if normalise(problem.prompt) not in seen:
            seen.add(normalise(problem.prompt))
            problems.append(problem)
    return problems


def _row(name: str, problem: Problem) -> dict[str, str]:
    keys = ("prompt", "solution", "domain", "kind", "language", "level", "verifier", "tests")
    return {"id": name, **{key: getattr(problem, key) for key in keys}, "source": SOURCE}


def write_splits(splits: dict[str, list[dict[str, str]]], folder: Path) -> None:
    """Write one JSON Lines file a split."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
