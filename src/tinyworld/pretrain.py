"""Pretrain the tiny base models: next-token prediction on the corpus, two CPU cores, well under an hour."""

import platform
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from r1lab.policy import save_tokenizer


@dataclass(frozen=True)
class Size:
    """Shape of a Qwen3-architecture model."""

    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    head_dim: int = 32


SIZES = {
    "base": Size(hidden_size=192, layers=4, heads=6, kv_heads=2, mlp=512),
    "student": Size(hidden_size=96, layers=4, heads=3, kv_heads=3, mlp=256),  # 0.50 M of the base's 1.70 M
}


@dataclass(frozen=True)
class Recipe:
    """Everything `make base` fixes about the pretraining run."""

    documents: int = 640_000
    batch: int = 128  # documents per step
    muon_rate: float = 0.01
    adam_rate: float = 3e-3
    warmup: int = 100  # steps
    decay: float = 0.5  # the last share of the steps, linear to zero
    prompt_weight: float = 0.1  # of a prompt token in the loss: nobody can predict its names and numbers
    by_length: bool = True  # batches of similar length waste little on padding
    seed: int = 0


RECIPE = Recipe()
# A step averages over its tokens, so in a batch of long replies each reply weighs less than in a batch of short ones:
# the first phase under-learns the longer habits. A short second phase on mixed batches gives every habit its share.
SETTLING = Recipe(
    documents=44_800,
    batch=64,
    muon_rate=0.004,
    adam_rate=1.2e-3,
    warmup=20,
    decay=1.0,
    by_length=False,
    seed=1,
)
# Small batches: with few documents the number of steps is what is short.
STUDENT_RECIPE = replace(RECIPE, documents=800_000, batch=64)
STUDENT_SETTLING = replace(SETTLING, documents=12_800)
POOL = 64  # batches are cut from pools of this many


def build_model(tokenizer, size: Size, seed: int = 0):
    """A freshly initialised `Qwen3ForCausalLM` with tied embeddings (float32)."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden_size,
        intermediate_size=size.mlp,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        head_dim=size.head_dim,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        rope_theta=10_000.0,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen3ForCausalLM(config)
    model.set_attn_implementation(
        "eager"
    )  # on a CPU the fused kernel's backward pass is several times slower
    return model


def encode(tokenizer, rows: list[dict[str, str]]) -> list[tuple[list[int], int]]:
    """(token ids, length of the prompt) of whole documents in the layout of the chat template, end token included."""
    prompts = tokenizer([f"User: {row['prompt']}\nAssistant:\n" for row in rows], add_special_tokens=False)[
        "input_ids"
    ]
    replies = tokenizer([row["reply"] + tokenizer.eos_token for row in rows], add_special_tokens=False)[
        "input_ids"
    ]
    return [(prompt + reply, len(prompt)) for prompt, reply in zip(prompts, replies, strict=True)]


def batches(tokenizer, rows: Iterator[dict[str, str]], recipe: Recipe) -> Iterator:
    """Yield (ids, weights), both [batch, length], padded on the right; every document starts at position 0.

    weights: `prompt_weight` on prompt tokens, 1 on the reply, 0 on padding.
    """
    import torch

    rng = random.Random(recipe.seed)
    while True:
        pool = encode(tokenizer, list(islice(rows, recipe.batch * POOL)))
        if recipe.by_length:
            pool.sort(key=lambda document: len(document[0]))
        cuts = [pool[start : start + recipe.batch] for start in range(0, len(pool), recipe.batch)]
        rng.shuffle(cuts)
        for cut in cuts:
            length = (
                -(-max(len(ids) for ids, _ in cut) // 8) * 8
            )  # few distinct shapes, so that buffers are reused
            ids = torch.full((len(cut), length), tokenizer.pad_token_id)
            weights = torch.zeros(len(cut), length)
            for row, (document, prompt) in enumerate(cut):
                ids[row, : len(document)] = torch.tensor(document)
                weights[row, :prompt] = recipe.prompt_weight
                weights[row, prompt : len(document)] = 1.0
            yield ids, weights


def rate_at(step: int, steps: int, recipe: Recipe) -> float:
    """Warm-up, a long plateau, and a linear decay to zero: a factor in [0, 1]."""
    warm = min(1.0, (step + 1) / recipe.warmup)
    return warm * min(1.0, (steps - step) / (recipe.decay * steps))


def has_native_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 itself (AVX-512 BF16, AMX, or BF16 on ARM).

    oneDNN's own answer is not enough on x86: it says yes to any AVX-512, where bfloat16 is emulated.
    """
    import torch

    if not torch.backends.mkldnn.is_available() or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if platform.machine() in ("x86_64", "AMD64"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return True


def pretrain(
    tokenizer,
    rows,
    output: Path,
    *,
    size: Size = SIZES["base"],
    recipe: Recipe = RECIPE,
    start: Path | None = None,
    log=print,
):
    """Train a base model, from scratch or from the one in `start`, and save it in `output`.

    Returns its log: a row per 50 steps with step, loss (nats per reply token), tokens and seconds so far.
    """
    import torch
    import torch.nn.functional as F

    model = build_model(tokenizer, size, recipe.seed)
    if start:
        model.load_state_dict(type(model).from_pretrained(start, dtype=torch.float32).state_dict())
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is q for q in matrices)]
    # Muon (Jordan, 2024) for the matrices, AdamW for embeddings and norms.
    optimizers = [
        torch.optim.Muon(
            matrices, lr=recipe.muon_rate, momentum=0.95, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        )
        if recipe.muon_rate
        else torch.optim.AdamW(matrices, lr=recipe.adam_rate, betas=(0.9, 0.98), weight_decay=0.05),
        torch.optim.AdamW(others, lr=recipe.adam_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    base_rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    steps = recipe.documents // recipe.batch
    history, total, tokens, started = [], 0.0, 0, time.time()
    source = batches(tokenizer, rows, recipe)
    bfloat16 = has_native_bfloat16()  # emulated, it is slower than float32
    for step in range(steps):
        ids, weights = next(source)
        factor = rate_at(step, steps, recipe)
        for optimizer, base_rate in zip(optimizers, base_rates, strict=True):
            optimizer.param_groups[0]["lr"] = base_rate * factor
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            logits = model(
                input_ids=ids[:, :-1], use_cache=False
            ).logits  # padded right and causal: no mask needed
        losses = F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        weights = weights[:, 1:].flatten()
        loss = losses @ weights / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        reply = weights == 1.0
        total, tokens = total + losses[reply].mean().item(), tokens + int((weights > 0).sum())
        if (step + 1) % 50 == 0:
            row = {
                "step": step + 1,
                "loss": round(total / 50, 4),
                "tokens": tokens,
                "seconds": round(time.time() - started),
            }
            history.append(row)
            log(
                f"step {row['step']}/{steps}  loss {row['loss']:.3f}  {tokens / 1e6:.1f} M tokens  {row['seconds']} s"
            )
            total = 0.0
    model.save_pretrained(output)
    save_tokenizer(tokenizer, output)
    return history
