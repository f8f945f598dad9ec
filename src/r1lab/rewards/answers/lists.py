r"""Answers of several parts, and answers that are no mathematics: lists, tuples and sets, orders, ratios, times, words."""

import re
from dataclasses import dataclass
from fractions import Fraction

from r1lab.languages import WORDS
from r1lab.rewards.answers.intervals import RELATION, relation_sign, split_top
from r1lab.rewards.answers.quantities import MATH_WORDS, Quantity, evaluate, read_quantity, same_quantity

# ------------------------------------------------------------------------------------------------- lists


@dataclass(frozen=True)
class List:
    r"""Several values. brackets: "" for `1, 2`, "{" for a set, "(" or "[" for a tuple; names: x and y of `x=1, y=2`."""

    items: tuple  # of Quantity, List, or str (a formula)
    brackets: str = ""
    names: tuple[str, ...] = ()


# "and", "or" and their signs separate like commas.
_WORD_SEPARATOR = re.compile(
    r"(?:,\s*)?(?<![A-Za-z\\])(?:and|or|dan|atau)(?![A-Za-z])|\\(?:lor|land|vee|wedge)(?![A-Za-z])"
)
# n = 2, 3, 4 and (x, y) = (1, 2).
_LIST_NAME = re.compile(
    r"\A(?:[A-Za-z](?:_\{?\w+\}?)?|\([a-z](?:,\s*[a-z])+\))\s*(?:=|\\in(?![A-Za-z]))\s*(?=[^=]*$)"
)
# x = 1, x_1 = 1.
_ITEM_NAME = re.compile(r"([A-Za-z])(?:_\{?\w+\}?)?\s*=\s*(.+)", re.DOTALL)
# Part of a list is mathematics or a short symbol; "Paris, France" is a name with a comma.
_LIST_ITEM = re.compile(r".*[\d\\].*|-?[A-Za-z]{1,2}(?:_\{?\w+\}?)?|\(.*\)", re.DOTALL)


def read_list(text: str, locale: str = "en") -> List | None:
    """The list, set or tuple that a normalised text consists of; None if it is a single thing."""
    text = _LIST_NAME.sub("", text.strip(), count=1).strip()
    # Stage 1: the brackets around all of it.
    brackets, inner = "", text
    if match := re.fullmatch(r"\\\{(.*)\\\}|\{(.*)\}", text, re.DOTALL):
        brackets, inner = "{", match[1] if match[1] is not None else match[2]
    elif text[:1] in ("(", "[") and text[-1:] in (")", "]") and _closes_at_end(text):
        brackets, inner = text[0], text[1:-1]
    if brackets != "{" and not brackets:
        inner = _WORD_SEPARATOR.sub(",", inner)
    # Stage 2: the parts, and both signs of each plus-minus.
    parts = [part for part in split_top(inner, locale) if part]
    if "\\pm" in inner and brackets in ("", "{"):
        parts = [
            re.sub(r"\\pm(?![A-Za-z])\s*", sign, part)
            for part in parts
            for sign in ("+-" if "\\pm" in part else "+")
        ]
    if (len(parts) < 2 and brackets != "{") or not parts or not all(map(_LIST_ITEM.fullmatch, parts)):
        return None
    # Stage 3: each part is a number, a list or a formula.
    names, items = [], []
    for part in parts:
        named = _ITEM_NAME.fullmatch(part)
        names.append(named[1] if named else "")
        items.append(_read_item(named[2] if named else part, locale))
    return List(tuple(items), brackets, tuple(names) if all(names) and len(set(names)) > 1 else ())


def _read_item(text: str, locale: str):
    text = text.strip()
    return (
        read_quantity(text, locale)
        or (read_list(text, locale) if text[:1] in "([\\" else None)
        or " ".join(text.split())
    )


def _closes_at_end(text: str) -> bool:
    """Whether the bracket that opens a text is the one that closes at its end, unlike in (1,2),(3,4)."""
    depth = 0
    for index, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return index == len(text) - 1
    return False


def same_list(gold: List, answer: List) -> bool | None:
    """Whether two lists hold the same values; order matters in tuples. None where formulas would have to be compared."""
    if answer.brackets != gold.brackets and gold.brackets and (answer.brackets or gold.brackets != "{"):
        return False
    # Named values are compared by name, whatever their order.
    if gold.names and answer.names:
        if sorted(gold.names) != sorted(answer.names):
            return False
        order = [answer.names.index(name) for name in gold.names]
        return _all(same_item(one, answer.items[index]) for one, index in zip(gold.items, order, strict=True))
    if answer.names or gold.names:
        return None
    if "(" in (gold.brackets, answer.brackets) or "[" in (gold.brackets, answer.brackets):
        if len(gold.items) != len(answer.items):
            return False
        return _all(same_item(one, other) for one, other in zip(gold.items, answer.items, strict=True))
    # Without brackets and in sets the order does not matter, nor how often a value is named.
    ones, others = _different(gold.items), _different(answer.items)
    # Each value of one side has to be among those of the other, in both directions.
    found = [_any(same_item(one, other) for other in others) for one in ones]
    found += [_any(same_item(one, other) for one in ones) for other in others]
    return _all(found)


def same_item(one, other) -> bool | None:
    """Whether two items are equal; None if only math-verify can tell."""
    if isinstance(one, Quantity) and isinstance(other, Quantity):
        return same_quantity(one, other)
    if isinstance(one, List) and isinstance(other, List):
        return same_list(one, other)
    if isinstance(one, List) or isinstance(other, List):
        return False
    return (
        True
        if one == other
        or (isinstance(one, str) and isinstance(other, str) and tighten(one) == tighten(other))
        else None
    )


def _different(items: tuple) -> list:
    kept: list = []
    for item in items:
        if not any(same_item(item, other) for other in kept):
            kept.append(item)
    return kept


def _all(verdicts) -> bool | None:
    verdicts = list(verdicts)
    return False if False in verdicts else None if None in verdicts else True


def _any(verdicts) -> bool | None:
    verdicts = list(verdicts)
    return True if True in verdicts else None if None in verdicts else False


def tighten(text: str) -> str:
    """A text without the spaces around its signs; those between two words or numbers mean something."""
    return re.sub(r" ?([^\w\s]) ?", r"\1", re.sub(r"_\{(\w)\}", r"_\1", text))


# --------------------------------------------------------------------------------- orders, ratios and times

# Names only: numbers make it an interval.
_ORDERED = re.compile(r"[A-Za-z]\w*(?:_\{\w+\})?")


def read_order(text: str, locale: str = "en") -> tuple[str, ...] | None:
    """Names and signs of a chain such as `a < b <= c`, from its low end; None if numbers are in it."""
    parts = [part.strip() for part in RELATION.split(text)]
    if len(parts) < 3 or not all(map(_ORDERED.fullmatch, parts[::2])):
        return None
    parts[1::2] = map(relation_sign, parts[1::2])
    if len(set("".join(parts[1::2])) & set("<>!")) != 1 or "!=" in parts:
        return None
    return tuple(parts) if "<" in parts[1] else tuple(part.replace(">", "<") for part in parts[::-1])


@dataclass(frozen=True)
class Ratio:
    """Positive parts that add up to 1, and the names of `a:b = 2:3`."""

    parts: tuple[Fraction, ...]
    names: tuple[str, ...] = ()


_RATIO_NAME = r"\s*\\?[A-Za-z]+(?:_\{?\w+\}?)?\s*"
_RATIO = re.compile(rf"(?:({_RATIO_NAME}(?::{_RATIO_NAME})+)=)?([^:=]+(?::[^:=]+)+)")


def read_ratio(text: str, locale: str = "en") -> Ratio | None:
    """The ratio that a text consists of: `2:3`, `1:2:3` or `a:b = 2:3`."""
    match = _RATIO.fullmatch(text)
    values = [evaluate(part, locale) for part in match[2].split(":")] if match else [None]
    names = tuple(re.sub(r"[\s{}]", "", match[1]).split(":")) if match and match[1] else ()
    if None in values or any(value[0] <= 0 for value in values) or len(names) not in (0, len(values)):
        return None
    total = sum(value[0] for value in values)
    return Ratio(tuple(value[0] / total for value in values), names)


def same_ratio(gold: Ratio, answer: Ratio) -> bool:
    """Equal in lowest terms; where both name their parts, by name, so that `b:a = 3:2` is `a:b = 2:3`."""
    if gold.names and answer.names:
        return dict(zip(gold.names, gold.parts, strict=True)) == dict(
            zip(answer.names, answer.parts, strict=True)
        )
    return gold.parts == answer.parts


# 4:30 p.m., or 16:30.
_TIME = re.compile(
    r"(\d{1,2})[:.]([0-5]\d)\s*([ap])\.? ?m\.?|(\d{1,2}):([0-5]\d)(?:\s*(?:o'clock|WIB|uhr))?", re.IGNORECASE
)


def read_time(text: str, locale: str = "en") -> tuple[int, int, str] | None:
    """Hour, minute, and "a" or "p" (else "") of a time of day."""
    match = _TIME.fullmatch(text.strip())
    if not match or int(match[1] or match[4]) > 24:
        return None
    return int(match[1] or match[4]), int(match[2] or match[5]), (match[3] or "").lower()


def same_time(gold: tuple[int, int, str], answer: tuple[int, int, str]) -> bool:
    """Equal times; a.m. and p.m. may be left out."""
    return gold[:2] == answer[:2] and (gold[2] == answer[2] or "" in (gold[2], answer[2]))


# ------------------------------------------------------------------------------------------------- words

# Words, and which texts have a word that is no product of letters.
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_LONG_WORD = re.compile(r"(?<![A-Za-z\\])[^\W\d_]{3,}")
_SHORT_WORDS = frozenset({"yes", "no", "odd", "even", "ya", "nol"}).union(*WORDS.values())
# Words that may stand before a statement without changing it: "There is no solution" says "no solution".
_FILLERS = frozenset({
    "the", "a", "an", "it", "is", "are", "was", "be", "will", "this", "that", "there", "so", "thus", "therefore", "hence", "we", "i", "get", "has", "have", "had", "answer", "final", "correct", "result",
    "equation", "system", "value", "option", "choice", "ini", "itu", "adalah", "ada", "jadi", "maka", "jawabannya", "jawaban", "persamaan", "terdapat", "mempunyai", "memiliki", "hasilnya", "pilihan",
})  # fmt: skip


def read_text(text: str, locale: str = "en") -> tuple[str, ...] | None:
    """The words of a text that is no mathematics, such as "no solution" or the C of a choice; None if it may be a formula."""
    if re.fullmatch(r"\(?[A-Z]\)?", text):
        return (text.strip("()"),)
    if (
        "\\" in text
        or MATH_WORDS.search(text)
        or (re.fullmatch(r"-?[\d.]*[a-z]{2,3}", text) and text not in _SHORT_WORDS)
    ):
        return None
    words = tuple(_WORD.findall(text.casefold()))
    return (
        words
        if _LONG_WORD.search(text) or " ".join(words) in _SHORT_WORDS or re.fullmatch(r"[A-Z][A-Za-z]", text)
        else None
    )


def same_text(gold: tuple[str, ...], answer: tuple[str, ...]) -> bool:
    """Equal words, but for fillers in front: "It is Tuesday" for "Tuesday". A single capital letter is a choice or a symbol."""
    if len(gold) == 1 and len(gold[0]) == 1:
        # The letters of a multiple choice may be written small; E and e, I and i are different symbols.
        return answer[-1:] == gold or (gold[0] in "ABCD" and answer[-1:] == (gold[0].lower(),))
    # Singular and plural are one.
    gold, answer = (
        tuple(word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words)
        for words in (gold, answer)
    )
    # The longer of the two may only add fillers in front.
    longer, shorter = (gold, answer) if len(gold) > len(answer) else (answer, gold)
    extra = longer[: len(longer) - len(shorter)]
    return bool(shorter) and longer[len(extra) :] == shorter and _FILLERS.issuperset(extra)
