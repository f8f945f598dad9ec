"""R1-Zero: GRPO straight from a base model, rewarded by rules alone (DeepSeek-AI, 2025, section 2.2)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1lab.problems import load_scale_problems, to_training_rows
from r1lab.rewards import VERIFIERS, reward_set
from r1lab.scale import Scale
from r1lab.stages.grpo import LOGGED_ONLY, make_grpo_trainer
from r1lab.stages.runner import Run

# Half as much as a right answer: format alone must never be worth more than substance.
FORMAT_WEIGHT = 0.5


def zero_dataset(scale: Scale):
    """The scale's training problems as a `datasets.Dataset`, see `training_set`."""
    return training_set(load_scale_problems(scale, "train"), scale)


def training_set(problems: list[dict], scale: Scale):
    """Problems as a `datasets.Dataset` in a fixed shuffle, prompts rendered for the scale's policy.

    problems: rows with the keys of data/problems. All keys become columns, because the rewards read them.
    """
    from datasets import Dataset

    # Files are sorted by kind of problem. Unshuffled, each step would train on one kind.
    return Dataset.from_list(to_training_rows(problems, scale.template)).shuffle(seed=0)


def zero_rewards(more: Mapping[str, float] | None = None, **options: Mapping) -> dict[str, list]:
    """The rewards of R1-Zero, {"reward_funcs": ..., "reward_weights": ...} as TRL's trainer and config take them.

    more: {name: weight} of the rewards that a later stage adds. options: of rewards by name, as in `reward_set`.
    """
    # One reward for each verifier, which scores only the problems that name it, and one for the format.
    weights = {reward.name: 1.0 for reward in VERIFIERS.values()}
    weights |= {"format": FORMAT_WEIGHT, **(more or {})}
    # An answer must be worked out: `12+7` equals 19, but repeating the question is no answer.
    rewards = reward_set(weights, accuracy={"require_simplified": True}, **options)
    # With weight 0 they change no advantage.
    rewards["reward_funcs"] += LOGGED_ONLY
    rewards["reward_weights"] += [0.0] * len(LOGGED_ONLY)
    return rewards


def make_zero_trainer(scale: Scale, output: Path | str, **options: Any):
    """The GRPO trainer of R1-Zero at this scale; options as in `make_grpo_trainer`."""
    return make_grpo_trainer(scale, output, dataset=zero_dataset(scale), rewards=zero_rewards(), **options)


def make_trainer(run: Run, **overrides: Any):
    """The trainer for the runner; overrides are fields of `GRPOConfig`."""
    run.summary = f"rewards: accuracy + {FORMAT_WEIGHT} format"
    options = {"model": run.parents["base"], "show": run.show, "seed": run.seed}
    return make_zero_trainer(run.scale, run.output, **options, **overrides)
