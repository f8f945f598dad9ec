"""Filters for sampled completions: tests of one completion, then duplicates, then a cap for each prompt.

The cold start and rejection sampling share these filters. Each rejected completion carries the reason, so that the reasons
can be counted.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from r1lab.languages import language_share
from r1lab.prompts import TAGS, parse_completion
from r1lab.rollouts import Rollout
from r1lab.stages.refine import steps_hold

# Completions kept of one prompt. Without a cap, easy problems would fill the data, because they are solved every time.
CAP = 2
# Two chains of thought with this share of common statements are near-duplicates. It means that chains of up to four
# statements must agree in all of them.
ALIKE = 0.8
# Above this share of repeated sentences a chain repeats itself. A single self-check stays below it.
REPEATED = 0.1
DUPLICATE, OVER_CAP = "near-duplicate", "over the cap"

_TAG = re.compile("|".join(map(re.escape, TAGS)))
# Words that open a sentence and state nothing, in English and Indonesian.
_LINK = re.compile(
    r"\A(?:(?:first|then|next|so|wait|check|pertama|lalu|kemudian|jadi|tunggu|cek)\b[,:]?\s*)+", re.IGNORECASE
)


@dataclass(frozen=True)
class Filter:
    """One test of a single rollout. name: describes those that pass. reason: describes those that do not."""

    name: str
    reason: str
    passes: Callable[[Rollout], bool]


# ------------------------------------------------------------------------------------------ single completions
def is_well_formed(row: Rollout) -> bool:
    """Whether each tag occurs once, in order, with nothing outside."""
    return parse_completion(row["completion"]).well_formed


def is_one_language(row: Rollout) -> bool:
    """Whether every function word is in the language of the question. A chain of bare sums has none and passes."""
    return language_share(row["completion"], row["language"]) in (1.0, None)


def has_sound_steps(row: Rollout) -> bool:
    """Whether every step that the chain of thought states is true, see `refine.steps_hold`."""
    return steps_hold(row["prompt"], parse_completion(row["completion"]).think or "", row["language"])


def has_no_repetition(row: Rollout) -> bool:
    """Whether at most a share REPEATED of the sentences occurred before, word for word."""
    texts = sentences(row["completion"])
    return len(texts) - len(set(texts)) <= REPEATED * len(texts)


RIGHT = Filter("right", "wrong answer", lambda row: row["correct"])
WELL_FORMED = Filter("well formed", "malformed", is_well_formed)
ONE_LANGUAGE = Filter("one language", "mixes languages", is_one_language)
SOUND_STEPS = Filter("steps hold", "wrong step", has_sound_steps)
NO_REPETITION = Filter("not repetitive", "repeats itself", has_no_repetition)


def not_over_long(limit: float = math.inf) -> Filter:
    """The filter for completions that ended by themselves, within `limit` tokens."""
    return Filter("not over-long", "over-long", lambda row: not row["truncated"] and row["tokens"] <= limit)


def why_rejected(row: Rollout, filters: Iterable[Filter]) -> str:
    """The reason of the first filter that the rollout fails, or "" when it passes all."""
    return next((test.reason for test in filters if not test.passes(row)), "")


# --------------------------------------------------------------------------------- the completions of one prompt
def sentences(text: str) -> list[str]:
    """The sentences of a text without its tags."""
    return [s.strip() for s in re.split(r"(?<=[.!?])\s+|\n", _TAG.sub(" ", text)) if s.strip()]


def statements(text: str) -> set[str]:
    """The statements of the chain of thought, without the words that only link sentences: "Then 7-2=5." gives "7-2=5"."""
    # A completion without tags is compared as a whole.
    think = parse_completion(text).think or text
    return {_LINK.sub("", sentence).rstrip(".").lower() for sentence in sentences(think)}


def likeness(one: str, other: str) -> float:
    """Share of the statements of two chains of thought that both make, from 0 to 1 (Jaccard index).

    With a bound of 1 this is the rule of RFT (Yuan et al., 2023), which keeps one chain for every list of equations.
    """
    a, b = statements(one), statements(other)
    return len(a & b) / len(a | b) if a | b else 1.0


def alike(one: str, other: str) -> bool:
    """Whether two completions are near-duplicates."""
    return likeness(one, other) >= ALIKE


# -------------------------------------------------------------------------------------------------- the pipeline
def apply_filters(
    rollouts: Iterable[Rollout],
    filters: Sequence[Filter],
    *,
    same: Callable[[str, str], bool] = alike,
    cap: int = CAP,
) -> list[Rollout]:
    """All rollouts, each with a key `rejected`: "" if it is kept, else the reason.

    filters: tests of single rollouts, in order. After them, a completion that is the `same` as a kept one of its prompt is a
    "near-duplicate", and one after `cap` kept ones is "over the cap".
    """
    kept: dict[str, list[str]] = {}
    marked = []
    for row in rollouts:
        text, others = row["completion"], kept.setdefault(row["prompt"], [])
        # Stage 1: the completion by itself.
        reason = why_rejected(row, filters)
        # Stage 2: compared with those of its prompt that were kept before it. The first of equals is kept, so that nothing
        # but the filters decides which completions stay.
        if not reason and any(same(text, other) for other in others):
            reason = DUPLICATE
        # Stage 3: the cap.
        if not reason and len(others) >= cap:
            reason = OVER_CAP
        if not reason:
            others.append(text)
        marked.append({**row, "rejected": reason})
    return marked


def keep(marked: Iterable[Rollout]) -> list[Rollout]:
    """The rollouts that no filter rejected."""
    return [row for row in marked if not row["rejected"]]


def funnel(marked: Sequence[Rollout], filters: Sequence[Filter]) -> dict[str, int]:
    """How many rollouts passed each filter and all before it, in order; at the end the "different" ones under the cap."""
    # Duplicates and the cap have no filter. They make the difference between the last two counts.
    reasons = Counter(row["rejected"] for row in marked)
    left, counts = len(marked), {"replies": len(marked)}
    for test in filters:
        left -= reasons[test.reason]
        counts[test.name] = left
    return counts | {"different": reasons[""]}


def acceptance(marked: Sequence[Rollout], key: str) -> dict[str, dict]:
    """For each value of `key` ("domain", "level", ...): {"samples", "passed", "kept", "rejected": {reason: samples}}.

    "passed" counts the samples that pass the filters of single completions, "kept" those that also pass duplicates and cap.
    """
    table = {}
    for value in dict.fromkeys(row[key] for row in marked):
        reasons = Counter(row["rejected"] for row in marked if row[key] == value)
        table[value] = {
            "samples": reasons.total(),
            "passed": reasons[""] + reasons[DUPLICATE] + reasons[OVER_CAP],
            "kept": reasons[""],
            "rejected": {reason: count for reason, count in reasons.most_common() if reason},
        }
    return table
