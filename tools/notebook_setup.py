"""Set up a notebook on Colab or Kaggle: the packages, the dial, the output folder. The set-up cell (setup_cell.py) calls it.

No secret is read or asked for: every model and data set of the course is public.
"""

import importlib
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from r1lab.unsloth_first import Gpu, find_gpu

ROOT = Path(__file__).resolve().parents[1]
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
REPORTED = ("torch", "transformers", "trl", "datasets", "peft", "unsloth", "vllm", "numpy")
FORM = ("R1LAB_SCALE", "R1LAB_STEPS", "R1LAB_RESUME", "R1LAB_OUTPUT")
# What the form must not overrule.
SET_BEFORE = {name: os.environ[name] for name in FORM if name in os.environ}
# Packages that are loaded in another version than the one on the disk.
STALE: set[str] = set()
DRIVE = "/content/drive"
ISSUES = "https://github.com/r1lab/r1lab/issues"
# What uv and pip write when the package index does not answer.
NO_NETWORK = re.compile(
    r"failed to fetch|error sending request|dns error|timed? ?out|connection|no route to host|network", re.I
)


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
    """What the installer gets: the lock's versions, and for KEPT packages those that are installed."""
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
    scale = SET_BEFORE.get("R1LAB_SCALE", scale)
    gpu = find_gpu()
    lock = choose_lock(scale, gpu)
    _install(requirements(lock.read_text(encoding="utf-8") if lock else ""), lock)
    output = _mount_drive() if use_drive and "R1LAB_OUTPUT" not in SET_BEFORE else ""
    values = (scale, str(steps or ""), "1" if resume else "", output)
    for name, value in zip(FORM, values, strict=True):
        if name not in SET_BEFORE:
            os.environ.pop(name, None)
            os.environ.update({name: value} if value else {})
    if lock:  # Kaggle lends two; Unsloth trains on one
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    print(f"scale {scale} on {gpu.name if gpu else 'the CPU'}, Python {sys.version.split()[0]};", end=" ")
    print(", ".join(f"{name} {found}" for name in REPORTED if (found := _version(name))))
    if gpu and not lock:
        print("There is a GPU; for Qwen3-4B choose t4 or a100 above. At tiny the notebook trains on the CPU.")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _install(pins: list[str], lock: Path | None) -> None:
    """Install r1lab and `pins` with uv, the output into LOG.

    First asks uv what would change: a conflict is then reported before anything is installed, and a restart is announced.
    Raises RuntimeError when the packages cannot be installed, and when the session must be restarted.
    """
    source = lock.relative_to(ROOT) if lock else "pyproject.toml"
    print(f"installing the packages of {source} (details in {LOG})", flush=True)
    before = {name: _version(name) for name in MIXED_UP.values()}
    _run([sys.executable, "-m", "pip", "install", "-q", "uv"])
    # Without --no-config, uv would read pyproject.toml of the folder it runs in, and ours holds the laptop's versions.
    install = [sys.executable, "-m", "uv", "pip", "install", "--no-config", "--python", sys.executable]
    packages = [*pins, "--editable", str(ROOT)]
    plan = _run([*install, "--dry-run", *packages])
    replaced = set(re.findall(r"^ - ([\w.-]+)==", plan, re.M))
    if loaded := sorted(m for m, p in MIXED_UP.items() if m in sys.modules and p in replaced):
        print(
            f"{', '.join(loaded)} will get a new version while the old one is loaded. This is expected: the cell will end "
            "by asking for a restart, and after it the second run of this cell passes.",
            flush=True,
        )
    _run([*install, *packages])
    importlib.invalidate_caches()
    STALE.update(m for m, p in MIXED_UP.items() if m in sys.modules and before[p] != _version(p))
    if STALE:
        raise RuntimeError(
            f"{', '.join(sorted(STALE))} had been loaded before a new version came: choose Runtime > Restart session, "
            "then run this cell again; nothing is downloaded twice"
        )


def _run(command: list[str]) -> str:
    """Run an installer and return its output, which is also added to LOG. Raises RuntimeError when it fails."""
    log = Path(LOG)
    start = log.stat().st_size if log.exists() else 0
    with open(log, "a", encoding="utf-8") as file:
        failed = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    output = log.read_bytes()[start:].decode("utf-8", errors="replace")
    if failed:
        raise RuntimeError(explain_failure(output))
    return output


def explain_failure(output: str) -> str:
    """Why an installation failed and what to do, from the installer's output: a conflict, the network, or its last lines."""
    _, conflict, cause = output.partition("No solution found")
    if conflict:
        # uv's reasons, which name the packages, start at "Because".
        cause = " ".join(cause.partition("Because")[2].split())
        for package, need, name in re.findall(r"(\S+) depends on (([\w-]+(?:\.[\w-]+)*)[^\s]*)", cause):
            if name in KEPT:
                cause = f"{package} needs {need}, and this runtime keeps {name} {_version(name)}"
                break
        return (
            f"the packages do not fit this runtime, and nothing was changed: {cause.rstrip('.,')}. Choose Runtime > Change "
            "runtime type > Runtime version 2026.07 and run this cell again. If it ends here too, please report this "
            f"message at {ISSUES}"
        )
    last = "\n".join(output.strip().splitlines()[-5:])
    if NO_NETWORK.search(last):
        return (
            f"the installation failed because the package index did not answer: run this cell again\n{last}"
        )
    return (
        f"the installation failed; if a second run ends the same way, please report this at {ISSUES}\n{last}"
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
