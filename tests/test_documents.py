"""The documents hold together: links and images exist, commands exist, the two READMEs agree, the kit is complete."""

import re
import shutil
import subprocess
from urllib.parse import unquote

import nbformat
import pytest
from course import ROOT

from r1lab import __version__
from r1lab.cli import COMMANDS

LISTED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    capture_output=True,
    text=True,
)
FILES = [ROOT / name for name in LISTED.stdout.splitlines() if (ROOT / name).is_file()]
MARKDOWN = [path for path in FILES if path.suffix == ".md"]
PAGES = [path for path in FILES if path.suffix == ".html"]
NOTEBOOKS = [path for path in FILES if path.suffix == ".ipynb" and path.parent.name != "drafts"]
TARGETS = set(
    re.findall(r"^([a-z][\w.-]*)(?:-\$\(TRL_OLD\))?:", (ROOT / "Makefile").read_text(), re.MULTILINE)
)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CODE = re.compile(r"```bash\n(.*?)```|`([^`\n]+)`|^>? {4,}(.+)$|<pre>(.*?)</pre>", re.DOTALL | re.MULTILINE)
named = {"ids": lambda path: str(path.relative_to(ROOT))}

if LISTED.returncode:
    pytest.skip("not a git checkout", allow_module_level=True)


def prose(path) -> str:
    """The text of a document; of a notebook its markdown cells."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def relative_targets(text: str) -> list[str]:
    """Targets of links and images that are neither addresses nor inside of code."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    found = re.findall(r"\]\(\s*<?([^)\s>]+)", text) + re.findall(r"""\b(?:src|href)=["']([^"']+)""", text)
    return [
        target
        for target in found
        if "://" not in target and not target.startswith(("mailto:", "data:", "attachment:"))
    ]


def anchors(text: str) -> set[str]:
    """What a `#` may point at: headings as GitHub names them, and ids."""
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    slugs = {
        re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading).lower()).strip().replace(" ", "-")
        for heading in headings
    }
    return slugs | set(re.findall(r"""\bid=["']([^"']+)""", text))


@pytest.mark.parametrize("path", MARKDOWN + NOTEBOOKS + PAGES, **named)
def test_relative_links_images_and_anchors_exist(path):
    text, missing = prose(path), []
    for target in relative_targets(text):
        file, _, anchor = target.partition("#")
        there = path.parent / unquote(file) if file else path
        if not there.exists() or (
            anchor and there.suffix in (".md", ".ipynb") and anchor not in anchors(prose(there))
        ):
            missing.append(target)
    assert not missing


def test_a_missing_file_and_a_missing_anchor_are_found():
    text = "# One two\n[a](b.md) `[not](this)` ![c](d.svg) <img src='e.png'> [w](https://x.org) [h](#one-two)"
    assert relative_targets(text) == ["b.md", "d.svg", "#one-two", "e.png"]
    assert anchors("# One two!\n<a id='x'></a>") == {"one-two", "x"}


@pytest.mark.parametrize("path", MARKDOWN + PAGES, **named)
def test_commands_that_a_document_names_exist(path):
    text = path.read_text(encoding="utf-8")
    unknown = set(re.findall(r"python -m r1lab ([a-z_-]+)", text)) - set(COMMANDS)
    code = "\n".join("".join(parts) for parts in CODE.findall(text))
    unknown |= (
        set(re.findall(r"(?:^|&& |; )make ([a-z][\w.-]*)", code, re.MULTILINE)) - TARGETS - {"test-trl-1.14"}
    )
    scripts = re.findall(r"python3? ((?:workshop|examples|tools)/\w+\.py)", text)
    unknown |= {script for script in scripts if not (ROOT / script).is_file()}
    assert not unknown


def test_the_readmes_name_the_same_files_and_commands():
    english, indonesian = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.id.md")
    )
    only_english = {"README.id.md", "README.md"}
    for pattern in (r"notebooks/\d\d_\w+\.ipynb", r"python -m r1lab [a-z_-]+", r"R1LAB_\w+", r"arXiv [\d.]+"):
        assert set(re.findall(pattern, english)) == set(re.findall(pattern, indonesian)), pattern
    translated = {target.replace(".id.md", ".md") for target in relative_targets(indonesian)}
    assert set(relative_targets(english)) - only_english == translated - only_english - {"README.md#results"}
    minutes = [
        re.findall(r"^\| \[(\d\d)\]\([^)]*\) \|[^|]*\| ([\d-]+) \|", text, re.MULTILINE)
        for text in (english, indonesian)
    ]
    assert minutes[0] == minutes[1] and len(minutes[0]) >= 8
    assert len(english.encode()) < 13_000


def test_the_kit_is_complete():
    kit = ROOT / "workshop"
    for name in (
        "talk-45.md",
        "meetup-90.md",
        "day.md",
        "mail.md",
        "quiz.md",
        "quiz.id.md",
        "glossary.md",
        "faq.md",
        "faq.id.md",
        "handout.html",
        "handout.id.html",
    ):
        assert (kit / name).is_file() and name in (kit / "README.md").read_text()
    for plan in ("talk-45.md", "meetup-90.md", "day.md"):
        assert "cut here" in (kit / plan).read_text()


def questions(text: str) -> list[tuple]:
    """Of every heading and question: its mark, and the code and the sections of notebooks named up to the next one."""
    text = re.sub(r"\b(?:sections?|bagian) (?=\d)", "§", text)
    parts = re.split(r"^(## |\*\*\d+\. |\*\*)", text, flags=re.MULTILINE)[1:]
    told = re.compile(r"`[^`]+`|\b\d\d, §\d+|</details>")
    return [(mark, sorted(told.findall(body))) for mark, body in zip(parts[::2], parts[1::2], strict=True)]


@pytest.mark.parametrize(("name", "count"), [("quiz", 10), ("faq", 26)])
def test_both_languages_ask_the_same_questions_in_the_same_order(name, count):
    english, indonesian = (
        questions((ROOT / "workshop" / f"{name}{ending}.md").read_text(encoding="utf-8"))
        for ending in ("", ".id")
    )
    assert english == indonesian
    assert len([mark for mark, _ in english if mark != "## "]) == count


def test_a_question_that_lost_its_command_its_section_or_its_place_is_noticed():
    ask = "## A\n**One?** `make x`, notebook 03, section 7.\n**Two?** No.\n"
    for other in ("`make y`, notebook 03, bagian 7", "`make x`, notebook 03, bagian 8", "`make x`"):
        assert questions(ask) != questions(ask.replace("`make x`, notebook 03, section 7", other))
    assert questions(ask) == questions(ask.replace("section", "bagian"))
    assert questions(ask) != questions(ask.replace("**Two?** No.\n", ""))


def test_the_plans_add_up_what_the_notebooks_take():
    """The minutes of the plans are those of the kit's own table."""
    kit = ROOT / "workshop"
    table = (kit / "README.md").read_text()
    names, times = (
        re.findall(pattern, table, re.MULTILINE)[0]
        for pattern in (r"^\| notebook \|(.*)\|$", r"^\| minutes \|(.*)\|$")
    )
    seconds = {
        n.strip(): sum(int(x) * f for x, f in zip(t.strip().split(":"), (60, 1), strict=True))
        for n, t in zip(names.split("|"), times.split("|"), strict=True)
    }
    meetup, day = (kit / "meetup-90.md").read_text(), (kit / "day.md").read_text()

    def clock(total):
        return f"{total // 60}:{total % 60:02}"

    both = " + ".join(clock(seconds[name]) for name in ("04", "02"))
    assert f"{both} = {clock(seconds['04'] + seconds['02'])}" in meetup
    cells = re.findall(r"^\| (\d\d) \| [^|]+ \| (\d+):(\d\d) \| (\d):(\d\d):(\d\d) \|", meetup, re.MULTILINE)
    for name, begin in (("04", 24 * 60), ("02", 50 * 60)):
        told = [list(map(int, numbers)) for of, *numbers in cells if of == name]
        assert sum(60 * minutes + rest for minutes, rest, *_ in told) == seconds[name]
        for minutes, rest, *done in told:  # one after the other, from the moment of "Run all"
            begin += 60 * minutes + rest
            assert done == [begin // 3600, begin // 60 % 60, begin % 60], (name, done)
    taught = [
        name
        for name in seconds
        if re.search(rf"^\|.*\*\*Notebook {name}\*\*|start notebook {name}", day, re.MULTILINE | re.I)
    ]
    assert taught == [name for name in seconds if name != "03"]  # 03 is offered instead of 08
    total, parts = sum(seconds[name] for name in taught), " + ".join(clock(seconds[name]) for name in taught)
    assert f"needed for {clock(total)} in the whole day ({parts})" in day
    for name in taught:  # and each row that starts a notebook says what it costs
        assert re.search(rf"(?:\*\*N|n)otebook {name}\b[^|]*\| {clock(seconds[name])} \|", day), name


def test_the_replay_is_the_recorded_run(capsys, monkeypatch):
    import json
    import runpy
    import sys

    monkeypatch.setattr(sys, "argv", ["replay.py", "--seed", "1", "--seconds", "0"])
    runpy.run_path(str(ROOT / "workshop" / "replay.py"), run_name="__main__")
    said = capsys.readouterr().out
    run = json.loads((ROOT / "data" / "runs" / "zero-1.json").read_text())
    assert f"seed 1, {run['date']}, {len(run['history'])} steps" in said
    greedy = run["report"]["overall"]["greedy_accuracy"]
    assert f"R1-Zero  greedy accuracy {100 * greedy['value']:.0f} % [{100 * greedy['low']:.0f}" in said
    assert len([line for line in said.splitlines() if re.match(r" +\d+ ", line)]) == len(run["history"]) // 10


def test_every_folder_and_every_file_of_the_package_is_named():
    readme, contributing = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")
    )
    names = [path.relative_to(ROOT) for path in FILES]
    assert not {p.parts[0] for p in names if len(p.parts) > 1 and p.parts[0][0] != "."} - set(
        re.findall(r"(\w+)/", readme)
    )
    package = {p.parts[2] for p in names if p.parts[:2] == ("src", "r1lab") and not p.name.startswith("__")}
    assert not {name for name in package if name not in contributing}


def test_the_documents_count_the_slides_rightly():
    slides = len(re.split(r"^---$", (ROOT / "slides.md").read_text(encoding="utf-8"), flags=re.MULTILINE)) - 2
    for name in ("README.md", "README.id.md", "CHANGELOG.md"):
        assert f"{slides} slide" in (ROOT / name).read_text(encoding="utf-8")
    plan = (ROOT / "workshop" / "talk-45.md").read_text(encoding="utf-8")
    assert f"| 32-{slides} |" in plan


def test_the_citation_names_this_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in citation
    for field in ("cff-version", "message", "title", "authors", "license", "repository-code"):
        assert f"\n{field}:" in "\n" + citation
    assert f"({__version__})" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="the handout is printed by Chromium, and none is installed")
@pytest.mark.parametrize("name", ["handout", "handout.id"])
def test_the_handout_is_one_page_with_its_figures(tmp_path, name):
    sheet, printed = ROOT / "workshop" / f"{name}.html", tmp_path / "sheet.pdf"
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-pdf-header-footer",
        f"--print-to-pdf={printed}",
    ]
    subprocess.run([CHROMIUM, *options, sheet.as_uri()], check=True, capture_output=True, timeout=300)
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", printed.read_bytes())) == 1
    text = sheet.read_text(encoding="utf-8")
    assert len(re.findall(r'<img src="\.\./images/[\w.]+\.svg" alt="[^"]{20,}"', text)) == 3
    assert not re.search(
        r"""(?:src|href)=["']https?:|url\(|@import""", text + (ROOT / "workshop" / "handout.css").read_text()
    )
