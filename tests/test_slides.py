"""The talk: both languages alike, timed to the minute, its numbers the logged ones, and every slide fit to be shown."""

import ast
import contextlib
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from course import ROOT

from r1lab import results
from r1lab.scale import SCALES

DECKS = {"en": ROOT / "slides.md", "id": ROOT / "slides.id.md"}
SLIDES = ROOT / "slides"
MINUTES = 45
TIMES = re.compile(r"^\[(\d+):(\d\d)-(\d+):(\d\d)\]$", re.MULTILINE)
languages = pytest.mark.parametrize("language", DECKS)


class Slide(NamedTuple):
    text: str  # what is shown
    notes: str  # what is said


def read(language):
    """The slides of a deck, its front matter left out."""
    _, _, body = DECKS[language].read_text(encoding="utf-8")[4:].partition("\n---\n")
    slides = []
    for slide in re.split(r"\n---\n", body):
        comments = re.findall(r"<!--(.*?)-->", slide, re.DOTALL)
        notes = "\n".join(comment for comment in comments if not comment.lstrip().startswith("_"))
        slides.append(Slide(re.sub(r"<!--.*?-->", "", slide, flags=re.DOTALL).strip(), notes))
    return slides


def images(slide):
    return re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", slide.text)


def code(slide):
    """Blocks of code without their comments, which are translated."""
    blocks = re.findall(r"```(\w+)\n(.*?)```", slide.text, re.DOTALL)
    return [
        (kind, [line.partition("#")[0].rstrip() for line in block.splitlines()]) for kind, block in blocks
    ]


def shape(slide):
    """What must be the same in both languages."""
    return {
        "figures": [path.replace(".id.svg", ".svg") for _, path in images(slide)],
        "code": code(slide),
        "rows": slide.text.count("\n|"),
        "points": len(re.findall(r"^(?:-|\d\.) ", slide.text, re.MULTILINE)),
        "numbers": re.findall(r"\d+\.\d+", re.sub(r"<small>.*?</small>", "", slide.text, flags=re.DOTALL)),
        "times": TIMES.findall(slide.notes),
    }  # fmt: skip


# --- without a browser ------------------------------------------------------------------------------------------------


def test_both_languages_have_the_same_slides_figures_and_order():
    english, indonesian = read("en"), read("id")
    assert len(english) == len(indonesian) and 25 <= len(english) <= 35
    for place, (one, other) in enumerate(zip(english, indonesian, strict=True), 1):
        assert shape(one) == shape(other), f"slide {place}"


@languages
def test_each_slide_has_one_title_and_notes_with_its_time(language):
    clock = 0
    for place, slide in enumerate(read(language), 1):
        assert len(re.findall(r"^# ", slide.text, re.MULTILINE)) == 1, f"slide {place}: one idea, one title"
        times = TIMES.findall(slide.notes)
        assert len(times) == 1, f"slide {place}: its notes do not say when"
        start, end = (60 * int(m) + int(s) for m, s in (times[0][:2], times[0][2:]))
        assert start == clock and 10 < end - start <= 150, f"slide {place}"
        assert len(slide.notes.split()) > 10, f"slide {place}: nothing to say?"
        clock = end
    assert clock == 60 * MINUTES


@languages
def test_figures_exist_in_the_language_and_are_described(language):
    for place, slide in enumerate(read(language), 1):
        for alt, path in images(slide):
            assert (ROOT / path).is_file() and len(alt) > 20, f"slide {place}: {path}"
            translated = (ROOT / path.replace(".id.svg", ".svg").replace(".svg", ".id.svg")).is_file()
            assert path.endswith(".id.svg") == (language == "id" and translated), path


@languages
def test_nothing_is_fetched_from_elsewhere(language):
    deck = DECKS[language].read_text(encoding="utf-8")
    assert not re.search(r"(?:src=|url\(|\]\()\s*[\"']?(?:https?:)?//", deck)
    theme = (SLIDES / "theme.css").read_text(encoding="utf-8")
    assert "@import" not in theme and "url(" not in theme


@languages
def test_the_live_run_has_time_to_finish_before_it_is_shown(language):
    """The run is started on one slide and looked at on another: at least three and a half minutes lie between."""
    slides = read(language)
    started = next(slide for slide in slides if "r1lab zero" in slide.text)
    shown = next(slide for slide in slides if "talk_run" in slide.text)
    (begin,), (end,) = (TIMES.findall(slide.notes) for slide in (started, shown))
    slowest = max(run["seconds"] for run in results.load_seeds("zero"))
    assert 60 * (int(end[0]) - int(begin[0])) + int(end[1]) - int(begin[1]) >= max(slowest, 210)


@languages
def test_python_on_the_slides_is_python(language):
    blocks = [block for slide in read(language) for kind, block in code(slide) if kind == "python"]
    assert len(blocks) >= 3
    for lines in blocks:
        ast.parse("\n".join(lines))


@languages
def test_the_hand_computed_step_prints_what_its_comments_say(language):
    slide = next(slide for slide in read(language) if "import torch" in slide.text)
    (source,) = re.findall(r"```python\n(.*?)```", slide.text, re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(source, scope := {})
    assert "[-0.71, -0.71, 1.41, 0.0]" in source and "[-0.71, -0.71, 1.41, 0.0]" in printed.getvalue()
    promised = [float(x) for x in re.findall(r"# (0\.08.*)", source)[0].split()]
    after = (scope["logits"] - 4 * scope["logits"].grad).softmax(0).tolist()
    assert after == pytest.approx(promised, abs=0.005)
    assert abs(scope["loss"].item()) < 1e-6


def printed_by(notebook):
    """All text that a committed notebook printed."""
    cells = json.loads(next((ROOT / "notebooks").glob(f"{notebook}_*.ipynb")).read_text("utf-8"))["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    texts = [o.get("text") or o.get("data", {}).get("text/plain") or "" for o in outputs]
    texts += [o["data"]["text/markdown"] for o in outputs if "text/markdown" in o.get("data", {})]
    return "\n".join("".join(text) for text in texts)


@languages
def test_numbers_are_those_of_the_logged_runs(language):
    """Figures draw their own numbers; these are the ones that the slides' words repeat."""
    shown = "\n".join(slide.text for slide in read(language))
    notes = "\n".join(slide.notes for slide in read(language))
    runs = results.load_seeds("zero")
    seconds = sorted(run["seconds"] for run in runs)
    between = {"en": "to", "id": "sampai"}[language]
    assert f"{seconds[0]:.0f} {between} {seconds[-1]:.0f}" in shown
    base, zero = results.load_run("base")["report"]["overall"], runs[0]["report"]["overall"]
    assert f"**{zero['mean_tokens']['value']:.0f} token" in shown or (
        f"**{zero['mean_tokens']['value']:.0f} tokens**" in shown
    )
    # "does the work of a 64-fold vote": within the interval of it
    assert base["maj@64"]["low"] < zero["greedy_accuracy"]["value"] < base["maj@64"]["high"]
    ratio = 64 * base["mean_tokens"]["value"] / zero["mean_tokens"]["value"]
    assert 25 < ratio < 35 and {"en": "thirty times", "id": "tiga puluh kali"}[language] in notes
    # "with 16 tries the base is as good"
    assert base["pass@16"]["high"] > zero["pass@16"]["value"] > base["pass@16"]["low"]
    # logic: "from 57 to between 61 and 64"
    logic = [run["report"]["by"]["domain"]["logic"]["greedy_accuracy"]["value"] for run in runs]
    before = results.load_run("base")["report"]["by"]["domain"]["logic"]["greedy_accuracy"]["value"]
    assert {f"{100 * x:.0f}" for x in (before, min(logic), max(logic))} == {"57", "61", "64"}
    assert all(x in notes for x in ("57", "61", "64"))


@languages
def test_numbers_are_those_of_the_notebooks(language):
    shown = "\n".join(slide.text for slide in read(language))
    variances = re.search(
        r"none +[\d.]+ +[\d.]+ +([\d.]+).*leave-one-out +[\d.]+ +[\d.]+ +([\d.]+)", printed_by("01"), re.S
    )
    assert all(f"**{float(variance):.2f}**" in shown for variance in variances.groups())
    memory = re.findall(r"(?:PPO|GRPO: policy \(beta)[^\n]* ([\d.]+) GB", printed_by("01"))
    assert [f"{float(gigabytes):.0f}" for gigabytes in memory] == ["144", "64"]
    assert "**144 GB**" in shown and "**64 GB**" in shown
    cheats = printed_by("02")
    for cheat, naive in (("hedge: 14 or 15", "1.00"), ("be roughly right: 15", "0.40"), ("leave with exit code 0", "1.00")):  # fmt: skip
        assert re.search(rf"\| {cheat} \|[^|]*\| {naive} \| 0.00 \|", cheats) and f"**{naive}**" in shown
    assert "0.50 |" in cheats and "0.29 |" in cheats and "0.50" in shown and "0.29" in shown
    tour = printed_by("00")
    for answer in (
        "The answer is 13.", "So the answer is 14.", "First 12+7=19. Next 19-5=14.", "def f(x): return 8*x+9", "Solve for x: x-11+23-23=1",
    ):  # fmt: skip
        assert answer in tour and answer in shown
    bill = re.search(r"8 x 1024 +([\d.]+) GB", printed_by("03"))[1]
    assert f"**{bill} GB**" in shown


@languages
def test_the_dial_is_the_dial_of_the_package(language):
    (slide,) = (slide for slide in read(language) if "`R1LAB_SCALE` |" in slide.text)
    rows = [[cell.strip(" *") for cell in row.strip("|").split("|")] for row in slide.text.splitlines() if row[:1] == "|"]  # fmt: skip
    table = {row[0]: row[1:] for row in rows}
    scales = [SCALES[name] for name in ("tiny", "t4", "a100")]
    said = list(table.values())
    for place, scale in enumerate(scales):
        column = [row[place] for row in said]
        text = " ".join(column)
        assert f"{scale.groups} x {scale.group_size}" in text
        assert f"{scale.max_completion_tokens} token" in text.replace(",", "")
        assert f"{scale.learning_rate:.0e}".replace("e-0", "e-") in text
        assert (f"LoRA {scale.lora_rank}" in text) == bool(scale.lora_rank)
        assert {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[scale.dtype] in text


def test_figures_are_what_the_scripts_draw_from_the_runs(tmp_path, monkeypatch):
    """Draw all of them again: a new run in data/runs must not leave an old picture behind."""
    monkeypatch.syspath_prepend(str(ROOT / "images"))
    import draw_course
    import draw_runs
    import draw_slides
    import draw_translated

    monkeypatch.setattr(draw_course, "__file__", str(tmp_path / "draw_course.py"))
    for draw in (*draw_slides.DRAWINGS, *draw_runs.DRAWINGS):
        draw_slides.in_both_languages(draw)
    for figure in draw_translated.WORDS:
        draw_translated.translate(figure)
    drawn = sorted(path.name for path in tmp_path.glob("*.svg"))
    committed = {*(ROOT / "images").glob("talk_*.svg"), *(ROOT / "images").glob("*.id.svg")}
    assert drawn == sorted(path.name for path in committed)
    for name in drawn:
        fresh, committed = ((folder / name).read_text("utf-8") for folder in (tmp_path, ROOT / "images"))
        assert fresh == committed, f"{name} is out of date: run `make figures`"


def test_a_stage_gets_its_row_when_its_run_is_there(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "images"))
    import draw_course
    import draw_runs

    monkeypatch.setattr(draw_course, "__file__", str(tmp_path / "draw_course.py"))
    stand_in = {"base": results.load_run("base"), "zero": results.load_run("zero")}
    figures = (draw_runs.draw_ladder, draw_runs.draw_language, draw_runs.draw_distill)
    words = []
    for measured in (("base", "zero"), ("base", "zero", "reason", "align", "distill")):
        found = {name: [stand_in.get(name, stand_in["zero"])] for name in measured}
        monkeypatch.setattr(draw_runs, "seeds", lambda name, found=found: found.get(name, []))
        for draw in figures:
            draw(lambda english, indonesian: english, "")
        words.append(" ".join(path.read_text("utf-8") for path in sorted(tmp_path.glob("talk_*.svg"))))
    before, after = words
    for row in ("reasoning RL", "R1 (all-scenario RL)", "student, from the texts"):
        assert row not in before and row in after
    assert "same student, RL only" not in after


def luminance(color):
    shares = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@languages
def test_words_in_figures_stand_out_from_every_ground_they_may_stand_on(language, monkeypatch):
    """WCAG AA, 4.5 to 1: dark letters on white and on all tints, white letters on blue."""
    monkeypatch.syspath_prepend(str(ROOT / "images"))
    from draw_basics import BLUE, INK, TINT

    for _, path in (image for slide in read(language) for image in images(slide)):
        drawing = (ROOT / path).read_text(encoding="utf-8")
        for color in set(re.findall(r'<text[^>]* fill="([^"]+)"', drawing)):
            grounds = [BLUE, INK] if color == "white" else ["#ffffff"]
            # the plain blue is for words on white: on a tint the scripts take a darker one
            grounds += [] if color in ("white", BLUE) else TINT.values()
            letters = luminance("#ffffff" if color == "white" else color)
            for ground in grounds:
                low, high = sorted((letters, luminance(ground)))
                assert (high + 0.05) / (low + 0.05) >= 4.5, f"{path}: {color} on {ground}"


def test_a_slide_in_one_language_only_is_noticed(tmp_path, monkeypatch):
    deck = DECKS["id"].read_text(encoding="utf-8")
    monkeypatch.setitem(DECKS, "id", tmp_path / "slides.id.md")
    DECKS["id"].write_text(deck.replace("talk_rollouts.id.svg", "talk_clip.id.svg"), encoding="utf-8")
    with pytest.raises(AssertionError, match="slide 10"):
        test_both_languages_have_the_same_slides_figures_and_order()


# --- with a browser ---------------------------------------------------------------------------------------------------

MARP = SLIDES / "node_modules" / ".bin" / "marp"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_a_browser = pytest.mark.skipif(
    not (shutil.which("node") and CHROMIUM and MARP.exists()),
    reason="needs node, Chromium and `make slides` once (it installs marp-cli)",
)


def look(deck: Path, folder: Path, theme: Path = SLIDES / "theme.css"):
    """Render a deck into `folder` and return (number of slides, images, complaints)."""
    if not (folder / "images").exists():
        (folder / "images").symlink_to(ROOT / "images")
    page = folder / "deck.html"
    marp = [MARP, "--no-stdin", "--template", "bare", "--theme", theme, deck, "-o", page]
    subprocess.run(marp, check=True, capture_output=True, timeout=120, cwd=ROOT)
    check = ["node", SLIDES / "check.mjs", CHROMIUM, page]
    seen = json.loads(
        subprocess.run(check, check=True, capture_output=True, text=True, timeout=120, cwd=ROOT).stdout
    )
    shown = [found for found in seen["found"] if found["what"] == "image"]
    return seen["slides"], shown, [found for found in seen["found"] if found["what"] != "image"]


@pytest.mark.slow
@in_a_browser
@languages
def test_every_slide_fits_and_can_be_read(language, tmp_path):
    """No overflow, no broken image, no remote request, contrast at least WCAG AA, text of at least 18 px."""
    count, shown, complaints = look(DECKS[language], tmp_path)
    assert complaints == []
    assert count == len(read(language))
    for image in shown:  # words inside a figure count as text on the slide
        drawing = (ROOT / image["detail"]).read_text(encoding="utf-8")
        width = float(re.search(r'viewBox="0 0 ([\d.]+)', drawing)[1])
        smallest = min(float(size) for size in re.findall(r'font-size="([\d.]+)"', drawing))
        assert smallest * image["width"] / width >= 18, image["detail"]


@pytest.mark.slow
@in_a_browser
@languages
def test_the_deck_fits_in_the_widest_font_too(language, tmp_path):
    """A machine without Arial or its twins takes DejaVu Sans, whose letters are an eighth wider."""
    theme = (SLIDES / "theme.css").read_text(encoding="utf-8")
    narrow = 'Helvetica, Arial, "Liberation Sans", '
    assert narrow in theme
    (tmp_path / "wide.css").write_text(theme.replace(narrow, ""), encoding="utf-8")
    assert look(DECKS[language], tmp_path, tmp_path / "wide.css")[2] == []


@pytest.mark.slow
@in_a_browser
def test_the_browser_finds_what_is_wrong(tmp_path):
    """Each complaint once, on slides made to deserve it: without this the test above could pass blindly."""
    slides = {
        "overflow": "# Too much\n\n" + "\n\n".join(f"line {k}" for k in range(30)),
        "broken image": "# Gone\n\n![a picture that is not there](images/none.svg)",
        "remote request": "# Far\n\n![a picture from elsewhere](https://example.com/x.png)",
        "small text": '# Small\n\n<p class="small">tiny</p>',
        "contrast": '# Faint\n\n<p class="pale">pale</p>',
        "outside": '# Wide\n\n<p class="wide">wide</p>',
    }
    deck = tmp_path / "bad.md"
    style = "<style>.small { font-size: 12px } .pale { color: #cccccc } .wide { width: 1600px }</style>"
    deck.write_text("---\nmarp: true\ntheme: r1lab\n---\n\n" + style + "\n\n" + "\n\n---\n\n".join(slides.values()), encoding="utf-8")  # fmt: skip
    _, _, complaints = look(deck, tmp_path)
    assert set(slides) <= {complaint["what"] for complaint in complaints}
