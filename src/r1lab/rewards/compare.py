r"""Whether an answer equals a solution.

An answer is of one *kind*: a number, a time, an order, a union of intervals, a list, words, or a formula. A kind is a
reader and a comparison (the table `KINDS`). The first reader that can read the solution decides its kind, and the answer
is read by the same reader. Only formulas, and what a reader leaves open, go to math-verify (`verify.symbolic`), which gets
nothing but what is short, shallow and names one value. No gold `14` starts sympy.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from r1lab.rewards.intervals import Intervals, read_intervals, same_intervals, split_top
from r1lab.rewards.latex import as_latex, too_costly
from r1lab.rewards.lists import (
    List,
    read_list,
    read_order,
    read_text,
    read_time,
    same_list,
    same_text,
    same_time,
    tighten,
)
from r1lab.rewards.normalise import normalise, read_words
from r1lab.rewards.quantities import (
    LONGEST_NUMERAL,
    Fraction,
    Quantity,
    evaluate,
    read_quantity,
    same_quantity,
)
from r1lab.rewards.reading import (
    APPROXIMATE,
    DOUBTS,
    HEDGES,
    LONGEST_ANSWER,
    RETRACTED,
    last_boxed,
    statement,
)
from r1lab.rewards.units import same_unit, split_unit
from r1lab.rewards.verify.symbolic import SYMBOLIC

LOCALES = ("en", "id")  # how numbers are written: 1,234.5 or 1.234,5
Questions = tuple[tuple[str, str], ...]  # pairs of formulas that must all be equal; math-verify decides


class Kind(NamedTuple):
    """A kind of answer: how to read it (None if a text is of another kind), and when two of them are equal."""

    read: Callable[[str, str], Any | None]
    same: Callable[[Any, Any], bool | None]  # None: only math-verify can tell


def _read_number(text: str, locale: str) -> Quantity | None:
    # 5m may be a product where a problem asks for a formula; an answer to "how far?" may say 5m and mean metres.
    return None if re.search(r"\d[A-Za-z]$", text) or too_costly(text) else read_quantity(text, locale)


KINDS = {
    "number": Kind(_read_number, same_quantity),
    "time": Kind(read_time, same_time),
    "order": Kind(read_order, lambda gold, answer: gold == answer),
    "intervals": Kind(read_intervals, same_intervals),
    "list": Kind(read_list, same_list),
    "words": Kind(read_text, same_text),
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
            and (value := read_intervals(text, self.locale))
            and (self.value.sure or value.sure)
        ):
            return value.latex
        return as_latex(text, several=self.several, locale=self.locale)


_PROOF = re.compile(r"\s*(?:prove|show|proof|buktikan|tunjukkan|bukti)\b", re.IGNORECASE)


@lru_cache(maxsize=50_000)
def read_gold(solution: str, locale: str) -> Gold | None:
    r"""The gold of a solution: its last `\boxed{}`, else what follows its last `####`, else all of it.

    None when it cannot be read (empty, a task to prove something): such a problem cannot be scored. Decided once per
    solution, so that it never depends on a completion.
    """
    text = last_boxed(solution)
    if text is None:
        text = solution.rpartition("####")[2]
    text = normalise(text)
    if not text or _PROOF.match(text) or len(text) > LONGEST_ANSWER:
        return None
    for name, kind in KINDS.items():
        if (value := kind.read(text, locale)) is not None:
            return Gold(text, name, value, locale)
    gold = Gold(text, "formula", None, locale)
    if SYMBOLIC.parses(gold.latex()):
        return gold
    # A sentence that no reader understands can still be repeated.
    return (
        Gold(text, "words", tuple(text.casefold().split()), locale)
        if re.search(r"(?<![\\A-Za-z])[a-z]{3,}", text)
        else None
    )


_OPTION = re.compile(r"(?:(?i:option|choice|pilihan) )?\(?([A-Z])(?:[.:)]\s|\)|$)")  # C. 42, or Option C
_WORKING = re.compile(r"[*!^]|[+/]\s*[\d(\\]|(?<=[\w)}])\s*-\s*[\d(\\]|\\(?:times|cdot|div|frac|sqrt|binom)")


def compare(gold: Gold, answer: str, *, require_simplified: bool = False) -> bool | Questions:
    """Whether an answer equals the gold, or what to ask math-verify if only that can tell. Costs microseconds, runs nothing."""
    # Stage 1: the same spelling, and whole numbers, which are most of all answers.
    if answer == gold.text:
        return True
    if len(answer) > LONGEST_ANSWER * 2:
        return False
    if gold.kind == "number" and answer.isdecimal() and answer.isascii() and len(answer) <= LONGEST_NUMERAL:
        return same_quantity(gold.value, Quantity(Fraction(int(answer))))
    answer = normalise(answer.rpartition("####")[2])
    if answer == gold.text or (gold.kind != "number" and tighten(answer) == tighten(gold.text)):
        return True
    if gold.kind == "words":
        return _compare_words(gold, answer)
    # Stage 2: what the answer states, and whether it commits to that.
    answer = normalise(statement(answer)) or answer
    if not answer or too_costly(answer) or not _brackets_match(answer):
        return False
    locale = "id" if re.search(r"(?<![A-Za-z])Rp", answer) else gold.locale
    if gold.kind == "number" and (spelled := read_words(answer)) is not None:
        answer = str(spelled)  # before the "and" of "one hundred and five" is taken for a hedge
    if not gold.several and (
        HEDGES.search(answer) or RETRACTED.search(answer) or _names_several(answer, locale)
    ):
        return False
    if gold.several and DOUBTS.search(answer) and not DOUBTS.search(gold.text):
        return False
    rounded = gold.kind == "number" and gold.value.decimals
    if APPROXIMATE.search(answer) and not (gold.several or rounded):
        return False
    # Stage 3: read it as the gold was read.
    if gold.kind == "number":
        return _compare_number(gold, answer, locale, require_simplified)
    if gold.kind != "formula":
        value = KINDS[gold.kind].read(answer, locale)
        if value is None and gold.kind in ("time", "order"):
            return False
        if value is None and _other_brackets(gold, answer):
            return False
        verdict = None if value is None else KINDS[gold.kind].same(gold.value, value)
        return verdict if verdict is not None else _ask(gold, answer)
    # Stage 4: formulas.
    return _compare_formula(gold, answer)


def _compare_words(gold: Gold, answer: str) -> bool:
    single = len(gold.value) == 1 and len(gold.value[0]) == 1
    if single and not HEDGES.search(answer) and (option := _OPTION.match(answer)):
        return option[1] == gold.value[0]
    stated = normalise(statement(answer)) or answer
    words = [
        read_text(text) or tuple(re.findall(r"[^\W_]+", text if single else text.casefold()))
        for text in (answer, stated)
    ]
    return any(
        same_text(gold.value, some) and not HEDGES.search(" ".join(some[: -len(gold.value)]))
        for some in words
    )


def _other_brackets(gold: Gold, answer: str) -> bool:
    r"""Whether one is a set `\{1, 2\}` and the other a pair `(1, 2)`, which math-verify takes for equal."""
    other = read_list(answer, gold.locale)
    return (
        isinstance(gold.value, Intervals)
        and not gold.value.sure
        and isinstance(other, List)
        and other.brackets in ("{", "")
    )


def _brackets_match(text: str) -> bool:
    """Whether as many brackets close as open, of any kind: half-open intervals are fine, `14)` is not."""
    return sum(map(text.count, "([{")) == sum(map(text.count, ")]}"))


def _names_several(text: str, locale: str) -> bool:
    """Whether a text lists values: commas outside brackets with more than prose between them."""
    parts = split_top(text, locale)
    return (
        len(parts) > 1
        and sum(bool(re.search(r"[\d\\]|^[A-Za-z]?$|^[A-Za-z] ?=", part)) for part in parts) > 1
    )


# ----------------------------------------------------------------------------------------------- numbers

_NAME = re.compile(r"\s*[A-Za-z](?:_\{?\w+\}?)?(?:\([A-Za-z]\))?\s*|[^\d\\]*")
_EQUALS = re.compile(r"=|\\equiv(?![A-Za-z])")
_UNIT_WORDS = re.compile(r"(?<=[\d)}%])\s*(?:\s|/ ?)[A-Za-z][A-Za-z .']+(?![A-Za-z(\\])|USD|Rp\.?|[€£¥]")


def _sides(answer: str) -> list[str]:
    """The sides of a chain of equations, without a name or words in front: ["12+7", "19"] of `x = 12+7 = 19`."""
    sides = _EQUALS.split(answer)
    if len(sides) > 1 and _NAME.fullmatch(sides[0]):
        return sides[1:]
    return sides[:-1] if len(sides) == 2 and re.fullmatch(r"\s*[a-z]\s*", sides[1]) else sides  # 5 = x


def _compare_number(gold: Gold, answer: str, locale: str, require_simplified: bool) -> bool | Questions:
    quantity = read_quantity(answer, locale)
    if (
        require_simplified
        and gold.value.plain
        and not (quantity and quantity.plain)
        and _WORKING.search(answer)
    ):
        return False
    if quantity:
        return same_quantity(gold.value, quantity)
    if re.search(r"[<>]|\\(?:leq?|geq?|lt|gt)(?![A-Za-z])", answer):
        return False
    # A chain counts if every side of it has the value of the gold.
    sides = _sides(answer)
    verdicts = [
        _side_equals(gold, side, locale, last=index == len(sides) - 1) for index, side in enumerate(sides)
    ]
    if require_simplified and len(sides) > 1:
        return False
    if False in verdicts:
        return False
    return tuple(pair for verdict in verdicts if verdict is not True for pair in verdict) or True


_INTRODUCTION = re.compile(r"^[^\d\\(|=-]*(?<= )(?=[\d(\\|-])")
_FORMULA_SIGNS = re.compile(r"[\\^!_|\[\]{}]|\d[mgshlLVWNJKC]\b")


def _side_equals(gold: Gold, side: str, locale: str, *, last: bool) -> bool | Questions:
    """Whether one side of an answer has the value of a number: 12+7, `USD 9 * 2`, or prose with a single number in it."""
    side = side.strip(" $")
    quantity = read_quantity(side, locale)
    if quantity and (last or quantity.unit == gold.value.unit):
        return same_quantity(gold.value, quantity)
    bare = _UNIT_WORDS.sub(" ", _INTRODUCTION.sub("", side)) if re.search(r"\d", side) else side
    of = _UNIT_WORDS.sub(" ", side.replace("% of", "/100*"))
    for text in (side, bare, bare.replace("%", "/100"), of):
        if (value := evaluate(text, locale)) is not None:
            return value[0] == gold.value.value
    if re.fullmatch(r"e|\\pi", side):
        return ((gold.latex(), side),)
    if not re.search(r"[\d\\]", side):
        return False
    if re.search(
        r"(?<![A-Za-z\\])[A-Za-z]{3,}", re.sub(r"\\[A-Za-z]+", "", bare)
    ) or not _FORMULA_SIGNS.search(side):
        return _only_number(gold, side, locale)
    return ((gold.latex(), gold.latex(bare)),)


def _only_number(gold: Gold, prose: str, locale: str) -> bool:
    """Whether prose holds exactly one number, and that is the gold: "Ani has 14 eggs"."""
    if re.search(r"[+*&<>~@#^]|[A-Za-z]\(|\d\s*[-/]\s*\d|[|\[\]{}\\]", prose):
        return False  # unfinished, or a call: 14+, range(14)
    numerals = list(re.finditer(r"(?<![\w.])(?:USD |Rp ?)?-?[.\d][\d.,]*(?:/\d+)?%?", prose))
    if len(numerals) != 1 or len(re.findall(r"\d+(?:[.,]\d+)*(?:/\d+)?", prose)) != 1:
        return False  # several numbers: which one is the answer?
    start = numerals[0]
    quantity = read_quantity(prose[start.start() :], locale) or read_quantity(start[0].rstrip(".,"), locale)
    if quantity is None or re.match(r"[A-Za-z]| (?!a\b)[A-Za-z](?![A-Za-z])", prose[start.end() :]):
        return False
    return same_quantity(gold.value, quantity)


# ---------------------------------------------------------------------------------------------- formulas

_FUNCTION = re.compile(r"\s*([A-Za-z])\(([A-Za-z])\)\s*=\s*(.*)", re.DOTALL)
_QUALIFIER = re.compile(r"\s+(?:for|where|with|untuk|dengan|di mana)\s[^\d=<>]*$")
_PROSE = re.compile(r"(?<![A-Za-z\\{])(?!(?:and|or|dan|atau|sin|cos|tan|log)\b)[A-Za-z]{4,}")


def _compare_formula(gold: Gold, answer: str) -> bool | Questions:
    gold_formula, gold_unit = split_unit(gold.text)
    answer, unit = split_unit(_QUALIFIER.sub("", answer) if not _QUALIFIER.search(gold.text) else answer)
    if not same_unit(gold_unit, unit):
        return False
    if _PROSE.search(answer) and not _PROSE.search(gold_formula):
        return False  # letters of a word would be taken for factors
    functions = _FUNCTION.fullmatch(gold_formula), _FUNCTION.fullmatch(answer)
    if functions[0] and (named := re.match(r"\s*y\s*=", answer)):
        return _ask(gold, answer[named.end() :], functions[0][3])  # y = x + 1 for f(x) = x + 1
    if all(functions):
        (name, letter, body), (other_name, other_letter, other) = (match.groups() for match in functions)
        other = re.sub(rf"(?<![A-Za-z\\]){other_letter}(?![A-Za-z])", letter, other)
        return name == other_name and _ask(gold, other, body)
    if _EQUALS.search(gold_formula) or not _EQUALS.search(answer):
        return _ask(gold, answer, gold_formula)
    # Every side of a chain has to equal the gold: in `6 = 7\sqrt{2}` one does not.
    return tuple(pair for side in _sides(answer) for pair in _ask(gold, side, gold_formula))


def _ask(gold: Gold, answer: str, text: str | None = None) -> Questions:
    return ((gold.latex(text), gold.latex(answer)),)
