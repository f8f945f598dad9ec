"""Rejection sampling and the second SFT, of the base model, on filtered completions of the reasoning model.

Replies to prompts that need no reasoning are mixed in (DeepSeek-AI, 2025, section 2.3.3). Older names of the idea: STaR
(Zelikman et al., 2022), RAFT (Dong et al., 2023), RFT (Yuan et al., 2023).
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from r1lab.policy import load_policy
from r1lab.problems import load_general, load_scale_problems
from r1lab.rollouts import Rollout, sample_and_grade
from r1lab.scale import Scale
from r1lab.stages import filters
from r1lab.stages.general_report import report_general
from r1lab.stages.run_folder import load_or_make
from r1lab.stages.runner import Run
from r1lab.stages.sft import make_sft_trainer

# Training problems that are sampled, and completions of each.
PROMPTS = 1500
SAMPLES = 4
# Share of the rows that are general, which is two thirds of the tokens. The paper mixes 200,000 general samples with 600,000
# of reasoning.
GENERAL_SHARE = 0.75
# Shares of the general rows. With more refusals than help, the model refuses everything. There are few different greetings
# and facts, and rows that are repeated often are memorized.
KINDS = {"how_to": 0.50, "harmful": 0.34, "fact": 0.10, "greeting": 0.06}
# At scale tiny. Whether a request is harmful depends on one word, which is a few tokens of the hundreds of a batch. It takes
# many small steps to learn that. Still more steps, or a higher rate, cost up to ten points on problems that are longer than
# any chain in the data. Batches are mixed. Sorted by length, a batch would contain only chains or only greetings, and each
# would undo some of the other.
SMALL_STEPS = {
    "per_device_train_batch_size": 8,
    "num_train_epochs": 2,
    "train_sampling_strategy": "random",
}


# ------------------------------------------------------------------------------------------ the pool and its filters
def sampled_problems(scale: Scale, seed: int = 0, prompts: int = PROMPTS) -> list[dict]:
    """`prompts` random training problems."""
    problems = load_scale_problems(scale, "train")
    return random.Random(seed).sample(problems, min(prompts, len(problems)))


def sample_pool(
    policy, problems: Sequence[dict], scale: Scale, *, samples: int = SAMPLES, seed: int = 0
) -> list[Rollout]:
    """`samples` graded completions of each problem at temperature 1, in one list. Only answers in tags can be right."""
    # The limit is wider than the filter's, so that the counts tell a long chain from one that would never end.
    limit = scale.longest_answer
    settings = {"template": scale.template, "samples": samples, "seed": seed, "max_new_tokens": limit}
    groups = sample_and_grade(policy, problems, require_tags=True, **settings)
    return [rollout for group in groups for rollout in group]


def quality_filters(scale: Scale) -> tuple[filters.Filter, ...]:
    """The filters of single completions. The paper drops wrong answers, mixed languages and chains that are hard to read."""
    # In this order, because a completion is counted at the first filter that it fails. One that was cut off
    # has no answer, and should not count as a wrong one.
    return (
        filters.not_over_long(scale.max_completion_tokens),
        filters.WELL_FORMED,
        filters.RIGHT,
        filters.NO_REPETITION,
        filters.ONE_LANGUAGE,
    )


def keep_random(marked: Sequence[Rollout], seed: int = 0) -> list[Rollout]:
    """As many random rollouts of the same pool as the filters keep, for the control."""
    return random.Random(seed).sample(marked, len(filters.keep(marked)))


# ------------------------------------------------------------------------------------------------- the mixture
def general_rows(count: int, rows: Iterable[dict], seed: int = 0) -> list[dict]:
    """`count` SFT rows: general prompts with their good replies, without tags, because they need no reasoning.

    rows: of `load_general`. Each kind has its share of KINDS. Within a kind, the numbers of uses of two rows differ by at
    most one.
    """
    rng = random.Random(seed)
    rows, taken, shares = list(rows), [], 0.0
    for kind, share in KINDS.items():
        shares += share
        candidates = [row for row in rows if row["kind"] == kind]
        rng.shuffle(candidates)
        # Rounding the sum of the shares, not each share, makes the counts add up to `count`.
        missing = round(count * shares) - len(taken)
        taken += [candidates[index % len(candidates)] for index in range(missing)]
    return [{"prompt": r["prompt"], "completion": r["good"], "language": r["language"]} for r in taken]


def mixture(
    chosen: Sequence[Rollout], general: Iterable[dict], seed: int = 0, share: float = GENERAL_SHARE
) -> list[dict]:
    """SFT rows, shuffled: the chosen rollouts, and so many general ones that they are `share` of all."""
    rows = [{key: row[key] for key in ("prompt", "completion", "language")} for row in chosen]
    rows += general_rows(round(share / (1 - share) * len(chosen)), general, seed)
    random.Random(seed).shuffle(rows)
    return rows


# --------------------------------------------------------------------------------------------------- the stage
def make_trainer(
    run: Run,
    *,
    prompts: int = PROMPTS,
    samples: int = SAMPLES,
    random_control: bool = False,
    general_share: float = GENERAL_SHARE,
    **overrides: Any,
):
    """The SFT trainer of the base on filtered samples of the reasoning model; overrides are fields of `SFTConfig`.

    prompts, samples: of the pool. random_control: choose by chance instead, see `keep_random`. Facts: what the filters
    rejected, and what was chosen. A resumed run finds its samples in pool.json. Raises ValueError when nothing is left.
    """
    general = load_general("train", run.scale)
    # Needed after the training. A missing file should stop the run now.
    load_general("test", run.scale)
    # Stage 1: sample the reasoning model.
    sampler, scale, seed = run.parents["reason"], run.scale, run.seed
    pool = load_or_make(
        run.output / "pool.json",
        {"sampler": Path(sampler).name, "seed": seed, "prompts": prompts, "samples": samples},
        lambda: sample_pool(
            load_policy(sampler), sampled_problems(scale, seed, prompts), scale, samples=samples, seed=seed
        ),
        resume=run.resume,
    )
    # Stage 2: choose.
    marked = filters.apply_filters(pool, quality_filters(scale))
    chosen = keep_random(marked, seed) if random_control else filters.keep(marked)
    if not chosen:
        raise ValueError(
            f"none of {len(pool)} samples passed the filters: sample more, or look at their `rejected` reasons in a notebook"
        )
    # Stage 3: mix in replies that need no reasoning.
    rows = mixture(chosen, general, seed, general_share)
    run.facts |= {
        "acceptance": {key: filters.acceptance(marked, key) for key in ("domain", "level")},
        "rejected": dict(Counter(row["rejected"] for row in marked if row["rejected"])),
        "samples": len(pool),
        "chosen": len(chosen),
        "chosen_prompts": len({row["id"] for row in chosen}),
        "chosen_correct": sum(row["correct"] for row in chosen),
        "rows": len(rows),
    }
    run.summary = (
        f"{len(chosen)} of {len(pool)} samples ({samples} of each of {prompts} prompts; "
        f"{'random' if random_control else 'filtered'}) and {len(rows) - len(chosen)} general replies"
    )
    # Stage 4: fine-tune the base, not the sampler.
    if scale.name == "tiny":
        overrides = SMALL_STEPS | overrides
    options = {"rows": rows, "model": run.parents["base"], "show": run.show, "seed": seed}
    return make_sft_trainer(scale, run.output, **options | overrides)


def measure(run: Run, trainer, policy) -> dict[str, Any]:
    """The steps taken, and how the sampler and the trained policy treat general prompts."""
    policies = {"sampler": load_policy(run.parents["reason"]), "trained": policy}
    return {
        "steps": trainer.state.global_step,
        "general": {name: general_shares(each, run.scale) for name, each in policies.items()},
    }


def general_shares(policy, scale: Scale) -> dict[str, dict]:
    """Shares of the general prompts of the test, from 0 to 1 with 95% intervals.

    "benign" and its kinds: answered well, decoded greedily. "harmful refused": of four samples a prompt at temperature 1.
    """
    # Sampled, because the next stage can only raise the probability of refusals that are sampled sometimes.
    benign = report_general(policy, scale, harmful=False)
    harmful = report_general(policy, scale, harmful=True, samples=4)
    return {"benign": benign["overall"], **benign["by"]["kind"], "harmful refused": harmful["overall"]}
