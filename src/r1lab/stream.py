"""The text of a completion while it is sampled, piece by piece, for the terminal and for the chat page."""

from collections.abc import Iterator
from threading import Thread

from r1lab.prompts import TAGS

LONGEST_TAG = max(map(len, TAGS))


def begun_tag(text: str) -> int:
    """How many characters at the end of `text` may be the beginning of a tag that the next piece completes."""
    return next(
        (
            n
            for n in range(min(LONGEST_TAG, len(text)), 0, -1)
            if any(n < len(tag) and tag.startswith(text[-n:]) for tag in TAGS)
        ),
        0,
    )


def reply(policy, messages: list[dict[str, str]], temperature: float, limit: int) -> Iterator[str]:
    """Stream one completion of at most `limit` tokens, piece by piece."""
    from transformers import TextIteratorStreamer

    streamer = TextIteratorStreamer(
        policy.tokenizer, skip_prompt=True, skip_special_tokens=True, timeout=120.0
    )
    inputs = policy.tokenizer(policy.render(messages), return_tensors="pt", add_special_tokens=False)
    # The whole distribution of the policy, as in training: the model's own config may cut it with top-k or top-p.
    settings = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    settings = settings if temperature else {"do_sample": False}
    thread = Thread(
        target=policy.model.generate,
        kwargs={
            "input_ids": inputs["input_ids"].to(policy.model.device),
            "attention_mask": inputs["attention_mask"].to(policy.model.device),
            "max_new_tokens": limit,
            "pad_token_id": policy.tokenizer.pad_token_id,
            "streamer": streamer,
            **settings,
        },
        daemon=True,
    )
    thread.start()
    yield from streamer
    thread.join()  # Python aborts at exit if a thread is still inside torch
