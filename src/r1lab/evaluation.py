"""How good is a policy, and how sure are we: accuracies with intervals, pass@k, maj@k and a paired before/after test.

The problem is the unit of chance. Eight completions of one problem are not eight independent facts, so everything
sampled is resampled by whole problems, and two policies are compared problem by problem.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from r1lab import rewards
from r1lab.intervals import (
    bootstrap_interval,
    majority_at_k,
    mcnemar_p,
    paired_interval,
    pass_at_k,
    resample,
    tails,
    wilson_interval,
)
from r1lab.languages import language_share
from r1lab.prompts import parse_completion, render_prompt

Report = dict[str, Any]  # plain data, ready for JSON
GROUPS = ("domain", "kind", "language", "level")
# One greedy completion per problem: metric -> the key of a report's row that says whether it happened.
GREEDY = {"greedy_accuracy": "greedy_correct", "greedy_format_rate": "greedy_well_formed"}
# Several sampled completions per problem: metric -> the keys of their sum and of their number.
SAMPLED = {
    "sampled_accuracy": ("samples_correct", "samples"),
    "rewarded_accuracy": ("samples_rewarded", "samples"),
    "format_rate": ("samples_well_formed", "samples"),
    "language_consistency": ("samples_language", "samples_with_language"),
    "mean_tokens": ("samples_tokens", "samples"),
    "truncated_rate": ("samples_truncated", "samples"),
    "self_check_rate": ("samples_self_checked", "samples"),
}
SELF_CHECK = re.compile(
    r"""
      \b(?:wait|hold\ on|hmm+|on\ second\ thought|tunggu|sebentar)(?:\ (?:dulu|a\ (?:second|moment)))?\s*[,.:;!…—-]
      (?:\ ?(?:check|cek)\ ?:)?
    | \b(?:let\ me|let\ us|let's|i\ (?:should|will|must)|i'll|to)\ (?:double[\ -]?|re-?)?(?:check|verify|examine)\b
    | \b(?:double[\ -]?|re-?)(?:check|verify|examine|calculate)(?:ed|ing)?\b
    | \b(?:check|verification|cek|verifikasi|pengecekan)\ ?:
    | \b(?:mari|coba|saya|kita)\ (?:saya\ |kita\ )?(?:cek|periksa|verifikasi)\b
    | \b(?:cek|periksa|memeriksa|hitung|menghitung|ulangi)(?:lah)?\ (?:lagi|ulang|kembali)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)

_SUM = r"(\d{1,30}[-+*/]\d{1,30}=-?\d{1,30})"  # Python reads no number of thousands of digits
CHECKED_SUM = re.compile(rf"{_SUM}\.\s+(?:Wait, check|Tunggu, cek):\s*{_SUM}")
FIRST_SUM = re.compile(rf"(?<![-\d]){_SUM}")  # of numbers without a sign: what `_holds` can do again


# ---------------------------------------------------------------------------------------------- one completion
def has_self_check(text: str) -> bool:
    """Whether a completion stops to check itself, in English or Indonesian ("Wait, check: ...", "Tunggu, cek: ...").

    A phrase is counted, not its use: a check may confirm, repair or spoil what it looks at.
    """
    return SELF_CHECK.search(text) is not None


def check_outcomes(text: str) -> dict[str, int]:
    """What the arithmetic self-checks of a completion did: {"repaired", "confirmed", "spoiled", "missed"}.

    Reads a stated sum followed by a check, as in "19-5=13. Wait, check: 19-5=14." (repaired: wrong, then right).
    A check that comes out wrong spoiled a right sum or missed a wrong one. Checks of anything else are not counted.
    """
    counts = {"repaired": 0, "confirmed": 0, "spoiled": 0, "missed": 0}
    names = {
        (False, True): "repaired",
        (True, True): "confirmed",
        (True, False): "spoiled",
        (False, False): "missed",
    }
    for first, second in CHECKED_SUM.findall(text):
        counts[names[_holds(first), _holds(second)]] += 1
    return counts


def count_checks(texts: Iterable[str]) -> dict[str, int]:
    """The self-checks of many completions, and how much there was to repair.

    "completions" and those "with_check"; the stated "sums" and the wrong ones among them, "slips" (as first said,
    before any check); and what the arithmetic checks did, see `check_outcomes`.
    """
    counts = Counter(completions=0, with_check=0, sums=0, slips=0)
    for text in texts:
        first = FIRST_SUM.findall(CHECKED_SUM.sub(r"\1", text))
        counts.update(completions=1, with_check=has_self_check(text), sums=len(first))
        counts.update(slips=sum(not _holds(equation) for equation in first), **check_outcomes(text))
    return dict(counts)


def _holds(equation: str) -> bool:
    left, sign, right, said = re.fullmatch(r"(\d+)([-+*/])(\d+)=(-?\d+)", equation).groups()
    left, right, said = int(left), int(right), int(said)
    if sign == "/":
        return right != 0 and left == right * said
    return said == {"+": left + right, "-": left - right, "*": left * right}[sign]


# ------------------------------------------------------------------------------------------------ a policy
def evaluate(
    policy,
    problems: Iterable[dict],
    *,
    greedy: bool = True,
    samples: int = 8,
    ks: Sequence[int] = (1, 4, 16, 64),
    max_new_tokens: int | None = None,
    seed: int = 0,
    template: str = "bare",
    label: str = "",
) -> Report:
    """Ask a policy every problem, once greedily and `samples` times at temperature 1, and grade what it says.

    policy: anything with `generate(prompts, samples=, temperature=, seed=, max_new_tokens=)` that returns, for each
    prompt, a list of objects with `text`, `tokens` (int) and `truncated` (bool). Accuracy does not depend on the
    format (a base model is not failed for its manners); `rewarded_accuracy` is what an R1-Zero reward would see.

    Returns a report: `overall` and `by[group][name]` hold metrics {"value", "low", "high", "n"} with 95 % intervals,
    n the number of problems behind them; `rows` holds one row per problem, so that `compare` can pair two reports.
    Shares go from 0 to 1, `mean_tokens` is in tokens. Greedy metrics carry Wilson intervals, sampled ones a cluster
    bootstrap. `language_consistency` leaves out completions without a function word and counts them in "left_out".
    Raises ValueError when there is nothing to do, or when two problems share an id.
    """
    problems = list(problems)
    if not problems or not (greedy or samples):
        raise ValueError("nothing to evaluate: pass at least one problem, and greedy=True or samples > 0")
    if len({problem["id"] for problem in problems}) != len(problems):
        raise ValueError("two problems share an id, so their rows could not be paired: make the ids unique")
    prompts = [
        render_prompt(problem["prompt"], template=template, language=problem["language"])
        for problem in problems
    ]
    limit = {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
    ks = [k for k in ks if k <= samples]
    rows = [
        {"id": problem["id"]} | {group: problem.get(group, "") for group in GROUPS} for problem in problems
    ]
    if greedy:
        drawn = policy.generate(prompts, samples=1, temperature=0.0, seed=seed, **limit)
        _record_greedy(rows, problems, [completions[0] for completions in drawn])
    if samples:
        drawn = policy.generate(prompts, samples=samples, temperature=1.0, seed=seed, **limit)
        _record_samples(rows, problems, drawn, ks)
    metrics = [*(GREEDY if greedy else ()), *(SAMPLED if samples else ())]
    metrics += [f"pass@{k}" for k in ks] + [f"maj@{k}" for k in ks if k > 1]
    by = {}
    for group in GROUPS:
        names = dict.fromkeys(row[group] for row in rows if row[group])
        by[group] = {name: _summarise([row for row in rows if row[group] == name], metrics) for name in names}
    settings = {"label": label, "template": template, "seed": seed, "samples": samples, "ks": ks}
    settings |= {"max_new_tokens": max_new_tokens, "problems": len(rows)}
    return settings | {"overall": _summarise(rows, metrics), "by": by, "rows": rows}


def evaluate_general(
    policy,
    rows: Iterable[dict],
    *,
    samples: int = 0,
    max_new_tokens: int | None = None,
    seed: int = 0,
    template: str = "bare",
    label: str = "",
) -> Report:
    """Ask a policy prompts that need no reasoning and check its replies (`rewards.general.answers_well`).

    rows: from `problems.load_general`. samples=0 decodes greedily, else that many samples a prompt at temperature 1.
    Returns {"label", "overall", "by": {"kind": ..., "language": ...}, "rows"}: shares answered well with 95 %
    intervals (Wilson for greedy, over prompts for sampled), each row with its reply and whether it was good.
    """
    from r1lab.rewards.general import answers_well

    rows = list(rows)
    drawn = policy.generate(
        [render_prompt(row["prompt"], template=template, language=row["language"]) for row in rows],
        samples=max(samples, 1),
        temperature=1.0 if samples else 0.0,
        seed=seed,
        **({} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}),
    )
    judged = []
    for row, completions in zip(rows, drawn, strict=True):
        good = [answers_well(completion.text, row) for completion in completions]
        kept = {key: row[key] for key in ("id", "kind", "language", "prompt")}
        judged.append({**kept, "good": sum(good), "samples": len(good), "reply": completions[0].text})

    def share(some: list[dict]) -> dict:
        good, asked = (np.array([row[key] for row in some], dtype=float) for key in ("good", "samples"))
        value = float(good.sum() / asked.sum())
        if samples > 1 and np.ptp(good / asked):
            low, high = bootstrap_interval(good, asked)
        else:
            low, high = wilson_interval(value * len(some), len(some))
        return {"value": round(value, 6), "low": round(low, 6), "high": round(high, 6), "n": len(some)}

    by = {
        key: {
            name: share([row for row in judged if row[key] == name])
            for name in dict.fromkeys(row[key] for row in rows)
        }
        for key in ("kind", "language")
    }
    return {"label": label, "overall": share(judged), "by": by, "rows": judged}


def _record_greedy(rows: list[dict], problems: list[dict], completions: list) -> None:
    right = rewards.grade_many([completion.text for completion in completions], problems)
    for row, completion, correct in zip(rows, completions, right, strict=True):
        row["greedy_correct"] = bool(correct)
        row["greedy_well_formed"] = parse_completion(completion.text).well_formed


def _record_samples(rows: list[dict], problems: list[dict], drawn: list[list], ks: list[int]) -> None:
    texts = [completion.text for completions in drawn for completion in completions]
    asked = [problem for problem, completions in zip(problems, drawn, strict=True) for _ in completions]
    right = iter(rewards.grade_many(texts, asked))
    rewarded = iter(rewards.grade_many(texts, asked, require_tags=True))
    for row, problem, completions in zip(rows, problems, drawn, strict=True):
        said = [completion.text for completion in completions]
        verdicts = [bool(next(right)) for _ in said]
        shares = [language_share(text, problem["language"]) for text in said]
        shares = [share for share in shares if share is not None]
        row |= {
            "samples": len(said),
            "samples_correct": sum(verdicts),
            "samples_rewarded": sum(bool(next(rewarded)) for _ in said),
            "samples_well_formed": sum(parse_completion(text).well_formed for text in said),
            "samples_self_checked": sum(map(has_self_check, said)),
            "samples_truncated": sum(bool(completion.truncated) for completion in completions),
            "samples_tokens": sum(int(completion.tokens) for completion in completions),
            "samples_language": round(sum(shares), 6),
            "samples_with_language": len(shares),
        }
        votes = rewards.count_votes(said, problem) if max(ks, default=1) > 1 else []
        row |= {f"maj@{k}": majority_at_k(votes, verdicts, k) for k in ks if k > 1}


def _columns(rows: list[dict], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Of each problem, the sum and the number of what a metric averages: two float arrays [problems]."""
    if metric not in GREEDY and metric not in SAMPLED and not re.fullmatch(r"(pass|maj)@\d+", metric):
        known = ", ".join([*GREEDY, *SAMPLED, "pass@k", "maj@k"])
        raise ValueError(f"no metric is called {metric!r}: choose one of {known}")
    try:
        if metric in GREEDY:
            pairs = [(row[GREEDY[metric]], 1) for row in rows]
        elif metric in SAMPLED:
            total, number = SAMPLED[metric]
            pairs = [(row[total], row[number]) for row in rows]
        elif metric.startswith("pass@"):
            k = int(metric.removeprefix("pass@"))
            pairs = [(pass_at_k(row["samples"], row["samples_correct"], k), 1) for row in rows]
        else:
            pairs = [(row[metric], 1) for row in rows]
    except KeyError as missing:
        raise ValueError(
            f"the report has no {metric}: its rows lack {missing}; evaluate it again with it"
        ) from missing
    sums, counts = np.array(pairs, dtype=float).T
    return sums, counts


def _summarise(rows: list[dict], metrics: list[str]) -> dict[str, dict]:
    return {metric: _estimate(rows, metric) for metric in metrics}


def _estimate(rows: list[dict], metric: str) -> dict:
    sums, counts = _columns(rows, metric)
    kept = counts > 0  # a problem none of whose completions gave evidence says nothing about the metric
    sums, counts = sums[kept], counts[kept]
    n = len(sums)
    value = float(sums.sum() / counts.sum()) if n else None
    low, high = None, None
    if n and (metric in GREEDY or (np.ptp(sums / counts) == 0 and metric != "mean_tokens")):
        # When all problems agree, resampling them shows no spread at all, so each problem counts as one draw.
        low, high = wilson_interval(value * n, n)
    elif n:
        low, high = bootstrap_interval(sums, counts)
    estimate = {
        key: None if x is None else round(x, 6)
        for key, x in {"value": value, "low": low, "high": high}.items()
    }
    if metric == "language_consistency":
        return estimate | {"n": n, "left_out": int(sum(row["samples"] for row in rows) - counts.sum())}
    return estimate | {"n": n}


def pool(reports: Sequence[Report], label: str = "") -> Report:
    """One report of several seeds on the same problems: each problem's samples are put together, its greedy verdicts averaged.

    Every seed has the same weight, however often it was sampled: a seed's sums are scaled to those of the seed with
    most samples, so that a mean is the mean over the seeds. The intervals still treat the problem as the unit of
    chance, so they do not say how far another seed would land: print the seeds beside them. pass@k and maj@k are left
    out. Raises ValueError when the problems differ.
    """
    columns = [{row["id"]: row for row in report["rows"]} for report in reports]
    if any(column.keys() != columns[0].keys() for column in columns):
        raise ValueError("the reports are about different problems: pool reports of the same split")
    summed = dict.fromkeys(key for pair in SAMPLED.values() for key in pair if key in reports[0]["rows"][0])
    drawn = [column[next(iter(columns[0]))].get("samples", 0) for column in columns]
    weights = [max(drawn) / number if number else 1.0 for number in drawn]
    rows = [
        {key: same[0][key] for key in ("id", *GROUPS)}
        | {key: sum(row[key] for row in same) / len(same) for key in GREEDY.values() if key in same[0]}
        | {key: sum(w * row[key] for w, row in zip(weights, same, strict=True)) for key in summed}
        for same in ([column[name] for column in columns] for name in columns[0])
    ]
    metrics = [metric for metric in (*GREEDY, *SAMPLED) if metric in reports[0]["overall"]]
    by = {
        group: {
            name: _summarise([row for row in rows if row[group] == name], metrics)
            for name in reports[0]["by"][group]
        }
        for group in GROUPS
    }
    return {
        "label": label,
        "seeds": len(reports),
        "overall": _summarise(rows, metrics),
        "by": by,
        "rows": rows,
    }


# ------------------------------------------------------------------------------------------------- two policies
def compare(before: Report, after: Report, metric: str = "greedy_accuracy", *, resamples: int = 1000) -> dict:
    """after - before on the same problems: the difference, its 95 % interval and a p-value.

    Greedy metrics of one seed: Newcombe's paired interval and McNemar's exact test. Others, and pooled seeds (their
    greedy verdicts are fractions): problems resampled in pairs, and twice the share of resamples on the far side of
    zero (never under 1/resamples).
    Raises ValueError when the reports hold different problems or lack the metric.
    """
    rows = {row["id"]: row for row in after["rows"]}
    if rows.keys() != {row["id"] for row in before["rows"]}:
        raise ValueError(
            "the two reports are about different problems: evaluate both policies on the same ones"
        )
    columns = [
        _columns(before["rows"], metric),
        _columns([rows[row["id"]] for row in before["rows"]], metric),
    ]
    kept = (columns[0][1] > 0) & (columns[1][1] > 0)  # a pair needs evidence on both sides
    if not kept.any():
        raise ValueError(f"no problem has {metric} in both reports: there is no pair to compare")
    (old, old_counts), (new, new_counts) = ((sums[kept], counts[kept]) for sums, counts in columns)
    values = {"before": float(old.sum() / old_counts.sum()), "after": float(new.sum() / new_counts.sum())}
    result = {"metric": metric, "n": len(old), **values, "difference": values["after"] - values["before"]}
    if metric in GREEDY and np.isin([old, new], (0, 1)).all():
        cells = [int(np.sum((old == was) & (new == now))) for was, now in ((1, 1), (0, 1), (1, 0), (0, 0))]
        low, high = paired_interval(*cells)
        _, improved, worsened, _ = cells
        result |= {"improved": improved, "worsened": worsened, "p": mcnemar_p(improved, worsened)}
        return result | {"low": low, "high": high, "test": "exact McNemar"}
    drawn = resample(len(old), resamples, seed=0)
    gaps = new[drawn].sum(axis=1) / new_counts[drawn].sum(axis=1) - old[drawn].sum(axis=1) / old_counts[
        drawn
    ].sum(axis=1)
    low, high = np.quantile(gaps, tails(0.95))
    far = min(np.sum(gaps <= 0), np.sum(gaps >= 0))
    p = min(1.0, 2 * (far + 1) / (resamples + 1))
    return result | {"p": float(p), "low": float(low), "high": float(high), "test": "paired bootstrap"}


# ------------------------------------------------------------------------------------------------- on paper
def save_report(report: Report, path: str | os.PathLike) -> None:
    """Write a report as JSON: into a temporary file first, so that an interrupted run leaves no half report."""
    path = Path(path)
    text = json.dumps(report, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(text + "\n", encoding="utf-8")
    os.replace(partial, path)


def load_report(path: str | os.PathLike) -> Report:
    """Read a report that `save_report` wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def format_estimate(estimate: dict | None, metric: str = "") -> str:
    """One cell: "31 % [27, 35]" with its 95 % interval; tokens as "47.3 [45.0, 49.9]"; "-" where nothing was measured."""
    if estimate is None or estimate["value"] is None:
        return "-"
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if metric == "mean_tokens":
        return f"{value:.1f} [{low:.1f}, {high:.1f}]"
    return f"{value:.0%} [{100 * low:.0f}, {100 * high:.0f}]".replace("%", " %")


def table(
    reports: dict[str, Report],
    rows: str | None = None,
    columns: Sequence[str] = (
        "greedy_accuracy",
        "sampled_accuracy",
        "format_rate",
        "language_consistency",
        "mean_tokens",
    ),
) -> str:
    """A Markdown table of reports, one line each; or one line per report and member of the group named by `rows`
    ("domain", "kind", "language" or "level"). columns: metrics. Intervals are 95 %. Raises ValueError on another group.
    """
    if rows is not None and rows not in GROUPS:
        raise ValueError(
            f"a table cannot have one row per {rows!r}: choose one of {', '.join(GROUPS)} or None"
        )
    head = ["policy", *([rows] if rows else []), *(column.replace("_", " ") for column in columns)]
    lines = [head, ["---"] * len(head)]
    for label, report in reports.items():
        for name, metrics in ({None: report["overall"]} if rows is None else report["by"][rows]).items():
            cells = [format_estimate(metrics.get(column), column) for column in columns]
            lines.append([label, *([name] if rows else []), *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
