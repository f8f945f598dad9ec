"""Checks of documents and committed files: `make check-docs` prints what is wrong, `make check-docs ONLY=links` runs one.

Each `check_...` yields a sentence for every mistake. They are no tests: what they find is a file to update. The checks of
the talk are in check_talk.py.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from urllib.parse import unquote

import bench_stages
import check_talk
import course
import nbformat
from course import ROOT
from exercises import FOLDER as COPIES
from exercises import learner_copy

from r1lab import __version__, cli
from r1lab.results import load_run

LISTED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
FILES = [ROOT / name for name in LISTED.splitlines() if (ROOT / name).is_file()]
DOCUMENTS = [path for path in FILES if path.suffix in (".md", ".html", ".ipynb")]
PAIRS = [(path.with_name(path.name.replace(".id.", ".")), path) for path in DOCUMENTS if ".id." in path.name]
README_BYTES = 13_000  # what GitHub's page shows in about five screens
CODE_WIDTH = 88  # what Colab and a projector show without scrolling
NOTEBOOK_BYTES = 400_000  # above it, GitHub renders a notebook slowly or not at all
# Rules of style that a pattern can check; `make check-docs ONLY=voice` lists where they are broken.
VOICE = {
    r"\d %": "a percent sign follows its number without a space",
    r"[^.!?\n|`]*\([^.!?\n|`]*;[^.!?\n|`]*:[^.!?\n|`]*[.!?]": "a parenthesis, a semicolon and a colon in one sentence",
    r"\bfirst edition\b": "the course does not tell its own history",
    r"\b(?:blurt|garbl|hasty)\w*": "a word that a reader cannot look up",
}


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose(path: Path) -> str:
    """The text of a document; of a notebook its Markdown cells."""
    if path.suffix != ".ipynb":
        return read(path)
    cells = json.loads(read(path))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


# --- documents --------------------------------------------------------------------------------------------------------


def targets(text: str) -> list[str]:
    """What a text links to inside the repository, code left out."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    matches = re.findall(r"""\]\(\s*<?([^)\s>]+)|\b(?:src|href)=["']([^"']+)""", text)
    links = [one or other for one, other in matches]
    return [link for link in links if not re.match(r"[a-z]+://|mailto:|data:|attachment:", link)]


def anchors(text: str) -> set[str]:
    """What a `#` may point at: headings as GitHub names them, and ids."""
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", line).lower()) for line in headings]
    return {line.strip().replace(" ", "-") for line in plain} | set(
        re.findall(r"""\bid=["']([^"']+)""", text)
    )


def check_links() -> Iterator[str]:
    """Relative links, images and anchors lead somewhere."""
    for path in DOCUMENTS:
        for target in targets(prose(path)):
            file, _, anchor = target.partition("#")
            there = path.parent / unquote(file) if file else path
            known = anchor and there.suffix in (".md", ".ipynb") and there.exists()
            if not there.exists() or (known and anchor not in anchors(prose(there))):
                yield f"{named(path)} links to {target}, which is not there"


def check_commands() -> Iterator[str]:
    """Commands, make targets and scripts that a document names exist."""
    known = set(re.findall(r"^([a-z][\w.-]*)(?:-\$\(TRL_OLD\))?:", read(ROOT / "Makefile"), re.MULTILINE))
    code = re.compile(r"```bash\n(.*?)```|`([^`\n]+)`|<pre>(.*?)</pre>", re.DOTALL)
    for path in DOCUMENTS:
        text = prose(path)
        commands = "\n".join("".join(parts) for parts in code.findall(text))
        made = set(re.findall(r"(?:^|&& |; )make ([a-z][\w.-]*)", commands, re.MULTILINE))
        unknown = {f"make {name}" for name in made - known - {"test-trl-1.14"}}
        commands_named = set(re.findall(r"python -m r1lab ([a-z_-]+)", text))
        unknown |= {f"python -m r1lab {name}" for name in commands_named - set(cli.COMMANDS)}
        scripts = re.findall(r"\b((?:workshop|examples|tools|src/\w+)/[\w/]+\.py)", text)
        # What a document asks the reader to write is not there yet.
        to_write = set(re.findall(r"Write `([^`]+)`", text))
        unknown |= {name for name in scripts if name not in to_write and not (ROOT / name).is_file()}
        yield from (f"{named(path)} names {name}, which does not exist" for name in sorted(unknown))


def structure(text: str) -> dict[str, list]:
    """What must be the same in both languages of a text."""
    blocks = re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL)
    text = re.sub(r"<!--.*?-->|```.*?```", "", text, flags=re.DOTALL)
    links = [link.partition("#")[0] for link in targets(text) if not link.startswith(("#", "README"))]
    return {
        "headings": re.findall(r"^#+(?= )|<h\d", text, re.MULTILINE),
        "code": [
            line.partition("#")[0].rstrip() for kind, code in blocks if kind for line in code.splitlines()
        ],
        "links": sorted(link.replace(".id.", ".") for link in links),
        "rows and points": re.findall(r"^(?:\|(?=.)|-(?= )|\d\.(?= )|\*\*\d+\.)", text, re.MULTILINE),
    }


def check_languages() -> Iterator[str]:
    """Both languages of a document have the same headings, code, links, rows and points; of slides, one by one."""
    for english, indonesian in PAIRS:
        parts = [re.split(r"\n---\n", read(path)) for path in (english, indonesian)]
        if len(parts[0]) != len(parts[1]):
            yield f"{named(english)} has {len(parts[0])} slides, {named(indonesian)} has {len(parts[1])}"
        for number, pair in enumerate(zip(*parts, strict=False)):
            one, other = map(structure, pair)
            where = named(english) + (f", slide {number - 1}" if len(parts[0]) > 1 else "")
            for kind in one:
                if english.name == "README.md" and kind == "rows and points":
                    continue  # the tables of results are in the English one only
                pairs = zip_longest(one[kind], other[kind])
                differ = next((f"{a!r} and {b!r}" for a, b in pairs if a != b), None)
                if differ:
                    yield f"{where}: {kind} are not those of {named(indonesian)}: {differ}"


def check_readme() -> Iterator[str]:
    """README is short and names every folder, CONTRIBUTING every file of the package; one version everywhere."""
    readme, contributing = read(ROOT / "README.md"), read(ROOT / "CONTRIBUTING.md")
    if len(readme.encode()) >= README_BYTES:
        yield f"README.md has {len(readme.encode())} bytes, and {README_BYTES} are the limit"
    paths = [path.relative_to(ROOT).parts for path in FILES]
    folders = {parts[0] for parts in paths if len(parts) > 1 and parts[0][0] != "."}
    yield from (f"README.md does not name {name}/" for name in folders - set(re.findall(r"(\w+)/", readme)))
    package = {parts[2] for parts in paths if parts[:2] == ("src", "r1lab") and parts[2][0] != "_"}
    yield from (f"CONTRIBUTING.md does not name {name}" for name in package if name not in contributing)
    if f"\nversion: {__version__}\n" not in read(ROOT / "CITATION.cff"):
        yield f"CITATION.cff is not of version {__version__}"


def check_tables() -> Iterator[str]:
    """README and the card of the base model print the tables that data/runs gives."""
    card = bench_stages.card_tables("tiny-base", load_run("base")["report"])
    places = [(ROOT / "data" / "models" / "tiny-base" / "README.md", "evaluation", card)]
    places += [(ROOT / "README.md", *item) for item in bench_stages.readme_tables().items()]
    for path, name, text in places:
        if text not in read(path):
            yield f"{named(path)}: the table {name!r} is not that of data/runs: run `make bench-stages`"


def check_voice() -> Iterator[str]:
    """The rules of style that a pattern can check. Not run by default: the texts do not keep them yet."""
    for path in DOCUMENTS:
        if path.parent == COPIES or ".id." in path.name or (ROOT / "data") in path.parents:
            continue  # copies; another language's rules; cards that the stages write
        for pattern, rule in VOICE.items():
            matches = [match.group()[-60:].strip() for match in re.finditer(pattern, prose(path))]
            if matches:
                yield f"{named(path)}: {rule}: {len(matches)} times, as in {matches[0]!r}"


# --- notebooks --------------------------------------------------------------------------------------------------------


def check_notebooks() -> Iterator[str]:
    """Notebooks are clean and whole, and the learner's copies are made from them."""
    for path in course.notebook_paths():
        notebook = nbformat.read(path, as_version=4)
        try:
            if read(path) != course.to_text(course.clean_notebook(notebook, path.name)):
                yield f"{path.name} is not clean: run `python tools/maintain.py clean`"
        except course.CourseError as error:  # it names a folder of this machine
            yield str(error)
        if path.stat().st_size >= NOTEBOOK_BYTES:
            yield f"{path.name} has {path.stat().st_size} bytes, and {NOTEBOOK_BYTES} are the limit"
        if f"/blob/main/notebooks/{path.name})" not in notebook.cells[0].source:
            yield f"{path.name}: its first cell does not open it in Colab"
        copy = COPIES / path.name
        if not copy.is_file() or read(copy) != course.to_text(learner_copy(notebook, path.name)):
            yield f"{path.name} changed, its learner's copy did not: run `make exercises`"
        ran = [c for c in notebook.cells if c.cell_type == "code" and course.SKIP_TAG not in course.tags(c)]
        if [cell.execution_count for cell in ran] != list(range(1, len(ran) + 1)):
            yield f"{path.name} did not run from top to bottom: run `make notebooks ONLY={path.name[:2]}`"
        for cell in ran:
            where = f"{path.name}, cell {cell.execution_count}"
            may_fail = {"raises-exception", "nbval-raises-exception"} & set(course.tags(cell))
            if not may_fail and any(output.output_type == "error" for output in cell.outputs):
                yield f"{where} shows an error"
            for line in cell.source.splitlines():
                if len(line) > CODE_WIDTH:
                    yield f"{where} has a line of more than {CODE_WIDTH} characters: {line}"


DEFAULT = {
    "links": check_links,
    "commands": check_commands,
    "languages": check_languages,
    "readme": check_readme,
    "tables": check_tables,
    "notebooks": check_notebooks,
    "slides": check_talk.check_slides,
    "numbers": check_talk.check_numbers,
    "figures": check_talk.check_figures,
    "browser": check_talk.check_browser,
}


def main(names: list[str]) -> int:
    """Run the checks called `names` (without names: DEFAULT); 1 when one of them finds something."""
    failed = False
    for name in names or DEFAULT:
        faults = list((DEFAULT | {"voice": check_voice})[name]())
        failed = failed or bool(faults)
        for line in [f"FIX  {name}: {sentence}" for sentence in faults] or [f"ok   {name}"]:
            print(line, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
