"""Rewards for the format of a completion, whatever its answer is worth: tags, their count, reasoning steps."""

import re

from r1lab.prompts import TAGS, THINK_OPEN, parse_completion
from r1lab.rewards.base import Reward, completion_texts


class _TextReward(Reward):
    """A reward that reads each completion on its own. prefilled_think: the chat template has written `<think>`."""

    def __init__(self, *, prefilled_think: bool = False) -> None:
        super().__init__()
        self.prefilled_think = prefilled_think

    def __call__(self, completions, **kwargs) -> list[float]:
        """One float per completion, never None."""
        opening = THINK_OPEN if self.prefilled_think else ""
        return [self._score(opening + text) for text in completion_texts(completions)]


class FormatReward(_TextReward):
    """1.0 for `<think>...</think> <answer>...</answer>` and nothing else, else 0.0 (DeepSeek-AI, 2025, section 2.2.2).

    Every tag exactly once, neither block blank, no text around them. The tags are counted first, because a pattern
    alone accepts two whole templates in a row.
    """

    name = "format"

    def _score(self, text: str) -> float:
        return float(parse_completion(text).well_formed)


class TagCountReward(_TextReward):
    """0.25 for each of the four tags that is there exactly once and not before a tag it has to follow, 0.0 to 1.0.

    A stepping stone to `format`, which is 0 until everything is right. Text between the tags is not looked at.
    """

    name = "tag_count"

    def _score(self, text: str) -> float:
        count, last = 0, -1
        for tag in TAGS:
            if text.count(tag) == 1 and text.index(tag) > last:
                count, last = count + 1, text.index(tag)
        return 0.25 * count


ENOUGH_STEPS = 3  # as in open-r1: with more, the reward would ask for length
# A step says something if it has so many characters or words; "First," and "Step 2:" alone do not.
SHORTEST_STEP, FEWEST_WORDS = 20, 4
_MARKER = re.compile(
    r"""^[ \t]*(?:\#{1,6}[ \t]+)?(?:\*\*|__)?(?:
      (?P<counted>step|langkah)[ \t]+(?P<number>\d{1,3})\b
    | (?P<item>\d{1,3})[.)](?=\s|\*\*)
    | (?P<word>first|second|third|next|then|after[ ]that|finally|lastly
        |pertama|kedua|ketiga|kemudian|selanjutnya|lalu|setelah[ ]itu|akhirnya|terakhir)(?:ly|-tama)?\b
    | (?P<bullet>[-*•])[ \t]+(?=[^\W\d_])
    )[*_]*[.,:)]?[ \t]*""",
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)


def count_steps(reasoning: str) -> int:
    """Number of different steps a reasoning is laid out in: `Step 1:`, `2.`, `Next,`, `Langkah 1:`, `Pertama,`, `- so`.

    A marker stands at the start of a line and counts once, its number above the one before, and only with a text of
    its own: 20 characters or 4 words that no other step has. A minus sign is no bullet.
    """
    # Stage 1: the text of each step runs from its marker to the next.
    markers = list(_MARKER.finditer(reasoning))
    ends = [marker.start() for marker in markers[1:]] + [len(reasoning)]
    steps, bodies, highest = set(), {""}, {}
    for marker, end in zip(markers, ends, strict=False):
        body = " ".join(reasoning[marker.end() : end].casefold().split())
        if body in bodies or (len(body) < SHORTEST_STEP and len(body.split()) < FEWEST_WORDS):
            continue
        # Stage 2: a marker counts once. Bullets have no name, so their text tells them apart.
        kind = marker.lastgroup if marker["counted"] is None else "number"
        name = (kind, body) if kind == "bullet" else (kind, marker[kind].casefold())
        # Stage 3: numbers must rise, or a policy would write "Step 1" again and again.
        if kind in ("number", "item"):
            number = int(marker[kind])
            if number <= highest.get(kind, -1):
                continue
            highest[kind] = number
        bodies.add(body)
        steps.add(name)
    return len(steps)


class ReasoningStepsReward(_TextReward):
    """min(1, steps / 3) of the steps between the think tags, see `count_steps`; 0.0 without a single think block.

    It rewards the look of reasoning, not its content, so give it little weight (0.1 or less).
    """

    name = "reasoning_steps"

    def _score(self, text: str) -> float:
        return min(1.0, count_steps(parse_completion(text).think or "") / ENOUGH_STEPS)
