"""Runs any stage of the recipe from its parents to a saved checkpoint, and survives a crash on the way."""

import os
import time
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from transformers import TrainerState

from r1lab.policy import Policy, set_threads
from r1lab.recipe import VARIANTS
from r1lab.scale import Scale
from r1lab.stages.checkpoints import find_parents, is_sharded, save_stage
from r1lab.stages.run_folder import drop_checkpoints, explained, last_checkpoint, lock_folder


@dataclass
class Run:
    """One run of a stage: what `make_trainer(run, **options)` gets, and where it leaves notes for the runner.

    parents: {stage: path} of the checkpoints to start from. show: called with every row of the log. summary: half a
    sentence for the card. facts: what the run file keeps. data_seconds: of making the data, where the stage counts them.
    stopwatch: a callback whose `spent` replaces the seconds of training, see `stages/distill.py`.
    """

    stage: str
    scale: Scale
    output: Path
    parents: dict[str, str]
    seed: int = 0
    resume: bool = False
    show: Any = None
    summary: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    data_seconds: float = 0.0
    stopwatch: Any = None


def train_stage(
    name: str,
    scale: Scale,
    output: Path | str,
    *,
    folders: dict[str, Path | str] | None = None,
    seed: int = 0,
    resume: bool = False,
    show=None,
    **options: Any,
) -> dict[str, Any]:
    """Train stage `name`, or one of its variants (`recipe.VARIANTS`), and save the model in `output`.

    folders: {parent stage: folder} to start from other checkpoints than the shipped ones. resume: go on from the newest
    whole checkpoint in `output`. options: of the stage's `make_trainer`; all others are fields of its TRL config. Returns
    {"trainer", "history", "seconds", "facts"}; the seconds are those of training unless the stage counts its data, too. Raises ValueError on an unknown name.
    """
    if name not in VARIANTS:
        raise ValueError(f"there is no stage {name!r}: choose from {', '.join(VARIANTS)}")
    stage, preset = VARIANTS[name]
    module = import_module(f"r1lab.stages.{stage}")
    options = preset | options
    set_threads()
    # Stage 1: find the parents. A control may start from another stage than the recipe does.
    parents = find_parents(scale, stage, folders, instead=options.get("parent"))
    with lock_folder(output):
        run = Run(stage, scale, Path(output), parents, seed, resume, show)
        # Stage 2: the stage makes its data, its rewards and its trainer.
        trainer = module.make_trainer(run, **options)
        # Stage 3: train, or go on.
        result = run_trainer(trainer, resume=resume)
        seconds = run.stopwatch.spent if run.stopwatch else run.data_seconds + result["seconds"]
        result["seconds"] = round(seconds, 1)
        # Stage 4: save before anything is measured, so that a fault in measuring costs no training.
        save_stage(
            trainer.model,
            trainer.processing_class,
            output,
            stage=stage,
            scale=scale,
            seed=seed,
            parents=parents,
            recipe=f"{describe(trainer)}; {run.summary}".removesuffix("; "),
            seconds=result["seconds"],
        )
        # Stage 5: measure what only this stage can know.
        if hasattr(module, "measure"):
            run.facts |= module.measure(run, trainer, Policy(trainer.model, trainer.processing_class))
    return {**result, "facts": run.facts}


def describe(trainer) -> str:
    """How a trainer trained, in one line for the card: method, steps or epochs, learning rate."""
    args, steps = trainer.args, trainer.state.global_step
    method = type(args).__name__.removesuffix("Config")
    size = f"{args.num_train_epochs:g} epochs"
    if args.max_steps > 0:
        size = f"{steps} steps"
    if hasattr(args, "num_generations"):
        prompts = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        size += f" of {prompts // args.num_generations} groups of {args.num_generations}"
    kl = f", beta {args.beta:g}" if hasattr(args, "beta") else ""
    return f"{method}, {size}, rate {args.learning_rate:g}{kl}"


def run_trainer(trainer, *, resume: bool = False) -> dict[str, Any]:
    """Train; returns {"history", "seconds", "trainer"}, seconds of training.

    With `resume` it goes on from the newest complete checkpoint in the trainer's folder, if there is one; without,
    checkpoints that an earlier run left there are removed. Raises ValueError when the rows do not fill one step: the
    trainer would only warn, and the untouched parent would be saved as trained.
    """
    output = trainer.args.output_dir
    with lock_folder(output), explained(output):
        if not resume:
            with trainer.accelerator.main_process_first():
                drop_checkpoints(output)
        started, checkpoint = time.monotonic(), last_checkpoint(output)
        if not load_finished(trainer, checkpoint):
            trainer.train(resume_from_checkpoint=checkpoint)
        seconds = round(time.monotonic() - started, 1)
        if not trainer.state.global_step:
            raise ValueError(
                f"the run took no step: its {len(trainer.train_dataset)} rows do not fill one; train on more problems"
            )
        if is_sharded(trainer.model):
            # Every process hands in its part of the weights.
            trainer.save_model()
    return {"history": trainer.state.log_history, "seconds": seconds, "trainer": trainer}


def load_finished(trainer, checkpoint: str | None) -> bool:
    """Load `checkpoint` into the trainer if it is of the run's last step, and say whether it was.

    `train` looks for the end only after a step, so a run that was killed between its last checkpoint and its model would
    take one step too many. Sharded weights only `train` can load.
    """
    if not checkpoint or trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        return False
    state = TrainerState.load_from_json(os.path.join(checkpoint, "trainer_state.json"))
    if not 0 < trainer.args.max_steps <= state.global_step:
        return False
    trainer._load_from_checkpoint(checkpoint)
    trainer.state = state
    return True
