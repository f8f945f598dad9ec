"""`make gpu-check`: a failing or slow measurement is recorded and stops nothing, and all of it runs on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_check import __main__ as check

ROOT = Path(__file__).parents[1]


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
    ("program", "reason"),
    [
        ("import time; time.sleep(60)", "stopped after its 1 s"),
        ("import os; os.abort()", "the process ended with -6"),
    ],
)
def test_a_step_that_hangs_or_crashes_is_recorded_and_the_next_one_runs(
    monkeypatch, tmp_path, program, reason
):
    monkeypatch.setattr(check, "DEVICE", "cuda")  # in a rehearsal nobody is in a hurry
    monkeypatch.setattr(check, "command", lambda name, folder: [sys.executable, "-c", program])
    (tmp_path / "gpu-speed.json").write_text('{"finished": true}')  # of an earlier run
    check.run_step(check.Step(("speed",), 1, ""), tmp_path)
    record = read(tmp_path, "speed")
    assert record["error"] == reason and "finished" not in record


def test_the_verdict_says_what_held_and_what_did_not(tmp_path, capsys):
    records = {
        "speed": {"finished": True, "claims": [{"claim": "fast", "measured": "0.7", "holds": True}]},
        "zero": {"finished": False, "error": "out of memory", "claims": [{"claim": "learns", "measured": "40%", "holds": False}]},
        "smollm2": {"finished": True, "skipped": "no weights", "claims": []},
    }  # fmt: skip
    for name, record in records.items():
        (tmp_path / f"gpu-{name}.json").write_text(json.dumps({"step": name, **record}))
    assert not check.verdict(tmp_path, list(records))
    held, failed, rest = capsys.readouterr().out.strip().split("\n\n")
    assert held == "Held: 1 of 2 claims\n  fast: 0.7"
    assert failed == "Did not hold: 1 of 2 claims\n  learns: 40%"
    assert rest.endswith("  zero: out of memory\n  smollm2: no weights")


def test_all_steps_together_fit_into_eight_minutes():
    assert sum(step.limit for step in check.STEPS) <= 480


@pytest.mark.slow
def test_the_rehearsal_runs_to_its_end(tmp_path):
    """Every step but the one that needs weights from elsewhere."""
    names = ["correctness", "speed", "zero-float32", "qwen3"]
    done = subprocess.run(
        [sys.executable, "-m", "gpu_check", "--output", str(tmp_path), "--only", *names],
        env={**os.environ, "GPU_CHECK_DEVICE": "cpu", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tools'}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert all(read(tmp_path, name)["finished"] for name in names)
    assert all(claim["holds"] for claim in read(tmp_path, "correctness")["claims"])
    assert "the figures mean nothing" in done.stdout and (tmp_path / "gpu-check.png").stat().st_size > 10_000
