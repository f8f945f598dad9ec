"""Reward for reasoning in the language of the question."""

from r1lab.languages import WORDS, count_function_words
from r1lab.rewards.base import Reward, completion_text, completion_texts, read_column


def detect_language(text: str) -> str | None:
    """ "en" or "id", whichever has more function words in `text`; None on a draw."""
    counts = count_function_words(text)
    return None if counts["en"] == counts["id"] else max(counts, key=counts.__getitem__)


def question_text(prompt: object) -> str:
    """The last message of the user; earlier turns and instructions may well be in another language."""
    if isinstance(prompt, list | tuple):
        turns = [turn for turn in prompt if isinstance(turn, dict) and turn.get("role") == "user"]
        return completion_text({**turns[-1], "role": "assistant"}) if turns else ""
    return prompt if isinstance(prompt, str) else ""


class LanguageConsistencyReward(Reward):
    """Share of function words that belong to the question's language, over all text (DeepSeek-AI, 2025, section 2.3.2).

    A text with h of n function words in that language scores (h + s) / (n + 2 s), s being `smoothing`; one without
    function words (numbers, formulas) scores 0.5. With s = 1 a single word does not score 1, and each further word adds
    a little; with s = 0 every text in one language scores 1. The target is the column `language`, else the language of
    the prompt; without either, every text scores 0.5.
    """

    name = "language_consistency"

    def __init__(self, *, smoothing: float = 1.0):
        super().__init__()
        if not smoothing >= 0:
            raise ValueError(f"smoothing is {smoothing}: give 0 or more")
        self.smoothing = smoothing

    def __call__(self, completions, *, language=None, prompts=None, **kwargs) -> list[float]:
        """language: list of "en", "id" or None; prompts: str or chat messages. Raises ValueError on another language."""
        texts = completion_texts(completions)
        languages = read_column({"language": language}, len(texts), reward=self.name, needed=False)
        prompts = read_column({"prompts": prompts}, len(texts), reward=self.name, needed=False)
        # Only the languages that have a list of words.
        unknown = {value for value in languages if value} - set(WORDS)
        if unknown:
            raise ValueError(
                f"column 'language' contains {unknown.pop()!r}: this reward knows {', '.join(WORDS)} (or None)"
            )
        return [
            self._score(text, target or detect_language(question_text(prompt)))
            for text, target, prompt in zip(texts, languages, prompts, strict=True)
        ]

    def _score(self, text: str, target: str | None) -> float:
        counts = count_function_words(text)
        words = sum(counts.values())
        if not target or not words:
            return 0.5  # no evidence either way
        return (counts[target] + self.smoothing) / (words + 2 * self.smoothing)
