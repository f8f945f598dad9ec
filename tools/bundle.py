"""Everything for a room without internet, into build/r1lab-bundle (`make bundle`): repository, packages, slides, pages, one page that says how.

INSTALL.html  install.sh     what to read and what to run
r1lab/                       the repository; build/ in it holds the pages, the slides and the handout
wheels/                      every package of requirements.txt, for this platform and this Python
"""

import argparse
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from course import ROOT, notebook_paths, write_text
from pages import document, markdown_html, page

PYTHON = ".".join(map(str, sys.version_info[:2]))
PLATFORM = f"{platform.system()} {platform.machine()}"

INSTALL = """# r1lab without internet

This folder holds the whole course. The packages in `wheels/` are for **{platform}, Python {python}**; on another machine read the pages
and look over somebody's shoulder.

## Read

- [The notebooks as they ran](r1lab/build/course/index.html), with figures: any browser, nothing to install
- [The talk](r1lab/build/slides/slides.html) ([Indonesian](r1lab/build/slides/slides.id.html)) and the handout
  ([English](r1lab/build/handout/handout.pdf), [Indonesian](r1lab/build/handout/handout.id.pdf))
- [For teachers](r1lab/workshop/README.html): plans, quiz, glossary, troubleshooting

## Install

Copy this folder to the disk (about 4 GB free), open a terminal in it, and:

```bash
bash install.sh                    # makes r1lab/.venv from wheels/, asks the network for nothing
cd r1lab
source .venv/bin/activate
python -m r1lab doctor             # every line should say ok
jupyter lab notebooks/exercises/   # the notebooks to work in
```

Another Python than python3: `PYTHON=python{python} bash install.sh`.

No machine to install on? `python3 r1lab/workshop/replay.py` plays a recorded training and needs Python only.
"""

SCRIPT = """#!/usr/bin/env bash
# Installs r1lab from the wheels beside this file, without a network.
set -euo pipefail
cd "$(dirname "$0")/r1lab"
python="${{PYTHON:-python3}}"
found=$("$python" -c 'import sys, platform; print("{{}}.{{}}".format(*sys.version_info), platform.system(), platform.machine())')
if [ "$found" != "{python} {platform}" ]; then
  echo "The packages here are for Python {python} on {platform}, but $python is Python $found: say PYTHON=python{python}, or take a bundle made on a machine like this one." >&2
  exit 1
fi
"$python" -m venv --clear .venv
echo "installing from wheels/ (a minute or two)"
.venv/bin/python -m pip install -q --disable-pip-version-check --no-index --find-links ../wheels -r requirements.txt
.venv/bin/python -m pip install -q --disable-pip-version-check --no-index --no-deps --no-build-isolation -e .
touch .venv/installed  # make is content with it, too
echo "done: cd r1lab, source .venv/bin/activate, python -m r1lab doctor"
"""


def copy_repository(target: Path) -> None:
    """The files git knows, as they are now, and the rendered slides and handout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    for name in ("slides", "handout"):
        if (ROOT / "build" / name).is_dir():
            shutil.copytree(ROOT / "build" / name, target / "build" / name)


def write_pages(target: Path) -> None:
    """This machine's own run of the course if there is one, else the committed notebooks with their outputs, as HTML."""
    course = target / "build" / "course"
    if (ROOT / "build" / "course" / "index.html").is_file():
        shutil.copytree(ROOT / "build" / "course", course)
        return
    import nbformat

    paths = notebook_paths()
    for path in paths:
        write_text(course / f"{path.stem}.html", page(nbformat.read(path, as_version=4), path))
    listing = "\n".join(f"- [{path.stem}]({path.stem}.html)" for path in paths)
    text = f"# The course, as it ran for the repository\n\n{listing}\n\n`make course` runs it here."
    write_text(course / "index.html", document("r1lab", markdown_html(text)))


def write_kit(target: Path) -> None:
    """The teacher's kit as HTML beside its Markdown, for browsers that have no GitHub in between; pages link to pages."""
    to_kit = re.compile(r'href="((?:\.\./\.\./workshop/)?[\w.-]+)\.md(?=[#"])')
    for path in (target / "workshop").glob("*.md"):
        body = to_kit.sub(r'href="\1.html', markdown_html(path.read_text(encoding="utf-8")))
        write_text(path.with_suffix(".html"), document(path.stem, body))
    for notebook in (target / "build" / "course").glob("*.html"):  # the notebooks name the glossary
        write_text(notebook, to_kit.sub(r'href="\1.html', notebook.read_text(encoding="utf-8")))


def collect_wheels(folder: Path, torch_index: str) -> None:
    """Wheels for every line of requirements.txt; on Linux PyTorch's CPU build, which is a tenth of the other's size."""
    lock = ROOT / "requirements.txt"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--disable-pip-version-check",
        "--wheel-dir",
        str(folder),
    ]
    if platform.system() == "Linux":
        (torch,) = (line.split()[0] for line in lock.read_text().splitlines() if line.startswith("torch=="))
        subprocess.run([*pip, "--no-deps", "--index-url", torch_index, torch], check=True)
    subprocess.run([*pip, "--find-links", str(folder), "-r", str(lock)], check=True)


def main() -> int:
    """Make the bundle; the wheels of an earlier one are used again."""
    parser = argparse.ArgumentParser(description="Everything for a room without internet.")
    parser.add_argument("--torch-index", required=True, help="where PyTorch's CPU builds are")
    options = parser.parse_args()
    bundle = ROOT / "build" / "r1lab-bundle"
    shutil.rmtree(bundle / "r1lab", ignore_errors=True)
    print("[1/3] the repository, its slides and its pages", flush=True)
    copy_repository(bundle / "r1lab")
    write_pages(bundle / "r1lab")
    write_kit(bundle / "r1lab")
    print("[2/3] the packages (several hundred MB the first time)", flush=True)
    collect_wheels(bundle / "wheels", options.torch_index)
    print("[3/3] INSTALL.html and install.sh", flush=True)
    names = {"python": PYTHON, "platform": PLATFORM}
    write_text(
        bundle / "INSTALL.html", document("r1lab without internet", markdown_html(INSTALL.format(**names)))
    )
    write_text(bundle / "install.sh", SCRIPT.format(**names))
    size = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())
    print(f"{bundle}: {size / 1e6:.0f} MB. Copy the folder, begin with INSTALL.html.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
