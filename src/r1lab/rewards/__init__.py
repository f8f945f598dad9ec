"""Rewards: one file per family, one contract (read `base` first), made by name.

accuracy   is the answer of a math problem right?
code       does the code of an answer (finding) pass hidden tests? logic and countdown check puzzles
format, length, language, proxies, general: what can be said without knowing the answer
answers/   what a written answer means, as accuracy reads it; verify/ the processes that can be killed. Skip both on a first reading

Importing this package costs nothing: sympy lives in a worker process that starts on the first answer it is needed
for, and code runs in another.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from r1lab.rewards.accuracy import AccuracyReward, ReasoningAccuracyReward
from r1lab.rewards.base import AnswerReward, Reward
from r1lab.rewards.code import CodeReward
from r1lab.rewards.countdown import CountdownReward
from r1lab.rewards.format import FormatReward, ReasoningStepsReward, TagCountReward
from r1lab.rewards.language import LanguageConsistencyReward
from r1lab.rewards.length import CosineReward, LengthReward, RepetitionPenalty, SoftOverlongReward
from r1lab.rewards.logic import LogicReward
from r1lab.rewards.proxies import HarmlessnessProxy, HelpfulnessProxy

# The `verifier` of a problem -> the reward that checks its answer. Training, evaluation and rejection sampling read
# this table, so a new verifier is one file with an `AnswerReward`, and one name here.
VERIFIERS = {reward.verifier: reward for reward in (AccuracyReward, LogicReward, CodeReward, CountdownReward)}
REWARDS = {
    reward.name: reward
    for reward in (
        AccuracyReward, ReasoningAccuracyReward, FormatReward, TagCountReward, ReasoningStepsReward, CosineReward, RepetitionPenalty,
        LengthReward, SoftOverlongReward, LanguageConsistencyReward, CodeReward, CountdownReward, LogicReward, HelpfulnessProxy,
        HarmlessnessProxy, *VERIFIERS.values(),
    )
}  # fmt: skip


def make_reward(name: str, **options) -> Reward:
    """The reward called `name` in the registry, ready for TRL's `reward_funcs`. Raises ValueError on an unknown name."""
    # The table of verifiers is read again, because a user may have added one to it.
    known = REWARDS | {reward.name: reward for reward in VERIFIERS.values()}
    if name not in known:
        raise ValueError(f"unknown reward {name!r}: choose one of {', '.join(sorted(known))}")
    return known[name](**options)


def reward_set(weights: Mapping[str, float], **options: Mapping) -> dict[str, list]:
    """Rewards with their weights, as the keyword arguments of TRL; the trainer logs each part as `rewards/NAME/mean`.

    `reward_set({"accuracy": 1.0, "format": 0.5}, accuracy={"locale": "id"})` gives {"reward_funcs": [...],
    "reward_weights": [...]}: the first goes to `GRPOTrainer`, the second to `GRPOConfig`. A weight of 0 only logs.
    Raises ValueError on an unknown name, on options for a reward that is not in the set, and on a weight that is no number.
    """
    if stray := sorted(set(options) - set(weights)):
        raise ValueError(
            f"options for {', '.join(stray)}, which the set does not contain: give it a weight too"
        )
    for name, weight in weights.items():
        if not math.isfinite(weight):
            raise ValueError(f"the weight of {name!r} is {weight}: give a finite number")
    functions = [make_reward(name, **options.get(name, {})) for name in weights]
    return {"reward_funcs": functions, "reward_weights": [float(weight) for weight in weights.values()]}


def _evaluation_reward(verifier: str, *, require_tags: bool = False) -> AnswerReward:
    """The reward that checks the answers of `verifier`, as an evaluation uses it."""
    if verifier not in VERIFIERS:
        known = ", ".join(VERIFIERS)
        raise ValueError(f"unknown verifier {verifier!r}: problems are graded by one of {known}")
    kind = VERIFIERS[verifier]
    return kind(require_tags=require_tags, **kind.evaluation_options)


def grade_many(texts: Sequence[str], rows: Sequence[dict], *, require_tags: bool = False) -> list[bool]:
    """Whether each completion solves its problem; a problem nobody can grade counts as not solved.

    texts: completions; rows: their problems (`verifier` and the columns it needs, such as `solution` or `tests`), in the same order.
    require_tags=True grades as the reward in training does: only the single `<answer>` after `</think>` counts.
    Identical (code, tests) and (gold, answer) pairs are checked once. Raises ValueError on an unknown verifier and on a
    column that no row of a verifier has.
    """
    if len(rows) != len(texts):
        raise ValueError(f"{len(texts)} texts for {len(rows)} rows: pass the problem of each completion")
    groups: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[row.get("verifier", "math")].append(index)
    solved = [False] * len(texts)
    for verifier, indices in groups.items():
        reward = _evaluation_reward(verifier, require_tags=require_tags)
        names = {name for index in indices for name in rows[index]} - {"verifier"}
        columns = {name: [rows[index].get(name) for index in indices] for name in names}
        for index, score in zip(indices, reward([texts[index] for index in indices], **columns), strict=True):
            solved[index] = score == 1.0
    return solved


def grade(text: str, row: dict, *, require_tags: bool = False) -> bool:
    """Whether one completion solves one problem, see `grade_many`."""
    return grade_many([text], [row], require_tags=require_tags)[0]


def count_votes(texts: Sequence[str], row: dict) -> list[int | None]:
    """For each completion of the problem `row`, the index of the first one that gives the same answer.

    Two answers are the same if the verifier accepts one for the other, as with 0.5 and 1/2. None where there is no answer.
    """
    reward = _evaluation_reward(row.get("verifier", "math"))
    first: dict[str, int] = {}  # spelling of an answer -> index of its vote
    different: list[str] = []  # one spelling of each answer
    votes: list[int | None] = []
    for index, text in enumerate(texts):
        answer = reward.vote(text, row)
        if answer is not None and answer not in first:
            equal = next((other for other in different if reward.same_vote(other, answer, row)), None)
            first[answer] = index if equal is None else first[equal]
            if equal is None:
                different.append(answer)
        votes.append(None if answer is None else first[answer])
    return votes


__all__ = [
    "REWARDS",
    "VERIFIERS",
    *(reward.__name__ for reward in REWARDS.values()),
    "AnswerReward",
    "Reward",
    "count_votes",
    "grade",
    "grade_many",
    "make_reward",
    "reward_set",
]
