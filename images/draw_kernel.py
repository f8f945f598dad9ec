"""Draw the figures of notebook A2 as plain SVG: `python images/draw_kernel.py` rewrites images/A2_*.svg."""

from draw_basics import BLUE, GREEN, GREY, INK, ORANGE, TINT, arrow, number, text
from draw_course import DARK, rect, save


# --------------------------------------------------------------------------------------------------- bill
def draw_bill():
    """Tensors of 16 x 4,096 tokens of Qwen3-4B in bfloat16, lengths to scale."""
    tokens, vocabulary, width = 16 * 4096, 151_936, 2560
    logits, hidden = 2e-9 * tokens * vocabulary, 2e-9 * tokens * width
    bars = [
        ("hidden states", [hidden], BLUE),
        ("weights of the model", [8.0], BLUE),
        ("logits, their log-softmax, their gradient", [logits] * 3, ORANGE),
    ]
    parts = [
        text(20, 36, "16 completions of 4,096 tokens, Qwen3-4B, bfloat16", 22, anchor="start", weight="bold")
    ]
    for k, (name, sizes, color) in enumerate(bars):
        y, x = 62 + 84 * k, 20
        parts.append(text(20, y + 18, name, 20, anchor="start"))
        for size in sizes:
            parts.append(rect(x, y + 28, 13.4 * size, 34, TINT[color], color, radius=4))
            x += 13.4 * size
        total = sum(sizes)
        parts.append(text(x + 12, y + 52, f"{total:.1f} GB", 21, DARK[color], "start", "bold"))
    save(
        "A2_bill", 960, 312, "The bill of the logits",
        "Hidden states take 0.3 GB, the weights of the model 8 GB, and the logits with their log-softmax and their gradient 60 GB.",
        *parts,
    )  # fmt: skip


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
        "A2_chain", 960, 424, "The stations of the GRPO loss and of its gradient",
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
        "A2_tiles", 960, 376, "Three ways to the gradient of a loss over a large vocabulary",
        "Naive keeps all logits and their gradient: three products, three tensors of N times V. Chunked makes each tile of "
        "logits twice: four products, a few tiles. Fused makes each tile once and turns it into the gradient in place: three "
        "products, one tile.",
        *parts,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- one tile
def draw_in_place():
    steps = [("z = h Wᵀ", "logits", "product 1"), ("softmax", "p", "row by row"), ("p − onehot", "at one entry", "per row"),
             ("times −c", "∂z, the gradient", "row by row")]  # fmt: skip
    parts = [text(376, 36, "One tile of memory, four contents", 22, weight="bold")]
    for k, (formula, name, how) in enumerate(steps):
        x = 20 + 184 * k
        color = GREEN if k == 3 else ORANGE
        parts += [
            rect(x, 62, 160, 112, TINT[color], color),
            number(x + 20, 64, k + 1),
            text(x + 80, 104, formula, 22, DARK[color], weight="bold"),
            text(x + 80, 132, name, 18),
            text(x + 80, 158, how, 17, GREY),
            arrow(x + 160, 118, x + 180, 118) if k < 3 else "",
        ]
    parts += [
        arrow(732, 100, 784, 84, GREEN),
        arrow(732, 136, 784, 152, GREEN),
        text(794, 90, "∂h = ∂z W", 20, DARK[GREEN], "start"),
        text(794, 162, "∂W += ∂zᵀ h", 20, DARK[GREEN], "start"),
        text(376, 208, "then the next rows use the same memory", 19, GREY),
        text(794, 208, "products 2 and 3", 18, GREY, "start"),
    ]
    save(
        "A2_in_place", 960, 230, "One tile becomes its own gradient",
        "The tile first holds logits, then probabilities, then probabilities minus the one-hot row, then the gradient. Two more "
        "products give the gradients of hidden states and head.",
        *parts,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- dead rows
def draw_dead_rows():
    groups = [
        ("group 1", "mixed", [4, 3, 4, 2]),
        ("group 2", "all right", [2, 3, 2, 3]),
        ("group 3", "mixed", [3, 4, 4, 3]),
    ]
    parts = []
    for k, (name, kind, lengths) in enumerate(groups):
        x, live = 24 + 226 * k, kind == "mixed"
        parts += [text(x, 34, name, 21, anchor="start", weight="bold"), text(x, 60, kind, 18, GREY, "start")]
        for row, length in enumerate(lengths):
            for t in range(4):
                alive = live and t < length
                parts.append(
                    rect(x + 48 * t, 78 + 40 * row, 42, 32, TINT[GREEN] if alive else "white", GREEN if alive else GREY,
                         not alive, 4)
                )  # fmt: skip
    live = sum(sum(lengths) for _, kind, lengths in groups if kind == "mixed")
    parts += [
        arrow(694, 154, 744, 154, GREEN),
        text(854, 62, "only these rows", 20, DARK[GREEN]),
        text(854, 88, "go through", 18),
        text(854, 112, "products 2 and 3", 18),
        rect(780, 128, 148, 52, TINT[GREEN], GREEN),
        text(854, 161, f"{live} of 48 rows", 20),
        text(360, 268, "dashed: padding, or a group whose rewards are all equal", 18, GREY),
    ]
    save(
        "A2_dead_rows", 960, 288, "Rows without a gradient",
        "Of three groups of four completions with four positions each, the rows of padding and of the group whose rewards are all "
        "equal have no gradient. Only the other rows go through the second and third product.",
        *parts,
    )  # fmt: skip


DRAWINGS = (draw_bill, draw_chain, draw_tiles, draw_in_place, draw_dead_rows)

if __name__ == "__main__":
    for draw in DRAWINGS:
        draw()
