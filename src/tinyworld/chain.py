"""Writes one chain of thought, with the slips, checks and language mixing the base model grows up on."""

import operator
import random
from collections.abc import Callable
from dataclasses import dataclass, field

OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,  # exact on every true chain; after a slip it may have to round down
}
OPENERS = {"en": ("First",), "id": ("Pertama",)}
LINKS = {"en": ("Then", "Next"), "id": ("Lalu", "Kemudian")}
CHECKS = {"en": "Wait, check:", "id": "Tunggu, cek:"}
OTHER = {"en": "id", "id": "en"}


@dataclass(frozen=True)
class Habits:
    """The chance of each habit of a writer, per sentence."""

    slip: float = 0.0  # states a wrong result and carries on from it
    check_after_slip: float = 0.0  # notices the slip, redoes the step, carries on from the right result
    check_idle: float = 0.0  # redoes a step that was right
    switch_language: float = 0.0  # writes the sentence in the other language


CAREFUL = Habits()


@dataclass
class ChainWriter:
    """Collects the sentences of one chain of thought. `language` is the language of the question."""

    language: str
    rng: random.Random
    habits: Habits = CAREFUL
    sentences: list[str] = field(default_factory=list)

    def compute(self, left: int, sign: str, right: int) -> int:
        """Write `left sign right = result` and return the result the writer now believes in."""
        result = OPERATORS[sign](left, right)
        slips = [result + change for change in (-10, -2, -1, 1, 2, 10) if result + change >= 0]
        return self.conclude(
            result, slips, lambda stated: dict.fromkeys(OTHER, f"{left}{sign}{right}={stated}")
        )

    def conclude(self, result, slips: list, phrase: Callable[..., dict[str, str]]):
        """Write one sentence that states `result`, or by a slip one of `slips`; return what is believed after it.

        phrase(result) gives the sentence in each language.
        """
        habits, stated = self.habits, result
        if slips and self.rng.random() < habits.slip:
            stated = self.rng.choice(slips)
        self._write(LINKS if self.sentences else OPENERS, phrase(stated))
        if self.rng.random() < (habits.check_idle if stated == result else habits.check_after_slip):
            self._write(None, phrase(result))
            stated = result
        return stated

    def _write(self, links: dict[str, tuple[str, ...]] | None, phrase: dict[str, str]) -> None:
        language = self.language
        if self.rng.random() < self.habits.switch_language:
            language = OTHER[language]
        opening = self.rng.choice(links[language]) if links else CHECKS[language]
        self.sentences.append(f"{opening} {phrase[language]}.")

    @property
    def text(self) -> str:
        return " ".join(self.sentences)
