"""Reward for keeping to the format, whatever the answer is worth."""

from r1lab.prompts import parse_completion
from r1lab.rewards.base import Reward, completion_texts


class FormatReward(Reward):
    """1.0 for `<think>...</think> <answer>...</answer>` and nothing else, else 0.0 (DeepSeek-AI, 2025, section 2.2.2).

    Every tag exactly once, neither block blank, no text around them: counting first is what stops stuffing, since a
    pattern alone accepts two whole templates in a row. With `prefilled_think` the chat template has written `<think>`.
    """

    name = "format"

    def __init__(self, *, prefilled_think: bool = False) -> None:
        super().__init__()
        self.prefilled_think = prefilled_think

    def __call__(self, completions, **kwargs) -> list[float]:
        """One float per completion; never None, never raises on what a completion says."""
        return [
            float(parse_completion(text, prefilled_think=self.prefilled_think).well_formed)
            for text in completion_texts(completions)
        ]
