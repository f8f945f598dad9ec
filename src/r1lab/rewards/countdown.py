"""Reward for countdown puzzles: make `target` from the given `numbers`."""

import json
import re
from collections import Counter
from fractions import Fraction

from r1lab.rewards.answers.normalise import normalise
from r1lab.rewards.answers.quantities import evaluate
from r1lab.rewards.answers.reading import ANSWER_IS, last_boxed
from r1lab.rewards.base import AnswerReward
from r1lab.rewards.logic import LONGEST_ANSWER, last_statement

Expression = tuple[Fraction, Counter]  # its value, and the numbers it uses


def read_expression(text: str) -> Expression | None:
    """Value of `+ - * /`, parentheses and whole numbers, and the numbers used; None if the text is anything else."""
    # 3,000 and 1.5 and 03 are numerals elsewhere, but here a number is written as it was given.
    if re.search(r"[.,]|(?<!\d)0\d", text) or (result := evaluate(text)) is None:
        return None
    return result[0], Counter(map(int, result[1]))


def _whole_numbers(value: object) -> list[int] | None:
    """The whole numbers of a list, its JSON or a single number; None if it holds anything else, or nothing."""
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
    None when `numbers` (lists of int, or their JSON) or `target` cannot be read. Other options as `AnswerReward`.
    """

    name = verifier = "countdown"
    columns = {"numbers": ("nums",), "target": ()}  # noqa: RUF012

    def __init__(self, *, use_all: bool = True, **options) -> None:
        super().__init__(**options)
        self.use_all = use_all

    def read_problem(self, row: dict) -> tuple[list[int], int] | None:
        numbers, target = _whole_numbers(row["numbers"]), _whole_numbers(row["target"])
        return (numbers, target[0]) if numbers and target and len(target) == 1 else None

    def find_answer(self, text: str, problem: object) -> tuple[Expression, list[str]] | None:
        """The expression of an answer, and the results that are claimed for it behind `=`."""
        answer, tagged = self.answer_text(text)
        if not answer or len(answer) > LONGEST_ANSWER:
            return None
        boxed = last_boxed(answer)
        # The end of the text, where it has no tags.
        answer = answer if tagged else last_statement(answer, ANSWER_IS)
        expression, *results = normalise(answer if boxed is None else boxed).split("=")
        value = read_expression(expression)
        return (value, results) if value else None

    def check(self, answer: tuple[Expression, list[str]], problem: tuple[list[int], int]) -> float:
        ((value, used), results), (numbers, target) = answer, problem
        # A result behind "=" has to be the target itself.
        claimed = [(Fraction(target), Counter([abs(target)]))] if results else []
        if value != target or [read_expression(result) for result in results] != claimed:
            return 0.0
        allowed = Counter(numbers)
        return float(used == allowed if self.use_all else used <= allowed)

    def vote_key(self, answer: tuple[Expression, list[str]]) -> str:
        """The value and the numbers of an expression: two expressions that share both are the same vote."""
        value, used = answer[0]
        return f"{value} from {sorted(used.elements())}"
