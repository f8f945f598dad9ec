"""The row kernel in Triton, for NVIDIA GPUs: the same two functions as `rows_torch`, one program a row.

`score` reads a row of logits once, keeping a running maximum. `differentiate` reads it again and writes the gradient in the
dtype of the matrix products over the memory it has just read, so that a tile is all the memory of size V there is.
Without a GPU the kernels run under TRITON_INTERPRET=1 (set before triton is imported), slowly: that is how they are tested.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from r1lab.kernels.rows_torch import Head, Scores

# Columns that one Triton program reads at once, and the warps that share this work. Not tuned on a GPU yet: `make gpu-check` does it.
BLOCK, WARPS = 4096, 16


def score(tile: Tensor, ids: Tensor, head: Head, with_entropy: bool) -> Scores:
    """As `rows_torch.score`, for a float32 tile, which is left as it is."""
    # One piece of memory for all results of a row, so that a kernel takes one pointer.
    packed = tile.new_empty(4, len(tile))
    _launch(_score, tile, ids, head, (packed,), with_entropy)
    return Scores(packed[0], packed[1] if with_entropy else None, packed[2], packed=packed)


def differentiate(
    tile: Tensor, ids: Tensor, scores: Scores, head: Head, c: Tensor, e: Tensor | None
) -> tuple[Tensor, None]:
    """As `rows_torch.differentiate`; the result is a view of the tile's memory in the dtype of `head.weight`."""
    gradient = tile.view(head.weight.dtype)[:, : tile.shape[1]]
    incoming = torch.stack([c] if e is None else [c, e])
    arguments = (scores.packed, incoming, gradient, gradient.stride(0))
    _launch(_differentiate, tile, ids, head, arguments, e is not None)
    return gradient, None


def _launch(kernel, tile: Tensor, ids: Tensor, head: Head, arguments: tuple, with_entropy: bool) -> None:
    """Run `kernel` with one program for each row of `tile`."""
    rows, vocabulary = tile.shape
    # CUDA refuses an empty grid.
    if not rows:
        return
    block = min(BLOCK, triton.next_power_of_2(vocabulary))
    # One program a row. What is not there (bias, softcap) is passed as something harmless, and its flag is off.
    kernel[(rows,)](
        tile,
        ids,
        *arguments,
        vocabulary,
        tile.stride(0),
        tile if head.bias is None else head.bias,
        float(head.logit_scale),
        float(head.softcap or 1),
        1 / head.temperature,
        WITH_ENTROPY=with_entropy,
        HAS_BIAS=head.bias is not None,
        HAS_SOFTCAP=bool(head.softcap),
        BLOCK=block,
        num_warps=max(1, min(WARPS, block // 256)),  # 8 columns a thread
    )


@triton.jit
def _transform(
    x, columns, inside, bias, scale, softcap, inverse_t, HAS_BIAS: tl.constexpr, HAS_SOFTCAP: tl.constexpr
):
    """Raw logits to (z, tanh): z = softcap(scale * (x + bias)) / T; outside the vocabulary z = -inf."""
    if HAS_BIAS:
        x += tl.load(bias + columns, mask=inside, other=0.0)
    # torch.compile may hand Python floats over as float64.
    x *= tl.cast(scale, tl.float32)
    tanh = x
    if HAS_SOFTCAP:
        tanh = 2 * tl.sigmoid(2 * x / tl.cast(softcap, tl.float32)) - 1
        x = tl.cast(softcap, tl.float32) * tanh
    return tl.where(inside, x * tl.cast(inverse_t, tl.float32), -float("inf")), tanh


@triton.jit
def _score(
    tile,
    ids,
    out,
    vocabulary,
    stride,
    bias,
    scale,
    softcap,
    inverse_t,
    WITH_ENTROPY: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Writes logp, entropy, total and max z of one row to out [4, rows]."""
    row, rows = tl.program_id(0).to(tl.int64), tl.num_programs(0)  # 64 bits: rows x V may exceed 2^31
    logits, target = tile + row * stride, tl.load(ids + row)
    # Stage 1: max z, and the sums of e^(z - max z) and of its product with z - max z, both without the target.
    # The maximum is found on the way (online softmax: Milakov and Gimelshein, 2018): when it rises, the sums shrink.
    maximum, others, weighted = -float("inf"), 0.0, 0.0
    for start in range(0, vocabulary, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        inside = columns < vocabulary
        x = tl.load(logits + columns, mask=inside, other=0.0)
        z, _ = _transform(x, columns, inside, bias, scale, softcap, inverse_t, HAS_BIAS, HAS_SOFTCAP)
        new_maximum = tl.maximum(maximum, tl.max(z, axis=0))
        # While every logit so far is -inf, there is nothing to rescale and nothing to subtract.
        base = tl.where(new_maximum == -float("inf"), 0.0, new_maximum)
        shrink = tl.exp(tl.where(maximum == -float("inf"), -float("inf"), maximum - base))
        shifted = z - base
        exponential = tl.where(columns == target, 0.0, tl.exp(shifted))
        if WITH_ENTROPY:
            # sum e (z - new maximum) = shrink (sum e (z - maximum) + (maximum - new maximum) sum e)
            moved = tl.where(maximum == -float("inf"), 0.0, maximum - base)
            product = exponential * tl.where(exponential > 0, shifted, 0.0)  # 0 x -inf is 0 here
            weighted = shrink * (weighted + moved * others) + tl.sum(product, axis=0)
        others = others * shrink + tl.sum(exponential, axis=0)
        maximum = new_maximum
    # Stage 2: the target, and the log-probability as in `rows_torch.score`.
    column = target + tl.arange(0, 1)
    x = tl.load(logits + column)
    z, _ = _transform(x, column, column < vocabulary, bias, scale, softcap, inverse_t, HAS_BIAS, HAS_SOFTCAP)
    shifted = tl.sum(z, axis=0) - maximum
    at_target = tl.exp(shifted)
    log_odds = tl.log(others) - shifted  # log((1 - p) / p)
    # -log(1 + e^log_odds). log(1 + u) loses a small u, u log(w) / (w - 1) with w = 1 + u does not (Kahan).
    u = tl.exp(-tl.abs(log_odds))
    w = 1 + u
    log1p = tl.where(w == 1, u, u * tl.log(w) / tl.where(w == 1, 1.0, w - 1))
    total = others + at_target
    tl.store(out + row, -(tl.maximum(log_odds, 0.0) + log1p))
    tl.store(out + 2 * rows + row, total)
    tl.store(out + 3 * rows + row, maximum)
    # Stage 3: the entropy, log(total) - sum p (z - max z).
    if WITH_ENTROPY:
        weighted += at_target * tl.where(at_target > 0, shifted, 0.0)
        tl.store(out + rows + row, tl.log(total) - weighted / total)


@triton.jit
def _differentiate(
    tile,
    ids,
    scores,
    incoming,
    gradient,
    gradient_stride,
    vocabulary,
    stride,
    bias,
    scale,
    softcap,
    inverse_t,
    WITH_ENTROPY: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_SOFTCAP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Writes dL/dlogits of one row. scores: [4, rows] as `_score` wrote them; incoming: dL/dlogp, dL/dentropy [2, rows]."""
    row, rows = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    logits, target = tile + row * stride, tl.load(ids + row)
    c, logp = tl.load(incoming + row), tl.load(scores + row)
    total, maximum = tl.load(scores + 2 * rows + row), tl.load(scores + 3 * rows + row)
    # 1 - p of the target is -expm1(logp): a series where 1 - e^logp would cancel
    series = -logp * (1 + logp / 2 * (1 + logp / 3 * (1 + logp / 4)))
    missing = tl.where(logp > -0.05, series, 1 - tl.exp(logp))
    for start in range(0, vocabulary, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        inside = columns < vocabulary
        x = tl.load(logits + columns, mask=inside, other=0.0)
        # The block's gradient goes where this or an earlier block was: all threads must have read it first.
        tl.debug_barrier()
        z, tanh = _transform(x, columns, inside, bias, scale, softcap, inverse_t, HAS_BIAS, HAS_SOFTCAP)
        # dz = c (1[target] - p) - e p (log p + entropy), then through softcap, scale and temperature.
        p = tl.exp(z - maximum) / total
        dz = tl.where(columns == target, c * missing, -c * p)
        if WITH_ENTROPY:
            log_p = tl.where(p > 0, z - maximum - tl.log(total), 0.0)
            dz -= tl.load(incoming + rows + row) * p * (log_p + tl.load(scores + rows + row))
        if HAS_SOFTCAP:
            dz *= 1 - tanh * tanh
        dz *= tl.cast(scale, tl.float32) * tl.cast(inverse_t, tl.float32)
        tl.store(gradient + row * gradient_stride + columns, dz.to(gradient.dtype.element_ty), mask=inside)
