"""The committed figures of `make bench-rewards`, and what can be checked of them on any machine."""

import json
import subprocess
import sys

import bench_rewards as bench
import pytest

from r1lab.scale import DATA

REPORT = json.loads((DATA / "runs" / "bench-rewards.json").read_text())


@pytest.mark.parametrize("name", bench.TARGETS)
def test_the_recorded_figure_meets_its_target(name):
    goal, more = bench.TARGETS[name]
    value = REPORT["figures"][name]
    assert value >= goal if more else value <= goal


def test_the_record_is_of_the_tables_as_they_are():
    assert REPORT["math_cases"] == len(bench.read_cases("math"))
    assert REPORT["figures"]["hostile_answers"] == len(bench.read_cases("hostile"))
    assert REPORT["figures"]["hostile_paid"] == 0 and REPORT["figures"]["mixed_math_right"] == 1.0
    assert {attack["score"] for attack in REPORT["figures"]["hostile_code"].values()} == {0.0}
    assert REPORT["figures"]["hostile_code"].keys() == bench.HOSTILE_CODE.keys()


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
