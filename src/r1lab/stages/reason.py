"""Reasoning RL: GRPO from the cold-started model, with a reward for the reader's language (DeepSeek-AI, 2025, 2.3.2)."""

import random
import time
from typing import Any

from r1lab.policy import load_policy
from r1lab.problems import load_scale_problems, take_balanced
from r1lab.rollouts import sample_and_grade, sample_completions
from r1lab.scale import Scale
from r1lab.self_checks import count_checks
from r1lab.stages.grpo import make_grpo_trainer
from r1lab.stages.runner import Run
from r1lab.stages.zero import training_set, zero_dataset, zero_rewards

# At scale tiny. The cold start has done the larger part of the work, so fewer steps than R1-Zero's are enough.
STEPS = 80
# As much as the format: a chain in the wrong language must not be worth more than a right answer.
LANGUAGE_WEIGHT = 0.5
# At scale tiny so many training problems are tried before the run, this many times each.
CANDIDATES = 1200
TRIES = 4
# Validation problems whose self-checks are counted afterwards, TRIES completions each.
CHECKED = 240


def reason_rewards(language_weight: float = LANGUAGE_WEIGHT, smoothing: float = 0.0) -> dict[str, list]:
    """The rewards of R1-Zero plus the language of the question; with a weight of 0 the language is only logged.

    smoothing: of the language reward. At zero every chain in one language earns the same, long or short.
    """
    return zero_rewards(
        {"language_consistency": language_weight}, language_consistency={"smoothing": smoothing}
    )


def sampling(scale: Scale, seed: int = 0) -> dict[str, Any]:
    """How problems are tried: as GRPO samples them, TRIES times."""
    limit = scale.max_completion_tokens
    return {"template": scale.template, "samples": TRIES, "seed": seed, "max_new_tokens": limit}


def unsolved_problems(policy, problems: list[dict], scale: Scale, *, seed: int = 0) -> list[dict]:
    """The problems that `policy` does not solve in every one of TRIES samples, graded as the rewards grade.

    A group that is right throughout has no gradient. DAPO (Yu et al., 2025) samples such groups again at every step.
    Sorting the problems once, before the run, is simpler, and goes stale only in a long run.
    """
    groups = sample_and_grade(policy, problems, require_tags=True, **sampling(scale, seed))
    return [
        problem
        for problem, group in zip(problems, groups, strict=True)
        if not all(rollout["correct"] for rollout in group)
    ]


def reason_dataset(scale: Scale, parent: str, *, seed: int = 0):
    """The training problems as a `datasets.Dataset`; at scale tiny those of a random part that the parent checkpoint
    does not always solve."""
    if scale.name != "tiny":
        return zero_dataset(scale)
    problems = random.Random(seed).sample(load_scale_problems(scale, "train"), CANDIDATES)
    return training_set(unsolved_problems(load_policy(parent), problems, scale, seed=seed), scale)


def make_trainer(
    run: Run,
    *,
    parent: str = "cold_start",
    language_weight: float = LANGUAGE_WEIGHT,
    smoothing: float = 0.0,
    select: bool = True,
    **overrides: Any,
):
    """The GRPO trainer of the reasoning stage.

    parent: the stage to start from; any other than the cold start is a control. select: train on the problems that the
    parent does not always solve, see `reason_dataset`. overrides: fields of `GRPOConfig`.
    Facts: how many problems it trains on, and the seconds it took to select them.
    """
    started = time.monotonic()
    start = run.parents[parent]
    dataset = reason_dataset(run.scale, start, seed=run.seed) if select else zero_dataset(run.scale)
    run.facts |= {"problems": len(dataset), "selection_seconds": round(time.monotonic() - started, 1)}
    run.summary = f"{len(dataset)} problems; rewards: R1-Zero's + {language_weight:g} language consistency"
    if run.scale.name == "tiny":
        overrides = {"max_steps": STEPS} | overrides
    return make_grpo_trainer(
        run.scale,
        run.output,
        dataset=dataset,
        rewards=reason_rewards(language_weight, smoothing),
        model=start,
        show=run.show,
        **{"seed": run.seed, **overrides},
    )


def measure(run: Run, trainer, policy) -> dict[str, Any]:
    """The self-checks of the trained policy."""
    return {"checks": sampled_checks(policy, run.scale, seed=run.seed)}


def sampled_checks(policy, scale: Scale, *, seed: int = 0) -> dict[str, int]:
    """`self_checks.count_checks` of completions sampled at temperature 1 on validation problems."""
    problems = take_balanced(load_scale_problems(scale, "validation"), CHECKED)
    groups = sample_completions(policy, problems, **sampling(scale, seed))
    return count_checks(rollout["completion"] for group in groups for rollout in group)
