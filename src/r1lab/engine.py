"""Sampling by hand: completions of a Llama or Qwen model, with a key-value cache, in plain torch.

A language model gives the probabilities of the next token. To write a completion we choose one token, append it, and ask
again. Done naively, every new token costs a forward pass over the whole text so far. Four ideas make it fast:

1. Prompts once per group. GRPO samples eight completions of each prompt, so equal prompts are computed once.
2. A key-value cache. Attention looks back at the keys and values of earlier tokens, and these never change. We keep them,
   and a forward pass then needs the newest token only.
3. Finished rows leave the batch. Otherwise one long completion costs as much as a batch of long ones.
4. Random numbers that belong to a completion, not to a batch. The same seed gives the same completions whether one row or
   five hundred are sampled side by side.

The engine calls the layers of the model that transformers loaded, so it copies no weights, and LoRA adapters work too.
"""

from typing import NamedTuple

import torch
from torch import Tensor

FAMILIES = ("llama", "qwen2", "qwen3")  # `model_type` of the models whose layers `forward` knows
# Rotary variants whose frequencies are fixed. The others ("dynamic", "longrope") change them with the length of the text,
# and then the keys in the cache would have to be computed again.
ROTARY = ("default", "linear", "llama3", "yarn")


class Completion(NamedTuple):
    """One sampled completion of n tokens."""

    ids: Tensor  # [n], with the end token if there is one, on the CPU
    # [n] float32: log-probability of each token in nats at temperature 1 and before top-p, whatever settings the
    # completion was sampled with. A full forward pass over the text gives the same numbers.
    logprobs: Tensor
    truncated: bool  # whether it stopped at max_new_tokens instead of at an end token


@torch.inference_mode()
def generate(
    model, prompts, *, ends, max_new_tokens: int, temperature=1.0, top_p=1.0, seed=0, rows=512
) -> list[Completion]:
    """One completion for each of `prompts`, in their order. Repeat a prompt eight times to get eight completions.

    model: of a family in FAMILIES, with or without LoRA adapters. prompts: lists of token ids. ends: ids of the tokens
    that end a completion. temperature: 0 is greedy decoding. top_p: only the most probable tokens are sampled, those whose
    probabilities add up to it. rows: how many completions are sampled side by side; more need more memory and change no
    result. Raises ValueError for a model it does not support and for an empty prompt, FloatingPointError for NaN.
    """
    if reason := why_unsupported(model):
        raise ValueError(f"the engine cannot sample this model: {reason}; use transformers' model.generate")
    if not all(map(len, prompts)):
        raise ValueError("a prompt has no tokens: give each prompt at least one, such as the start token")
    # One random number for every completion and step, all made on the CPU before the first batch. So they depend neither
    # on the batch nor on the device, and a larger max_new_tokens only adds rows at the end.
    generator = torch.Generator().manual_seed(seed)
    randoms = torch.rand(max_new_tokens, len(prompts), generator=generator)
    # Prompts of similar length share a batch: the shorter ones need room up to the longest.
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), prompts[i], i))
    completions, training = {}, model.training
    model.eval()  # no dropout: the completions must come from the policy itself
    try:
        for start in range(0, len(order), rows):
            chosen = order[start : start + rows]
            batch = [tuple(prompts[i]) for i in chosen]
            batch = _sample_batch(base_model(model), batch, ends, randoms[:, chosen], temperature, top_p)
            completions.update(zip(chosen, batch, strict=True))
    finally:
        model.train(training)
    return [completions[i] for i in range(len(prompts))]


def _sample_batch(model, prompts: list[tuple], ends, randoms, temperature, top_p) -> list[Completion]:
    """One completion for each of `prompts`, sampled as one batch. randoms: [steps, rows] from 0 to 1."""
    device, limit, count = model.device, len(randoms), len(prompts)
    ends, randoms = torch.tensor(ends, dtype=torch.long, device=device), randoms.to(device)

    # Stage 1: compute each distinct prompt once. They are padded on the right: padding then comes after every real token,
    # and causal attention never looks ahead, so it needs no mask of its own.
    distinct = list(dict.fromkeys(prompts))
    lengths = torch.tensor([len(prompt) for prompt in distinct], device=device)
    longest = int(lengths.max())
    ids = torch.tensor([prompt + (0,) * (longest - len(prompt)) for prompt in distinct], device=device)
    ahead = hide(torch.ones(longest, longest, dtype=torch.bool, device=device).triu(1), model.dtype)
    rotary = rotary_tables(model, longest + limit)
    angles = [table[None, :longest, None] for table in rotary]
    cache = make_cache(model, len(distinct), longest)
    states = forward(model, ids, cache, 0, angles, ahead[None, None])
    states = states[torch.arange(len(distinct), device=device), lengths - 1]  # each prompt's last token

    # Stage 2: give every completion a copy of its prompt's keys and values, with room for the tokens to come.
    number = {prompt: i for i, prompt in enumerate(distinct)}
    group = torch.tensor([number[prompt] for prompt in prompts], device=device)
    prompt_cache, cache = cache, make_cache(model, count, longest + limit)
    cache[..., :longest, :] = prompt_cache[:, :, group]
    states, positions = states[group], lengths[group]
    # A shorter prompt leaves a gap between its end and the first new token. No token may attend to it.
    columns = torch.arange(longest + limit, device=device)
    gap = hide((columns >= positions[:, None]) & (columns < longest), model.dtype)[:, None, None]

    # Stage 3: sample a token for every row, record it, and feed it to the model.
    row = torch.arange(count, device=device)  # which completion each row of the batch is, after others left
    sampled = []  # (row, ids, logprobs) of each step
    length = torch.full((count,), limit, device=device)
    truncated = torch.ones(count, dtype=torch.bool, device=device)
    for step in range(limit):
        logits = model.lm_head(normalize(model.model.norm, states))
        ids, logprobs = choose(logits, randoms[step, row], temperature, top_p)
        sampled.append((row, ids, logprobs))
        ended = torch.isin(ids, ends)
        if ended.any():
            length[row[ended]], truncated[row[ended]] = step + 1, False
            # Stage 4: rows that ended leave. The last running rows take their positions, so that the batch stays in one
            # piece and only few rows of the cache are copied.
            kept = compact(~ended, cache[..., : longest + step, :])
            cache = cache[:, :, : len(kept)]
            row, ids, positions, gap = row[kept], ids[kept], positions[kept], gap[kept]
        if len(row) == 0 or step + 1 == limit:
            break
        now, angles = longest + step, [table[positions, None, None] for table in rotary]
        states = forward(model, ids[:, None], cache, now, angles, gap[..., : now + 1])[:, 0]
        positions = positions + 1

    # Stage 5: sort the sampled tokens by completion. A stable sort keeps the order of the steps.
    row, ids, logprobs = (torch.cat(column).cpu() for column in zip(*sampled, strict=True))
    if logprobs.isnan().any():
        raise FloatingPointError(
            "the policy's probabilities are not numbers: load an earlier checkpoint and lower the learning rate"
        )
    order, lengths = row.argsort(stable=True), length.tolist()
    with torch.inference_mode(False):  # autograd refuses tensors made in inference mode, so return copies
        ids, logprobs = ids[order].clone().split(lengths), logprobs[order].clone().split(lengths)
    return [Completion(*fields) for fields in zip(ids, logprobs, truncated.tolist(), strict=True)]


def choose(logits: Tensor, randoms: Tensor, temperature: float, top_p: float) -> tuple[Tensor, Tensor]:
    """(token, its log-probability at temperature 1) for every row of logits [rows, vocabulary]; randoms: [rows]."""
    logprobs = logits.float().log_softmax(-1)
    if not temperature:
        ids = logprobs.argmax(-1, keepdim=True)
    else:
        # A temperature below 1 makes probable tokens more probable, one above 1 evens them out.
        p = logprobs.exp() if temperature == 1 else (logprobs / temperature).softmax(-1)
        if top_p < 1:
            # From the most probable token down, keep tokens until their probabilities add up to top_p.
            ranked = p.sort(-1, descending=True).values
            stays = ranked.cumsum(-1) - ranked < top_p
            p = p.masked_fill(p < ranked.masked_fill(~stays, 2.0).amin(-1, keepdim=True), 0.0)
        # Lay the probabilities end to end on a line, and take the token on whose part the random number falls. The factor
        # keeps the number off the very end of the line, where rounding could point past the last token.
        line = p.cumsum(-1)
        point = randoms[:, None] * (1 - 1e-6) * line[:, -1:]
        ids = torch.searchsorted(line, point, right=True).clamp_(max=logits.shape[-1] - 1)
    return ids[:, 0], logprobs.gather(-1, ids)[:, 0]


def forward(model, ids: Tensor, cache: Tensor, start: int, angles, mask: Tensor) -> Tensor:
    """Hidden states [rows, new, width] of the new tokens `ids` [rows, new], before the last norm.

    Their keys and values go into the cache's columns from `start` on, and they attend to all columns up to their end.
    angles: cosines and sines of their positions; mask: what `hide` gives, [rows or 1, 1, new or 1, columns].
    """
    (rows, new), heads, size, stop = ids.shape, cache.shape[3], cache.shape[5], start + ids.shape[1]
    states = model.model.embed_tokens(ids)
    for layer, (keys, values) in zip(model.model.layers, cache, strict=True):
        attention, x = layer.self_attn, normalize(layer.input_layernorm, states)
        # Queries, keys and values of the new tokens: [rows, new, heads, size].
        q = attention.q_proj(x).view(rows, new, -1, size)
        k = attention.k_proj(x).view(rows, new, heads, size)
        v = attention.v_proj(x).view(rows, new, heads, size)
        if hasattr(attention, "q_norm"):  # Qwen3 normalizes each head, Llama does not
            q, k = normalize(attention.q_norm, q), normalize(attention.k_norm, k)
        q, k = rotate(q, *angles) * attention.scaling, rotate(k, *angles)
        # Columns are the cache's last dimension but one, so that the attention below reads memory in order.
        keys[:, :, start:stop], values[:, :, start:stop] = k.transpose(1, 2), v.transpose(1, 2)
        # Grouped heads: several query heads share one key head. We treat them as more queries of that head, which saves
        # copies of its keys: [rows, heads, queries per head x new, size].
        q = q.view(rows, new, heads, -1, size).permute(0, 2, 3, 1, 4)
        shape, q = q.shape, q.reshape(rows, heads, -1, size)
        scores = q @ keys[:, :, :stop].transpose(2, 3)
        scores.view(*shape[:4], stop).add_(mask[:, :, None])
        mixed = scores.softmax(-1, dtype=torch.float32).to(q.dtype) @ values[:, :, :stop]
        mixed = mixed.view(shape).permute(0, 3, 1, 2, 4).reshape(rows, new, -1)
        states = states + attention.o_proj(mixed)
        states = states + layer.mlp(normalize(layer.post_attention_layernorm, states))
    return states


def normalize(norm, x: Tensor) -> Tensor:
    """x / sqrt(mean(x^2) + epsilon) * weight over the last dimension, with the weight and epsilon of the module `norm`.

    RMS normalization (Zhang and Sennrich, 2019). The function of torch needs one operation where the formula needs six.
    """
    return torch.nn.functional.rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [rows, new, heads, size] turned by the angles of its tokens' positions, so that attention sees how far apart they
    are (RoPE: Su et al., 2021). Number i and number i + size/2 are turned together; `sin` is negative in its first half."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def rotary_tables(model, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the positions 0 to length - 1, each [length, size], in the form `rotate` takes."""
    rotary = model.model.rotary_emb  # frequencies: 1 / rope_theta^(2i / size), or a variant named in ROTARY
    angles = torch.arange(length, device=model.device)[:, None] * rotary.inv_freq.float()
    cos, sin = angles.cos() * rotary.attention_scaling, angles.sin() * rotary.attention_scaling
    return torch.cat([cos, cos], -1).to(model.dtype), torch.cat([-sin, sin], -1).to(model.dtype)


def make_cache(model, rows: int, columns: int) -> Tensor:
    """An empty tensor for keys and values: [layers, 2, rows, key heads, columns, size]."""
    config, size = model.config, 2 * len(model.model.rotary_emb.inv_freq)
    shape = (config.num_hidden_layers, 2, rows, config.num_key_value_heads, columns, size)
    return torch.empty(shape, dtype=model.dtype, device=model.device)


def hide(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask to add to attention scores: minus infinity where `hidden` is true, else 0."""
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, float("-inf"))


def compact(running: Tensor, cache: Tensor) -> Tensor:
    """Moves the cache's last running rows, in place, to where rows ended. Returns the old index of each row that is left."""
    count = int(running.sum())
    free = (~running[:count]).nonzero()[:, 0]
    movers = running[count:].nonzero()[:, 0] + count
    cache[:, :, free] = cache[:, :, movers]
    kept = torch.arange(count, device=running.device)
    kept[free] = movers
    return kept


def why_unsupported(model) -> str | None:
    """The reason why `generate` cannot sample this model, or None if it can."""
    model, config = base_model(model), model.config
    if config.model_type not in FAMILIES:
        return f"it is of the type {config.model_type!r}, and the engine knows {', '.join(FAMILIES)}"
    if (rotary := model.model.rotary_emb.rope_type) not in ROTARY:
        return f"its rotary positions are of the type {rotary!r}, which changes with the length of the text"
    if any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()):
        return "some of its layers attend to a sliding window"
    return None


def base_model(model):
    """The transformers model under LoRA adapters, if there are any."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
