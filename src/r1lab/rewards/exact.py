r"""Exact equality of numbers, without sympy: most golds are numbers, and most answers are written as one.

The rule that carries this file: a number may be dressed (`x = 1{,}234`, `\frac12`, `50\%`, `5 cm`, `Rp 15.000`), but it
has to be the only one. An answer that names two candidates has not answered.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

_CHARACTERS = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "—": "-",
        "×": "\\times ",
        "⋅": "\\cdot ",
        "·": "\\cdot ",
        "∙": "\\cdot ",
        "÷": "\\div ",
    }
    | {"⁄": "/", "∕": "/", "，": ",", "．": ".", "（": "(", "）": ")", "＝": "=", "\u200b": "", "\ufeff": ""}
    | {
        "π": "\\pi ",
        "∞": "\\infty ",
        "≠": "\\neq ",
        "±": "\\pm ",
        "≤": "\\le ",
        "≥": "\\ge ",
        "∪": "\\cup ",
        "∅": "\\emptyset ",
    }
    | {"½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3", "°": " degrees "}
    | dict(zip("０１２３４５６７８９", "0123456789", strict=True))
)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_REWRITES = [
    (re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+"), lambda m: f"^{{{m[0].translate(_SUPERSCRIPTS)}}}"),
    (re.compile(r"√\s*(\d+|[A-Za-z])"), r"\\sqrt{\1}"),
    (re.compile(r"√\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"\\(?:left|right|displaystyle)(?![A-Za-z])"), ""),
    (re.compile(r"(?<=\d)(?:\\[,! ]|\{,\}|~)(?=\d{3}(?!\d))"), ","),  # 1\,234 and 1{,}234 group digits
    (re.compile(r"(?<=\d)\{,\}(?=\d)"), ","),
    (re.compile(r"(?<!\w)\*\*([A-Za-z][^*\n]*)\*\*"), r"\1"),  # **Answer:** 14
    (re.compile(r"(?<!\\)\\[,;:! ]|~|\\q?quad(?![A-Za-z])"), " "),  # but not the row end before a space
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(frac|sqrt)\s*(\d)"), r"\\\1{\2}"),
    (re.compile(r"(\\frac\s*\{\d+\})\s*(\d)"), r"\1{\2}"),
    (re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})"), " degrees "),
    (re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf)|mbox|operatorname)\s*\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\\([%$#&_])"), r"\1"),
    (re.compile(r"\\(?:varnothing|empty)(?![A-Za-z])"), r"\\emptyset "),
    (re.compile(r"(?<=\d),-+(?!\d)"), ""),  # Rp15.000,-
    (re.compile(r"\\langle(?![A-Za-z])"), "("),
    (re.compile(r"\\rangle(?![A-Za-z])"), ")"),
    (re.compile(r"\bminus (?=\d)", re.IGNORECASE), "-"),
    (re.compile(r"(?<=\d) x (?=\d)"), r" \\times "),
    (re.compile(r"(?<![A-Za-z\\])pi(?![A-Za-z])"), r"\\pi "),
    (re.compile(r"\\(?:approx|simeq)(?![A-Za-z])|≈"), "="),
    (re.compile(r"\b(?:all real numbers|semua bilangan real)\b", re.IGNORECASE), r"\\mathbb{R}"),
    (re.compile(r"\\+\s*$"), ""),
    (re.compile(r"\s+"), " "),
    (re.compile(r"(?<![\w.,])\d{1,3}(?: \d{3})+(?![\d/])"), lambda m: m[0].replace(" ", "")),
    (
        re.compile(r"(\d{0,50})\.(\d{0,50})\\(?:overline|bar)\s*\{?(\d{1,50})\}?"),
        lambda m: _repeating(*m.groups()),
    ),
]


def _repeating(whole: str, fixed: str, period: str) -> str:
    r"""`0.1\overline{6}` as a fraction."""
    shift = 10 ** len(fixed)
    value = Fraction(int(whole or 0)) + Fraction(int(fixed or 0), shift)
    value += Fraction(int(period), (10 ** len(period) - 1) * shift)
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


_WRAPPINGS = [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("`", "`")]


def normalise(text: str) -> str:
    """One spelling for what looks alike: unicode signs, LaTeX spacing, shorthand fractions, math and bold wrappers."""
    text = text.translate(_CHARACTERS)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    while True:
        before, text = text, text.strip().rstrip(".,;: ").removeprefix("=")
        for opening, closing in _WRAPPINGS:
            inner = text[len(opening) : len(text) - len(closing)]
            if text.startswith(opening) and text.endswith(closing) and inner.strip() and closing not in inner:
                text = inner
        if text == before:
            return text


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
_MULTIPLES = {
    "ribu": 3,
    "thousand": 3,
    "juta": 6,
    "million": 6,
    "miliar": 9,
    "milyar": 9,
    "billion": 9,
    "triliun": 12,
    "trillion": 12,
}
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


_TOKEN = re.compile(rf"\s*({NUMERAL}|[-+*/()])")


def evaluate(text: str, locale: str = "en") -> Fraction | None:
    """Value of `+ - * / ( )` over numerals, or None if the text is anything else: a parser of our own, nothing is run."""
    text = re.sub(r"\\(?:times|cdot)(?![A-Za-z])", "*", text)
    text = re.sub(r"\\div(?![A-Za-z])", "/", text).strip()
    tokens, place = [], 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if not match:
            return None
        tokens.append(match[1])
        place = match.end()
    tokens.append("")
    try:
        value, place = _sum(tokens, 0, locale)
    except (ValueError, ZeroDivisionError):
        return None
    return value if place == len(tokens) - 1 else None


def _sum(tokens: list[str], place: int, locale: str) -> tuple[Fraction, int]:
    value, place = _product(tokens, place, locale)
    while tokens[place] in ("+", "-"):
        term, after = _product(tokens, place + 1, locale)
        value, place = (value + term if tokens[place] == "+" else value - term), after
    return value, place


def _product(tokens: list[str], place: int, locale: str) -> tuple[Fraction, int]:
    value, place = _factor(tokens, place, locale)
    while tokens[place] in ("*", "/"):
        factor, after = _factor(tokens, place + 1, locale)
        value, place = (value * factor if tokens[place] == "*" else value / factor), after
    return value, place


def _factor(tokens: list[str], place: int, locale: str) -> tuple[Fraction, int]:
    sign = 1
    while tokens[place] in ("+", "-"):
        sign, place = (-sign if tokens[place] == "-" else sign), place + 1
    if tokens[place] == "(":
        value, place = _sum(tokens, place + 1, locale)
        if tokens[place] != ")":
            raise ValueError("a parenthesis stays open")
        return sign * value, place + 1
    value = read_numeral(tokens[place], locale)
    if value is None:
        raise ValueError("a number is missing")
    return sign * value, place + 1
