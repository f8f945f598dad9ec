"""Figures: what a training run did step by step, and what an evaluation measured, with its intervals."""

import math
import os
import time
from collections.abc import Mapping, Sequence

from r1lab.view.style import DASHES, INK, MARKERS, PALETTE, new_figure

PANEL_COLUMNS = 3
# Title, unit of the vertical axis, and the log keys drawn in it. "rewards/" stands for every reward function but the
# two that the stages only watch (weight 0), which TRL logs among the rewards.
PANELS = (
    ("Reward", "sum of the parts", ("reward",)),
    ("Reward by part", "mean per completion", ("rewards/",)),
    ("Completion length", "tokens", ("completions/mean_length",)),
    ("Entropy", "nats per token", ("entropy",)),
    ("Nothing to learn from", "share", ("frac_reward_zero_std", "completions/clipped_ratio")),
    ("Watched, weight 0", "share", ("rewards/self_check/mean", "rewards/language_share_of_target/mean")),
)
NAMES = {
    "frac_reward_zero_std": "groups, all equal",
    "completions/clipped_ratio": "completions, cut off",
    "completions/mean_length": "mean length",
    "rewards/self_check/mean": "self-checks",
    "rewards/language_consistency/mean": "language consistency",
    "rewards/language_share_of_target/mean": "question's language",
}
LOGGED_ONLY = PANELS[-1][2]
SHARES = {"frac_reward_zero_std", "completions/clipped_ratio", *LOGGED_ONLY}


# --------------------------------------------------------------------------------------------- a training run
def series(log_history: Sequence[dict], key: str) -> tuple[list[float], list[float]]:
    """Steps and values of one key of a TRL log history; entries without the key, or with NaN, are left out."""
    steps, values = [], []
    for place, entry in enumerate(log_history):
        value = entry.get(key)
        if isinstance(value, int | float) and math.isfinite(value):
            steps.append(entry.get("step", place))
            values.append(float(value))
    return steps, values


def smooth(values: Sequence[float]) -> list[float]:
    """Mean of a centred window of a tenth of the run; at both ends, of the part of the window that exists."""
    half = len(values) // 20
    windows = (values[max(0, place - half) : place + half + 1] for place in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def plot_training(log_history: Sequence[dict], keys: Sequence[str] | None = None):
    """Draw a training run from TRL's log history (`trainer.state.log_history`): a matplotlib Figure.

    One panel each for reward (band: one standard deviation), the reward functions, completion length in tokens,
    entropy, the shares of groups and completions that teach nothing, and what is watched without being rewarded
    (self-checks, language); panels without data are left out. keys: log keys to draw instead, one panel each, as in
    ("kl", "grad_norm"). Points are faint, the line is their moving mean. Raises ValueError when the log holds none of the keys.
    """
    drawn = _panels(log_history, keys)
    if not drawn:
        raise ValueError(
            "the log has nothing to draw: pass trainer.state.log_history, after at least one logged step"
        )
    columns = min(PANEL_COLUMNS, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    with new_figure(rows, columns) as (figure, axes):
        for ax, (title, unit, found) in zip(axes.flat, drawn, strict=False):
            _draw_panel(ax, log_history, found)
            ax.set(title=title, ylabel=unit)
        for ax in axes.flat[len(drawn) :]:
            ax.remove()
        for ax in axes.flat[max(0, len(drawn) - columns) : len(drawn)]:
            ax.set_xlabel("step")
    return figure


def _panels(log_history: Sequence[dict], keys: Sequence[str] | None) -> list[tuple[str, str, list[str]]]:
    """Title, unit and log keys of every panel that has data."""
    logged = dict.fromkeys(key for entry in log_history for key in entry)
    rewards = [
        key
        for key in logged
        if key.startswith("rewards/") and key.endswith("/mean") and key not in LOGGED_ONLY
    ]
    panels = PANELS if keys is None else [(NAMES.get(key, key), "", (key,)) for key in keys]
    drawn = []
    for title, unit, wanted in panels:
        wanted = rewards if wanted == ("rewards/",) else wanted
        if found := [key for key in wanted if series(log_history, key)[1]]:
            drawn.append((title, unit, found))
    return drawn


def _draw_panel(ax, log_history: Sequence[dict], found: list[str]) -> None:
    for place, key in enumerate(found):
        steps, values = series(log_history, key)
        color = PALETTE[place % len(PALETTE)]
        name = NAMES.get(key, key.removeprefix("rewards/").removesuffix("/mean").replace("_", " "))
        ax.plot(steps, values, ".", color=color, alpha=0.35, markersize=4, markeredgewidth=0)
        ax.plot(steps, smooth(values), color=color, linestyle=DASHES[place % len(DASHES)], label=name)
        if key == "reward":
            _draw_spread(ax, log_history, color)
    if SHARES & set(found):
        ax.set_yticks([0, 0.25, 0.5, 0.75, 1])
        ax.set_ylim(-0.03, 1.03)
    if len(found) > 1:  # headroom, so that the legend covers no line
        low, high = ax.get_ylim()
        ax.set_yticks([tick for tick in ax.get_yticks() if low <= tick <= high])
        ax.set_ylim(low, high + 0.14 * len(found) * (high - low))
        ax.legend(loc="upper left", borderaxespad=0, labelspacing=0.3)


def _draw_spread(ax, log_history: Sequence[dict], color: str) -> None:
    both = [entry for entry in log_history if "reward" in entry and "reward_std" in entry]
    steps, spread = series(both, "reward_std")
    _, middle = series(both, "reward")
    if len(spread) == len(middle) > 1:
        middle, spread = smooth(middle), smooth(spread)
        low = [m - s for m, s in zip(middle, spread, strict=True)]
        high = [m + s for m, s in zip(middle, spread, strict=True)]
        ax.fill_between(steps, low, high, color=color, alpha=0.13, linewidth=0)


def plot_runs(runs: Mapping[str, Sequence[dict]], keys: Mapping[str, str]):
    """Draw several runs over each other, one panel per log key: a matplotlib Figure.

    runs: label -> TRL log history; keys: title of a panel -> log key. Lines are moving means, see `smooth`.
    Raises ValueError when a run has not logged a key.
    """
    columns = min(PANEL_COLUMNS, len(keys))
    with new_figure(math.ceil(len(keys) / columns), columns) as (figure, axes):
        for ax, (title, key) in zip(axes.flat, keys.items(), strict=False):
            for place, (label, history) in enumerate(runs.items()):
                steps, values = series(history, key)
                if not values:
                    raise ValueError(
                        f"run {label!r} has not logged {key!r}: see the keys of trainer.state.log_history"
                    )
                color, dash = PALETTE[place % len(PALETTE)], DASHES[place % len(DASHES)]
                ax.plot(steps, smooth(values), color=color, linestyle=dash, label=label)
            ax.set(title=title, xlabel="step")
        for ax in axes.flat[len(keys) :]:
            ax.remove()
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(runs))
    return figure


class TrainingPlot:
    """A training figure that redraws itself in a notebook while the policy trains.

    Feed it every log (`update`) and call `close` at the end. Outside a notebook, and under pytest (nbval), nothing
    is drawn before `close`.
    """

    def __init__(self, keys: Sequence[str] | None = None, *, seconds: float = 3.0):
        """keys: as in `plot_training`. seconds: shortest time between two redraws.

        Redraws also keep to a twentieth of the time: the processor that draws is the one that trains.
        """
        self.keys, self.seconds = keys, seconds
        self.logs: list[dict] = []
        self._redraw_at = time.monotonic() + seconds
        self._handle = None

    def update(self, log: dict) -> None:
        """Add one TRL log entry; redraw if a notebook is watching and the last drawing is old enough."""
        self.logs.append(dict(log))
        if _someone_is_watching() and time.monotonic() >= self._redraw_at:
            self._draw()

    def figure(self):
        """The figure of all logs so far."""
        return plot_training(self.logs, self.keys)

    def close(self) -> None:
        """Draw the finished run: in place of the live figure if there was one."""
        self._draw()

    def _draw(self) -> None:
        started = time.monotonic()
        if _in_notebook() and _panels(self.logs, self.keys):
            from IPython.display import display

            if self._handle is None:
                self._handle = display(self.figure(), display_id=True)
            else:
                self._handle.update(self.figure())
        finished = time.monotonic()
        self._redraw_at = finished + max(self.seconds, 20 * (finished - started))


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None


def _someone_is_watching() -> bool:
    return _in_notebook() and "PYTEST_VERSION" not in os.environ


# -------------------------------------------------------------------------------------------- an evaluation
def plot_pass_at_k(reports: dict[str, dict]):
    """Draw pass@k against k, one line per report, with 95 % bands: a matplotlib Figure.

    Where the lines meet, RL only made likelier what the base model could already say; where they stay apart, the
    policy solves problems that the base model does not reach in k tries (Yue et al., 2025).
    Raises ValueError when no report holds a pass@k.
    """
    ks = sorted(
        {
            int(metric.removeprefix("pass@"))
            for report in reports.values()
            for metric in report["overall"]
            if metric.startswith("pass@")
        }
    )
    if not ks:
        raise ValueError("no report holds pass@k: evaluate with samples > 0")
    with new_figure() as (figure, axes):
        ax = axes[0, 0]
        for place, (label, report) in enumerate(reports.items()):
            known = [k for k in ks if f"pass@{k}" in report["overall"]]
            value, low, high = (
                [report["overall"][f"pass@{k}"][part] for k in known] for part in ("value", "low", "high")
            )
            color, dash, marker = (signs[place % len(signs)] for signs in (PALETTE, DASHES, MARKERS))
            ax.fill_between(known, low, high, color=color, alpha=0.15, linewidth=0)
            ax.plot(known, value, color=color, linestyle=dash, marker=marker, label=label)
        ax.set_xscale("log", base=2)
        ax.set_xticks(ks, [str(k) for k in ks])
        ax.minorticks_off()
        ax.set(
            xlabel="k: completions per problem",
            ylabel="solved at least once",
            title="pass@k, with 95 % intervals",
        )
        _percent(ax)
        figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper")
    return figure


def plot_by_group(reports: dict[str, dict], group: str = "domain", metric: str = "greedy_accuracy"):
    """Draw one metric by domain, kind, language or level, one bar per report, with 95 % intervals: a Figure.

    Raises ValueError when a report lacks the group or the metric.
    """
    for label, report in reports.items():
        if not report["by"].get(group) or any(
            metric not in metrics for metrics in report["by"][group].values()
        ):
            raise ValueError(
                f"report {label!r} has no {metric} by {group}: check both names, or evaluate it again"
            )
    names = list(dict.fromkeys(name for report in reports.values() for name in report["by"][group]))
    width = 0.8 / len(reports)
    with new_figure() as (figure, axes):
        ax = axes[0, 0]
        for place, (label, report) in enumerate(reports.items()):
            color = PALETTE[place % len(PALETTE)]
            for spot, name in enumerate(names):
                estimate = report["by"][group].get(name)
                if estimate is None or estimate[metric]["value"] is None:
                    continue
                value, low, high = (estimate[metric][part] for part in ("value", "low", "high"))
                x = spot + (place - (len(reports) - 1) / 2) * width
                ax.bar(x, value, width * 0.92, color=color, label=label if spot == 0 else None)
                ax.errorbar(
                    x,
                    value,
                    [[max(0, value - low)], [max(0, high - value)]],
                    color=INK,
                    capsize=3,
                    linewidth=1.2,
                )
        ax.set_xticks(range(len(names)), names)
        ax.grid(axis="x", visible=False)
        ax.set_title(f"{metric.replace('_', ' ').capitalize()} by {group}, with 95 % intervals")
        if metric != "mean_tokens":
            _percent(ax)
        figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper")
    return figure


def _percent(ax) -> None:
    from matplotlib.ticker import PercentFormatter

    ax.set_ylim(0, 1.03)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
