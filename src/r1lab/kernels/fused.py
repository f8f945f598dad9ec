"""Log-probabilities and the GRPO loss straight from hidden states, without ever holding the logits of a batch.

The batch goes through the head a few hundred rows at a time. A matrix product makes a tile of logits. The row kernel turns it
into log-probabilities and then, in the same memory, into dL/dlogits. Two more products add it to the gradients of the hidden
states and of the head. So the gradient is ready when the forward pass ends, after three products, or two where the head is
frozen. Making the tiles again in backward would take a fourth.

This works because the loss is a sum over tokens, and its coefficients dL/dlogp are known before the pass (on-policy) or as soon
as a tile is scored. Only a coefficient that reads a whole completion takes a scoring pass of its own. Rows with coefficient 0
are scored and not differentiated. Rows on padding are never computed.

Memory: a tile, the gradients, and nothing else as large as the vocabulary. Statistics, loss and gradient sums are float32
(float64 for float64 inputs) whatever the inputs are.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from r1lab.kernels import grpo
from r1lab.kernels.rows_torch import Head
from r1lab.kernels.tiles import TiledHead


class FusedOut(NamedTuple):
    """`loss` is differentiable, once. logp, entropy: [B, T] in nats, detached, 0 on rows that were not scored."""

    loss: Tensor
    logp: Tensor
    entropy: Tensor
    stats: dict[str, Tensor | int]


class LogpOut(NamedTuple):
    """[N] in nats, 0 on rows that were masked. logp is differentiable, once; entropy is detached, or None."""

    logp: Tensor
    entropy: Tensor | None


def fused_grpo_loss(
    hidden: Tensor,
    weight: Tensor,
    ids: Tensor,
    mask: Tensor,
    advantages: Tensor,
    *,
    spec: grpo.GRPOSpec,
    old_logp: Tensor | None = None,
    ref_logp: Tensor | None = None,
    is_ratio: Tensor | None = None,
    normalizer: float | Tensor | None = None,
    bias: Tensor | None = None,
    temperature: float = 1.0,
    logit_scale: float = 1.0,
    softcap: float | None = None,
    entropy_coef: float = 0.0,
    score_dead_rows: bool = True,
    rows_per_chunk: int | None = None,
    backend: str = "auto",
) -> FusedOut:
    """`grpo_loss` of the head's log-probabilities, with its gradient, in one pass over the vocabulary.

    hidden: [B, T, H] of any float dtype, hidden[:, t] predicts ids[:, t], need not be contiguous; weight: [V, H];
    bias: [V]; ids, mask: [B, T], 0 in the mask is padding; the rest of the loss's arguments as in `grpo_loss`.
    Logits are softcap(logit_scale * (hidden @ weight.T + bias)) / temperature. Rows that cannot learn (advantage 0 and
    neither KL nor entropy term) are scored for the metrics only, and not at all with score_dead_rows=False.
    rows_per_chunk trades memory for time, not results. backend: "torch", "triton" or "auto" (triton on CUDA).

    stats: `tokens`, `scored` and `live` rows, and the means of `grpo.batch_stats`. Raises ValueError where shapes do
    not fit and on a token to which the head gives probability 0, IndexError on one outside the vocabulary, RuntimeError
    on a second derivative.
    """
    # Under no_grad, and for a frozen head, there is less to compute. The gradients are made here and not by autograd.
    needed = [torch.is_grad_enabled() and x is not None and x.requires_grad for x in (hidden, weight, bias)]
    with torch.no_grad():
        # Stage 1: check the inputs, and find the rows that are not padding.
        head = Head(weight, bias, temperature, logit_scale, softcap)
        tiles = TiledHead(hidden, head, ids, mask, True, rows_per_chunk, backend)
        dtype, shape, rows = tiles.logp.dtype, mask.shape, tiles.rows
        batch = grpo.make_batch(mask, advantages, spec, old_logp, ref_logp, is_ratio, normalizer, dtype)
        gradients = tiles.zero_gradients(needed) if any(needed) else None
        entropy_gradient = -entropy_coef / max(1, len(rows))  # dL/dentropy of every row

        # Stage 2: find out when the coefficients c = dL/dlogp are known, and which rows can have one that is not 0.
        # Padding and completions with advantage 0 have none.
        can_learn = batch.weights * batch.advantages != 0
        if grpo.known_before_scoring(batch, spec):
            # On-policy they do not depend on the log-probabilities, which are still all 0 here.
            coefficients = grpo.coefficients(tiles.logp.view(shape), batch, spec)
            coefficients, can_learn = coefficients.flatten(), coefficients != 0
        elif grpo.known_per_token(spec):

            def coefficients(index: Tensor, logp: Tensor) -> Tensor:
                return grpo.coefficients(logp[:, None], batch.rows(index), spec)[:, 0]

        else:
            coefficients, can_learn = None, can_learn.any(-1, keepdim=True).expand(shape)
        # The KL term and the entropy bonus act on every token, whatever its advantage.
        if spec.beta or entropy_coef:
            can_learn = batch.mask
        can_learn = can_learn.flatten()[rows]
        live = rows[can_learn]
        stats = {"tokens": len(rows), "scored": len(rows if score_dead_rows else live), "live": len(live)}

        # Stage 3: score the rows, and differentiate those whose coefficient is known by then.
        if score_dead_rows:
            tiles.run(rows[~can_learn])
        tiles.run(live, coefficients, gradients, entropy_gradient)
        logp, entropy = tiles.logp.view(shape), tiles.entropy.view(shape)
        # Its logarithm is infinite, and the gradient would be NaN.
        if logp.isneginf().any():
            raise ValueError("the head gives probability 0 to a token of the batch: mask it, or allow it")

        # Stage 4: coefficients that read the whole completion are known only now, so its tiles are made again.
        if coefficients is None and gradients:
            coefficients = grpo.coefficients(logp, batch, spec).flatten()
            live = live if entropy_coef else live[coefficients[live] != 0]
            tiles.run(live, coefficients, gradients, entropy_gradient)

        # Stage 5: the loss itself, from the log-probabilities, and the metrics.
        loss = grpo.batch_loss(logp, batch, spec)
        if entropy_coef:
            loss = loss - entropy_coef * grpo.masked_mean(entropy, batch.mask)
        stats |= grpo.batch_stats(logp, batch, spec)
    return FusedOut(_LossWithGradients.apply(loss, gradients, hidden, weight, bias), logp, entropy, stats)


def linear_logp(
    hidden: Tensor,
    weight: Tensor,
    ids: Tensor,
    *,
    bias: Tensor | None = None,
    temperature: float = 1.0,
    logit_scale: float = 1.0,
    softcap: float | None = None,
    entropy: bool = False,
    row_mask: Tensor | None = None,
    rows_per_chunk: int | None = None,
    backend: str = "auto",
) -> LogpOut:
    """Log-probability of ids[n] under the head, differentiable, for any loss on top: [N] in float32 (float64).

    hidden: [N, H]; weight: [V, H]; ids: [N]; row_mask: [N], 0 skips a row; entropy: whether to compute it, for a metric;
    the rest, and what is raised, as in `fused_grpo_loss`. Backward makes the tiles again, of the rows whose gradient is
    not 0.
    """
    mask = torch.ones_like(ids) if row_mask is None else row_mask
    hidden, head = hidden[None], Head(weight, bias, temperature, logit_scale, softcap)
    tiles = TiledHead(hidden, head, ids[None], mask[None], entropy, rows_per_chunk, backend)
    logp = _LinearLogp.apply(tiles, hidden, weight, bias)
    # Backward scores rows again. What the caller has must not be written to then.
    out, tiles.logp, tiles.entropy = LogpOut(logp, tiles.entropy), torch.zeros_like(logp), None
    return out


class _LossWithGradients(torch.autograd.Function):
    """A loss whose gradients are known: backward only multiplies them by the gradient that comes in."""

    @staticmethod
    def forward(ctx, loss, gradients, *inputs):
        ctx.save_for_backward(*(gradients or (None,) * len(inputs)))
        ctx.dtypes = [None if x is None else x.dtype for x in inputs]
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, factor):
        # Out of place, since backward may run again (retain_graph). A factor of 1, the usual one, costs nothing on a CPU.
        # On a GPU, reading the factor would make the host wait, so one pass multiplies and rounds.
        if factor.device.type == "cpu" and factor == 1:
            return None, None, *_cast(ctx.saved_tensors, ctx.dtypes)
        gradients = []
        for x, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True):
            out = None if x is None else torch.empty_like(x, dtype=dtype)
            gradients.append(None if x is None else torch.mul(x, factor, out=out))
        return None, None, *gradients


class _LinearLogp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tiles, *inputs):
        tiles.run(tiles.rows)
        # The tiles are not kept. Saving the inputs lets autograd notice a weight that was changed before backward.
        ctx.save_for_backward(*inputs)
        ctx.tiles = tiles
        return tiles.logp

    @staticmethod
    @once_differentiable
    def backward(ctx, c):
        inputs, tiles = ctx.saved_tensors, ctx.tiles  # the first one raises if an input was changed since
        gradients = tiles.zero_gradients(ctx.needs_input_grad[1:])
        tiles.run(tiles.rows[c[tiles.rows] != 0], c, gradients)
        return None, *_cast(gradients, [None if x is None else x.dtype for x in inputs])


def _cast(gradients, dtypes) -> list[Tensor | None]:
    return [None if x is None else x.to(dtype) for x, dtype in zip(gradients, dtypes, strict=True)]
