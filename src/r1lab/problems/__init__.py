"""Where problems come from. Every source yields rows with prompt, solution, language and source.

Reading order: rows (files and splits), adapters (published formats), hub (loading them), then this file (what a scale uses).
"""

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from r1lab.problems.rows import (
    SPLITS,
    check_split,
    load_problems,
    read_lines,
    read_shipped,
    split_of,
    take_balanced,
)
from r1lab.prompts import render_prompt
from r1lab.scale import Scale, get_scale

GENERAL_SPLITS = ("train", "preference", "validation", "test")
GENERAL_KEYS = {"id", "prompt", "kind", "language", "good", "poor"}
GENERAL_KINDS = {"greeting", "fact", "how_to", "harmful"}


def load_general(split: str, scale: Scale | None = None) -> list[dict[str, str]]:
    """General prompts, which ask for no reasoning (data/general/README.md), of one of GENERAL_SPLITS.

    They come from the folder that R1LAB_GENERAL names. Without it, the scale `tiny` uses those of the tiny world, and any
    other scale raises ValueError. scale: default the current one. Keys: id, prompt, kind (greeting, fact, how_to,
    harmful), language, good, poor. Otherwise raises as `load_problems` does.
    """
    check_split(split, GENERAL_SPLITS)
    if folder := os.environ.get("R1LAB_GENERAL"):
        path = Path(folder) / f"{split}.jsonl"
        rows = read_lines(path, "write this file again")
        whole = all(set(row) >= GENERAL_KEYS for row in rows)
        if not whole or {row["kind"] for row in rows} != GENERAL_KINDS:
            raise ValueError(
                f"{path.name} in R1LAB_GENERAL needs rows of all kinds ({', '.join(sorted(GENERAL_KINDS))}), each with "
                f"{', '.join(sorted(GENERAL_KEYS))}: see data/general/README.md"
            )
        return rows
    scale = scale or get_scale()
    if scale.problems != "tiny":
        raise ValueError(
            f"scale {scale.name} has no general prompts, and those of the tiny world are made for a model of 1.7 million "
            "parameters. Set R1LAB_GENERAL, or a stage's --general, to a folder with your own train.jsonl, preference.jsonl and "
            "test.jsonl: data/general/README.md shows their format. The folder data/general gives you the tiny world's"
        )
    return read_shipped("general", split)


def load_scale_problems(scale: Scale, split: str) -> list[dict[str, str]]:
    """The problems a scale trains on (`train`) or is evaluated on (`validation`, `test`). Raises ValueError on another split.

    Problems of the hub are split by `split_of`, so their split does not depend on scale, tokenizer or limit.
    """
    check_split(split)
    if scale.problems == "tiny":
        return load_problems(split)
    return [row for row in _hub_problems(scale) if split_of(row["prompt"]) == split]


# Three splits need one download.
@cache
def _hub_problems(scale: Scale) -> list[dict[str, str]]:
    """The scale's problems of the hub without those whose prompt is too long; prints how many were skipped."""
    from transformers import AutoTokenizer

    from r1lab.problems.hub import load_source

    # Shuffled once, in an order that is always the same.
    rows, limit = load_source(scale.problems, seed=0)[0], scale.max_prompt_tokens
    tokenizer = AutoTokenizer.from_pretrained(scale.model)
    prompts = [row["prompt"] for row in to_training_rows(rows, scale.template)]
    texts = [tokenizer.apply_chat_template(p, tokenize=False, add_generation_prompt=True) for p in prompts]
    lengths = [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    # TRL cuts no prompt short (since 1.0), and one long prompt widens its whole batch.
    kept = [row for row, length in zip(rows, lengths, strict=True) if length <= limit]
    print(f"{len(rows) - len(kept)} of {len(rows)} problems skipped: their prompts have over {limit} tokens")
    return kept


def to_training_rows(rows: Iterable[dict[str, str]], template: str) -> list[dict]:
    """Rows with `prompt` as chat messages for TRL, and the question itself as `question` for the rewards."""
    # Of rows with different keys a dataset would keep those of the first one only.
    blank = dict.fromkeys(key for row in rows for key in row)
    return [
        {
            **blank,
            **row,
            "question": row["prompt"],
            "prompt": render_prompt(row["prompt"], template=template, language=row["language"]),
        }
        for row in rows
    ]
