"""The branches for a GPU in the notebooks run to their end: rehearsed on a CPU, see gpu_rehearsal.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["04_r1_zero", "05_cold_start", "06_reasoning_rl", "10_evaluate_and_share"])
def test_a_notebook_runs_at_scale_t4_with_stand_ins(name, tmp_path):
    done = subprocess.run(
        [sys.executable, "tests/gpu_rehearsal.py", f"notebooks/{name}.ipynb"],
        cwd=ROOT,
        env={
            **os.environ,
            "R1LAB_SCALE": "t4",
            "R1LAB_OUTPUT": str(tmp_path),
            "PYTHONPATH": str(ROOT / "src"),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "at tiny" not in done.stdout, "the branch for scale tiny ran"
