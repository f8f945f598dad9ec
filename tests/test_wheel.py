"""A wheel works where there is no checkout: all packages are in it, the shipped data too, and a run writes beside the user."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_every_package_is_named():
    """A package that pyproject.toml does not name works in the checkout and is missing from the wheel."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    source = ROOT / "src"
    folders = {path.parent.relative_to(source) for path in source.rglob("*.py")}
    assert sorted(setuptools["packages"]) == sorted(
        [".".join(folder.parts) for folder in folders] + ["r1lab.data"]
    )


@pytest.mark.slow
def test_an_installed_wheel_trains_without_the_checkout(tmp_path):
    wheels, site, home = tmp_path / "wheels", tmp_path / "site", tmp_path / "home"
    home.mkdir()
    checkout = (
        tmp_path / "checkout"
    )  # a copy, because what an earlier build left in build/ would get into the wheel
    for name in ("src", "data"):
        shutil.copytree(ROOT / name, checkout / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", wheels, checkout],
        check=True,
        cwd=tmp_path,
    )
    (wheel,) = wheels.glob("r1lab-*.whl")
    subprocess.run([*pip, "install", "-q", "--no-deps", "--target", site, wheel], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "R1LAB_OUTPUT"}
    environment["PYTHONPATH"] = str(site)

    def r1lab(*words: str) -> str:
        command = [sys.executable, "-m", "r1lab", *words]
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    # The phrases are read at the import of `refine`.
    where = "import r1lab.stages.refine as r, r1lab.scale as s; r.read_shipped('problems', 'few_shot'); print(s.__file__, s.DATA)"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=home, env=environment, capture_output=True, text=True, check=True
    )
    assert all(str(site) in word for word in found.stdout.split()), found.stdout
    assert "trained in" in r1lab("zero", "--steps", "2")
    assert (home / "build" / "runs" / "zero" / "model.safetensors").is_file()
    assert "greedy" in r1lab("eval", "build/runs/zero", "--limit", "4", "--samples", "1").lower()
