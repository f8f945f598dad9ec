"""Problems and worked solutions from the Hugging Face hub: loads them and keeps the rows that are sound."""

import errno
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from r1lab.problems.adapters import SOURCES, Source
from r1lab.problems.rows import load_problems, read_lines, split_of, take_balanced
from r1lab.prompts import format_completion, parse_completion
from r1lab.rewards import grade_many
from r1lab.scale import DATA, Scale

# Rows whose golds are graded at once.
BATCH = 256


def load_benchmark(
    key: str, *, limit: int | None = None, hub: bool = True
) -> tuple[list[dict[str, str]], Counter]:
    """(sound rows, why others were dropped and how many) of a benchmark, or a fixed random `limit` of them.

    A benchmark is a source with a `benchmark` file, or "logic", the puzzles of the tiny world's test split. Its rows come
    from that file in data/benchmarks, or in the folder that R1LAB_REAL_DATA names; without one, from the hub if `hub`.
    Raises as `load_source` does, and FileNotFoundError when there is neither.
    """
    if key == "logic":
        rows = [row for row in load_problems("test") if row["domain"] == "logic"]
        return take_balanced(rows, limit or len(rows)), Counter()
    files = {name: source.benchmark for name, source in SOURCES.items() if source.benchmark}
    if key not in files:
        raise ValueError(f"unknown benchmark {key!r}: choose one of {', '.join(files)}, logic")
    file = Path(os.environ.get("R1LAB_REAL_DATA") or DATA / "benchmarks") / files[key]
    if file.is_file():
        hub = False
    elif not hub:
        raise FileNotFoundError(
            f"no {file.name} is here: put it into data/benchmarks, or name its folder in R1LAB_REAL_DATA"
        )
    return load_source(key, file=None if hub else file, limit=limit, seed=None if limit is None else 0)


def load_source(
    key: str,
    split: str | None = None,
    *,
    file: Path | str | None = None,
    limit: int | None = None,
    seed: int | None = None,
) -> tuple[list[dict[str, str]], Counter]:
    """(sound rows, why others were dropped and how many) of a data set in SOURCES, in our keys.

    file: a local .jsonl or .jsonl.gz in the data set's own format, instead of the hub. limit: stop after so many sound
    rows. seed: shuffle first. Raises ValueError on an unknown name or split, on a missing column and on a download that
    was cut off; ConnectionError when the hub is out of reach.
    """
    if key not in SOURCES:
        raise ValueError(f"unknown data set {key!r}: choose one of {', '.join(SOURCES)}")
    dropped = Counter()
    return list(islice(keep_sound(_read(SOURCES[key], split, file, seed), dropped), limit)), dropped


def keep_sound(rows: Iterable[dict[str, str]], dropped: Counter) -> Iterator[dict[str, str]]:
    """The rows that can be trained on: with a prompt and a gold, not seen before, and whose gold the grader accepts.

    dropped counts the others under "blank", "duplicate" and "gold does not verify".
    """
    rows, seen = iter(rows), set()
    while batch := list(islice(rows, BATCH)):
        fresh = []
        for row in batch:
            words = " ".join(row["prompt"].split()).casefold()
            if not words or not row["solution"].strip():
                dropped["blank"] += 1
            elif words in seen:
                dropped["duplicate"] += 1
            else:
                seen.add(words)
                fresh.append(row)
        completions = [format_completion("x", row["solution"]) for row in fresh]
        for row, verifies in zip(fresh, grade_many(completions, fresh, require_tags=True), strict=True):
            if verifies:
                yield row
            else:
                dropped["gold does not verify"] += 1


def load_worked_solutions() -> Iterator[dict[str, str]]:
    """Rows with `completion`, of OpenMathReasoning-mini and then of Bespoke-Stratos-17k, each shuffled once.

    Raises as `load_source` does.
    """
    # Their answers are not checked, because code and proofs are worth learning from too.
    for key in ("openmath", "stratos"):
        yield from _read(SOURCES[key], seed=0)


def hub_rows(scale: Scale, base: str, count: int = 2000) -> tuple[list[dict], dict]:
    """(at most `count` rows, facts): worked solutions in our tags that are well formed and fit the scale's lengths.

    base: the model whose tokens are counted. The collections come from the same competitions as the problems a scale is
    evaluated on, so only prompts of the split `train` are taken.
    """
    from transformers import AutoTokenizer

    tokenizer, kept, facts = AutoTokenizer.from_pretrained(base), [], {"read": 0, "held_out": 0}
    for row in load_worked_solutions():
        facts["read"] += 1
        if split_of(row["prompt"]) != "train":
            facts["held_out"] += 1
        elif (
            parse_completion(row["completion"]).well_formed
            and len(tokenizer(row["completion"])["input_ids"]) <= scale.max_completion_tokens
        ):
            kept.append(row)
        if len(kept) == count:
            break
    return kept, {"rows": len(kept), **facts}


# ------------------------------------------------------------------------------------------------------------ reading
def _read(
    source: Source, split: str | None = None, file: Path | str | None = None, seed: int | None = None
) -> Iterator[dict[str, str]]:
    """All rows of a source in our keys, in the published order, or shuffled with `seed`."""
    rows = _published(source, split, file)
    if seed is not None:
        from datasets import Dataset

        rows = (rows if isinstance(rows, Dataset) else Dataset.from_list(rows)).shuffle(seed=seed)
    return (source.to_row(row, number) for number, row in enumerate(rows))


def _published(source: Source, split: str | None, file: Path | str | None):
    """Rows as published, from the hub or a file."""
    split = split or next(iter(source.rows))
    if split not in source.rows:
        raise ValueError(f"{source.name} has no split {split!r}: choose one of {', '.join(source.rows)}")
    if file is not None:
        return read_lines(Path(file), "the download was cut off, load it again")
    from datasets import load_dataset

    if source.revision is None:
        print(
            f"{source.name} is not pinned to a revision: its newest version is loaded, which may differ from ours"
        )
    try:
        rows = load_dataset(source.name, source.config, split=split, revision=source.revision)
    # The hub client raises a dozen unrelated types for a missing network alone.
    except Exception as error:
        raise _explained(source, error) from error
    if len(rows) < source.rows[split]:
        raise ValueError(
            f"{source.name} came with {len(rows)} rows of {source.rows[split]}: the download was cut off, "
            "remove it from the cache (~/.cache/huggingface) and load it again"
        )
    return rows


# Parts of the class names that the hub client and its libraries raise.
_UNREACHABLE = ("Connect", "Timeout", "Offline", "LocalEntryNotFound", "ProxyError", "gaierror")
_DAMAGED = ("Arrow", "JSONDecode", "EOF", "BadGzip", "NonMatching", "ExpectedMore", "Consistency")


def _explained(source: Source, error: BaseException) -> Exception:
    """The error to raise after a failed download: one sentence that says what happened and what to do."""
    # The error and its causes, at most ten, because causes may form a circle.
    chain = [error]
    while len(chain) < 10 and (cause := chain[-1].__cause__ or chain[-1].__context__):
        chain.append(cause)
    names = " ".join(kind.__name__ for link in chain for kind in type(link).__mro__)

    if any(isinstance(link, OSError) and link.errno == errno.ENOSPC for link in chain):
        text = f"the disk is full: make room for {source.name} in ~/.cache/huggingface and try again"
        return OSError(errno.ENOSPC, text)
    if any(mark in names for mark in _DAMAGED) and not any(mark in names for mark in _UNREACHABLE):
        return ValueError(
            f"the download of {source.name} is damaged or was cut off ({type(chain[-1]).__name__}): "
            "remove it from the cache (~/.cache/huggingface) and load it again"
        )
    if "RevisionNotFound" in names:
        return ValueError(
            f"{source.name} has no revision {source.revision}: its history was rewritten, set another in "
            "r1lab.problems.adapters.SOURCES"
        )
    return ConnectionError(
        f"could not load {source.name} ({type(error).__name__}): check the network, or use R1LAB_SCALE=tiny, which is offline"
    )
