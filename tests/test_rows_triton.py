"""The Triton row kernel without a GPU: computed by Triton's interpreter, compiled for the GPUs of the course."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed (it exists for Linux only)")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "interpret", "expected"),
    [("triton_checks.py", "1", "all checks passed"), ("triton_compiles.py", "0", "all kernels compiled")],
)
def test_the_row_kernel(script, interpret, expected):
    """In a process of its own: the interpreter is chosen when triton is first imported, and others import it too."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / script)],
        env={
            **os.environ,
            "TRITON_INTERPRET": interpret,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path]),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert expected in done.stdout
