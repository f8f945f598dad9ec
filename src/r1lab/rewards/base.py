"""The contract every reward keeps: what it is called with, what it gives back, and what it never does.

TRL calls a reward by keyword with `prompts, completions, completion_ids`, one list per dataset column, and a few
callables (`log_metric`, ...). A reward answers with one float per completion, or None for a row it cannot score.
In TRL a None counts as 0 in the group's sum, so None may depend on the problem only: if it depended on the
completion, staying unreadable could pay better than being wrong.
"""

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

from r1lab.prompts import THINK_CLOSE, THINK_OPEN, parse_completion

LONGEST_TEXT = 200_000  # characters; a longer completion is read from its end, where the answer is


class Reward:
    """Base of all rewards: a picklable callable (async trainers send it to other processes) with a `__name__`."""

    name = ""

    def __init__(self) -> None:
        self.__name__ = self.name  # TRL names the logged metrics after it

    def __repr__(self) -> str:
        options = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if k != "__name__")
        return f"{type(self).__name__}({options})"


class AnswerReward(Reward):
    """Base of the rewards that check an answer: one for each value of the column `verifier`, see `rewards.VERIFIERS`.

    verifier: that value. grading: the options that an evaluation passes. Every such reward takes `require_tags`; False, for
    evaluations, also reads answers outside `<answer>`.
    """

    verifier = ""
    grading: ClassVar[dict] = {}

    def own_rows(self, verifier: Sequence[str | None] | None, count: int) -> list[bool]:
        """For each row of a mixed batch, whether this reward grades it: all of them when there is no `verifier` column."""
        column = read_column({"verifier": verifier}, count, reward=self.name, needed=False)
        return [value is None or value == self.verifier for value in column]

    def vote(self, text: str, row: dict) -> str | None:
        """The answer of a completion to the problem `row`, or None when it gives none."""
        answer, _ = final_text(text)
        return "".join(answer.split()).casefold() or None

    def same_vote(self, one: str, other: str, row: dict) -> bool:
        """Whether two different votes mean the same answer."""
        return False


def completion_text(completion: str | Sequence[dict] | None) -> str:
    """Text of one completion: a string, or chat messages (only what the assistant said).

    A tokenizer with a response schema hands back reasoning in `reasoning_content` or `thinking`, apart from `content`;
    it is put back between think tags. Anything that is not text reads as "". Never raises.
    """
    if isinstance(completion, str):
        return completion[-LONGEST_TEXT:]
    if isinstance(completion, dict):
        completion = [completion]
    if not isinstance(completion, list | tuple):
        return ""
    spoken = []
    for message in completion:
        if not isinstance(message, dict) or message.get("role", "assistant") != "assistant":
            continue
        reasoning = message.get("reasoning_content") or message.get("thinking")
        said = _content_text(message.get("content"))
        if reasoning and isinstance(reasoning, str):
            said = f"{THINK_OPEN}{reasoning}{THINK_CLOSE}\n{said}"
        spoken.append(said)
    return "\n".join(spoken)[-LONGEST_TEXT:]


def _content_text(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list | tuple):  # multimodal parts: {"type": "text", "text": "..."}
        texts = (part.get("text") if isinstance(part, dict) else part for part in content)
        return "".join(text for text in texts if isinstance(text, str))
    return ""


def completion_texts(completions: Iterable) -> list[str]:
    """Text of each completion, see `completion_text`."""
    return [completion_text(completion) for completion in completions]


def read_column(columns: dict[str, Sequence | None], count: int, *, reward: str, needed: bool = True) -> list:
    """Values of the first column that is present, checked to hold one value per completion.

    columns: name -> values or None, in order of preference (the rest are aliases). An absent column that is not
    `needed` gives a list of None. Raises ValueError naming the column, since a wrong dataset is the caller's to fix.
    """
    for name, values in columns.items():
        if values is None:
            continue
        if isinstance(values, str) or not hasattr(values, "__len__"):
            raise ValueError(
                f"reward {reward!r} got a column {name!r} that is not a list: pass one value per completion"
            )
        if len(values) != count:
            raise ValueError(
                f"reward {reward!r} got {len(values)} values in column {name!r} for {count} completions: "
                "pass one value per completion"
            )
        return list(values)
    if needed and count:
        names = " or ".join(repr(name) for name in columns)
        raise ValueError(f"reward {reward!r} needs the dataset column {names}: add it, or drop this reward")
    return [None] * count


def tagged_answer(text: str) -> str | None:
    """Body of the single `<answer>` after `</think>`; None without it, so what is only thought is never graded."""
    return parse_completion(text).answer if THINK_CLOSE in text else None


_TAG = re.compile(r"</?(?:think|answer)>")


def final_text(text: str) -> tuple[str, bool]:
    """Where a completion without manners answers, and whether that place is an `<answer>` body.

    The single `<answer>` body if there is one, else the text after the last `</think>` (or all of it), tags dropped.
    """
    answer = parse_completion(text).answer
    if answer is not None:
        return answer, True
    return _TAG.sub(" ", text.rpartition(THINK_CLOSE)[2]).strip(), False
