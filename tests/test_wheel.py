"""A wheel works where there is no checkout: all packages are in it, the shipped data too, and a run writes beside the user."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*words, folder, **environment) -> str:
    """What the command prints when this Python runs it in `folder`."""
    environment = {name: value for name, value in os.environ.items() if name != "R1LAB_OUTPUT"} | environment
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds what a wheel of this repository installs. Unpacked: pip copies the same files."""
    home = tmp_path_factory.mktemp("wheel")
    # A copy, because files of an earlier build in build/ would get into the wheel.
    checkout = home / "checkout"
    for name in ("src", "data"):
        ignored = shutil.ignore_patterns("*.egg-info", "__pycache__")
        shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    pip = ("-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-deps", "--no-build-isolation")
    run(*pip, "-w", home, checkout, folder=home)
    (wheel,) = home.glob("r1lab-*.whl")
    zipfile.ZipFile(wheel).extractall(home / "site")
    shutil.rmtree(checkout)
    return home / "site"


def test_every_package_is_named():
    """A package that pyproject.toml does not name works in the checkout and is missing from the wheel."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("*.py")}
    names = [".".join(folder.parts) for folder in folders]
    assert sorted(setuptools["packages"]) == sorted([*names, "r1lab.data"])


@pytest.mark.slow
def test_a_wheel_holds_every_module_and_the_shipped_data_and_trains_without_the_checkout(installed, tmp_path):
    modules = {path.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("*.py")}
    assert modules == {path.relative_to(installed) for path in installed.rglob("*.py")}
    for folder in ("general", "models", "problems", "runs"):
        shipped = [path.relative_to(ROOT) for path in (ROOT / "data" / folder).rglob("*") if path.is_file()]
        assert shipped and all((installed / "r1lab" / path).is_file() for path in shipped), folder

    def r1lab(*words: str) -> str:
        return run("-m", "r1lab", *words, folder=tmp_path, PYTHONPATH=str(installed))

    where = "import r1lab.scale as s; print(s.__file__, s.DATA)"
    paths = run("-c", where, folder=tmp_path, PYTHONPATH=str(installed)).split()
    assert all(path.startswith(str(installed)) for path in paths), paths
    assert "ok   grader" in r1lab("doctor")
    assert "trained in" in r1lab("zero", "--steps", "2")
    assert (tmp_path / "build" / "runs" / "zero" / "model.safetensors").is_file()
    assert "greedy" in r1lab("eval", "build/runs/zero", "--limit", "4", "--samples", "1").lower()
