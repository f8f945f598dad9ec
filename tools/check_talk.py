"""Checks of the talk: slides, their figures and their numbers, and how they look in a browser. check_docs.py runs them."""

import ast
import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import course
import sizing
from course import ROOT

from r1lab import results
from r1lab.scale import SCALES

DECKS = {"en": ROOT / "slides.md", "id": ROOT / "slides.id.md"}
THEME = ROOT / "slides" / "theme.css"
MINUTES = 45  # of the talk
SMALLEST = 18  # pixels of a letter on a slide of 720, readable from the last row
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MARP = ROOT / "slides" / "node_modules" / ".bin" / "marp"


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def slides(language: str) -> list[tuple[str, str]]:
    """(what is shown, the speaker's notes) of every slide."""
    pairs = []
    # Before the first separator are marp's settings.
    for slide in re.split(r"\n---\n", read(DECKS[language]))[1:]:
        comments = re.findall(r"<!--(.*?)-->", slide, re.DOTALL)
        notes = [comment for comment in comments if not comment.lstrip().startswith("_")]
        pairs.append((re.sub(r"<!--.*?-->", "", slide, flags=re.DOTALL).strip(), "\n".join(notes)))
    return pairs


def check_slides() -> Iterator[str]:
    """Each slide has a title and its minutes, figures have words, nothing is fetched from elsewhere."""
    for language, deck in DECKS.items():
        clock = 0
        for number, (text, notes) in enumerate(slides(language), 1):
            where = f"{deck.name}, slide {number}"
            if len(re.findall(r"^# ", text, re.MULTILINE)) != 1:
                yield f"{where} needs one title"
            times = re.findall(r"^\[(\d+):(\d\d)-(\d+):(\d\d)\]$", notes, re.MULTILINE)
            numbers = [int(number) for number in times[0]] if times else [-1, 0, clock // 60, clock % 60]
            start, end = 60 * numbers[0] + numbers[1], 60 * numbers[2] + numbers[3]
            if start != clock or not 10 < end - start <= 150:
                yield f"{where}: its notes must say its time, from {clock // 60}:{clock % 60:02} on"
            clock = end
            for alt, path in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text):
                own = (ROOT / path.replace(".id.svg", ".svg").replace(".svg", ".id.svg")).is_file()
                if len(alt) <= 20 or path.endswith(".id.svg") != (language == "id" and own):
                    yield f"{where}: {path} has too short a description or is in the other language"
            for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
                ast.parse(code)
        if clock != 60 * MINUTES:
            yield f"{deck.name} takes {clock / 60:.1f} minutes, not {MINUTES}"
        remote = re.compile(r"""(?:src=|url\(|\]\()\s*["']?(?:https?:)?//|@import""")
        if remote.search(read(deck)) or remote.search(read(THEME)):
            yield f"{deck.name} or its theme fetches something from elsewhere"


@cache
def printed_by(number: str) -> str:
    """All text that a committed notebook printed."""
    (path,) = course.notebook_paths([number])
    texts = []
    for cell in json.loads(read(path))["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            for part in (output.get("text"), data.get("text/plain"), data.get("text/markdown")):
                texts.append("".join(part or ""))
    return "\n".join(texts)


def run_numbers() -> dict[str, str]:
    """Patterns of what the slides and notes say of the committed runs -> where the number comes from."""
    base, runs = results.load_run("base")["report"], results.load_seeds("zero")
    seconds = sorted(run["seconds"] for run in runs)
    logic = [report["by"]["domain"]["logic"] for report in (base, *(run["report"] for run in runs))]
    before, *after = [f"{100 * metrics['greedy_accuracy']['value']:.0f}" for metrics in logic]
    tokens = [report["overall"]["mean_tokens"]["value"] for report in (base, runs[0]["report"])]
    # The tokens of a vote of 64 samples of the base, over those of one answer of R1-Zero, in words.
    vote = {30: "thirty times|tiga puluh kali"}.get(
        round(64 * tokens[0] / tokens[1], -1), "words for the vote"
    )
    return {
        rf"{seconds[0]:.0f} (?:to|sampai) {seconds[-1]:.0f}": "seconds of data/runs/zero-*",
        rf"\*\*{tokens[1]:.0f} token": "tokens of data/runs/zero-0",
        rf"\b{before}\b.*\b{min(after)}\b.*\b{max(after)}\b": "logic in data/runs/zero-*",
        vote: "mean_tokens of data/runs/zero-*",
    }


def notebook_numbers() -> dict[str, str]:
    """Patterns of what the slides show of the notebooks' outputs -> its notebook. Raises LookupError when one is gone."""
    texts = (
        "The answer is 13.",
        "First 12+7=19. Next 19-5=14.",
        "So the answer is 14.",
        "def f(x): return 8*x+9",
    )
    numbers = (
        ("01", r"none +[\d.]+ +[\d.]+ +([\d.]+)", "**{:.2f}**"),
        ("01", r"leave-one-out +[\d.]+ +[\d.]+ +([\d.]+)", "**{:.2f}**"),
        ("02", r"\| hedge: 14 or 15 \|[^|]*\| ([\d.]+) \| 0.00 \|", "**{:.2f}**"),
        ("02", r"\| be roughly right: 15 \|[^|]*\| ([\d.]+) \| 0.00 \|", "**{:.2f}**"),
        ("02", r"\| leave with exit code 0 \|[^|]*\| ([\d.]+) \| 0.00 \|", "**{:.2f}**"),
        ("A2", r"8 x 1024 +([\d.]+) GB", "**{:.1f} GB**"),
    )
    patterns = {}
    for notebook, pattern, style in (*(("00", f"({re.escape(text)})", text) for text in texts), *numbers):
        match = re.search(pattern, printed_by(notebook))
        if not match:
            raise LookupError(f"notebook {notebook} does not print {pattern!r} now; the slides show it")
        text = style.format(float(match[1])) if style != match[1] else style
        patterns[re.escape(text)] = f"notebook {notebook}"
    return patterns


def scale_numbers() -> dict[str, str]:
    """Patterns of what the slides' table of scales says -> its scale."""
    patterns = {}
    for scale in (SCALES[name] for name in ("tiny", "t4", "a100")):
        rate = f"{scale.learning_rate:.0e}".replace("e-0", "e-")
        tokens = f"{scale.max_completion_tokens:,}".replace(",", "[,.]?")
        batch = f"{scale.groups} x {scale.group_size}"
        patterns |= dict.fromkeys((batch, rate, f"{tokens} token"), f"scale {scale.name}")
    return patterns


def memory_numbers() -> dict[str, str]:
    """Patterns of the gigabytes for models of 4 billion parameters -> where they come from: arithmetic.

    Adam in mixed precision takes 16 bytes for a parameter that is trained. A frozen one takes 2. PPO trains two models
    and keeps two frozen; GRPO without a KL term trains one.
    """
    setups = {"PPO": (2, 2), "GRPO": (1, 0)}
    return {
        re.escape(f"**{4 * (16 * trained + 2 * frozen)} GB**"): f"arithmetic for {name}"
        for name, (trained, frozen) in setups.items()
    }


def check_numbers() -> Iterator[str]:
    """What slides and documents say is what the committed runs, notebooks, scales and tools say."""
    wanted = run_numbers() | notebook_numbers() | memory_numbers() | scale_numbers()
    for language, deck in DECKS.items():
        talk = slides(language)
        text = "\n".join("\n".join(slide) for slide in talk)
        missing = [pattern for pattern in wanted if not re.search(pattern, text)]
        yield from (f"{deck.name} shows nothing like {pattern!r} ({wanted[pattern]})" for pattern in missing)
        source = re.search(r"```python\n([^`]*import torch.*?)```", text, re.DOTALL)[1]
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(source, scope := {})
        after = (scope["logits"] - 4 * scope["logits"].grad).softmax(0).tolist()
        promised = [*map(float, re.search(r"# (0\.08.*)", source)[1].split())]
        if "[-0.71, -0.71, 1.41, 0.0]" not in printed.getvalue() or any(
            abs(x - y) > 0.005 for x, y in zip(after, promised, strict=True)
        ):
            yield f"{deck.name}: the step by hand gives other numbers than its comments say"
    for name in ("README.md", "README.id.md", "CHANGELOG.md"):
        if f"{len(talk)} slide" not in read(ROOT / name):
            yield f"{name} does not say that there are {len(talk)} slides"
    if sizing.table() not in read(ROOT / "cluster" / "README.md"):
        yield "cluster/README.md has another table than `python tools/sizing.py` prints"


def check_figures() -> Iterator[str]:
    """images/ holds what the scripts draw from the committed runs."""
    sys.path.insert(0, str(ROOT / "images"))
    import draw_course
    import draw_runs
    import draw_slides
    import draw_translated

    with tempfile.TemporaryDirectory() as folder:
        draw_course.__file__ = str(Path(folder) / "draw_course.py")  # where the scripts write to
        for draw in (*draw_slides.DRAWINGS, *draw_runs.DRAWINGS):
            draw_slides.in_both_languages(draw)
        for figure in draw_translated.WORDS:
            draw_translated.translate(figure)
        for fresh in sorted(Path(folder).glob("*.svg")):
            committed = ROOT / "images" / fresh.name
            if not committed.is_file() or read(committed) != read(fresh):
                yield f"images/{fresh.name} is out of date: run `make figures`"


# --- with a browser ---------------------------------------------------------------------------------------------------


def look(deck: Path, folder: Path, theme: Path = THEME) -> list[dict]:
    """What slides/check.mjs finds on a deck that is rendered into `folder`."""
    if not (folder / "images").exists():
        (folder / "images").symlink_to(ROOT / "images")
    page = folder / "deck.html"
    marp = [MARP, "--no-stdin", "--template", "bare", "--theme", theme, deck, "-o", page]
    subprocess.run(marp, check=True, capture_output=True, timeout=120, cwd=ROOT)
    command = ["node", ROOT / "slides" / "check.mjs", CHROMIUM, page]
    seen = subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=ROOT)
    return json.loads(seen.stdout)["found"]


def check_browser() -> Iterator[str]:
    """Slides fit, also in a wider font, and can be read; the handout is one page."""
    if not (CHROMIUM and shutil.which("node") and MARP.exists()):
        print("     browser: skipped, it needs node, Chromium and `make slides` once")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wide, sheet = folder / "wide.css", folder / "sheet.pdf"
        # A machine without Arial takes DejaVu Sans, whose letters are an eighth wider.
        wide.write_text(read(THEME).replace('Helvetica, Arial, "Liberation Sans", ', ""), encoding="utf-8")
        for deck in DECKS.values():
            for fault in look(deck, folder) + look(deck, folder, wide):
                where = f"{deck.name}, slide {fault['slide']}"
                if fault["what"] != "image":
                    yield f"{where}: {fault['what']}: {fault['detail']}"
                    continue
                drawing = read(ROOT / fault["detail"])  # words inside a figure count as text on the slide
                shrunk = fault["width"] / float(re.search(r'viewBox="0 0 ([\d.]+)', drawing)[1])
                if shrunk * min(map(float, re.findall(r'font-size="([\d.]+)"', drawing))) < SMALLEST:
                    yield f"{where}: {fault['detail']} has letters of less than {SMALLEST} pixels"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
        for page in sorted((ROOT / "workshop").glob("handout*.html")):
            command = [CHROMIUM, *options, f"--print-to-pdf={sheet}", page.as_uri()]
            subprocess.run(command, check=True, capture_output=True, timeout=300)
            if len(re.findall(rb"/Type\s*/Page\b(?!s)", sheet.read_bytes())) != 1:
                yield f"workshop/{page.name} is more than one page"
