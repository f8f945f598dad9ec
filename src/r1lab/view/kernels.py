"""The kernel's measurements as bars: seconds and peak memory of each implementation, case by case."""

from collections.abc import Mapping

from r1lab.view.style import INK, PALETTE, new_figure

FLOOR = "matrix products"  # of all rows; drawn as a line through the bars


def plot_kernel_bench(record: Mapping):
    """A matplotlib Figure of the kernel's measurements, one row of two panels per case.

    record: the parsed JSON file of `python tools/maintain.py bench-kernel`. Bars are medians of seconds and peaks in MB above
    the inputs. What could not run has no bar. Raises ValueError when the record holds no case.
    """
    cases = record.get("cases")
    if not cases:
        raise ValueError("the record holds no case: run `make bench-kernel` to the end")
    names = [name for name in cases[0]["results"] if name != FLOOR]
    with new_figure(len(cases), 2, row_height=1.35) as (figure, axes):
        for (seconds, memory), case in zip(axes, cases, strict=True):
            results = case["results"]
            _draw_bars(seconds, names, [results[name].get("median_seconds") for name in names])
            _draw_bars(memory, names, [results[name].get("peak_mb") for name in names])
            seconds.set_title(f"{case['name']}: seconds", fontsize=9)
            memory.set_title(f"{case['name']}: peak memory, MB", fontsize=9)
            memory.set_yticklabels([])
            if floor := results.get(FLOOR, {}).get("median_seconds"):
                seconds.axvline(floor, color=INK, linestyle=":", linewidth=1.5)
        axes[-1, 0].set_xlabel(f"dotted: the {FLOOR} of all rows, alone")
    return figure


def _draw_bars(ax, names: list[str], values: list[float | None]) -> None:
    """Horizontal bars, the first on top, each with its value; the axis leaves room for the words."""
    largest = max((value for value in values if value is not None), default=1)
    background = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    for index, value in enumerate(values):
        if value is not None:
            ax.barh(index, value, height=0.7, color=PALETTE[index % len(PALETTE)])
        text = "not measured" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"
        ax.text((value or 0) + 0.015 * largest, index, text, va="center", fontsize=8.5, bbox=background)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.16 * largest)
    ax.grid(axis="y", visible=False)
