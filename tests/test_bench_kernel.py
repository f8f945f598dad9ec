"""The kernel's bench: same problem and same answer for everyone, memory that is counted, a figure that shows it."""

import sys

import bench_kernel as bench
import pytest
import torch

from r1lab.kernels.measure import GROUP
from r1lab.view import plot_kernel_bench


def test_a_sparse_problem_is_half_dead_and_a_quarter_padding():
    full = bench.make_problem(16, 32, 8, 50)
    sparse = bench.make_sparse(full)
    assert sparse.mask.mean() == 0.75 and full.mask.all() and (full.advantages != 0).all()
    dead = sparse.advantages.view(-1, GROUP) == 0
    assert dead.all(1).tolist() == [True, False, True, False] and not dead[1::2].any()
    assert torch.equal(bench.make_problem(16, 32, 8, 50).hidden, full.hidden), (
        "the same sizes give the same numbers"
    )


@pytest.mark.parametrize("name", [name for name in bench.IMPLEMENTATIONS if name != "full logits"])
@pytest.mark.parametrize("trainable,sparse", [(True, True), (False, False)])
def test_every_implementation_has_the_gradients_of_the_full_logits(name, trainable, sparse):
    pytest.importorskip({"liger": "liger_kernel", "trl": "trl.kernels"}.get(name, "torch"))
    both = []
    for implementation in (name, "full logits"):
        problem = bench.make_problem(8, 8, 16, 50, trainable=trainable)
        problem = bench.make_sparse(problem) if sparse else problem
        loss = bench.forward_backward(bench.IMPLEMENTATIONS[implementation], problem)
        both.append([loss, problem.hidden.grad] + [problem.weight.grad] * trainable)
        assert (problem.weight.grad is None) == (not trainable)
    for got, wanted in zip(*both, strict=True):
        assert torch.allclose(got, wanted, atol=1e-6)


@pytest.mark.slow
def test_run_case_measures_in_processes_and_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(bench, "IMPLEMENTATIONS", {"fused": bench.fused})
    sizes = {"completions": 8, "length": 4, "width": 8, "vocabulary": 50}
    results = bench.run_case(sizes, True, False, repeat=2, threads=1)
    assert set(results) == {"fused", bench.FLOOR}
    assert all(len(result["seconds"]) == 2 and result["median_seconds"] > 0 for result in results.values())


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


def measured(seconds, peak):
    return {"seconds": [seconds], "peak_mb": peak, "median_seconds": seconds}


RESULTS = {
    "fused": measured(1.0, 50.0),
    "liger": {"note": "not installed: liger_kernel"},
    "trl": measured(4.0, 800.0),
    bench.FLOOR: measured(0.8, 1.0),
}
RECORD = {"cases": [{"name": "trainable head", "results": RESULTS}]}


def test_plot_has_a_bar_for_what_ran_and_words_for_what_did_not():
    figure = plot_kernel_bench(RECORD)
    seconds, peaks = figure.axes
    assert [bar.get_width() for bar in seconds.patches] == [1.0, 4.0]
    assert [bar.get_width() for bar in peaks.patches] == [50.0, 800.0]
    assert "not measured" in [text.get_text() for text in seconds.texts]
    assert seconds.lines[0].get_xdata()[0] == 0.8, "the floor"
    with pytest.raises(ValueError, match="no case"):
        plot_kernel_bench({"cases": []})


def test_table_compares_with_the_kernel():
    lines = bench.table(RECORD).splitlines()
    assert "| trainable head | trl | 4.000 | 800 | 0.25 | 0.062 |" in lines
    assert any("not installed" in line for line in lines)
