"""Cold start: data made in the three ways of the paper, a clean-up, and the first SFT (DeepSeek-AI, 2025, section 2.3.1)."""

import gc
import json
import random
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from r1lab.files import write_json
from r1lab.policy import load_policy, set_threads
from r1lab.problems import load_scale_problems, take_balanced
from r1lab.problems.hub import hub_rows
from r1lab.scale import Scale
from r1lab.self_checks import count_checks
from r1lab.stages.checkpoints import find_parents, save_stage
from r1lab.stages.drafts import (
    PER_PROBLEM,
    ask,
    clean_up,
    drop_duplicates,
    keep_good,
)
from r1lab.stages.sft import train_sft

# The paper's three ways: who is asked, with which template ("" is the scale's own), how many problems.
WAYS = {
    "few-shot": ("base", "few_shot", 64),
    "direct": ("base", "direct", 64),
    "refined R1-Zero": ("zero", "", 1500),
}
SAMPLES = 4  # replies to each problem
ROWS = 2000  # examples for the SFT, at most: enough to settle a form, few enough to leave RL something to do
EPOCHS = 2
DATA_FOLDER = "data"  # inside the stage's output: rows.jsonl, facts.json, README.md
KEPT_KEYS = ("id", "prompt", "completion", "language", "domain", "kind", "level", "source")


def build_cold_start(
    scale: Scale, parents: dict[str, str], *, seed: int = 0, clean: bool = True, count: int = ROWS
) -> tuple[list[dict], dict]:
    """(rows for the SFT, facts). clean=False takes R1-Zero's right and well-formed replies as they are: the control.

    facts: for each way, how many replies were left after each filter as `drafts` and as `cleaned`; which repairs the
    kept ones needed; what self-checks did before and after. At a GPU scale the rows come from the hub.
    """
    if scale.problems != "tiny":
        return hub_rows(scale, parents["base"], count)
    problems = load_scale_problems(scale, "train")
    random.Random(seed).shuffle(problems)
    kept, facts = [], {"ways": {}, "repairs": {}, "checks": {}}
    for way, (parent, template, asked) in WAYS.items():
        if not clean and parent != "zero":
            continue
        drafts = ask(
            load_policy(parents[parent]),
            take_balanced(problems, asked),
            scale=scale,
            template=template or scale.template,
            samples=SAMPLES,
            seed=seed,
        )
        if clean:
            _, before = keep_good(drafts)
            good, after = keep_good(clean_up(drafts))
            facts["repairs"][way] = dict(Counter(repair for row in good for repair in row["repairs"]))
        else:
            good, after = keep_good(drafts, ("well formed", "not over-long"))
            before = after
        facts["ways"][way] = {"drafts": before, "cleaned" if clean else "kept": after}
        facts["checks"][way] = {
            name: count_checks(row["completion"] for row in rows)
            for name, rows in (("drafts", drafts), ("kept", good))
        }
        kept += good
    kept = take_balanced(drop_duplicates(kept, per_problem=PER_PROBLEM), count)
    random.Random(seed).shuffle(kept)
    facts |= {"rows": len(kept), "domains": dict(sorted(Counter(row["domain"] for row in kept).items()))}
    return [{key: row[key] for key in KEPT_KEYS} for row in kept], facts


def save_data(rows: list[dict], facts: dict, folder: Path) -> None:
    """Write rows.jsonl, its card, and facts.json last: a folder without facts.json was cut off by a crash."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "facts.json").unlink(missing_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    (folder / "README.md").write_text(data_card(facts), encoding="utf-8")
    write_json(facts, folder / "facts.json")


def load_data(folder: Path, drawn_by: dict) -> tuple[list[dict], dict] | None:
    """What `save_data` wrote there; None when it did not finish, or when its facts tell of other settings."""
    path = folder / "facts.json"
    facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if facts.get("drawn_by") != drawn_by:
        return None
    with open(folder / "rows.jsonl", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return rows, facts


def data_card(facts: dict) -> str:
    """The card of a cold-start data set, written from its facts."""
    lines = [
        f"| {way}, {which} | {' -> '.join(f'{name} {count}' for name, count in left.items())} |"
        for way, funnel in facts.get("ways", {}).items()
        for which, left in funnel.items()
    ]
    domains = ", ".join(f"{name} {count}" for name, count in facts.get("domains", {}).items())
    return "\n".join(
        [
            "# Cold-start data",
            "",
            f"{facts['rows']} examples ({domains or 'from the hub'}): a question, and a reply that was checked by rules. Made by "
            "`r1lab.stages.cold_start` from training problems of the tiny world; no test problem is in it. Apache-2.0.",
            "",
            "| way | replies left after each filter |",
            "|---|---|",
            *lines,
            "",
            "Keys: "
            + ", ".join(KEPT_KEYS)
            + ". Replies are a model's own, rewritten by rule (`tinyworld.refine`): "
            "they can not teach what the model never got right.",
            "",
        ]
    )


def train_cold_start(
    scale: Scale,
    output: Path | str,
    *,
    folders: dict[str, Path | str] | None = None,
    seed: int = 0,
    resume: bool = False,
    show=None,
    clean: bool = True,
    **overrides: Any,
) -> dict[str, Any]:
    """Build the data, fine-tune the base on it, save the model in `output`.

    folders: {"base": path, "zero": path} to start from other checkpoints than the shipped ones. overrides: fields of
    `trl.SFTConfig`. With `resume` finished data are read again and training goes on from its newest checkpoint.
    Returns {"history", "seconds", "trainer", "facts"}; the seconds hold the sampling too.
    """
    parents = find_parents(scale, "cold_start", folders)
    started, folder = time.monotonic(), Path(output) / DATA_FOLDER
    set_threads()
    drawn_by = {
        "seed": seed,
        "clean": clean,
        "parents": {name: Path(path).name for name, path in parents.items()},
    }
    found = load_data(folder, drawn_by) if resume else None
    if not found:
        rows, facts = build_cold_start(scale, parents, seed=seed, clean=clean)
        found = rows, {**facts, "drawn_by": drawn_by}
        save_data(*found, folder)
    rows, facts = found
    gc.collect()  # the policies that were asked
    settings = {"seed": seed, **({"num_train_epochs": EPOCHS} if scale.name == "tiny" else {}), **overrides}
    run = train_sft(scale, rows, output, model=parents["base"], resume=resume, show=show, **settings)
    seconds = time.monotonic() - started
    trainer = run["trainer"]
    save_stage(
        trainer.model,
        trainer.processing_class,
        output,
        stage="cold_start",
        scale=scale,
        seed=seed,
        parents=parents,
        recipe=f"SFT of the base on {len(rows)} replies of R1-Zero, {'cleaned up' if clean else 'not cleaned up'}, "
        f"{trainer.args.num_train_epochs:g} epochs, rate {trainer.args.learning_rate:g}, loss on the completion only",
        seconds=seconds,
    )
    return {**run, "seconds": round(seconds, 1), "facts": {**facts, "sft_seconds": run["seconds"]}}


ARMS = {
    "cold_start": train_cold_start,
    "cold_start-messy": partial(train_cold_start, clean=False),
}
