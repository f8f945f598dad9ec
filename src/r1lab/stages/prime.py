"""Two preparations of R1-Zero on a GPU: a base that knows our tags, and problems that it solves sometimes.

Without them, all completions of most groups get the same reward, and such a group has no gradient. The tiny base needs
neither. It has seen the tags in its pretraining, and its problems are generated at several levels.
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1lab.files import write_json
from r1lab.problems.hub import hub_rows
from r1lab.rollouts import sample_and_grade
from r1lab.scale import Scale
from r1lab.stages.runner import run_trainer
from r1lab.stages.sft import make_sft_trainer

# Worked solutions: enough to teach the format, too few to teach mathematics.
ROWS = 64
# Written last, so a folder without it was cut off by a crash.
RECORD = "primed.json"
# 64 small steps: batches of 2 and two epochs. The batches of 32 of the other stages would make four steps.
SMALL_STEPS = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "num_train_epochs": 2,
    "learning_rate": 2e-4,
    "save_strategy": "no",
}
# Problems whose pass rates are saved at once. At four samples each that is a batch of 512 completions, see `policy.BATCH`.
CHUNK = 128


def prime_format(
    scale: Scale, output: Path | str, *, rows: Sequence[dict] | None = None, show=None, **overrides: Any
) -> str:
    """Path of the scale's base after SFT on a few worked solutions in our tags, which is saved in `output`.

    rows: as for `sft.sft_dataset`; by default ROWS of the hub's that fit the scale's lengths. overrides: fields of
    `trl.SFTConfig`.
    """
    output = Path(output)
    # A folder that is finished is used again, so that a notebook can be restarted.
    if (output / RECORD).is_file():
        return str(output)
    rows = list(rows) if rows is not None else hub_rows(scale, scale.model, ROWS)[0]
    trainer = make_sft_trainer(
        scale, output, rows=rows, model=scale.model, show=show, **SMALL_STEPS | overrides
    )
    seconds = run_trainer(trainer)["seconds"]
    # Unlike `model.save_pretrained`, this saves the tokenizer too.
    trainer.save_model(str(output))
    write_json({"base": scale.model, "rows": len(rows), "seconds": seconds}, output / RECORD)
    return str(output)


def pass_rates(
    policy,
    problems: Sequence[dict],
    scale: Scale,
    *,
    samples: int = 4,
    seed: int = 0,
    file: Path | str | None = None,
) -> list[float]:
    """Pass rate of each problem, from 0 to 1: the share of `samples` completions that R1-Zero's accuracy reward accepts.

    file: where the rates are saved as JSON by problem id, after every CHUNK problems. Rates that are there already are not
    measured again.
    """
    # Stage 1: the rates of an interrupted run.
    rates = json.loads(Path(file).read_text(encoding="utf-8")) if file and Path(file).is_file() else {}
    limit = scale.max_completion_tokens
    settings = {"template": scale.template, "samples": samples, "max_new_tokens": limit, "require_tags": True}
    # Stage 2: the others. Without a file there is nothing to save, so all problems are one chunk.
    size = CHUNK if file else max(1, len(problems))
    for start in range(0, len(problems), size):
        chunk = [problem for problem in problems[start : start + size] if problem["id"] not in rates]
        # Each chunk has a seed of its own, so that the rates are the same with and without an interruption.
        groups = sample_and_grade(policy, chunk, seed=seed + start, **settings)
        for problem, group in zip(chunk, groups, strict=True):
            rates[problem["id"]] = sum(rollout["correct"] for rollout in group) / samples
        if file and chunk:
            write_json(rates, file)
    return [rates[problem["id"]] for problem in problems]


def keep_teachable(
    problems: Sequence[dict], rates: Sequence[float], *, low: float = 0.0, high: float = 1.0
) -> list[dict]:
    """The problems whose pass rate lies strictly between `low` and `high`, in a fixed random order.

    With a rate of 0 or 1, all completions of a group get the same reward. DAPO skips such groups (Yu et al., 2025). Raises
    ValueError when no problem is left.
    """
    kept = [problem for problem, rate in zip(problems, rates, strict=True) if low < rate < high]
    if not kept:
        raise ValueError(
            f"none of {len(problems)} problems has a pass rate between {low:g} and {high:g}: try more of them, take more "
            "samples, or prime the base longer"
        )
    # With the easy ones first, the reward of a run would fall while the policy gets better.
    random.Random(0).shuffle(kept)
    return kept
