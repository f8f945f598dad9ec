"""Cut the tiny world into train, validation and test problems that share no text."""

import json
import random
from pathlib import Path

from r1lab.tiny.generators import DOMAINS, LANGUAGES, LEVELS, make_problem, normalise

SOURCE = "r1lab-tiny"
# split -> (levels, problems per domain x language x level); hard problems are kept for the test alone
SPLITS = {
    "test": (LEVELS, 25),
    "validation": (LEVELS[:2], 20),
    "train": (LEVELS[:2], 375),
}


def make_splits(seed: int) -> dict[str, list[dict[str, str]]]:
    """All three splits, deterministic by seed; no prompt appears twice, in one split or in two."""
    rng, seen, splits = random.Random(seed), set(), {}
    for split, (levels, count) in SPLITS.items():
        rows = []
        for domain in DOMAINS:
            for language in LANGUAGES:
                for level in levels:
                    rows += _fresh(rng, seen, domain, level, language, count)
        splits[split] = [{"id": f"{split}-{number:06d}", **row} for number, row in enumerate(rows)]
    return splits


def _fresh(rng, seen: set[str], domain: str, level: str, language: str, count: int) -> list[dict[str, str]]:
    rows = []
    while len(rows) < count:
        problem = make_problem(rng, domain, level, language)
        if normalise(problem.prompt) in seen:
            continue
        seen.add(normalise(problem.prompt))
        rows.append(
            {
                "prompt": problem.prompt,
                "solution": problem.solution,
                "domain": domain,
                "kind": problem.kind,
                "language": language,
                "level": level,
                "verifier": problem.verifier,
                "tests": problem.tests,
                "source": SOURCE,
            }
        )
    return rows


def write_splits(splits: dict[str, list[dict[str, str]]], folder: Path) -> None:
    """Write one JSON Lines file a split."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
