"""Reward for logic puzzles: who lies, who is a knight, who stands where."""

import re
from collections.abc import Callable

from r1lab.rewards.answers.reading import ANSWER_IS
from r1lab.rewards.base import AnswerReward

LONGEST_ANSWER = 1000  # characters
Solution = frozenset | dict | tuple  # names, roles or an order, see `read_solution`

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
        # A clause without a role waits for the next one that has one.
        match = _ROLE.fullmatch(clause)
        if match is None:
            waiting.append(clause.casefold())
            continue
        # Names without a role share that of the next one only if the clause speaks of several people. Indonesian
        # verbs have no plural, so there it always may.
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


def last_statement(text: str, phrase: re.Pattern) -> str:
    """What a text says after the last match of `phrase`, up to the end of the sentence; without a match, its last sentence."""
    # Only the last such phrase: earlier ones may have been corrected.
    matches = list(phrase.finditer(text))
    if matches:
        return _SENTENCE_END.split(text[matches[-1].end() :].strip())[0]
    sentences = [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()]
    return sentences[-1] if sentences else ""


class LogicReward(AnswerReward):
    """1.0 when the answer says of exactly the people of `solution` what it says, else 0.0; None without a solution.

    The solution decides how both are read: as an order (`Ani > Budi`), as knights and knaves (`Ani is a knight, Budi is
    a knave`: everybody once, all right), else as a set of names, where order does not matter. Options as `AnswerReward`.
    """

    name = verifier = "logic"

    def read_problem(self, row: dict) -> tuple[Callable, Solution] | None:
        """The function that reads the solution, and what it reads."""
        readers = (read_order, read_roles, read_names)
        return next(((read, value) for read in readers if (value := read(row["solution"]))), None)

    def find_answer(self, text: str, problem: tuple[Callable, Solution]) -> Solution | None:
        read, _ = problem
        answer, tagged = self.answer_text(text)
        if not tagged:
            answer = last_statement(answer, _ANSWERS if read is read_names else ANSWER_IS)
        return read(answer)

    def check(self, answer: Solution, problem: tuple[Callable, Solution]) -> float:
        return float(answer == problem[1])

    def vote_key(self, answer: Solution) -> str:
        if isinstance(answer, tuple):  # an order: Ani > Budi is another answer than Budi > Ani
            return repr(answer)
        return repr(sorted(answer.items() if isinstance(answer, dict) else answer))
