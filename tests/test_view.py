"""Figures are checked by what they draw, pages by what they escape; how they look is for eyes."""

import io
import math
import sys
import types
from xml.etree import ElementTree

import pytest
from matplotlib.text import Text

from r1lab import view
from r1lab.view import TrainingPlot, show_traces
from r1lab.view import curves as curves_module
from r1lab.view.curves import series, smooth

LOGS = [
    {"step": step, "reward": 0.02 * step, "reward_std": 0.3, "kl": 0.001 * step, "frac_reward_zero_std": 0.25}
    | {"rewards/accuracy/mean": 0.01 * step, "rewards/format/mean": 0.02 * step, "rewards/accuracy/std": 0.1}
    | {"completions/mean_length": 20.0 + step, "completions/clipped_ratio": 0.0}
    | {"entropy": float("nan") if step == 3 else 1.0}
    for step in range(1, 41)
] + [{"step": 40, "train_runtime": 12.0}]
REWARDS = [0.02 * step for step in range(1, 41)]


def titles(figure):
    return [ax.get_title(loc="left") for ax in figure.axes]


def report(value):
    estimate = {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 100}
    metrics = {"pass@1": estimate, "pass@4": estimate, "greedy_accuracy": estimate}
    return {"overall": metrics, "by": {"domain": {"arithmetic": metrics, "logic": metrics}}}


# ------------------------------------------------------------------------------------------------- curves
def test_training_panels_follow_the_log():
    figure = view.plot_training(LOGS)
    assert titles(figure)[:4] == ["Reward", "Reward by part", "Completion length", "Entropy"]
    assert len(figure.axes) == 5, "no panel without data"
    assert figure.axes[1].get_legend_handles_labels()[1] == ["accuracy", "format"]
    unweighted = view.plot_training([LOGS[0] | {"rewards/self_check/mean": 0.1}])
    assert len(unweighted.axes) == 6, "rewards of weight 0 have a panel of their own"
    assert unweighted.axes[1].get_legend_handles_labels()[1] == ["accuracy", "format"]
    assert titles(view.plot_training(LOGS, ["kl"])) == ["kl"]
    for logs, keys in [([], None), ([{"step": 1, "loss": 0.1}], None), (LOGS, ["no_such_key"])]:
        with pytest.raises(ValueError, match="nothing to draw"):
            view.plot_training(logs, keys)


def test_runs_are_drawn_over_each_other():
    figure = view.plot_runs({"a": LOGS, "b": LOGS[:5]}, {"Reward": "reward", "Entropy": "entropy"})
    assert titles(figure) == ["Reward", "Entropy"]
    one, other = figure.axes[0].lines
    assert list(one.get_ydata()) == smooth(REWARDS)
    assert len(other.get_xdata()) == 5
    assert one.get_color() != other.get_color() and one.get_linestyle() != other.get_linestyle()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    with pytest.raises(ValueError, match="'a' has not logged 'truth'"):
        view.plot_runs({"a": LOGS}, {"Truth": "truth"})


def test_series_and_smoothing():
    log = [{"step": 5, "a": 1}, {"b": 2}, {"step": 7, "a": math.nan}, {"a": 3.0}]
    assert series(log, "a") == ([5, 3], [1.0, 3.0]), "what is absent or not a number is skipped"
    for constant in ([], [0.3], [2.0] * 50):
        assert smooth(constant) == constant
    zigzag = smooth([0.0, 1.0] * 30)
    assert len(zigzag) == 60 and min(zigzag) > 0.2 and max(zigzag) < 0.8


def test_figures_are_compact_legible_and_leave_pyplot_alone():
    for figure in (
        view.plot_training(LOGS[:5]),
        view.plot_pass_at_k({"a": report(0.4)}),
        view.plot_by_group({"a": report(0.4)}),
    ):
        png = figure._repr_png_()
        assert png.startswith(b"\x89PNG") and 5_000 < len(png) < 150_000
        assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 9
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


# ------------------------------------------------------------------------------------------------ reports
def test_pass_at_k_has_a_line_and_a_band_per_report():
    (ax,) = view.plot_pass_at_k({f"policy {k}": report(k / 10) for k in range(7)}).axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[k / 10] * 2 for k in range(7)]
    assert len(ax.collections) == 7
    with pytest.raises(ValueError, match="pass@k"):
        view.plot_pass_at_k({"base": {"overall": {}}})


def test_groups_have_a_bar_per_report_that_has_them():
    small = report(0.3)
    figure = view.plot_by_group({"small": small, "large": report(0.8)})
    assert sorted(bar.get_height() for bar in figure.axes[0].patches) == [0.3, 0.3, 0.8, 0.8]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["arithmetic", "logic"]
    del small["by"]["domain"]["arithmetic"]
    figure = view.plot_by_group({"small": small, "large": report(0.8)})
    assert sorted(bar.get_height() for bar in figure.axes[0].patches) == [0.3, 0.8, 0.8]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["small", "large"]
    with pytest.raises(ValueError, match="no greedy_accuracy by level"):
        view.plot_by_group({"base": report(0.3)}, group="level")


# --------------------------------------------------------------------------------------------- live figure
@pytest.fixture
def screen(monkeypatch):
    """Stands in for a notebook's display: lists what is shown and what is replaced, at the time `now`."""
    screen = types.SimpleNamespace(shown=[], replaced=[], now=0.0)
    handle = types.SimpleNamespace(update=screen.replaced.append)

    def display(figure, display_id):
        screen.shown.append(figure)
        return handle

    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    monkeypatch.setattr(curves_module, "_in_notebook", lambda: True)
    monkeypatch.setattr(curves_module.time, "monotonic", lambda: screen.now)
    monkeypatch.delenv("PYTEST_VERSION", raising=False)
    return screen


@pytest.mark.parametrize(
    ("seconds_to_draw", "redraws"),
    # With one log a second, a quick drawing is replaced every three seconds. One of two seconds costs forty of rest.
    [(0, 12), (2, 0)],
)
def test_live_plot_redraws_in_place_and_does_not_slow_the_training(
    screen, monkeypatch, seconds_to_draw, redraws
):
    plot = TrainingPlot(seconds=3)

    def draw():
        screen.now += seconds_to_draw

    monkeypatch.setattr(plot, "figure", draw)
    for log in LOGS[:40]:
        screen.now += 1
        plot.update(log)
    assert (len(screen.shown), len(screen.replaced)) == (1, redraws)
    plot.close()
    assert (len(screen.shown), len(screen.replaced)) == (1, redraws + 1)


def test_under_pytest_it_draws_once_at_the_end(screen, monkeypatch):
    monkeypatch.setenv("PYTEST_VERSION", "8")
    plot = TrainingPlot(["reward"], seconds=0)
    for log in LOGS[:5]:
        plot.update(log)
    assert screen.shown == []
    plot.close()
    assert titles(screen.shown[0]) == ["reward"] and screen.replaced == []


def test_outside_a_notebook_it_only_collects():
    plot = TrainingPlot(["reward"], seconds=0)
    plot.update({"loss": 0.1})
    plot.update(LOGS[0])
    plot.close()
    assert titles(plot.figure()) == ["reward"]
    TrainingPlot().close()  # a run that logged nothing is no reason to fail


# ------------------------------------------------------------------------------------------------- traces
def page(**row):
    return str(show_traces([{"prompt": "p", **row}])).partition("</style>")[2]


def test_all_text_is_escaped_and_tags_balance():
    evil = "<script>alert('x')</script><think><b>&amp;</think><answer><img src=x onerror=y></answer>\"'"
    body = page(prompt=evil, completion=evil, title=evil, rewards={evil: 1.0})
    assert "<script" not in body and "<img" not in body and "<b>" not in body
    assert "&lt;script&gt;" in body and "&amp;amp;" in body
    for text in (evil, "</think></answer>", "<think><think>a<answer>b", "<answer></answer></think>x<think>"):
        whole = str(show_traces([{"prompt": text, "completion": text}]))
        ElementTree.fromstring(whole)  # raises on a stray tag


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {"completion": "<think>3=1. Wait, check: 3=3.</think> <answer>14</answer>"},
            '<span class="think">3=1. <span class="check">Wait, check:</span> 3=3.</span>'
            '<span class="tag">&lt;/think&gt;</span> <span class="tag">&lt;answer&gt;</span>'
            '<span class="answer">14</span>',
        ),
        ({"completion": "<think>Let's check &"}, '<span class="check">Let&#x27;s check</span> &amp;'),
        ({"completion": "<think>First 1+1=2"}, '<span class="think">First 1+1=2</span>'),
        ({"completion": ""}, "(empty)"),
        (
            {"rewards": {"accuracy": 1.0, "code": None, "length": -0.25}},
            '<span class="badge good">accuracy 1</span> <span class="badge ">code not graded</span>'
            ' <span class="badge bad">length -0.25</span>',
        ),
        ({"advantage": -0.7}, '<span class="badge bad strong">advantage -0.70</span>'),
        ({"advantage": 0.001}, "advantage 0<"),
        ({"truncated": True}, "token limit"),
        ({"completion": "x" * 2000}, "2,000 characters: scroll"),
    ],
)
def test_marks_and_badges(row, expected):
    body = page(**{"completion": "x", **row})
    assert expected in body
    assert ("token limit" in body) == bool(row.get("truncated"))


def test_before_and_after_stand_side_by_side():
    body = page(before="7", after={"completion": "8", "rewards": {"accuracy": 1.0}, "truncated": True})
    order = [body.index(piece) for piece in ("Before", "<pre>7</pre>", "After", "<pre>8</pre>")]
    assert order == sorted(order)
    assert body.count("accuracy 1") == 1 and body.count("token limit") == 1
    with pytest.raises(ValueError, match="needs `completion`"):
        show_traces([{"prompt": "p", "before": "7"}])


def test_the_page_is_self_contained_and_scoped():
    text = str(show_traces([{"prompt": "p", "completion": ""}]))
    assert not [word for word in ("http", "url(", "<script", "@import") if word in text]
    style = text.partition("<style>")[2].partition("</style>")[0]
    for line in style.splitlines():
        if "{" in line and not line.startswith(("  ", "@")):
            assert line.startswith(".r1lab-traces")
    assert "prefers-color-scheme:dark" in style and "@media print" in style
    assert repr(show_traces([])).startswith("<0 traces")


# ------------------------------------------------------------------------------------------------- rewards
def test_lines_are_drawn_as_given_and_must_be_as_long_as_the_axis():
    (ax,) = view.plot_lines([0, 1, 2], {"right": [1, 2, 3], "wrong": [0, 0, 1]}, xlabel="tokens").axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[1, 2, 3], [0, 0, 1]]
    assert ax.get_xlabel() == "tokens"
    with pytest.raises(ValueError, match="'short' has 2 values for 3 points"):
        view.plot_lines([0, 1, 2], {"short": [1, 2]})


def test_distributions_are_shares_of_the_graded_and_wide_ones_are_binned():
    columns = {"accuracy": [1.0, 0.0, 0.0, None, 0.0], "cosine": [k / 99 for k in range(100)]}
    accuracy, cosine = view.plot_distributions(columns).axes
    bars = sorted((bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in accuracy.patches)
    assert bars == [(pytest.approx(0.0), 0.75), (pytest.approx(1.0), 0.25)]
    assert accuracy.get_title(loc="left") == "accuracy\nmean 0.25"
    assert len(cosine.patches) == 12 and sum(bar.get_height() for bar in cosine.patches) == pytest.approx(1)
    with pytest.raises(ValueError, match="'code' has no value"):
        view.plot_distributions({"code": [None, None]})


def test_proxy_and_truth_share_the_axis_of_all_runs():
    other = [{"step": 1, "reward": 5.0, "rewards/accuracy/mean": -1.0}]
    figure = view.plot_proxy_and_truth({"hack": LOGS, "mend": other}, truth="rewards/accuracy/mean")
    assert titles(figure) == ["hack", "mend"]
    ((low, high),) = {ax.get_ylim() for ax in figure.axes}
    assert low <= -1 and high >= 5
    line, points = figure.axes[0].lines[:2]
    assert list(points.get_ydata()) == pytest.approx(REWARDS) and list(line.get_ydata()) == smooth(REWARDS)
    with pytest.raises(ValueError, match="'hack' has not logged 'rewards/truth/mean'"):
        view.plot_proxy_and_truth({"hack": LOGS}, truth="rewards/truth/mean")


def test_the_progress_line_counts_from_where_a_resumed_run_goes_on():
    stream = io.StringIO()
    show = view.progress_line(stream)
    show({"step": 51, "steps": 100, "reward": 0.5, "rewards/format/mean": 0.25})
    assert "51/100  reward 0.50  format 25%" in stream.getvalue()
    show({"step": 52, "steps": 100, "loss": "1.5"})
    assert stream.getvalue().endswith("52/100  loss 1.500  0.0 min left ")
    show({"step": 100, "steps": 100, "train_runtime": 3.0})
    assert "100/100" not in stream.getvalue()
