"""Reward for logic puzzles whose solution is a name or a set of names: exact, and order does not matter."""

import re
from collections.abc import Iterable

from r1lab.rewards.base import Reward, completion_texts, final_text, own_rows, read_column, tagged_answer

_SEPARATOR = re.compile(r"\s*(?:[,;&]|\band\b|\bdan\b)\s*", re.IGNORECASE)
_ANSWERS = re.compile(r"\b(?:answer is|jawabannya(?: adalah)?|is|adalah)\b\s*:?", re.IGNORECASE)
LONGEST_ANSWER = 1000  # characters
_SENTENCE_END = re.compile(r"[.!?\n]")


def read_names(text: object) -> frozenset[str]:
    """The names listed in a text, case folded; words that are no separator stay, so prose or a hedge equals no name."""
    if not isinstance(text, str) or len(text) > LONGEST_ANSWER:
        return frozenset()
    items = (item.strip(" .*_`'\"$").casefold() for item in _SEPARATOR.split(" ".join(text.split())))
    return frozenset(item for item in items if item)


def spoken_names(text: str) -> frozenset[str]:
    """Names a reply without tags ends on: after its last "is" or "jawabannya", else its last sentence."""
    phrases = list(_ANSWERS.finditer(text))
    if phrases:
        return read_names(_SENTENCE_END.split(text[phrases[-1].end() :].strip())[0])
    sentences = [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()]
    return read_names(sentences[-1]) if sentences else frozenset()


class LogicReward(Reward):
    """1.0 when the answer names exactly the people of `solution`, else 0.0; None when the problem has no solution.

    require_tags=False also reads answers outside `<answer>`, for evaluation. Rows of another `verifier` give None.
    """

    name = "logic"

    def __init__(self, *, require_tags: bool = True) -> None:
        super().__init__()
        self.require_tags = require_tags

    def __call__(
        self, completions, *, solution=None, answer=None, verifier=None, **kwargs
    ) -> list[float | None]:
        """solution (or answer): list of str, one per completion. Raises ValueError on a missing or short column."""
        texts = completion_texts(completions)
        golds = read_column({"solution": solution, "answer": answer}, len(texts), reward=self.name)
        ours = own_rows(verifier, "logic", len(texts))
        return [
            self._score(text, read_names(gold)) if own else None
            for text, gold, own in zip(texts, golds, ours, strict=True)
        ]

    def _score(self, text: str, gold: Iterable[str]) -> float | None:
        if not gold:
            return None
        if self.require_tags:
            return float(read_names(tagged_answer(text)) == gold)
        said, tagged = final_text(text)
        return float((read_names(said) if tagged else spoken_names(said)) == gold)
