"""Before R1-Zero on a GPU: show the base our tags, and keep the problems that can teach it something.

Without either, most groups of a large base earn the same, and such a group has no gradient. The tiny base needs neither:
its pretraining holds the tags, and its problems are made in levels.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1lab.files import write_json
from r1lab.problems.hub import hub_rows
from r1lab.prompts import render_prompt
from r1lab.rewards import grade_many
from r1lab.scale import Scale
from r1lab.stages.sft import train_sft

ROWS = 64  # worked solutions: enough for a form, too few to teach mathematics
RECORD = "primed.json"  # written last, so a folder without it was cut off by a crash


def prime_format(
    scale: Scale, output: Path | str, *, rows: Sequence[dict] | None = None, show=None, **overrides: Any
) -> str:
    """Fine-tune the scale's base on a few worked solutions in our tags and save it in `output`, whose path is returned.

    rows: as for `sft.sft_dataset`; by default ROWS of the hub's that fit the scale's lengths. overrides: fields of
    `trl.SFTConfig`. A folder that was finished before is returned as it is.
    """
    output = Path(output)
    if (output / RECORD).is_file():
        return str(output)
    rows = list(rows) if rows is not None else hub_rows(scale, scale.model, ROWS)[0]
    # Batches of 2 and two rounds: 64 small steps, where the batches of 32 of the other stages would make four.
    settings = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": 2,
        "learning_rate": 2e-4,
        "save_strategy": "no",
    }
    run = train_sft(scale, rows, output, model=scale.model, show=show, **{**settings, **overrides})
    run["trainer"].save_model(str(output))  # the tokenizer, too
    write_json({"base": scale.model, "rows": len(rows), "seconds": run["seconds"]}, output / RECORD)
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
    """Of each problem, the share of `samples` completions that are right between the tags: what R1-Zero would pay.

    file: where to keep the rates, as JSON by problem id; those already there are not measured again, so that a run that
    goes on does not pay twice.
    """
    known = json.loads(Path(file).read_text(encoding="utf-8")) if file and Path(file).is_file() else {}
    asked = [problem for problem in problems if problem["id"] not in known]
    prompts = [
        render_prompt(problem["prompt"], template=scale.template, language=problem["language"])
        for problem in asked
    ]
    limit = scale.max_completion_tokens
    how = {"samples": samples, "temperature": 1.0, "max_new_tokens": limit, "seed": seed}
    drawn = policy.generate(prompts, **how) if asked else []
    texts = [sample.text for group in drawn for sample in group]
    paid = grade_many(texts, [problem for problem in asked for _ in range(samples)], require_tags=True)
    for place, problem in enumerate(asked):
        known[problem["id"]] = sum(map(bool, paid[place * samples : (place + 1) * samples])) / samples
    if file:
        write_json(known, file)
    return [known[problem["id"]] for problem in problems]


def keep_teachable(
    problems: Sequence[dict], rates: Sequence[float], *, low: float = 0.0, high: float = 1.0
) -> list[dict]:
    """The problems whose pass rate lies strictly between `low` and `high`, the easy ones first.

    A rate of 0 or 1 makes a group in which all earn the same (DAPO leaves such groups out: Yu et al., 2025). Raises
    ValueError when none is left, because there would be nothing to learn from.
    """
    order = sorted(range(len(problems)), key=lambda place: (-rates[place], place))
    kept = [problems[place] for place in order if low < rates[place] < high]
    if not kept:
        raise ValueError(
            f"none of {len(problems)} problems has a pass rate between {low:g} and {high:g}: ask more of them, draw more "
            "samples, or prime the base longer"
        )
    return kept
