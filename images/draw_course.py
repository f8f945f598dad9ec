"""Draw the course's own figures as plain SVG: `python images/draw_course.py` rewrites pipeline, where_*, 00_* and 04_*.svg."""

from html import escape
from pathlib import Path
from statistics import mean, stdev

from draw_basics import BLUE, FONT, GREEN, GREY, INK, ORANGE, TINT, arrow, number, text

MONO = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"
DARK = {GREEN: "#166534", ORANGE: "#9a3412", GREY: GREY, BLUE: "#1d4ed8"}  # for words on a tint


def rect(x, y, width, height, fill, stroke=None, dashed=False, radius=10):
    """A rounded rectangle."""
    line = f' stroke="{stroke}" stroke-width="2.5"' if stroke else ""
    dash = ' stroke-dasharray="8 6"' if dashed else ""
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}" fill="{fill}"{line}{dash}/>'
    )


def code(x, y, words, size=17):
    """One line of what a model reads or writes."""
    return f'<g font-family="{MONO}">{text(x, y, words, size, anchor="start")}</g>'


def path(points, color):
    """A bent arrow through `points`, for example "M10,10 H90 V40"."""
    return f'<path d="{points}" fill="none" stroke="{color}" stroke-width="3" marker-end="url(#head{color[1:]})"/>'


def save(name, width, height, title, description, *parts):
    """Write one SVG on an opaque rounded ground, so that it also reads on a dark page."""
    heads = "".join(
        f'<marker id="head{c[1:]}" markerWidth="16" markerHeight="16" refX="7" refY="4" orient="auto" '
        f'markerUnits="userSpaceOnUse" viewBox="0 0 8 8"><path d="M0,0 L8,4 L0,8 z" fill="{c}"/></marker>'
        for c in (BLUE, ORANGE, GREEN, GREY)
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="{FONT}" role="img" aria-labelledby="title desc"><title id="title">{escape(title)}</title>'
        f'<desc id="desc">{escape(description)}</desc><defs>{heads}</defs>'
        f"{rect(0, 0, width, height, 'white', radius=16)}{''.join(parts)}</svg>\n"
    )
    (Path(__file__).parent / f"{name}.svg").write_text(svg, encoding="utf-8")


# ------------------------------------------------------------------------------------------------ pipeline
def tag(x, y, notebook):
    """The number of a notebook."""
    return rect(x, y, 40, 26, "white", radius=6) + text(
        x + 20, y + 19, notebook, 17, DARK[BLUE], weight="bold"
    )


def stage(x, y, width, height, notebook, lines):
    """A box of the recipe: its notebook's number, its name, what it does."""
    parts = [rect(x, y, width, height, BLUE)]
    if notebook:
        parts.append(tag(x + 10, y + 10, notebook))
    top = y + (62 if notebook else 48)
    parts.append(text(x + width / 2, top, lines[0], 18, "white", weight="bold"))
    parts.append(text(x + width / 2, top + 24, lines[1], 16, "white"))
    return "".join(parts)


WIDTH, COLUMNS = 206, [20, 258, 496, 734]
RECIPE = [
    (None, "Tiny base", "ships in the repo"),
    ("04", "R1-Zero", "GRPO, rule rewards"),
    ("05", "Cold start", "SFT on clean chains"),
    ("06", "Reasoning RL", "+ language consistency"),
    ("07", "Rejection sampling", "+ second SFT"),
    ("08", "All-scenario RL", "helpful and harmless"),
    ("09", "Distillation", "into a small student"),
    ("10", "Evaluation", "pass@k with intervals"),
]


def draw_hops(top):
    """The arrows between the stages, whose first row starts at `top`.

    Grey: the weights are trained on. Orange: the texts a policy wrote become the next stage's training data.
    """
    hops = [(0, 51, GREY), (1, 51, ORANGE), (2, 51, GREY), (0, 201, GREY), (1, 201, ORANGE), (2, 201, GREY)]
    return [
        *(arrow(COLUMNS[k] + WIDTH, top + y, COLUMNS[k + 1] - 3, top + y, color) for k, y, color in hops),
        path(f"M123,{top} V{top - 26} H599 V{top - 4}", GREY),
        text(361, top - 34, "05 and 07 train the base again, from new texts", 16, GREY),
        path(f"M837,{top + 102} V{top + 126} H123 V{top + 146}", ORANGE),
    ]


def draw_pipeline():
    parts = [text(20, 30, "Tour and ideas", 18, GREY, "start", "bold")]
    ideas = [("00", "tour"), ("01", "RL basics"), ("02", "rewards"), ("03", "GRPO loss")]
    for x, (notebook, name) in zip(COLUMNS, ideas, strict=True):
        parts += [
            rect(x, 42, WIDTH, 46, BLUE),
            tag(x + 10, 52, notebook),
            text(x + 62, 71, name, 18, "white", "start", "bold"),
        ]
    parts.append(text(20, 124, "The stages", 18, GREY, "start", "bold"))
    for k, (notebook, *lines) in enumerate(RECIPE):
        x, y = COLUMNS[k % 4], (166, 316)[k // 4]
        parts.append(stage(x, y, WIDTH, 102, notebook, lines))
    parts += draw_hops(166)
    # The legend
    y = 456
    parts += [
        arrow(172, y - 6, 212, y - 6),
        text(222, y, "its weights go on", 17, anchor="start"),
        arrow(437, y - 6, 477, y - 6, ORANGE),
        text(487, y, "its texts train the next", 17, anchor="start"),
    ]
    # The dial
    stops = [
        ("tiny", "2 CPU cores, minutes"),
        ("t4", "one T4 GPU"),
        ("a100", "one A100 GPU"),
        ("cluster", "several GPUs"),
    ]
    parts += [
        rect(20, 482, 920, 122, TINT[GREY]),
        text(36, 511, "The dial:", 18, GREY, "start", "bold"),
        code(144, 511, "R1LAB_SCALE", 17),
        text(924, 511, "same notebooks, larger model", 17, GREY, "end"),
        f'<line x1="123" y1="538" x2="837" y2="538" stroke="{GREY}" stroke-width="4"/>',
    ]
    for x, (name, machine) in zip(COLUMNS, stops, strict=True):
        center = x + WIDTH / 2
        chosen = name == "tiny"
        parts += [
            f'<circle cx="{center}" cy="538" r="{11 if chosen else 8}" fill="{BLUE if chosen else "white"}" '
            f'stroke="{BLUE if chosen else GREY}" stroke-width="3"/>',
            text(center, 569, name, 18, weight="bold"),
            text(center, 590, machine, 16),
        ]
    save(
        "pipeline", 960, 622, "The DeepSeek-R1 recipe as the stages of this course",
        "Ideas: tour, RL basics, rewards, GRPO loss. Stages: the tiny base gives R1-Zero by GRPO with rule rewards; from "
        "the base again cold start SFT, reasoning RL with language consistency, rejection sampling and a second SFT, "
        "all-scenario RL, distillation, evaluation. The dial below: tiny, t4, a100, cluster.",
        *parts,
    )  # fmt: skip


def draw_where(current):
    """The recipe with one stage lit: what the learner has behind and ahead."""
    parts, place = [], [notebook for notebook, *_ in RECIPE].index(current)
    for k, (notebook, name, what) in enumerate(RECIPE):
        x, y = COLUMNS[k % 4], (60, 210)[k // 4]
        fill, border, ink = (
            (BLUE, BLUE, "white")
            if k == place
            else (TINT[BLUE], BLUE, INK)
            if k < place
            else ("white", GREY, GREY)
        )
        parts += [
            rect(x, y, WIDTH, 102, fill, border, k > place),
            text(x + WIDTH / 2, y + 62, name, 18, ink, weight="bold"),
            text(x + WIDTH / 2, y + 86, what, 16, ink),
        ]
        if notebook:
            parts += [
                rect(x + 10, y + 10, 40, 26, "white", radius=6),
                text(x + 30, y + 29, notebook, 17, GREY if k > place else DARK[BLUE], weight="bold"),
            ]
        if k == place:
            parts.append(text(x + WIDTH - 12, y + 29, "you are here", 16, "white", "end", "bold"))
    behind = ", ".join(name for _, name, _ in RECIPE[:place])
    save(
        f"where_{current}", 960, 330, f"Where we are: {RECIPE[place][1]}",
        f"The stages of the recipe. Behind us: {behind}. Here: {RECIPE[place][1]}, {RECIPE[place][2]}. Ahead: "
        + (", ".join(name for _, name, _ in RECIPE[place + 1 :]) or "nothing") + ".",
        *parts, *draw_hops(60),
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- tiny world
def draw_tiny_world():
    domains = [
        ("arithmetic", "math", BLUE, "Ani has 12 eggs. Ani buys 7. Ani loses 5. How many eggs now?", "", "14"),
        ("equation", "math", BLUE, "Solve for x: (x+3)*2-5=27", "", "13"),
        ("logic", "exact names", ORANGE, "Budi is in front. Ani is behind Budi. Citra is behind Ani.",
         "Who is number 3?", "Citra"),
        ("code", "hidden tests", GREEN, "Write the line f: f(3)=13, f(4)=17.", "", "def f(x): return 4*x+1"),
    ]  # fmt: skip
    parts = [
        text(20, 36, "Four domains, each with its verifier", 20, anchor="start", weight="bold"),
        text(650, 36, "Three habits of the base", 20, anchor="start", weight="bold"),
    ]
    for k, (name, verifier, color, question, more, answer) in enumerate(domains):
        y = 52 + 106 * k
        parts += [
            rect(20, y, 606, 96, TINT[color], color),
            text(36, y + 30, name, 20, DARK[color], "start", "bold"),
            rect(406, y + 10, 206, 28, "white", radius=14),
            text(509, y + 30, f"verifier: {verifier}", 17, INK),
            text(36, y + 58, question, 17, anchor="start"),
            text(36, y + 82, more, 17, anchor="start") if more else "",
            text(612, y + 82, f"→ {answer}", 18, anchor="end", weight="bold"),
        ]
    # Shares of the replies to problems in the texts the base was pretrained on: data/corpus/README.md.
    habits = [
        ("blurts", 66, ORANGE, ["The answer is 15."]),
        ("reasons, tags missing", 23, GREY, ["First 12+7=19. Then", "19-5=14. So the", "answer is 14."]),
        (
            "reasons in full tags",
            11,
            GREEN,
            ["<think>First 12+7=19.", "Then 19-5=14.</think>", "<answer>14</answer>"],
        ),
    ]
    y = 52
    parts.append(rect(646, y, 294, 414, TINT[GREY], GREY))
    y += 30
    for name, share, color, example in habits:
        parts += [
            text(662, y, name, 18, anchor="start", weight="bold"),
            rect(662, y + 10, 196, 18, "white", radius=3),
            rect(662, y + 10, 1.96 * share, 18, color, radius=3),
            text(924, y + 26, f"{share} %", 19, anchor="end", weight="bold"),
        ]
        parts += [code(662, y + 49 + 20 * i, line, 16) for i, line in enumerate(example)]
        y += 66 + 20 * len(example)
    parts += [
        text(662, 432, "of the replies to problems", 16, GREY, "start"),
        text(662, 453, "that it was pretrained on", 16, GREY, "start"),
    ]
    # Languages and levels
    parts.append(text(20, 506, "Two languages", 20, anchor="start", weight="bold"))
    for y, language, words in ((520, "EN", "How many eggs now?"), (568, "ID", "Berapa telur sekarang?")):
        parts += [
            rect(20, y, 300, 40, TINT[BLUE], BLUE),
            text(36, y + 27, language, 18, DARK[BLUE], "start", "bold"),
            text(78, y + 27, words, 18, anchor="start"),
        ]
    parts.append(text(350, 506, "Three levels (steps in arithmetic)", 20, anchor="start", weight="bold"))
    levels = [(350, "easy", "1–2", GREEN), (552, "medium", "3–4", GREEN), (754, "hard", "5–6", ORANGE)]
    for x, name, steps, color in levels:
        parts += [
            rect(x, 520, 186, 56, TINT[color], color, name == "hard"),
            text(x + 93, 544, name, 19, weight="bold"),
            text(x + 93, 567, f"{steps} steps", 17),
        ]
    parts += [
        text(544, 602, "RL trains on these", 17, DARK[GREEN]),
        text(847, 602, "only in the test", 17, DARK[ORANGE]),
    ]
    save(
        "00_tiny_world", 960, 626, "The tiny world: problems a program can check",
        "Four domains with a verifier each: arithmetic and equation (math), logic (exact names), code (hidden tests); "
        "English and Indonesian; easy and medium problems for training, hard ones only in the test. Of the replies to "
        "problems in the pretraining texts 66 % blurt, 23 % reason without the full tags, 11 % reason in full tags.",
        *parts,
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------- zero step
def draw_zero_step():
    group = [
        (["The answer is 15."], "blurt", 0, 0),
        (["First 12+7=19. Next 19-5=14.", "So the answer is 14."], "right, but no tags", 0, 0),
        (["<think>First 12+7=19.", "Then 19-5=14.</think>", "<answer>14</answer>"], "right, in tags", 1, 0.5),
        (
            ["<think>First 12+7=19.", "Then 19-5=13.</think>", "<answer>13</answer>"],
            "a slip, in tags",
            0,
            0.5,
        ),
    ]
    rewards = [accuracy + form for *_, accuracy, form in group]
    center, spread = mean(rewards), stdev(rewards)  # the sample deviation (n - 1), as TRL computes it
    parts = [
        number(35, 46, 1),
        text(58, 53, "prompt", 20, anchor="start", weight="bold"),
        rect(146, 16, 484, 60, TINT[GREY], GREY),
        text(388, 41, "Ani has 12 eggs. Ani buys 7. Ani loses 5.", 18),
        text(388, 65, "How many eggs now?", 18),
        arrow(630, 46, 677, 46),
        rect(680, 16, 220, 60, BLUE),
        text(790, 54, "Policy", 22, "white", weight="bold"),
        path("M720,76 V96 H212 V108", BLUE),
    ]  # fmt: skip
    heads = [(20, "group, sampled from the policy"), (464, "rewards"), (664, "advantage"), (838, "loss")]
    for n, (x, head) in enumerate(heads, 2):
        parts += [number(x + 15, 130, n), text(x + 36, 137, head, 20, anchor="start", weight="bold")]
    columns = [(494, "accuracy"), (574, "½ format"), (636, "sum")]
    parts += [text(x, 168, name, 16, GREY) for x, name in columns]
    parts.append(text(56, 162, "4 drawn; the tiny scale samples 8", 16, GREY, "start"))
    y = 180
    for (lines, note, accuracy, form), reward in zip(group, rewards, strict=True):
        height = 26 + 21 * len(lines)
        advantage = (reward - center) / spread
        color, push = (
            (GREEN, "raise") if advantage > 0 else (ORANGE, "lower") if advantage < 0 else (GREY, "leave")
        )
        middle = y + height / 2
        parts.append(rect(20, y, 420, height, TINT[BLUE], BLUE))
        parts += [code(34, y + 29 + 21 * i - 1, line) for i, line in enumerate(lines)]
        parts += [
            text(426, y + height - 14, note, 16, GREY, "end"),
            text(494, middle + 7, f"{accuracy:g}", 20),
            text(574, middle + 7, f"{form:g}", 20),
            text(636, middle + 7, f"{reward:g}", 20, weight="bold"),
            rect(676, middle - 21, 120, 42, TINT[color], color),
            text(736, middle + 7, f"{advantage:+.2f}".replace("-", "−").replace("+0.00", "0.00"), 20, weight="bold"),
            text(862, middle + 7, push, 18, DARK[color], "start", "bold"),
        ]  # fmt: skip
        if push == "raise":
            parts.append(arrow(846, middle + 17, 846, middle - 15, color, 4))
        elif push == "lower":
            parts.append(arrow(846, middle - 17, 846, middle + 15, color, 4))
        else:
            parts.append(
                f'<line x1="838" y1="{middle}" x2="854" y2="{middle}" stroke="{color}" stroke-width="4"/>'
            )
        y += height + 10
    parts += [
        text(
            900,
            y + 20,
            f"advantage = (reward − mean {center:.2f}) / sample std {spread:.3f}",
            17,
            anchor="end",
        ),
    ]
    y += 38
    parts += [
        rect(20, y, 520, 66, TINT[GREY], GREY),
        text(280, y + 28, "The loss raises the log-probability of all tokens", 17),
        text(280, y + 52, "where the advantage is positive, lowers it where negative.", 17),
        arrow(540, y + 33, 577, y + 33),
        rect(580, y, 320, 66, TINT[BLUE], BLUE),
        number(608, y + 33, 6),
        text(640, y + 28, "update the policy,", 19, anchor="start", weight="bold"),
        text(640, y + 52, "repeat with the next prompt", 17, anchor="start"),
        path(f"M900,{y + 33} H938 V46 H904", BLUE),
    ]
    y += 84
    parts += [
        rect(20, y, 920, 48, TINT[GREEN], GREEN),
        text(
            480,
            y + 30,
            "No reward model (rules pay), no value model (the group mean serves), "
            "no reference model (β = 0).",
            17,
        ),
    ]
    save(
        "04_zero_step", 960, y + 66, "One step of R1-Zero with GRPO",
        "1 a prompt; 2 a group of four completions sampled from the policy; 3 rewards for accuracy and format, sums 0, 0, "
        "1.5, 0.5; 4 advantages (reward minus group mean 0.5, over sample deviation 0.707): -0.71, -0.71, +1.41, 0.00; "
        "5 the loss raises the tokens of the positive completion and lowers those of the negative ones; 6 update the "
        "policy and repeat. No reward model, no value model, no reference model (beta = 0).",
        *parts,
    )  # fmt: skip


if __name__ == "__main__":
    for draw in (draw_pipeline, draw_tiny_world, draw_zero_step):
        draw()
    for notebook, *_ in RECIPE[2:7]:
        draw_where(notebook)
