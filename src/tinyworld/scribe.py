"""A scribe writes one chain of thought, with the slips, checks and language mixing the base model grows up on."""

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
class Hand:
    """How a scribe writes: the chance of each habit, per sentence."""

    slip: float = 0.0  # states a wrong result and carries on from it
    check_after_slip: float = 0.0  # notices the slip, redoes the step, carries on from the right result
    check_idle: float = 0.0  # redoes a step that was right
    switch_language: float = 0.0  # writes the sentence in the other language


CAREFUL = Hand()


@dataclass
class Scribe:
    """Collects the sentences of one chain of thought. `language` is the language of the question."""

    language: str
    rng: random.Random
    hand: Hand = CAREFUL
    sentences: list[str] = field(default_factory=list)

    def compute(self, left: int, sign: str, right: int) -> int:
        """Write `left sign right = result` and return the result the scribe now believes in."""
        result = OPERATORS[sign](left, right)
        slips = [result + change for change in (-10, -2, -1, 1, 2, 10) if result + change >= 0]
        return self.conclude(result, slips, lambda said: dict.fromkeys(OTHER, f"{left}{sign}{right}={said}"))

    def conclude(self, result, slips: list, phrase: Callable[..., dict[str, str]]):
        """Write one sentence that states `result`, or by a slip one of `slips`; return what is believed after it.

        phrase(result) gives the sentence in each language.
        """
        hand, said = self.hand, result
        if slips and self.rng.random() < hand.slip:
            said = self.rng.choice(slips)
        self._write(LINKS if self.sentences else OPENERS, phrase(said))
        if self.rng.random() < (hand.check_idle if said == result else hand.check_after_slip):
            self._write(None, phrase(result))
            said = result
        return said

    def _write(self, links: dict[str, tuple[str, ...]] | None, phrase: dict[str, str]) -> None:
        language = self.language
        if self.rng.random() < self.hand.switch_language:
            language = OTHER[language]
        opening = self.rng.choice(links[language]) if links else CHECKS[language]
        self.sentences.append(f"{opening} {phrase[language]}.")

    @property
    def text(self) -> str:
        return " ".join(self.sentences)
