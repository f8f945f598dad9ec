"""Draw the figures of notebook 02 as plain SVG: `python images/draw_rewards.py` rewrites images/02_*.svg."""

from draw_basics import BLUE, GREEN, GREY, INK, ORANGE, TINT, arrow, number, text
from draw_course import DARK, code, rect, save


# --------------------------------------------------------------------------------------------- reward path
def draw_reward_path():
    stations = [
        ("Read", "which text is the answer?", ["the <answer> body", "after </think>"],
         ["hidden in the thought", "two of them: “5 or 6”", "the question itself"]),
        ("Judge", "is it right?", ["exact numbers first,", "algebra can be killed"],
         ["gold misread: 2√3 as 2", "sums that never end", "printed verdicts"]),
        ("Pay", "how much?", ["bounded; right beats", "wrong, always"],
         ["empty step words", "padding, loops, blurts", "tags without thought"]),
        ("Compare", "better than its group?", ["None only where the", "problem is at fault"],
         ["batch, not group", "None instead of −1", "all equal: no push"]),
    ]  # fmt: skip
    parts = []
    for k, (name, question, ours, cheats) in enumerate(stations):
        x = 20 + 238 * k
        parts += [
            rect(x, 20, 206, 84, BLUE),
            number(x + 24, 48, k + 1),
            text(x + 50, 56, name, 22, "white", "start", "bold"),
            text(x + 103, 90, question, 15.5, "white"),
            arrow(x + 206, 62, x + 234, 62) if k < 3 else "",
            rect(x, 124, 206, 96, TINT[GREEN], GREEN),
            *(text(x + 103, 177 + 25 * i, line, 16) for i, line in enumerate(ours)),
            rect(x, 232, 206, 118, TINT[ORANGE], ORANGE),
            *(text(x + 103, 282 + 26 * i, line, 16) for i, line in enumerate(cheats)),
        ]
        parts += [
            text(x + 12, 147, "our rule", 15, DARK[GREEN], "start", "bold"),
            text(x + 12, 255, "how it is cheated", 15, DARK[ORANGE], "start", "bold"),
        ]
    save(
        "02_reward_path", 960, 370, "From a completion to an advantage, and where it is cheated",
        "Four stations. Read: which text is the answer; ours takes the answer body after the thinking; cheated by an answer "
        "hidden in the thought, two answers, the question itself. Judge: is it right; exact numbers first, algebra in a "
        "process that can be killed; cheated by misread golds, sums that never end, printed verdicts. Pay: how much; "
        "bounded, right always beats wrong; cheated by empty step words, padding, loops, blurts, tags without thought. "
        "Compare: better than its group; None only where the problem is at fault; spoiled by batch statistics, None "
        "instead of a penalty, and groups in which all are equal.",
        *parts,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------- who reads what
def draw_who_reads_what():
    pieces = [  # x, width, words, color
        (20, 92, "<think>", GREY),
        (112, 356, "First 12+7=19. Then 19-5=14.", BLUE),
        (468, 102, "</think>", GREY),
        (570, 102, "<answer>", GREY),
        (672, 52, "14", GREEN),
        (724, 114, "</answer>", GREY),
        (838, 102, "anything", ORANGE),
    ]
    parts = []
    for x, width, words, color in pieces:
        parts += [
            rect(x + 2, 20, width - 4, 46, TINT[color], color, dashed=words == "anything", radius=6),
            code(x + 12, 49, words, 17),
        ]
    readers = [
        ("accuracy, logic, code, countdown", [(672, 52, GREEN)], "the answer body after the thought, and only that"),
        (
            "format, tag_count",
            [(20, 92, GREY), (468, 204, GREY), (724, 216, GREY)],
            "the tags (format also: nothing outside them)",
        ),
        ("reasoning_steps", [(112, 356, BLUE)], "the thought"),
        ("language_consistency", [(112, 356, BLUE), (672, 52, GREEN), (838, 102, ORANGE)], "every word but tags"),
        ("soft_overlong, repetition_penalty", [(20, 920, INK)], "the tokens, whatever they say"),
        ("cosine, length", [(20, 652, INK), (672, 52, GREEN), (724, 216, INK)], "the tokens, and whether the answer is right"),
    ]  # fmt: skip
    y = 100
    for name, spans, what in readers:
        parts.append(text(20, y, name, 17, anchor="start", weight="bold"))
        parts.append(text(940, y, what, 16, GREY, "end"))
        parts.append(rect(20, y + 10, 920, 14, TINT[GREY], radius=4))
        parts += [rect(x + 2, y + 10, width - 4, 14, color, radius=4) for x, width, color in spans]
        y += 52
    save(
        "02_who_reads_what", 960, y + 2, "Which part of a completion each reward reads",
        "A completion: think tags around the thought, answer tags around the answer, and possibly text after it. accuracy, "
        "logic, code and countdown read the answer body only; format and tag_count the tags; reasoning_steps the thought; "
        "language_consistency every word but the tags; soft_overlong and repetition_penalty the tokens; cosine and length "
        "the tokens and whether the answer is right.",
        *parts,
    )  # fmt: skip


if __name__ == "__main__":
    for draw in (draw_reward_path, draw_who_reads_what):
        draw()
