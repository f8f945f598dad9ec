"""A sampled completion as text, and the tokens that end one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One completion: its text, its length in tokens (end token not counted), and whether it was cut off."""

    text: str
    tokens: int
    truncated: bool


def end_tokens(model, tokenizer) -> list[int]:
    """Ids of every token that ends a completion: the tokenizer's, those of the model's generation settings, and the one
    that closes a reply in the chat template.

    They need not agree: Qwen3's base models name `<|im_end|>` in one file and `<|endoftext|>` in another.
    """
    named = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])} - {None}
    if tokenizer.chat_template:
        talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "reply"}]
        closing = tokenizer.apply_chat_template(talk, tokenize=False).rpartition("reply")[2]
        ends |= {*tokenizer(closing, add_special_tokens=False)["input_ids"][:1]} & {
            *tokenizer.all_special_ids
        }
    return sorted(ends)


def agree_on_ends(model, tokenizer) -> None:
    """Write all of `end_tokens` where transformers, TRL and vLLM look for them: into the model's generation settings."""
    ends = end_tokens(model, tokenizer)
    model.generation_config.eos_token_id = ends[0] if len(ends) == 1 else ends or None
