"""Figures are checked by what they draw, pages by what they escape; how they look is for eyes."""

import io
import math
import sys
import types
from xml.etree import ElementTree

import pytest

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
    assert titles(view.plot_training(LOGS, ["kl"])) == ["kl"]


def test_curves_skip_what_is_no_number_and_are_smoothed_without_a_shift():
    log = [{"step": 5, "a": 1}, {"b": 2}, {"step": 7, "a": math.nan}, {"a": 3.0}]
    assert series(log, "a") == ([5, 3], [1.0, 3.0])
    assert smooth([2.0] * 50) == [2.0] * 50
    zigzag = smooth([0.0, 1.0] * 30)
    assert len(zigzag) == 60 and min(zigzag) > 0.2 and max(zigzag) < 0.8
    figure = view.plot_runs({"a": LOGS, "b": LOGS[:5]}, {"Reward": "reward", "Entropy": "entropy"})
    one, other = figure.axes[0].lines
    assert list(one.get_ydata()) == smooth(REWARDS) and len(other.get_xdata()) == 5
    figure = view.plot_proxy_and_truth({"a": LOGS, "b": LOGS[:5]}, truth="rewards/accuracy/mean")
    assert len({ax.get_ylim() for ax in figure.axes}) == 1, "runs can be compared"


def test_bars_and_points_are_the_numbers_of_the_reports():
    (ax,) = view.plot_pass_at_k({f"policy {k}": report(k / 10) for k in range(7)}).axes
    assert [list(line.get_ydata()) for line in ax.lines] == [[k / 10] * 2 for k in range(7)]
    small = report(0.3)
    del small["by"]["domain"]["arithmetic"]
    (ax,) = view.plot_by_group({"large": report(0.8), "small": small}).axes
    assert sorted(bar.get_height() for bar in ax.patches) == [0.3, 0.8, 0.8]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["arithmetic", "logic"]
    (ax,) = view.plot_distributions({"accuracy": [1.0, 0.0, 0.0, None, 0.0]}).axes
    shares = [bar.get_height() for bar in ax.patches if bar.get_height()]
    assert shares == [0.75, 0.25], "of the graded"
    (ax,) = view.plot_lines([0, 1, 2], {"right": [1, 2, 3]}, xlabel="tokens").axes
    assert list(ax.lines[0].get_ydata()) == [1, 2, 3] and ax.get_xlabel() == "tokens"


@pytest.mark.parametrize(
    "draw, message",
    [
        (lambda: view.plot_training([]), "nothing to draw"),
        (lambda: view.plot_training(LOGS, ["no_such_key"]), "nothing to draw"),
        (lambda: view.plot_runs({"a": LOGS}, {"Truth": "truth"}), "'a' has not logged 'truth'"),
        (lambda: view.plot_proxy_and_truth({"a": LOGS}, truth="truth"), "'a' has not logged 'truth'"),
        (lambda: view.plot_pass_at_k({"base": {"overall": {}}}), "pass@k"),
        (lambda: view.plot_by_group({"base": report(0.3)}, group="level"), "no greedy_accuracy by level"),
        (lambda: view.plot_distributions({"code": [None, None]}), "'code' has no value"),
        (lambda: view.plot_lines([0, 1, 2], {"short": [1, 2]}), "'short' has 2 values for 3 points"),
    ],
)
def test_what_cannot_be_drawn_is_named(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


# --------------------------------------------------------------------------------------------- live figure
@pytest.fixture
def screen(monkeypatch):
    """Stands in for a notebook's display: lists what is shown and what is replaced, at the time `now`."""
    screen = types.SimpleNamespace(shown=[], replaced=[], now=0.0)
    handle = types.SimpleNamespace(update=screen.replaced.append)
    shows = types.SimpleNamespace(display=lambda figure, display_id: screen.shown.append(figure) or handle)
    monkeypatch.setitem(sys.modules, "IPython.display", shows)
    monkeypatch.setattr(curves_module, "_in_notebook", lambda: True)
    monkeypatch.setattr(curves_module.time, "monotonic", lambda: screen.now)
    monkeypatch.delenv("PYTEST_VERSION", raising=False)
    return screen


# With one log a second, a quick drawing is replaced every three seconds. One of two seconds costs forty of rest.
@pytest.mark.parametrize(("seconds_to_draw", "redraws"), [(0, 12), (2, 0)])
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
    TrainingPlot().close()  # a run that logged nothing is no reason to fail


# ------------------------------------------------------------------------------------------------- traces
def page(**row):
    return str(show_traces([{"prompt": "p", **row}])).partition("</style>")[2]


def test_all_text_is_escaped_and_tags_balance_and_nothing_is_loaded():
    evil = "<script>alert('x')</script><think><b>&amp;</think><answer><img src=x onerror=y></answer>\"'"
    body = page(prompt=evil, completion=evil, title=evil, rewards={evil: 1.0})
    assert "<script" not in body and "<img" not in body and "<b>" not in body
    assert "&lt;script&gt;" in body and "&amp;amp;" in body
    for text in (evil, "</think></answer>", "<think><think>a<answer>b", "<answer></answer></think>x<think>"):
        whole = str(show_traces([{"prompt": text, "completion": text}]))
        ElementTree.fromstring(whole)  # raises on a stray tag
    assert not [word for word in ("http", "url(", "<script", "@import") if word in whole]


WHOLE = (
    '<span class="think">3=1. <span class="check">Wait, check:</span> 3=3.</span><span class="tag">&lt;/think&gt;</span>'
    ' <span class="tag">&lt;answer&gt;</span><span class="answer">14</span>'
)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"completion": "<think>3=1. Wait, check: 3=3.</think> <answer>14</answer>"}, WHOLE),
        ({"completion": "<think>First 1+1=2"}, '<span class="think">First 1+1=2</span>'),
        (
            {"rewards": {"accuracy": 1.0, "code": None}},
            'good">accuracy 1</span> <span class="badge ">code not',
        ),
        ({"advantage": -0.7}, '<span class="badge bad strong">advantage -0.70</span>'),
        ({"truncated": True}, "token limit"),
    ],
)
def test_marks_and_badges(row, expected):
    body = page(**{"completion": "x", **row})
    assert expected in body and ("token limit" in body) == bool(row.get("truncated"))


def test_before_and_after_stand_side_by_side():
    body = page(before="7", after={"completion": "8", "rewards": {"accuracy": 1.0}, "truncated": True})
    order = [body.index(piece) for piece in ("Before", "<pre>7</pre>", "After", "<pre>8</pre>")]
    assert order == sorted(order)
    assert body.count("accuracy 1") == 1 and body.count("token limit") == 1
    with pytest.raises(ValueError, match="needs `completion`"):
        show_traces([{"prompt": "p", "before": "7"}])


def test_the_progress_line_counts_from_where_a_resumed_run_goes_on():
    stream = io.StringIO()
    show = view.progress_line(stream)
    show({"step": 51, "steps": 100, "reward": 0.5, "rewards/format/mean": 0.25})
    assert "51/100  reward 0.50  format 25%" in stream.getvalue()
    show({"step": 52, "steps": 100, "loss": "1.5"})
    assert stream.getvalue().endswith("52/100  loss 1.500  0.0 min left ")
