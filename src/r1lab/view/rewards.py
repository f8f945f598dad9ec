"""Figures about rewards: what they pay over a length, how their values are spread, and a proxy against the truth."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from r1lab.view.curves import series, smooth
from r1lab.view.style import DASHES, INK, PALETTE, new_figure

BINS = 12
MOST_COLUMNS = 4


def plot_lines(x: Sequence[float], lines: Mapping[str, Sequence[float]], **labels):
    """Draw {name: y} over x in the style of the course: a matplotlib Figure.

    labels: what `Axes.set` takes (xlabel, ylabel, title, ylim). Raises ValueError on a line that is not as long as x.
    """
    with new_figure() as (figure, axes):
        ax = axes[0, 0]
        for place, (name, y) in enumerate(lines.items()):
            if len(y) != len(x):
                raise ValueError(f"line {name!r} has {len(y)} values for {len(x)} places on the axis")
            ax.plot(
                x, y, color=PALETTE[place % len(PALETTE)], linestyle=DASHES[place % len(DASHES)], label=name
            )
        ax.set(**labels)
        if len(lines) > 1:
            figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper")
    return figure


def plot_distributions(values: Mapping[str, Sequence[float | None]]):
    """Draw how often each reward paid what, one small panel per reward: a matplotlib Figure.

    values: reward name -> its values, None left out; up to 12 different values get a bar each, more are put in 12 bins.
    Panels reach from 0 to 1, or to -1 where a value is negative. The title holds the name and the mean.
    Raises ValueError when a reward has no value at all.
    """
    columns = min(MOST_COLUMNS, len(values))
    rows = math.ceil(len(values) / columns)
    with new_figure(rows, columns, row_height=1.5) as (figure, axes):
        for place, (ax, (name, given)) in enumerate(zip(axes.flat, values.items(), strict=False)):
            scored = [value for value in given if value is not None]
            if not scored:
                raise ValueError(f"reward {name!r} has no value to draw: leave it out")
            _draw_shares(ax, scored, PALETTE[0])
            mean = sum(scored) / len(scored)
            ax.set_title(f"{name}\nmean {mean:.2f}".replace("-0.00", "0.00"), fontsize=8.5)
            ax.set_ylim(0, 1.05)
            ax.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"] if place % columns == 0 else ["", "", ""])
            ax.tick_params(labelsize=8)
            ax.grid(axis="x", visible=False)
        for ax in axes.flat[len(values) :]:
            ax.remove()
    return figure


def _draw_shares(ax, values: list[float], color: str) -> None:
    low = min(-1.0, *values) if min(values) < 0 else 0.0
    high = max(1.0, *values) if max(values) > 0 or low == 0 else 0.0
    width = (high - low) / BINS
    counts = Counter(round(value, 6) for value in values)
    if len(counts) > BINS:
        counts = Counter(low + width * (min(int((value - low) / width), BINS - 1) + 0.5) for value in values)
    ax.bar(list(counts), [count / len(values) for count in counts.values()], width * 0.9, color=color)
    ax.set_xlim(low - width, high + width)
    ax.set_xticks([low, high], [f"{low:.3g}", f"{high:.3g}"])


def plot_proxy_and_truth(
    runs: Mapping[str, Sequence[dict]],
    *,
    proxy: str = "reward",
    truth: str,
    names: tuple[str, str] | None = None,
):
    """Draw what a run was paid and what it was meant to get better at, one panel per run: a matplotlib Figure.

    runs: title -> TRL log history; proxy, truth: log keys, such as "reward" and "rewards/true_accuracy/mean"; names: how the
    legend calls them. All panels share the axis. Points are faint, the line is their moving mean.
    Raises ValueError when a run has not logged both.
    """
    with new_figure(1, len(runs)) as (figure, axes):
        for ax, (title, history) in zip(axes.flat, runs.items(), strict=True):
            for place, key in enumerate((proxy, truth)):
                steps, values = series(history, key)
                if not values:
                    raise ValueError(
                        f"run {title!r} has not logged {key!r}: see the keys of trainer.state.log_history"
                    )
                color = (PALETTE[1], PALETTE[0])[place]
                ax.plot(steps, values, ".", color=color, alpha=0.35, markersize=4, markeredgewidth=0)
                label = names[place] if names else key.removeprefix("rewards/").removesuffix("/mean")
                ax.plot(steps, smooth(values), color=color, linestyle=DASHES[place], label=label)
            ax.axhline(0, color=INK, linewidth=0.6)
            ax.set(title=title, xlabel="step")
        limits = [bound for ax in axes.flat for bound in ax.get_ylim()]
        for ax in axes.flat:
            ax.set_ylim(min(limits), max(limits))
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
