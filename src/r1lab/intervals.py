"""How sure are we: intervals for shares and means, paired comparisons, pass@k and maj@k. Numbers in, numbers out."""

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist

import numpy as np


def wilson_interval(successes: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion from `n` independent draws (Wilson, 1927): (low, high).

    Unlike value +- 1.96 standard errors it stays inside [0, 1] and does not shrink to nothing at 0 or n successes.
    Raises ValueError unless 0 <= successes <= n and n > 0.
    """
    if not 0 <= successes <= n or n <= 0:
        raise ValueError(
            f"{successes} successes in {n} draws is no proportion: pass 0 <= successes <= n, n > 0"
        )
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # The exact bounds at the ends are 0 and 1; rounding must not move them past the value itself.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def bootstrap_interval(
    sums: Sequence[float],
    counts: Sequence[float] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Cluster bootstrap of a mean over completions, resampling whole problems (Efron, 1979): (low, high).

    sums: one number per problem, the total over its completions; counts: how many completions, 1 each by default.
    Percentiles of the resampled ratio total/number; with fewer than about 30 problems they are somewhat too narrow.
    Raises ValueError on an empty input, a length mismatch or a count that is not positive.
    """
    sums = np.asarray(sums, dtype=float)
    counts = np.ones_like(sums) if counts is None else np.asarray(counts, dtype=float)
    if sums.size == 0 or sums.shape != counts.shape or counts.min() <= 0:
        raise ValueError(
            "bootstrap_interval needs one sum and one positive count for each of one or more problems"
        )
    drawn = resample(len(sums), resamples, seed)
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), tails(level))
    return float(low), float(high)


def resample(n: int, resamples: int, seed: int) -> np.ndarray:
    """Indices of `resamples` draws of `n` problems with replacement, [resamples, n]."""
    return np.random.default_rng(seed).integers(0, n, size=(resamples, n), dtype=np.int32)


def tails(level: float) -> tuple[float, float]:
    """The two quantiles that leave out 1 - level in equal parts."""
    return (1 - level) / 2, (1 + level) / 2


def mcnemar_p(improved: int, worsened: int) -> float:
    """Exact two-sided p-value that right-to-wrong and wrong-to-right are equally likely (McNemar, 1947).

    Only problems whose verdict changed count; under the null each is a fair coin.
    """
    n = improved + worsened
    tail = sum(math.comb(n, i) for i in range(min(improved, worsened) + 1))
    return min(1.0, 2 * tail / 2**n)


def paired_interval(both: int, improved: int, worsened: int, neither: int) -> tuple[float, float]:
    """95 % interval of after - before for two verdicts on the same problems (Newcombe, 1998, method 10): (low, high).

    The four cells count problems right both times, only after, only before, and never. Built from the two Wilson
    intervals, so it has a width even when no verdict changed.
    """
    n = both + improved + worsened + neither
    after, before = (both + improved) / n, (both + worsened) / n
    after_low, after_high = wilson_interval(both + improved, n)
    before_low, before_high = wilson_interval(both + worsened, n)
    margins = (both + improved) * (worsened + neither) * (both + worsened) * (improved + neither)
    cross = both * neither - improved * worsened
    if cross > 0:  # the continuity correction that makes it method 10
        cross = max(cross - n / 2, 0)
    correlation = cross / math.sqrt(margins) if margins else 0.0

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * correlation * a * b + b * b))

    difference = after - before
    low = difference - reach(after - after_low, before_high - before)
    high = difference + reach(after_high - after, before - before_low)
    return max(-1.0, low), min(1.0, high)


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that at least one of `k` completions is right, when `c` of `n` sampled ones were (Chen et al., 2021).

    Unbiased: 1 - C(n-c, k) / C(n, k), written as a product because the binomials overflow.
    Raises ValueError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(
            f"pass@{k} of {c} right in {n} samples is undefined: it needs 0 <= c <= n and 1 <= k <= n"
        )
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def majority_at_k(answers: Sequence[Hashable], verdicts: Sequence[bool], k: int) -> float:
    """How often the most common answer of `k` completions is right (self-consistency, Wang et al., 2022), from 0 to 1.

    The samples are cut into blocks of `k`, in order, and the blocks are averaged; what is left over is not used.
    None abstains. A tie goes to the answer seen first, and a block without any answer is wrong.
    answers: equal where two completions give the same answer, as `rewards.count_votes` has it. An answer is right when
    one of the completions that give it was graded right.
    """
    if len(answers) != len(verdicts) or not 1 <= k <= len(answers):
        raise ValueError(f"maj@{k} needs at least {k} answers, each with a verdict; got {len(answers)}")
    wins = []
    for start in range(0, len(answers) - k + 1, k):
        # A dict keeps the order in which answers came, and max() takes the first of equal counts.
        votes: dict[Hashable, int] = {}
        verdict: dict[Hashable, bool] = {}
        for answer, right in zip(answers[start : start + k], verdicts[start : start + k], strict=True):
            if answer is not None:
                votes[answer] = votes.get(answer, 0) + 1
                verdict[answer] = verdict.get(answer, False) or right
        wins.append(bool(votes) and verdict[max(votes, key=votes.get)])
    return sum(wins) / len(wins)
