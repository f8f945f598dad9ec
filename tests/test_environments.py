"""The locks hold plain versions that fit each other and the runtimes; vLLM and Unsloth are called with words they know."""

import ast
import importlib.util
import re
import subprocess
import sys
from importlib import metadata
from itertools import product
from types import SimpleNamespace

import locks
import pytest
from notebook_setup import KEPT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from r1lab.unsloth_first import FIRST_SUPPORTED

COLAB = [environment for environment in locks.ENVIRONMENTS if environment.kept]
NAMES = [environment.name for environment in locks.ENVIRONMENTS]
# What we call of vLLM and Unsloth, and with which keywords. Each was read in the source of the locked versions. After a new
# keyword or a new version, read there whether it still exists.
KEYWORDS = {
    "from_pretrained": "model_name max_seq_length dtype load_in_4bit max_lora_rank fast_inference gpu_memory_utilization",
    "get_peft_model": "r lora_alpha target_modules use_gradient_checkpointing random_state",
    "SamplingParams": "n temperature top_p top_k max_tokens seed stop_token_ids",
    "fast_generate": "sampling_params lora_request use_tqdm",
    "load_lora": "load_tensors",
    "sleep": "",
    "for_inference": "",
    "for_training": "",
}


def lines_of(environment, suffix=".txt"):
    return locks.pins(environment.lock.with_suffix(suffix).read_text(encoding="utf-8"))


def versions(environment):
    """The lock of an environment without markers: package -> version."""
    return dict(line.partition(" ;")[0].split("==") for line in lines_of(environment))


def test_vllm_and_unsloth_are_called_with_keywords_they_know():
    tree = ast.parse((locks.ROOT / "src/r1lab/stages/lora.py").read_text(encoding="utf-8"))
    passed = {name: set() for name in KEYWORDS}
    for node in ast.walk(tree):
        name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else None
        if name in KEYWORDS:  # `**settings`, which cannot be read, comes as None
            passed[name] |= {keyword.arg for keyword in node.keywords}
    assert passed == {name: set(keywords.split()) for name, keywords in KEYWORDS.items()}


# ---------------------------------------------------------------------------------------------------------- the locks
@pytest.mark.parametrize("environment", locks.ENVIRONMENTS, ids=NAMES)
def test_a_lock_holds_plain_versions_and_those_that_decide(environment):
    text, lock = environment.lock.read_text(encoding="utf-8"), lines_of(environment)
    assert locks.foreign_lines(text) == [] and "://" not in text and "/home" not in text
    bad = ["--find-links wheels", "-e /home/someone/r1lab", "torch @ file:///torch.whl", "torch==2.13.0+cpu"]
    bad += ["trl>=1"]
    assert locks.foreign_lines("\n".join([text, *bad])) == sorted(bad)
    exact = {re.sub(r"\[.*?\]", "", line) for line in lines_of(environment, ".in") if "==" in line}
    assert "trl==1.14.2" in exact and exact <= lock
    # TRL imports from vLLM what only some versions have. Its extra `vllm` names the range, which the resolver then keeps.
    vllm = versions(environment).get("vllm")
    in_range = any(line.startswith("trl[vllm]==") for line in lines_of(environment, ".in"))
    assert vllm is None or in_range or Version(vllm).release < FIRST_SUPPORTED
    if environment.cpu:
        assert not [name for name in versions(environment) if name.startswith(("nvidia", "cuda", "triton"))]


def test_the_table_of_what_colab_keeps_names_what_the_set_up_cell_keeps():
    assert [environment.name for environment in COLAB] == ["colab-t4", "colab-a100"]
    for environment in COLAB:
        for python in environment.pythons:
            assert sorted(environment.kept_versions(python)) == sorted(KEPT)
        assert not set(versions(environment)) & set(KEPT), "the set-up cell replaces these pins: `make locks`"


@pytest.mark.parametrize("environment", COLAB, ids=lambda e: e.name)
def test_no_package_of_a_colab_lock_refuses_a_version_that_colab_keeps(environment):
    """Offline, so only as far as the packages installed here have the lock's version: their metadata says what they need."""
    installed = {canonicalize_name(package.name): package for package in metadata.distributions()}
    read = [
        installed[name]
        for name, locked in versions(environment).items()
        if name in installed and installed[name].version.partition("+")[0] == locked
    ]
    assert read, "no version of the lock is installed here, so this test saw nothing"
    for package, python in product(read, environment.pythons):
        kept = environment.kept_versions(python)
        here = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
        for need in map(Requirement, package.requires or ()):
            version = kept.get(canonicalize_name(need.name))
            if version and (need.marker is None or need.marker.evaluate(here)):
                assert need.specifier.contains(version), f"{package.name} needs {need}, Colab keeps {version}"


@pytest.mark.slow
@pytest.mark.parametrize("environment", COLAB, ids=lambda e: e.name)
def test_a_colab_lock_resolves_beside_what_colab_keeps(environment):
    if importlib.util.find_spec("uv") is None:
        pytest.skip("needs uv")
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config", "--refresh", "-"]
    try:
        subprocess.run(command, input="iniconfig", capture_output=True, text=True, timeout=60, check=True)
    except subprocess.SubprocessError:
        pytest.skip("needs a package index")
    assert [fault for python in environment.pythons for fault in locks.check(environment, python)] == []


# --------------------------------------------------------------------------------------------- the tool that makes them


@pytest.fixture
def here(monkeypatch, tmp_path):
    """An environment whose lock is in a folder of its own."""
    monkeypatch.setattr(locks, "ROOT", tmp_path)
    (tmp_path / "requirements").mkdir()
    return locks.Environment("here")


UNUSED = "has no use for b==2: run `make locks`"


def test_a_lock_that_another_python_refuses_is_not_written(here, monkeypatch):
    here.lock.write_text("a==1\n", encoding="utf-8")
    monkeypatch.setattr(locks, "resolve", lambda environment, python, *_: f"a=={python}\n")
    assert "on Python 3.13 lacks a==3.13" in locks.make(here)[0]
    assert here.lock.read_text(encoding="utf-8") == "a==1\n"


@pytest.mark.parametrize(
    "locked, resolved, faults",
    [
        ("# made\na==1  # via b\nb==2\n", "a==1\nb==2\n", []),
        ("a==1\nb==2\n", "a==1\nc==3\n", ["lacks c==3: run `make locks`", UNUSED]),
        ("a==1\n", None, ["does not resolve: no version of trl"]),
    ],
    ids=["resolves", "differs", "does not resolve"],
)
def test_a_lock_that_does_not_resolve_to_itself_says_why(here, monkeypatch, locked, resolved, faults):
    here.lock.write_text(locked, encoding="utf-8")
    done = SimpleNamespace(returncode=int(resolved is None), stdout=resolved, stderr="no version of trl")
    monkeypatch.setattr(subprocess, "run", lambda command, **_: done)
    expected = [f"requirements/here.txt on Python 3.13 {fault}" for fault in faults]
    assert locks.check(here, "3.13") == expected
