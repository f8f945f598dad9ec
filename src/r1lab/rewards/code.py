"""Reward for code: the share of hidden tests that the written function or program passes."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from r1lab.rewards.base import AnswerReward, SlowCheck
from r1lab.rewards.finding import find_code
from r1lab.rewards.verify.sandbox import SANDBOX, Job, Result, call_job, check_job, run_job

# How far a decimal may be from the expected one, relative or absolute: rounding errors, and 6 printed digits.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Tests:
    """Hidden tests of one problem: which job runs a candidate in the sandbox, and what its results should be."""

    job: Callable[..., Job]  # `call_job`, `run_job` or `check_job`
    inputs: tuple  # what the job needs beside the code
    expected: tuple
    function: str = ""  # "" for a program
    tolerance: float = TOLERANCE

    def passed(self, results: list[Result] | None) -> list[bool]:
        """Which of the tests the sandbox's results pass: all failed if there are none."""
        same = same_output if self.job is run_job else same_value
        if results is None:
            return [False] * len(self.expected)
        return [
            ok and same(got, value, self.tolerance)
            for (ok, got), value in zip(results, self.expected, strict=True)
        ]


def read_tests(tests: object) -> Tests | None:
    """Tests from their JSON (or the same as a dict), or None for a problem without tests.

    {"function": name, "cases": [[arguments, expected], ...]} calls a function, {"stdin": [[input, output], ...]} runs a
    program, and {"function": name, "check": "assert candidate(3) == 13"} is test code: one test, as in HumanEval.
    "tolerance": how far decimals may be from the expected ones.
    Raises ValueError when there is something but it cannot be read, since that is a fault of the data set.
    """
    if tests is None or tests == "":
        return None
    try:
        tests = json.loads(tests) if isinstance(tests, str) else tests
        tolerance = float(tests.get("tolerance", TOLERANCE))
        if "stdin" in tests:
            inputs = [str(given) for given, _ in tests["stdin"]]
            outputs = tuple(str(output) for _, output in tests["stdin"])
            return Tests(run_job, (inputs,), outputs, tolerance=tolerance) if inputs else None
        function = str(tests["function"])
        if "check" in tests:
            return Tests(check_job, (function, str(tests["check"])), (True,), function)
        arguments = [list(arguments) for arguments, _ in tests["cases"]]
        values = tuple(value for _, value in tests["cases"])
        return Tests(call_job, (function, arguments), values, function, tolerance) if arguments else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"a value of column 'tests' does not read ({error!r}): "
            'write JSON like {"function": "f", "cases": [[[3], 13]]} or {"stdin": [["3\\n", "13\\n"]]}'
        ) from error


_read_once = lru_cache(maxsize=1000)(read_tests)  # all completions of a group have the same tests


def same_output(printed: object, expected: str, tolerance: float = TOLERANCE) -> bool:
    """Equal lines, and equally many; spaces at the end of a line and empty lines at the end of the text do not count.

    Where an expected word is a decimal, the printed one may differ from it by `tolerance`, relative or absolute.
    """
    if not isinstance(printed, str):
        return False
    ours, theirs = _lines(printed), _lines(expected)
    return ours == theirs or (
        len(ours) == len(theirs)
        and all(_same_line(*lines, tolerance) for lines in zip(ours, theirs, strict=True))
    )


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


# Only a decimal that is expected has a tolerance; whole numbers are exact.
_DECIMAL = re.compile(r"-?\d+\.\d+(?:[eE][+-]?\d+)?")


def _same_line(printed: str, expected: str, tolerance: float) -> bool:
    ours, theirs = printed.split(" "), expected.split(" ")
    return len(ours) == len(theirs) and all(
        word == other
        or (
            _DECIMAL.fullmatch(other)
            and _NUMBER.fullmatch(word)
            and _close(float(word), float(other), tolerance)
        )
        for word, other in zip(ours, theirs, strict=True)
    )


# What may stand for it, of a length that float() reads.
_NUMBER = re.compile(r"-?\d{1,300}(?:\.\d*)?(?:[eE][+-]?\d{1,3})?")


def _close(value: float, expected: float, tolerance: float) -> bool:
    # Absolute only where that is no more than a thousandth of the value: 2e-9 is not 1e-9.
    absolute = tolerance if abs(expected) >= 1e-3 else 1e-12
    return math.isclose(value, expected, rel_tol=tolerance, abs_tol=absolute)


def same_value(got: object, expected: object, tolerance: float = TOLERANCE) -> bool:
    """`==` on JSON values, except that True is not 1 (nor 1.0), and a float may differ from an expected one by `tolerance`."""
    if isinstance(got, bool) or isinstance(expected, bool):
        return got is expected
    if isinstance(got, list) and isinstance(expected, list):
        return len(got) == len(expected) and all(
            same_value(*pair, tolerance) for pair in zip(got, expected, strict=True)
        )
    if isinstance(got, dict) and isinstance(expected, dict):
        return got.keys() == expected.keys() and all(
            same_value(got[key], expected[key], tolerance) for key in got
        )
    # Integers beyond the floats cannot be close to one.
    if isinstance(expected, float) and isinstance(got, int | float):
        return (abs(got) < 1e300 and _close(got, expected, tolerance)) or got == expected
    return got == expected


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
