"""The Triton row kernel on a CPU, through Triton's interpreter."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed (it exists for Linux only)")
@pytest.mark.slow
def test_the_row_kernel_under_the_interpreter():
    """In a process of its own: the interpreter is chosen when triton is first imported, and others import it too."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "triton_checks.py")],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "all checks passed" in done.stdout
