"""`make gpu-check`: a failing or slow measurement is recorded and stops nothing, and all of it runs on a CPU."""

import json
import sys
from pathlib import Path

import pytest
from gpu_check import __main__ as check
from helpers import run_python


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / f"gpu-{name}.json").read_text())


def test_what_was_measured_before_a_failure_is_kept_with_the_reason(monkeypatch, tmp_path):
    def fails(record, device):
        record.add(seconds=1.5)
        record.claim("it is fast", True, "1.5 s")
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(check, "measurement", lambda name: fails)
    monkeypatch.setattr(check, "machine", dict)
    assert check.run_one("speed", tmp_path) == 1
    record = read(tmp_path, "speed")
    assert record["measurements"] == [{"seconds": 1.5}] and record["claims"][0]["holds"]
    assert not record["finished"] and record["error"] == "RuntimeError: no kernel image"


@pytest.mark.parametrize(
    ("program", "limit", "reason"),
    [
        ("import time; time.sleep(60)", 0.1, "stopped after its 0.1 s"),
        ("import os; os.abort()", 60, "the process ended with -6"),
    ],
)
def test_a_step_that_hangs_or_crashes_is_recorded_and_the_next_one_runs(
    monkeypatch, tmp_path, program, limit, reason
):
    monkeypatch.setattr(check, "DEVICE", "cuda")  # in a rehearsal nobody is in a hurry
    monkeypatch.setattr(check, "command", lambda name, folder: [sys.executable, "-c", program])
    (tmp_path / "gpu-speed.json").write_text('{"finished": true}')  # of an earlier run
    check.run_step(check.Step(("speed",), limit, ""), tmp_path)
    record = read(tmp_path, "speed")
    assert record["error"] == reason and "finished" not in record


@pytest.mark.slow
def test_the_rehearsal_runs_to_its_end(tmp_path):
    """Every step but the one that needs weights from elsewhere."""
    names = ["correctness", "speed", "zero-float32", "qwen3"]
    done = run_python("-m", "gpu_check", "--output", tmp_path, "--only", *names, GPU_CHECK_DEVICE="cpu")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert all(read(tmp_path, name)["finished"] for name in names)
    assert all(claim["holds"] for claim in read(tmp_path, "correctness")["claims"])
    assert "the figures mean nothing" in done.stdout and (tmp_path / "gpu-check.png").stat().st_size > 10_000
