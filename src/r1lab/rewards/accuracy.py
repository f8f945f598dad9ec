r"""Reward for the right answer to a math problem. What a written answer means is decided in `rewards.answers`."""

from typing import Any, ClassVar

from r1lab.prompts import THINK_CLOSE
from r1lab.rewards.answers.compare import compare
from r1lab.rewards.answers.gold import LOCALES, Gold, read_gold
from r1lab.rewards.answers.latex import too_costly
from r1lab.rewards.answers.normalise import normalise
from r1lab.rewards.answers.quantities import read_quantity, same_quantity
from r1lab.rewards.answers.reading import LONGEST_ANSWER, last_boxed, spoken_answer, stated_answer
from r1lab.rewards.base import AnswerReward, SlowCheck, final_text
from r1lab.rewards.verify.symbolic import SYMBOLIC


class AccuracyReward(AnswerReward):
    """1.0 if the answer equals `solution`, else 0.0; None if the solution cannot be read, whatever the completion says.

    require_simplified rejects `12+7` where the gold is the plain number 19. locale "id" reads numbers the Indonesian
    way (3,14 and 1.000.000), unless the column `locale` says otherwise. Other options as `AnswerReward`. Raises
    ImportError when math-verify is needed and not installed.
    """

    name = "accuracy"
    verifier = "math"
    optional = ("locale",)
    # An evaluation does not accept "12+7" for 19.
    evaluation_options: ClassVar[dict] = AnswerReward.evaluation_options | {"require_simplified": True}

    def __init__(self, *, require_simplified: bool = False, locale: str = "en", **options) -> None:
        super().__init__(**options)
        if locale not in LOCALES:
            raise ValueError(f"unknown locale {locale!r}: choose one of {', '.join(LOCALES)}")
        self.require_simplified = require_simplified
        self.locale = locale

    def read_problem(self, row: dict) -> Gold | None:
        solution = row["solution"]
        if isinstance(solution, bool) or not isinstance(solution, str | int | float):
            return None
        return read_gold(str(solution), row["locale"] if row["locale"] in LOCALES else self.locale)

    def find_answer(self, text: str, problem: Gold) -> str:
        answer, tagged = self.answer_text(text)
        boxed = last_boxed(answer)
        if boxed is not None:
            return boxed
        return answer if tagged else spoken_answer(answer, number=problem.kind == "number")

    def check(self, answer: str, problem: Gold) -> float | SlowCheck:
        verdict = compare(problem, answer, require_simplified=self.require_simplified)
        if isinstance(verdict, bool):
            return float(verdict)
        # What hangs is seldom the shortest.
        return SlowCheck(
            cost=sum(len(answer) for _, answer in verdict),
            known=lambda: all(SYMBOLIC.knows(*question) for question in verdict),
            run=lambda: float(all(SYMBOLIC.verify(*question) for question in verdict)),
        )

    def vote_key(self, answer: str) -> str:
        return normalise(answer[: 2 * LONGEST_ANSWER])

    def same_vote(self, one: str, other: str, row: dict) -> bool:
        """Whether two votes mean the same answer: numbers exactly; if the solution is no number, as in grading."""
        problem: Any = self.read_problem(self._one_row(row))
        if too_costly(one) or too_costly(other):
            return False
        values = [read_quantity(vote, problem.locale) for vote in (one, other)]
        if None not in values:
            return same_quantity(*values)
        if problem.kind == "number" or (gold := read_gold(one, problem.locale)) is None:
            return False
        score = self.check(other, gold)
        return (score.run() if isinstance(score, SlowCheck) else score) == 1.0


class ReasoningAccuracyReward(AccuracyReward):
    r"""Accuracy for models that answer in prose after `</think>`, without `<answer>` tags; 0.0 without a `</think>`.

    Read is the last `\boxed{}` after it, else what the last line says. Options and columns as `AccuracyReward`.
    """

    name = "reasoning_accuracy"

    def find_answer(self, text: str, problem: Gold) -> str:
        if THINK_CLOSE not in text:
            return ""
        answer, tagged = final_text(text)
        boxed = last_boxed(answer)
        if boxed is not None:
            return boxed
        return (
            answer
            if tagged
            else stated_answer(answer, number=problem.kind == "number", several=problem.several)
        )
