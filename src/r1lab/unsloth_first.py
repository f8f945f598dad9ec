"""Import Unsloth before the libraries that it rewrites, also beside a vLLM that is older than TRL expects.

The set-up cell of the notebooks and `r1lab.stages` call `import_unsloth`. Nothing here imports torch, transformers,
TRL or vLLM by itself: a class that was imported before Unsloth stays as it was.
"""

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from packaging.version import Version

from r1lab.colab import find_gpu

# TRL 1.14.2 is written for vLLM 0.20 to 0.30. Colab's GPUs need 0.11.2 (T4) or 0.15.1 (A100, L4).
FIRST_SUPPORTED = Version("0.20")
# What TRL imports from the module that older versions do not have.
MISSING = "vllm.distributed.weight_transfer"
MISSING_NAMES = ("NCCLTrainerSendWeightsArgs", "NCCLWeightTransferEngine")


def import_unsloth() -> None:
    """Import Unsloth, with its settings for vLLM in the environment unless they are there already.

    Raises ModuleNotFoundError when Unsloth is not installed.
    """
    # vLLM gives its memory to the training while it waits.
    os.environ.setdefault("UNSLOTH_VLLM_STANDBY", "1")
    gpu = find_gpu()
    if gpu and gpu.capability < 8:
        # FlashInfer has no kernels for these GPUs; vLLM would compile some for minutes before it starts.
        os.environ.setdefault("UNSLOTH_VLLM_NO_FLASHINFER", "1")
    fill_in_for_old_vllm()
    import unsloth  # noqa: F401


def fill_in_for_old_vllm() -> None:
    """Put empty modules where TRL imports what a vLLM before FIRST_SUPPORTED lacks; else do nothing.

    TRL uses these names only to send weights to a vLLM server. With Unsloth, vLLM runs in the same process.
    """
    try:
        installed = Version(version("vllm"))
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
