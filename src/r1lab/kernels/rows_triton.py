"""The row kernel in Triton, for NVIDIA GPUs: the same two functions as `rows_torch`, one program a row.

`score` reads a row of logits once, keeping a running maximum. `differentiate` reads it again and writes the gradient in the
dtype of the matrix products over the memory it has just read, so that a tile is all the memory of size V there is.
Without a GPU the kernels run under TRITON_INTERPRET=1 (set before triton is imported), slowly: that is how they are tested.
"""

import triton
import triton.language as tl
from torch import Tensor

from r1lab.kernels.rows_torch import Head, Scores

# Columns that one Triton program reads at once, and the warps that share this work. Not tuned on a GPU yet: `make gpu-check` does it.
BLOCK, WARPS = 4096, 16


def score(tile: Tensor, ids: Tensor, head: Head, with_entropy: bool) -> Scores:
    """As `rows_torch.score`, for a float32 tile, which is left as it is."""
    logp, entropy, peak, total = tile.new_empty(4, len(tile))
    _launch(_score, tile, ids, head, (logp, entropy, peak, total), with_entropy)
    return Scores(logp, entropy if with_entropy else None, total, peak=peak)


def differentiate(
    tile: Tensor, ids: Tensor, scores: Scores, head: Head, c: Tensor, e: Tensor | None
) -> tuple[Tensor, None]:
    """As `rows_torch.differentiate`; the result is a view of the tile's memory in the dtype of `head.weight`."""
    gradient = tile.view(head.weight.dtype)[:, : tile.shape[1]]
    entropy = scores.logp if e is None else scores.entropy  # not read where e is None, nor is c in place of e
    rows = (
        c.contiguous(),
        (c if e is None else e).contiguous(),
        scores.logp,
        entropy,
        scores.peak,
        scores.total,
    )
    _launch(_differentiate, tile, ids, head, (gradient, gradient.stride(0), *rows), e is not None)
    return gradient, None


def _launch(kernel, tile: Tensor, ids: Tensor, head: Head, arguments: tuple, with_entropy: bool) -> None:
    rows, vocabulary = tile.shape
    if not rows:
        return
    block = min(BLOCK, triton.next_power_of_2(vocabulary))
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
        num_warps=max(1, min(WARPS, block // 256)),
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
    bend = x
    if HAS_SOFTCAP:
        bend = 2 * tl.sigmoid(2 * x / tl.cast(softcap, tl.float32)) - 1  # tanh
        x = tl.cast(softcap, tl.float32) * bend
    return tl.where(inside, x * tl.cast(inverse_t, tl.float32), -float("inf")), bend


@triton.jit
def _score(
    tile,
    ids,
    logp_out,
    entropy_out,
    peak_out,
    total_out,
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
    row = tl.program_id(0).to(tl.int64)  # rows x V may exceed 2^31
    logits, target = tile + row * stride, tl.load(ids + row)
    peak, others, weighted = (
        -float("inf"),
        0.0,
        0.0,
    )  # max z; sums of e^(z - peak) and of its product with z, no target
    for start in range(0, vocabulary, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        inside = columns < vocabulary
        x = tl.load(logits + columns, mask=inside, other=0.0)
        z, _ = _transform(x, columns, inside, bias, scale, softcap, inverse_t, HAS_BIAS, HAS_SOFTCAP)
        new_peak = tl.maximum(peak, tl.max(z, axis=0))
        # While every logit so far is -inf, there is nothing to rescale and nothing to subtract.
        base = tl.where(new_peak == -float("inf"), 0.0, new_peak)
        shrink = tl.exp(tl.where(peak == -float("inf"), -float("inf"), peak - base))
        shifted = z - base
        exponential = tl.where(columns == target, 0.0, tl.exp(shifted))
        if WITH_ENTROPY:
            # sum e (z - new peak) = shrink (sum e (z - peak) + (peak - new peak) sum e)
            moved = tl.where(peak == -float("inf"), 0.0, peak - base)
            product = exponential * tl.where(exponential > 0, shifted, 0.0)  # 0 x -inf is 0 here
            weighted = shrink * (weighted + moved * others) + tl.sum(product, axis=0)
        others = others * shrink + tl.sum(exponential, axis=0)
        peak = new_peak
    x = tl.load(logits + target + tl.arange(0, 1))
    column = target + tl.arange(0, 1)
    z, _ = _transform(x, column, column < vocabulary, bias, scale, softcap, inverse_t, HAS_BIAS, HAS_SOFTCAP)
    shifted = tl.sum(z, axis=0) - peak
    at_target = tl.exp(shifted)
    odds = tl.log(others) - shifted  # log((1 - p) / p)
    # -log(1 + e^odds). log(1 + u) loses a small u, u log(w) / (w - 1) with w = 1 + u does not (Kahan).
    u = tl.exp(-tl.abs(odds))
    w = 1 + u
    log1p = tl.where(w == 1, u, u * tl.log(w) / tl.where(w == 1, 1.0, w - 1))
    tl.store(logp_out + row, -(tl.maximum(odds, 0.0) + log1p))
    total = others + at_target
    tl.store(peak_out + row, peak)
    tl.store(total_out + row, total)
    if WITH_ENTROPY:
        weighted += at_target * tl.where(at_target > 0, shifted, 0.0)
        tl.store(entropy_out + row, tl.log(total) - weighted / total)


@triton.jit
def _differentiate(
    tile,
    ids,
    gradient,
    gradient_stride,
    c_in,
    e_in,
    logp_in,
    entropy_in,
    peak_in,
    total_in,
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
    row = tl.program_id(0).to(tl.int64)
    logits, target = tile + row * stride, tl.load(ids + row)
    c, logp, peak, total = (
        tl.load(c_in + row),
        tl.load(logp_in + row),
        tl.load(peak_in + row),
        tl.load(total_in + row),
    )
    # 1 - p of the target is -expm1(logp): a series where 1 - e^logp would cancel
    series = -logp * (1 + logp / 2 * (1 + logp / 3 * (1 + logp / 4)))
    missing = tl.where(logp > -0.05, series, 1 - tl.exp(logp))
    for start in range(0, vocabulary, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        inside = columns < vocabulary
        x = tl.load(logits + columns, mask=inside, other=0.0)
        # The block's gradient goes where this or an earlier block was: all threads must have read it first.
        tl.debug_barrier()
        z, bend = _transform(x, columns, inside, bias, scale, softcap, inverse_t, HAS_BIAS, HAS_SOFTCAP)
        p = tl.exp(z - peak) / total
        dz = tl.where(columns == target, c * missing, -c * p)
        if WITH_ENTROPY:
            log_p = tl.where(p > 0, z - peak - tl.log(total), 0.0)
            dz -= tl.load(e_in + row) * p * (log_p + tl.load(entropy_in + row))
        if HAS_SOFTCAP:
            dz *= 1 - bend * bend
        dz *= tl.cast(scale, tl.float32) * tl.cast(inverse_t, tl.float32)
        tl.store(gradient + row * gradient_stride + columns, dz.to(gradient.dtype.element_ty), mask=inside)
