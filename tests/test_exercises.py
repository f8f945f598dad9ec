"""The exercise checker tells right from wrong from not yet written, and says which."""

import math

import pytest

from r1lab.exercises import check, same


def double(x):
    return 2 * x


def stub(x): ...


def square(x):
    return x * x


def broken(x):
    return x / 0


@pytest.mark.parametrize(
    ("function", "cases", "sentence"),
    [
        (stub, [(1,), (2,)], "stub: not written yet."),
        (double, [(1,), (0.1,), ("ab",)], "double: all 3 cases agree. Well done."),
        (square, [(2,), (3,)], "square: 1 of 2 cases agree. For square(3) it gives 9; expected 6. Hint: +"),
        (broken, [(1,)], "For broken(1) it raised ZeroDivisionError: division by zero. Hint: +"),
        (lambda x: 2954.16, [(1477.5,)], "it gives 2954.16; expected 2955.00. Hint: +"),
    ],
)
def test_the_sentence(function, cases, sentence):
    assert check(function, double, cases, hint="+").endswith(sentence)


def test_none_may_be_the_right_answer():
    def unscorable(gold):
        return None if gold == "" else 1.0

    assert "all 2 cases" in check(unscorable, unscorable, [("",), ("7",)])


@pytest.mark.parametrize(
    ("got", "expected"),
    [(0.1 + 0.2, 0.3), (1, 1.0), ([1.0, None], [1, None]), ((1, 2), [1, 2]), ({"a": [0.5]}, {"a": (0.5,)})],
)
def test_same(got, expected):
    assert same(got, expected)


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (True, 1),
        (1.0, True),
        ([1.0], [1.0, 2.0]),
        ({"a": 1}, {"b": 1}),
        (None, 0.0),
        (math.nan, 1.0),
        ("1", 1),
    ],
)
def test_not_the_same(got, expected):
    assert not same(got, expected)
