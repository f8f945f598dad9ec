"""Where questions come from. Every source yields rows with prompt, solution, language and source."""

import gzip
import hashlib
import json
import os
from collections.abc import Iterable
from functools import cache
from itertools import zip_longest
from pathlib import Path

from r1lab.prompts import render_prompt
from r1lab.scale import DATA, Scale, get_scale

SPLITS = ("train", "validation", "test")


def load_problems(split: str) -> list[dict[str, str]]:
    """Rows of the tiny world's `train`, `validation` or `test` split (data/problems/README.md says what is in them).

    Keys: id, prompt, solution, domain, kind, language, level, verifier, tests, source. Raises ValueError on an
    unknown split and FileNotFoundError when the data is missing.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    return _read("problems", split)


def _read(folder: str, split: str) -> list[dict[str, str]]:
    path = DATA / folder / f"{split}.jsonl"
    if not path.is_file():
        raise FileNotFoundError(
            f"no problems at data/{folder}/{split}.jsonl: run `make base`, or restore the file from git"
        )
    return read_lines(path, f"restore data/{folder}/{split}.jsonl from git")


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


GENERAL_KEYS = {"id", "prompt", "kind", "language", "good", "poor"}
GENERAL_KINDS = {"greeting", "fact", "how_to", "harmful"}


def load_general(split: str, scale: Scale | None = None) -> list[dict[str, str]]:
    """General prompts, which ask for no reasoning (data/general/README.md), of the split `train`, `preference`, `validation` or `test`.

    From the folder that R1LAB_GENERAL names, else those of the tiny world, which are for the tiny world's models: at any
    other scale (scale: default the current one) they must be named. Keys: id, prompt, kind (greeting, fact, how_to,
    harmful), language, good, poor. Raises as `load_problems` does, and ValueError where no folder is named.
    """
    splits = ("train", "preference", "validation", "test")
    if split not in splits:
        raise ValueError(
            f"unknown split {split!r} of the general prompts: choose {', '.join(splits[:-1])} or test"
        )
    folder = os.environ.get("R1LAB_GENERAL")
    if folder:
        path = Path(folder) / f"{split}.jsonl"
        rows = read_lines(path, "write it again")
        if (
            not rows
            or any(set(row) < GENERAL_KEYS for row in rows)
            or {r["kind"] for r in rows} != GENERAL_KINDS
        ):
            raise ValueError(
                f"{path.name} in R1LAB_GENERAL needs rows of all kinds ({', '.join(sorted(GENERAL_KINDS))}), each with "
                f"{', '.join(sorted(GENERAL_KEYS))}: see data/general/README.md"
            )
        return rows
    scale = scale or get_scale()
    if scale.problems != "tiny":
        raise ValueError(
            f"scale {scale.name} has no general prompts, and those of the tiny world are made for a model of 1.7 million "
            "parameters: give a folder with your own train.jsonl, preference.jsonl and test.jsonl in R1LAB_GENERAL, or to a "
            "stage with --general (format: data/general/README.md; data/general itself takes the tiny world's)"
        )
    return _read("general", split)


def load_scale_problems(scale: Scale, split: str) -> list[dict[str, str]]:
    """The problems a scale trains (`train`) or is judged on (`validation`, `test`). Raises ValueError on another split.

    Problems of the hub are split by `split_of`, whatever scale, tokenizer or limit chose them.
    """
    if scale.problems == "tiny":
        return load_problems(split)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    return [row for row in _hub_problems(scale) if split_of(row["prompt"]) == split]


def split_of(prompt: str) -> str:
    """The split of a problem from the hub: "test" for 2% of all prompts, "validation" for 1%, else "train".

    It hangs on the prompt alone, so a problem never changes sides when a list is longer, shorter or in another order, or
    when another data set holds it too. Only letters and digits count, so a prompt printed differently is the same prompt.
    """
    letters = "".join(filter(str.isalnum, prompt.casefold()))
    place = int.from_bytes(hashlib.sha256(letters.encode()).digest()[:8], "big") % 100
    return "validation" if place == 0 else "test" if place < 3 else "train"


@cache
def _hub_problems(scale: Scale) -> list[dict[str, str]]:
    from transformers import AutoTokenizer

    from r1lab.problems.hub import load_dapo_math

    tokenizer = AutoTokenizer.from_pretrained(scale.model)
    return drop_long_prompts(
        load_dapo_math(), tokenizer, template=scale.template, limit=scale.max_prompt_tokens
    )


def drop_long_prompts(rows: list[dict], tokenizer, *, template: str, limit: int) -> list[dict]:
    """The rows whose prompt, rendered, has at most `limit` tokens; prints how many were left out.

    TRL cuts no prompt short (since 1.0), and one long prompt widens its whole batch.
    """
    prompts = [render_prompt(row["prompt"], template=template, language=row["language"]) for row in rows]
    texts = [tokenizer.apply_chat_template(p, tokenize=False, add_generation_prompt=True) for p in prompts]
    lengths = [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    kept = [row for row, length in zip(rows, lengths, strict=True) if length <= limit]
    print(f"{len(rows) - len(kept)} of {len(rows)} problems left out: their prompts have over {limit} tokens")
    return kept


def take_balanced(rows: list[dict[str, str]], count: int) -> list[dict[str, str]]:
    """`count` rows spread evenly over domain, language and level, in a fixed order, for a quick look at a split."""
    cells: dict[tuple, list] = {}
    for row in rows:  # in order of first appearance, so that easy stays before medium and hard
        cells.setdefault(tuple(row.get(key, "") for key in ("domain", "language", "level")), []).append(row)
    turns = [row for turn in zip_longest(*cells.values()) for row in turn if row is not None]
    return turns[:count]


def to_training_rows(rows: Iterable[dict[str, str]], template: str) -> list[dict]:
    """Rows with `prompt` as chat messages and the bare question kept as `question`: what TRL and the rewards read."""
    return [
        {
            **row,
            "question": row["prompt"],
            "prompt": render_prompt(row["prompt"], template=template, language=row["language"]),
        }
        for row in rows
    ]
