"""The folder of a run: its lock, its checkpoints, its data, and errors that say what to do."""

import contextlib
import errno
import json
import os
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from r1lab.files import write_json

# Checkpoints that are not removed. If the newest is damaged, there is one before it.
KEPT = 2
# The system's errors when the disk, or the user's share of it, is full.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Files that this process has locked.
_locked: set[Path] = set()


@contextlib.contextmanager
def lock_folder(output: Path | str) -> Iterator[None]:
    """Lock `output` for one run inside the block.

    Raises BlockingIOError when another process has locked it and PermissionError when it cannot be written.
    """
    path = Path(output).resolve() / ".lock"
    # A stage may lock what its command has locked. Of several processes, rank 0 locks for all.
    if path in _locked or os.environ.get("RANK", "0") != "0":
        yield
        return
    # Windows has no such module; there the course runs in WSL.
    import fcntl

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # It stays open as long as it is locked.
        stream = open(path, "a")  # noqa: SIM115
    except OSError as error:
        raise PermissionError(
            f"cannot write to the output folder {output} ({error.strerror}): choose a folder you own with --output"
        ) from error
    # The system releases this lock however the process ends, so no stale lock stays behind.
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f"another run is writing to {output}: wait for it, or choose another folder with --output"
            ) from None
        except OSError:
            # A network drive without locks. A run without a lock is better than no run.
            pass
        _locked.add(path)
        try:
            yield
        finally:
            _locked.discard(path)


def checkpoints(output: Path | str) -> list[Path]:
    """The checkpoint folders in `output`, those of the latest step first."""
    # Sorted by step and not by time, because the clock may have been set back.
    steps = {path: re.fullmatch(r"checkpoint-(\d+)", path.name) for path in Path(output).glob("checkpoint-*")}
    return sorted((path for path in steps if steps[path]), key=lambda path: -int(steps[path][1]))


def find_damage(checkpoint: Path) -> str | None:
    """The reason why `checkpoint` cannot be resumed from, or None if it is whole."""
    from safetensors import SafetensorError, safe_open

    # The trainer writes trainer_state.json last, so a folder without it was cut off by a crash.
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "it was not finished"
    # A full disk or a power cut can cut off the end of a file. Its table of contents tells: it is at the front of a
    # safetensors file and at the end of a .pt file. Reading the weights themselves would take seconds.
    for path in sorted(checkpoint.rglob("*")):
        try:
            if path.suffix == ".safetensors":
                with safe_open(path, "numpy"):
                    pass
            elif path.suffix in (".pt", ".pth") and not zipfile.is_zipfile(path):
                return f"{path.name} is cut off"
        except (SafetensorError, OSError):
            return f"{path.name} is cut off"
    return None


def last_checkpoint(output: Path | str) -> str | None:
    """Path of the newest whole checkpoint in `output` for `trainer.train(resume_from_checkpoint=...)`, or None.

    Warns of every damaged one that it skips.
    """
    for folder in checkpoints(output):
        damage = find_damage(folder)
        if damage is None:
            return str(folder)
        warnings.warn(f"{folder.name} is skipped: {damage}", stacklevel=2)
    return None


def keep_newest(output: Path | str, step: int) -> None:
    """Remove all checkpoints but the KEPT newest whole ones, the one of `step`, and the newest in the folder.

    transformers sorts by time of change instead, and removes the newest one after the clock was set back.
    """
    # The one of `step` was just saved. Another process may still be writing its part of it, so it can look damaged.
    folders, whole = checkpoints(output), 0
    protected = {f"checkpoint-{step}", *(folder.name for folder in folders[:1])}
    for folder in folders:
        damaged = find_damage(folder) is not None
        whole += not damaged
        if folder.name not in protected and (damaged or whole > KEPT):
            shutil.rmtree(folder)


def drop_checkpoints(output: Path | str) -> None:
    """Remove all checkpoints in `output`, so that a new run cannot be resumed from those of an earlier one."""
    for folder in checkpoints(output):
        shutil.rmtree(folder)


@contextlib.contextmanager
def explain_errors(output: Path | str) -> Iterator[None]:
    """Replace some errors of a trainer inside the block by one sentence that says how to go on.

    Raises OSError for a full disk, for which three libraries raise three types, and FloatingPointError for a policy whose
    probabilities are NaN. All other errors pass unchanged.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, SafetensorError, FloatingPointError) as error:
        message = str(error)
        # The first text is torch's, when transformers samples. The second comes from `r1lab.engine`.
        if "probability tensor contains" in message or "probabilities are not numbers" in message:
            raise FloatingPointError(
                "the policy's probabilities are no numbers any more, most likely because the learning rate is too high: lower it "
                f"and go on with --resume {resume_point(output)}"
            ) from error
        full = isinstance(error, OSError) and error.errno in DISK_FULL
        full |= isinstance(error, SafetensorError) and "os error" in message
        # These two words are in the errors of torch.save.
        if not full and "inline_container" not in message and "PytorchStreamWriter" not in message:
            raise
        raise OSError(
            f"could not write all of a checkpoint or log to {output}: make room there and go on with --resume "
            f"{resume_point(output)}",
        ) from error


def resume_point(output: Path | str) -> str:
    """Half a sentence: the checkpoint from which a run in `output` would go on."""
    # The user reads one error, so warnings of damaged checkpoints would only confuse.
    with warnings.catch_warnings(action="ignore"):
        checkpoint = last_checkpoint(output)
    return (
        f"from {Path(checkpoint).name}" if checkpoint else "(there is no checkpoint yet, so it starts again)"
    )


def load_or_make(
    path: Path | str, made_with: dict[str, Any], make: Callable[[], Any], *, resume: bool
) -> Any:
    """The data that `make` returns, saved in `path` as JSON and read back: tuples become lists, and keys become strings.

    With `resume`, data that an interrupted run saved there with the same settings are returned instead.
    made_with: the settings that the data depend on, such as the seed, sizes and the name of a model; itself JSON.
    """
    # Through JSON once, so that a tuple equals the list in the file.
    path, made_with = Path(path), json.loads(json.dumps(made_with))
    if resume and path.is_file():
        saved = json.loads(path.read_text(encoding="utf-8"))
        if saved.get("made_with") == made_with:
            return saved["data"]
    # Data of another run are removed first. If this run is killed while it makes its own, the file must not exist.
    path.unlink(missing_ok=True)
    write_json({"made_with": made_with, "data": make()}, path)
    return json.loads(path.read_text(encoding="utf-8"))["data"]
