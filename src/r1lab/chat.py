"""Chat with a checkpoint in the terminal or in the browser. Completions are streamed, with the reasoning marked."""

import argparse
import os
import sys
from collections.abc import Iterator
from threading import Thread

from r1lab.prompts import ANSWER_CLOSE, ANSWER_OPEN, TAGS, THINK_CLOSE, THINK_OPEN, render_prompt
from r1lab.scale import Scale

DIM, BOLD, PLAIN = "\033[2m", "\033[1m", "\033[0m"
COLOURS = {
    THINK_OPEN: DIM + THINK_OPEN,
    THINK_CLOSE: THINK_CLOSE + PLAIN,
    ANSWER_OPEN: BOLD,
    ANSWER_CLOSE: PLAIN,
}
EXAMPLES = (
    "Gita has 35 cakes. Gita sells 27. Gita has 4 times as many. How many cakes now?",
    "Cari nilai x: (x+19-5)*4=80",
    "Hadi is honest. Hadi says Eko is honest. Eko says Citra lies. Who lies?",
    "Write the line f: f(5)=31, f(6)=36.",
)
# The page is served on this machine's own address; nothing is recorded, shared or linked to elsewhere.
LAUNCH = {"server_name": "127.0.0.1", "share": False, "run_history": False, "footer_links": []}


def stream_completion(policy, question: str, scale: Scale, temperature: float) -> Iterator[str]:
    """The completion of `question` in pieces, while it is sampled. No piece ends inside a tag."""
    # Each question is a conversation of its own, because the tiny policies have never seen a second turn.
    from transformers import TextIteratorStreamer

    tokenizer, model = policy.tokenizer, policy.model
    prompt = policy.render(render_prompt(question, template=scale.template))
    inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).to(model.device)
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True, timeout=120.0)
    # The whole distribution of the policy, as in training: the model's own config may cut it with top-k or top-p.
    sampled = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    settings = sampled if temperature else {"do_sample": False}
    settings |= {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
    settings |= {"max_new_tokens": scale.longest_answer, "pad_token_id": tokenizer.pad_token_id}
    thread = Thread(target=model.generate, kwargs={"streamer": streamer, **settings}, daemon=True)
    thread.start()
    yield from join_tags(streamer)
    # Python aborts at exit if a thread is still inside torch.
    thread.join()


def join_tags(pieces: Iterator[str]) -> Iterator[str]:
    """The same text in pieces that end before a tag or after it, never inside."""
    text = ""
    for piece in pieces:
        text += piece
        waiting = begun_tag(text)
        yield text[: len(text) - waiting]
        text = text[len(text) - waiting :]
    yield text


def begun_tag(text: str) -> int:
    """Number of characters at the end of `text` that may be the beginning of a tag."""
    begun = [n for tag in TAGS for n in range(1, len(tag)) if text.endswith(tag[:n])]
    return max(begun, default=0)


def colour(pieces: Iterator[str]) -> Iterator[str]:
    """The same text for a terminal, with dim reasoning and a bold answer, even if a tag is split between pieces."""
    for text in join_tags(pieces):
        for tag, coloured in COLOURS.items():
            text = text.replace(tag, coloured)
        yield text
    yield PLAIN


def as_messages(text: str) -> list[dict]:
    """A completion, finished or not, as chat messages. The reasoning is in a fold, which is open while it is written."""
    # Text outside all tags is part of the reply, because a base model often writes no tags.
    before, opened, rest = text.partition(THINK_OPEN)
    thought, closed, after = rest.partition(THINK_CLOSE)
    reply = (before + after).replace(ANSWER_OPEN, "").replace(ANSWER_CLOSE, "").strip()
    fold = {"title": "Reasoning", "status": "done" if closed else "pending"}
    messages = [{"role": "assistant", "content": thought.strip(), "metadata": fold}] if opened else []
    return messages + ([{"role": "assistant", "content": reply}] if reply or not opened else [])


def make_page(policy, scale: Scale, title: str, temperature: float = 0.0):
    """The page as a `gradio.ChatInterface`, which `.launch(**LAUNCH)` serves. Raises ImportError without gradio."""
    # Before gradio is imported: nothing should leave this machine.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError as error:
        raise ImportError("the chat page needs gradio: pip install gradio, or leave out --page") from error

    def answer(question: str, history: list) -> Iterator[list[dict]]:
        text = ""
        for piece in stream_completion(policy, question, scale, temperature):
            text += piece
            yield as_messages(text)

    return gradio.ChatInterface(
        answer,
        chatbot=gradio.Chatbot(buttons=["copy"], show_label=False, scale=1),
        title=title,
        examples=list(EXAMPLES) if scale.name == "tiny" else None,
        api_name="chat",
    )


def main(argv: list[str]) -> None:
    """`r1lab chat MODEL`: questions from the keyboard (or a pipe), an empty line or Ctrl-D ends it."""
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
    scale, policy = get_scale(), load_policy(options.model)
    if options.page:
        make_page(policy, scale, options.model, options.temperature).launch(**LAUNCH)
        return
    print('Ask, for example: "Solve for x: (x+3)*2-5=27". An empty line ends the talk.')
    while True:
        try:
            question = input("> ").strip()
        except EOFError:
            return
        if not question:
            return
        for text in colour(stream_completion(policy, question, scale, options.temperature)):
            sys.stdout.write(text)
            sys.stdout.flush()
        print("\n")
