"""Draw the figures of notebook 01 as plain SVG: `python images/draw_basics.py` rewrites images/01_*.svg."""

from html import escape
from math import log
from pathlib import Path

BLUE, ORANGE, GREEN, GREY, INK = "#2563eb", "#ea580c", "#16a34a", "#475569", "#0f172a"
WORDS = {ORANGE: "#9a3412", GREEN: "#166534"}  # letters need more contrast than shapes
TINT = {BLUE: "#dbeafe", ORANGE: "#ffedd5", GREEN: "#dcfce7", GREY: "#f1f5f9"}
FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"


def text(x, y, words, size=20, color=INK, anchor="middle", weight="normal"):
    """One line of text; `words` may hold any characters."""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{WORDS.get(color, color)}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(words)}</text>"
    )


def box(x, y, width, height, color, lines, dashed=False, bold=True, size=18):
    """A rounded box; the first line is bold by default, the others have letters of `size`; centred vertically."""
    dash = ' stroke-dasharray="8 6"' if dashed else ""
    parts = [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" fill="{TINT[color]}" '
        f'stroke="{color}" stroke-width="2.5"{dash}/>'
    ]
    top = y + height / 2 - 13 * (len(lines) - 1) + 7
    for i, line in enumerate(lines):
        first = bold and i == 0
        parts.append(
            text(
                x + width / 2, top + 26 * i, line, 20 if first else size, weight="bold" if first else "normal"
            )
        )
    return "".join(parts)


def arrow(x1, y1, x2, y2, color=GREY, width=3):
    """A straight arrow; every colour has its own head so that no viewer needs context-stroke."""
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{color}" stroke-width="{width}" '
        f'marker-end="url(#head{color[1:]})"/>'
    )


def number(x, y, n):
    """A stage number in a filled circle."""
    return f'<circle cx="{x}" cy="{y}" r="15" fill="{INK}"/>' + text(
        x, y + 7, str(n), 19, "white", weight="bold"
    )


def save(name, width, height, title, *parts):
    """Write one SVG on a white ground, so that it also reads on a dark page."""
    heads = "".join(
        f'<marker id="head{c[1:]}" markerWidth="16" markerHeight="16" refX="7" refY="4" orient="auto" '
        f'markerUnits="userSpaceOnUse" viewBox="0 0 8 8"><path d="M0,0 L8,4 L0,8 z" fill="{c}"/></marker>'
        for c in (BLUE, ORANGE, GREEN, GREY)
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="{FONT}" role="img"><title>{escape(title)}</title><defs>{heads}</defs>'
        f'<rect width="{width}" height="{height}" fill="white"/>{"".join(parts)}</svg>\n'
    )
    (Path(__file__).parent / f"01_{name}.svg").write_text(svg, encoding="utf-8")


NAMES = ["direct", "guess", "think", "slip", "half"]
POWERS = [2, 3, 1, 1, 3]  # e to the power of each logit; their sum is 10
REWARDS = [1.0, 0.0, 1.5, 0.5, 0.0]


def steps(name, title, stages, back):
    """Numbered boxes from left to right, (colour, lines) each, and an arrow from the last one to the first."""
    parts, gap = [], 40
    width = (940 - gap * (len(stages) - 1)) / len(stages)
    for n, (color, lines) in enumerate(stages, 1):
        x = 10 + (width + gap) * (n - 1)
        parts += [box(x, 22, width, 130, color, lines, size=20), number(x + width / 2, 22, n)]
        if n > 1:
            parts.append(arrow(x - gap + 2, 87, x - 5, 87))
    first, last = 10 + width / 2, 950 - width / 2
    parts.append(
        f'<path d="M{last},152 C{last},214 {first},214 {first},159" fill="none" stroke="{GREY}" stroke-width="3" '
        f'marker-end="url(#head{GREY[1:]})"/>'
    )
    save(name, 960, 225, title, *parts, text(480, 190, back, 21, GREY))


def draw_loop():
    save(
        "loop", 960, 330, "The loop of reinforcement learning, for a language model",
        box(40, 90, 270, 140, BLUE, ["Policy", "the language model", "a probability for", "every next token"], size=20),
        box(650, 90, 270, 140, GREEN, ["Environment", "the question", "and the grader,", "a program"], size=20),
        arrow(310, 140, 644, 140, BLUE),
        text(480, 126, "action: a completion", 22, BLUE),
        arrow(650, 190, 316, 190, ORANGE),
        text(480, 220, "reward: 1.5", 22, ORANGE, weight="bold"),
        '<path d="M785,90 C785,36 175,36 175,84" fill="none" stroke="#475569" stroke-width="3" '
        'marker-end="url(#head475569)"/>',
        text(480, 30, "state: “Ani has 12 eggs. She buys 7. She loses 5. …”", 21, GREY),
        text(480, 285, "Each completion gets one reward. The reward changes the policy.", 22),
    )  # fmt: skip


def draw_policy():
    columns = [(170, "logit θ"), (350, "e to the θ"), (600, "probability π"), (850, "one sample")]
    parts = [number(x - 80, 34, n) for n, (x, _) in enumerate(columns, 1)]
    parts += [text(x - 56, 41, head, 21, anchor="start", weight="bold") for x, head in columns]
    for k, (name, power) in enumerate(zip(NAMES, POWERS, strict=True)):
        y = 70 + 50 * k
        parts += [
            text(20, y + 27, name, 21, anchor="start", weight="bold"),
            text(170, y + 27, f"{log(power):.2f}", 21),
            text(350, y + 27, str(power), 21),
            f'<rect x="520" y="{y}" width="{40 * power}" height="36" fill="{BLUE}"/>',
            text(532 + 40 * power, y + 26, f"0.{power}", 21, BLUE, "start"),
        ]
        if name == "half":
            parts += [arrow(700, y + 18, 782, y + 18, GREEN), box(790, y - 6, 130, 48, GREEN, ["half"])]
    for x, caption in ((350, "sum: 10"), (600, "each one divided by 10"), (850, "sampled at random")):
        parts.append(text(x, 345, caption, 21, GREY))
    save("policy", 960, 365, "From logits to probabilities to one sample", *parts)


def draw_push():
    parts = [
        text(480, 34, "One update: “think” was sampled and earned r = 1.5", 24, weight="bold"),
        text(40, 70, "bar: probability π", 20, BLUE, "start"),
        text(920, 70, "arrow: change of the logit, r · (onehot − π)", 20, GREY, "end"),
    ]
    floor = 310
    for k, (name, power) in enumerate(zip(NAMES, POWERS, strict=True)):
        x, height = 80 + 170 * k, 45 * power
        change = 1.5 * ((name == "think") - power / 10)
        color = GREEN if change > 0 else ORANGE
        start, end = (floor, floor - 130 * change) if change > 0 else (floor + 130 * change - 20, floor - 4)
        parts += [
            f'<rect x="{x}" y="{floor - height}" width="46" height="{height}" fill="{BLUE}"/>',
            text(x + 23, floor - height - 8, f"{power / 10:.1f}", 20, BLUE),
            text(x + 50, floor + 30, name, 22, weight="bold" if change > 0 else "normal"),
            arrow(x + 68, start, x + 68, end, color, 5),
            text(x + 80, (start + end) / 2 + 8, f"{change:+.2f}".replace("-", "−"), 20, color, "start"),
        ]
    parts.append(f'<line x1="60" y1="{floor}" x2="910" y2="{floor}" stroke="{GREY}" stroke-width="1.5"/>')
    save("push", 960, 355, "One REINFORCE update", *parts)


def draw_reinforce():
    stages = [
        (BLUE, ["sample", "one completion", "from the policy"]), (GREEN, ["grade", "the program", "gives a reward r"]),
        (GREY, ["direction", "onehot − π", "raises its log π"]), (ORANGE, ["update", "add rate · r ·", "direction to θ"]),
    ]  # fmt: skip
    steps("reinforce", "The four stages of REINFORCE", stages, "400 times")


def draw_token_loop():
    stages = [
        (BLUE, ["sample", "8 answers to", "a question"]), (GREEN, ["grade", "1 if both", "tokens right"]),
        (ORANGE, ["advantage", "compare with", "the group"]), (GREY, ["loss", "−A · log π", "per token"]),
        (BLUE, ["step", "backward()", "and step()"]),
    ]  # fmt: skip
    steps("token_loop", "The five stages of one GRPO step", stages, "200 times, 16 questions each")


def draw_baseline():
    panels = [(20, "Without a baseline", 0.0), (500, "With the baseline 0.4", 0.4)]
    parts, floor = [f'<line x1="480" y1="20" x2="480" y2="300" stroke="{GREY}" stroke-dasharray="4 6"/>'], 215
    for left, title, baseline in panels:
        parts.append(text(left + 220, 36, title, 23, weight="bold"))
        for k, (name, reward) in enumerate(zip(NAMES, REWARDS, strict=True)):
            x, weight = left + 44 + 88 * k, reward - baseline
            color = GREEN if weight > 0 else ORANGE if weight < 0 else GREY
            if weight:
                parts.append(arrow(x, floor, x, floor - 85 * weight, color, 6))
            above = floor - 85 * max(weight, 0) - 12
            parts += [text(x, above, f"{weight:.1f}".replace("-", "−"), 21, color), text(x, 295, name, 21)]
        parts.append(
            f'<line x1="{left}" y1="{floor}" x2="{left + 440}" y2="{floor}" stroke="{INK}" stroke-width="2"/>'
        )
    caption = "arrow: how strongly a sample of this completion raises or lowers itself"
    parts.append(text(480, 335, caption, 21, GREY))
    save("baseline", 960, 355, "The same five rewards without and with a baseline", *parts)


def draw_group():
    heads = [(20, "completion"), (235, "reward"), (400, "minus the mean"), (650, "over the deviation")]
    rows = [
        ("think", "1.5", "+1.0", "+1.41"), ("guess", "0.0", "−0.5", "−0.71"),
        ("slip", "0.5", "0.0", "0.00"), ("half", "0.0", "−0.5", "−0.71"),
    ]  # fmt: skip
    parts = [number(x + 16, 32, n) for n, (x, _) in enumerate(heads, 1)]
    parts += [text(x + 40, 39, head, 21, anchor="start", weight="bold") for x, head in heads]
    for k, (name, reward, difference, advantage) in enumerate(rows):
        y = 62 + 58 * k
        color = GREEN if "+" in advantage else GREY if advantage == "0.00" else ORANGE
        parts += [box(25, y, 160, 46, BLUE, [name]), text(305, y + 31, reward, 22)]
        parts += [text(500, y + 31, difference, 22), box(700, y, 120, 46, color, [advantage])]
    for x, caption in ((305, "mean 0.5"), (500, "deviation 0.71"), (760, "the advantage")):
        parts.append(text(x, 325, caption, 21, GREY))
    save("group", 960, 345, "From the rewards of a group to its advantages", *parts)


def draw_two_tokens():
    branches = [
        ("“1”  0.25", GREEN, [("“4”  0.82", "14: reward 1", GREEN), ("other  0.18", "10, 11, …: reward 0", ORANGE)]),
        ("“0”  0.35", ORANGE, [("“4”  0.87", "04: reward 0", ORANGE), ("other  0.13", "00, 01, …: reward 0", ORANGE)]),
        ("other  0.40", GREY, [("any digit", "20, 21, …: reward 0", ORANGE)]),
    ]  # fmt: skip
    parts = [
        text(95, 36, "question", 21, GREY),
        number(262, 30, 1),
        text(285, 37, "first token", 21, anchor="start", weight="bold"),
        number(492, 30, 2),
        text(515, 37, "second token, given the first", 21, anchor="start", weight="bold"),
        box(20, 175, 150, 60, BLUE, ["7 + 7 ="]),
    ]
    y = 60
    for first, color, leaves in branches:
        middle = y + 33 * len(leaves) - 7
        parts += [arrow(172, 205, 243, middle), box(250, middle - 25, 160, 50, color, [first])]
        for second, result, tone in leaves:
            parts += [arrow(412, middle, 473, y + 26), box(480, y, 170, 52, GREY, [second], bold=False)]
            parts += [arrow(652, y + 26, 702, y + 26), text(712, y + 33, result, 21, tone, "start")]
            y += 66
        y += 6
    caption = "the probability of 14 is the product: 0.25 · 0.82 = 0.205"
    parts.append(text(480, 430, caption, 22, weight="bold"))
    save("two_tokens", 960, 450, "Two tokens, sampled one after the other", *parts)


def draw_four_models():
    parts = [
        text(240, 34, "RLHF with PPO: four models", 22, weight="bold"),
        box(30, 55, 200, 105, BLUE, ["Policy", "writes the answer", "trained"]),
        box(250, 55, 200, 105, BLUE, ["Value model", "guesses the reward", "trained"]),
        box(30, 180, 200, 105, GREY, ["Reference", "the policy at step 0", "frozen"]),
        box(250, 180, 200, 105, GREY, ["Reward model", "learned from pairs", "frozen"]),
        '<line x1="480" y1="20" x2="480" y2="292" stroke="#475569" stroke-width="1.5" stroke-dasharray="4 6"/>',
        text(720, 34, "GRPO with a verifiable reward: one", 22, weight="bold"),
        box(510, 55, 200, 105, BLUE, ["Policy", "writes G answers", "trained"]),
        box(730, 55, 200, 105, GREEN, ["Group mean", "of the G rewards", "arithmetic"]),
        box(510, 180, 200, 105, GREY, ["Reference", "only if β > 0", "frozen"], dashed=True),
        box(730, 180, 200, 105, GREEN, ["Grader", "checks the answer", "a program"]),
    ]
    for x, color, label in (
        (215, BLUE, "trained model"),
        (425, GREY, "frozen model"),
        (630, GREEN, "no model"),
    ):
        parts.append(
            f'<rect x="{x}" y="308" width="22" height="22" rx="4" fill="{TINT[color]}" stroke="{color}" stroke-width="2.5"/>'
        )
        parts.append(text(x + 32, 326, label, 19, anchor="start"))
    save("four_models", 960, 345, "Models held by PPO and by GRPO", *parts)


def draw_grpo_stages():
    columns = [20, 186, 316, 490, 728]  # left edges
    heads = ["group", "reward", "advantage", "ratio per token", "clipped ratio"]
    rows = [
        ("think", "1.5", "+1.41", ["1.1", "1.5", "1.0", "0.9"], ["1.1", "1.2", "1.0", "0.9"]),
        ("guess", "0.0", "−0.71", ["0.7", "1.1"], ["0.8", "1.1"]),
        ("slip", "0.5", "0.00", ["1.0", "1.1", "0.9"], ["1.0", "1.1", "0.9"]),
        ("half", "0.0", "−0.71", ["1.5", "0.9", "1.0"], ["1.5", "0.9", "1.0"]),
    ]
    parts = []
    for n, (x, head) in enumerate(zip(columns, heads, strict=True), 1):
        parts += [number(x + 17, 32, n), text(x + 40, 39, head, 20, anchor="start", weight="bold")]
    for k, (name, reward, advantage, ratio, clip) in enumerate(rows):
        y = 62 + 62 * k
        color = GREEN if "+" in advantage else GREY if advantage == "0.00" else ORANGE
        parts += [box(20, y, 160, 48, BLUE, [name]), text(254, y + 32, reward, 22)]
        parts.append(box(338, y, 116, 48, color, [advantage]))
        for x, cells, other in ((490, ratio, ratio), (728, clip, ratio)):
            for j, (cell, before) in enumerate(zip(cells, other, strict=True)):
                changed = cell != before
                parts.append(
                    f'<rect x="{x + 54 * j}" y="{y}" width="48" height="48" rx="6" stroke-width="2.5" '
                    f'fill="{TINT[ORANGE] if changed else "white"}" stroke="{ORANGE if changed else GREY}"/>'
                )
                parts.append(text(x + 54 * j + 24, y + 31, cell, 20, weight="bold" if changed else "normal"))
    parts += [
        number(37, 345, 6),
        text(60, 352, "KL to the reference, per token:  k3", 20, anchor="start"),
        number(503, 345, 7),
        text(526, 352, "loss = − mean(clipped · A − β · KL)", 20, anchor="start", weight="bold"),
    ]
    save("grpo_stages", 960, 385, "The seven stages of GRPO on four completions", *parts)


DRAWINGS = (
    draw_loop, draw_policy, draw_push, draw_reinforce, draw_baseline, draw_group, draw_two_tokens, draw_token_loop,
    draw_grpo_stages, draw_four_models,
)  # fmt: skip

if __name__ == "__main__":
    for draw in DRAWINGS:
        draw()
