"""What can be checked of `make bench-rewards` on any machine."""

import subprocess
import sys

import bench_rewards as bench


def test_importing_the_rewards_is_cheap():
    """Of CPU time, the best of three: the wall tells more about what else the machine is doing."""
    program = "import time; import r1lab.rewards, sys; assert not {'sympy', 'torch'} & set(sys.modules); print(time.process_time())"
    said = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    assert min(float(done.stdout) for done in said) < 0.3


def test_a_small_run_gives_every_figure(monkeypatch):
    monkeypatch.setattr(bench, "REPEATS", 1)
    monkeypatch.setattr(bench, "HOSTILE_CODE", {"sys.exit(0)": bench.HOSTILE_CODE["sys.exit(0)"]})
    monkeypatch.setattr(
        bench,
        "read_cases",
        lambda name, read=bench.read_cases: read(name)[:6],  # the first ones are quick
    )
    report = bench.measure(trl=False)
    assert set(bench.TARGETS) <= set(report["figures"])
    assert report["packages"]["math-verify"] and report["math_cases"] == 6
