r"""Reward for the right answer to a math problem.

Three judges, the cheap ones first: equal strings, exact numbers (`exact`), and math-verify in a killable process
(`verifier`), which only sees what is short, shallow and names one value. A gold `14` is never worth starting sympy for.
"""

import math
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from r1lab.languages import WORDS
from r1lab.prompts import THINK_CLOSE
from r1lab.rewards import exact
from r1lab.rewards.base import AnswerReward, completion_texts, final_text, read_column, tagged_answer
from r1lab.rewards.verifier import VERIFIER

BUDGET_S = 15.0  # seconds per call, before the last answer it starts on
LONGEST_ANSWER = 512  # characters
LOCALES = ("en", "id")  # how numbers are written: 1,234.5 or 1.234,5
DEEPEST = 10  # nested brackets; the grammar behind math-verify is exponential in them

# An answer that says these does not commit to one value (English and Indonesian). Comparisons count where they bound a
# number ("more than 5"), not where they describe things ("5 more apples").
_DOUBT = (
    r"(?:not|cannot|never|doubt|neither|maybe|perhaps|possibly|probably|presumably|hopefully|likely|guess|could|might"
    r"|bukan|tidak|mungkin|barangkali|sepertinya|bisa jadi)(?![A-Za-z])"
)
HEDGES = re.compile(
    rf"(?<![A-Za-z\\])(?:{_DOUBT}"
    r"|(?:or|and|either|between|except|unless|but|at (?:the )?(?:least|most)|(?:less|more|greater|fewer|larger|smaller) than"
    r"|atau|dan|antara|minimal|maksimal|paling|kurang|kecuali|tapi|tetapi|lebih (?:dari|besar|kecil))(?![A-Za-z])"
    r"|(?:under|over|above|below|up to|di atas|di bawah)\s+[$\\]?\d)|n't\b|\d-?ish\b|\?"
    r"|\\(?:neq?|pm|mp|lor|land|lnot|neg|vee|wedge|cup|not)(?![A-Za-z])|!=|\+/-|\+-",
    re.IGNORECASE,
)
_DOUBTS = re.compile(rf"(?<![A-Za-z]){_DOUBT}|n't\b", re.IGNORECASE)
# "About 5" is no answer where 5 is exact, but a fair way to give a gold such as 3.14.
_ROUGHLY = re.compile(
    r"(?<![A-Za-z])(?:roughly|approximately|approx\.?|about|around|nearly|almost|close to|circa|sekitar|mendekati|kira-kira"
    r"|hampir|kurang lebih)\s+(?:Rp\.?\s*|[$\\-])?\d",
    re.IGNORECASE,
)
_INEQUALITY = re.compile(r"[<>]|\\(?:leq?|geq?|lt|gt|l?eqslant|geqslant)(?![A-Za-z])")
_LETTERS = re.compile(r"[A-Za-z]{2,}(?: [A-Za-z]+){0,3}|[A-Z]")
_SHORT_WORDS = frozenset({"yes", "no", "odd", "even", "ya", "nol"}).union(*WORDS.values())
_VERB = re.compile(r"\b(?:is|are|be|equals|adalah|ialah|yaitu|ada|terdapat|jawabannya)\b", re.IGNORECASE)
_INTRODUCTION = re.compile(
    rf"[^\d\\$=({{\[]*(?:{_VERB.pattern}|:)\s*|(?:so|thus|hence|therefore|jadi|maka)\b,?\s*", re.IGNORECASE
)
ANSWER_IS = re.compile(r"\b(?:answer is|jawabannya(?: adalah)?)\b\s*:?", re.IGNORECASE)
_OPTION = re.compile(r"(?:(?i:option|choice|pilihan) )?\(?([A-Z])(?:[.:]\s|\)|$)")  # C. 42, or Option C
_SENTENCE_END = re.compile(r"[.!?]\s")
_PROOF = re.compile(r"\s*(?:prove|show|proof|buktikan|tunjukkan|bukti)\b", re.IGNORECASE)
_WORKING = re.compile(r"[*!^]|[+/]\s*[\d(\\]|(?<=[\w)}])\s*-\s*[\d(\\]|\\(?:times|cdot|div|frac|sqrt|binom)")
_COSTLY = re.compile(
    r"\d{200}"  # long numbers
    r"|(?:\^|\*\*)\s*\{?\s*-?\s*\{?\d{5,}"  # huge exponents
    r"|(?:\^|\*\*)\s*\{?[\d\s.()+*-]*\d[\s)]*(?:\^|\*\*)"  # towers of numbers
    r"|\d{4,}\s*!|[)}\]!]\s*!"  # huge or nested factorials
    r"|\\(?:binom|sum|prod|int)(?![A-Za-z]).*?(?:\d{4,}|\d\s*\^)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Gold:
    """A solution, read once: a number, one or more words, or something for math-verify."""

    text: str  # normalised
    number: exact.Quantity | None = None
    words: bool = False
    lists: bool = False  # names several values itself, so that naming several is no hedge


@lru_cache(maxsize=50_000)
def read_gold(solution: str, locale: str) -> Gold | None:
    r"""The gold of a solution: its last `\boxed{}`, else what follows its last `####`, else all of it.

    None when it means nothing to any judge (empty, a task to prove something): such a problem cannot be scored.
    """
    text = last_boxed(solution)
    if text is None:
        text = solution.rpartition("####")[2]
    text = exact.normalise(text)
    if not text or _PROOF.match(text):
        return None
    if not too_costly(text) and (number := exact.read_quantity(text, locale)):
        return Gold(text, number=number)
    product = re.fullmatch("[a-z]{2,3}", text) and text not in _SHORT_WORDS  # ab, xyz
    if _LETTERS.fullmatch(text) and not product and not exact.MATH_WORDS.search(text):
        return Gold(text, words=True)
    gold = Gold(text, lists=bool(HEDGES.search(text) or "\\{" in text or has_top_level_comma(text, locale)))
    if len(text) > LONGEST_ANSWER or not VERIFIER.parses(_as_latex(text, gold, locale)):
        return None
    return gold


MOST_BOXES = 50  # looked at, from the end
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_JOINED = re.compile(
    r"[\s$.]*(?:[,;]|\bor\b|\band\b|\batau\b|\bdan\b)?[\s$]*(?:or|and|atau|dan)?[\s$]*(?:[A-Za-z](?:_\{?\w\}?)?\s*=\s*)?",
    re.IGNORECASE,
)
_BARE_BOX = re.compile(r"\\boxed\s+(-?\d[\d.,/]*)")


def last_boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{}`, or None. Boxes that stand in a row (`\boxed{1}, \boxed{2}`) belong together;
    after prose a later box replaces an earlier one, so a policy that corrects itself is read at its last word."""
    text = _BARE_BOX.sub(r"\\boxed{\1}", text)
    boxes: list[tuple[int, int, str]] = []  # start, end, content
    for match in list(_BOX.finditer(text))[-MOST_BOXES:]:
        if boxes and match.start() < boxes[-1][1]:
            continue  # a box in a box: the outer one holds the answer
        end = _closing_brace(text, match.end(), LONGEST_ANSWER + 100)
        if end is not None:
            boxes.append((match.start(), end, text[match.end() : end - 1]))
    if not boxes:
        return None
    contents, start = [boxes[-1][2]], boxes[-1][0]
    for box_start, box_end, content in reversed(boxes[:-1]):
        between = text[box_end:start]
        if len(between) > 20 or not _JOINED.fullmatch(between):
            break
        contents.append(content)
        start = box_start
    return ", ".join(reversed(contents))


def _closing_brace(text: str, start: int, longest: int) -> int | None:
    """Index after the brace that closes the group opened before `start`."""
    depth = 1
    for place in range(start, min(len(text), start + longest)):
        if text[place] in "{}" and text[place - 1] != "\\":
            depth += 1 if text[place] == "{" else -1
            if not depth:
                return place + 1
    return None


def too_costly(text: str) -> bool:
    """Whether an answer is of a kind that no problem asks for and that keeps sympy busy; such answers are wrong.

    Also true of unbalanced braces, which would let an answer out of the box it is put into.
    """
    if len(text) > LONGEST_ANSWER or _COSTLY.search(text):
        return True
    depth = deepest = braces = 0
    for place, character in enumerate(text):
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
        if character in "{}" and text[place - 1 : place] != "\\":
            braces += 1 if character == "{" else -1
            if braces < 0:
                return True
    return deepest > DEEPEST or braces != 0


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


_UNIT = re.compile(
    r"\s+((?:square |cubic )?(?:[mckd]m|[km]g|ml|meters?|metres?|inch(?:es)?|feet|ft|units?|satuan|seconds?|minutes?|hours?|detik|menit|jam"
    r"|dollars?|rupiah|degrees|derajat))\s*(?:\^\s*\{?\s*([23])\s*\}?)?$"
)


def _split_unit(text: str) -> tuple[str, str]:
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


def _as_latex(text: str, gold: Gold, locale: str) -> str:
    """What math-verify is shown: numerals the English way, no unit, angles in radians, `or` as a union or a comma."""
    if re.search(r"\\(?:sin|cos|tan)", text):
        text = re.sub(r"(\d+) degrees", r"{(\1\\pi/180)}", text)
    text = _split_unit(text)[0]
    if gold.lists and (union := _union(text)):
        return union
    if gold.lists:
        text = re.sub(r"(?<![A-Za-z\\])(?:or|and|atau|dan)(?![A-Za-z])", ",", text)
        if "\\pm" in text:
            text = ", ".join(re.sub(r"\\pm(?![A-Za-z])", sign, text) for sign in "+-")
    if locale == "id":

        def translate(match: re.Match) -> str:
            value = exact.read_numeral(match[0], "id")
            whole = value is not None and value.denominator == 1
            return str(value) if whole else match[0].replace(",", ".") if value is not None else match[0]

        text = re.sub(exact.NUMERAL, translate, text)
    return text


def judge(gold: Gold, answer: str, locale: str = "en", *, require_simplified: bool = False) -> bool | None:
    """Whether an answer equals the gold; None if only math-verify can tell. Costs microseconds and runs nothing."""
    if len(answer) > LONGEST_ANSWER * 2:
        return False
    if answer.startswith("Rp"):
        locale = "id"
    if answer == gold.text:
        return True
    if gold.number and answer.isdecimal() and answer.isascii() and len(answer) <= exact.LONGEST_NUMERAL:
        return exact.same_quantity(gold.number, exact.Quantity(exact.Fraction(int(answer))))
    answer = exact.normalise(answer)
    answer = exact.normalise(_without_introduction(answer.rpartition("####")[2])) or answer
    if answer == gold.text or _tighten(answer) == _tighten(gold.text):
        return True
    if gold.words:
        option = None if HEDGES.search(answer) else _OPTION.match(answer)
        return (option[1] if option else answer.strip("()")).casefold() == gold.text.casefold()
    if not answer or too_costly(answer) or not _brackets_match(answer):
        return False
    if not gold.lists and (HEDGES.search(answer) or has_top_level_comma(answer, locale)):
        return False
    if _ROUGHLY.search(answer) and not (gold.lists or (gold.number and gold.number.decimals)):
        return False
    if gold.number:
        return _judge_number(gold.number, answer, locale, require_simplified)
    if {_brackets(gold.text), _brackets(answer)} == {"set", "tuple"}:
        return False
    units = {unit for _, unit in map(_split_unit, (gold.text, answer)) if unit}
    return False if len(units) > 1 else None


def _without_introduction(answer: str) -> str:
    """What an answer says after "the least value is" or "so the answer is"; all of it where that leaves a doubt."""
    if len(stated := ANSWER_IS.split(answer)) == 2 and stated[1].strip():
        before, after = _SENTENCE_END.split(stated[0])[-1], stated[1]
        if not HEDGES.search(before):
            return after
    introduction = _INTRODUCTION.match(answer)
    if not introduction:
        return answer
    verb = _VERB.search(introduction[0])  # before it, "least" and "between" only describe
    subject = verb.start() if verb else 0
    if _DOUBTS.search(introduction[0][:subject]) or HEDGES.search(introduction[0][subject:]):
        return answer
    return answer[introduction.end() :]


def _brackets(text: str) -> str:
    r"""How a list of things is written: "set" for `\{1, 2\}`, "tuple" for `(1, 2)`, else ""."""
    return (
        "set"
        if re.fullmatch(r"\\\{[^(\[]*\\\}", text)
        else "tuple"
        if re.fullmatch(r"\([^()]*,[^()]*\)", text)
        else ""
    )


def _judge_number(gold: exact.Quantity, answer: str, locale: str, require_simplified: bool) -> bool | None:
    quantity = exact.read_quantity(answer, locale)
    if require_simplified and gold.plain and not (quantity and quantity.plain) and _WORKING.search(answer):
        return False
    if quantity:
        return exact.same_quantity(gold, quantity)
    if _INEQUALITY.search(answer) or not re.search(r"[\d\\]", answer):
        return False
    worked = re.sub(r"^[A-Za-z ,]+(?<= )(?=[\d(-])", "", answer)  # "so" and the like
    sides = [exact.evaluate(side.strip(" $"), locale) for side in worked.split("=")]
    if None not in sides:  # `12+7`, or `12+7=19`, whose sides must agree
        if require_simplified and len(sides) > 1:
            return False
        return len(set(sides)) == 1 and sides[0] == gold.value
    if re.search(r"[\\^!_]|\d[mgshlLVWNJKC]\b", answer) or exact.MATH_WORDS.search(answer):
        return None
    if re.search(r"[+*&<>~@#]|[A-Za-z]\(", answer):
        return False  # unfinished, or a call: 14+, range(14)
    if re.search(r"[|\[\]{}]", answer):
        return None  # |-4|
    numerals = re.findall(rf"(?<![\w.])-?{exact.NUMERAL}(?![\w])", answer)
    if len(numerals) != 1 or len(re.findall(r"\d+(?:[.,]\d+)*", answer)) != 1:
        return False  # several numbers in prose: which one is the answer?
    quantity = exact.read_quantity(numerals[0], locale)
    return bool(quantity) and exact.same_quantity(gold, quantity)


_SPOKEN_NUMBER = re.compile(
    rf"(?:(?<![\w)}}\]])-\s*)?(?:\\[dt]?frac\s*\{{\d+\}}\s*\{{\d+\}}|{exact.NUMERAL}(?:\s*/\s*\d+)?)"
)


def spoken_answer(text: str, gold: Gold) -> str:
    """The answer a reply without tags ends on: its last box, else its last number, else what its last line says."""
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed
    if gold.number:
        numbers = _SPOKEN_NUMBER.findall(text)
        return numbers[-1] if numbers else ""
    last_line = text.strip().rpartition("\n")[2]
    formulas = re.findall(r"\$([^$]+)\$", last_line)
    return formulas[-1] if formulas else ANSWER_IS.split(last_line)[-1]


_STATED = re.compile(
    r"=|:|\b(?:is|are|be|equals|adalah|ialah|yaitu|jawabannya|hasilnya|there(?:fore)?|thus|hence|so|jadi|maka)\b",
    re.IGNORECASE,
)


def stated_answer(text: str, gold: Gold) -> str:
    """The answer that the last line of a reply states: its end after "is", "=" and the like; all of it where it hedges."""
    last_line = exact.normalise(text.strip().rpartition("\n")[2][-LONGEST_ANSWER:])
    if not gold.lists and HEDGES.search(last_line):
        return last_line
    formulas = re.findall(r"\$([^$]+)\$", last_line)
    return (formulas or _STATED.split(last_line))[-1].lstrip(" ,")


class AccuracyReward(AnswerReward):
    """1.0 if the answer equals `solution`, else 0.0; None if the solution cannot be read, whatever the completion says.

    The answer is the single `<answer>` body after `</think>` (two, or none, score 0.0); require_tags=False also reads
    answers outside it, for evaluation. require_simplified rejects `12+7` where the gold is the plain number 19. locale
    "id" reads numbers the Indonesian way (3,14 and 1.000.000), unless the column `locale` says otherwise.
    Rows of another `verifier` give None. What a comparison decides is decided first; after it a call starts no more
    verifications once `budget_s` seconds are over. Answers it does not get to score 0.0 and are counted in the metric
    "accuracy/unverified".
    """

    name = "accuracy"
    verifier = "math"
    # An evaluation grades every answer, however long it takes, and does not accept "12+7" for 19.
    grading: ClassVar[dict] = {"budget_s": math.inf, "require_simplified": True}

    def __init__(
        self,
        *,
        require_tags: bool = True,
        require_simplified: bool = False,
        locale: str = "en",
        budget_s: float = BUDGET_S,
    ) -> None:
        super().__init__()
        if locale not in LOCALES:
            raise ValueError(f"unknown locale {locale!r}: choose one of {', '.join(LOCALES)}")
        self.require_tags = require_tags
        self.require_simplified = require_simplified
        self.locale = locale
        self.budget_s = budget_s

    def __call__(
        self,
        completions,
        *,
        solution=None,
        answer=None,
        locale=None,
        verifier=None,
        log_metric=None,
        **kwargs,
    ) -> list[float | None]:
        """solution (or answer): list of str, one per completion; locale: list of "en", "id" or None (as at construction).

        Raises ValueError on a missing or short column, ImportError when math-verify is needed and not installed.
        """
        texts = completion_texts(completions)
        ours = self.own_rows(verifier, len(texts))
        columns = {"solution": solution, "answer": answer}
        golds = read_column(columns, len(texts), reward=self.name, needed=any(ours))
        locales = read_column({"locale": locale}, len(texts), reward=self.name, needed=False)
        unscorable = unverified = 0
        scores: list[float | None] = []
        slow: list[tuple[int, tuple[str, str]]] = []  # left for the end, so that they keep nobody waiting
        for text, solution_text, place, own in zip(texts, golds, locales, ours, strict=True):
            place = place if place in LOCALES else self.locale
            gold = read_gold(_solution_text(solution_text), place) if own else None
            if gold is None:
                unscorable += own
                scores.append(None)
                continue
            verdict = self._verdict(text, gold, place)
            if isinstance(verdict, tuple):
                slow.append((len(scores), verdict))
            scores.append(float(verdict is True))
        deadline = time.monotonic() + self.budget_s
        slow.sort(key=lambda item: len(item[1][1]))  # what hangs is seldom the shortest
        for row, question in slow:
            if time.monotonic() > deadline and not VERIFIER.knows(*question):
                unverified += 1
            else:
                scores[row] = float(VERIFIER.verify(*question))
        if log_metric is not None and any(ours):
            log_metric(f"{self.name}/unscorable", float(unscorable))
            log_metric(f"{self.name}/unverified", float(unverified))
        return scores

    def _answer(self, text: str, gold: Gold) -> str | None:
        """What a completion gives for its answer, or None or "" if nothing."""
        said, tagged = (tagged_answer(text), True) if self.require_tags else final_text(text)
        if said is None:
            return None
        boxed = last_boxed(said)
        return boxed if boxed is not None else said if tagged else spoken_answer(said, gold)

    def vote(self, text: str, row: dict) -> str | None:
        gold = self._gold(row)
        answer = self._answer(text, gold) if gold else None
        return exact.normalise(answer) or None if answer else None

    def same_vote(self, one: str, other: str, row: dict) -> bool:
        """Whether two votes mean the same answer: numbers exactly; if the solution is no number, by math-verify as in grading."""
        if too_costly(one) or too_costly(other):
            return False
        locale = row.get("locale") or self.locale
        numbers = [exact.read_quantity(vote, locale) for vote in (one, other)]
        if None not in numbers:
            return exact.same_quantity(*numbers)
        if self._gold(row).number or (gold := read_gold(one, locale)) is None:
            return False
        verdict = judge(gold, other, locale)
        if verdict is None:
            return VERIFIER.verify(_as_latex(gold.text, gold, locale), _as_latex(other, gold, locale))
        return verdict

    def _gold(self, row: dict) -> Gold | None:
        solution = row.get("solution") or row.get("answer")
        return read_gold(_solution_text(solution), row.get("locale") or self.locale)

    def _verdict(self, text: str, gold: Gold, locale: str) -> bool | tuple[str, str]:
        """Whether a completion is right, or what to ask the verifier where only that can tell."""
        said = self._answer(text, gold)
        if not said:
            return False
        verdict = judge(gold, said, locale, require_simplified=self.require_simplified)
        if verdict is not None:
            return verdict
        return _as_latex(gold.text, gold, locale), _as_latex(exact.normalise(said), gold, locale)


class ReasoningAccuracyReward(AccuracyReward):
    r"""Accuracy for models that answer in prose after `</think>`, without `<answer>` tags; 0.0 without a `</think>`.

    Read is the last `\boxed{}` after it, else what the last line says. Options and columns as `AccuracyReward`.
    """

    name = "reasoning_accuracy"

    def _answer(self, text: str, gold: Gold) -> str | None:
        if THINK_CLOSE not in text:
            return None
        said, tagged = final_text(text)
        boxed = last_boxed(said)
        return boxed if boxed is not None else said if tagged else stated_answer(said, gold)


def _solution_text(solution: object) -> str:
    if isinstance(solution, bool) or solution is None:
        return ""
    return (
        solution if isinstance(solution, str) else str(solution) if isinstance(solution, int | float) else ""
    )
