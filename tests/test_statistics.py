"""Intervals and paired tests against brute force, published values and simulation."""

import itertools
import math

import numpy as np
import pytest

from r1lab.statistics import (
    bootstrap_interval,
    majority_at_k,
    mcnemar_p,
    paired_interval,
    pass_at_k,
    wilson_interval,
)


def test_wilson_known_values():
    assert wilson_interval(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-7)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775328), abs=1e-7)
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe (1998), table I


@pytest.mark.parametrize("n", [1, 2, 7, 40, 1000])
def test_wilson_bounds_solve_the_score_equation(n):
    for successes in {0, 1, n // 2, n}:
        share = successes / n
        low, high = wilson_interval(successes, n)
        assert 0 <= low <= share <= high <= 1
        for bound in {low, high} - {0.0, 1.0}:
            errors = abs(share - bound) / math.sqrt(bound * (1 - bound) / n)
            assert errors == pytest.approx(1.959964, rel=1e-5)


def test_pass_at_k_is_the_share_of_subsets_with_a_right_one():
    for n in range(1, 8):
        for c, k in itertools.product(range(n + 1), range(1, n + 1)):
            subsets = list(itertools.combinations([True] * c + [False] * (n - c), k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


def test_pass_at_k_is_stable_where_binomials_overflow():
    exact = 1 - math.comb(4990, 2000) / math.comb(5000, 2000)  # Python's integers do not overflow
    assert pass_at_k(5000, 10, 2000) == pytest.approx(exact, rel=1e-12)
    assert pass_at_k(5000, 1, 1) == pytest.approx(1 / 5000, rel=1e-9)
    assert pass_at_k(5000, 0, 64) == 0.0


@pytest.mark.parametrize(
    ("answers", "verdicts", "k", "share"),
    [
        (["7", "14", "14"], [False, True, True], 3, 1.0),
        (["7", "14", "14", "7"], [False, True, True, False], 4, 0.0),  # a tie goes to the first
        ([None, None, "14"], [False, False, True], 3, 1.0),  # None abstains
        ([None, None], [False, False], 2, 0.0),
        (["1", "1", "2", "2", "2"], [True, True, False, False, False], 2, 0.5),  # the fifth is not used
        ([0, 0, 2], [False, True, False], 3, 1.0),  # one spelling of the right answer was graded wrong
        (list("abcde"), [True, False, False, True, True], 1, 0.6),  # k=1: the mean verdict
    ],
)
def test_majority(answers, verdicts, k, share):
    assert majority_at_k(answers, verdicts, k) == share


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        *((wilson_interval, values, "no proportion") for values in [(1, 0), (-1, 5), (6, 5)]),
        *((pass_at_k, values, "undefined") for values in [(4, 5, 1), (4, 1, 5), (4, 1, 0), (4, -1, 1)]),
        *(
            (bootstrap_interval, pair, "positive count")
            for pair in [([], []), ([1], [1, 2]), ([1, 2], [1, 0])]
        ),
        (majority_at_k, (["1"], [True], 3), "maj@3 needs at least 3"),
        (majority_at_k, (["1", "2"], [True], 1), "each with a verdict"),
    ],
)
def test_the_undefined_is_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


def test_bootstrap_is_the_loop_it_replaces():
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 9, 40)
    sums = rng.binomial(counts, 0.4)
    indices = np.random.default_rng(5).integers(0, 40, size=(200, 40), dtype=np.int32)
    ratios = [sum(sums[i] for i in row) / sum(counts[i] for i in row) for row in indices]
    expected = np.quantile(ratios, [0.025, 0.975])
    assert bootstrap_interval(sums, counts, resamples=200, seed=5) == pytest.approx(tuple(expected))


def test_bootstrap_covers_the_truth_where_counting_completions_does_not():
    """Problems differ in difficulty: the interval must hold the population mean about 95 times in 100."""
    rng, problems, samples, trials = np.random.default_rng(0), 80, 8, 300
    clustered = naive = 0
    for trial in range(trials):
        correct = rng.binomial(samples, rng.beta(0.5, 0.5, problems))  # the mean of this population is 0.5
        low, high = bootstrap_interval(correct, [samples] * problems, resamples=300, seed=trial)
        clustered += low <= 0.5 <= high
        low, high = wilson_interval(int(correct.sum()), problems * samples)
        naive += low <= 0.5 <= high
    assert 0.91 <= clustered / trials <= 0.98
    assert naive / trials < 0.75


def test_mcnemar_is_the_share_of_coin_flips_as_lopsided():
    for n in range(1, 9):
        flips = [sum(outcome) for outcome in itertools.product((0, 1), repeat=n)]
        for improved in range(n + 1):
            lopsided = abs(improved - n / 2)
            share = sum(abs(heads - n / 2) >= lopsided for heads in flips) / 2**n
            assert mcnemar_p(improved, n - improved) == pytest.approx(share)
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(6, 16) == pytest.approx(0.05248, abs=1e-5)
    assert mcnemar_p(2000, 1000) < 1e-70  # far beyond what a float binomial could hold


def test_paired_interval_is_antisymmetric_and_never_empty():
    low, high = paired_interval(40, 12, 3, 25)
    assert paired_interval(40, 3, 12, 25) == pytest.approx((-high, -low))
    assert low < 9 / 80 < high
    low, high = paired_interval(50, 0, 0, 0)
    assert low < 0 < high
    assert paired_interval(0, 50, 0, 0)[1] == 1.0
    # Independent verdicts: Newcombe's score interval for two unpaired proportions (1998, method 10 of the other paper).
    half = wilson_interval(50, 100)[1] - 0.5
    expected = (-half * math.sqrt(2), half * math.sqrt(2))
    assert paired_interval(25, 25, 25, 25) == pytest.approx(expected)


def test_paired_interval_covers_the_truth():
    samples = np.random.default_rng(1).multinomial(120, [0.35, 0.30, 0.05, 0.30], size=1000)
    intervals = [paired_interval(*counts) for counts in samples.tolist()]
    assert 0.93 <= sum(low <= 0.25 <= high for low, high in intervals) / 1000 <= 0.98
