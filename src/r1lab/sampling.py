"""What all samplers share: a completion as text, the tokens that end one, the size of a batch.

`policy.py` samples with `engine.py`, with Unsloth's model in `stages/lora.py`, or else with transformers, as below.
"""

from dataclasses import dataclass

# The most completions that are sampled side by side, see `rows_at_once`.
BATCH = 512
# The same where transformers samples. Small, because there a batch runs until its longest completion ends.
TRANSFORMERS_BATCH = 16


@dataclass(frozen=True)
class Sample:
    """One completion: its text, its length in tokens (end token not counted), and whether it was cut off."""

    text: str
    tokens: int
    truncated: bool


def end_tokens(model, tokenizer) -> list[int]:
    """Sorted ids of all tokens that end a completion.

    They are the tokenizer's, those of the model's generation settings, and the one that closes a turn in the chat template.
    """
    # They need not agree. Qwen3's base models name `<|im_end|>` in one file and `<|endoftext|>` in another.
    named = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])} - {None}
    if tokenizer.chat_template:
        # The token that the template writes after a reply.
        talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "reply"}]
        closing = tokenizer.apply_chat_template(talk, tokenize=False).rpartition("reply")[2]
        closing_ids = tokenizer(closing, add_special_tokens=False)["input_ids"]
        ends |= {*closing_ids[:1]} & {*tokenizer.all_special_ids}
    return sorted(ends)


def agree_on_ends(model, tokenizer) -> None:
    """Write `end_tokens` into the model's generation settings, where transformers, TRL and vLLM read them."""
    ends = end_tokens(model, tokenizer)
    model.generation_config.eos_token_id = ends[0] if len(ends) == 1 else ends or None


def rows_at_once(model, tokens: int) -> int:
    """Number of completions of `tokens` tokens, prompt included, that are sampled side by side: 1 to BATCH."""
    import torch

    config, device = model.config.get_text_config(), next(model.parameters()).device
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    # Bytes of one completion's keys and values: what grows with the batch.
    row = 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize * tokens
    # The cache may take half of the memory that is free on the GPU, or 2 GiB on a CPU.
    memory = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else 2 * 2**30
    return max(1, min(BATCH, memory // row))


def generate_with_transformers(
    model, tokenizer, prompts, *, ends, max_new_tokens, temperature, seed, rows=TRANSFORMERS_BATCH
):
    """Completions as `engine.generate` gives them, but without log-probabilities. Slower, for any architecture.

    prompts: lists of token ids. rows: of a batch. The same seed and `rows` give the same completions.
    """
    import torch

    from r1lab.engine import Completion

    completions, training = [], model.training
    settings = {"do_sample": bool(temperature), "eos_token_id": ends, "max_new_tokens": max_new_tokens}
    # The whole distribution of the policy: the model's own settings may cut it with top-k or top-p.
    settings |= {"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
    model.eval()
    with torch.random.fork_rng(), torch.no_grad():
        for start in range(0, len(prompts), rows):
            torch.manual_seed(seed + start)
            chosen = {"input_ids": prompts[start : start + rows]}
            inputs = tokenizer.pad(chosen, padding_side="left", return_tensors="pt").to(model.device)
            settings["pad_token_id"] = tokenizer.pad_token_id
            for row in model.generate(**inputs, **settings)[:, inputs["input_ids"].shape[1] :].cpu():
                ended = torch.isin(row, torch.tensor(ends)).nonzero()[:, 0].tolist()
                completions.append(Completion(row[: ended[0] + 1] if ended else row, None, not ended))
    model.train(training)
    return completions
