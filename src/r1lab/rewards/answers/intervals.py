r"""Intervals: `(-\infty, 3]`, `x \le 3`, `3 \ge x` and `\{x \mid x \le 3\}` are one set of numbers."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from r1lab.rewards.answers.quantities import evaluate

Bound = Fraction | float | str  # a number, an infinity, or a formula that only math-verify can compare
Piece = tuple[
    Bound, bool, Bound, bool
]  # low end, whether it belongs to the interval, high end, whether it does
EVERYTHING: Piece = (-math.inf, False, math.inf, False)


@dataclass(frozen=True)
class Intervals:
    """A union of intervals. sure: it cannot be a pair of numbers, as `(1, 2)` can; variable: x of `x > 2`, else ""."""

    pieces: tuple[Piece, ...]
    sure: bool = True
    variable: str = ""

    @property
    def latex(self) -> str:
        """The union in brackets, as math-verify reads it."""
        return "\\cup ".join(
            f"{'[' if low_in else '('}{_bound_latex(low)},{_bound_latex(high)}{']' if high_in else ')'}"
            for low, low_in, high, high_in in self.pieces
        )


# What joins the parts of a union.
_UNION = re.compile(r"\\cup(?![A-Za-z])|\b(?:or|atau)\b|\\(?:lor|vee)(?![A-Za-z])|(?<=[)\]])\s*U\s*(?=[(\[])")
# The set of all x such that.
_BUILDER = re.compile(
    r"\\\{\s*([A-Za-z])\s*(?:\\in\s*\\mathbb\{R\}\s*)?(?:\||\\mid|\\vert|:|\\colon)(.*)\\\}", re.DOTALL
)
# All numbers but a few.
_WITHOUT = re.compile(r"\\mathbb\{R\}\s*(?:\\setminus|-|/)\s*\\\{(.*)\\\}", re.DOTALL)
# "x \in" or "D =" in front.
_NAME = re.compile(r"\s*([A-Za-z](?:_\{?\w+\}?)?)\s*(?:=|\\in(?![A-Za-z]))\s*(?=[(\[\]\\])")
# Comparison signs, typed or in LaTeX.
RELATION = re.compile(r"(<=|>=|<|>|\\(?:leqslant|geqslant|leq?|geq?|lt|gt|neq?)(?![A-Za-z])|!=)")
_LETTER = re.compile(r"[A-Za-z](?:_\{?\w\}?)?")


def read_intervals(text: str, locale: str = "en") -> Intervals | None:
    """The union of intervals that a normalised text consists of, None if it is anything else."""
    name = _NAME.match(text)
    variable, body = (name[1], text[name.end() :]) if name else ("", text)
    if builder := _BUILDER.fullmatch(body.strip()):
        inner = read_intervals(re.sub(r",\s*[a-z]\s*\\in\s*\\mathbb\{R\}\s*$", "", builder[2]), locale)
        return inner if inner and inner.variable == builder[1] else None
    pieces: list[Piece] = []
    unknowns = {variable} if variable else set()
    # Each part is a comparison, a bracket, or all numbers but a few.
    parts = _UNION.split(body)
    points = 0
    for part in parts:
        part = _NAME.sub("", part.strip(), count=1).strip()
        if found := _read_relation(part, locale):
            unknowns.add(found[0])
            pieces += found[1]
        elif piece := _read_brackets(part, locale):
            pieces.append(piece)
        elif whole := _read_reals(part, locale):
            pieces += whole
        elif (point := re.fullmatch(r"\\\{([^,{}]*)\\\}", part)) and len(parts) > 1:
            points += 1
            pieces.append((_read_bound(point[1], locale), True) * 2)
        else:
            return None
    # x > 2 or y < 1 is no interval, and points alone are a list, as in "(7, 11) or (11, 7)".
    falling = any(
        not isinstance(low, str) and not isinstance(high, str) and low > high for low, _, high, _ in pieces
    )
    if len(unknowns) > 1 or points == len(parts) or (falling and len(parts) > 1 and not unknowns):
        return None
    pair = (
        len(parts) == 1
        and not unknowns
        and not any(isinstance(end, float) for end in (pieces[0][0], pieces[-1][2]))
    )
    # (1, 2) may be a point; with an infinity, an unknown or a union it cannot.
    return Intervals(tuple(pieces), sure=not pair, variable="".join(unknowns))


def _read_brackets(text: str, locale: str) -> Piece | None:
    """The interval `[1, 2)`."""
    if len(text) < 5 or text[0] not in "([" or text[-1] not in ")]":
        return None
    ends = split_top(text[1:-1], locale)
    if len(ends) != 2 or not all(ends):
        return None
    return _read_bound(ends[0], locale), text[0] == "[", _read_bound(ends[1], locale), text[-1] == "]"


def _read_relation(text: str, locale: str) -> tuple[str, list[Piece]] | None:
    """The unknown and the intervals of `x > 2`, `2 < x`, `1 < x \\le 2` or `x \\ne 2`."""
    first, *rest = (part.strip() for part in RELATION.split(text))
    if len(rest) not in (2, 4) or not first or not rest[-1]:
        return None
    signs = [relation_sign(relation) for relation in rest[::2]]
    operands = [first, *rest[1::2]]
    if ">" in signs[0]:  # read it from the other end, so that the numbers rise
        operands, signs = operands[::-1], [sign.replace(">", "<") for sign in signs[::-1]]
    if any(">" in sign for sign in signs) or (len(signs) == 2 and "!" in "".join(signs)):
        return None
    # Exactly one operand is the unknown, in the middle if there are three.
    letters = [bool(_LETTER.fullmatch(operand)) for operand in operands]
    if letters.count(True) != 1 or (len(operands) == 3 and not letters[1]):
        return None
    closed = ["=" in sign for sign in signs]
    unknown = operands[letters.index(True)]
    # The other operands are the ends.
    bounds = [_read_bound(operand, locale) for operand in operands]
    if any(isinstance(bound, str) and unknown in bound for bound in bounds if bound != unknown):
        return None  # x < 2x + 1 still has to be solved
    if len(operands) == 3:
        return unknown, [(bounds[0], closed[0], bounds[2], closed[1])]
    value = bounds[1] if letters[0] else bounds[0]
    if "!" in signs[0]:
        return unknown, [(-math.inf, False, value, False), (value, False, math.inf, False)]
    if letters[0]:
        return unknown, [(-math.inf, False, value, closed[0])]
    return unknown, [(value, closed[0], math.inf, False)]


def relation_sign(relation: str) -> str:
    """<, <=, >, >= or != for any way to write it."""
    if relation in ("!=",) or relation.startswith("\\ne"):
        return "!="
    side = ">" if relation[0] == ">" or relation.startswith("\\g") else "<"
    return side + ("=" if "=" in relation or "e" in relation else "")


def _read_reals(text: str, locale: str) -> list[Piece] | None:
    r"""`\mathbb{R}`, and `\mathbb{R} \setminus \{1, 2\}`."""
    if text == "\\mathbb{R}":
        return [EVERYTHING]
    if not (match := _WITHOUT.fullmatch(text)):
        return None
    points = [_read_bound(point, locale) for point in split_top(match[1], locale)]
    if len(points) > 1:
        if any(isinstance(point, str) for point in points):
            return None
        points.sort()
    # The gaps between the points.
    ends = [-math.inf, *points, math.inf]
    return [(low, False, high, False) for low, high in pairwise(ends)]


def _read_bound(text: str, locale: str) -> Bound:
    text = text.strip().removeprefix("+").strip()
    if re.fullmatch(r"-?\s*\\infty", text):
        return -math.inf if text[0] == "-" else math.inf
    value = evaluate(text, locale)
    return text if value is None else value[0]


def _bound_latex(bound: Bound) -> str:
    if isinstance(bound, float):
        return "\\infty" if bound > 0 else "-\\infty"
    return bound if isinstance(bound, str) else f"\\frac{{{bound.numerator}}}{{{bound.denominator}}}"


def split_top(text: str, locale: str = "en") -> list[str]:
    """The parts of a list: a text split at commas and semicolons outside brackets that belong to no number."""
    # Commas inside numbers are hidden while the text is split.
    inside = r"(?<=\d),(?=\d)" if locale == "id" else r"(?<![\d,.])(\d{1,3}(?:,\d{3})+)(?!\d)"
    text = re.sub(inside, lambda match: match[0].replace(",", "\0"), text)
    parts, depth, start = [], 0, 0
    for index, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character in ",;" and depth <= 0:
            parts.append(text[start:index])
            start = index + 1
    return [part.replace("\0", ",").strip() for part in [*parts, text[start:]]]


def same_intervals(gold: Intervals, answer: Intervals) -> bool | None:
    """Whether two unions are the same set of numbers; None if their ends are formulas that differ in spelling."""
    if gold.variable and answer.variable and gold.variable != answer.variable:
        return False
    if gold.pieces == answer.pieces:
        return True
    numeric = not any(isinstance(end, str) for piece in gold.pieces + answer.pieces for end in piece)
    if not gold.sure and not answer.sure:
        # Two pairs in brackets: (2, 1) is no interval, but may be a point.
        return False if numeric or gold.pieces[0][1::2] != answer.pieces[0][1::2] else None
    return _merged(gold.pieces) == _merged(answer.pieces) if numeric else None


def _merged(pieces: tuple[Piece, ...]) -> list[Piece]:
    """The same set with its pieces in order, none of them empty, none touching the next."""
    result: list[Piece] = []
    # Pieces from the left; one that touches the last is joined to it.
    for piece in sorted(p for p in pieces if p[0] < p[2] or (p[0] == p[2] and p[1] and p[3])):
        if result and (
            piece[0] < result[-1][2] or (piece[0] == result[-1][2] and (piece[1] or result[-1][3]))
        ):
            low, low_in, high, high_in = result[-1]
            low_in = low_in or (piece[0] == low and piece[1])
            high, high_in = max((high, high_in), (piece[2], piece[3]))
            result[-1] = (low, low_in, high, high_in)
        else:
            result.append(piece)
    return result
