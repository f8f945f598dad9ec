"""Tags, templates and the parser: the only file that knows what a completion must look like."""

import re
from dataclasses import dataclass

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
ANSWER_OPEN, ANSWER_CLOSE = "<answer>", "</answer>"
TAGS = (THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE)

# The system message of an R1-Zero conversation (DeepSeek-AI, 2025, table 1, in our own words). It asks for a structure and
# says nothing about how to reason, so that all reasoning comes from the policy.
ZERO = {
    "en": (
        "You will be asked a question. Work it out first, then reply. "
        f"Put everything you think between {THINK_OPEN} and {THINK_CLOSE}, "
        f"and after it only the final result between {ANSWER_OPEN} and {ANSWER_CLOSE}."
    ),
    "id": (
        "Kamu akan diberi sebuah pertanyaan. Kerjakan dahulu, baru jawab. "
        f"Tulis semua yang kamu pikirkan di antara {THINK_OPEN} dan {THINK_CLOSE}, "
        f"lalu hanya hasil akhirnya di antara {ANSWER_OPEN} dan {ANSWER_CLOSE}."
    ),
}
DIRECT = {
    "en": "Reason step by step at length, then verify every step before you commit to an answer.",
    "id": "Bernalarlah langkah demi langkah secara rinci, lalu periksa setiap langkah sebelum menjawab.",
}
TEMPLATES = ("bare", "zero", "few_shot", "direct")
# Each tag once, in order, with nothing around the two blocks. `_is_well_formed` tests before that no tag occurs twice.
SHAPE = re.compile(rf"\s*{THINK_OPEN}(.*){THINK_CLOSE}\s*{ANSWER_OPEN}(.*){ANSWER_CLOSE}\s*", re.DOTALL)


@dataclass(frozen=True)
class ParsedCompletion:
    """The parts of a completion: its reasoning, its answer, and whether it keeps to the format."""

    think: str | None
    answer: str | None
    well_formed: bool


def _is_well_formed(text: str) -> bool:
    """Whether each tag occurs once, in order, with text in both blocks and nothing around them."""
    shape = SHAPE.fullmatch(text) if all(text.count(tag) == 1 for tag in TAGS) else None
    return shape is not None and all(block.strip() for block in shape.groups())


def _between(text: str, opening: str, closing: str) -> str | None:
    """Text of the only `opening ... closing` pair, or None when there is none or more than one."""
    if text.count(opening) != 1 or text.count(closing) != 1:
        return None
    body = text.partition(opening)[2]
    return body.partition(closing)[0].strip() if closing in body else None


def parse_completion(text: str) -> ParsedCompletion:
    """The reasoning and the answer of a completion, and whether its format is right.

    `well_formed` is strict: every tag exactly once, nothing outside the two blocks, neither block blank.
    `think` and `answer` are read leniently, so that a rule can score each on its own: the answer is the only
    `<answer>` block after the last `</think>`, or anywhere if there is no `</think>`. Two blocks give None.
    Raises no error on any text.
    """
    think = _between(text, THINK_OPEN, THINK_CLOSE)
    answer = _between(text.rpartition(THINK_CLOSE)[2], ANSWER_OPEN, ANSWER_CLOSE)
    return ParsedCompletion(think=think, answer=answer, well_formed=_is_well_formed(text))


def format_completion(think: str, answer: str) -> str:
    """A well-formed completion of these two parts: the inverse of `parse_completion`."""
    return f"{THINK_OPEN}{think}{THINK_CLOSE} {ANSWER_OPEN}{answer}{ANSWER_CLOSE}"


def render_prompt(
    question: str,
    *,
    template: str = "zero",
    language: str = "en",
    examples: list[tuple[str, str]] = (),
) -> list[dict[str, str]]:
    """Chat messages of a question, ready for a tokenizer's chat template.

    template: `bare` is the question alone, which is all that a model of 1.7 million parameters can read. `zero` adds the
    R1-Zero instruction. `few_shot` also adds `examples`, (question, completion) pairs, as earlier turns. `direct` adds an
    instruction to reason and to verify. language: `en` or `id`, that of the instruction.
    Raises ValueError on an unknown template or language.
    """
    if template not in TEMPLATES:
        raise ValueError(f"unknown template {template!r}: choose one of {', '.join(TEMPLATES)}")
    if language not in ZERO:
        raise ValueError(f"unknown language {language!r}: choose one of {', '.join(ZERO)}")
    system = {"bare": "", "direct": f"{ZERO[language]} {DIRECT[language]}"}.get(template, ZERO[language])
    messages = [{"role": "system", "content": system}] if system else []
    if template == "few_shot":
        for earlier_question, completion in examples:
            messages.append({"role": "user", "content": earlier_question})
            messages.append({"role": "assistant", "content": completion})
    return [*messages, {"role": "user", "content": question}]
