"""The bench of the rewards gives every figure, and importing the rewards is cheap on any machine."""

import subprocess
import sys

import bench_rewards as bench


def test_importing_the_rewards_is_cheap():
    """Of CPU time, once of three times: the wall tells more about what else the machine is doing."""
    program = "import time, r1lab.rewards, sys; assert not {'sympy', 'torch'} & set(sys.modules); print(time.process_time())"
    command = [sys.executable, "-c", program]
    runs = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(3))
    assert any(float(run.stdout) < 0.3 for run in runs)


def test_a_small_run_gives_every_figure(monkeypatch):
    monkeypatch.setattr(bench, "REPEATS", 1)
    monkeypatch.setattr(bench, "COMPLETIONS", 20)
    monkeypatch.setattr(bench, "CANDIDATES", 4)
    monkeypatch.setattr(bench, "HOSTILE_CODE", {"sys.exit(0)": bench.HOSTILE_CODE["sys.exit(0)"]})
    few = {name: bench.read_cases(name)[:6] for name in ("math", "hostile")}  # the first ones are quick
    monkeypatch.setattr(bench, "read_cases", few.get)
    report = bench.measure(trl=False)
    assert set(bench.TARGETS) <= set(report["figures"])
    assert report["packages"]["math-verify"] and report["math_cases"] == 6
