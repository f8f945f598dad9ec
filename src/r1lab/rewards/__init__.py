"""Rewards: one file per family, one contract (see `base`), made by name.

Importing this package costs nothing: sympy lives in a worker process (`verifier`) that starts on the first answer
it is needed for, and code runs in another (`sandbox`).
"""

import math
from collections.abc import Sequence

from r1lab.rewards.accuracy import AccuracyReward
from r1lab.rewards.base import Reward
from r1lab.rewards.code import CodeReward
from r1lab.rewards.format import FormatReward
from r1lab.rewards.logic import LogicReward

REWARDS = {reward.name: reward for reward in (AccuracyReward, CodeReward, FormatReward, LogicReward)}
GRADERS = {
    "math": AccuracyReward,
    "logic": LogicReward,
    "code": CodeReward,
}  # `verifier` of a problem -> reward
# An evaluation leaves nothing ungraded for want of time, and does not take a sum for its result.
GRADING = {
    "math": {"budget_s": math.inf, "require_simplified": True},
    "logic": {},
    "code": {"budget_s": math.inf},
}


def make_reward(name: str, **options) -> Reward:
    """The reward called `name` in the registry, ready for TRL's `reward_funcs`. Raises ValueError on an unknown name."""
    if name not in REWARDS:
        raise ValueError(f"unknown reward {name!r}: choose one of {', '.join(sorted(REWARDS))}")
    return REWARDS[name](**options)


def grade_many(texts: Sequence[str], rows: Sequence[dict], *, require_tags: bool = False) -> list[bool]:
    """Whether each completion solves its problem; a problem nobody can grade counts as not solved.

    texts: completions; rows: their problems (`solution`, `verifier`, and `tests` for code), in the same order.
    require_tags=True grades as the reward in training does: only the single `<answer>` after `</think>` counts.
    Identical (code, tests) and (gold, answer) pairs are checked once. Raises ValueError on an unknown verifier.
    """
    verdicts = [False] * len(texts)
    if len(rows) != len(texts):
        raise ValueError(f"{len(texts)} texts for {len(rows)} rows: pass the problem of each completion")
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.get("verifier", "math"), []).append(place)
    for verifier, mine in places.items():
        if verifier not in GRADERS:
            raise ValueError(
                f"unknown verifier {verifier!r}: problems are graded by one of {', '.join(GRADERS)}"
            )
        reward = GRADERS[verifier](require_tags=require_tags, **GRADING[verifier])
        columns = {key: [rows[place].get(key) for place in mine] for key in ("solution", "tests", "locale")}
        for place, score in zip(mine, reward([texts[place] for place in mine], **columns), strict=True):
            verdicts[place] = score == 1.0
    return verdicts


def grade(text: str, row: dict, *, require_tags: bool = False) -> bool:
    """Whether one completion solves one problem, see `grade_many`."""
    return grade_many([text], [row], require_tags=require_tags)[0]


__all__ = [
    "AccuracyReward",
    "CodeReward",
    "FormatReward",
    "LogicReward",
    "Reward",
    "grade",
    "grade_many",
    "make_reward",
]
