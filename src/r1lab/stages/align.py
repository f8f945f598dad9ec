"""All-scenario RL: rules reward the problems, a reward model rewards general prompts (DeepSeek-AI, 2025, section 2.3.4).

Two methods to compare with are here too. Plain RLHF uses the reward model alone. DPO needs no reward model and no sampling.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from transformers import TrainerCallback

from r1lab.policy import load_policy
from r1lab.problems import load_general, load_scale_problems
from r1lab.rewards import make_reward
from r1lab.rewards.base import Reward, completion_texts
from r1lab.rewards.general import answers_well
from r1lab.scale import Scale
from r1lab.stages.callbacks import attach_log
from r1lab.stages.config import make_dpo_args
from r1lab.stages.general_report import refusals, report_general, shares_by_kind
from r1lab.stages.grpo import load_trainable, make_grpo_trainer
from r1lab.stages.preference import (
    PreferenceReward,
    length_biased_pairs,
    pair_accuracy,
    preference_dataset,
    preference_pairs,
    train_reward_model,
)
from r1lab.stages.reason import reason_rewards
from r1lab.stages.runner import Run
from r1lab.stages.zero import training_set

# The value of the column `verifier` for a prompt that no rule can check.
GENERAL = "general"
# At scale tiny, where these two were measured.
STEPS = 100
RATE = 5e-4
# Share of the prompts that are general. Two stages of RL have trained on the problems, so few are enough to keep the
# accuracy.
GENERAL_SHARE = 0.75
# The same weight as a right answer in the right format and language.
PREFERENCE_WEIGHT = 2.0
# Small, because a useless reply with the right words gets this reward too.
PROXY_WEIGHT = 0.25
# Samples of each general prompt of the test, beside the greedy reply.
SAMPLES = 4
# Steps of which one point of the curves is the mean.
CURVE_STEPS = 5
# Replies of the trained policy that the run file stores.
KEPT_REPLIES = 24
# The curves of a run: name -> key in the trainer's log. The last three are DPO's.
CURVES = {
    "preference": "rewards/preference/mean",
    "answered_well": "rewards/answered_well/mean",
    "kl": "kl",
    "tokens": "completions/mean_length",
    "margin": "rewards/margins",
    "chosen": "logps/chosen",
    "rejected": "logps/rejected",
}


class AnsweredWell(Reward):
    """1.0 where a general prompt was answered well, by rules that know the good reply. It is logged with weight 0."""

    name = "answered_well"

    def __call__(self, completions, *, question, language, kind, good, **columns) -> list[float]:
        rows = [
            {"prompt": prompt, "language": code, "kind": kind_of_prompt, "good": reply}
            for prompt, code, kind_of_prompt, reply in zip(question, language, kind, good, strict=True)
        ]
        return [float(answers_well(*pair)) for pair in zip(completion_texts(completions), rows, strict=True)]


class RestrictedReward(Reward):
    """Another reward on general prompts only, or on problems only. All other rows get None, which TRL skips."""

    def __init__(self, reward: Reward, *, general: bool) -> None:
        self.name = reward.__name__
        super().__init__()
        self.reward, self.general = reward, general

    def __call__(self, completions, *, verifier, **columns) -> list[float | None]:
        """One score or None for each completion. verifier: `GENERAL` marks the general prompts."""
        # Stage 1: which rows the other reward gets.
        columns |= {"completions": completions, "verifier": verifier}
        chosen = [i for i, name in enumerate(verifier) if (name == GENERAL) == self.general]
        # Stage 2: its columns, cut to these rows. TRL also passes functions and states, which are no columns.
        part = {
            key: [values[i] for i in chosen] if isinstance(values, list | tuple) else values
            for key, values in columns.items()
        }
        # Stage 3: its scores go back to their rows.
        scores: list[float | None] = [None] * len(verifier)
        for i, score in zip(chosen, self.reward(**part) if chosen else [], strict=True):
            scores[i] = score
        return scores


def align_rewards(preference: PreferenceReward) -> dict[str, list]:
    """All rewards of this stage, {"reward_funcs": ..., "reward_weights": ...}.

    On problems they are those of the reasoning stage. On general prompts they are the reward model and two rules that search
    for words. The language of the question is rewarded on both.
    """
    rewards = reason_rewards()
    # A chain of thought in tags is for problems. A greeting needs none.
    rewards["reward_funcs"] = [
        RestrictedReward(function, general=False) if function.__name__ == "format" else function
        for function in rewards["reward_funcs"]
    ]
    proxies = [make_reward(name) for name in ("helpfulness_proxy", "harmlessness_proxy")]
    general = [preference, *proxies, AnsweredWell()]
    rewards["reward_funcs"] += [RestrictedReward(reward, general=True) for reward in general]
    rewards["reward_weights"] += [PREFERENCE_WEIGHT, PROXY_WEIGHT, PROXY_WEIGHT, 0.0]
    return rewards


def general_prompts(scale: Scale | None = None) -> list[dict[str, str]]:
    """The prompts of the preference pairs: those of the second SFT, and requests that were not in the SFT data."""
    return load_general("train", scale) + load_general("preference", scale)


def align_dataset(scale: Scale, general_share: float = GENERAL_SHARE):
    """Problems and general prompts as a `datasets.Dataset` in a fixed shuffle.

    The general prompts are repeated until they are `general_share` of the rows. With a share of 1.0 they are the only rows,
    once each.
    """
    # General prompts that were not in the SFT data. On those that were, all samples of a group agree, and every advantage
    # is 0.
    problems = load_scale_problems(scale, "train")
    # All rows of a dataset have the same columns.
    blank = dict.fromkeys([*problems[0], "good", "poor", "kind"], "")
    general = [
        {**blank, **row, "verifier": GENERAL, "domain": GENERAL} for row in load_general("preference", scale)
    ]
    if general_share == 1.0:
        return training_set(general, scale)
    count = round(len(problems) * general_share / (1 - general_share))
    repeated = (general * (count // len(general) + 1))[:count]
    return training_set([{**blank, **row} for row in problems] + repeated, scale)


class StopWhenFalling(TrainerCallback):
    """Ends a run when the mean of `key` over `window` steps is more than `drop` below the best such mean so far.

    key: in the trainer's log. It must not be rewarded, because what is rewarded rises even while the policy gets worse.
    """

    def __init__(self, key: str, *, window: int = 10, drop: float = 0.03):
        self.key, self.window, self.drop = key, window, drop

    def on_log(self, args, state, control, **kwargs):
        # From the trainer's own log, which is part of a checkpoint. So a resumed run remembers its best mean.
        values = [row[self.key] for row in state.log_history if row.get(self.key) is not None]
        means = [fmean(values[end - self.window : end]) for end in range(self.window, len(values) + 1)]
        if means and means[-1] < max(means) - self.drop:
            control.should_training_stop = True


def make_trainer(
    run: Run, *, rlhf: bool = False, stop_early: bool = False, dpo: bool = False, **overrides: Any
):
    """The GRPO trainer of the alignment stage, after its reward model was trained in `run.output`/reward-model.

    rlhf: plain RLHF, that is general prompts only, and the raw score of a reward model of length-biased raters as the only
    reward. stop_early: see `StopWhenFalling`. dpo: DPO on the same pairs instead (Rafailov et al., 2023). overrides: fields
    of `GRPOConfig` or `DPOConfig`. Facts: "pairs", the accuracy of the reward model on pairs of test prompts.
    """
    scale, start = run.scale, run.parents["reject"]
    # Needed after the training too. A missing file should stop the run now.
    test = load_general("test", scale)
    make_pairs = length_biased_pairs if rlhf else preference_pairs
    pairs = make_pairs(general_prompts(scale), run.seed)
    overrides = {"seed": run.seed} | overrides
    if dpo:
        run.summary = f"{len(pairs)} preference pairs"
        return make_dpo_trainer(run, pairs, **overrides)
    # Stage 1: the reward model, from the checkpoint that the policy starts from too.
    folder = run.output / "reward-model"
    preference = train_reward_model(scale, pairs, start, folder, seed=run.seed, resume=run.resume)
    preference.raw = rlhf
    run.facts["pairs"] = pair_accuracy(preference, preference_pairs(test, run.seed))
    # Stage 2: the rewards and the prompts.
    if rlhf:
        run.summary = "rewards: a reward model alone"
        rewards = {"reward_funcs": [preference, AnsweredWell()], "reward_weights": [1.0, 0.0]}
    else:
        run.summary = "rewards: rules on problems, a reward model on general prompts"
        rewards = align_rewards(preference)
    dataset = align_dataset(scale, 1.0 if rlhf else GENERAL_SHARE)
    # Stage 3: the trainer.
    if scale.name == "tiny":
        overrides = {"max_steps": STEPS, "learning_rate": RATE} | overrides
    options = {"dataset": dataset, "rewards": rewards, "model": start, "show": run.show}
    trainer = make_grpo_trainer(scale, run.output, **options, **overrides)
    if stop_early:
        trainer.add_callback(StopWhenFalling("rewards/answered_well/mean"))
    return trainer


def make_dpo_trainer(run: Run, pairs: Sequence[dict], **overrides: Any):
    """A DPO trainer on `pairs`, which learns from the comparisons directly; overrides are fields of `trl.DPOConfig`."""
    from trl import DPOTrainer

    policy, tokenizer = load_trainable(run.scale, run.parents["reject"])
    trainer = DPOTrainer(
        model=policy,
        processing_class=tokenizer,
        args=make_dpo_args(run.scale, run.output, **overrides),
        train_dataset=preference_dataset(pairs, tokenizer, run.scale.template),
    )
    attach_log(trainer, run.show)
    return trainer


def measure(run: Run, trainer, policy) -> dict[str, Any]:
    """Reports on the general prompts of the test before and after the stage, the curves of the run, and some replies.

    "general" and "general_sampled" are the shares answered well, greedy and at temperature 1. "refused" is `refusals`. These
    three have the keys "before" and "after". "curve" is `curve`. "replies" are greedy, those that failed first.
    """
    facts: dict[str, Any] = {"general": {}, "general_sampled": {}, "refused": {}}
    policies = {"before": load_policy(run.parents["reject"]), "after": policy}
    for name, measured in policies.items():
        greedy = report_general(measured, run.scale)
        facts["general"][name] = shares_by_kind(greedy)
        facts["general_sampled"][name] = shares_by_kind(report_general(measured, run.scale, samples=SAMPLES))
        facts["refused"][name] = refusals(greedy)
    # After the loop, `greedy` is the report of the trained policy.
    replies = sorted(greedy["rows"], key=lambda row: row["good"])[:KEPT_REPLIES]
    facts["replies"] = [{key: row[key] for key in ("id", "prompt", "reply", "good")} for row in replies]
    return facts | {"curve": curve(trainer.state.log_history)}


def curve(history: list[dict]) -> list[dict[str, float]]:
    """Means over every `CURVE_STEPS` steps of a trainer's log: rows of "step" and those of `CURVES` that it has."""
    # GRPO logs "reward", DPO logs "rewards/margins". The last row of a log is a summary and has neither.
    steps = [row for row in history if "reward" in row or "rewards/margins" in row]
    points = []
    for start in range(0, len(steps), CURVE_STEPS):
        part = steps[start : start + CURVE_STEPS]
        point: dict[str, float] = {"step": part[-1]["step"]}
        for name, key in CURVES.items():
            if values := [row[key] for row in part if row.get(key) is not None]:
                point[name] = round(sum(values) / len(values), 4)
        points.append(point)
    return points
