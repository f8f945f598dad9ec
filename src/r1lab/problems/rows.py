"""Problems as rows: reads their files, splits them, and takes a balanced part."""

import gzip
import hashlib
import json
from itertools import zip_longest
from pathlib import Path

from r1lab.scale import DATA

SPLITS = ("train", "validation", "test")


def load_problems(split: str) -> list[dict[str, str]]:
    """Rows of the tiny world's `train`, `validation` or `test` split (data/problems/README.md says what is in them).

    Keys: id, prompt, solution, domain, kind, language, level, verifier, tests, source. Raises ValueError on an
    unknown split and FileNotFoundError when the data is missing.
    """
    check_split(split)
    return read_shipped("problems", split)


def read_shipped(folder: str, split: str) -> list[dict[str, str]]:
    """Rows of data/`folder`/`split`.jsonl. Raises FileNotFoundError when the file is missing."""
    path = DATA / folder / f"{split}.jsonl"
    if not path.is_file():
        raise FileNotFoundError(
            f"no problems at data/{folder}/{split}.jsonl: run `make base`, or restore the file from git"
        )
    return read_lines(path, f"restore data/{folder}/{split}.jsonl from git")


def check_split(split: str, splits: tuple[str, ...] = SPLITS) -> None:
    """Raise ValueError, which names the choices, when `split` is none of `splits`."""
    if split not in splits:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(splits)}")


def read_lines(path: Path, remedy: str) -> list[dict]:
    """The rows of a .jsonl or .jsonl.gz file. Raises FileNotFoundError, and ValueError naming the line where it breaks off."""
    rows: list[dict] = []
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("no row")
                rows.append(row)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}: check the path") from None
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"{path.name} breaks off at line {len(rows) + 1} ({type(error).__name__}): {remedy}"
        ) from error
    return rows


def split_of(prompt: str) -> str:
    """The split of a problem from the hub: "test" for 2% of all prompts, "validation" for 1%, else "train".

    The split depends on the prompt alone. So a problem keeps its split when a list gets longer, shorter or reordered, and
    in every data set that contains it. Only letters and digits count, so a prompt printed differently is the same prompt.
    """
    letters = "".join(filter(str.isalnum, prompt.casefold()))
    percentile = int.from_bytes(hashlib.sha256(letters.encode()).digest()[:8], "big") % 100
    return "validation" if percentile == 0 else "test" if percentile < 3 else "train"


def take_balanced(rows: list[dict[str, str]], count: int) -> list[dict[str, str]]:
    """`count` rows spread evenly over domain, language and level, in a fixed order."""
    cells: dict[tuple, list] = {}
    # In order of first appearance, so that easy stays before medium and hard.
    for row in rows:
        cells.setdefault(tuple(row.get(key, "") for key in ("domain", "language", "level")), []).append(row)
    # One row of every cell, then the next of every cell that has one left.
    turns = [row for turn in zip_longest(*cells.values()) for row in turn if row is not None]
    return turns[:count]
