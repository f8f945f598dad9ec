"""Talk to a checkpoint in the terminal: the completion streams in, its reasoning dimmed."""

import argparse
import sys
from collections.abc import Iterator

from r1lab.prompts import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN, render_prompt
from r1lab.stream import begun_tag, reply

DIM, BOLD, PLAIN = "\033[2m", "\033[1m", "\033[0m"
COLOURS = {
    THINK_OPEN: DIM + THINK_OPEN,
    THINK_CLOSE: THINK_CLOSE + PLAIN,
    ANSWER_OPEN: BOLD,
    ANSWER_CLOSE: PLAIN,
}


def colour(pieces: Iterator[str]) -> Iterator[str]:
    """Dim the reasoning and embolden the answer of a stream of text, even where a tag is split between pieces."""
    held = ""
    for piece in pieces:
        held += piece
        for tag, shown in COLOURS.items():
            held = held.replace(tag, f"\0{shown}\0")
        parts = held.split("\0")
        tail = parts[-1]
        keep = begun_tag(tail)
        held = tail[len(tail) - keep :]
        yield "".join(parts[:-1]) + tail[: len(tail) - keep]
    yield held + PLAIN


def main(argv: list[str]) -> None:
    """`python -m r1lab chat MODEL`: questions from the keyboard (or a pipe), an empty line or Ctrl-D ends it."""
    parser = argparse.ArgumentParser(prog="r1lab chat", description="Talk to a checkpoint.")
    parser.add_argument(
        "model", nargs="?", default="tiny-base", help="a shipped model or a folder (default tiny-base)"
    )
    parser.add_argument(
        "--temperature", type=float, default=0.0, help="0 decodes greedily (default); 1 samples"
    )
    parser.add_argument("--page", action="store_true", help="in a browser instead (needs gradio)")
    options = parser.parse_args(argv)
    from r1lab.policy import load_policy, set_threads
    from r1lab.scale import get_scale

    set_threads()
    scale = get_scale()
    policy = load_policy(options.model)
    if options.page:
        from r1lab.chat_page import serve

        return serve(policy, scale, options.model, options.temperature)
    print('Ask, for example: "Solve for x: (x+3)*2-5=27". An empty line ends the talk.')
    while True:
        try:
            question = input("> ").strip()
        except EOFError:
            return
        if not question:
            return
        messages = render_prompt(question, template=scale.template)
        for text in colour(reply(policy, messages, options.temperature, scale.longest_answer)):
            sys.stdout.write(text)
            sys.stdout.flush()
        print("\n")
