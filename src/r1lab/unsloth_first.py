"""Imports Unsloth before the libraries that it rewrites, also with a vLLM that is older than TRL expects.

The set-up cell of the notebooks and `r1lab.stages` call `import_unsloth`. Nothing here imports torch, transformers,
TRL or vLLM by itself: a class that was imported before Unsloth stays as it was.
"""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import NamedTuple

# TRL 1.14.2 is written for vLLM 0.20 to 0.30. Colab's GPUs need 0.11.2 (T4) or 0.15.1 (A100, L4).
FIRST_SUPPORTED = (0, 20)
# A module that older versions do not have, and the names that TRL imports from it.
MISSING = "vllm.distributed.weight_transfer"
MISSING_NAMES = ("NCCLTrainerSendWeightsArgs", "NCCLWeightTransferEngine")


class Gpu(NamedTuple):
    """The first GPU: its name, compute capability (7.5 is Turing, 8.0 the first with bfloat16) and memory in GiB."""

    name: str
    capability: float
    memory: float


def find_gpu() -> Gpu | None:
    """The first GPU that nvidia-smi reports, or None."""
    query = ["nvidia-smi", "--query-gpu=name,compute_cap,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True)
        name, capability, memory = done.stdout.splitlines()[0].rsplit(",", 2)
        return Gpu(name.strip(), float(capability), float(memory) / 1024)
    except (OSError, IndexError, ValueError):
        return None


def import_unsloth() -> None:
    """Set Unsloth's environment variables for vLLM, unless they are set already, and import Unsloth.

    Raises ModuleNotFoundError when Unsloth is not installed.
    """
    # vLLM gives its memory to the training while it waits.
    os.environ.setdefault("UNSLOTH_VLLM_STANDBY", "1")
    gpu = find_gpu()
    if gpu and gpu.capability < 8:
        # FlashInfer has no ready kernels for these GPUs, and compiling them would delay the start of vLLM by minutes.
        os.environ.setdefault("UNSLOTH_VLLM_NO_FLASHINFER", "1")
    fill_in_for_old_vllm()
    import unsloth  # noqa: F401


def fill_in_for_old_vllm() -> None:
    """Add empty modules that TRL imports and a vLLM before FIRST_SUPPORTED lacks. With a newer vLLM, do nothing.

    TRL uses these names only to send weights to a vLLM server. With Unsloth, vLLM runs in the same process.
    """
    try:
        installed = tuple(map(int, version("vllm").split(".")[:2]))
    except PackageNotFoundError:
        return
    if installed >= FIRST_SUPPORTED:
        return
    package, module = ModuleType(MISSING), ModuleType(f"{MISSING}.nccl_engine")
    package.nccl_engine = module
    for name in MISSING_NAMES:
        setattr(module, name, None)
    sys.modules.setdefault(package.__name__, package)
    sys.modules.setdefault(module.__name__, module)
