"""Figures about rewards: lines over a length, how values are distributed, and a proxy against the truth."""

from collections.abc import Mapping, Sequence

from r1lab.view.curves import check_logged, draw_curve
from r1lab.view.style import DASHES, INK, PALETTE, new_figure, new_panels

BINS = 12


def plot_lines(x: Sequence[float], lines: Mapping[str, Sequence[float]], **labels):
    """A matplotlib Figure of the lines {name: y} over x, in the style of the course.

    labels: what `Axes.set` takes (xlabel, ylabel, title, ylim). Raises ValueError on a line that is not as long as x.
    """
    with new_figure() as (figure, [[ax]]):
        for name, y in lines.items():
            if len(y) != len(x):
                raise ValueError(f"line {name!r} has {len(y)} values for {len(x)} points on the axis")
            ax.plot(x, y, label=name)
        ax.set(**labels)
        if len(lines) > 1:
            figure.legend(loc="outside right upper")
    return figure


def plot_distributions(values: Mapping[str, Sequence[float | None]]):
    """A matplotlib Figure of the distribution of each reward's values, one small panel per reward.

    values: reward name -> its values; None is skipped; a bar is the share of the values around a twelfth of the axis.
    Panels reach from 0 to 1, or to -1 where a value is negative. The title holds the name and the mean.
    Raises ValueError when a reward has no value at all.
    """
    columns = 4
    with new_panels(len(values), columns=columns, row_height=1.5) as (figure, axes):
        for index, (ax, (name, column)) in enumerate(zip(axes, values.items(), strict=True)):
            graded = [value for value in column if value is not None]
            if not graded:
                raise ValueError(f"reward {name!r} has no value to draw: leave it out")
            _draw_shares(ax, graded)
            mean = sum(graded) / len(graded)
            ax.set_title(f"{name}\nmean {mean:.2f}".replace("-0.00", "0.00"), fontsize=8.5)
            ax.set_ylim(0, 1.05)
            ax.set_yticks([0, 0.5, 1], ["", "", ""] if index % columns else ["0", "50%", "100%"])
            ax.tick_params(labelsize=8)
            ax.grid(axis="x", visible=False)
    return figure


def _draw_shares(ax, values: list[float]) -> None:
    low = min(-1.0, *values) if min(values) < 0 else 0.0
    high = max(1.0, *values) if max(values) > 0 or low == 0 else 0.0
    width = (high - low) / BINS
    # A bin stands around each twelfth, so that the bars of 0, 1/2 and 1 stand where these values are.
    edges = [low + (k - 0.5) * width for k in range(BINS + 2)]
    ax.hist(values, edges, weights=[1 / len(values)] * len(values), rwidth=0.9, color=PALETTE[0])
    ax.set_xlim(low - width, high + width)
    ax.set_xticks([low, high], [f"{low:.3g}", f"{high:.3g}"])


def plot_proxy_and_truth(
    runs: Mapping[str, Sequence[dict]],
    *,
    truth: str,
    names: tuple[str, str] | None = None,
):
    """A matplotlib Figure of the reward of each run and of what it was meant to improve, one panel per run.

    runs: title -> TRL log history; truth: a log key such as "rewards/true_accuracy/mean"; names: of the reward and of the
    truth in the legend. All panels share the axis. Points are faint, the line is their moving mean.
    Raises ValueError when a run has not logged both.
    """
    check_logged(runs, ("reward", truth))
    names = names or [key.removeprefix("rewards/").removesuffix("/mean") for key in ("reward", truth)]
    with new_figure(1, len(runs)) as (figure, axes):
        for ax, (title, history) in zip(axes.flat, runs.items(), strict=True):
            draw_curve(ax, history, "reward", color=PALETTE[1], linestyle=DASHES[0], label=names[0])
            draw_curve(ax, history, truth, color=PALETTE[0], linestyle=DASHES[1], label=names[1])
            ax.axhline(0, color=INK, linewidth=0.6)
            ax.set(title=title, xlabel="step")
        limits = [bound for ax in axes.flat for bound in ax.get_ylim()]
        for ax in axes.flat:
            ax.set_ylim(min(limits), max(limits))
        handles = axes[0, 0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=2)
    return figure
