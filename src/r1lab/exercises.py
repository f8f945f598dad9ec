"""Checks for the exercises: compares a learner's function with a reference and describes the difference in a sentence."""

import math
from collections.abc import Callable, Iterable

# Characters of a value in a sentence.
LONGEST_VALUE = 60


def check(function: Callable, reference: Callable, cases: Iterable[tuple], hint: str = "") -> str:
    """One or two sentences about `function`, compared with `reference` on `cases` (tuples of arguments).

    They name the first wrong case or exception, and `hint` follows. A function that returns None everywhere is "not written
    yet". Numbers must agree to nine digits, in lists, tuples, dicts and tensors too. Raises no error of `function`.
    """
    cases, wrong, written = list(cases), [], False
    for case in cases:
        expected = reference(*case)
        try:
            got = function(*case)
        # A learner's mistake is the subject here, whatever it raises.
        except Exception as error:
            wrong.append((case, f"it raised {type(error).__name__}: {error}"))
            written = True
            continue
        written = written or got is not None
        if not same(got, expected):
            wrong.append((case, f"it gives {show(got)}; expected {show(expected)}"))
    name = function.__name__
    if not written:
        return f"{name}: not written yet."
    if not wrong:
        return f"{name}: {f'all {len(cases)} cases agree' if len(cases) > 1 else 'it is right'}. Well done."
    case, complaint = wrong[0]
    arguments = ", ".join(map(show, case))
    sentence = (
        f"{name}: {len(cases) - len(wrong)} of {len(cases)} cases agree. For {name}({arguments}) {complaint}."
    )
    return f"{sentence} Hint: {hint}" if hint else sentence


def same(got: object, expected: object) -> bool:
    """Whether two results agree: numbers to nine digits (True is not 1); sequences, dicts and tensors item by item."""
    got, expected = plain(got), plain(expected)
    if isinstance(got, bool) or isinstance(expected, bool):
        return got is expected
    if isinstance(got, int | float) and isinstance(expected, int | float):
        return math.isclose(got, expected, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(got, list | tuple) and isinstance(expected, list | tuple):
        return len(got) == len(expected) and all(map(same, got, expected))
    if isinstance(got, dict) and isinstance(expected, dict):
        return got.keys() == expected.keys() and all(same(got[key], expected[key]) for key in got)
    return got == expected


def show(value: object) -> str:
    """A value as Python writes it, floats rounded, cut to LONGEST_VALUE characters."""
    value = plain(value)
    text = repr(value)
    # Four digits, but never so few that a number seems to be a whole one.
    if isinstance(value, float):
        text = f"{value:.4g}" if abs(value) < 1000 else f"{value:.2f}"
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."


def plain(value: object) -> object:
    """A tensor or an array as nested lists of numbers, anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value
