"""The offline bundle: what it copies, and an installer that says why it will not install."""

import platform
import re
import subprocess
import sys

import bundle
from course import ROOT

HERE = {"python": bundle.PYTHON, "platform": bundle.PLATFORM}


def run_installer(folder, names):
    """install.sh in `folder`, for the Python and platform in `names`; the finished process."""
    (folder / "r1lab").mkdir()
    script = folder / "install.sh"
    script.write_text(bundle.SCRIPT.format(**names))
    return subprocess.run(
        ["bash", script],
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )


def test_the_installer_refuses_another_python_in_one_sentence(tmp_path):
    done = run_installer(tmp_path, {**HERE, "python": "3.99"})
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert (
        f"for Python 3.99 on {bundle.PLATFORM}, but {sys.executable} is Python {bundle.PYTHON} {platform.system()}"
        in done.stderr
    )
    assert not (tmp_path / "r1lab" / ".venv").exists()


def test_the_installer_asks_the_network_for_nothing():
    installs = [line for line in bundle.SCRIPT.splitlines() if "pip install" in line]
    assert len(installs) == 2 and all("--no-index" in line for line in installs)


def test_the_copy_is_the_repository_without_builds(tmp_path):
    bundle.copy_repository(tmp_path / "r1lab")
    for name in (
        "README.md",
        "requirements.txt",
        "data/models/tiny-base/model.safetensors",
        "notebooks/exercises/00_tour.ipynb",
    ):
        assert (tmp_path / "r1lab" / name).read_bytes() == (ROOT / name).read_bytes()
    assert not (tmp_path / "r1lab" / ".git").exists() and not list(tmp_path.rglob("__pycache__"))


def test_the_kit_can_be_read_in_a_browser(tmp_path):
    bundle.copy_repository(tmp_path)
    course = tmp_path / "build" / "course"
    course.mkdir(parents=True)
    (course / "00.html").write_text('<a href="../../workshop/glossary.md#token">token</a>')
    bundle.write_kit(tmp_path)
    assert 'href="../../workshop/glossary.html#token"' in (course / "00.html").read_text()
    assert 'id="token"' in (tmp_path / "workshop" / "glossary.html").read_text()
    page = (tmp_path / "workshop" / "README.html").read_text()
    siblings = re.findall(r'href="([\w.-]+)"', page)
    assert {"meetup-90.html", "handout.html", "faq.id.html"} <= set(siblings)
    assert all((tmp_path / "workshop" / name).is_file() and not name.endswith(".md") for name in siblings)


def test_the_page_names_only_what_the_bundle_holds():
    said = bundle.INSTALL.format(**HERE)
    assert (
        "workshop/README.html" in said
        and "workshop/replay.py" in said
        and (ROOT / "workshop" / "replay.py").is_file()
    )
    assert f"Python {bundle.PYTHON}" in said and "{" not in said
