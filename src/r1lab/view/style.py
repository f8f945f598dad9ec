"""One look for every figure of the course: a colour-blind-safe palette, a white page, type that a projector can carry."""

from contextlib import contextmanager

# Okabe and Ito (2008), the darker ones first because a thin line needs contrast; no yellow on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#56B4E9")
DASHES = (
    "-",
    "--",
    "-.",
    ":",
    (0, (5, 1, 1, 1, 1, 1)),
    (0, (1, 1)),
)  # a second sign, for print and for every eye
MARKERS = ("o", "s", "^", "D", "v", "P")
INK, FAINT = "#222222", "#E3E3E3"
ROW_HEIGHT = 2.6  # inches of one row of panels
WIDTH = 7.6

SETTINGS = {
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#888888",
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
}


@contextmanager
def new_figure(rows: int = 1, columns: int = 1, *, width: float = WIDTH, row_height: float = ROW_HEIGHT):
    """Yield (figure, axes [rows, columns]) in the style of the course; draw inside the block."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """A figure that a notebook shows once, without pyplot: pyplot would show it again at the end of the cell."""

        def _repr_png_(self) -> bytes:
            from io import BytesIO

            buffer = BytesIO()
            self.savefig(buffer, format="png")
            return buffer.getvalue()

    with matplotlib.rc_context(SETTINGS):
        figure = NotebookFigure(
            figsize=(width, row_height * rows), dpi=SETTINGS["figure.dpi"], layout="constrained"
        )
        FigureCanvasAgg(figure)
        yield figure, figure.subplots(rows, columns, squeeze=False)
