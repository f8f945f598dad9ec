"""R1-Zero: GRPO straight from a base model, paid by rules alone (DeepSeek-AI, 2025, section 2.2)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1lab.problems import load_scale_problems, to_training_rows
from r1lab.rewards import VERIFIERS, reward_set
from r1lab.scale import Scale
from r1lab.stages.checkpoints import find_parents, save_stage
from r1lab.stages.grpo import WATCHED, make_grpo_trainer, run_trainer

FORMAT_WEIGHT = 0.5  # well-formed is worth half as much as right: form alone must never beat substance


def zero_dataset(scale: Scale):
    """The training problems as a `datasets.Dataset`, see `training_set`."""
    return training_set(load_scale_problems(scale, "train"), scale)


def training_set(problems: list[dict], scale: Scale):
    """Problems as a `datasets.Dataset` in a fixed shuffle, prompts rendered for the scale's policy."""
    from datasets import Dataset

    return Dataset.from_list(to_training_rows(problems, scale.template)).shuffle(seed=0)


def zero_rewards(more: Mapping[str, float] | None = None, **options: Mapping) -> dict[str, list]:
    """The arguments of `GRPOTrainer` and `GRPOConfig` that say what is paid for: reward functions and weights.

    more: further rewards with their weights, and options for them (as in `reward_set`): later stages add to R1-Zero's.
    """
    # One reward per verifier, which scores only the problems that name it, and one for the format.
    weights = {reward.name: 1.0 for reward in VERIFIERS.values()}
    weights |= {"format": FORMAT_WEIGHT, **(more or {})}
    # An answer must be worked out: `12+7` equals 19, but handing the question back is no answer.
    rewards = reward_set(weights, accuracy={"require_simplified": True}, **options)
    rewards["reward_funcs"] += WATCHED
    rewards["reward_weights"] += [0.0] * len(WATCHED)
    return rewards


def make_zero_trainer(scale: Scale, output: Path | str, **options):
    """The GRPO trainer of R1-Zero at this scale; options as in `make_grpo_trainer`."""
    return make_grpo_trainer(scale, output, dataset=zero_dataset(scale), rewards=zero_rewards(), **options)


def train_zero(
    scale: Scale,
    output: Path | str,
    *,
    folders: dict[str, Path | str] | None = None,
    resume: bool = False,
    **options,
) -> dict[str, Any]:
    """Train R1-Zero and save the model in `output`. Returns the log history and the seconds training took.

    folders: {"base": folder} trains another base; resume: as in `run_trainer`; other options as in `make_grpo_trainer`.
    """
    parents = find_parents(scale, "zero", folders)
    run = run_trainer(make_zero_trainer(scale, output, model=parents["base"], **options), resume=resume)
    args, steps = run["trainer"].args, run["trainer"].state.global_step
    save_stage(
        run["trainer"].model,
        run["trainer"].processing_class,
        output,
        stage="zero",
        scale=scale,
        seed=args.seed,
        parents=parents,
        recipe=f"GRPO, {steps} steps of {scale.groups} groups of {scale.group_size}, rate "
        f"{args.learning_rate:g}; accuracy + {FORMAT_WEIGHT} format; no KL term",
        seconds=run["seconds"],
    )
    return run
