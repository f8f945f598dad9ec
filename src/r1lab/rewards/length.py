"""Rewards that look at how long a completion is, or how often it repeats itself. Lengths are in tokens."""

import math
import re

from r1lab.rewards.accuracy import AccuracyReward
from r1lab.rewards.base import Reward, completion_texts, read_column


def count_tokens(completions, completion_ids, *, reward: str) -> list[int]:
    """Tokens of each completion: of `completion_ids`, or words where there are none (a call without a trainer)."""
    texts = completion_texts(completions)
    column = read_column({"completion_ids": completion_ids}, len(texts), reward=reward, needed=False)
    return [len(text.split()) if ids is None else len(ids) for text, ids in zip(texts, column, strict=True)]


class CosineReward(AccuracyReward):
    """Right answers score more when short, wrong ones lose less when long (Yeo et al., 2025).

    A right answer falls from `max_value_correct` at no length to `min_value_correct` at `max_len` tokens along half a
    cosine, a wrong one rises from `min_value_wrong` to `max_value_wrong`; beyond `max_len` both stay there.
    `AccuracyReward` decides what is right (same options, None where it gives None); its slow checks are cached, so that
    using both verifies once. Padding makes a wrong answer score more: use it with `soft_overlong` and
    `repetition_penalty`. Raises ValueError unless `max_len` is positive and every right answer beats every wrong one.
    """

    name = "cosine"

    def __init__(
        self,
        *,
        max_len: int,
        min_value_wrong: float = -1.0,
        max_value_wrong: float = -0.5,
        min_value_correct: float = 0.5,
        max_value_correct: float = 1.0,
        **options,
    ) -> None:
        super().__init__(**options)
        if max_len <= 0:
            raise ValueError(f"max_len of the cosine reward is {max_len}: give the longest length in tokens")
        if not min_value_wrong <= max_value_wrong < min_value_correct <= max_value_correct:
            raise ValueError(
                "values of the cosine reward must rise from min_value_wrong over max_value_wrong and min_value_correct "
                "to max_value_correct, or a wrong answer could beat a right one"
            )
        self.max_len = max_len
        self.wrong = (min_value_wrong, max_value_wrong)
        self.correct = (max_value_correct, min_value_correct)

    def __call__(self, completions, *, completion_ids=None, log_metric=None, **columns) -> list[float | None]:
        """Columns as `AccuracyReward`; completion_ids: list of lists of token ids."""
        verdicts = super().__call__(completions, **columns)
        lengths = count_tokens(completions, completion_ids, reward=self.name)
        return [
            None if verdict is None else self._value(bool(verdict), length)
            for verdict, length in zip(verdicts, lengths, strict=True)
        ]

    def _value(self, correct: bool, length: int) -> float:
        # Half a cosine from the value at length 0 to the value at max_len.
        start, end = self.correct if correct else self.wrong
        progress = min(length / self.max_len, 1.0)
        return end + (start - end) * (1.0 + math.cos(math.pi * progress)) / 2.0


class LengthReward(AccuracyReward):
    """0.5 for the shortest completion of a prompt down to -0.5 for its longest; a wrong one scores at most 0 (Kimi, 2025).

    Lengths are compared among the completions of one prompt (`prompts`; without, all are taken for one prompt's),
    because an easy prompt has short answers anyway. Equal lengths score 0. None as `AccuracyReward`.
    """

    name = "length"

    def __call__(
        self, completions, *, prompts=None, completion_ids=None, log_metric=None, **columns
    ) -> list[float | None]:
        """Columns as `AccuracyReward`; prompts: one per completion, equal for the completions of a group."""
        verdicts = super().__call__(completions, **columns)
        lengths = count_tokens(completions, completion_ids, reward=self.name)
        prompts = read_column({"prompts": prompts}, len(verdicts), reward=self.name, needed=False)
        # Stage 1: the completions of each prompt.
        groups: dict[str, list[int]] = {}
        for index, prompt in enumerate(prompts):
            if verdicts[index] is not None:
                groups.setdefault(repr(prompt), []).append(index)
        # Stage 2: each length between the shortest and the longest of its group.
        values: list[float | None] = [None] * len(verdicts)
        for indices in groups.values():
            shortest = min(lengths[index] for index in indices)
            spread = max(lengths[index] for index in indices) - shortest
            for index in indices:
                value = 0.5 - (lengths[index] - shortest) / spread if spread else 0.0
                values[index] = value if verdicts[index] else min(0.0, value)
        return values


class SoftOverlongReward(Reward):
    """0 up to `max_len - cache` tokens, then falling to -1 at `max_len`, and -1 beyond (DAPO, Yu et al., 2025, eq. 13).

    cache defaults to a fifth of `max_len`, as in the paper (4,096 of 20,480). Raises ValueError unless
    0 <= cache <= max_len.
    """

    name = "soft_overlong"

    def __init__(self, *, max_len: int, cache: int | None = None) -> None:
        super().__init__()
        cache = max_len // 5 if cache is None else cache
        if not 0 <= cache <= max_len:
            raise ValueError(f"cache is {cache}: it must lie between 0 and max_len, which is {max_len}")
        self.max_len = max_len
        self.cache = cache

    def __call__(self, completions, *, completion_ids=None, **kwargs) -> list[float]:
        """completion_ids: list of lists of token ids; words are counted without them."""
        return [self._value(n) for n in count_tokens(completions, completion_ids, reward=self.name)]

    def _value(self, length: int) -> float:
        if length > self.max_len:
            return -1.0
        # How far into the last `cache` tokens.
        over = length - (self.max_len - self.cache)
        return -over / self.cache if over > 0 else 0.0


# Characters of a word, on average; above it a text has no spaces between its words and is read character by character.
LONGEST_WORD = 20


class RepetitionPenalty(Reward):
    """`max_penalty` times the share of n-grams that occurred before, from 0.0 down to `max_penalty` (Yeo et al., 2025).

    n-grams of token ids; without `completion_ids`, or with mask_digits, of lower-cased words (characters where the text
    has no spaces). mask_digits reads every number as the same one, so that "wait 1, wait 2, wait 3" is a loop. Fewer than
    n tokens repeat nothing. Raises ValueError on n < 1 or max_penalty > 0.
    """

    name = "repetition_penalty"

    def __init__(self, *, n: int = 3, max_penalty: float = -1.0, mask_digits: bool = False) -> None:
        super().__init__()
        if n < 1 or not -math.inf < max_penalty <= 0:
            raise ValueError(
                f"n is {n} and max_penalty {max_penalty}: n must be 1 or more, max_penalty 0 or less"
            )
        self.n = n
        self.max_penalty = max_penalty
        self.mask_digits = mask_digits

    def __call__(self, completions, *, completion_ids=None, **kwargs) -> list[float]:
        """completion_ids: list of lists of token ids."""
        texts = completion_texts(completions)
        column = read_column({"completion_ids": completion_ids}, len(texts), reward=self.name, needed=False)
        return [
            self._value(_words(text, self.mask_digits) if ids is None or self.mask_digits else list(ids))
            for text, ids in zip(texts, column, strict=True)
        ]

    def _value(self, tokens: list) -> float:
        total = len(tokens) - self.n + 1
        if total < 1:
            return 0.0
        # zip of n shifted copies gives the n-grams; each one that is not new counts as repeated.
        different = len(set(zip(*(tokens[start:] for start in range(self.n)), strict=False)))
        return self.max_penalty * (total - different) / total + 0.0  # + 0.0 turns -0.0 into 0.0


def _words(text: str, mask_digits: bool) -> list[str]:
    text = re.sub(r"\d+", "0", text) if mask_digits else text
    words = text.lower().split()
    spaceless = len(words) == 1 or len(text) > LONGEST_WORD * len(words)
    return list("".join(words)) if spaceless else words
