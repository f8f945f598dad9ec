"""Problems and worked solutions from the Hugging Face hub: which version, how to load it, which rows are sound.

A revision is a commit of the data set's own repository, so that the same rows come tomorrow. Where none is known, the
newest version is taken and `revision` is None.
"""

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from r1lab.problems import adapters
from r1lab.problems.adapters import DAPO_MATH, OPENMATH, STRATOS, dapo_row, openmath_row, stratos_row
from r1lab.problems.rows import load_problems, read_lines, split_of, take_balanced
from r1lab.prompts import format_completion, parse_completion
from r1lab.rewards import grade_many
from r1lab.scale import DATA, Scale

MATH_SUBJECTS = (
    "algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra", "precalculus",
)  # fmt: skip
BATCH = 256  # rows whose golds are checked at once


@dataclass(frozen=True)
class Source:
    """One data set on the hub."""

    name: str
    revision: str | None
    rows: Mapping[str, int]  # split -> how many rows the pinned version has; the first split is the usual one
    adapt: Callable[[Mapping, int], dict[str, str]]
    configs: tuple[str | None, ...] = (None,)  # the parts that make up the set


SOURCES = {
    # The English rows, deduplicated from DAPO-Math-17k (Yu et al., 2025); every answer is an integer.
    "dapo": Source(
        DAPO_MATH, "31dd309567e3da778038cc87d868b6097a3ccf68", {"train": 14_116}, dapo_row, ("en",)
    ),
    # Competition problems (Li et al., 2024). Its test split is drawn from the same problems: no benchmark.
    "numina_tir": Source(
        adapters.NUMINA_TIR,
        "77a91d7b7a1a98ac4b1beb7d86c09d156b935dcd",
        {"train": 72_441, "test": 99},
        adapters.numina_tir_row,
    ),
    # Worked solutions with long chains of thought, for the cold start: from DeepSeek-R1 (mathematics, code, science) ...
    "stratos": Source(STRATOS, "9e9adba943911a9fc44dffcb30aaa18dc96ae6df", {"train": 16_710}, stratos_row),
    # ... and a part of nvidia/OpenMathReasoning. NOT PINNED: of its one upload we know the short hash only, 5ea611a,
    # and the hub wants all 40 digits. Loading it says so.
    "openmath": Source(OPENMATH, None, {"cot": 19_252}, openmath_row),
    # Grade-school word problems (Cobbe et al., 2021).
    "gsm8k": Source(
        adapters.GSM8K,
        "740312add88f781978c0658806c59bc2815b9866",
        {"test": 1_319, "train": 7_473},
        adapters.gsm8k_row,
        ("main",),
    ),
    # Competition problems (Hendrycks et al., 2021), and the 500 of its test split that Lightman et al. (2023) held out.
    "math": Source(
        adapters.MATH,
        "21a5633873b6a120296cce3e2df9d5550074f4a3",
        {"train": 7_500, "test": 5_000},
        adapters.math_row,
        MATH_SUBJECTS,
    ),
    "math_500": Source(
        adapters.MATH_500, "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", {"test": 500}, adapters.math_500_row
    ),
    # Python functions with their tests (Chen et al., 2021).
    "humaneval": Source(
        adapters.HUMANEVAL,
        "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
        {"test": 164},
        adapters.humaneval_row,
    ),
}


# What a checkpoint is judged on beside its own problems -> the file that holds it, where there is one.
BENCHMARKS = {
    "gsm8k": "gsm8k_test.jsonl",
    "math_500": "math_500_test.jsonl",
    "humaneval": "HumanEval.jsonl.gz",
    "logic": "",  # the puzzles of the tiny world's test split
}


def load_benchmark(
    key: str, *, limit: int | None = None, hub: bool = True
) -> tuple[list[dict[str, str]], Counter]:
    """(sound rows, why others were dropped and how many) of one of BENCHMARKS, or a fixed random `limit` of them.

    From its file in data/benchmarks, or in the folder that R1LAB_REAL_DATA names; without one, from the hub if `hub`.
    Raises as `load_source` does, and FileNotFoundError when there is neither.
    """
    if key == "logic":
        rows = [row for row in load_problems("test") if row["domain"] == "logic"]
        return take_balanced(rows, limit or len(rows)), Counter()
    if key not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {key!r}: choose one of {', '.join(BENCHMARKS)}")
    file = Path(os.environ.get("R1LAB_REAL_DATA") or DATA / "benchmarks") / BENCHMARKS[key]
    if not hub and not file.is_file():
        raise FileNotFoundError(
            f"no {file.name} is here: put it into data/benchmarks, or name its folder in R1LAB_REAL_DATA"
        )
    return load_source(
        key, file=file if file.is_file() else None, limit=limit, seed=None if limit is None else 0
    )


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
    source, dropped = SOURCES[key], Counter()
    adapted = (source.adapt(row, number) for number, row in _shuffled(_published(source, split, file), seed))
    return list(islice(keep_sound(adapted, dropped), limit)), dropped


def keep_sound(rows: Iterable[dict[str, str]], dropped: Counter) -> Iterator[dict[str, str]]:
    """The rows worth asking: with a prompt and a gold, not seen before, and whose gold the grader takes for right.

    dropped counts the others under "blank", "duplicate" and "gold does not verify".
    """
    rows, seen = iter(rows), set()
    while batch := list(islice(rows, BATCH)):
        fresh = []
        for row in batch:
            words = " ".join(row["prompt"].split()).casefold()
            reason = (
                "blank"
                if not words or not row["solution"].strip()
                else "duplicate"
                if words in seen
                else None
            )
            if reason:
                dropped[reason] += 1
            else:
                seen.add(words)
                fresh.append(row)
        replies = [format_completion("x", row["solution"]) for row in fresh]
        for row, verifies in zip(fresh, grade_many(replies, fresh, require_tags=True), strict=True):
            if verifies:
                yield row
            else:
                dropped["gold does not verify"] += 1


def load_dapo_math(seed: int = 0) -> list[dict[str, str]]:
    """The sound English rows of DAPO-Math-17k-Processed, shuffled once. Raises as `load_source` does."""
    return load_source("dapo", seed=seed)[0]


def load_worked_solutions(seed: int = 0) -> Iterator[dict[str, str]]:
    """Rows with `completion`, of OpenMathReasoning-mini and then of Bespoke-Stratos-17k, each shuffled once.

    Unchecked, since code and proofs are worth imitating too. Raises as `load_source` does.
    """
    for key in ("openmath", "stratos"):
        source = SOURCES[key]
        for number, row in _shuffled(_published(source), seed):
            yield source.adapt(row, number)


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
def _published(source: Source, split: str | None = None, file: Path | str | None = None):
    """Rows as published, from the hub or a file."""
    split = split or next(iter(source.rows))
    if split not in source.rows:
        raise ValueError(f"{source.name} has no split {split!r}: choose one of {', '.join(source.rows)}")
    if file is not None:
        return read_lines(Path(file), "the download was cut off, load it again")
    from datasets import concatenate_datasets, load_dataset

    if source.revision is None:
        print(
            f"{source.name} is not pinned to a revision: its newest version is loaded, which may differ from ours"
        )
    try:
        parts = [
            load_dataset(source.name, config, split=split, revision=source.revision)
            for config in source.configs
        ]
    except Exception as error:  # the hub client raises a dozen unrelated types for "no network" alone
        raise _explained(source, error) from error
    rows = concatenate_datasets(parts)
    if len(rows) < source.rows[split]:
        raise ValueError(
            f"{source.name} came with {len(rows)} rows of {source.rows[split]}: the download was cut off, "
            "remove it from the cache (~/.cache/huggingface) and load it again"
        )
    return rows


def _shuffled(rows, seed: int | None) -> Iterator[tuple[int, Mapping]]:
    """(number, row) in the published order, or in an order of its own for every seed."""
    if seed is not None:
        from datasets import Dataset

        rows = (rows if isinstance(rows, Dataset) else Dataset.from_list(rows)).shuffle(seed=seed)
    return enumerate(rows)


_UNREACHABLE = ("Connect", "Timeout", "Offline", "LocalEntryNotFound", "ProxyError", "gaierror")
_DAMAGED = ("Arrow", "JSONDecode", "EOF", "BadGzip", "NonMatching", "ExpectedMore", "Consistency")


def _explained(source: Source, error: BaseException) -> Exception:
    """What went wrong while loading, in one sentence with the next step in it."""
    chain, cause = [], error
    while cause is not None and len(chain) < 10:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    names = [kind.__name__ for link in chain for kind in type(link).__mro__]

    def is_about(marks: Iterable[str]) -> bool:
        return any(mark in name for name in names for mark in marks)

    if any(isinstance(link, OSError) and link.errno == errno.ENOSPC for link in chain):
        return OSError(
            errno.ENOSPC,
            f"the disk is full: make room for {source.name} in ~/.cache/huggingface and try again",
        )
    if is_about(_DAMAGED) and not is_about(_UNREACHABLE):
        return ValueError(
            f"the download of {source.name} is damaged or was cut off ({type(chain[-1]).__name__}): "
            "remove it from the cache (~/.cache/huggingface) and load it again"
        )
    if is_about(("RevisionNotFound",)):
        return ValueError(
            f"{source.name} has no revision {source.revision}: its history was rewritten, set another in "
            "r1lab.problems.hub.SOURCES"
        )
    return ConnectionError(
        f"could not load {source.name} ({type(error).__name__}): check the network, or use R1LAB_SCALE=tiny, which is offline"
    )
