"""All-scenario RL: rules pay on problems, a reward model on everything else (DeepSeek-AI, 2025, section 2.3.4).

Beside it plain RLHF, which pays for the reward model's opinion alone, and DPO, which needs no reward model.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from r1lab.evaluation import evaluate_general
from r1lab.policy import Policy, load_policy, set_threads
from r1lab.problems import load_general, load_scale_problems, to_training_rows
from r1lab.rewards import make_reward
from r1lab.rewards.base import Reward, completion_texts
from r1lab.rewards.general import answers_well
from r1lab.rewards.proxies import is_refusal
from r1lab.scale import Scale
from r1lab.stages.checkpoints import find_parents, save_stage
from r1lab.stages.grpo import (
    MetricsLog,
    build_config,
    load_trainable,
    machine_args,
    make_grpo_trainer,
    run_trainer,
)
from r1lab.stages.preference import (
    GENERAL,
    PreferenceReward,
    hasty_pairs,
    pair_accuracy,
    preference_dataset,
    preference_pairs,
    train_reward_model,
)
from r1lab.stages.reason import reason_rewards
from r1lab.statistics import wilson_interval

STEPS = 100  # at scale tiny
RATE = 5e-4
GENERAL_SHARE = 0.75  # of the prompts: problems have had two stages of RL already, and need only be kept
PREFERENCE_WEIGHT = 2.0  # as much as a right answer in its form and language
PROXY_WEIGHT = 0.25  # words are easy to please: a nudge, no more
CURVE = 5  # steps behind a point of the curves in the facts
SHOWN = 24  # replies kept in the facts


# ---------------------------------------------------------------------------------------------- who pays for what
class OnlyFor(Reward):
    """Another reward, paid on general prompts only or on problems only: None elsewhere, which TRL leaves out."""

    def __init__(self, inner: Reward, *, general: bool) -> None:
        self.name = inner.__name__
        super().__init__()
        self.inner, self.general = inner, general

    def __call__(self, completions, *, verifier, **columns):
        """verifier: the column that says `general` where there is nothing to verify."""
        scores = self.inner(completions, verifier=verifier, **columns)
        return [
            score if (kind == GENERAL) == self.general else None
            for kind, score in zip(verifier, scores, strict=True)
        ]


def answered_well(completions, *, question, language, kind, good, verifier, **_) -> list[float | None]:
    """Whether a general prompt was answered well, by the rules of the answer sheet. Watched with weight 0, never paid."""
    rows = zip(completion_texts(completions), question, language, kind, good, verifier, strict=True)
    return [
        float(answers_well(text, {"prompt": asked, "language": spoken, "kind": sort, "good": sheet}))
        if source == GENERAL
        else None
        for text, asked, spoken, sort, sheet, source in rows
    ]


def align_rewards(preference: PreferenceReward, weight: float = PREFERENCE_WEIGHT) -> dict[str, list]:
    """What all-scenario RL pays for: the rewards of the reasoning stage on problems; on general prompts the reward
    model, and with small weights the rules that look for words. The language of the question counts on both."""
    rewards = reason_rewards()
    rewards["reward_funcs"] = [
        # a chain in tags is for problems; a greeting needs none
        OnlyFor(function, general=False) if function.__name__ == "format" else function
        for function in rewards["reward_funcs"]
    ]
    proxies = [
        OnlyFor(make_reward(name), general=True) for name in ("helpfulness_proxy", "harmlessness_proxy")
    ]
    rewards["reward_funcs"] += [preference, *proxies, answered_well]
    rewards["reward_weights"] += [weight, PROXY_WEIGHT, PROXY_WEIGHT, 0.0]
    return rewards


def preference_only(preference: PreferenceReward) -> dict[str, list]:
    """What plain RLHF pays for: the logit of the reward model. The rules of the answer sheet watch."""
    return {"reward_funcs": [preference, answered_well], "reward_weights": [1.0, 0.0]}


def general_prompts(scale: Scale | None = None) -> list[dict[str, str]]:
    """What the raters compare replies to: the prompts of the second SFT, and requests that it has not shown."""
    return load_general("train", scale) + load_general("preference", scale)


def align_dataset(scale: Scale, general_share: float = GENERAL_SHARE):
    """Problems and general prompts as a `datasets.Dataset` in a fixed shuffle; the general ones come round again until
    they are `general_share` of the rows (1.0: nothing else). They are requests that SFT has not shown: where it has shown
    the reply, a group's samples agree and there is no advantage."""
    from datasets import Dataset

    problems = load_scale_problems(scale, "train")
    blank = dict.fromkeys([*problems[0], "good", "poor", "kind"], "")
    requests = load_general("preference", scale)
    general = [{**blank, **row, "verifier": GENERAL, "domain": GENERAL} for row in requests]
    if general_share == 1.0:
        problems, wanted = [], len(general)
    else:
        wanted = round(len(problems) * general_share / (1 - general_share))
    rows = [{**blank, **row} for row in problems] + (general * (wanted // len(general) + 1))[:wanted]
    return Dataset.from_list(to_training_rows(rows, scale.template)).shuffle(seed=0)


class StopWhenFalling(TrainerCallback):
    """Early stopping: ends a run when the mean of `key` over `window` steps has fallen `drop` below its best so far.

    The key must be something that the run is not paid for, or it never falls.
    """

    def __init__(self, key: str, *, window: int = 10, drop: float = 0.03):
        self.key, self.drop, self.best = key, drop, -float("inf")
        self.recent: deque[float] = deque(maxlen=window)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and logs.get(self.key) is not None:
            self.recent.append(logs[self.key])
        if len(self.recent) == self.recent.maxlen:
            mean = sum(self.recent) / len(self.recent)
            self.best = max(self.best, mean)
            control.should_training_stop |= mean < self.best - self.drop


# -------------------------------------------------------------------------------------------------- the stage
def train_align(
    scale: Scale,
    output: Path | str,
    *,
    folders: dict[str, Path | str] | None = None,
    seed: int = 0,
    resume: bool = False,
    show=None,
    only_preference: bool = False,
    make_pairs: Callable[[Sequence[dict], int], list[dict]] = preference_pairs,
    stop_early: bool = False,
    **overrides: Any,
) -> dict[str, Any]:
    """Train a reward model, then the policy, and save it in `output`: {"history", "seconds", "trainer", "facts"}.

    only_preference: nothing but general prompts and the reward model's opinion, as plain RLHF has it. make_pairs: what
    the reward model learns from. stop_early: see `StopWhenFalling`. overrides: fields of `GRPOConfig`. seconds: of the
    policy's training. facts: see `align_facts`.
    """
    output = Path(output)
    parents = find_parents(scale, "align", folders)
    test = load_general("test", scale)
    preference = train_reward_model(
        scale,
        make_pairs(general_prompts(scale), seed),
        parents["reject"],
        output / "reward-model",
        seed=seed,
        resume=resume,
    )
    preference.raw = only_preference
    if scale.name == "tiny":
        overrides = {"max_steps": STEPS, "learning_rate": RATE} | overrides
    trainer = make_grpo_trainer(
        scale,
        output,
        dataset=align_dataset(scale, 1.0 if only_preference else GENERAL_SHARE),
        rewards=preference_only(preference) if only_preference else align_rewards(preference),
        model=parents["reject"],
        show=show,
        seed=seed,
        **overrides,
    )
    if stop_early:
        trainer.add_callback(StopWhenFalling("rewards/answered_well/mean"))
    run = run_trainer(trainer, resume=resume)
    paid = (
        "a reward model alone" if only_preference else "rules on problems, a reward model on general prompts"
    )
    save_stage(
        trainer.model,
        trainer.processing_class,
        output,
        stage="align",
        scale=scale,
        seed=seed,
        parents=parents,
        recipe=f"GRPO, {trainer.state.global_step} steps of {scale.groups} groups of {scale.group_size}, rate "
        f"{trainer.args.learning_rate:g}, KL coefficient {trainer.args.beta:g}; {paid}",
        seconds=run["seconds"],
    )
    policy = Policy(trainer.model, trainer.processing_class)
    facts = align_facts(policy, parents["reject"], run["history"], scale)
    facts["pairs"] = pair_accuracy(preference, preference_pairs(test, seed))
    return {**run, "facts": facts}


def make_dpo_args(scale: Scale, output: Path | str, **overrides: Any):
    """The `trl.DPOConfig` of a scale; `overrides` replace any of its fields. Raises ValueError on an unknown field."""
    from trl import DPOConfig

    tiny = scale.name == "tiny"
    values = {
        **machine_args(scale, output),
        "per_device_train_batch_size": 32 if tiny else 2,
        "num_train_epochs": 3 if tiny else 1,
        "learning_rate": 1e-4 if tiny else 5e-6,
        "beta": 0.1,
        "loss_type": "sigmoid",
        "warmup_steps": 5,
        "max_length": scale.max_prompt_tokens + scale.longest_answer,
    }
    return build_config(DPOConfig, values, overrides)


def train_dpo(
    scale: Scale,
    output: Path | str,
    *,
    folders: dict[str, Path | str] | None = None,
    seed: int = 0,
    resume: bool = False,
    show=None,
    **overrides: Any,
) -> dict[str, Any]:
    """DPO on the pairs the reward model learns from (Rafailov et al., 2023): no reward model, no sampling.

    Returns what `train_align` does; overrides: fields of `trl.DPOConfig`.
    """
    from transformers import PrinterCallback
    from trl import DPOTrainer

    parents = find_parents(scale, "align", folders)
    pairs = preference_pairs(general_prompts(scale), seed)
    load_general("test", scale)  # needed after training; a missing file must fail now, not then
    set_threads()
    policy, tokenizer = load_trainable(scale, parents["reject"])
    trainer = DPOTrainer(
        model=policy,
        processing_class=tokenizer,
        args=make_dpo_args(scale, output, seed=seed, **overrides),
        train_dataset=preference_dataset(pairs, tokenizer, scale.template),
        callbacks=[MetricsLog(Path(output) / "metrics.json", show=show)],
    )
    trainer.remove_callback(PrinterCallback)
    run = run_trainer(trainer, resume=resume)
    save_stage(
        trainer.model,
        tokenizer,
        output,
        stage="align",
        scale=scale,
        seed=seed,
        parents=parents,
        recipe=f"DPO on {len(pairs)} preference pairs, beta {trainer.args.beta:g}, rate {trainer.args.learning_rate:g}",
        seconds=run["seconds"],
    )
    facts = align_facts(Policy(trainer.model, tokenizer), parents["reject"], run["history"], scale)
    return {**run, "facts": facts}


# -------------------------------------------------------------------------------------------------- the facts
def align_facts(policy, parent: str, history: list[dict], scale: Scale) -> dict[str, Any]:
    """What the run file keeps: general prompts of the test before and after, the curves, and some replies.

    {"general": {"before", "after"}, "general_sampled": the same at temperature 1 (shares by kind with 95 % intervals),
    "refused": `refusals` before and after, "curve": a point every `CURVE` steps, "replies": those that failed first}.
    """
    reports = {
        name: {samples: report_general(asked, scale, samples=samples) for samples in (0, 4)}
        for name, asked in (("before", load_policy(parent)), ("after", policy))
    }
    replies = sorted(reports["after"][0]["rows"], key=lambda row: row["good"])[:SHOWN]
    return {
        "general": {name: _shares(found[0]) for name, found in reports.items()},
        "general_sampled": {name: _shares(found[4]) for name, found in reports.items()},
        "refused": {name: refusals(found[0]) for name, found in reports.items()},
        "curve": curve(history),
        "replies": [{key: row[key] for key in ("id", "prompt", "reply", "good")} for row in replies],
    }


def report_general(policy, scale: Scale, **options: Any) -> dict[str, Any]:
    """`evaluate_general` on the test's general prompts, as this scale's policies are asked."""
    how = {"template": scale.template, "max_new_tokens": scale.max_completion_tokens}
    return evaluate_general(policy, load_general("test", scale), **how, **options)


def refusals(report: dict) -> dict[str, dict]:
    """Shares of "harmful" and of "benign" prompts whose reply declines, with 95 % intervals, from `evaluate_general`."""
    shares = {}
    for name, harmful in (("harmful", True), ("benign", False)):
        rows = [row for row in report["rows"] if (row["kind"] == "harmful") == harmful]
        declined = sum(is_refusal(row["reply"]) for row in rows)
        low, high = wilson_interval(declined, len(rows))
        shares[name] = {"value": declined / len(rows), "low": low, "high": high, "n": len(rows)}
    return shares


def _shares(report: dict) -> dict[str, dict]:
    return {"overall": report["overall"], **report["by"]["kind"]}


def curve(history: list[dict]) -> list[dict[str, float]]:
    """Means over every `CURVE` steps of a log. Of GRPO's: the reward model's score, the true check, the KL term, the
    length. Of DPO's: the margin, and the log-probabilities of chosen and rejected replies."""
    keys = {
        "preference": "rewards/preference/mean",
        "answered_well": "rewards/answered_well/mean",
        "kl": "kl",
        "tokens": "completions/mean_length",
        "margin": "rewards/margins",
        "chosen": "logps/chosen",
        "rejected": "logps/rejected",
    }
    steps = [row for row in history if "reward" in row or "rewards/margins" in row]
    points = []
    for start in range(0, len(steps), CURVE):
        part = steps[start : start + CURVE]
        point: dict[str, float] = {"step": part[-1]["step"]}
        for name, key in keys.items():
            if values := [row[key] for row in part if row.get(key) is not None]:
                point[name] = round(sum(values) / len(values), 4)
        points.append(point)
    return points


RLHF: dict[str, Any] = {
    "only_preference": True,
    "make_pairs": hasty_pairs,
    "learning_rate": 1e-3,
    "temperature": 1.5,  # at 1 SFT 2 is too sure of its replies to find what the judge likes better
    "max_steps": 40,
}
ARMS: dict[str, Callable[..., dict[str, Any]]] = {
    "align": train_align,
    # Plain RLHF with a reward model of hasty raters: its opinion of general prompts is all that counts ...
    "align-overoptimised": partial(train_align, **RLHF),
    # ... held back by a KL term, or stopped when the true check falls
    "align-kl": partial(train_align, **RLHF, beta=0.1),
    "align-early": partial(train_align, **RLHF, stop_early=True),
    "align-dpo": train_dpo,
}
