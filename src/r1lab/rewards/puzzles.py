"""Rewards for puzzles with exact answers: who lies, who stands where (`logic`), and reaching a number (`countdown`)."""

import ast
import json
import operator
import re
from collections import Counter
from collections.abc import Callable
from fractions import Fraction

from r1lab.rewards.accuracy import ANSWER_IS, last_boxed
from r1lab.rewards.base import AnswerReward, completion_texts, final_text, read_column, tagged_answer
from r1lab.rewards.exact import normalise

LONGEST_ANSWER = 1000  # characters

# ---------------------------------------------------------------------------------------------------- logic

_SEPARATOR = re.compile(r"\s*(?:[,;&]|\band\b|\bdan\b)\s*", re.IGNORECASE)
_ANSWERS = re.compile(r"\b(?:answer is|jawabannya(?: adalah)?|is|adalah)\b\s*:?", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?\n]")
_DECORATION = " .*_`'\"$"


def read_names(text: object) -> frozenset[str]:
    """The names listed in a text, case folded; words that are no separator stay, so prose or a hedge equals no name."""
    if not isinstance(text, str) or len(text) > LONGEST_ANSWER:
        return frozenset()
    items = (item.strip(_DECORATION).casefold() for item in _SEPARATOR.split(" ".join(text.split())))
    return frozenset(item for item in items if item)


def spoken_names(text: str) -> frozenset[str]:
    """Names a reply without tags ends on: after its last "is" or "jawabannya", else its last sentence."""
    return read_names(_spoken(text, _ANSWERS))


def _spoken(text: str, phrase: re.Pattern) -> str:
    phrases = list(phrase.finditer(text))
    if phrases:
        return _SENTENCE_END.split(text[phrases[-1].end() :].strip())[0]
    sentences = [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()]
    return sentences[-1] if sentences else ""


_ROLES = {
    "knight": "knight", "truth-teller": "knight", "truthteller": "knight", "honest": "knight", "ksatria": "knight", "kesatria": "knight",
    "jujur": "knight", "knave": "knave", "liar": "knave", "pembohong": "knave", "bohong": "knave", "penipu": "knave",
}  # fmt: skip
_ROLE = re.compile(
    rf"(?P<name>.+?)\s*(?:\b(?P<verb>is|are|was|were|adalah|ialah)\b|[:=-])?\s*(?:\b(?:an?|the|both|seorang|orang)\b\s*)?"
    rf"\b(?P<role>{'|'.join(_ROLES)})(?P<plural>s?)",
    re.IGNORECASE,
)


def read_roles(text: object) -> dict[str, str] | None:
    """{name: "knight" or "knave"} of a text such as `Ani is a knight, and Budi is a knave`, names case folded.

    None unless every clause gives a role and nobody is named twice, so hedges and corrections are no answer.
    """
    if not isinstance(text, str) or len(text) > LONGEST_ANSWER:
        return None
    roles: dict[str, str] = {}
    waiting: list[str] = []  # "Ani" in "Ani and Budi are knights"
    for clause in re.split(rf"{_SEPARATOR.pattern}|[.\n]", text, flags=re.IGNORECASE):
        clause = clause.strip(_DECORATION)
        if not clause:
            continue
        match = _ROLE.fullmatch(clause)
        if match is None:
            waiting.append(clause.casefold())
            continue
        several = bool(match["plural"]) or (match["verb"] or "").lower() in ("are", "were")
        if waiting and not (several or match["verb"] in ("adalah", "ialah", None)):
            return None
        for name in [*waiting, match["name"].strip(_DECORATION).casefold()]:
            if name in roles:
                return None
            roles[name] = _ROLES[match["role"].casefold()]
        waiting = []
    return roles if roles and not waiting else None


def read_order(text: object) -> tuple[str, ...] | None:
    """Names of a chain `Ani > Budi > Citra` from its high end, case folded; `<` is read backwards; None if it is none."""
    if not isinstance(text, str) or len(text) > LONGEST_ANSWER or (">" in text) == ("<" in text):
        return None
    names = tuple(name.strip(_DECORATION).casefold() for name in re.split("[<>]", text))
    return (names if ">" in text else names[::-1]) if all(names) else None


class LogicReward(AnswerReward):
    """1.0 when the answer says of exactly the people of `solution` what it says, else 0.0; None without a solution.

    The solution decides how both are read: as an order (`Ani > Budi`), as knights and knaves (`Ani is a knight, Budi is
    a knave`: everybody once, all right), else as a set of names, where order does not matter.
    require_tags=False also reads answers outside `<answer>`, for evaluation. Rows of another `verifier` give None.
    """

    name = verifier = "logic"

    def __init__(self, *, require_tags: bool = True) -> None:
        super().__init__()
        self.require_tags = require_tags

    def __call__(
        self, completions, *, solution=None, answer=None, verifier=None, **kwargs
    ) -> list[float | None]:
        """solution (or answer): list of str, one per completion. Raises ValueError on a missing or short column."""
        texts = completion_texts(completions)
        ours = self.own_rows(verifier, len(texts))
        columns = {"solution": solution, "answer": answer}
        golds = read_column(columns, len(texts), reward=self.name, needed=any(ours))
        return [
            self._score(text, gold) if own else None
            for text, gold, own in zip(texts, golds, ours, strict=True)
        ]

    def _score(self, text: str, solution: object) -> float | None:
        if not read_names(solution):
            return None
        read = _reader(solution)
        answer = read(tagged_answer(text)) if self.require_tags else _untagged_answer(text, read)
        return float(answer == read(solution))

    def vote(self, text: str, row: dict) -> str | None:
        answer = _untagged_answer(text, _reader(row.get("solution") or row.get("answer")))
        if not answer:
            return None
        if isinstance(answer, tuple):  # an order: Ani > Budi is another answer than Budi > Ani
            return repr(answer)
        return repr(sorted(answer.items() if isinstance(answer, dict) else answer))


def _reader(solution: object) -> Callable:
    """The function that reads a solution and its answers: as an order, as roles, or as a set of names."""
    return next((read for read in (read_order, read_roles) if read(solution)), read_names)


def _untagged_answer(text: str, read: Callable):
    """The answer of a completion, also where it has no tags."""
    final, tagged = final_text(text)
    if not tagged and read is read_names:
        return spoken_names(final)
    return read(final if tagged else _spoken(final, ANSWER_IS))


# ------------------------------------------------------------------------------------------------ countdown

LONGEST_EXPRESSION = 200  # characters
_OPERATIONS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_SIGNS = {"\\times": "*", "\\cdot": "*", "\\div": "/", "\\left": "", "\\right": ""}


def read_expression(text: str) -> tuple[Fraction, Counter] | None:
    """Value of `+ - * /`, parentheses and whole numbers, and the numbers used; None if the text is anything else.

    The text is parsed, never run. Division is exact; by zero it gives None.
    """
    text = re.sub(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"((\1)/(\2))", text)
    text = re.sub(r"\\[a-z]+", lambda match: _SIGNS.get(match[0], match[0]), text)
    if len(text) > LONGEST_EXPRESSION or not re.fullmatch(r"[0-9+\-*/() ]+", text):
        return None
    numbers: Counter[int] = Counter()

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
            return _OPERATIONS[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -value(node.operand)
        if isinstance(node, ast.Constant) and type(node.value) is int:
            numbers[node.value] += 1
            return Fraction(node.value)
        raise ValueError("neither a number nor one of + - * /")

    try:
        return value(ast.parse(text.strip(), mode="eval").body), numbers
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _whole_numbers(value: object) -> list[int] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    values = list(value) if hasattr(value, "__iter__") and not isinstance(value, dict) else [value]
    try:
        return values if values and all(v == int(v) and not isinstance(v, bool) for v in values) else None
    except (TypeError, ValueError, OverflowError):
        return None


class CountdownReward(AnswerReward):
    """1.0 when the answer makes `target` from the given `numbers` by + - * / and parentheses, else 0.0.

    Every number exactly once (use_all=False: at most once), whole numbers only, exact arithmetic; `... = target` may follow.
    None when `numbers` or `target` do not read. Rows of another `verifier` give None.
    """

    name = verifier = "countdown"

    def __init__(self, *, use_all: bool = True, require_tags: bool = True) -> None:
        super().__init__()
        self.use_all = use_all
        self.require_tags = require_tags

    def __call__(
        self, completions, *, numbers=None, nums=None, target=None, verifier=None, **kwargs
    ) -> list[float | None]:
        """numbers (or nums): lists of int, or their JSON; target: ints. Raises ValueError on a missing or short column."""
        texts = completion_texts(completions)
        ours = self.own_rows(verifier, len(texts))
        given = read_column(
            {"numbers": numbers, "nums": nums}, len(texts), reward=self.name, needed=any(ours)
        )
        targets = read_column({"target": target}, len(texts), reward=self.name, needed=any(ours))
        return [
            self._score(text, _whole_numbers(mine), _whole_numbers(goal)) if own else None
            for text, mine, goal, own in zip(texts, given, targets, ours, strict=True)
        ]

    def _score(self, text: str, given: list[int] | None, goal: list[int] | None) -> float | None:
        if given is None or goal is None or len(goal) != 1:
            return None
        expression, *results = self._sides(text)
        result = read_expression(expression)
        if result is None or result[0] != goal[0] or len(results) > 1:
            return 0.0
        if results and read_expression(results[0]) != (goal[0], Counter(map(abs, goal))):
            return 0.0
        used, allowed = result[1], Counter(given)
        return float(used == allowed if self.use_all else used <= allowed)

    def _sides(self, text: str) -> list[str]:
        """The answer of a completion, split at its equals signs; [""] if there is no answer."""
        answer, tagged = (tagged_answer(text), True) if self.require_tags else final_text(text)
        if not answer or len(answer) > LONGEST_ANSWER:
            return [""]
        boxed = last_boxed(answer)
        answer = answer if tagged else _spoken(answer, ANSWER_IS)
        return normalise(answer if boxed is None else boxed).split("=")

    def vote(self, text: str, row: dict) -> str | None:
        """The value and the numbers of an expression: two expressions that share both are the same vote."""
        result = read_expression(self._sides(text)[0])
        return f"{result[0]} from {sorted(result[1].elements())}" if result else None
