"""The kernel's bench: same problem and same answer for everyone, memory that is counted, a figure that shows it."""

import json
import math
import sys

import bench_kernel as bench
import pytest
import torch

from r1lab.kernels.measure import GROUP
from r1lab.view import plot_kernel_bench

SMALL = {"device": "cpu", "dtype": torch.float32}


def test_a_sparse_problem_is_half_dead_and_a_quarter_padding():
    problem = bench.make_problem(16, 32, 8, 50, sparse=True)
    assert problem.mask.mean() == 0.75
    dead = problem.advantages.view(-1, GROUP) == 0
    assert dead.all(1).tolist() == [True, False, True, False] and not dead[1::2].any()
    full = bench.make_problem(16, 32, 8, 50)
    assert full.mask.all() and (full.advantages != 0).all()
    assert torch.equal(full.hidden, problem.hidden), "the same sizes give the same numbers"
    with pytest.raises(ValueError, match="multiple of 8"):
        bench.make_problem(12, 32, 8, 50)


@pytest.mark.parametrize("name", [name for name in bench.IMPLEMENTATIONS if name != "full logits"])
@pytest.mark.parametrize("trainable,sparse", [(True, True), (False, False)])
def test_every_implementation_has_the_gradients_of_the_full_logits(name, trainable, sparse):
    pytest.importorskip({"liger": "liger_kernel", "trl": "trl.kernels"}.get(name, "torch"))
    both = []
    for way in (name, "full logits"):
        problem = bench.make_problem(8, 6, 16, 50, trainable=trainable, sparse=sparse)
        loss = bench.forward_backward(bench.IMPLEMENTATIONS[way], problem)
        both.append([loss, problem.hidden.grad] + [problem.weight.grad] * trainable)
        assert (problem.weight.grad is None) == (not trainable)
    for got, wanted in zip(*both, strict=True):
        assert torch.allclose(got, wanted, atol=1e-6)


@pytest.mark.slow
def test_run_case_measures_in_processes_and_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(bench, "IMPLEMENTATIONS", {"fused": bench.fused})
    results = bench.run_case((8, 4, 8, 50), SMALL | {"trainable": True, "sparse": False}, repeat=2, threads=1)
    assert set(results) == {"fused", bench.FLOOR}
    assert all(len(found["seconds"]) == 2 and found["median_seconds"] > 0 for found in results.values())


def test_answers_that_differ_are_refused():
    right = {"loss": 0.5, "hidden norm": 2.0, "hidden projection": 0.1}
    bench.check_answers({"fused": {"answer": right}, "trl": {"answer": right}}, 1e-5)
    wrong = right | {"hidden projection": 0.2}
    with pytest.raises(AssertionError, match="trl and fused disagree on the hidden projection"):
        bench.check_answers({"fused": {"answer": right}, "trl": {"answer": wrong}}, 1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="the resident set has no high-water mark to reset")
def test_measure_counts_the_peak_and_not_what_was_there_before():
    before = torch.ones(1 << 24)  # 64 MiB
    _, peak = bench.measure(lambda: torch.ones(1 << 25).sum())
    assert peak == pytest.approx(2**27 / 1e6, abs=5), "the system counts pages a little late"
    _, nothing = bench.measure(lambda: before.sum())
    assert nothing < 20


def record():
    def found(seconds, peak):
        return {"seconds": [seconds], "peak_mb": peak, "median_seconds": seconds}

    results = {
        "fused": found(1.0, 50.0),
        "liger": {"note": "not installed: liger_kernel"},
        "trl": found(4.0, 800.0),
        bench.FLOOR: found(0.8, 1.0),
    }
    return {"cases": [{"name": "trainable head", "results": results}]}


def test_plot_has_a_bar_for_what_ran_and_words_for_what_did_not():
    figure = plot_kernel_bench(record())
    seconds, peaks = figure.axes
    assert [bar.get_width() for bar in seconds.patches] == [1.0, 4.0]
    assert [bar.get_width() for bar in peaks.patches] == [50.0, 800.0]
    assert "not measured" in [text.get_text() for text in seconds.texts]
    assert seconds.lines[0].get_xdata()[0] == 0.8, "the floor"
    with pytest.raises(ValueError, match="no case"):
        plot_kernel_bench({"cases": []})


def test_table_compares_with_the_kernel():
    lines = bench.table(record()).splitlines()
    assert "| trainable head | trl | 4.000 | 800 | 0.25 | 0.062 |" in lines
    assert any("not installed" in line for line in lines)


def test_the_recorded_run_is_whole():
    path = bench.Path(bench.__file__).parents[1] / "data" / "runs" / "bench-kernel.json"
    recorded = json.loads(path.read_text())
    assert [case["name"] for case in recorded["cases"]] == list(bench.CASES)
    for case in recorded["cases"]:
        for name in ("fused", "trl", "full logits", bench.FLOOR):
            found = case["results"][name]
            assert len(found["seconds"]) >= 5 and math.isfinite(found["median_seconds"])
