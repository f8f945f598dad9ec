"""The kernel's bench: same problem and same answer for everyone, memory that is counted, a figure that shows it."""

import sys

import bench_kernel as bench
import pytest
import torch


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
