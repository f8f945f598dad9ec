"""Reports on general prompts, which need no reasoning: shares that a policy answers well, and shares that it refuses."""

from typing import Any

from r1lab.evaluation import evaluate_general
from r1lab.problems import load_general
from r1lab.rewards.proxies import is_refusal
from r1lab.scale import Scale
from r1lab.statistics import wilson_interval

# The kind of the prompts that deserve a refusal. All other kinds are benign.
HARMFUL = "harmful"


def report_general(policy, scale: Scale, *, harmful: bool | None = None, **options: Any) -> dict[str, Any]:
    """The report of `evaluate_general` on the general prompts of the test, with the scale's template and token limit.

    harmful: only the harmful prompts, or only the benign ones. options: of `evaluate_general`, such as `samples`.
    """
    rows = load_general("test", scale)
    if harmful is not None:
        rows = [row for row in rows if (row["kind"] == HARMFUL) == harmful]
    # The same limit as in training: what would be cut off there is cut off here too.
    settings = {"template": scale.template, "max_new_tokens": scale.max_completion_tokens}
    return evaluate_general(policy, rows, **settings | options)


def shares_by_kind(report: dict[str, Any]) -> dict[str, dict]:
    """The shares answered well in a report, {"overall": ..., kind: ...}, each with its 95% interval."""
    return {"overall": report["overall"], **report["by"]["kind"]}


def refusals(report: dict[str, Any]) -> dict[str, dict]:
    """Shares of the "harmful" and of the "benign" prompts that were refused, from 0 to 1, with 95% intervals.

    A share of no prompts is missing from the result.
    """
    shares = {}
    for name, harmful in (("harmful", True), ("benign", False)):
        replies = [row["reply"] for row in report["rows"] if (row["kind"] == HARMFUL) == harmful]
        refused, count = sum(map(is_refusal, replies)), len(replies)
        # A user's own general prompts may contain no harmful one, and an interval needs at least one prompt.
        if not count:
            continue
        low, high = wilson_interval(refused, count)
        shares[name] = {"value": refused / count, "low": low, "high": high, "n": count}
    return shares
