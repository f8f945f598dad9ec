"""Reward for code: the share of hidden tests that the written function or program passes."""

import ast
import json
import math
import re
import textwrap
import time
import warnings
from dataclasses import dataclass
from typing import ClassVar

from r1lab.rewards.base import AnswerReward, completion_texts, final_text, read_column, tagged_answer
from r1lab.rewards.sandbox import SANDBOX

_FENCE = re.compile(r"```[A-Za-z]*[ \t]*\n(.*?)```", re.DOTALL)
BUDGET_S = 15.0  # seconds per call, before the last candidate it starts on


@dataclass(frozen=True)
class Tests:
    """Hidden tests of one problem: how to ask the sandbox about a candidate, and what its results should be."""

    kind: str  # "call", "run" or "check", see `Sandbox`
    function: str  # "" for a program
    question: tuple  # what the sandbox is asked beside the code
    expected: tuple

    def passed(self, results: list[tuple[bool, object]] | None) -> list[bool]:
        """Which of the tests the sandbox's results pass: all failed if there are none."""
        same = same_output if self.kind == "run" else same_value
        if results is None:
            return [False] * len(self.expected)
        return [ok and same(got, value) for (ok, got), value in zip(results, self.expected, strict=True)]


def read_tests(tests: object) -> Tests | None:
    """Tests from their JSON (or the same as a dict), or None for a problem without tests.

    {"function": name, "cases": [[arguments, expected], ...]} calls a function, {"stdin": [[input, output], ...]} runs a
    program, and {"function": name, "check": "assert candidate(3) == 13"} is test code: one test, as in HumanEval.
    Raises ValueError when there is something but it does not read, since that is a fault of the dataset.
    """
    if tests is None or tests == "":
        return None
    try:
        tests = json.loads(tests) if isinstance(tests, str) else tests
        if "stdin" in tests:
            inputs, outputs = (
                [str(given) for given, _ in tests["stdin"]],
                tuple(str(out) for _, out in tests["stdin"]),
            )
            return Tests("run", "", (inputs,), outputs) if inputs else None
        function = str(tests["function"])
        if "check" in tests:
            return Tests("check", function, (function, str(tests["check"])), (True,))
        cases = [(list(arguments), expected) for arguments, expected in tests["cases"]]
        arguments = [arguments for arguments, _ in cases]
        return Tests("call", function, (function, arguments), tuple(e for _, e in cases)) if cases else None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"a value of column 'tests' does not read ({error!r}): "
            'write JSON like {"function": "f", "cases": [[[3], 13]]} or {"stdin": [["3\\n", "13\\n"]]}'
        ) from error


def same_output(printed: object, expected: str) -> bool:
    """Equal lines, and equally many; spaces at the end of a line and empty lines at the end of the text do not count."""
    return isinstance(printed, str) and _lines(printed) == _lines(expected)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def same_value(got: object, expected: object) -> bool:
    """`==` on JSON values, except that True is not 1 (nor 1.0); 13.0 is 13, as in Python. NaN never gets here."""
    if isinstance(got, bool) or isinstance(expected, bool):
        return got is expected
    if isinstance(got, list) and isinstance(expected, list):
        return len(got) == len(expected) and all(map(same_value, got, expected))
    if isinstance(got, dict) and isinstance(expected, dict):
        return got.keys() == expected.keys() and all(same_value(got[key], expected[key]) for key in got)
    return got == expected


def find_code(text: str, function: str, *, require_tags: bool) -> str | None:
    """The code in the answer of a completion: its last fenced block that defines `function`, or the whole answer.

    With require_tags=False, an answer without tags is read too. Then the code starts at the last `def` of `function`, or at
    the imports and helpers directly above it, and the full stop at its end is dropped. function: "" for a program.
    """
    if require_tags:
        code, tagged = tagged_answer(text), True
    else:
        code, tagged = final_text(text)
    if code is None:
        return None
    definition = re.compile(rf"\bdef\s+{re.escape(function)}\s*\(")
    if blocks := _FENCE.findall(code):
        defining = [block for block in blocks if function and definition.search(block)]
        return (defining or blocks)[-1].strip()
    if tagged:
        return code.strip()
    if not function:
        return code
    matches = list(definition.finditer(code))
    return _with_helpers(code.rstrip(". \t\n"), matches[-1].start()) if matches else None


_CODE_LINE = re.compile(r"(?:import|from|def|class)\b|@|#|\w+ *=|[ \t)\]}]|$")
LONGEST_CODE = 20_000  # characters; longer code is not searched for helpers


def _with_helpers(code: str, start: int) -> str:
    """The code from `start` on, and the lines directly above it that are code, if together they parse."""
    above = code[:start].split("\n")
    first = len(above) - 1
    if above[first].strip() or len(code) > LONGEST_CODE:
        return code[start:]  # the `def` is in the middle of a line of text, so nothing above it is code
    while first and _CODE_LINE.match(above[first - 1]):
        first -= 1
    whole = textwrap.dedent("\n".join(above[first:]) + code[start:])
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(whole)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code[start:]
    return whole.strip()


class CodeReward(AnswerReward):
    """passed / total of a problem's hidden tests (with `binary`: 1.0 only if all pass); None without tests.

    Candidates run in the sandbox, never here. Rows of another `verifier` give None. A call starts no more candidates
    after `budget_s` seconds; those it does not get to score 0.0 and are counted in the metric "code/unverified".
    """

    name = verifier = "code"
    grading: ClassVar[dict] = {"budget_s": math.inf}  # an evaluation grades every answer

    def __init__(
        self, *, binary: bool = False, require_tags: bool = True, budget_s: float = BUDGET_S
    ) -> None:
        super().__init__()
        self.binary = binary
        self.require_tags = require_tags
        self.budget_s = budget_s

    def __call__(
        self, completions, *, tests=None, verifier=None, log_metric=None, **kwargs
    ) -> list[float | None]:
        """tests: list of JSON str, one per completion. Raises ValueError on a missing, short or unreadable column."""
        texts = completion_texts(completions)
        ours = self.own_rows(verifier, len(texts))
        column = read_column({"tests": tests}, len(texts), reward=self.name, needed=any(ours))
        deadline, unverified, scores = time.monotonic() + self.budget_s, 0, []
        parsed: dict[str, Tests | None] = {}
        for text, value, own in zip(texts, column, ours, strict=True):
            if not own:
                scores.append(None)
                continue
            key = value if isinstance(value, str) else repr(value)
            if key not in parsed:
                parsed[key] = read_tests(value)
            score = self._score(text, parsed[key], deadline)
            unverified += score is not None and math.isnan(score)
            scores.append(0.0 if score is not None and math.isnan(score) else score)
        if log_metric is not None and any(ours):
            log_metric("code/unverified", float(unverified))
        return scores

    def vote(self, text: str, row: dict) -> str | None:
        """The code of a completion without spaces. Votes are compared as text, because running them would take hidden tests."""
        tests = read_tests(row.get("tests"))
        code = find_code(text, tests.function if tests else "", require_tags=False)
        return "".join((code or final_text(text)[0]).split()).lower() or None

    def _score(self, text: str, tests: Tests | None, deadline: float) -> float | None:
        """Score of one row; NaN stands for "no time left"."""
        if tests is None:
            return None
        code = find_code(text, tests.function, require_tags=self.require_tags)
        if not code:
            return 0.0
        if time.monotonic() > deadline and not SANDBOX.knows(tests.kind, code, *tests.question):
            return math.nan
        passed = tests.passed(getattr(SANDBOX, tests.kind)(code, *tests.question))
        return float(all(passed)) if self.binary else sum(passed) / len(passed)
