"""Intervals for shares and means, paired comparisons, pass@k and maj@k: numbers in, numbers out.

This module is `r1lab.statistics`; Python's own `statistics` is another one.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

# The normal distribution's quantile at 0.975, and the two quantiles that hold 95 % between them.
Z = 1.9599639845400536
TAILS = (0.025, 0.975)


def wilson_interval(successes: float, n: int) -> tuple[float, float]:
    """(low, high): the 95% score interval of a proportion from `n` independent trials (Wilson, 1927).

    Unlike value +- 1.96 standard errors, it stays inside [0, 1] and has a width at 0 and at n successes.
    Raises ValueError unless 0 <= successes <= n and n > 0.
    """
    if not 0 <= successes <= n or n <= 0:
        raise ValueError(
            f"{successes} successes in {n} trials is no proportion: pass 0 <= successes <= n, n > 0"
        )
    share = successes / n
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    # The exact bounds at the ends are 0 and 1; rounding must not move them past the value itself.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def bootstrap_interval(
    sums: Sequence[float], counts: Sequence[float], *, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """(low, high): the 95% cluster bootstrap of a mean over completions, resampling whole problems (Efron, 1979).

    sums: one number per problem, the total over its completions; counts: how many completions each problem has.
    Percentiles of the resampled ratio total/number; with fewer than about 30 problems they are somewhat too narrow.
    Raises ValueError on an empty input, a length mismatch or a count that is not positive.
    """
    sums, counts = np.asarray(sums, dtype=float), np.asarray(counts, dtype=float)
    if sums.size == 0 or sums.shape != counts.shape or counts.min() <= 0:
        raise ValueError(
            "bootstrap_interval needs one sum and one positive count for each of one or more problems"
        )
    low, high = np.quantile(resampled_means(sums, counts, resamples, seed), TAILS)
    return float(low), float(high)


def resampled_means(sums: np.ndarray, counts: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The mean of each of `resamples` samples of the problems with replacement: [resamples].

    The same seed takes the same problems, so that two policies can be resampled in pairs.
    """
    n = len(sums)
    indices = np.random.default_rng(seed).integers(0, n, size=(resamples, n), dtype=np.int32)
    return sums[indices].sum(axis=1) / counts[indices].sum(axis=1)


def paired_bootstrap(
    before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray], resamples: int = 1000
) -> dict[str, float]:
    """{"low", "high", "p"} of the mean after - the mean before, resampling the problems in pairs.

    before, after: the sums and counts of the same problems, as for `bootstrap_interval`. p is twice the share of
    resamples on the far side of zero, never under 2/resamples.
    """
    gaps = resampled_means(*after, resamples, seed=0) - resampled_means(*before, resamples, seed=0)
    low, high = np.quantile(gaps, TAILS)
    far = min(np.sum(gaps <= 0), np.sum(gaps >= 0))
    return {"low": float(low), "high": float(high), "p": float(min(1.0, 2 * (far + 1) / (resamples + 1)))}


def mcnemar_p(improved: int, worsened: int) -> float:
    """Exact two-sided p-value of the hypothesis that right-to-wrong and wrong-to-right are equally likely (McNemar, 1947).

    Only problems whose verdict changed count. Under the hypothesis each of them is a fair coin.
    """
    n = improved + worsened
    tail = sum(math.comb(n, i) for i in range(min(improved, worsened) + 1))
    return min(1.0, 2 * tail / 2**n)


def paired_interval(both: int, improved: int, worsened: int, neither: int) -> tuple[float, float]:
    """(low, high): the 95% interval of after - before for verdicts on the same problems (Newcombe, 1998, method 10).

    The four numbers count problems right both times, only after, only before, and never. Built from the two Wilson
    intervals, so it has a width even when no verdict changed.
    """
    n = both + improved + worsened + neither
    after, before = (both + improved) / n, (both + worsened) / n
    after_low, after_high = wilson_interval(both + improved, n)
    before_low, before_high = wilson_interval(both + worsened, n)
    margins = (both + improved) * (worsened + neither) * (both + worsened) * (improved + neither)
    cross = both * neither - improved * worsened
    # The continuity correction is what makes it method 10.
    if cross > 0:
        cross = max(cross - n / 2, 0)
    correlation = cross / math.sqrt(margins) if margins else 0.0

    # Verdicts on the same problems go together, so the two margins of error add up to less than independent ones.
    def combine(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * correlation * a * b + b * b))

    difference = after - before
    low = difference - combine(after - after_low, before_high - before)
    high = difference + combine(after_high - after, before - before_low)
    return max(-1.0, low), min(1.0, high)


def paired_verdicts(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """{"improved", "worsened", "p", "low", "high"} of two arrays of verdicts, 0 or 1, on the same problems."""
    both, improved, worsened, neither = (
        int(np.sum((before == was) & (after == now))) for was, now in ((1, 1), (0, 1), (1, 0), (0, 0))
    )
    low, high = paired_interval(both, improved, worsened, neither)
    return {
        "improved": improved,
        "worsened": worsened,
        "p": mcnemar_p(improved, worsened),
        "low": low,
        "high": high,
    }


def pass_at_k(n: int, c: int, k: int) -> float:
    """Probability that at least one of `k` completions is right, when `c` of `n` sampled ones were (Chen et al., 2021).

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
        block = list(zip(answers[start : start + k], verdicts[start : start + k], strict=True))
        votes = Counter(answer for answer, _ in block if answer is not None)
        right = {answer for answer, verdict in block if verdict}
        # Of equal counts, `most_common` takes the answer that came first.
        wins.append(bool(votes) and votes.most_common(1)[0][0] in right)
    return sum(wins) / len(wins)
