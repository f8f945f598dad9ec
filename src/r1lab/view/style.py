"""One look for every figure of the course. The settings themselves are in `course.mplstyle`."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Okabe and Ito (2008), safe for the colour-blind; the darker ones first because a thin line needs contrast.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#56B4E9")
# A second sign beside the colour, for print and for every eye.
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
INK = "#222222"
ROW_HEIGHT = 2.6  # inches of one row of panels
WIDTH = 7.6


@contextmanager
def new_figure(
    rows: int = 1, columns: int = 1, *, width: float = WIDTH, row_height: float = ROW_HEIGHT
) -> Iterator[tuple]:
    """Yield (figure, axes [rows, columns]) in the style of the course; draw inside the block.

    The lines of a panel differ in colour and in dash without being told to.
    """
    import matplotlib.style
    from cycler import cycler
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """A figure that a notebook shows once, without pyplot: pyplot would show it again at the end of the cell."""

        def _repr_png_(self) -> bytes:
            from io import BytesIO

            buffer = BytesIO()
            self.savefig(buffer, format="png")
            return buffer.getvalue()

    lines = {"axes.prop_cycle": cycler(color=PALETTE, linestyle=DASHES)}
    with matplotlib.style.context([Path(__file__).with_name("course.mplstyle"), lines]):
        figure = NotebookFigure(figsize=(width, row_height * rows), layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False)


@contextmanager
def new_panels(count: int, *, columns: int = 3, row_height: float = ROW_HEIGHT) -> Iterator[tuple]:
    """Yield (figure, list of `count` axes) in the style of the course, at most `columns` in a row."""
    columns = min(columns, count)
    with new_figure(math.ceil(count / columns), columns, row_height=row_height) as (figure, axes):
        for ax in axes.flat[count:]:
            ax.remove()
        yield figure, list(axes.flat[:count])
