"""What math-verify is asked: which answers are too costly for it, and how the others are written for it."""

import re

from r1lab.rewards.numbers import NUMERAL, read_numeral
from r1lab.rewards.reading import LONGEST_ANSWER

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


_UNIT = re.compile(
    r"\s+((?:square |cubic )?(?:[mckd]m|[km]g|ml|meters?|metres?|inch(?:es)?|feet|ft|units?|satuan|seconds?|minutes?|hours?|detik|menit|jam"
    r"|dollars?|rupiah|degrees|derajat))\s*(?:\^\s*\{?\s*([23])\s*\}?)?$"
)


def split_unit(text: str) -> tuple[str, str]:
    r"""A formula and the unit written after it, "" without one: `36\pi cm ^3` gives `36\pi` and "cm3"."""
    match = _UNIT.search(text)
    return (text[: match.start()], match[1] + (match[2] or "")) if match and match.start() else (text, "")


_ONE_SIDED = re.compile(r"\s*([a-z])\s*(<|>|\\leq?|\\geq?|<=|>=)\s*([^<>\\=]+|[^<>=]*\\(?:frac|sqrt)[^<>=]*)")


def _union(text: str) -> str | None:
    """Intervals of `x < 1 or x > 4` as LaTeX, None if a part is no such inequality or the unknown changes."""
    parts = [
        _ONE_SIDED.fullmatch(part)
        for part in re.split(r"\b(?:or|atau)\b|\\lor(?![A-Za-z])|\\vee(?![A-Za-z])", text)
    ]
    if len(parts) < 2 or None in parts or len({part[1] for part in parts}) > 1:
        return None
    intervals = []
    for _, relation, bound in (part.groups() for part in parts):
        closed = "e" in relation or "=" in relation
        below = relation[0] == "<" or relation.startswith("\\l")
        intervals.append(
            f"(-\\infty,{bound}{']' if closed else ')'}"
            if below
            else f"{'[' if closed else '('}{bound},\\infty)"
        )
    return "\\cup ".join(intervals)


def as_latex(text: str, *, lists: bool, locale: str) -> str:
    """What math-verify is shown: numerals the English way, no unit, angles in radians, `or` as a union or a comma."""
    if re.search(r"\\(?:sin|cos|tan)", text):
        text = re.sub(r"(\d+) degrees", r"{(\1\\pi/180)}", text)
    text = split_unit(text)[0]
    if lists and (union := _union(text)):
        return union
    if lists:
        text = re.sub(r"(?<![A-Za-z\\])(?:or|and|atau|dan)(?![A-Za-z])", ",", text)
        if "\\pm" in text:
            text = ", ".join(re.sub(r"\\pm(?![A-Za-z])", sign, text) for sign in "+-")
    if locale == "id":

        def translate(match: re.Match) -> str:
            value = read_numeral(match[0], "id")
            whole = value is not None and value.denominator == 1
            return str(value) if whole else match[0].replace(",", ".") if value is not None else match[0]

        text = re.sub(NUMERAL, translate, text)
    return text
