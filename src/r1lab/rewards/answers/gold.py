r"""The small grammar of answers: which kind a solution is of, and what it says.

An answer is a number, a time, a ratio, an order, a union of intervals, a list, words, or a formula. A kind is a reader and a
comparison (the table `KINDS`). The first reader that can read the solution decides its kind, and answers to it are read by
the same reader. Only formulas, and what a reader leaves open, go to math-verify (`verify.symbolic`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from r1lab.rewards.answers import intervals, lists, quantities
from r1lab.rewards.answers.latex import as_latex, too_costly
from r1lab.rewards.answers.normalise import normalise
from r1lab.rewards.answers.quantities import LONGEST_NUMERAL, Quantity
from r1lab.rewards.answers.reading import HEDGES, LONGEST_ANSWER, last_boxed
from r1lab.rewards.verify.symbolic import SYMBOLIC

LOCALES = ("en", "id")  # how numbers are written: 1,234.5 or 1.234,5


class Kind(NamedTuple):
    """A kind of answer: how to read it (None if a text is of another kind), and when two of them are equal."""

    read: Callable[[str, str], Any | None]
    same: Callable[[Any, Any], bool | None]  # None: only math-verify can tell


def _read_number(text: str, locale: str) -> Quantity | None:
    # 5m may be a product where a problem asks for a formula; an answer to "how far?" may say 5m and mean metres.
    return (
        None
        if re.search(r"\d[A-Za-z]$", text) or too_costly(text)
        else quantities.read_quantity(text, locale)
    )


KINDS = {
    "number": Kind(_read_number, quantities.same_quantity),
    "time": Kind(lists.read_time, lists.same_time),
    "ratio": Kind(lists.read_ratio, lists.same_ratio),
    "order": Kind(lists.read_order, lambda gold, answer: gold == answer),
    "intervals": Kind(intervals.read_intervals, intervals.same_intervals),
    "list": Kind(lists.read_list, lists.same_list),
    "words": Kind(lists.read_text, lists.same_text),
}


@dataclass(frozen=True)
class Gold:
    """A solution, read once: its text in one spelling, its kind ("formula" if no reader reads it), and what was read."""

    text: str
    kind: str
    value: Any = None
    locale: str = "en"

    @property
    def several(self) -> bool:
        """Whether the solution names several values itself, so that an answer that names several is no hedge."""
        if self.kind == "intervals":
            return self.value.sure
        return self.kind == "list" or bool(HEDGES.search(self.text))

    def latex(self, text: str | None = None) -> str:
        """The solution, or an answer to it, as math-verify is asked about it."""
        text = self.text if text is None else text
        if (
            self.kind == "intervals"
            and (value := intervals.read_intervals(text, self.locale))
            and (self.value.sure or value.sure)
        ):
            return value.latex
        return as_latex(text, several=self.several, locale=self.locale)


_FORMULA_WITH_UNIT = re.compile(r"\$([^$]+)\$(\s*[^\d$]+)")
_PROOF = re.compile(r"\s*(?:prove|show|proof|buktikan|tunjukkan|bukti)\b", re.IGNORECASE)


@lru_cache(maxsize=50_000)
def read_gold(solution: str, locale: str) -> Gold | None:
    r"""The gold of a solution: its last `\boxed{}`, else what follows its last `####`, else all of it.

    None when it cannot be read (empty, a task to prove something): such a problem cannot be scored. Decided once per
    solution, so that it never depends on a completion.
    """
    if solution.isdecimal() and solution.isascii() and len(solution) <= LONGEST_NUMERAL:
        return Gold(solution, "number", Quantity(Fraction(int(solution))), locale)
    # Stage 1: the part of the solution that states the result.
    text = last_boxed(solution)
    if text is None:
        text = solution.rpartition("####")[2]
    text = normalise(text) if len(text) <= 2 * LONGEST_ANSWER else ""
    if not text or _PROOF.match(text) or len(text) > LONGEST_ANSWER:
        return None
    # A solution that gives only a decimal is compared with what rounds to it.
    text = text.replace("\\approx", "=")
    # In `$125$ miles` the dollar signs enclose mathematics. They are no currency.
    if formula := _FORMULA_WITH_UNIT.fullmatch(text):
        text = formula[1] + formula[2]
    # Stage 2: the first reader that can read it.
    for name, kind in KINDS.items():
        if (value := kind.read(text, locale)) is not None:
            return Gold(text, name, value, locale)
    # Stage 3: a formula, if math-verify can parse it.
    gold = Gold(text, "formula", None, locale)
    if SYMBOLIC.parses(gold.latex()):
        return gold
    # A sentence that no reader understands can still be repeated.
    return (
        Gold(text, "words", tuple(text.casefold().split()), locale)
        if re.search(r"(?<![\\A-Za-z])[a-z]{3,}", text)
        else None
    )
