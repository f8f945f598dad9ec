r"""Whether an answer equals a solution.

The stages: the same spelling; what the answer states, and whether it commits to that; the answer read by the reader of
its solution (`gold.KINDS`); and for the rest the questions that math-verify is asked, which are short, shallow and name
one value. No gold `14` starts sympy.
"""

import re
from fractions import Fraction

from r1lab.rewards.answers import lists
from r1lab.rewards.answers.gold import KINDS, Gold, read_gold
from r1lab.rewards.answers.intervals import Intervals, split_top
from r1lab.rewards.answers.latex import too_costly
from r1lab.rewards.answers.normalise import normalise, read_words
from r1lab.rewards.answers.quantities import LONGEST_NUMERAL, Quantity, evaluate, read_quantity, same_quantity
from r1lab.rewards.answers.reading import APPROXIMATE, DOUBTS, HEDGES, LONGEST_ANSWER, RETRACTED, statement
from r1lab.rewards.answers.units import same_unit, split_unit

Questions = tuple[tuple[str, str], ...]  # pairs of formulas that must all be equal; math-verify decides

# The letter of a multiple choice with its text behind it.
_OPTION = re.compile(r"(?:(?i:option|choice|pilihan) )?\(?([A-Z])(?:[.:)]\s|\)|$)")  # C. 42, or Option C
# Signs that something is left to work out.
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
    if answer == gold.text or (gold.kind != "number" and lists.tighten(answer) == lists.tighten(gold.text)):
        return True
    if gold.kind == "words":
        return _compare_words(gold, answer)
    # Stage 2: what the answer states, and whether it commits to that.
    answer = normalise(statement(answer)) or answer
    if not answer or too_costly(answer) or not _brackets_match(answer):
        return False
    locale = "id" if re.search(r"(?<![A-Za-z])Rp", answer) else gold.locale
    if (verdict := _compare_rounded(gold, answer, locale, require_simplified)) is not None:
        return verdict
    answer = answer.replace("\\approx", "=")
    if gold.kind == "number" and (spelled := read_words(answer)) is not None:
        answer = str(spelled)  # before the "and" of "one hundred and five" is taken for a hedge
    if not gold.several and (
        HEDGES.search(answer) or RETRACTED.search(answer) or _names_several(answer, locale)
    ):
        return False
    # Where the gold is a list, only words of doubt are hedges.
    if gold.several and DOUBTS.search(answer) and not DOUBTS.search(gold.text):
        return False
    # "About 3.14" is fair where the gold is rounded itself.
    rounded = gold.kind == "number" and gold.value.decimals
    if APPROXIMATE.search(answer) and not (gold.several or rounded):
        return False
    # Stage 3: read it as the gold was read.
    if gold.kind == "number":
        return _compare_number(gold, answer, locale, require_simplified)
    if gold.kind != "formula":
        # What the reader cannot read, or leaves open, math-verify decides.
        value = KINDS[gold.kind].read(answer, locale)
        if value is None and gold.kind in ("time", "order"):
            return False
        # A ratio of two is a number, too: 2/3 is 2:3.
        if value is None and gold.kind == "ratio":
            parts = gold.value.parts
            return len(parts) == 2 and compare(read_gold(str(parts[0] / parts[1]), "en"), answer)
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
    # Both the whole answer and what it states are compared, because "answer is" may be part of a sentence.
    stated = normalise(statement(answer)) or answer
    words = [
        lists.read_text(text) or tuple(re.findall(r"[^\W_]+", text if single else text.casefold()))
        for text in (answer, stated)
    ]
    return any(
        lists.same_text(gold.value, some) and not HEDGES.search(" ".join(some[: -len(gold.value)]))
        for some in words
    )


def _other_brackets(gold: Gold, answer: str) -> bool:
    r"""Whether one is a set `\{1, 2\}` and the other a pair `(1, 2)`, which math-verify takes for equal."""
    other = lists.read_list(answer, gold.locale)
    return (
        isinstance(gold.value, Intervals)
        and not gold.value.sure
        and isinstance(other, lists.List)
        and other.brackets in ("{", "")
    )


MOST_DECIMALS = 12  # of an approximation that is checked


def _compare_rounded(
    gold: Gold, answer: str, locale: str, require_simplified: bool
) -> bool | Questions | None:
    r"""Of `2\sqrt{2} \approx 2.83`: whether it is the gold, and the decimal is the value rounded.

    None if it is not a value with a decimal: `x \approx 2.83` only gives the decimal.
    """
    exact, *decimals = answer.split("\\approx")
    quantities = [read_quantity(decimal.strip(), locale) for decimal in decimals]
    if gold.kind not in ("number", "formula") or not quantities:
        return None
    if not all(quantity and quantity.plain for quantity in quantities):
        return None
    if re.fullmatch(r"\s*(?!e\b)[A-Za-z](?:_\{?\w+\}?)?\s*", exact):
        return None
    side = _sides(exact)[-1]
    value, gold_unit = evaluate(side, locale), split_unit(gold.text)[1]
    # Stage 1: every decimal rounds the value. What Python does not compute is asked: floor(100 value + 1/2) is 283.
    rounds: bool | Questions = True
    for quantity in quantities:
        scale = 10**quantity.decimals
        if quantity.decimals > MOST_DECIMALS or not same_unit(gold_unit, quantity.unit):
            return False
        if value is not None:
            rounds = _both(rounds, abs(value[0] - quantity.value) * scale <= Fraction(1, 2))
        else:
            floor = rf"\lfloor {scale}\cdot ({gold.latex(side)})+\frac{{1}}{{2}}\rfloor"
            rounds = _both(rounds, ((floor, str(quantity.value * scale)),))
    # Stage 2: the value is the gold, or the last decimal is where the gold is a decimal itself.
    if gold.kind == "number" and gold.value.decimals and same_quantity(gold.value, quantities[-1]):
        return rounds
    return _both(rounds, compare(gold, exact, require_simplified=require_simplified))


def _both(one: bool | Questions, other: bool | Questions) -> bool | Questions:
    """Both verdicts, with the questions that are still open."""
    if one is False or other is False:
        return False
    return (() if one is True else one) + (() if other is True else other) or True


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

# x, f(x) or words: what may stand before the first equals sign.
_NAME = re.compile(r"\s*[A-Za-z](?:_\{?\w+\}?)?(?:\([A-Za-z]\))?\s*|[^\d\\]*")
# Signs between the sides of a chain.
_EQUALS = re.compile(r"=|\\equiv(?![A-Za-z])")
# Words behind a number, and currencies, which a calculation carries along.
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
    # A bound is no value.
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


# Words before the first number of a side.
_INTRODUCTION = re.compile(r"^[^\d\\(|=+*/^-]*(?<= )(?=[\d(\\|-])")
# Signs that only math-verify computes.
_FORMULA_SIGNS = re.compile(r"[\\^!_|\[\]{}]|\d[mgshlLVWNJKC]\b")


def _side_equals(gold: Gold, side: str, locale: str, *, last: bool) -> bool | Questions:
    """Whether one side of an answer has the value of a number: 12+7, `USD 9 * 2`, or prose with a single number in it."""
    side = side.strip(" $")
    quantity = read_quantity(side, locale)
    if quantity and (last or quantity.unit == gold.value.unit):
        return same_quantity(gold.value, quantity)
    bare = _UNIT_WORDS.sub(" ", _INTRODUCTION.sub("", side)) if re.search(r"\d", side) else side
    # As written, without words, with percents as fractions.
    of = _UNIT_WORDS.sub(" ", side.replace("% of", "/100*"))
    for text in (side, bare, bare.replace("%", "/100"), of):
        if (value := evaluate(text, locale)) is not None:
            return value[0] == gold.value.value
    # The two constants that have no digit in them.
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
    # With its unit if that can be read, which then has to agree.
    start = numerals[0]
    quantity = read_quantity(prose[start.start() :], locale) or read_quantity(start[0].rstrip(".,"), locale)
    if quantity is None or re.match(r"[A-Za-z]| (?!a\b)[A-Za-z](?![A-Za-z])", prose[start.end() :]):
        return False
    return same_quantity(gold.value, quantity)


# ---------------------------------------------------------------------------------------------- formulas

# A definition f(x) = ...
_FUNCTION = re.compile(r"\s*([A-Za-z])\(([A-Za-z])\)\s*=\s*(.*)", re.DOTALL)
# What is said about the letters of a formula.
_QUALIFIER = re.compile(r"\s+(?:for|where|with|untuk|dengan|di mana)\s[^\d=<>]*$")
# A word that is neither a function nor a conjunction.
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
        # f(t) = t + 1 defines the same function as f(x) = x + 1.
        other = re.sub(rf"(?<![A-Za-z\\]){other_letter}(?![A-Za-z])", letter, other)
        return name == other_name and _ask(gold, other, body)
    if _EQUALS.search(gold_formula) or not _EQUALS.search(answer):
        return _ask(gold, answer, gold_formula)
    # Every side of a chain has to equal the gold: in `6 = 7\sqrt{2}` one does not.
    return tuple(pair for side in _sides(answer) for pair in _ask(gold, side, gold_formula))


def _ask(gold: Gold, answer: str, text: str | None = None) -> Questions:
    return ((gold.latex(text), gold.latex(answer)),)
