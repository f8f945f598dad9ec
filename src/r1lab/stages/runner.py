"""Runs any stage of the recipe from its parents to a saved checkpoint. A run that was killed can be resumed."""

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
from r1lab.stages.run_folder import drop_checkpoints, explain_errors, last_checkpoint, lock_folder


@dataclass
class Run:
    """One run of a stage: the argument of `make_trainer(run, **options)`, which also writes its results for the runner here.

    parents: {stage: path} of the checkpoints to start from. show: called with every row of the log.
    """

    # Set by the runner.
    stage: str
    scale: Scale
    output: Path
    parents: dict[str, str]
    seed: int = 0
    resume: bool = False
    show: Any = None
    # Set by the stage: half a sentence for the card, what the run file stores, the seconds of making the data where they
    # count, and a callback whose `spent` replaces the seconds of training (`stages/distill.py`).
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
    """{"trainer", "history", "seconds", "facts"} of stage `name` after training. The model is saved in `output`.

    name: a stage or one of its variants (`recipe.VARIANTS`). folders: {parent stage: folder} to start from other checkpoints
    than the shipped ones. resume: go on from the newest whole checkpoint in `output`. options: of the stage's
    `make_trainer`; all others are fields of its TRL config. The seconds are those of training, and those of making the data
    where the stage counts them. Raises ValueError on an unknown name.
    """
    if name not in VARIANTS:
        raise ValueError(f"there is no stage {name!r}: choose from {', '.join(VARIANTS)}")
    stage, preset = VARIANTS[name]
    # Imported by name, so that adding a stage needs one file and one line in the table.
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
        # Stage 5: measure what no other stage measures.
        if hasattr(module, "measure"):
            run.facts |= module.measure(run, trainer, Policy(trainer.model, trainer.processing_class))
    return {**result, "facts": run.facts}


def describe(trainer) -> str:
    """One line for the card: method, steps or epochs, learning rate."""
    args, steps = trainer.args, trainer.state.global_step
    # GRPOConfig, SFTConfig, DPOConfig: the name of the config names the method.
    method = type(args).__name__.removesuffix("Config")
    size = f"{args.num_train_epochs:g} epochs"
    if args.max_steps > 0:
        size = f"{steps} steps"
    if hasattr(args, "num_generations"):
        # TRL counts completions in its batch sizes.
        prompts = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        size += f" of {prompts // args.num_generations} groups of {args.num_generations}"
    kl = f", beta {args.beta:g}" if hasattr(args, "beta") else ""
    return f"{method}, {size}, rate {args.learning_rate:g}{kl}"


def run_trainer(trainer, *, resume: bool = False) -> dict[str, Any]:
    """{"history", "seconds", "trainer"} after training: the trainer's log and the seconds of training.

    With `resume` it goes on from the newest complete checkpoint in the trainer's folder, if there is one. Raises ValueError
    when the rows do not fill one step.
    """
    output = trainer.args.output_dir
    with lock_folder(output), explain_errors(output):
        if not resume:
            # Checkpoints of an earlier run. One process removes them before the others look for a checkpoint.
            with trainer.accelerator.main_process_first():
                drop_checkpoints(output)
        started, checkpoint = time.monotonic(), last_checkpoint(output)
        if not load_finished(trainer, checkpoint):
            trainer.train(resume_from_checkpoint=checkpoint)
        seconds = round(time.monotonic() - started, 1)
        # The trainer would only warn, and the untouched parent would be saved as trained.
        if not trainer.state.global_step:
            raise ValueError(
                f"the run took no step: its {len(trainer.train_dataset)} rows do not fill one; train on more problems"
            )
        if is_sharded(trainer.model):
            # Here and not in `save_stage`, because every process must contribute its part of the weights.
            trainer.save_model()
    return {"history": trainer.state.log_history, "seconds": seconds, "trainer": trainer}


def load_finished(trainer, checkpoint: str | None) -> bool:
    """Whether `checkpoint` is of the run's last step. If it is, the trainer has its weights and state afterwards.

    `train` checks for the end only after a step. A run that was killed between its last checkpoint and its model would
    take one step too many.
    """
    # Sharded weights can be loaded by `train` alone.
    if not checkpoint or trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        return False
    state = TrainerState.load_from_json(os.path.join(checkpoint, "trainer_state.json"))
    if not 0 < trainer.args.max_steps <= state.global_step:
        return False
    trainer._load_from_checkpoint(checkpoint)
    trainer.state = state
    return True
