"""What math-verify is asked: which answers are too costly for it, and how the others are written for it."""

import re

from r1lab.rewards.answers.quantities import NUMERAL, read_numeral
from r1lab.rewards.answers.reading import LONGEST_ANSWER
from r1lab.rewards.answers.units import split_unit

DEEPEST = 10  # nested brackets; the grammar behind math-verify is exponential in them
_COSTLY = re.compile(
    r"\d{200}"  # long numbers
    r"|(?:\^|\*\*)\s*\{?\s*-?\s*\{?\d{5,}"  # huge exponents
    r"|(?:\^|\*\*)\s*\{?[\d\s.()+*-]*\d[\s)]*(?:\^|\*\*)"  # towers of numbers
    r"|\d{4,}\s*!|[)}\]!]\s*!"  # huge or nested factorials
    r"|\\(?:binom|sum|prod|int)(?![A-Za-z]).*?(?:\d{4,}|\d\s*\^)",
    re.DOTALL,
)


def too_costly(text: str) -> bool:
    """Whether an answer is of a kind that no problem asks for and that keeps sympy busy; such answers are wrong.

    Also true of unbalanced braces, which would let an answer out of the box it is put into.
    """
    if len(text) > LONGEST_ANSWER or _COSTLY.search(text):
        return True
    depth = deepest = braces = 0
    for index, character in enumerate(text):
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
        if character in "{}" and text[index - 1 : index] != "\\":
            braces += 1 if character == "{" else -1
            if braces < 0:
                return True
    return deepest > DEEPEST or braces != 0


def as_latex(text: str, *, several: bool, locale: str) -> str:
    """A formula as math-verify is asked about it: numerals the English way, no unit, "or" as a comma."""
    text = split_unit(text)[0]
    if several:
        text = re.sub(r",?(?<![A-Za-z\\])(?:or|and|atau|dan)(?![A-Za-z])", ",", text)
        if "\\pm" in text:
            text = ", ".join(re.sub(r"\\pm(?![A-Za-z])", sign, text) for sign in "+-")
    if locale == "id":
        text = re.sub(NUMERAL, _english_numeral, text)
    return text


def _english_numeral(match: re.Match) -> str:
    value = read_numeral(match[0], "id")
    if value is None:
        return match[0]
    return str(value) if value.denominator == 1 else match[0].replace(",", ".")
