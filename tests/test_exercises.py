"""The exercise checker tells right from wrong from not yet written, and says which."""

import math

import pytest

from r1lab.exercises import check, same


def double(x):
    return 2 * x


def test_an_empty_exercise_is_not_a_wrong_one():
    def stub(x): ...

    assert check(stub, double, [(1,), (2,)]) == "stub: not written yet."


def test_a_right_one_passes_and_says_on_how_many_cases():
    assert "all 3 cases agree" in check(lambda x: x + x, double, [(1,), (0.1,), ("ab",)])


def test_the_first_wrong_case_is_named_with_both_values():
    def square(x):
        return x * x

    said = check(square, double, [(2,), (3,), (0,)])
    assert said == "square: 2 of 3 cases agree. For square(3) it gives 9; expected 6."


def test_a_number_that_was_not_rounded_is_seen_to_be_one():
    said = check(lambda n: n * 2954.16, lambda n: 2955, [(1,)])
    assert said.endswith("it gives 2954.16; expected 2955.")


def test_an_exception_is_a_sentence_not_a_crash():
    def broken(x):
        return x / 0

    assert "0 of 1 cases agree. For broken(1) it raised ZeroDivisionError" in check(broken, double, [(1,)])


def test_none_may_be_the_right_answer():
    def unscorable(gold):
        return None if gold == "" else 1.0

    assert "all 2 cases" in check(unscorable, unscorable, [("",), ("7",)])


@pytest.mark.parametrize(
    ("got", "expected", "agree"),
    [
        (0.1 + 0.2, 0.3, True),
        (1, 1.0, True),
        (True, 1, False),
        (1.0, True, False),
        ([1.0, None], [1, None], True),
        ([1.0], [1.0, 2.0], False),
        ((1, 2), [1, 2], True),
        ({"a": [0.5]}, {"a": (0.5,)}, True),
        ({"a": 1}, {"b": 1}, False),
        (None, 0.0, False),
        (math.inf, math.inf, True),
        (math.nan, 1.0, False),
        ("1", 1, False),
    ],
)
def test_same(got, expected, agree):
    assert same(got, expected) is agree
