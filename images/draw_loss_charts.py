"""Draw the charts of notebook 03 as plain SVG: `python images/draw_loss_charts.py` rewrites some of images/03_*.svg."""

from math import exp

from draw_basics import BLUE, GREEN, GREY, ORANGE, arrow, text
from draw_course import DARK, save
from draw_loss import COMPLETIONS, lines
from draw_slides import Panel


def draw_clip():
    parts = []
    good = [(1.0, "7", 1), (2.0, "think", 0), (0.5, "end", 1)]
    bad = [(0.5, "12 and 34", 0), (1.0, "12, end, end, end", 1), (2.0, "think", 1)]
    for k, (A, points) in enumerate(((1.5, good), (-0.5, bad))):
        frame = (72, 76, 370, 210) if k == 0 else (560, 76, 370, 210)
        panel = Panel(*frame, (0, 2.4), (0, 2.4) if A > 0 else (-1.3, 0))
        ticks = {0: "0", 1: "1", 2: "2"} if A > 0 else {-1: "−1", -0.5: "−0.5", 0: "0"}
        title = f"A = +{A}: should rise" if A > 0 else "A = −0.5: should fall"
        curve = [(r / 50, min(r / 50 * A, min(max(r / 50, 0.8), 1.2) * A)) for r in range(120)]
        edge = 1.2 if A > 0 else 0.8
        flat = [(r, y) for r, y in curve if (r >= edge if A > 0 else r <= edge)]
        parts += [
            panel.axes({0.8: "0.8", 1.2: "1.2", 2: "2"}, ticks, title, "ratio ρ"),
            panel.line(curve, BLUE, width=5),
            panel.line(flat, ORANGE, width=6),
        ]
        for r, word, live in points:
            y = min(r * A, min(max(r, 0.8), 1.2) * A)
            px, py = panel.place(r, y)
            color = BLUE if live else ORANGE
            end = k == 1 and r == 2.0
            parts += [
                f'<circle cx="{px}" cy="{py}" r="9" fill="white" stroke="{color}" stroke-width="4"/>',
                text(px + (-14 if end else 0), py + (6 if end else -17), word, 18, DARK[color],
                     "end" if end else "start" if k and r == 1.0 else "middle"),
            ]  # fmt: skip
        x, y = panel.place(1.75, 1.5) if A > 0 else panel.place(0.06, -0.72)
        parts.append(text(x, y, "flat: no gradient", 18, DARK[ORANGE], "middle" if A > 0 else "start"))
    save(
        "03_clip", 960, 356, "The clipped objective and the ten tokens",
        "For a positive advantage the objective is flat above a ratio of 1.2, and think is there. For a negative advantage it is flat "
        "below 0.8, and 12 and 34 are there. The other seven tokens have a gradient.",
        *parts,
    )  # fmt: skip


def draw_kl():
    panel = Panel(90, 66, 560, 236, (-2.2, 2.2), (-2.2, 6))
    steps = [k / 20 for k in range(-44, 45)]
    curves = [("k1 = −d", ORANGE, lambda d: -d), ("k2 = d² / 2", GREY, lambda d: d * d / 2),
              ("k3 = eᵈ − 1 − d", BLUE, lambda d: exp(d) - 1 - d)]  # fmt: skip
    parts = [
        panel.axes(
            {-2: "−2", 0: "0", 2: "2"},
            {-2: "−2", 0: "0", 2: "2", 4: "4"},
            "Three estimates of the KL from one token",
            "d = log reference − log policy",
        )
    ]
    for k, (name, color, f) in enumerate(curves):
        dash = "" if k == 2 else "12 6" if k else "4 6"
        parts += [
            panel.line([(d, f(d)) for d in steps], color, dash, 5),
            f'<line x1="676" y1="{102 + 62 * k}" x2="724" y2="{102 + 62 * k}" stroke="{color}" stroke-width="5" '
            f'stroke-dasharray="{dash}"/>',
            text(736, 109 + 62 * k, name, 20, DARK[color], "start", "bold"),
        ]
    parts += [lines(676, 284, "left of 0: the policy finds", "the token more probable", "than the reference does", size=18,
                    color=GREY, anchor="start")]  # fmt: skip
    save(
        "03_kl", 960, 376, "Three estimators of the KL divergence",
        "Against d, the log ratio of reference and policy: k1 is a falling line, k2 a parabola, and k3 is never negative and rises "
        "fastest where the policy finds a token less probable than the reference.",
        *parts,
    )  # fmt: skip


def draw_average():
    ways = [
        ("GRPO", "per completion first", lambda n: 4 * n),
        ("DAPO", "over all ten tokens", lambda n: 10),
        ("Dr. GRPO", "constant: 4 × longest allowed (4)", lambda n: 16),
    ]
    parts = []
    for k, (name, what, share) in enumerate(ways):
        x = 24 + 316 * k
        parts += [
            text(x, 36, name, 24, anchor="start", weight="bold"),
            text(x, 64, what, 17, GREY, "start"),
        ]
        for row, words in enumerate(COMPLETIONS):
            for t in range(len(words)):
                n = share(len(words))
                y = 84 + 46 * row
                parts += [
                    f'<rect x="{x + 92 * t}" y="{y}" width="86" height="38" rx="6" fill="{BLUE}" '
                    f'fill-opacity="{4 / n:.2f}" stroke="{BLUE}" stroke-width="2.5"/>',
                    text(x + 92 * t + 43, y + 26, f"1/{n}", 19),
                ]
    parts.append(text(480, 300, "weight of each token in the loss, one row per completion", 19, GREY))
    save(
        "03_average", 960, 322, "Three means over tokens",
        "Under GRPO's mean a token of a completion with three tokens weighs 1/12, with two tokens 1/8. Under DAPO's mean every token "
        "weighs 1/10. Under Dr. GRPO's constant every token weighs 1/16.",
        *parts,
    )  # fmt: skip


def draw_gradient():
    words, weights = ["3+4", "think", "7", "12", "34", "end"], [1, 1, 2, 2, 1, 1]
    parts = [
        text(480, 34, "One token: 7 after think, c = −0.15", 22, weight="bold"),
        text(40, 68, "bar: probability p", 18, BLUE, "start"),
        text(920, 68, "arrow: where a step moves the logit, −c · (onehot − p)", 18, GREY, "end"),
    ]
    floor = 270
    for k, (word, w) in enumerate(zip(words, weights, strict=True)):
        x, p = 84 + 142 * k, w / 8
        move = 0.15 * ((word == "7") - p)
        color = GREEN if move > 0 else ORANGE
        length = 1250 * abs(move) if move > 0 else 700 * abs(move) + 12
        y1, y2 = (floor, floor - length) if move > 0 else (floor - length - 8, floor - 6)
        parts += [
            f'<rect x="{x}" y="{floor - 460 * p}" width="46" height="{460 * p}" fill="{BLUE}"/>',
            text(x + 23, floor - 460 * p - 8, f"{p:.3f}", 17, BLUE),
            text(x + 40, floor + 28, word, 20, weight="bold" if move > 0 else "normal"),
            arrow(x + 72, y1, x + 72, y2, color, 5),
            text(
                x + 78, y1 - 8 if move < 0 else y2 - 10, f"{1.00001 * move:+.4f}".replace("-", "−"), 16, color
            ),
        ]
    parts.append(f'<line x1="60" y1="{floor}" x2="920" y2="{floor}" stroke="{GREY}" stroke-width="1.5"/>')
    save(
        "03_gradient", 960, 316, "The gradient of one token's logits",
        "A step raises the logit of 7 by 0.1125 times the learning rate and lowers all other logits in proportion to their probability.",
        *parts,
    )  # fmt: skip


DRAWINGS = (draw_clip, draw_kl, draw_average, draw_gradient)

if __name__ == "__main__":
    for draw in DRAWINGS:
        draw()
