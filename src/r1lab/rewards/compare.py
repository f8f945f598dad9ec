r"""Whether an answer equals a solution: exact comparisons first, math-verify only for what is left.

Three comparisons, the cheap ones first: equal strings, exact numbers (`numbers`), and math-verify in a killable process
(`verify.symbolic`), which only gets what is short, shallow and names one value. No gold `14` starts sympy.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from r1lab.languages import WORDS
from r1lab.rewards import numbers
from r1lab.rewards.latex import as_latex, split_unit, too_costly
from r1lab.rewards.normalise import normalise
from r1lab.rewards.reading import HEDGES, LONGEST_ANSWER, ROUGHLY, last_boxed, without_introduction
from r1lab.rewards.verify.symbolic import SYMBOLIC

LOCALES = ("en", "id")  # how numbers are written: 1,234.5 or 1.234,5

_INEQUALITY = re.compile(r"[<>]|\\(?:leq?|geq?|lt|gt|l?eqslant|geqslant)(?![A-Za-z])")
_LETTERS = re.compile(r"[A-Za-z]{2,}(?: [A-Za-z]+){0,3}|[A-Z]")
_SHORT_WORDS = frozenset({"yes", "no", "odd", "even", "ya", "nol"}).union(*WORDS.values())
_OPTION = re.compile(r"(?:(?i:option|choice|pilihan) )?\(?([A-Z])(?:[.:]\s|\)|$)")  # C. 42, or Option C
_PROOF = re.compile(r"\s*(?:prove|show|proof|buktikan|tunjukkan|bukti)\b", re.IGNORECASE)
_WORKING = re.compile(r"[*!^]|[+/]\s*[\d(\\]|(?<=[\w)}])\s*-\s*[\d(\\]|\\(?:times|cdot|div|frac|sqrt|binom)")


@dataclass(frozen=True)
class Gold:
    """A solution, read once: a number, one or more words, or something for math-verify."""

    text: str  # normalised
    number: numbers.Quantity | None = None
    words: bool = False
    lists: bool = False  # names several values itself, so that naming several is no hedge
    locale: str = "en"

    def latex(self, text: str | None = None) -> str:
        """The solution, or an answer to it, as math-verify is asked about it."""
        return as_latex(self.text if text is None else text, lists=self.lists, locale=self.locale)


@lru_cache(maxsize=50_000)
def read_gold(solution: str, locale: str) -> Gold | None:
    r"""The gold of a solution: its last `\boxed{}`, else what follows its last `####`, else all of it.

    None when it cannot be read (empty, a task to prove something): such a problem cannot be scored.
    """
    text = last_boxed(solution)
    if text is None:
        text = solution.rpartition("####")[2]
    text = normalise(text)
    if not text or _PROOF.match(text):
        return None
    if not too_costly(text) and (number := numbers.read_quantity(text, locale)):
        return Gold(text, number=number, locale=locale)
    product = re.fullmatch("[a-z]{2,3}", text) and text not in _SHORT_WORDS  # ab, xyz
    if _LETTERS.fullmatch(text) and not product and not numbers.MATH_WORDS.search(text):
        return Gold(text, words=True, locale=locale)
    lists = bool(HEDGES.search(text) or "\\{" in text or has_top_level_comma(text, locale))
    gold = Gold(text, lists=lists, locale=locale)
    if len(text) > LONGEST_ANSWER or not SYMBOLIC.parses(gold.latex()):
        return None
    return gold


def _tighten(text: str) -> str:
    """A text without the spaces around its signs; those between two words or numbers mean something."""
    return re.sub(r" ?([^\w\s]) ?", r"\1", text)


def _brackets_match(text: str) -> bool:
    """Whether as many brackets close as open, of any kind: half-open intervals are fine, `14)` is not."""
    return sum(map(text.count, "([{")) == sum(map(text.count, ")]}"))


def has_top_level_comma(text: str, locale: str = "en") -> bool:
    """Whether a text lists things: a comma or semicolon outside brackets that is no part of a number."""
    depth = 0
    text = re.sub(r"(?<=\d),(?=\d)" if locale == "id" else r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character in ",;" and depth <= 0:
            return True
    return False


def compare(gold: Gold, answer: str, *, require_simplified: bool = False) -> bool | None:
    """Whether an answer equals the gold; None if only math-verify can tell. Costs microseconds and runs nothing."""
    if len(answer) > LONGEST_ANSWER * 2:
        return False
    locale = "id" if answer.startswith("Rp") else gold.locale
    if answer == gold.text:
        return True
    if gold.number and answer.isdecimal() and answer.isascii() and len(answer) <= numbers.LONGEST_NUMERAL:
        return numbers.same_quantity(gold.number, numbers.Quantity(numbers.Fraction(int(answer))))
    answer = normalise(answer)
    answer = normalise(without_introduction(answer.rpartition("####")[2])) or answer
    if answer == gold.text or _tighten(answer) == _tighten(gold.text):
        return True
    if gold.words:
        option = None if HEDGES.search(answer) else _OPTION.match(answer)
        return (option[1] if option else answer.strip("()")).casefold() == gold.text.casefold()
    if not answer or too_costly(answer) or not _brackets_match(answer):
        return False
    if not gold.lists and (HEDGES.search(answer) or has_top_level_comma(answer, locale)):
        return False
    if ROUGHLY.search(answer) and not (gold.lists or (gold.number and gold.number.decimals)):
        return False
    if gold.number:
        return _compare_number(gold.number, answer, locale, require_simplified)
    if {_brackets(gold.text), _brackets(answer)} == {"set", "tuple"}:
        return False
    units = {unit for _, unit in map(split_unit, (gold.text, answer)) if unit}
    return False if len(units) > 1 else None


def _brackets(text: str) -> str:
    r"""How a list of things is written: "set" for `\{1, 2\}`, "tuple" for `(1, 2)`, else ""."""
    if re.fullmatch(r"\\\{[^(\[]*\\\}", text):
        return "set"
    return "tuple" if re.fullmatch(r"\([^()]*,[^()]*\)", text) else ""


def _compare_number(
    gold: numbers.Quantity, answer: str, locale: str, require_simplified: bool
) -> bool | None:
    quantity = numbers.read_quantity(answer, locale)
    if require_simplified and gold.plain and not (quantity and quantity.plain) and _WORKING.search(answer):
        return False
    if quantity:
        return numbers.same_quantity(gold, quantity)
    if _INEQUALITY.search(answer) or not re.search(r"[\d\\]", answer):
        return False
    worked = re.sub(r"^[A-Za-z ,]+(?<= )(?=[\d(-])", "", answer)  # "so" and the like
    sides = [numbers.evaluate(side.strip(" $"), locale) for side in worked.split("=")]
    if None not in sides:  # `12+7`, or `12+7=19`, whose sides must agree
        if require_simplified and len(sides) > 1:
            return False
        return {value for value, _ in sides} == {gold.value}
    if re.search(r"[\\^!_]|\d[mgshlLVWNJKC]\b", answer) or numbers.MATH_WORDS.search(answer):
        return None
    if re.search(r"[+*&<>~@#]|[A-Za-z]\(", answer):
        return False  # unfinished, or a call: 14+, range(14)
    if re.search(r"[|\[\]{}]", answer):
        return None  # |-4|
    numerals = re.findall(rf"(?<![\w.])-?{numbers.NUMERAL}(?![\w])", answer)
    if len(numerals) != 1 or len(re.findall(r"\d+(?:[.,]\d+)*", answer)) != 1:
        return False  # several numbers in prose: which one is the answer?
    quantity = numbers.read_quantity(numerals[0], locale)
    return bool(quantity) and numbers.same_quantity(gold, quantity)
