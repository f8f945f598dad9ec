"""The offline bundle: what it copies, and an installer that says why it will not install."""

import platform
import re
import subprocess
import sys

import bundle
import pytest
from course import ROOT


def test_the_installer_refuses_another_python_in_one_sentence(tmp_path):
    (tmp_path / "r1lab").mkdir()
    script = tmp_path / "install.sh"
    script.write_text(bundle.SCRIPT.format(python="3.99", platform=bundle.PLATFORM))
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable}
    done = subprocess.run(["bash", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    found = f"{sys.executable} is Python {bundle.PYTHON} {platform.system()}"
    assert f"for Python 3.99 on {bundle.PLATFORM}, but {found}" in done.stderr
    assert not (tmp_path / "r1lab" / ".venv").exists()


def test_the_installer_needs_no_network():
    installs = [line for line in bundle.SCRIPT.splitlines() if "pip install" in line]
    assert len(installs) == 2 and all("--no-index" in line for line in installs)


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    bundle.copy_repository(folder)
    return folder


@pytest.mark.parametrize(
    "name",
    ["README.md", "requirements.txt", "data/models/tiny-base/model.safetensors", "workshop/replay.py"],
)
def test_the_copy_is_the_repository_without_builds(copied, name):
    assert (copied / name).read_bytes() == (ROOT / name).read_bytes()
    assert not (copied / ".git").exists() and not list(copied.rglob("__pycache__"))


def test_the_kit_can_be_read_in_a_browser(copied):
    page = copied / "build" / "course" / "00.html"
    page.parent.mkdir(parents=True)
    page.write_text('<a href="../../workshop/glossary.md#token">token</a>')
    bundle.write_kit(copied)
    assert 'href="../../workshop/glossary.html#token"' in page.read_text()
    kit = copied / "workshop"
    assert 'id="token"' in (kit / "glossary.html").read_text()
    siblings = set(re.findall(r'href="([\w.-]+)"', (kit / "README.html").read_text()))
    assert "handout.html" in siblings
    assert all((kit / name).is_file() and not name.endswith(".md") for name in siblings)
