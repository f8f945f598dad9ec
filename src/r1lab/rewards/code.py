"""Reward for code: the share of hidden tests that the written function or program passes."""

import ast
import json
import re
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from r1lab.rewards.base import AnswerReward, SlowCheck
from r1lab.rewards.verify.sandbox import SANDBOX, Job, Result, call_job, check_job, run_job


@dataclass(frozen=True)
class Tests:
    """Hidden tests of one problem: which job runs a candidate in the sandbox, and what its results should be."""

    job: Callable[..., Job]  # `call_job`, `run_job` or `check_job`
    inputs: tuple  # what the job needs beside the code
    expected: tuple
    function: str = ""  # "" for a program

    def passed(self, results: list[Result] | None) -> list[bool]:
        """Which of the tests the sandbox's results pass: all failed if there are none."""
        same = same_output if self.job is run_job else same_value
        if results is None:
            return [False] * len(self.expected)
        return [ok and same(got, value) for (ok, got), value in zip(results, self.expected, strict=True)]


def read_tests(tests: object) -> Tests | None:
    """Tests from their JSON (or the same as a dict), or None for a problem without tests.

    {"function": name, "cases": [[arguments, expected], ...]} calls a function, {"stdin": [[input, output], ...]} runs a
    program, and {"function": name, "check": "assert candidate(3) == 13"} is test code: one test, as in HumanEval.
    Raises ValueError when there is something but it cannot be read, since that is a fault of the data set.
    """
    if tests is None or tests == "":
        return None
    try:
        tests = json.loads(tests) if isinstance(tests, str) else tests
        if "stdin" in tests:
            inputs = [str(given) for given, _ in tests["stdin"]]
            outputs = tuple(str(output) for _, output in tests["stdin"])
            return Tests(run_job, (inputs,), outputs) if inputs else None
        function = str(tests["function"])
        if "check" in tests:
            return Tests(check_job, (function, str(tests["check"])), (True,), function)
        arguments = [list(arguments) for arguments, _ in tests["cases"]]
        values = tuple(value for _, value in tests["cases"])
        return Tests(call_job, (function, arguments), values, function) if arguments else None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"a value of column 'tests' does not read ({error!r}): "
            'write JSON like {"function": "f", "cases": [[[3], 13]]} or {"stdin": [["3\\n", "13\\n"]]}'
        ) from error


_read_once = lru_cache(maxsize=1000)(read_tests)  # all completions of a group have the same tests


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


_FENCE = re.compile(r"```[A-Za-z]*[ \t]*\n(.*?)```", re.DOTALL)


def find_code(text: str, function: str, *, tagged: bool) -> str:
    """The code of an answer: its last fenced block that defines `function`, or all of it; "" if there is none.

    tagged: the text is the body of `<answer>`. If it is not, the code starts at the last `def` of `function`, or at the
    imports and helpers directly above it, and the full stop at its end is dropped. function: "" for a program.
    """
    definition = re.compile(rf"\bdef\s+{re.escape(function)}\s*\(")
    if blocks := _FENCE.findall(text):
        defining = [block for block in blocks if function and definition.search(block)]
        return (defining or blocks)[-1].strip()
    if tagged or not function:
        return text.strip()
    matches = list(definition.finditer(text))
    return _with_helpers(text.rstrip(". \t\n"), matches[-1].start()) if matches else ""


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
    return whole.strip() if _parses(whole) else code[start:]


def _parses(code: str) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):
            ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


class CodeReward(AnswerReward):
    """passed / total of a problem's hidden tests (with `binary`: 1.0 only if all pass); None without tests.

    tests: JSON str, see `read_tests`. Candidates run in the sandbox, never here. Options as `AnswerReward`. Raises
    ValueError on tests that cannot be read.
    """

    name = verifier = "code"
    columns = {"tests": ()}  # noqa: RUF012

    def __init__(self, *, binary: bool = False, **options) -> None:
        super().__init__(**options)
        self.binary = binary

    def read_problem(self, row: dict) -> Tests | None:
        tests = row["tests"]
        return _read_once(tests) if isinstance(tests, str) else read_tests(tests)

    def find_answer(self, text: str, problem: Tests) -> str:
        code, tagged = self.answer_text(text)
        return find_code(code, problem.function, tagged=tagged)

    def check(self, answer: str, problem: Tests) -> SlowCheck:
        job = problem.job(answer, *problem.inputs)

        def run() -> float:
            passed = problem.passed(SANDBOX.results(job, len(problem.expected)))
            return float(all(passed)) if self.binary else sum(passed) / len(passed)

        return SlowCheck(cost=0, known=lambda: SANDBOX.knows(job), run=run)

    def vote(self, text: str, row: dict) -> str | None:
        """The code of a completion without spaces. Votes are compared as text, because running them would take hidden tests."""
        code, tagged = self.answer_text(text)
        problem: Any = read_tests(row.get("tests"))
        code = find_code(code, problem.function if problem else "", tagged=tagged) or code
        return self.vote_key(code) or None
