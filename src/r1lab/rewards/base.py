"""The contract that every reward keeps. Read this first.

**What a reward gets.** TRL calls it with keywords: `completions` (strings or chat messages), `prompts`, `completion_ids`
(tokens), one list per column of the data set (`solution`, `language`, ...) and a few callables such as `log_metric`.
All lists have one entry per completion. A reward names the columns it needs and takes the rest as `**columns`.

**What it returns.** One float per completion, or None for a row that it cannot score. TRL counts a None as 0 in the
group's sum, so None may depend on the problem only. If it depended on the completion, an unreadable answer could be
worth more than a wrong one.

**What it never does.** It never raises because of what a completion says, whatever its type. It raises ValueError for
a wrong data set (a missing or short column), because only the caller can repair that. It prints nothing, uses no
random numbers, and gives the same scores in any order of the batch.

**It can be pickled**, because async trainers send rewards to other processes: a class with `__call__`, no closure.

A reward that reads the text only subclasses `Reward`. One that checks an answer against the problem subclasses
`AnswerReward` and is a *verifier*: data sets name it in their column `verifier`, and it needs one line in
`rewards.VERIFIERS` beside its own file.
"""

import math
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from r1lab.prompts import THINK_CLOSE, THINK_OPEN, parse_completion

LONGEST_TEXT = 200_000  # characters; a longer completion is read from its end, where the answer is
BUDGET_S = (
    15.0  # seconds per call, before the last slow check it starts on; a step of training takes about as long
)


class Reward:
    """Base of all rewards: a picklable callable with a `__name__`, from which TRL names the metrics it logs."""

    name = ""

    def __init__(self) -> None:
        self.__name__ = self.name

    def __repr__(self) -> str:
        options = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if k != "__name__")
        return f"{type(self).__name__}({options})"


@dataclass(frozen=True)
class SlowCheck:
    """A check that needs another process. cost: slow ones run in this order; known: its result is already cached."""

    cost: int
    known: Callable[[], bool]
    run: Callable[[], float]


class AnswerReward(Reward):
    """Base of the verifiers: a subclass says how to read a problem, how to find an answer, and how to check it.

    verifier: the value of the column `verifier` whose problems it checks; other rows get None. columns: the columns it
    needs, each with its aliases; optional: those it can do without. evaluation_options: how an evaluation makes it.

    require_tags: only the single `<answer>` after `</think>` counts; False, for evaluations, also reads answers
    outside it. budget_s: after so many seconds a call starts no more slow checks. Those it does not get to score 0.0
    and are counted in the metric "NAME/unverified"; problems without a readable solution in "NAME/unscorable".
    """

    verifier = ""
    columns: ClassVar[dict[str, tuple[str, ...]]] = {"solution": ("answer",)}
    optional: ClassVar[tuple[str, ...]] = ()
    # An evaluation grades every answer, however long it takes.
    evaluation_options: ClassVar[dict] = {"budget_s": math.inf}

    def __init__(self, *, require_tags: bool = True, budget_s: float = BUDGET_S) -> None:
        super().__init__()
        self.require_tags = require_tags
        self.budget_s = budget_s

    # ------------------------------------------------------------------------- what a subclass defines

    def read_problem(self, row: dict) -> Any | None:
        """The problem of a row (its `columns` and `optional` columns), None if it cannot be scored."""
        raise NotImplementedError

    def find_answer(self, text: str, problem: Any) -> Any | None:
        """The answer that a completion gives, or something false if it gives none."""
        return self.answer_text(text)[0]

    def check(self, answer: Any, problem: Any) -> float | SlowCheck:
        """The score of an answer: a float at once, or the slow check that finds it."""
        raise NotImplementedError

    def vote_key(self, answer: Any) -> str:
        """One spelling of an answer, equal for answers that are obviously the same."""
        return "".join(str(answer).split()).casefold()

    def same_vote(self, one: str, other: str, row: dict) -> bool:
        """Whether two different vote keys mean the same answer to the problem `row`."""
        return False

    # ------------------------------------------------------------------------------- what they share

    def __call__(
        self, completions, *, verifier=None, log_metric=None, **columns: Sequence
    ) -> list[float | None]:
        """One score per completion, see the head of this file. Raises ValueError on a missing or short column."""
        texts = completion_texts(completions)
        own = self.own_rows(verifier, len(texts))
        rows = self._read_rows(columns, len(texts), needed=any(own))
        scores: list[float | None] = [None] * len(texts)
        slow: list[tuple[int, SlowCheck]] = []
        unscorable = unverified = 0
        # Stage 1: what a comparison decides is decided first, so that no slow answer keeps a cheap one waiting.
        for index, text in enumerate(texts):
            if not own[index]:
                continue
            problem = self.read_problem(rows[index])
            if problem is None:
                unscorable += 1
                continue
            answer = self.find_answer(text, problem)
            score = self.check(answer, problem) if answer else 0.0
            if isinstance(score, SlowCheck):
                slow.append((index, score))
                score = 0.0
            scores[index] = score
        # Stage 2: the slow checks, cheapest first, until the time is up; cached results cost none.
        deadline = time.monotonic() + self.budget_s
        for index, check in sorted(slow, key=lambda pair: pair[1].cost):
            if time.monotonic() > deadline and not check.known():
                unverified += 1
            else:
                scores[index] = check.run()
        if log_metric is not None and any(own):
            log_metric(f"{self.name}/unscorable", float(unscorable))
            log_metric(f"{self.name}/unverified", float(unverified))
        return scores

    def own_rows(self, verifier: Sequence[str | None] | None, count: int) -> list[bool]:
        """For each row of a mixed batch, whether this reward grades it: all of them when there is no `verifier` column."""
        column = read_column({"verifier": verifier}, count, reward=self.name, needed=False)
        return [value is None or value == self.verifier for value in column]

    def _read_rows(self, columns: dict, count: int, *, needed: bool) -> list[dict]:
        named = {
            name: {key: columns.get(key) for key in (name, *self.columns[name])} for name in self.columns
        }
        values = [read_column(named[name], count, reward=self.name, needed=needed) for name in named]
        for name in self.optional:
            values.append(read_column({name: columns.get(name)}, count, reward=self.name, needed=False))
        # Columns turn into rows.
        names = (*named, *self.optional)
        return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]

    def answer_text(self, text: str) -> tuple[str, bool]:
        """Where a completion answers ("" if nowhere), and whether that is an `<answer>` body.

        With `require_tags` the single `<answer>` after `</think>`, so that what is only thought is never graded.
        """
        if not self.require_tags:
            return final_text(text)
        return (parse_completion(text).answer or "" if THINK_CLOSE in text else ""), True

    def vote(self, text: str, row: dict) -> str | None:
        """The vote of a completion on the problem `row`, see `vote_key`; None when it gives no answer."""
        problem = self.read_problem(self._one_row(row))
        answer = None if problem is None else self.find_answer(text, problem)
        return (self.vote_key(answer) or None) if answer else None

    def _one_row(self, row: dict) -> dict:
        """The columns of one problem, by name: an alias stands in for an absent or empty column."""
        named = {
            name: next((row[k] for k in (name, *self.columns[name]) if row.get(k)), None)
            for name in self.columns
        }
        return named | {name: row.get(name) for name in self.optional}


def completion_text(completion: str | Sequence[dict] | None) -> str:
    """Text of one completion: a string, or chat messages (only what the assistant wrote).

    A tokenizer with a response schema returns reasoning in `reasoning_content` or `thinking`, apart from `content`;
    it is put back between think tags. Anything that is not text reads as "". Never raises.
    """
    if isinstance(completion, str):
        return completion[-LONGEST_TEXT:]
    if isinstance(completion, dict):
        completion = [completion]
    if not isinstance(completion, list | tuple):
        return ""
    texts = []
    for message in completion:
        if not isinstance(message, dict) or message.get("role", "assistant") != "assistant":
            continue
        # Two names of one field, by the chat template.
        reasoning = message.get("reasoning_content") or message.get("thinking")
        text = _content_text(message.get("content"))
        if reasoning and isinstance(reasoning, str):
            text = f"{THINK_OPEN}{reasoning}{THINK_CLOSE}\n{text}"
        texts.append(text)
    return "\n".join(texts)[-LONGEST_TEXT:]


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
    `needed` gives a list of None. Raises ValueError naming the column, since a wrong data set is the caller's to fix.
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


_TAG = re.compile(r"</?(?:think|answer)>")


def final_text(text: str) -> tuple[str, bool]:
    """Where a completion answers that need not keep to the format, and whether that is an `<answer>` body.

    The single `<answer>` body if there is one, else the text after the last `</think>` (or all of it), tags dropped.
    """
    answer = parse_completion(text).answer
    if answer is not None:
        return answer, True
    return _TAG.sub(" ", text.rpartition(THINK_CLOSE)[2]).strip(), False
