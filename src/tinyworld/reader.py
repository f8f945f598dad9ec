"""Reads a chain of thought against its question: which is the first thing in it that goes wrong?

A generator knows how its problem is worked out and gives the steps to a `ChainWriter`. The one of this file does not
write: it follows a completion sentence by sentence and stops at the first one that is not what it was told.
"""

import random
import re
from functools import lru_cache

from r1lab.rewards import count_votes
from tinyworld.chain import CHECKS, LINKS, OPENERS, OPERATORS, ChainWriter
from tinyworld.generators import Problem

MISTAKES = (
    "cut off",  # the token limit came before the end
    "no answer",
    "no working",  # an answer and not one step
    "wrong first step",
    "wrong later step",  # not what comes next; the steps before it were right
    "slip",  # the right step, its result wrong
    "stopped early",  # right as far as it goes
    "right steps, wrong answer",
)
_OPENING = "|".join(word for words in (*OPENERS.values(), *LINKS.values()) for word in words)
_STEP = re.compile(rf"(\b(?:{_OPENING})|{'|'.join(CHECKS.values())}) ([^.<]+)\.")


def find_mistake(text: str, problem: dict, *, truncated: bool = False) -> str:
    """The first of MISTAKES in a completion that is wrong (ask the verifier first: a right one has none of them).

    problem: a row of the tiny world. A policy that finds another road to an answer is called wrong where it leaves the
    generator's; ours have learned from documents that all take that road. Raises ValueError for other problems.
    """
    if problem["prompt"] not in _problems():
        raise ValueError(
            f"{problem['id']} is no problem of the tiny world: only those can be read step by step"
        )
    reader = _Reader(text)
    if truncated:
        return "cut off"
    if count_votes([text], problem) == [None]:
        return "no answer"
    if not reader.steps:
        return "no working"
    try:
        _problems()[problem["prompt"]].reason(reader)
    except _Astray as mistake:
        return str(mistake)
    return "right steps, wrong answer"


@lru_cache
def _problems() -> dict[str, Problem]:
    """The problems with their way of being worked out, which the files cannot hold: made again from the seed."""
    from tinyworld.build import SEEDS
    from tinyworld.splits import make_problems

    return {problem.prompt: problem for rows in make_problems(SEEDS["problems"]).values() for problem in rows}


class _Astray(Exception):
    """The text has left the road; the message is one of MISTAKES."""


class _Reader(ChainWriter):
    """Takes dictation, and compares it with what stands there."""

    def __init__(self, text: str):
        super().__init__("en", random.Random(0))
        self.steps: list[str] = []
        for opening, stated in _STEP.findall(text):
            if opening in CHECKS.values() and self.steps:
                self.steps.pop()  # what was checked counts as it stands after the check
            self.steps.append(stated)
        self.read = 0

    def compute(self, left: int, sign: str, right: int) -> int:
        """Read the next sentence as `left sign right = result`."""
        result, stated = OPERATORS[sign](left, right), self._next()
        if stated == f"{left}{sign}{right}={result}":
            return result
        raise self._astray(slip=stated.startswith(f"{left}{sign}{right}="))

    def conclude(self, result, slips: list, phrase):
        """Read the next sentence as `phrase(result)`, in either language."""
        stated = self._next()
        if stated in phrase(result).values():
            return result
        raise self._astray(slip=any(stated in phrase(other).values() for other in slips))

    def _next(self) -> str:
        if self.read == len(self.steps):
            raise _Astray("stopped early")
        self.read += 1
        return self.steps[self.read - 1]

    def _astray(self, slip: bool) -> _Astray:
        return _Astray("slip" if slip else "wrong first step" if self.read == 1 else "wrong later step")
