"""Draw the talk's figures of measured numbers, in both languages: `python images/draw_runs.py` rewrites images/talk_*.svg.

Every number is read from data/runs, or (the reward hack) from the printed output of notebook 02. A run that is not there yet
is left out, so after `make bench-stages` draw again.
"""

import json
import re
from math import log2
from pathlib import Path
from statistics import fmean

from draw_basics import BLUE, GREEN, GREY, ORANGE, TINT, arrow, text
from draw_course import DARK, rect, save
from draw_slides import WIDTH, Panel, in_both_languages, left

from r1lab import results
from r1lab.evaluation import pool

ROOT = Path(__file__).parents[1]
SEED_STYLE = [(BLUE, ""), (ORANGE, "12 6"), (GREEN, "3 6")]
PERCENT = {k / 4: f"{25 * k}" for k in range(5)}


def seeds(name):
    """Every run of a name, the base's one included; an empty list if none was measured yet."""
    return [results.load_run("base")] if name == "base" else results.load_seeds(name)


def smooth(values, half=6):
    """Centred moving mean."""
    windows = (values[max(0, k - half) : k + half + 1] for k in range(len(values)))
    return [fmean(window) for window in windows]


def series(run, key):
    """(step, smoothed value) of one column of a run's log."""
    rows = [row for row in run["history"] if row.get(key) is not None]
    return list(zip([row["step"] for row in rows], smooth([row[key] for row in rows]), strict=True))


def interval(panel, estimate, y, color):
    """A dot at an estimate with its 95 % interval, horizontally, on the height `y` of the canvas."""
    (x, _), (low, _), (high, _) = (
        panel.place(estimate[key], panel.up[0]) for key in ("value", "low", "high")
    )
    return (
        f'<line x1="{low}" y1="{y}" x2="{high}" y2="{y}" stroke="{color}" stroke-width="12" stroke-opacity="0.4"/>'
        f'<circle cx="{x}" cy="{y}" r="5" fill="{color}"/>'
    )


def track(panel, y):
    """A faint line across a chart on the height `y`, so that the eye finds the row of a dot."""
    return f'<line x1="{panel.x}" y1="{y}" x2="{panel.x + panel.width}" y2="{y}" stroke="#e2e8f0" stroke-width="2"/>'


def percent(estimate):
    """`85 [82, 87]`"""
    return "{:.0f} [{:.0f}, {:.0f}]".format(*(100 * estimate[key] for key in ("value", "low", "high")))


def legend(x, y, entries):
    """Lines of a chart and their names, one below the other."""
    return "".join(
        f'<line x1="{x}" y1="{y + 30 * k - 7}" x2="{x + 44}" y2="{y + 30 * k - 7}" stroke="{color}" stroke-width="4"'
        + (f' stroke-dasharray="{dash}"' if dash else "")
        + "/>"
        + left(x + 54, y + 30 * k, name, 20)
        for k, (name, color, dash) in enumerate(entries)
    )


# ------------------------------------------------------------------------------------------ silent groups
def draw_silent(say, ending):
    theory = Panel(60, 52, 460, 290, (0, 1), (0, 1))
    measured = Panel(660, 52, 480, 290, (0, 130), (0, 1))
    parts = [
        theory.axes({0: "0", 0.5: "50", 1: "100 %"}, PERCENT, say("in theory: silent groups, %", "teori: grup diam, %"),
                    say("chance that one completion is right", "peluang satu completion benar")),
        *(theory.line([(k / 50, (k / 50) ** size + (1 - k / 50) ** size) for k in range(51)], color, dash)
          for size, (color, dash) in zip((4, 8, 16), SEED_STYLE, strict=True)),
        legend(210, 92, [(say(f"groups of {g}", f"grup isi {g}"), *style) for g, style in zip((4, 8, 16), SEED_STYLE, strict=True)]),
        measured.axes({0: "0", 65: "65", 130: "130"}, PERCENT, say("measured in our three runs, %", "terukur di tiga run kami, %"), say("training step", "langkah training")),
    ]  # fmt: skip
    for run, (color, dash) in zip(seeds("zero"), SEED_STYLE, strict=True):
        parts.append(measured.line(series(run, "frac_reward_zero_std"), color, dash))
    parts.append(legend(690, 92, [(f"seed {k}", *style) for k, style in enumerate(SEED_STYLE)]))
    save(
        f"talk_silent{ending}", WIDTH, 416, say("Groups that teach nothing", "Grup yang tidak mengajarkan apa-apa"),
        say("Share of groups whose rewards are all equal: in theory highest near 0 and 100 % success, and in our runs rising at the end.",
            "Porsi grup yang semua reward-nya sama: secara teori tertinggi di dekat 0 dan 100 %, dan di run kami naik di akhir."),
        *parts,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- the hack
def hack_logs(path=ROOT / "notebooks" / "02_rewards.ipynb"):
    """The two printed logs of notebook 02, section 7: lists of (step, paid, share right)."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    printed = ["".join(o.get("text", "")) for c in cells for o in c.get("outputs", []) if o.get("text")]
    row = re.compile(r"step +(\d+) +paid +(-?[\d.]+) +right +(\d+)%")
    logs = [[(int(a), float(b), int(c) / 100) for a, b, c in row.findall(words)] for words in printed]
    flawed, mended = [log for log in logs if log]
    return flawed, mended


def draw_hack(say, ending):
    parts = []
    for x, log, title in zip(
        (60, 660),
        hack_logs(),
        (
            say("“right + short” is paid", "yang dibayar: “benar + pendek”"),
            say("repaired: right beats short", "diperbaiki: benar dulu, baru pendek"),
        ),
        strict=True,
    ):
        panel = Panel(x, 52, 480, 300, (1, 43), (-0.5, 1))
        parts += [
            panel.axes({1: "1", 22: "22", 43: "43"}, {-0.5: "−0.5", 0: "0", 0.5: "0.5", 1: "1"}, title, say("training step", "langkah training")),
            panel.line([(step, paid) for step, paid, _ in log], ORANGE, "12 6"),
            panel.line([(step, right) for step, _, right in log], BLUE),
            *(panel.dot(step, right, BLUE) for step, _, right in log),
            *(panel.dot(step, paid, ORANGE) for step, paid, _ in log),
        ]  # fmt: skip
    parts.append(legend(860, 310, [(say("what is paid", "yang dibayar"), ORANGE, "12 6"), (say("what was meant: right", "yang dimaksud: benar"), BLUE, "")]))  # fmt: skip
    save(
        f"talk_hack{ending}", WIDTH, 424, say("A policy finds a cheat", "Policy menemukan cara curang"),
        say("Left, a flawed reward: what is paid rises while the share of right answers falls. Right, the repaired reward: both rise.",
            "Kiri, reward cacat: yang dibayar naik, jawaban benar turun. Kanan, reward yang diperbaiki: keduanya naik."),
        *parts,
    )  # fmt: skip


# -------------------------------------------------------------------------------------------- the run
def draw_run(say, ending):
    panels = [
        ("reward", say("reward, mean", "reward, rata-rata"), (0, 1.5), {0: "0", 0.5: "0.5", 1: "1", 1.5: "1.5"}),
        ("completions/mean_length", say("length, tokens", "panjang, token"), (0, 60), {0: "0", 20: "20", 40: "40", 60: "60"}),
        ("rewards/self_check/mean", say("checks itself, %", "cek diri sendiri, %"), (0, 0.2), {0: "0", 0.1: "10", 0.2: "20"}),
    ]  # fmt: skip
    parts = []
    for k, (key, title, up, ticks) in enumerate(panels):
        panel = Panel(62 + 392 * k, 52, 316, 300, (0, 130), up)
        parts.append(
            panel.axes({0: "0", 65: "65", 130: "130"}, ticks, title, say("training step", "langkah training"))
        )
        for run, (color, dash) in zip(seeds("zero"), SEED_STYLE, strict=True):
            parts.append(panel.line(series(run, key), color, dash))
    parts.append(legend(600, 282, [(f"seed {k}", *style) for k, style in enumerate(SEED_STYLE)]))
    save(
        f"talk_run{ending}", WIDTH, 424, say("Our R1-Zero run, three seeds", "Run R1-Zero kami, tiga seed"),
        say("Reward rises, completions grow to the length the problems need and stop, self-checks stay rare.",
            "Reward naik, completion memanjang secukupnya lalu berhenti, self-check tetap jarang."),
        *parts,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------ before, after
def draw_seeds(say, ending):
    runs = [("base", GREY, seeds("base")[0])]
    runs += [
        (f"R1-Zero, seed {run['seed']}", color, run)
        for run, (color, _) in zip(seeds("zero"), SEED_STYLE, strict=True)
    ]
    parts, ticks = [], {k / 4: f"{25 * k} %" for k in range(5)}
    for x, metric, title in (
        (230, "greedy_accuracy", say("greedy: its likeliest answer", "greedy: jawaban paling mungkin")),
        (730, "sampled_accuracy", say("sampled at temperature 1", "sampling, temperatur 1")),
    ):
        panel = Panel(x, 52, 400, 300, (0, 1), (0, 1))
        parts.append(panel.axes(ticks, {}, title))
        for k, (name, color, run) in enumerate(runs):
            estimate, y = run["report"]["overall"][metric], 104 + 72 * k
            parts += [track(panel, y), interval(panel, estimate, y, color)]
            at = panel.place(estimate["value"], 0)[0]
            parts.append(text(at, y - 18, percent(estimate), 21, DARK[color], weight="bold"))
            if metric == "greedy_accuracy":
                parts.append(left(6, y + 7, name, 21, weight="bold"))
    save(
        f"talk_seeds{ending}", WIDTH, 396, say("Before and after, three seeds", "Sebelum dan sesudah, tiga seed"),
        say("Accuracy on 600 held-out problems with 95 % intervals: " + "; ".join(f"{n} {percent(r['report']['overall']['greedy_accuracy'])}" for n, _, r in runs),
            "Akurasi di 600 soal uji dengan interval 95 %: " + "; ".join(f"{n} {percent(r['report']['overall']['greedy_accuracy'])}" for n, _, r in runs)),
        *parts,
    )  # fmt: skip


def draw_passk(say, ending):
    panel, parts = Panel(80, 40, 700, 320, (0, 6), (0.3, 1)), []
    parts.append(panel.axes({0: "1", 2: "4", 4: "16", 6: "64"}, {k / 10: f"{10 * k} %" for k in (4, 6, 8, 10)}, "", say("tries per problem, k", "percobaan per soal, k")))  # fmt: skip
    for name, color, dash in (("base", ORANGE, "12 6"), ("zero", BLUE, "")):
        overall = seeds(name)[0]["report"]["overall"]
        known = [(log2(k), overall[f"pass@{k}"]) for k in (1, 4, 16, 64)]
        parts += [
            panel.band([(x, e["low"], e["high"]) for x, e in known], color),
            panel.line([(x, e["value"]) for x, e in known], color, dash),
            *(panel.dot(x, e["value"], color) for x, e in known),
        ]
        said = " · ".join(f"{100 * e['value']:.1f}" for _, e in known)
        y = 130 if name == "zero" else 230
        parts += [
            left(830, y, "R1-Zero" if name == "zero" else "base", 25, DARK[color], "bold"),
            left(830, y + 34, f"{said} %", 25),
        ]
    parts.append(
        left(830, 320, say("right in k = 1, 4, 16, 64 tries", "benar dalam k = 1, 4, 16, 64 kali"), 20, GREY)
    )
    save(
        f"talk_passk{ending}", WIDTH, 434, say("pass@k of base and R1-Zero", "pass@k base dan R1-Zero"),
        say("With one try R1-Zero is far ahead; with 16 and more the base has caught up.", "Dengan satu percobaan R1-Zero jauh di depan; dengan 16 ke atas base menyusul."),
        *parts,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------- language
def draw_language(say, ending):
    rows = [("base", seeds("base")[0]["report"])]
    rows += [(f"R1-Zero, seed {run['seed']}", run["report"]) for run in seeds("zero")]
    for name in ("cold_start", "reason"):
        if found := seeds(name):
            rows.append((results.LABELS[name], pool([run["report"] for run in found])))
    step = 300 / len(rows)
    panel = Panel(260, 20, 560, 330, (0.4, 1), (0, 1))
    parts = [panel.axes({k / 10: f"{10 * k} %" for k in (4, 6, 8, 10)}, {}, "", say("words in the question's language", "kata yang sebahasa dengan soal"))]  # fmt: skip
    for k, (name, report) in enumerate(rows):
        y = 26 + step * (k + 0.5)
        parts += [left(6, y + 7, name, 22, weight="bold"), track(panel, y)]
        for shift, language, color in ((-7, "en", BLUE), (7, "id", ORANGE)):
            parts.append(
                interval(panel, report["by"]["language"][language]["language_consistency"], y + shift, color)
            )
    parts += [
        f'<circle cx="880" cy="90" r="9" fill="{BLUE}"/>',
        left(900, 97, say("English questions", "soal bahasa Inggris"), 21, DARK[BLUE], "bold"),
        f'<circle cx="880" cy="130" r="9" fill="{ORANGE}"/>',
        left(900, 137, say("Indonesian questions", "soal bahasa Indonesia"), 21, DARK[ORANGE], "bold"),
        left(870, 200, say("bars: 95 % intervals", "garis: interval 95 %"), 20, GREY),
    ]
    save(
        f"talk_language{ending}", WIDTH, 424, say("Language consistency by question language", "Konsistensi bahasa menurut bahasa soal"),
        say("Each R1-Zero seed mixes its own way: one towards English, one towards Indonesian, one neither.", "Tiap seed R1-Zero mencampur dengan caranya sendiri."),
        *parts,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- the ladder
def draw_ladder(say, ending):
    names = [name for name in results.LABELS if name != "distill" and seeds(name)]
    columns = [
        ("greedy_accuracy", say("greedy right, %", "greedy benar, %")),
        ("format_rate", say("form kept, %", "format benar, %")),
        ("language_consistency", say("one language, %", "satu bahasa, %")),
    ]
    parts = [text(375 + 235 * k, 34, title, 22, GREY, weight="bold") for k, (_, title) in enumerate(columns)]
    parts.append(text(1080, 34, say("training, s", "training, detik"), 22, GREY, weight="bold"))
    y = 50
    for name in names:
        found = seeds(name)
        report = pool([run["report"] for run in found]) if len(found) > 1 else found[0]["report"]
        parts += [
            rect(6, y, WIDTH - 12, 50, TINT[GREY] if name == "base" else "white", GREY),
            left(20, y + 33, results.LABELS[name], 21, weight="bold"),
        ]
        for k, (metric, _) in enumerate(columns):
            parts.append(text(375 + 235 * k, y + 33, percent(report["overall"][metric]), 22))
        spent = [run["seconds"] for run in found] if name != "base" else []
        parts.append(text(1080, y + 33, f"{fmean(spent):.0f}" if spent else "–", 22))
        y += 58
    parts.append(left(10, y + 26, say("mean of the seeds [95 % interval]; 600 held-out problems; seconds after R1-Zero on a busy machine: upper bounds", "rata-rata seed [interval 95 %]; 600 soal uji; detik setelah R1-Zero di mesin yang sibuk: batas atas"), 20, GREY))  # fmt: skip
    save(
        f"talk_ladder{ending}", WIDTH, y + 44, say("The ladder of stages, measured", "Tangga tahapan, terukur"),
        say("One row per stage that has been measured: ", "Satu baris per tahap yang sudah diukur: ") + ", ".join(results.LABELS[name] for name in names),
        *parts,
    )  # fmt: skip


def draw_distill(say, ending):
    parts = [
        rect(20, 12, 270, 110, BLUE),
        text(155, 58, say("Teacher", "Guru"), 26, "white", weight="bold"),
        text(155, 94, say("the aligned model", "model yang sudah rapi"), 21, "white"),
        arrow(290, 67, 366, 67, ORANGE),
        rect(372, 12, 340, 110, TINT[GREY], GREY),
        text(542, 58, say("texts it wrote", "teks buatannya"), 25, weight="bold"),
        text(542, 94, say("only the right ones kept", "hanya yang benar disimpan"), 21),
        arrow(712, 67, 788, 67, ORANGE),
        rect(794, 12, 366, 110, TINT[GREEN], GREEN),
        text(977, 58, say("Student", "Murid"), 26, DARK[GREEN], weight="bold"),
        text(977, 94, say("smaller; plain SFT, no RL", "lebih kecil; cukup SFT, tanpa RL"), 21),
    ]
    arms = [
        ("align", say("teacher", "guru"), BLUE),
        ("distill", say("student, from the texts", "murid, dari teks guru"), GREEN),
        ("distill-rl", say("same student, RL only", "murid yang sama, RL saja"), ORANGE),
        ("distill-answers", say("answers without the chains", "jawaban tanpa chain"), GREY),
    ]
    found = [(label, color, seeds(name)) for name, label, color in arms if seeds(name)]
    bottom = 150
    if found:
        panel = Panel(360, 160, 540, 52 * len(found), (0, 1), (0, 1))
        parts.append(
            panel.axes(
                {k / 4: f"{25 * k} %" for k in range(5)},
                {},
                "",
                say("sampled answers that are right", "jawaban sampel yang benar"),
            )
        )
        for k, (label, color, runs) in enumerate(found):
            y = 190 + 52 * k
            estimate = pool([run["report"] for run in runs])["overall"]["sampled_accuracy"]
            parts += [
                left(20, y + 7, label, 22, weight="bold"),
                track(panel, y),
                interval(panel, estimate, y, color),
                left(930, y + 7, percent(estimate) + " %", 22),
            ]
        bottom = 244 + 52 * len(found)
    save(
        f"talk_distill{ending}", WIDTH, bottom, say("Distillation: the teacher's texts train a smaller student", "Distilasi: teks guru melatih murid yang lebih kecil"),
        say("The teacher writes, right texts are kept, a smaller student is fine-tuned on them.", "Guru menulis, teks yang benar disimpan, murid kecil di-fine-tune dengannya."),
        *parts,
    )  # fmt: skip


# -------------------------------------------------------------------------------------------------- costs
def draw_cost(say, ending):
    panel = Panel(90, 40, 720, 320, (4, 12), (0.2, 1))
    parts = [panel.axes({k: say(f"{2**k:,}", f"{2**k}") for k in (4, 6, 8, 10, 12)}, {k / 10: f"{10 * k} %" for k in (2, 4, 6, 8, 10)}, "", say("tokens written per question", "token yang ditulis per soal"))]  # fmt: skip
    for name, color, dash in (("base", ORANGE, "12 6"), ("zero", BLUE, "")):
        overall = seeds(name)[0]["report"]["overall"]
        tokens = overall["mean_tokens"]["value"]
        points = [(log2(tokens), overall["greedy_accuracy"]["value"])]
        points += [(log2(k * tokens), overall[f"maj@{k}"]["value"]) for k in (4, 16, 64)]
        parts.append(panel.line(points, color, dash))
        for k, (x, y) in zip((1, 4, 16, 64), points, strict=True):
            at_x, at_y = panel.place(x, y)
            parts += [
                panel.dot(x, y, color),
                text(at_x, at_y + (34 if name == "base" else -18), f"{k}", 20, DARK[color], weight="bold"),
            ]
    parts += [
        legend(850, 120, [("base", ORANGE, "12 6"), ("R1-Zero", BLUE, "")]),
        left(850, 210, say("1: one greedy answer", "1: satu jawaban greedy"), 21),
        left(850, 242, say("4, 16, 64: that many", "4, 16, 64: sebanyak itu"), 21),
        left(850, 274, say("samples take a vote", "sampel ikut voting"), 21),
    ]
    save(
        f"talk_cost{ending}", WIDTH, 434, say("Accuracy against tokens per question", "Akurasi terhadap token per soal"),
        say("One R1-Zero answer is as accurate as a vote of 64 base samples, at a fraction of the tokens.", "Satu jawaban R1-Zero seakurat voting 64 sampel base, dengan token jauh lebih sedikit."),
        *parts,
    )  # fmt: skip


def draw_memory(say, ending):
    record = json.loads((results.RUNS / "bench-kernel.json").read_text(encoding="utf-8"))
    case = next(case for case in record["cases"] if case["name"] == "trainable head")
    ways = [
        ("full logits", say("naive: all logits", "naif: semua logits"), ORANGE),
        ("liger", say("chunked (Liger)", "dipotong (Liger)"), BLUE),
        ("fused", say("fused (ours)", "fused (kami)"), GREEN),
    ]
    parts = []
    for x, key, title, unit in (
        (290, "peak_mb", say("peak memory", "puncak memori"), "MB"),
        (750, "median_seconds", say("time, forward and backward", "waktu, forward + backward"), "s"),
    ):
        values = [case["results"][name][key] for name, *_ in ways]
        parts.append(left(x, 40, title, 24, weight="bold"))
        for k, (value, (_, label, color)) in enumerate(zip(values, ways, strict=True)):
            y, length = 66 + 84 * k, round(250 * value / max(values), 1)
            parts += [
                rect(x, y, max(length, 6), 56, color, radius=6),
                left(x + length + 12, y + 36, say(f"{value:,.0f} MB", f"{value:.0f} MB") if unit == "MB" else f"{value:.1f} {unit}", 23, weight="bold"),
            ]  # fmt: skip
            if unit == "MB":
                parts.append(left(10, y + 36, label, 23))
    floor = case["results"]["matrix products"]["median_seconds"]
    parts.append(left(750, 344, say(f"the matrix products alone: {floor:.1f} s", f"perkalian matriksnya saja: {floor:.1f} s"), 21, GREY))  # fmt: skip
    tokens = case["completions"] * case["length"]
    parts.append(left(10, 344, say(f"{tokens:,} tokens, vocabulary {case['vocabulary']:,}, 2 CPU cores", f"{tokens} token, vocabulary {case['vocabulary']}, 2 core CPU"), 21, GREY))  # fmt: skip
    save(
        f"talk_memory{ending}", WIDTH, 366, say("Memory and time of the GRPO loss", "Memori dan waktu loss GRPO"),
        say("Naive, chunked and fused loss: ", "Loss naif, dipotong dan fused: ") + ", ".join(f"{case['results'][n]['peak_mb']:.0f} MB" for n, *_ in ways),
        *parts,
    )  # fmt: skip


DRAWINGS = (
    draw_silent, draw_hack, draw_run, draw_seeds, draw_passk, draw_language, draw_ladder, draw_distill, draw_cost, draw_memory,
)  # fmt: skip

if __name__ == "__main__":
    for drawing in DRAWINGS:
        in_both_languages(drawing)
