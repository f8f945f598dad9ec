"""Lock the environments in requirements/, and check that every lock still resolves. Nothing is installed.

    python tools/locks.py make     write requirements/NAME.txt from pyproject.toml and requirements/NAME.in
    python tools/locks.py check    resolve each again, on every Python it is for, held to the versions in its lock

uv must be importable as a module (`pip install uv`). The package index is asked, so both need the network.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "requirements"
PIN = re.compile(r"[a-z0-9._-]+==[\w.!]+( ; [^@]+)?")  # no address, no path, no build of this machine
PLATFORM = "x86_64-manylinux_2_35"  # glibc 2.35, which is Colab's and Ubuntu 22.04's
CUDA = ROOT / FOLDER / "no-cuda.txt"


@dataclass(frozen=True)
class Environment:
    """One lock: the Pythons it is for (the first one makes it) and the table of what the machine keeps installed."""

    name: str
    pythons: tuple[str, ...] = ("3.12", "3.13")
    # requirements/KEPT-PYTHON.txt: the lock must resolve beside these versions and does not repeat them
    kept: str = ""
    cpu: bool = False  # any platform, without the CUDA libraries

    @property
    def lock(self) -> Path:
        return ROOT / FOLDER / f"{self.name}.txt"

    def kept_versions(self, python: str) -> dict[str, str]:
        """What the machine keeps installed for this Python, package -> version; {} where it keeps nothing."""
        if not self.kept:
            return {}
        text = (ROOT / FOLDER / f"{self.kept}-{python}.txt").read_text(encoding="utf-8")
        return dict(line.split("==") for line in pins(text))


ENVIRONMENTS = (
    Environment("colab-t4", kept="colab-kept"),
    Environment("colab-a100", kept="colab-kept"),
    Environment("gpu"),
    Environment("cluster"),
    Environment("cpu-trl-1.14", pythons=("3.11",), cpu=True),  # and newer: one lock with markers
)


def resolve(environment: Environment, python: str, *options: str) -> str:
    """The resolved requirements of an environment. Raises ValueError with the resolver's own reason.

    The settings in pyproject.toml (`tool.uv`) belong to the laptop's lock and are not read.
    """
    where = ("--universal", "--excludes", str(CUDA)) if environment.cpu else ("--python-platform", PLATFORM)
    # "-c" makes a lock that conflicts with the kept versions fail; "--no-emit-package" keeps them out of the lock.
    kept = [word for name in environment.kept_versions(python) for word in ("--no-emit-package", name)]
    kept += ["-c", f"{FOLDER}/{environment.kept}-{python}.txt"] if environment.kept else []
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config"]
    command += ["--python-version", python, *where, *kept, "--annotation-style", "line", *options]
    command += ["--custom-compile-command", "make locks", "pyproject.toml", f"{FOLDER}/{environment.name}.in"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(done.stderr.strip() or f"uv ended with {done.returncode}")
    return done.stdout


def pins(text: str) -> set[str]:
    """The `name==version` lines of a lock, without comments."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return {line for line in lines if line}


def foreign_lines(text: str) -> list[str]:
    """Lines of a lock that are no plain pin: an index, a path, a local build, an option."""
    return sorted(line for line in pins(text) if not PIN.fullmatch(line) or "://" in line)


def make(environment: Environment) -> list[str]:
    """What is wrong with a new lock, on each of its Pythons. [] means that it was written; else the old lock stays."""
    first, *others = environment.pythons
    try:
        text = resolve(environment, first, "--upgrade")
    except ValueError as error:
        return [f"{environment.name} on Python {first} does not resolve: {error}"]
    if wrong := foreign_lines(text):
        return [f"{environment.name}: not a plain version: {wrong[0]!r}"]
    unchecked = environment.lock.with_suffix(".part")
    unchecked.write_text(text, encoding="utf-8")
    faults = [fault for python in others for fault in check(environment, python, unchecked)]
    if not faults:
        unchecked.replace(environment.lock)
    return faults


def check(environment: Environment, python: str, lock: Path | None = None) -> list[str]:
    """What is wrong with a lock on one Python: [] when the same versions come out again. lock: another file to check."""
    lock = lock or environment.lock
    name = f"{FOLDER}/{lock.name}"
    if not lock.is_file():
        return [f"{name} is missing: run `make locks`"]
    text = lock.read_text(encoding="utf-8")
    faults = [f"{name}: {line!r} is not a plain version" for line in foreign_lines(text)]
    try:
        again = resolve(environment, python, "--no-annotate", "--no-header", "-c", name)
    except ValueError as error:
        return [*faults, f"{name} on Python {python} does not resolve: {error}"]
    locked, found = pins(text), pins(again)
    faults += [f"{name} on Python {python} lacks {line}: run `make locks`" for line in sorted(found - locked)]
    faults += [
        f"{name} on Python {python} has no use for {line}: run `make locks`"
        for line in sorted(locked - found)
    ]
    return faults


def main(action: str) -> int:
    """Make or check every lock, one line each; the exit status."""
    failed = False
    for environment in ENVIRONMENTS:
        if action == "make":
            faults, done = make(environment), "locked"
        else:
            faults = [fault for python in environment.pythons for fault in check(environment, python)]
            done = "resolves on " + ", ".join(environment.pythons)
        failed |= bool(faults)
        count = len(pins(environment.lock.read_text(encoding="utf-8"))) if environment.lock.is_file() else 0
        print(f"{environment.name:<14} {count:>4} packages  {'FAILED' if faults else done}", flush=True)
        print("".join(f"  {fault}\n" for fault in faults), end="", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    if sys.argv[1:] not in (["make"], ["check"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
