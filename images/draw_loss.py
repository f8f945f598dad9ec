"""Draw the figures of notebook 03 as plain SVG: `python images/draw_loss.py` rewrites images/03_*.svg."""

from draw_basics import BLUE, GREEN, GREY, INK, ORANGE, TINT, arrow, text
from draw_course import DARK, rect, save


# --------------------------------------------------------------------------------------------------- chain
def draw_chain():
    stations = [
        ("h", "hidden states", "B × T × H", BLUE),
        ("z = h Wᵀ", "logits", "B × T × V", ORANGE),
        ("log p", "sampled token", "B × T", BLUE),
        ("ρ", "new to old", "B × T", BLUE),
        ("min, clip", "times advantage", "B × T", BLUE),
        ("L", "mean of tokens", "one number", GREEN),
    ]
    backward = [("∂L/∂h", "∂z · W"), ("∂z = ∂L/∂z", "c (onehot − p)"), ("c = ∂L/∂log p", "−ρ A w")]
    left, width = [14 + 159 * k for k in range(6)], 137
    parts = [text(480, 36, "Forward: from hidden states to one number", 22, weight="bold")]
    for k, (symbol, name, shape, color) in enumerate(stations):
        x = left[k]
        parts += [
            rect(x, 56, width, 92, TINT[color], color),
            text(x + 68, 86, symbol, 21, DARK[color], weight="bold"),
            text(x + 68, 112, name, 15),
            text(x + 68, 136, shape, 15, GREY),
            arrow(x + width, 102, x + width + 18, 102) if k < 5 else "",
        ]
    parts += [
        rect(left[4], 176, width, 40, "white", GREEN),
        text(left[4] + 68, 201, "A, from rewards", 15, DARK[GREEN]),
        arrow(left[4] + 68, 176, left[4] + 68, 153, GREEN),
        rect(left[0], 176, width, 40, "white", GREY),
        text(left[0] + 68, 201, "head W, V × H", 15),
        arrow(left[0] + width, 190, left[1] + 20, 153),
        text(480, 250, "Backward: the same stations in reverse", 22, weight="bold"),
    ]
    for k, (name, formula) in enumerate(backward):
        parts += [
            rect(left[k], 268, width, 60, TINT[GREY], GREY),
            text(left[k] + 68, 291, name, 15, GREY),
            text(left[k] + 68, 316, formula, 16, weight="bold"),
            arrow(left[k + 1], 298, left[k] + width + 4, 298),
        ]
    parts += [
        rect(left[3], 268, left[5] + width - left[3], 60, TINT[GREY], GREY),
        text(left[4] + 68, 304, "c is 0 where the clip stopped a token, and on padding", 16),
        rect(left[1], 350, width, 60, TINT[GREY], GREY),
        text(left[1] + 68, 373, "∂L/∂W", 15, GREY),
        text(left[1] + 68, 398, "∂zᵀ · h", 17, weight="bold"),
        arrow(left[1] + 68, 328, left[1] + 68, 346),
        text(
            left[2],
            386,
            "Orange: V numbers for every token. With Qwen3, V = 151,936.",
            18,
            DARK[ORANGE],
            "start",
        ),
    ]
    save(
        "03_chain", 960, 424, "The stations of the GRPO loss and of its gradient",
        "Forward: hidden states, logits, log-probability of the sampled token, ratio, clipped objective with the advantage, "
        "loss. Backward: c per token, gradient of the logits, then of hidden states and head. Only the logits and their "
        "gradient have V entries per token.",
        *parts,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- tiles
def draw_tiles():
    ways = [
        ("naive", "all logits, at once", ["3 products", "memory: 3 × N × V"], ORANGE),
        ("chunked", "tiles, made twice", ["4 products", "memory: a few tiles"], BLUE),
        ("fused", "tiles, made once", ["3 products, 2 if frozen", "memory: one tile"], GREEN),
    ]
    parts = []
    for k, (name, what, facts, color) in enumerate(ways):
        x = 20 + 318 * k
        parts += [
            text(x + 142, 36, name, 25, DARK[color], weight="bold"),
            text(x + 142, 64, what, 18),
        ]
        for row in range(6):
            y = 92 + 30 * row
            live = k == 0 or row == 2
            fill = TINT[color] if live else "white"
            parts.append(rect(x + 8, y, 20, 24, TINT[GREY], GREY, radius=3))
            parts.append(rect(x + 40, y, 108, 24, fill, color if live else GREY, not live, 3))
            if name != "fused":
                parts.append(rect(x + 168, y, 108, 24, fill, color if live else GREY, not live, 3))
        parts += [
            text(x + 18, 296, "h", 17, GREY),
            text(x + 94, 296, "logits", 16),
            text(x + 222, 296, "gradient" if k == 0 else "again: gradient", 15) if k < 2 else "",
        ]
        if name == "fused":
            y = 92 + 60
            parts += [
                f'<path d="M{x + 150},{y + 5} C{x + 205},{y - 22} {x + 205},{y + 46} {x + 156},{y + 19}" fill="none" '
                f'stroke="{GREEN}" stroke-width="3" marker-end="url(#head{GREEN[1:]})"/>',
                text(x + 200, y - 10, "becomes", 15, anchor="start"),
                text(x + 200, y + 14, "the gradient", 15, anchor="start"),
                text(x + 200, y + 38, "in place", 15, anchor="start"),
            ]
        parts += [text(x + 142, 332 + 26 * i, fact, 18, INK) for i, fact in enumerate(facts)]
    save(
        "03_tiles", 960, 376, "Three ways to the gradient of a loss over a large vocabulary",
        "Naive keeps all logits and their gradient: three products, three tensors of N times V. Chunked makes each tile of "
        "logits twice: four products, a few tiles. Fused makes each tile once and turns it into the gradient in place: three "
        "products, one tile.",
        *parts,
    )  # fmt: skip


if __name__ == "__main__":
    for draw in (draw_chain, draw_tiles):
        draw()
