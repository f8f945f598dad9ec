"""Set up a rented notebook, Colab's or Kaggle's: the packages, the dial, the output folder. tools/setup_cell.py calls it.

No secret is read or asked for: every model and data set of the course is public.
"""

import importlib
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOG = "r1lab-install.log"
# The kernel has these loaded before the first cell runs; they stay as they are, whatever a lock says.
KEPT = (
    "numpy", "pandas", "pillow", "ipykernel", "ipython", "tornado", "pyzmq", "traitlets", "jupyter-client", "jupyter-core",
)  # fmt: skip
# Two versions of one of these in one process crash or lie: module -> package.
MIXED_UP = {"numpy": "numpy", "pandas": "pandas", "PIL": "pillow", "pyarrow": "pyarrow", "torch": "torch"}
MIXED_UP |= {
    name: name for name in ("triton", "tokenizers", "transformers", "datasets", "peft", "trl", "vllm")
}
TOLD = ("torch", "transformers", "trl", "datasets", "peft", "unsloth", "vllm", "numpy")
FORM = ("R1LAB_SCALE", "R1LAB_STEPS", "R1LAB_RESUME", "R1LAB_OUTPUT")
OUTSIDE = {name: os.environ[name] for name in FORM if name in os.environ}  # what the form must not overrule
STALE: set[str] = set()  # loaded in another version than the one now on the disk
DRIVE = "/content/drive"


@dataclass(frozen=True)
class Gpu:
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


def choose_lock(scale: str, gpu: Gpu | None) -> Path | None:
    """The lock in requirements/ for this scale on this GPU; None at tiny, which runs on the platform's own torch.

    Raises ValueError when the scale does not fit the machine.
    """
    if scale == "tiny":
        return None
    if scale not in ("t4", "a100"):
        raise ValueError(f"scale {scale!r} is not for a notebook: choose tiny, t4 or a100")
    if sys.version_info[:2] not in ((3, 12), (3, 13)):
        raise ValueError(
            f"the GPU environments are for Python 3.12 and 3.13 and this is {sys.version_info[0]}.{sys.version_info[1]}: "
            "choose another runtime version (Runtime > Change runtime type), or the scale tiny"
        )
    if gpu is None:
        raise ValueError(
            f"scale {scale} needs a GPU and there is none: choose one (Runtime > Change runtime type), or the scale tiny"
        )
    if gpu.capability < 7.5:
        raise ValueError(f"the {gpu.name} is too old for Unsloth and vLLM: choose a T4, or the scale tiny")
    if scale == "a100" and (gpu.capability < 8 or gpu.memory < 38):
        raise ValueError(
            f"scale a100 needs bfloat16 and 40 GB and the {gpu.name} has {gpu.memory:.0f}: choose t4"
        )
    return ROOT / "requirements" / ("colab-t4.txt" if gpu.capability < 8 else "colab-a100.txt")


def requirements(lock: str) -> list[str]:
    """What to hand to the installer: the lock's versions, and for KEPT packages those that are installed."""
    pins = [line.partition("#")[0].strip() for line in lock.splitlines()]
    kept = {name: found for name in KEPT if (found := _version(name))}
    pins = [pin for pin in pins if pin and pin.partition("==")[0] not in kept]
    return pins + [f"{name}=={found}" for name, found in kept.items()]


def set_up(scale: str = "tiny", *, steps: int = 0, resume: bool = False, use_drive: bool = False) -> None:
    """Install what `scale` needs, set the course's environment variables, print the versions.

    A variable of FORM that was set before wins over the form. steps: 0 means the scale's own number. resume: training
    cells go on from their last complete checkpoint. use_drive: runs are written to Google Drive.
    Raises ValueError when the scale does not fit the machine, RuntimeError when the installation failed or the session
    must be restarted.
    """
    scale = OUTSIDE.get("R1LAB_SCALE", scale)
    gpu = find_gpu()
    lock = choose_lock(scale, gpu)
    _install(requirements(lock.read_text(encoding="utf-8") if lock else ""), lock)
    output = _mount_drive() if use_drive and "R1LAB_OUTPUT" not in OUTSIDE else ""
    values = (scale, str(steps or ""), "1" if resume else "", output)
    for name, value in zip(FORM, values, strict=True):
        if name not in OUTSIDE:
            os.environ.pop(name, None)
            os.environ.update({name: value} if value else {})
    if lock:  # Kaggle lends two; Unsloth trains on one
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    print(f"scale {scale} on {gpu.name if gpu else 'the CPU'}, Python {sys.version.split()[0]};", end=" ")
    print(", ".join(f"{name} {found}" for name in TOLD if (found := _version(name))))
    if gpu and not lock:
        print("There is a GPU; for Qwen3-4B choose t4 or a100 above. At tiny the notebook trains on the CPU.")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _install(pins: list[str], lock: Path | None) -> None:
    """Install r1lab and `pins` with uv, pip's output into LOG. Raises RuntimeError, also when a restart is needed."""
    source = lock.relative_to(ROOT) if lock else "pyproject.toml"
    print(f"installing the packages of {source} (details in {LOG})", flush=True)
    before = {name: _version(name) for name in MIXED_UP.values()}
    uv = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    for command in (
        [sys.executable, "-m", "pip", "install", "-q", "uv"],
        [*uv, *pins, "--editable", str(ROOT)],
    ):
        with open(LOG, "a", encoding="utf-8") as log:
            failed = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT).returncode
        if failed:
            last = Path(LOG).read_text(encoding="utf-8").strip().splitlines()[-5:]
            raise RuntimeError("the installation failed, most likely for the network:\n" + "\n".join(last))
    importlib.invalidate_caches()
    STALE.update(m for m, p in MIXED_UP.items() if m in sys.modules and before[p] != _version(p))
    if STALE:
        raise RuntimeError(
            f"{', '.join(sorted(STALE))} had been loaded before a new version came: choose Runtime > Restart session, "
            "then run this cell again; nothing is downloaded twice"
        )


def _mount_drive() -> str:
    """The folder for runs on Google Drive, mounted; "" on Kaggle, which has none."""
    try:
        from google.colab import drive
    except ImportError:
        print("No Google Drive here: on Kaggle, save a version to keep what is written.")
        return ""
    drive.mount(DRIVE)
    return f"{DRIVE}/MyDrive/r1lab"
