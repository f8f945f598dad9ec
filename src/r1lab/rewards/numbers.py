r"""Exact equality of numbers, without sympy: most golds are numbers, and most answers are written as one.

A number may be wrapped (`x = 1{,}234`, `\frac12`, `50\%`, `5 cm`, `Rp 15.000`), but it has to be the only one. An answer
that names two candidates has not answered.
"""

import ast
import operator
import re
from dataclasses import dataclass
from fractions import Fraction

from r1lab.rewards.normalise import normalise

NUMERAL = r"(?:\d+(?:[.,]\d+)*|[.,]\d+)"
LONGEST_NUMERAL = 200  # digits


def read_numeral(numeral: str, locale: str = "en") -> Fraction | None:
    """Value of a numeral such as `1,234.5`, or None if its commas and points make no sense in `locale` (en or id).

    Indonesian swaps the two: 1.000 is a thousand and 3,14 is pi. What cannot be grouping, as in 3.14, is a decimal point.
    """
    group, point = (".", ",") if locale == "id" else (",", ".")
    if len(numeral) > LONGEST_NUMERAL:
        return None
    if re.fullmatch(rf"\d{{1,3}}(?:\{group}\d{{3}})+(?:\{point}\d+)?", numeral):
        numeral = numeral.replace(group, "")
    elif locale == "id" and re.fullmatch(r"\d*\.\d+", numeral):
        point = "."
    elif not re.fullmatch(rf"\d+|\d*\{point}\d+", numeral):
        return None
    return Fraction(numeral.replace(point, "."))


@dataclass(frozen=True)
class Quantity:
    """A number with what was written around it: `name = value unit`."""

    value: Fraction
    name: str = ""  # the left side of "x = 5"
    unit: str = ""  # "cm", "%", "_8"
    decimals: int = 0  # digits after the decimal point, 0 for exact numbers
    plain: bool = True  # a numeral, not a fraction: nothing left to work out


MATH_WORDS = re.compile(
    r"(?<![A-Za-z])(?:a?(?:sin|cos|tan)|cot|sec|csc|sqrt|log|ln|lg|exp|pi|mod|gcd|lcm|det|infty|inf|oo)(?![A-Za-z])"
)
# Zeros that a word stands for, in both languages.
_MULTIPLES = {
    "ribu": 3, "thousand": 3, "juta": 6, "million": 6, "miliar": 9, "milyar": 9, "billion": 9, "triliun": 12, "trillion": 12,
}  # fmt: skip
_MULTIPLE = re.compile(rf"\s*({'|'.join(_MULTIPLES)})(?![A-Za-z])(.*)", re.IGNORECASE | re.DOTALL)
_NAMED = re.compile(r"([A-Za-z](?:_\{?\w+\}?)?(?:\([^()=]*\))?)\s*=\s*(.*)", re.DOTALL)
_INTRODUCED = re.compile(
    r"(?:[A-Za-z][A-Za-z ]*(?:\bis\b|\badalah\b|[:=])|(?:answer|jawabannya)\b)\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)
_NUMBER = re.compile(
    rf"""(?P<sign>[+-]?)\s*(?P<currency>Rp\.?|IDR|USD|[$€£¥])?\s*
    (?: (?P<whole>\d+)?\s*\\frac\s*\{{\s*(?P<top>\d+)\s*\}}\s*\{{\s*(?P<bottom>\d+)\s*\}}
      | (?P<whole2>\d+)\s+(?P<top2>\d+)\s*/\s*(?P<bottom2>\d+)
      | (?P<numeral>{NUMERAL})(?:[eE](?P<e>[+-]?\d{{1,3}}))?(?:\s*(?:\\times|\\cdot|\*)\s*10\s*\^\s*\{{?\s*(?P<ten>-?\d{{1,3}})\s*\}}?)?
        (?:\s*/\s*(?P<divisor>{NUMERAL}))? )
    (?P<unit>.*)""",
    re.VERBOSE | re.DOTALL,
)
# A unit is words, or one of the usual letters after a space: `5x` and `6m` are products.
_UNIT = re.compile(
    r"\s*%|\s*_\s*\{?\s*\w+\s*\}?|\s*[A-Za-z]{2,}[A-Za-z ./]*(?:\^\{?[23]\}?)?|\s+[mgshlLVWNJKC](?:\s*/\s*[a-z]+)?(?:\^\{?[23]\}?)?"
)


def read_quantity(text: str, locale: str = "en") -> Quantity | None:
    """The one number a normalised text consists of, or None if it is anything more."""
    name = ""
    if match := _NAMED.fullmatch(text):
        name, text = match[1], match[2]
    elif match := _INTRODUCED.fullmatch(text):
        text = normalise(match[1])
    match = _NUMBER.fullmatch(text.strip())
    if not match:
        return None
    unit, currency, multiple = match["unit"], match["currency"] or "", 0
    if spoken := _MULTIPLE.fullmatch(unit):
        unit, multiple = spoken[2], _MULTIPLES[spoken[1].casefold()]
    if unit and (not _UNIT.fullmatch(unit) or MATH_WORDS.search(unit)):
        return None
    decimals, plain = 0, False
    if currency.startswith("Rp"):
        locale = "id"
    if match["numeral"]:
        value = read_numeral(match["numeral"], locale)
        divisor = read_numeral(match["divisor"], locale) if match["divisor"] else Fraction(1)
        if value is None or not divisor:
            return None
        decimals = len(re.split("[.,]", match["numeral"])[-1]) if value.denominator != 1 else 0
        value = value / divisor * Fraction(10) ** (int(match["e"] or 0) + int(match["ten"] or 0))
        plain = not match["divisor"]
    else:
        whole, top, bottom = (int(match[key] or match[key + "2"] or 0) for key in ("whole", "top", "bottom"))
        if not bottom:
            return None
        value = whole + Fraction(top, bottom)
    value = (-value if match["sign"] == "-" else value) * 10**multiple
    return Quantity(value, name, _tidy_unit(unit) or _tidy_unit(currency), decimals, plain)


_UNIT_NAMES = {
    "centimeter": "cm", "centimetre": "cm", "sentimeter": "cm", "meter": "m", "metre": "m", "kilometer": "km", "kilometre": "km",
    "gram": "g", "kilogram": "kg", "second": "s", "sec": "s", "detik": "s", "minute": "min", "menit": "min", "hour": "h", "jam": "h",
    "day": "hari", "liter": "l", "litre": "l", "dollar": "$", "usd": "$", "rupiah": "rp", "idr": "rp", "percent": "%", "persen": "%", "degree": "deg", "derajat": "deg",
}  # fmt: skip


def _tidy_unit(unit: str) -> str:
    unit = re.sub(r"[\s{}.]", "", unit).casefold()
    singular = unit[:-1] if len(unit) > 3 and unit.endswith("s") else unit
    return _UNIT_NAMES.get(singular, singular)


NEAR = Fraction(1, 10**6)
ROUNDED = 6  # decimals from which a decimal is taken for a rounded number


def same_quantity(gold: Quantity, answer: Quantity) -> bool:
    """Equal values whose names and units do not contradict each other; a unit left out is no contradiction.

    A decimal of six or more digits stands for what it rounds: 0.333333 is 1/3. `50%` is 50 or 0.5, as the gold has it.
    """
    if gold.name and answer.name and gold.name != answer.name:
        return False
    if gold.unit and answer.unit and gold.unit != answer.unit:
        return False
    near = NEAR if max(gold.decimals, answer.decimals) >= ROUNDED else 0
    return any(
        left == right or abs(left - right) <= near * max(abs(left), abs(right))
        for left in _readings(gold, answer)
        for right in _readings(answer, gold)
    )


def _readings(one: Quantity, other: Quantity) -> tuple[Fraction, ...]:
    return (one.value, one.value / 100) if one.unit == "%" and other.unit != "%" else (one.value,)


_OPERATIONS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_SIGNS = {"\\times": "*", "\\cdot": "*", "\\div": "/"}
LONGEST_EXPRESSION = 200  # characters


def evaluate(text: str, locale: str = "en") -> tuple[Fraction, list[Fraction]] | None:
    """Value of `+ - * / ( )` over numerals, and the numerals used; None if the text is anything else.

    The text is parsed, never run. Division is exact; by zero it gives None.
    """
    numerals: list[Fraction] = []

    def store(match: re.Match) -> str:
        # Python's parser sees the index of a numeral, so that its own rules for numbers (007, 1_000) do not apply.
        numerals.append(read_numeral(match[0], locale))
        return f" {len(numerals) - 1} "

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
            return _OPERATIONS[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            return -value(node.operand) if isinstance(node.op, ast.USub) else value(node.operand)
        if isinstance(node, ast.Constant):
            return numerals[node.value]
        raise ValueError("neither a number nor one of + - * /")

    text = re.sub(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"((\1)/(\2))", text)
    text = re.sub(r"\\[a-z]+", lambda match: _SIGNS.get(match[0], match[0]), text)
    if len(text) > LONGEST_EXPRESSION:
        return None
    text = re.sub(NUMERAL, store, text, flags=re.ASCII)
    if None in numerals or not re.fullmatch(r"[0-9+\-*/() ]+", text) or re.search(r"\*\s*\*|/\s*/", text):
        return None
    try:
        return value(ast.parse(text.strip(), mode="eval").body), numerals
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None
