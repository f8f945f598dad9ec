"""The folder of a run: one run at a time, checkpoints that are whole, and errors that say what to do."""

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

# Checkpoints that are kept: should the newest be damaged, there is one before it.
KEPT = 2
# What the system says when the disk, or the user's share of it, is full.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# The locks that this process holds.
_locked: set[Path] = set()


@contextlib.contextmanager
def lock_folder(output: Path | str) -> Iterator[None]:
    """Lock `output` for one run. The system releases the lock however the process ends, so no stale lock stays behind.

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
    """The checkpoint folders in `output`, the newest first, by their step: a clock may have gone back meanwhile."""
    steps = {path: re.fullmatch(r"checkpoint-(\d+)", path.name) for path in Path(output).glob("checkpoint-*")}
    return sorted((path for path in steps if steps[path]), key=lambda path: -int(steps[path][1]))


def find_damage(checkpoint: Path) -> str | None:
    """Why a checkpoint cannot be resumed from, or None if it is whole.

    The trainer writes trainer_state.json last, so a folder without it was cut off by a crash. A file that lost its end
    (the disk or the power went) shows in its table of contents: safetensors hold one at the front, .pt files at the end.
    """
    from safetensors import SafetensorError, safe_open

    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "it was not finished"
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
    """The newest whole checkpoint in `output`, to hand to `trainer.train(resume_from_checkpoint=...)`, or None.

    Warns of every damaged one that it passes over.
    """
    for folder in checkpoints(output):
        damage = find_damage(folder)
        if damage is None:
            return str(folder)
        warnings.warn(f"{folder.name} is passed over: {damage}", stacklevel=2)
    return None


def keep_newest(output: Path | str, step: int) -> None:
    """Remove all checkpoints but the KEPT newest whole ones, the one of `step`, and the newest in the folder.

    The one of `step` was just saved. Another process may still be writing its part of it, so it can look damaged.
    transformers sorts by time of change instead, and removes the newest one after the clock was set back.
    """
    folders, whole = checkpoints(output), 0
    protected = {f"checkpoint-{step}", *(folder.name for folder in folders[:1])}
    for folder in folders:
        damaged = find_damage(folder) is not None
        whole += not damaged
        if folder.name not in protected and (damaged or whole > KEPT):
            shutil.rmtree(folder)


def drop_checkpoints(output: Path | str) -> None:
    """Remove the checkpoints of an earlier run from `output`, so that a new run can not resume from them by mistake."""
    for folder in checkpoints(output):
        shutil.rmtree(folder)


@contextlib.contextmanager
def explained(output: Path | str) -> Iterator[None]:
    """Turns the errors of a stopped trainer into one sentence with the way on.

    Raises OSError for a full disk, for which three libraries raise three types, and FloatingPointError for a policy whose
    probabilities are no numbers any more.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, SafetensorError, FloatingPointError) as error:
        message = str(error)
        # The first text is torch's, when transformers samples. The second comes from `r1lab.engine`.
        if "probability tensor contains" in message or "probabilities are not numbers" in message:
            raise FloatingPointError(
                "the policy's probabilities are no numbers any more, most likely because the learning rate is too high: lower it and go on "
                f"with --resume {resume_point(output)}"
            ) from error
        full = isinstance(error, OSError) and error.errno in FULL
        full |= isinstance(error, SafetensorError) and "os error" in message
        # These two words are in the errors of torch.save.
        if not full and "inline_container" not in message and "PytorchStreamWriter" not in message:
            raise
        raise OSError(
            f"could not write all of a checkpoint or log to {output}: make room there and go on with --resume "
            f"{resume_point(output)}",
        ) from error


def resume_point(output: Path | str) -> str:
    """Half a sentence: where a run in `output` would go on."""
    with warnings.catch_warnings(action="ignore"):
        found = last_checkpoint(output)
    return f"from {Path(found).name}" if found else "(there is no checkpoint yet, so it starts again)"


def load_or_make(
    path: Path | str, made_with: dict[str, Any], make: Callable[[], Any], *, resume: bool
) -> Any:
    """What `make` returns, as JSON gives it back: tuples are lists, all keys are strings. It is kept in `path`.

    With `resume`, what an interrupted run kept there is returned instead, if it was made with the same settings.
    made_with: what the data depend on (seed, sizes, the name of the model that wrote them), itself JSON.
    """
    path, made_with = Path(path), json.loads(json.dumps(made_with))
    if resume and path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept.get("made_with") == made_with:
            return kept["data"]
    # Another run's data go first: should this run be killed while it makes its own, none are found.
    path.unlink(missing_ok=True)
    write_json({"made_with": made_with, "data": make()}, path)
    return json.loads(path.read_text(encoding="utf-8"))["data"]
