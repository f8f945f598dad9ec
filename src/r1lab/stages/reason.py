"""Reasoning RL: GRPO from the cold-started model, paid for the reader's language as well (DeepSeek-AI, 2025, 2.3.2)."""

import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from r1lab.policy import Policy, load_policy, set_threads
from r1lab.problems import load_scale_problems, take_balanced
from r1lab.prompts import render_prompt
from r1lab.rewards import grade_many
from r1lab.scale import Scale
from r1lab.self_checks import count_checks
from r1lab.stages.checkpoints import find_parents, find_stage, save_stage
from r1lab.stages.grpo import make_grpo_trainer, run_trainer
from r1lab.stages.zero import training_set, zero_dataset, zero_rewards

STEPS = 80  # at scale tiny: the cold start has done the larger part of the work
LANGUAGE_WEIGHT = 0.5  # as much as the form: a chain in the wrong language must not beat a right answer
PROBED = 1200  # training problems that are tried before the run ...
TRIES = 4  # ... this many times each; what is solved every time has nothing left to teach
COUNTED = 240  # validation problems whose self-checks are counted, TRIES completions each


def reason_rewards(language_weight: float = LANGUAGE_WEIGHT, smoothing: float = 0.0) -> dict[str, list]:
    """What R1-Zero is paid for plus the language of the question; a weight of 0 only watches the language.

    smoothing: of the language reward. Zero, so that every chain in one language earns the same, long or short.
    """
    return zero_rewards(
        {"language_consistency": language_weight}, language_consistency={"smoothing": smoothing}
    )


def draw(policy, problems: list[dict], scale: Scale, *, seed: int = 0) -> list[list[str]]:
    """TRIES completions of every problem at temperature 1, as text."""
    prompts = [render_prompt(p["prompt"], template=scale.template, language=p["language"]) for p in problems]
    drawn = policy.generate(
        prompts, samples=TRIES, temperature=1.0, seed=seed, max_new_tokens=scale.max_completion_tokens
    )
    return [[sample.text for sample in group] for group in drawn]


def unsolved_problems(policy, problems: list[dict], scale: Scale, *, seed: int = 0) -> list[dict]:
    """The problems that `policy` does not solve in every one of TRIES samples, graded as the rewards grade.

    A group that is right throughout has no gradient. DAPO (Yu et al., 2025) samples such groups again at every step;
    sorting the problems once, before the run, is simpler, and goes stale only in a long one.
    """
    groups = draw(policy, problems, scale, seed=seed)
    texts = [text for group in groups for text in group]
    asked = [problem for problem, group in zip(problems, groups, strict=True) for _ in group]
    right = grade_many(texts, asked, require_tags=True)
    return [p for place, p in enumerate(problems) if not all(right[place * TRIES : (place + 1) * TRIES])]


def reason_dataset(scale: Scale, parent: str, *, seed: int = 0):
    """The training problems as a `datasets.Dataset`; at scale tiny those of a random part that the parent checkpoint
    does not always solve."""
    if scale.name != "tiny":
        return zero_dataset(scale)
    problems = random.Random(seed).sample(load_scale_problems(scale, "train"), PROBED)
    kept = unsolved_problems(load_policy(parent), problems, scale, seed=seed)
    return training_set(kept, scale)


def train_reason(
    scale: Scale,
    output: Path | str,
    *,
    folders: dict[str, Path | str] | None = None,
    seed: int = 0,
    resume: bool = False,
    show=None,
    parent: str = "cold_start",
    language_weight: float = LANGUAGE_WEIGHT,
    smoothing: float = 0.0,
    choose: bool = True,
    **overrides: Any,
) -> dict[str, Any]:
    """Train the reasoning stage and save the model in `output`: {"history", "seconds", "trainer", "facts"}.

    parent: the stage to start from; any other than the cold start is a control. choose: train on the problems that the
    parent does not always solve, see `reason_dataset`. overrides: fields of `GRPOConfig`.
    facts: how many problems it trained on, the seconds it took to choose them, and the self-checks of the trained
    policy on validation problems, see `self_checks.count_checks`.
    """
    if parent == "cold_start":
        parents = find_parents(scale, "reason", folders)
    else:
        parents = {parent: find_stage(scale, parent, (folders or {}).get(parent))}
    if scale.name == "tiny":
        overrides = {"max_steps": STEPS} | overrides
    set_threads()
    started = time.monotonic()
    dataset = reason_dataset(scale, parents[parent], seed=seed) if choose else zero_dataset(scale)
    facts = {"problems": len(dataset), "choosing_seconds": round(time.monotonic() - started, 1)}
    trainer = make_grpo_trainer(
        scale,
        output,
        dataset=dataset,
        rewards=reason_rewards(language_weight, smoothing),
        model=parents[parent],
        show=show,
        seed=seed,
        **overrides,
    )
    run = run_trainer(trainer, resume=resume)
    save_stage(
        trainer.model,
        trainer.processing_class,
        output,
        stage="reason",
        scale=scale,
        seed=seed,
        parents=parents,
        recipe=f"GRPO, {trainer.state.global_step} steps of {scale.groups} groups of {scale.group_size} on {len(dataset)} problems, rate "
        f"{trainer.args.learning_rate:g}, KL coefficient {trainer.args.beta:g}; the rewards of R1-Zero + "
        f"{language_weight:g} language consistency",
        seconds=run["seconds"],
    )
    facts["checks"] = sampled_checks(Policy(trainer.model, trainer.processing_class), scale, seed=seed)
    return {**run, "facts": facts}


def sampled_checks(policy, scale: Scale, *, seed: int = 0) -> dict[str, int]:
    """`self_checks.count_checks` of completions sampled at temperature 1 on validation problems."""
    asked = take_balanced(load_scale_problems(scale, "validation"), COUNTED)
    return count_checks(text for group in draw(policy, asked, scale, seed=seed) for text in group)


ARMS: dict[str, Callable[..., dict[str, Any]]] = {
    "reason": train_reason,
    # The ablation: the language is watched and not paid for
    "reason-free": partial(train_reason, language_weight=0.0),
    # The control: the same rewards and steps without a cold start
    "reason-zero": partial(train_reason, parent="zero"),
    # The control: all training problems, most of which the cold start has solved already
    "reason-all": partial(train_reason, choose=False),
    # A reward with a hole: each further word in the right language pays a little more
    "reason-smoothed": partial(train_reason, smoothing=1.0),
}
