"""A chat page for a checkpoint, on this machine only: `python -m r1lab chat MODEL --page`. Needs gradio (the extra `chat`)."""

import os
from collections.abc import Iterator

from r1lab.prompts import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN, render_prompt
from r1lab.scale import Scale
from r1lab.stream import begun_tag, reply

EXAMPLES = (
    "Gita has 35 cakes. Gita sells 27. Gita has 4 times as many. How many cakes now?",
    "Cari nilai x: (x+19-5)*4=80",
    "Hadi is honest. Hadi says Eko is honest. Eko says Citra lies. Who lies?",
    "Write the line f: f(5)=31, f(6)=36.",
)

# On this machine's own address; nothing is recorded, shared or linked to elsewhere.
LAUNCH = {"server_name": "127.0.0.1", "share": False, "run_history": False, "footer_links": []}


def as_messages(text: str) -> list[dict]:
    """A completion, finished or still growing, as chat messages: the reasoning in a fold, open while it is written.

    Text outside all tags is shown too: a base model's manners are part of what one wants to see.
    """
    before, opened, rest = text.partition(THINK_OPEN)
    thought, closed, after = rest.partition(THINK_CLOSE)
    said = (before + after).replace(ANSWER_OPEN, "").replace(ANSWER_CLOSE, "").strip()
    fold = {"title": "Reasoning", "status": "done" if closed else "pending"}
    messages = [{"role": "assistant", "content": thought.strip(), "metadata": fold}] if opened else []
    return messages + ([{"role": "assistant", "content": said}] if said or not opened else [])


def make_page(policy, scale: Scale, title: str, *, temperature: float = 0.0):
    """The page as a `gradio.Blocks`, which `.launch()` serves. Raises ImportError with the remedy without gradio."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # nothing leaves this machine
    try:
        import gradio
    except ImportError as error:
        raise ImportError("the chat page needs gradio: pip install gradio, or leave out --page") from error

    def answer(question: str, history: list) -> Iterator[list[dict]]:
        # Each question stands alone: the tiny policies have never seen a second turn.
        messages, text = render_prompt(question, template=scale.template), ""
        for piece in reply(policy, messages, temperature, scale.longest_answer):
            text += piece
            yield as_messages(text[: len(text) - begun_tag(text)])
        yield as_messages(text)

    return gradio.ChatInterface(
        answer,
        chatbot=gradio.Chatbot(buttons=["copy"], show_label=False, scale=1),
        title=title,
        examples=list(EXAMPLES) if scale.name == "tiny" else None,
        api_name="chat",
    )


def serve(policy, scale: Scale, title: str, temperature: float) -> None:
    """Show the page until Ctrl-C."""
    make_page(policy, scale, title, temperature=temperature).launch(**LAUNCH)
