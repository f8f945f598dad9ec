"""Locks that name versions and nothing else, and a reader that finds where our calls and the libraries drift apart."""

import importlib.util
import re
from importlib import metadata
from types import SimpleNamespace

import locks
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from r1lab.colab import KEPT
from r1lab.unsloth_first import FIRST_SUPPORTED


# ------------------------------------------------------------------------------------------------ the locks
@pytest.mark.parametrize("environment", locks.ENVIRONMENTS, ids=lambda e: e.name)
def test_a_lock_holds_plain_versions_and_those_that_were_asked_for(environment):
    text = environment.lock.read_text(encoding="utf-8")
    assert locks.foreign_lines(text) == [] and "://" not in text and "/home" not in text
    locked = locks.pins(text)
    asked = locks.pins(environment.lock.with_suffix(".in").read_text(encoding="utf-8"))
    exact = {re.sub(r"\[.*?\]", "", line) for line in asked if "==" in line}
    assert "trl==1.14.2" in exact and exact <= locked


def test_the_versions_that_decide_are_the_ones_we_say():
    decisive = {
        "colab-t4": {"vllm==0.11.2", "torch==2.9.0", "transformers==4.57.6", "unsloth==2026.10.9"},
        "colab-a100": {"vllm==0.15.1", "torch==2.9.1", "transformers==4.57.6", "unsloth==2026.10.9"},
        "gpu": {"vllm==0.30.0", "torch==2.13.0", "transformers==5.17.0", "unsloth==2026.10.9"},
        "cluster": {"vllm==0.30.0", "torch==2.13.0", "transformers==5.17.0"},
        "cpu-trl-1.14": {"torch==2.13.0", "transformers==5.17.0", "datasets==4.8.5"},
    }
    for environment in locks.ENVIRONMENTS:
        locked = locks.pins(environment.lock.read_text(encoding="utf-8"))
        assert decisive[environment.name] <= locked
    names = {line.partition("==")[0] for line in locked}
    assert not [name for name in names if name.startswith(("nvidia", "cuda", "triton"))]


COLAB = [environment for environment in locks.ENVIRONMENTS if environment.kept]


def versions(environment):
    """The lock of an environment without markers: package -> version."""
    lines = locks.pins(environment.lock.read_text(encoding="utf-8"))
    return dict(line.partition(" ;")[0].split("==") for line in lines)


def test_the_table_of_what_colab_keeps_names_what_the_set_up_cell_keeps():
    assert [environment.name for environment in COLAB] == ["colab-t4", "colab-a100"]
    for environment in COLAB:
        for python in environment.pythons:
            assert sorted(environment.kept_versions(python)) == sorted(KEPT)
        assert not set(versions(environment)) & set(KEPT), "the set-up cell replaces these pins: `make locks`"


@pytest.mark.parametrize("environment", COLAB, ids=lambda e: e.name)
def test_no_package_of_a_colab_lock_refuses_a_version_that_colab_keeps(environment):
    """Offline, so only as far as the packages installed here have the lock's version: their metadata says what they need."""
    read = []
    for name, locked in versions(environment).items():
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if found.version.partition("+")[0] != locked:
            continue
        read.append(name)
        needs = [Requirement(need) for need in found.requires or ()]
        for python in environment.pythons:
            kept = environment.kept_versions(python)
            here = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
            for need in needs:
                version = kept.get(canonicalize_name(need.name))
                if version and (need.marker is None or need.marker.evaluate(here)):
                    assert need.specifier.contains(version), (
                        f"{name} {locked} asks for {need} and Colab keeps {version}"
                    )
    assert read, "no version of the lock is installed here, so this test saw nothing"


def index_answers():
    """Whether uv is here and reaches a package index."""
    if importlib.util.find_spec("uv") is None:
        return False
    command = [locks.sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config", "--refresh", "-"]
    try:
        done = locks.subprocess.run(command, input="iniconfig", capture_output=True, text=True, timeout=60)
    except locks.subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("environment", COLAB, ids=lambda e: e.name)
def test_a_colab_lock_resolves_beside_what_colab_keeps(environment):
    if not index_answers():
        pytest.skip("needs uv and a package index")
    assert [fault for python in environment.pythons for fault in locks.check(environment, python)] == []


# TRL imports from vLLM what only some versions have. Its extra `vllm` names the range, which the resolver then keeps.
@pytest.mark.parametrize("environment", locks.ENVIRONMENTS, ids=lambda e: e.name)
def test_the_vllm_of_a_lock_is_one_that_trl_imports_with(environment):
    vllm = versions(environment).get("vllm")
    asked = locks.pins(environment.lock.with_suffix(".in").read_text(encoding="utf-8"))
    in_range = any(line.startswith("trl[vllm]==") for line in asked)
    assert vllm is None or in_range or Version(vllm) < FIRST_SUPPORTED, (
        f"vllm {vllm}: ask for trl[vllm] in {environment.name}.in"
    )


@pytest.mark.parametrize("name", ["requirements/README.md", "src/r1lab/stages/__init__.py"])
def test_a_command_that_installs_a_lock_leaves_the_laptops_versions_out(name):
    """In this repository uv reads pyproject.toml, which holds TRL 1.16.0, and refuses a lock with TRL 1.14.2."""
    commands = re.findall(r"uv pip install.*", (locks.ROOT / name).read_text(encoding="utf-8"))
    assert commands and all(command.startswith("uv pip install --no-config ") for command in commands)


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.org/simple",
        "--find-links wheels",
        "-e /home/someone/r1lab",
        "torch @ file:///wheels/torch.whl",
        "torch==2.13.0+cpu",
        "trl>=1.14",
    ],
)
def test_a_line_that_is_no_plain_version_is_found(line):
    assert locks.foreign_lines(f"trl==1.14.2  # via r1lab\n{line}\n") == [line]


def test_a_lock_that_another_python_refuses_is_not_written(monkeypatch, tmp_path):
    monkeypatch.setattr(locks, "ROOT", tmp_path)
    (tmp_path / "requirements").mkdir()
    environment = locks.Environment("here")
    environment.lock.write_text("a==1\n", encoding="utf-8")
    monkeypatch.setattr(locks, "resolve", lambda environment, python, *_: f"a=={python}\n")
    assert "on Python 3.13 lacks a==3.13" in locks.make(environment)[0]
    assert environment.lock.read_text(encoding="utf-8") == "a==1\n"


def check_against(monkeypatch, tmp_path, locked, resolved):
    environment = locks.Environment("here")
    monkeypatch.setattr(locks, "ROOT", tmp_path)
    (tmp_path / "requirements").mkdir()
    environment.lock.write_text(locked, encoding="utf-8")
    done = SimpleNamespace(returncode=int(resolved is None), stdout=resolved, stderr="no version of trl")
    monkeypatch.setattr(locks.subprocess, "run", lambda command, **options: done)
    return locks.check(environment, "3.13")


def test_a_lock_that_resolves_again_is_fine(monkeypatch, tmp_path):
    assert check_against(monkeypatch, tmp_path, "# made\na==1  # via b\nb==2\n", "a==1\nb==2\n") == []


def test_a_lock_that_differs_or_does_not_resolve_says_where(monkeypatch, tmp_path):
    faults = check_against(monkeypatch, tmp_path, "a==1\nb==2\n", "a==1\nc==3\n")
    assert faults == [
        "requirements/here.txt on Python 3.13 lacks c==3: run `make locks`",
        "requirements/here.txt on Python 3.13 has no use for b==2: run `make locks`",
    ]


def test_a_lock_that_does_not_resolve_says_why(monkeypatch, tmp_path):
    (fault,) = check_against(monkeypatch, tmp_path, "a==1\n", None)
    assert fault == "requirements/here.txt on Python 3.13 does not resolve: no version of trl"
