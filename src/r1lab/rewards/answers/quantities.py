r"""Exact equality of numbers, without sympy: most golds are numbers, and most answers are written as one.

A number may be wrapped (`x = 1{,}234`, `\frac12`, `50\%`, `5 cm`, `Rp 15.000`), but it has to be the only one. An answer
that names two candidates has not answered.
"""

import ast
import operator
import re
from dataclasses import dataclass
from fractions import Fraction

from r1lab.rewards.answers.normalise import normalise, read_words
from r1lab.rewards.answers.units import NO_UNIT, Unit, read_unit, same_unit

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
    unit: Unit = NO_UNIT  # of "cm", "%"
    base: str = ""  # the 8 of 17_8, whose value is not computed
    decimals: int = 0  # digits after the decimal point, 0 for exact numbers
    plain: bool = True  # a numeral, not a fraction: nothing left to work out


# Words behind a number that multiply it, in both languages.
_FACTORS = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12, "score": 20, "gross": 144,
    "ratus": 100, "ribu": 1000, "juta": 10**6, "miliar": 10**9, "milyar": 10**9, "triliun": 10**12, "lusin": 12, "kodi": 20,
    "百": 100, "千": 1000, "万": 10**4, "亿": 10**8,
    "half": Fraction(1, 2), "third": Fraction(1, 3), "quarter": Fraction(1, 4), "fourth": Fraction(1, 4), "fifth": Fraction(1, 5),
    "sixth": Fraction(1, 6), "seventh": Fraction(1, 7), "eighth": Fraction(1, 8), "ninth": Fraction(1, 9), "tenth": Fraction(1, 10),
    "perdua": Fraction(1, 2), "pertiga": Fraction(1, 3), "perempat": Fraction(1, 4), "perlima": Fraction(1, 5),
}  # fmt: skip
_FACTOR = re.compile(
    rf"\s*({'|'.join(_FACTORS)}|halves)s?(?![A-Za-z])(.*)|(k)(?![A-Za-z^_])(.*)", re.IGNORECASE | re.DOTALL
)
_NAMED = re.compile(
    r"((?:[A-Za-z]|\\[A-Za-z]{2,8}(?: [a-z])?)(?:_\{?\w+\}?)?(?:\([^()=]*\))?)\s*=\s*(.*)", re.DOTALL
)
_INTRODUCED = re.compile(
    r"(?:[A-Za-z][A-Za-z ]*(?:\bis\b|\badalah\b|[:=])|(?:answer|jawabannya)\b)\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)
# The three ways to write a value: 3\frac{1}{2}, 3 1/2, and a numeral with its power of ten or divisor.
_NUMBER = re.compile(
    rf"""(?P<sign>[+-]?)\s*(?P<currency>Rp\.?|IDR|USD|[$€£¥])?\s*(?P<sign2>-?)
    (?: (?P<whole>\d+)?\s*\\frac\s*\{{\s*(?P<top>\d+)\s*\}}\s*\{{\s*(?P<bottom>\d+)\s*\}}
      | (?P<whole2>\d+)\s+(?P<top2>\d+)\s*/\s*(?P<bottom2>\d+)
      | (?P<numeral>{NUMERAL})(?:[eE](?P<e>[+-]?\d{{1,3}}))?(?:\s*(?:\\times|\\cdot|\*)\s*10\s*\^\s*\{{?\s*(?P<ten>-?\d{{1,3}})\s*\}}?)?
        (?:\s*/\s*(?P<divisor>{NUMERAL}))? )
    (?:_\{{?\s*(?P<base>\d+|[a-z]+)\s*\}}?)?
    (?P<unit>.*)""",
    re.VERBOSE | re.DOTALL,
)


def read_quantity(text: str, locale: str = "en") -> Quantity | None:
    """The one number a normalised text consists of, or None if it is anything more."""
    name = ""
    # Stage 1: a name or an introduction in front.
    if match := _NAMED.fullmatch(text):
        name, text = match[1], match[2]
    elif match := _INTRODUCED.fullmatch(text):
        text = normalise(match[1])
    text = _spelled_out(text) if not re.search(r"[\d\\]", text) else text
    # Stage 2: sign, currency, numeral or fraction, base, and what follows.
    match = _NUMBER.fullmatch(text.strip())
    if not match:
        return None
    # Stage 3: what follows is a factor (5 dozen), a unit (5 cm), or the end of this being a number.
    unit_text, currency, factor = match["unit"], match["currency"] or "", Fraction(1)
    if word := _FACTOR.fullmatch(unit_text):
        factor = Fraction(
            1000 if word[3] else _FACTORS["half" if word[1].lower() == "halves" else word[1].lower()]
        )
        unit_text = word[2] or word[4] or ""
    unit = _unit_behind(unit_text) if unit_text else read_unit(currency)
    if unit is None:
        return None
    locale = "id" if currency.startswith("Rp") else locale
    decimals, plain = 0, factor.denominator == 1
    # Stage 4: the value, exactly.
    if match["numeral"]:
        value = read_numeral(match["numeral"], locale)
        divisor = read_numeral(match["divisor"], locale) if match["divisor"] else Fraction(1)
        if value is None or not divisor:
            return None
        decimals = len(re.split("[.,]", match["numeral"])[-1]) if value.denominator != 1 else 0
        value = value / divisor * Fraction(10) ** (int(match["e"] or 0) + int(match["ten"] or 0))
        plain = plain and not match["divisor"]
    else:
        whole, top, bottom = (int(match[key] or match[key + "2"] or 0) for key in ("whole", "top", "bottom"))
        if not bottom:
            return None
        value, plain = whole + Fraction(top, bottom), False
    value *= factor * (-1) ** (match["sign"] + match["sign2"]).count("-")
    return Quantity(value, name, unit, match["base"] or "", decimals, plain)


def _spelled_out(text: str) -> str:
    """A text whose first words spell a number, with that number in digits: "forty-two apples" becomes "42 apples"."""
    words = text.split(" ")
    for count in range(min(len(words), 8), 0, -1):
        if (value := read_words(" ".join(words[:count]))) is not None:
            return " ".join([str(value), *words[count:]])
    return text


def _unit_behind(text: str) -> Unit | None:
    """The unit that stands behind a number, None if it is a factor: `5 m` has a unit, `5x` and `6ab` are products."""
    if (
        (not text[0].isspace() and text[0].isalpha())
        or text[0] == "\\"
        or re.fullmatch(r"\s*[A-Za-z]\b.*", text)
    ):
        # Attached letters, commands and lone letters have to be units of the table: 5cm, 5 m, but 6ab is a product.
        return read_unit(text, known_only=True)
    # Behind an operator, a unit of the table or nothing: "15/day", but 5^2.
    if re.match(r"\s*[/*^(]", text) and not read_unit(text, known_only=True):
        return None
    return None if MATH_WORDS.search(text) else read_unit(text)


MATH_WORDS = re.compile(
    r"(?<![A-Za-z])(?:a?(?:sin|cos|tan)|cot|sec|csc|sqrt|log|ln|lg|exp|pi|mod|gcd|lcm|det|infty|inf|oo)(?![A-Za-z])"
)
NEAR = Fraction(1, 10**6)
ROUNDED = 6  # decimals from which a decimal is taken for a rounded number
PERCENT = read_unit("%")


def same_quantity(gold: Quantity, answer: Quantity) -> bool:
    """Equal values whose names and units do not contradict each other; a unit left out is no contradiction.

    A decimal of six or more digits stands for what it rounds: 0.333333 is 1/3. `50%` is 50 or 0.5, as the gold has it.
    """
    if gold.name and answer.name and gold.name != answer.name:
        return False
    # The same digits in another base are another number.
    if gold.base and answer.base and gold.base != answer.base:
        return False
    if PERCENT not in (gold.unit, answer.unit) and not same_unit(gold.unit, answer.unit):
        return False
    # Rounded decimals may be off by one in their sixth digit.
    near = NEAR if max(gold.decimals, answer.decimals) >= ROUNDED else 0
    return any(
        left == right or abs(left - right) <= near * max(abs(left), abs(right))
        for left in _readings(gold, answer)
        for right in _readings(answer, gold)
    )


def _readings(one: Quantity, other: Quantity) -> tuple[Fraction, ...]:
    return (one.value, one.value / 100) if PERCENT == one.unit != other.unit else (one.value,)


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
    # Stage 1: every numeral is replaced by its place in a list.
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

    # Stage 2: fractions and signs as Python writes them.
    text = re.sub(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"((\1)/(\2))", text)
    text = re.sub(r"\\[a-z]+", lambda match: _SIGNS.get(match[0], match[0]), text)
    if len(text) > LONGEST_EXPRESSION:
        return None
    text = re.sub(NUMERAL, store, text, flags=re.ASCII)
    # Nothing but digits, operators and parentheses may be left: no name, no call, no power.
    if None in numerals or not re.fullmatch(r"[0-9+\-*/() ]+", text) or re.search(r"\*\s*\*|/\s*/", text):
        return None
    try:
        # Stage 3: Python parses, we compute.
        return value(ast.parse(text.strip(), mode="eval").body), numerals
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None
