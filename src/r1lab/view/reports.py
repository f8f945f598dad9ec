"""Figures of what an evaluation measured, with its intervals."""

from itertools import cycle

from r1lab.view.style import INK, MARKERS, PALETTE, new_figure


def plot_pass_at_k(reports: dict[str, dict]):
    """A matplotlib Figure of pass@k against k, one line per report, with 95% bands.

    Where the lines meet, RL only raised the probability of answers that the base model could already write. Where they stay
    apart, the policy solves problems that the base model does not solve in k samples (Yue et al., 2025).
    Raises ValueError when no report holds a pass@k.
    """
    with new_figure() as (figure, [[ax]]):
        all_ks = set()
        for (label, report), marker in zip(reports.items(), cycle(MARKERS), strict=False):
            metrics = [metric for metric in report["overall"] if metric.startswith("pass@")]
            ks = sorted(int(metric.removeprefix("pass@")) for metric in metrics)
            estimates = [report["overall"][f"pass@{k}"] for k in ks]
            value, low, high = ([one[part] for one in estimates] for part in ("value", "low", "high"))
            color = ax.plot(ks, value, marker=marker, label=label)[0].get_color()
            ax.fill_between(ks, low, high, color=color, alpha=0.15, linewidth=0)
            all_ks.update(ks)
        if not all_ks:
            raise ValueError("no report holds pass@k: evaluate with samples > 0")
        ax.set_xscale("log", base=2)
        ax.set_xticks(sorted(all_ks), [str(k) for k in sorted(all_ks)])
        ax.minorticks_off()
        ax.set(xlabel="k: completions per problem", ylabel="solved at least once", ylim=(0, 1.03))
        ax.set_title("pass@k, with 95% intervals")
        ax.yaxis.set_major_formatter("{x:.0%}")
        figure.legend(loc="outside right upper")
    return figure


def plot_by_group(reports: dict[str, dict], group: str = "domain", metric: str = "greedy_accuracy"):
    """A matplotlib Figure of one metric by domain, kind, language or level, one bar per report, with 95% intervals.

    Raises ValueError when a report lacks the group or the metric.
    """
    for label, report in reports.items():
        by = report["by"].get(group)
        if not by or any(metric not in metrics for metrics in by.values()):
            raise ValueError(
                f"report {label!r} has no {metric} by {group}: check both names, or evaluate it again"
            )
    names = list(dict.fromkeys(name for report in reports.values() for name in report["by"][group]))
    width = 0.8 / len(reports)
    with new_figure() as (figure, [[ax]]):
        for index, (label, report) in enumerate(reports.items()):
            by = report["by"][group]
            measured = [name for name in names if name in by and by[name][metric]["value"] is not None]
            estimates = [by[name][metric] for name in measured]
            value, low, high = ([one[part] for one in estimates] for part in ("value", "low", "high"))
            below = [max(0, v - bound) for v, bound in zip(value, low, strict=True)]
            above = [max(0, bound - v) for v, bound in zip(value, high, strict=True)]
            x = [names.index(name) + (index - (len(reports) - 1) / 2) * width for name in measured]
            error_bars = {"yerr": [below, above], "ecolor": INK, "capsize": 3, "error_kw": {"linewidth": 1.2}}
            ax.bar(x, value, width * 0.92, color=PALETTE[index % len(PALETTE)], label=label, **error_bars)
        ax.set_xticks(range(len(names)), names)
        ax.grid(axis="x", visible=False)
        ax.set_title(f"{metric.replace('_', ' ').capitalize()} by {group}, with 95% intervals")
        if metric != "mean_tokens":
            ax.set_ylim(0, 1.03)
            ax.yaxis.set_major_formatter("{x:.0%}")
        figure.legend(loc="outside right upper")
    return figure
