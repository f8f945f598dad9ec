"""Curves of training runs, from TRL's log history."""

import math
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence

from r1lab.view.style import new_panels

# Rewards of weight 0, which TRL logs among the others.
UNWEIGHTED = ("rewards/self_check/mean", "rewards/language_share_of_target/mean")
# Title, unit of the vertical axis, and the log keys drawn in it. None stands for every other reward function.
PANELS = (
    ("Reward", "sum of the parts", ("reward",)),
    ("Reward by part", "mean per completion", None),
    ("Completion length", "tokens", ("completions/mean_length",)),
    ("Entropy", "nats per token", ("entropy",)),
    ("No gradient from", "share", ("frac_reward_zero_std", "completions/clipped_ratio")),
    ("Logged only, weight 0", "share", UNWEIGHTED),
)
NAMES = {
    "frac_reward_zero_std": "groups, all equal",
    "completions/clipped_ratio": "completions, cut off",
    "completions/mean_length": "mean length",
    "rewards/self_check/mean": "self-checks",
    "rewards/language_consistency/mean": "language consistency",
    "rewards/language_share_of_target/mean": "question's language",
}
SHARES = {"frac_reward_zero_std", "completions/clipped_ratio", *UNWEIGHTED}


def series(log_history: Sequence[dict], key: str) -> tuple[list[float], list[float]]:
    """(steps, values) of one key of a TRL log history. Entries without the key, or with NaN, are skipped."""
    steps, values = [], []
    for index, entry in enumerate(log_history):
        value = entry.get(key)
        if isinstance(value, int | float) and math.isfinite(value):
            steps.append(entry.get("step", index))
            values.append(float(value))
    return steps, values


def smooth(values: Sequence[float]) -> list[float]:
    """Moving means over a centered window of a tenth of the run. At both ends the window is cut."""
    half = len(values) // 20
    windows = (values[max(0, index - half) : index + half + 1] for index in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def check_logged(runs: Mapping[str, Sequence[dict]], keys: Iterable[str]) -> None:
    """Raise ValueError when one of the runs (label -> log history) has not logged one of the keys."""
    for label, history in runs.items():
        for key in keys:
            if not series(history, key)[1]:
                raise ValueError(f"run {label!r} has not logged {key!r}: see trainer.state.log_history")


def draw_curve(ax, log_history: Sequence[dict], key: str, **line) -> str:
    """Draw one key, points faint and their moving mean as a line, and return the line's colour."""
    steps, values = series(log_history, key)
    color = ax.plot(steps, smooth(values), **line)[0].get_color()
    ax.plot(steps, values, ".", color=color, alpha=0.35, markersize=4, markeredgewidth=0, zorder=1)
    return color


def plot_training(log_history: Sequence[dict], keys: Sequence[str] | None = None):
    """A matplotlib Figure of a training run, from TRL's log history (`trainer.state.log_history`).

    One panel each for reward (band: one standard deviation), the reward functions, completion length in tokens,
    entropy, the shares of groups and completions that give no gradient, and rewards of weight 0 (self-checks, language).
    Panels without data are skipped. keys: log keys to draw instead, one panel each, as in ("kl", "grad_norm").
    Raises ValueError when the log holds none of the keys.
    """
    panels = _panels(log_history, keys)
    if not panels:
        raise ValueError(
            "the log has nothing to draw: pass trainer.state.log_history, after at least one logged step"
        )
    with new_panels(len(panels)) as (figure, axes):
        for ax, (title, unit, keys_here) in zip(axes, panels, strict=True):
            _draw_panel(ax, log_history, keys_here)
            ax.set(title=title, ylabel=unit)
        # The lowest panel of each column.
        for ax in axes[-3:]:
            ax.set_xlabel("step")
    return figure


def _panels(log_history: Sequence[dict], keys: Sequence[str] | None) -> list[tuple[str, str, list[str]]]:
    """Title, unit and log keys of every panel that has data."""
    all_keys = dict.fromkeys(key for entry in log_history for key in entry)
    logged = [key for key in all_keys if series(log_history, key)[1]]
    rewards = [key for key in logged if key.startswith("rewards/") and key.endswith("/mean")]
    rewards = [key for key in rewards if key not in UNWEIGHTED]
    wanted = PANELS if keys is None else [(NAMES.get(key, key), "", (key,)) for key in keys]
    panels = [
        (title, unit, rewards if names is None else [key for key in names if key in logged])
        for title, unit, names in wanted
    ]
    return [panel for panel in panels if panel[2]]


def _draw_panel(ax, log_history: Sequence[dict], keys: list[str]) -> None:
    for key in keys:
        name = key.removeprefix("rewards/").removesuffix("/mean").replace("_", " ")
        color = draw_curve(ax, log_history, key, label=NAMES.get(key, name))
        if key == "reward":
            _draw_spread(ax, log_history, color)
    if SHARES & set(keys):
        ax.set_yticks([0, 0.25, 0.5, 0.75, 1])
        ax.set_ylim(-0.03, 1.03)
    # Headroom, so that the legend covers no line.
    if len(keys) > 1:
        low, high = ax.get_ylim()
        ax.set_yticks([tick for tick in ax.get_yticks() if low <= tick <= high])
        ax.set_ylim(low, high + 0.14 * len(keys) * (high - low))
        ax.legend(loc="upper left", borderaxespad=0, labelspacing=0.3)


def _draw_spread(ax, log_history: Sequence[dict], color: str) -> None:
    """A band of one standard deviation around the mean reward."""
    both = [entry for entry in log_history if "reward" in entry and "reward_std" in entry]
    (steps, means), (_, spreads) = series(both, "reward"), series(both, "reward_std")
    if len(spreads) == len(means) > 1:
        pairs = list(zip(smooth(means), smooth(spreads), strict=True))
        low, high = [mean - spread for mean, spread in pairs], [mean + spread for mean, spread in pairs]
        ax.fill_between(steps, low, high, color=color, alpha=0.13, linewidth=0)


def plot_runs(runs: Mapping[str, Sequence[dict]], keys: Mapping[str, str]):
    """A matplotlib Figure of several runs over each other, one panel per log key.

    runs: label -> TRL log history; keys: title of a panel -> log key. Lines are moving means, see `smooth`.
    Raises ValueError when a run has not logged a key.
    """
    check_logged(runs, keys.values())
    with new_panels(len(keys)) as (figure, axes):
        for ax, (title, key) in zip(axes, keys.items(), strict=True):
            for label, history in runs.items():
                steps, values = series(history, key)
                ax.plot(steps, smooth(values), label=label)
            ax.set(title=title, xlabel="step")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(runs))
    return figure


class TrainingPlot:
    """A training figure that redraws itself in a notebook while the policy trains.

    Call `update` with every log and `close` at the end. Outside a notebook, and under pytest (nbval), nothing
    is drawn before `close`.
    """

    def __init__(self, keys: Sequence[str] | None = None, *, seconds: float = 3.0):
        """keys: as in `plot_training`. seconds: shortest time between two redraws."""
        self.keys, self.seconds = keys, seconds
        self.logs: list[dict] = []
        self._redraw_at = time.monotonic() + seconds
        self._display = None

    def update(self, log: dict) -> None:
        """Add one TRL log entry; redraw in a live notebook if the last drawing is old enough."""
        self.logs.append(dict(log))
        live = _in_notebook() and "PYTEST_VERSION" not in os.environ
        if live and time.monotonic() >= self._redraw_at:
            self.close()

    def figure(self):
        """The figure of all logs so far."""
        return plot_training(self.logs, self.keys)

    def close(self) -> None:
        """Draw the run so far, in place of the live figure if there is one."""
        started = time.monotonic()
        if _in_notebook() and _panels(self.logs, self.keys):
            from IPython.display import display

            if self._display is None:
                self._display = display(self.figure(), display_id=True)
            else:
                self._display.update(self.figure())
        finished = time.monotonic()
        # Drawing may take a twentieth of the time, because the same processor trains.
        self._redraw_at = finished + max(self.seconds, 20 * (finished - started))


def _in_notebook() -> bool:
    # In a notebook it is imported already.
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None
