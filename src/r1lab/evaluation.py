"""Reports on a policy: accuracies with intervals, pass@k, maj@k, and a paired comparison of two policies.

Eight completions of one problem are not independent. So sampled metrics are resampled by whole problems, and two policies
are compared problem by problem.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from r1lab import statistics
from r1lab.files import write_json
from r1lab.languages import language_share
from r1lab.prompts import parse_completion
from r1lab.rewards import count_votes
from r1lab.rewards.general import answers_well
from r1lab.rollouts import Rollout, add_grades, sample_and_grade, sample_completions
from r1lab.self_checks import has_self_check

# Plain data, ready for JSON.
Report = dict[str, Any]
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
COLUMNS = ("greedy_accuracy", "sampled_accuracy", "format_rate", "language_consistency", "mean_tokens")


# ------------------------------------------------------------------------------------------------ one policy
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
    """Report on a policy's completions: one greedy completion per problem and `samples` at temperature 1, graded.

    policy: see `rollouts.sample_completions`. Accuracy does not depend on the format, so that a base model is graded by
    its answers; `rewarded_accuracy` is what an R1-Zero reward would see.

    Returns a report: `overall` and `by[group][name]` hold metrics {"value", "low", "high", "n"} with 95 % intervals,
    n the number of problems behind them; `rows` holds one row per problem, so that `compare` can pair two reports.
    Shares go from 0 to 1, `mean_tokens` is in tokens. Greedy metrics carry Wilson intervals, sampled ones a cluster
    bootstrap. `language_consistency` skips completions without a function word and counts them in "left_out".
    Raises ValueError when there is nothing to do, or when two problems share an id.
    """
    problems = list(problems)
    if not problems or not (greedy or samples):
        raise ValueError("nothing to evaluate: pass at least one problem, and greedy=True or samples > 0")
    if len({problem["id"] for problem in problems}) != len(problems):
        raise ValueError("two problems share an id, so their rows could not be paired: make the ids unique")
    ks = [k for k in ks if k <= samples]
    rows = [{key: problem.get(key, "") for key in ("id", *GROUPS)} for problem in problems]
    sampling = {"template": template, "seed": seed, "max_new_tokens": max_new_tokens}
    if greedy:
        groups = sample_and_grade(policy, problems, samples=1, temperature=0.0, **sampling)
        for row, (rollout,) in zip(rows, groups, strict=True):
            row["greedy_correct"] = rollout["correct"]
            row["greedy_well_formed"] = parse_completion(rollout["completion"]).well_formed
    if samples:
        groups = sample_and_grade(policy, problems, samples=samples, temperature=1.0, **sampling)
        add_grades(groups, key="rewarded", require_tags=True)
        for row, group in zip(rows, groups, strict=True):
            row |= _count_samples(group, ks)
    metrics = [*(GREEDY if greedy else ()), *(SAMPLED if samples else ())]
    metrics += [f"pass@{k}" for k in ks] + [f"maj@{k}" for k in ks if k > 1]
    settings = {"label": label, "template": template, "seed": seed, "samples": samples, "ks": ks}
    settings |= {"max_new_tokens": max_new_tokens, "problems": len(rows)}
    return settings | _summarize(rows, metrics)


def _count_samples(group: list[Rollout], ks: list[int]) -> dict[str, Any]:
    """The keys of a report's row about the sampled completions of one problem."""
    completions = [rollout["completion"] for rollout in group]
    correct = [rollout["correct"] for rollout in group]
    shares = [language_share(text, group[0]["language"]) for text in completions]
    shares = [share for share in shares if share is not None]
    votes = count_votes(completions, group[0]) if max(ks, default=1) > 1 else []
    return {
        "samples": len(group),
        "samples_correct": sum(correct),
        "samples_rewarded": sum(rollout["rewarded"] for rollout in group),
        "samples_well_formed": sum(parse_completion(text).well_formed for text in completions),
        "samples_self_checked": sum(map(has_self_check, completions)),
        "samples_truncated": sum(rollout["truncated"] for rollout in group),
        "samples_tokens": sum(rollout["tokens"] for rollout in group),
        "samples_language": round(sum(shares), 6),
        "samples_with_language": len(shares),
    } | {f"maj@{k}": statistics.majority_at_k(votes, correct, k) for k in ks if k > 1}


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
    """Report on the replies to prompts that need no reasoning, checked by `rewards.general.answers_well`.

    rows: from `problems.load_general`. samples=0 decodes greedily, else that many samples a prompt at temperature 1.
    Returns {"label", "overall", "by": {"kind": ..., "language": ...}, "rows"}: shares answered well with 95 %
    intervals (Wilson for greedy, over prompts for sampled), each row with its first reply and how many were good.
    """
    sampling = {"template": template, "seed": seed, "max_new_tokens": max_new_tokens}
    sampling |= {"samples": max(samples, 1), "temperature": 1.0 if samples else 0.0}
    graded = []
    for group in sample_completions(policy, rows, **sampling):
        row = {key: group[0][key] for key in ("id", "kind", "language", "prompt")}
        good = sum(answers_well(rollout["completion"], rollout) for rollout in group)
        graded.append(row | {"good": good, "samples": len(group), "reply": group[0]["completion"]})

    def share(some: list[dict]) -> dict:
        good, counts = np.array([(row["good"], row["samples"]) for row in some], dtype=float).T
        return _estimate(good, counts, independent=samples <= 1)

    by = _by_group(graded, share, ("kind", "language"))
    return {"label": label, "overall": share(graded), "by": by, "rows": graded}


# --------------------------------------------------------------------------------------------- rows to metrics
def _columns(rows: list[dict], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """(sums, counts) of the values that a metric averages, one pair for each problem: two float arrays [problems]."""
    name, _, k = metric.partition("@")
    try:
        if metric in GREEDY:
            pairs = [(row[GREEDY[metric]], 1) for row in rows]
        elif metric in SAMPLED:
            total, number = SAMPLED[metric]
            pairs = [(row[total], row[number]) for row in rows]
        elif name == "pass":
            pairs = [
                (statistics.pass_at_k(row["samples"], row["samples_correct"], int(k)), 1) for row in rows
            ]
        elif name == "maj":
            pairs = [(row[metric], 1) for row in rows]
        else:
            known = [*GREEDY, *SAMPLED, "pass@k", "maj@k"]
            raise ValueError(f"no metric is called {metric!r}: choose one of {', '.join(known)}")
    except KeyError as missing:
        raise ValueError(f"the report has no {metric}: its rows lack {missing}; evaluate again") from missing
    sums, counts = np.array(pairs, dtype=float).T
    return sums, counts


def _estimate(sums: np.ndarray, counts: np.ndarray, *, independent: bool, share: bool = True) -> dict:
    """{"value", "low", "high", "n"} of a mean. independent: one draw per problem; share: the mean is one, from 0 to 1."""
    # A problem none of whose completions gave evidence says nothing about the metric.
    kept = counts > 0
    sums, counts = sums[kept], counts[kept]
    n = len(sums)
    if not n:
        return {"value": None, "low": None, "high": None, "n": 0}
    value = float(sums.sum() / counts.sum())
    if independent or (share and np.ptp(sums / counts) == 0):
        # When all problems agree, resampling them shows no spread at all, so each problem counts as one draw.
        low, high = statistics.wilson_interval(value * n, n)
    else:
        low, high = statistics.bootstrap_interval(sums, counts)
    return {"value": round(value, 6), "low": round(low, 6), "high": round(high, 6), "n": n}


def _by_group(rows: list[dict], summary: Callable[[list[dict]], dict], groups: Sequence[str]) -> dict:
    """{group: {name: summary of the rows with that name}}, names in the order of the rows."""
    by = {}
    for group in groups:
        names = dict.fromkeys(row[group] for row in rows if row[group])
        by[group] = {name: summary([row for row in rows if row[group] == name]) for name in names}
    return by


def _summarize(rows: list[dict], metrics: list[str]) -> Report:
    """The part of a report that follows from its rows: {"overall", "by", "rows"}."""

    def estimates(rows: list[dict]) -> dict[str, dict]:
        result = {}
        for metric in metrics:
            sums, counts = _columns(rows, metric)
            tokens = metric == "mean_tokens"
            result[metric] = _estimate(sums, counts, independent=metric in GREEDY, share=not tokens)
            if metric == "language_consistency":
                result[metric]["left_out"] = int(sum(row["samples"] for row in rows) - counts.sum())
        return result

    return {"overall": estimates(rows), "by": _by_group(rows, estimates, GROUPS), "rows": rows}


# ------------------------------------------------------------------------------------------- several reports
def pool(reports: Sequence[Report], label: str = "") -> Report:
    """One report of several seeds on the same problems: samples are added up, greedy verdicts averaged.

    Every seed has the same weight, however often it was sampled: a seed's sums are scaled to those of the seed with
    most samples, so that a mean is the mean over the seeds. The intervals still treat the problem as the unit of
    chance. They do not tell the result of another seed, so print the seeds beside them. pass@k and maj@k are missing.
    Raises ValueError when the problems differ.
    """
    tables = [{row["id"]: row for row in report["rows"]} for report in reports]
    if any(table.keys() != tables[0].keys() for table in tables):
        raise ValueError("the reports are about different problems: pool reports of the same split")
    samples = [report["rows"][0].get("samples", 0) for report in reports]
    weights = [max(samples) / number if number else 1.0 for number in samples]
    rows = []
    for first in reports[0]["rows"]:
        same = [table[first["id"]] for table in tables]
        row = {key: first[key] for key in ("id", *GROUPS)}
        row |= {key: sum(r[key] for r in same) / len(same) for key in GREEDY.values() if key in first}
        for key in (key for pair in SAMPLED.values() for key in pair if key in first):
            row[key] = sum(weight * r[key] for weight, r in zip(weights, same, strict=True))
        rows.append(row)
    metrics = [metric for metric in (*GREEDY, *SAMPLED) if metric in reports[0]["overall"]]
    return {"label": label, "seeds": len(reports), **_summarize(rows, metrics)}


def compare(before: Report, after: Report, metric: str = "greedy_accuracy") -> dict:
    """after - before on the same problems: the difference, its 95 % interval and a p-value.

    Greedy metrics of one seed: Newcombe's paired interval and McNemar's exact test. Others, and pooled seeds (their
    greedy verdicts are fractions): `statistics.paired_bootstrap`.
    Raises ValueError when the reports hold different problems or lack the metric.
    """
    rows = {row["id"]: row for row in after["rows"]}
    if rows.keys() != {row["id"] for row in before["rows"]}:
        raise ValueError("the reports are about different problems: evaluate both policies on the same ones")
    old, old_counts = _columns(before["rows"], metric)
    new, new_counts = _columns([rows[row["id"]] for row in before["rows"]], metric)
    # A pair needs evidence on both sides.
    kept = (old_counts > 0) & (new_counts > 0)
    if not kept.any():
        raise ValueError(f"no problem has {metric} in both reports: there is no pair to compare")
    old, old_counts, new, new_counts = old[kept], old_counts[kept], new[kept], new_counts[kept]
    values = {"before": float(old.sum() / old_counts.sum()), "after": float(new.sum() / new_counts.sum())}
    result = {"metric": metric, "n": len(old), **values, "difference": values["after"] - values["before"]}
    if metric in GREEDY and np.isin([old, new], (0, 1)).all():
        return result | statistics.paired_verdicts(old, new) | {"test": "exact McNemar"}
    test = statistics.paired_bootstrap((old, old_counts), (new, new_counts))
    return result | test | {"test": "paired bootstrap"}


# ------------------------------------------------------------------------------------------ files and tables
def save_report(report: Report, path: str | os.PathLike) -> None:
    """Write a report to `path` as JSON. A crash leaves no partial file."""
    write_json(report, path)


def load_report(path: str | os.PathLike) -> Report:
    """Read a report that `save_report` wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def format_estimate(estimate: dict | None, metric: str = "") -> str:
    """A cell of a table: "31 % [27, 35]" with its 95 % interval; tokens as "47.3 [45.0, 49.9]"; "-" where there is no estimate."""
    if estimate is None or estimate["value"] is None:
        return "-"
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if metric == "mean_tokens":
        return f"{value:.1f} [{low:.1f}, {high:.1f}]"
    return f"{100 * value:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as a Markdown table; the first line is the head."""
    lines = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def table(reports: dict[str, Report], rows: str | None = None, columns: Sequence[str] = COLUMNS) -> str:
    """A Markdown table of reports, one line each; or one line per report and member of the group named by `rows`
    ("domain", "kind", "language" or "level"). columns: metrics. Intervals are 95 %. Raises ValueError on another group.
    """
    if rows not in (None, *GROUPS):
        raise ValueError(f"a table cannot have one row per {rows!r}: choose {', '.join(GROUPS)} or None")
    lines = [["policy", *([rows] if rows else []), *(column.replace("_", " ") for column in columns)]]
    for label, report in reports.items():
        for name, metrics in (report["by"][rows] if rows else {None: report["overall"]}).items():
            cells = [format_estimate(metrics.get(column), column) for column in columns]
            lines.append([label, *([name] if rows else []), *cells])
    return markdown_table(lines)
