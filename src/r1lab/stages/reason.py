"""Reasoning RL: GRPO from the cold-started model, with a reward for the language of the question (DeepSeek-AI, 2025, 2.3.2)."""

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

# At scale tiny. The cold start has taught most of it, so fewer steps than R1-Zero's 130 are enough.
STEPS = 80
# As much as the format: a chain in the wrong language must not be worth more than a right answer.
LANGUAGE_WEIGHT = 0.5
# Training problems that are sampled before the run at scale tiny, and completions of each.
CANDIDATES = 1200
TRIES = 4
# Validation problems whose self-checks are counted afterwards, TRIES completions each.
CHECKED = 240


def reason_rewards(language_weight: float = LANGUAGE_WEIGHT, smoothing: float = 0.0) -> dict[str, list]:
    """The rewards of R1-Zero and one for the language of the question, as `zero_rewards` gives them.

    language_weight: with 0 the language is only logged. smoothing: of the language reward. At 0, long and short chains in
    one language get the same reward.
    """
    return zero_rewards(
        {"language_consistency": language_weight}, language_consistency={"smoothing": smoothing}
    )


def sampling(scale: Scale, seed: int = 0) -> dict[str, Any]:
    """Arguments of `rollouts.sample_completions`: TRIES completions of each problem, sampled as GRPO samples them."""
    # The same limit as in training, or a long completion would count as right here and as wrong there.
    limit = scale.max_completion_tokens
    return {"template": scale.template, "samples": TRIES, "seed": seed, "max_new_tokens": limit}


def unsolved_problems(policy, problems: list[dict], scale: Scale, *, seed: int = 0) -> list[dict]:
    """The problems that `policy` does not solve in every one of TRIES samples, graded as the rewards grade.

    DAPO (Yu et al., 2025) tests this at every step and samples again. Testing once before the run is simpler. In a long run
    the result becomes out of date.
    """
    groups = sample_and_grade(policy, problems, require_tags=True, **sampling(scale, seed))
    # In a group whose completions are all right, every advantage is 0 and nothing is learned.
    return [
        problem
        for problem, group in zip(problems, groups, strict=True)
        if not all(rollout["correct"] for rollout in group)
    ]


def reason_dataset(scale: Scale, parent: str, *, seed: int = 0):
    """The training problems as a `datasets.Dataset`. At scale tiny only those that the checkpoint `parent` does not always
    solve, of a random part.
    """
    # Measured at scale tiny only.
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
    # Stage 1: the problems.
    started = time.monotonic()
    start = run.parents[parent]
    dataset = reason_dataset(run.scale, start, seed=run.seed) if select else zero_dataset(run.scale)
    run.facts |= {"problems": len(dataset), "selection_seconds": round(time.monotonic() - started, 1)}
    run.summary = f"{len(dataset)} problems; rewards: R1-Zero's + {language_weight:g} language consistency"
    # Stage 2: the trainer. The options of the caller come last.
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
    """{"checks": ...}, the self-checks of the trained policy as `sampled_checks` counts them."""
    return {"checks": sampled_checks(policy, run.scale, seed=run.seed)}


def sampled_checks(policy, scale: Scale, *, seed: int = 0) -> dict[str, int]:
    """`self_checks.count_checks` of completions sampled at temperature 1 on validation problems."""
    problems = take_balanced(load_scale_problems(scale, "validation"), CHECKED)
    groups = sample_completions(policy, problems, **sampling(scale, seed))
    return count_checks(rollout["completion"] for group in groups for rollout in group)
