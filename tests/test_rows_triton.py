"""The Triton row kernel without a GPU: computed by Triton's interpreter, compiled for the GPUs of the course."""

import sys
from importlib.util import find_spec

import pytest
from helpers import run_python


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed (it exists for Linux only)")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "interpret", "message"),
    [("triton_checks", "1", "all checks passed"), ("triton_compiles", "0", "all kernels compiled")],
)
def test_the_row_kernel(script, interpret, message):
    """In a process of its own: the interpreter is chosen when triton is first imported, and others import it too."""
    done = run_python(f"tests/{script}.py", path=sys.path, TRITON_INTERPRET=interpret)
    assert done.returncode == 0 and message in done.stdout, done.stderr[-3000:]
