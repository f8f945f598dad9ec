"""The offline bundle: what it copies, and an installer that says why it will not install."""

import platform
import re
import subprocess
import sys

import bundle
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


def test_the_copy_is_the_repository_without_builds_and_its_kit_can_be_read_in_a_browser(tmp_path):
    bundle.copy_repository(tmp_path)
    for name in ("README.md", "requirements.txt", "data/models/tiny-base/model.safetensors"):
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()
    assert not (tmp_path / ".git").exists() and not list(tmp_path.rglob("__pycache__"))
    page = tmp_path / "build" / "course" / "00.html"
    page.parent.mkdir(parents=True)
    page.write_text('<a href="../../workshop/glossary.md#token">token</a>')
    bundle.write_kit(tmp_path)
    assert 'href="../../workshop/glossary.html#token"' in page.read_text()
    kit = tmp_path / "workshop"
    assert 'id="token"' in (kit / "glossary.html").read_text()
    siblings = set(re.findall(r'href="([\w.-]+)"', (kit / "README.html").read_text()))
    assert siblings and all((kit / name).is_file() and not name.endswith(".md") for name in siblings)
