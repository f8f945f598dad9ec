"""Draw the diagrams of notebook 03: `python images/draw_loss.py` writes images/03_*.svg, with the charts of draw_loss_charts."""

from draw_basics import BLUE, GREEN, GREY, INK, ORANGE, TINT, arrow, number, text
from draw_course import DARK, path, rect, save

COMPLETIONS = [("think", "7", "end"), ("12", "end"), ("think", "12", "end"), ("34", "end")]


def token(x, y, word, color=BLUE, width=84, padding=False):
    """A token in its box; padding is gray and dashed."""
    fill, ink = (TINT[GREY], GREY) if padding else (TINT[color], INK)
    return rect(x, y, width, 38, fill, GREY if padding else color, padding, 6) + text(
        x + width / 2, y + 26, word, 19, ink
    )


def lines(x, y, *words, size=18, color=INK, step=24, anchor="middle"):
    """Lines of text below each other."""
    return "".join(text(x, y + step * i, line, size, color, anchor) for i, line in enumerate(words))


# --------------------------------------------------------------------------------------------------- the road
def stage_boxes(top):
    """The seven stations of the road with their numbers, and the left edge of each."""
    names = [
        (1, ["logits", "to log p"], "4 × 3 tokens", BLUE),
        (2, ["rewards to", "advantages"], "4 numbers", GREEN),
        (3, ["ratio to the", "old policy"], "4 × 3", BLUE),
        (4, ["times A,", "clipped"], "4 × 3", BLUE),
        (5, ["plus", "β · KL"], "4 × 3", BLUE),
        (6, ["mean of", "real tokens"], "1 number", ORANGE),
    ]
    left, parts = [18 + 157 * k for k in range(6)], []
    for x, (n, words, shape, color) in zip(left, names, strict=True):
        parts += [
            rect(x, top, 136, 112, TINT[color], color),
            number(x + 20, top + 4, n),
            lines(x + 68, top + 44, *words, size=20),
            text(x + 68, top + 98, shape, 17, GREY),
        ]
    parts += [arrow(x + 136, top + 56, x + 153, top + 56) for x in left[:-1]]
    return "".join(parts), left


def draw_stages():
    boxes, left = stage_boxes(58)
    save(
        "03_stages", 960, 292, "The stages of the GRPO loss",
        "Six stages lead from logits and rewards to one number, the loss. The gradient goes back through all of them to the "
        "parameters, except through the rewards.",
        text(480, 34, "Four completions and their rewards become one number", 22, weight="bold"),
        boxes,
        text(left[5] + 68, 202, "the loss", 21, DARK[ORANGE], weight="bold"),
        path(f"M{left[5] + 68},214 V240 H{left[0] + 68} V178", ORANGE),
        text(480, 272, "the gradient goes back to every parameter; the rewards get none", 20, DARK[ORANGE]),
    )  # fmt: skip


def draw_log():
    boxes, left = stage_boxes(58)
    logged = [
        (0, ["entropy"]),
        (1, ["reward", "share of", "equal groups"]),
        (3, ["clip fraction,", "high and low"]),
        (4, ["KL"]),
        (5, ["loss"]),
    ]
    parts = [text(480, 34, "Every curve of a training log has its stage", 22, weight="bold"), boxes]
    for k, words in logged:
        x = left[k] + 68
        parts += [arrow(x, 170, x, 206, GREEN), lines(x, 234, *words, size=20, color=GREEN)]
    parts += [
        path(f"M{left[5] + 68},250 V318 H{left[0] + 68} V262", ORANGE),
        text(480, 346, "gradient norm: the length of all gradients together", 20, DARK[ORANGE]),
    ]
    save(
        "03_log", 960, 366, "Where each logged number is measured",
        "Entropy is measured at the logits, reward and the share of groups with equal rewards at the rewards, the clip fraction at "
        "the clip, KL at the KL term, the loss at the mean, and the gradient norm after the way back.",
        *parts,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- tokens
def draw_shift():
    words, left = ["3+4", "think", "7", "end"], [150, 330, 510, 690]
    parts = [text(480, 34, "The logits at one position predict the token at the next", 22, weight="bold")]
    parts += [
        text(126, 86, "tokens", 19, GREY, "end"),
        text(126, 226, "logits", 19, GREY, "end"),
        text(126, 250, "6 numbers each", 15, GREY, "end"),
    ]
    for k, (x, word) in enumerate(zip(left, words, strict=True)):
        last = k == 3
        parts += [
            token(x, 60, word, GREY if k == 0 else BLUE, 110),
            rect(x, 202, 110, 52, TINT[GREY] if last else TINT[ORANGE], GREY if last else ORANGE, last, 6),
            text(x + 55, 234, f"position {k}", 18),
        ]
        if not last:
            parts += [
                arrow(x + 74, 202, left[k + 1] + 32, 104, ORANGE),
                text(x + 156, 172, "predicts", 17, DARK[ORANGE], "start"),
            ]
    parts += [
        lines(left[0] + 55, 124, "not predicted:", "it is the question", size=16, color=GREY, step=20),
        lines(left[3] + 126, 224, "nothing follows:", "dropped", size=17, color=GREY, anchor="start"),
        text(480, 296, "logits[:, :-1]  belong to  ids[:, 1:]", 22, weight="bold"),
    ]
    save(
        "03_shift", 960, 318, "The shift from logits to labels",
        "The logits at position 0 predict the token at position 1, and so on. The last logits predict nothing that is in the text, "
        "and the first token is the question, which no logits predict.",
        *parts,
    )  # fmt: skip


def draw_mask():
    parts = [
        text(230, 34, "Four completions, one question", 22, weight="bold"),
        text(716, 34, "Two questions of different length", 22, weight="bold"),
    ]
    for row, words in enumerate(COMPLETIONS):
        y = 56 + 46 * row
        parts.append(token(16, y, "3+4", GREY))
        for k in range(3):
            padding = k >= len(words)
            parts += [
                token(112 + 92 * k, y, "end" if padding else words[k], BLUE, 84, padding),
                rect(402 + 28 * k, y + 8, 24, 24, "white" if padding else TINT[GREEN], GREEN, padding, 4),
                text(414 + 28 * k, y + 26, "0" if padding else "1", 16, GREY if padding else DARK[GREEN]),
            ]
    prompts = [
        [(None, True), ("3+4", False), ("7", False), ("end", False), (None, True)],
        [("9", False), ("−5", False), ("think", False), ("4", False), ("end", False)],
    ]
    for row, cells in enumerate(prompts):
        for k, (word, padding) in enumerate(cells):
            color = GREY if k < 2 else BLUE
            parts.append(token(526 + 84 * k, 72 + 62 * row, word or "pad", color, 76, padding))
    parts += [
        f'<line x1="690" y1="58" x2="690" y2="186" stroke="{ORANGE}" stroke-width="3" stroke-dasharray="7 5"/>',
        text(606, 214, "padded left", 18, GREY),
        text(820, 214, "padded right", 18, GREY),
        text(690, 246, "every completion starts here", 19, DARK[ORANGE]),
        text(60, 258, "question", 18, GREY),
        text(250, 258, "completion; dashed: padding", 18, GREY),
        text(443, 258, "mask", 18, DARK[GREEN]),
    ]
    save(
        "03_mask", 960, 278, "Padding and mask",
        "Short completions are filled up on the right. The mask is 1 on the tokens that the model wrote, its own end included, and 0 on "
        "padding. Prompts are padded on the left, so that all completions start in the same column.",
        *parts,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- policies
def draw_policies():
    parts = [text(480, 34, "Three policies during two batches of four updates", 22, weight="bold")]
    rows = [("reference", "never changes", 66), ("old policy", "wrote the batch", 156), ("policy", "changes now", 246)]  # fmt: skip
    for name, what, y in rows:
        parts += [
            text(20, y + 24, name, 20, anchor="start", weight="bold"),
            text(20, y + 46, what, 17, GREY, "start"),
        ]
    parts += [
        rect(190, 66, 560, 56, TINT[GREY], GREY),
        text(470, 100, "the policy before training", 19),
    ]
    for batch in range(2):
        x = 190 + 284 * batch
        parts += [
            rect(x, 156, 276, 56, TINT[GREEN], GREEN),
            text(x + 138, 190, f"copy at the start of batch {batch + 1}", 18),
        ]
        for k in range(4):
            parts += [
                rect(x + 70 * k, 246, 64, 56, TINT[BLUE], BLUE, radius=6),
                text(x + 70 * k + 32, 281, f"{k + 1}", 20),
            ]
    parts += [
        text(470, 334, "updates", 18, GREY),
        path("M756,274 H800 V190 H758", GREEN),
        lines(812, 226, "ratio ρ:", "policy / old", size=20, color=GREEN, anchor="start"),
        path("M756,290 H926 V94 H758", ORANGE),
        lines(806, 76, "KL term", size=20, color=ORANGE, anchor="start"),
    ]
    save(
        "03_policies", 960, 350, "Reference, old policy and policy",
        "The reference is the policy before training and never changes. The old policy is a copy made when a batch is sampled. The "
        "policy changes with every update. The ratio compares policy and old policy, the KL term compares policy and reference.",
        *parts,
    )  # fmt: skip


DRAWINGS = (draw_stages, draw_log, draw_shift, draw_mask, draw_policies)

if __name__ == "__main__":
    for draw in DRAWINGS:
        draw()
