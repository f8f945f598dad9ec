"""Checkpoints of the stages: finding and saving them, with their record `stage.json` and their model card."""

import json
import os
from pathlib import Path

from r1lab.files import write_json
from r1lab.policy import save_tokenizer
from r1lab.recipe import PRETRAINED, STAGES
from r1lab.scale import DATA, Scale, output_folder

# Written last, so a folder without it was cut off by a crash.
RECORD = "stage.json"


def find_stage(scale: Scale, name: str, folder: Path | str | None = None) -> str:
    """Path of the checkpoint of stage `name`: `folder` if given, else the shipped one (tiny) or that of your last run.

    Raises FileNotFoundError when it is missing or unfinished, and ValueError when it is of another stage. Both name the
    command that trains it.
    """
    # At GPU scales the pretrained models come from the hub.
    if name in PRETRAINED and not folder and scale.name != "tiny":
        return scale.model if name == "base" else scale.student
    shipped = scale.name == "tiny" and STAGES[name].ships
    home = DATA / "models" / shipped if shipped else output_folder() / name
    path = Path(folder) if folder else home
    # Every error below ends with the command that makes the checkpoint.
    remedy = (
        f"make it with `make {'base' if name == 'base' else 'student'}`"
        if name in PRETRAINED
        else f"make it with `python -m r1lab {name} --output {_short(path)}`"
    )
    # A checkpoint is a whole model or a LoRA adapter.
    if not (path / "config.json").is_file() and not (path / "adapter_config.json").is_file():
        raise FileNotFoundError(f"no {STAGES[name].title} checkpoint at {_short(path)}: {remedy}")
    # No stage trained these, so they have no record.
    if name in PRETRAINED:
        return str(path)
    if not (path / RECORD).is_file():
        raise FileNotFoundError(f"the checkpoint at {_short(path)} was never finished: {remedy} --resume")
    # Folders are easy to mix up, and a run from the wrong parent would look like a bad seed.
    stage = json.loads((path / RECORD).read_text(encoding="utf-8"))["stage"]
    if stage != name:
        raise ValueError(f"{_short(path)} is a checkpoint of stage {stage!r}, not {name!r}: {remedy}")
    return str(path)


def find_parents(
    scale: Scale, name: str, folders: dict[str, Path | str] | None = None, *, instead: str | None = None
) -> dict[str, str]:
    """{stage: path} of all checkpoints that stage `name` starts from.

    folders: {stage: path} that replaces some of them. instead: the one stage that a control starts from. Raises as
    `find_stage` does, and ValueError for a parent that the stage does not have.
    """
    given, needs = folders or {}, (instead,) if instead else STAGES[name].needs
    # A parent that is ignored would be a mistake that nobody notices. The recipe's own parents may be given to a control.
    if stray := sorted(set(given) - {*needs, *STAGES[name].needs}):
        raise ValueError(
            f"stage {name} does not start from {', '.join(stray)}: it needs {', '.join(STAGES[name].needs)}"
        )
    return {parent: find_stage(scale, parent, given.get(parent)) for parent in needs}


def save_stage(
    model,
    tokenizer,
    output: Path | str,
    *,
    stage: str,
    scale: Scale,
    seed: int,
    parents: dict[str, str],
    recipe: str,
    seconds: float,
) -> None:
    """Save a finished stage in `output`: weights, tokenizer, `stage.json` and README.md, the model card.

    parents: {stage: path} that it started from. recipe: one or two sentences for the card. seconds: of training.
    """
    # Of several processes only the first writes.
    if int(os.environ.get("RANK", "0")):
        return
    output = Path(output)
    # A run that is killed while it saves must not look finished because of the record of an earlier run.
    (output / RECORD).unlink(missing_ok=True)
    # Sharded weights need all processes, so `runner.run_trainer` has saved them already.
    if not is_sharded(model):
        model.save_pretrained(output)
    save_tokenizer(tokenizer, output)
    # Names of folders, not paths: a record must mean the same on another machine.
    record = {
        "stage": stage,
        "parents": {name: Path(path).name for name, path in parents.items()},
        "scale": scale.name,
        "seed": seed,
        "recipe": recipe,
        "seconds": round(seconds, 1),
    }
    (output / "README.md").write_text(stage_card(record), encoding="utf-8")
    write_json(record, output / RECORD)


def is_sharded(model) -> bool:
    """Whether this process holds a part of the weights only (ZeRO-3, FSDP2)."""
    return any(hasattr(p, "ds_id") or hasattr(p, "full_tensor") for p in model.parameters())


def stage_card(record: dict, evaluation: str = "") -> str:
    """The model card of a checkpoint as Markdown. record: as in `stage.json`. evaluation: a Markdown table."""
    parents = ", ".join(f"`{folder}` ({STAGES[name].title})" for name, folder in record["parents"].items())
    # Training does not evaluate, so a new card says how to. The tools that ship a model pass its table.
    results = (
        evaluation
        or "Not evaluated yet: `python -m r1lab eval FOLDER` does it; the shipped models carry their table."
    )
    return f"""# {(record["scale"] == "tiny" and STAGES[record["stage"]].ships) or STAGES[record["stage"]].title}

Stage `{record["stage"]}` of the R1 recipe ({STAGES[record["stage"]].title}), at scale `{record["scale"]}`. Made by this project; Apache-2.0.

| | |
|---|---|
| starts from | {parents} |
| recipe | {record["recipe"]} |
| seed | {record["seed"]} |
| training | {record["seconds"]:.0f} s |

## Evaluation

{results}
"""


def _short(path: Path) -> str:
    """A path as the reader of an error would type it."""
    try:
        return str(path.resolve().relative_to(DATA.parent))
    except ValueError:
        return str(path)
