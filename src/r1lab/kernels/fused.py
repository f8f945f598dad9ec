"""Log-probabilities and the GRPO loss straight from hidden states, without ever holding the logits of a batch.

The batch goes through the head a few hundred rows at a time: a matrix product makes a tile of logits, the row kernel turns
it into log-probabilities and then, in the same memory, into dL/dlogits, and two more products add it to the gradients of
the hidden states and of the head. The gradient is ready when the forward pass ends, after three products (two where the
head is frozen); to make the tiles again in backward would take a fourth. This works because the loss is a sum over tokens
whose coefficients dL/dlogp are known before the pass (on-policy) or as soon as a tile is scored; only a coefficient that
reads a whole completion takes a scoring pass of its own. Rows with coefficient 0 are scored and not differentiated, rows on
padding are never touched.

Memory: a tile, the gradients, and nothing else as large as the vocabulary. Statistics, loss and gradient sums are float32
(float64 for float64 inputs) whatever the inputs are.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from r1lab.kernels import grpo_reference as grpo
from r1lab.kernels import rows_torch
from r1lab.kernels.rows_torch import Head, Scores

CPU_TILE_BYTES, CPU_ROWS = 48 << 20, 384  # the largest tile
# Rows of a tile on a GPU. With a frozen head the tile is the largest tensor, so it is small. A trained head reads and
# writes its whole gradient once per tile, so tiles are few and large. Not tuned on a GPU yet: `make gpu-check` does it.
GPU_ROWS_FROZEN, GPU_ROWS_TRAINED = 512, 1024


class LogpOut(NamedTuple):
    """logp and entropy: [N] in nats, 0 on rows that were masked; entropy is None unless asked for."""

    logp: Tensor
    entropy: Tensor | None


class FusedOut(NamedTuple):
    """`loss` is differentiable, once. logp, entropy: [B, T] in nats, detached, 0 on rows that were not scored."""

    loss: Tensor
    logp: Tensor
    entropy: Tensor
    stats: dict[str, Tensor | int]


class Gradients(NamedTuple):
    hidden: Tensor | None
    weight: Tensor | None
    bias: Tensor | None


# (rows, their logp) -> dL/dlogp and dL/dentropy (or None) of these rows
Coefficients = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]


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
    """`reference_grpo` of the head's log-probabilities, with its gradient, in one pass over the vocabulary.

    hidden: [B, T, H] of any float dtype, hidden[:, t] predicts ids[:, t], need not be contiguous; weight: [V, H];
    bias: [V]; ids, mask: [B, T], 0 in the mask is padding; the rest of the loss's arguments as in `reference_grpo`.
    Logits are softcap(logit_scale * (hidden @ weight.T + bias)) / temperature. Rows that cannot learn (advantage 0 and
    neither KL nor entropy term) are scored for the metrics only, and not at all with score_dead_rows=False.
    rows_per_chunk trades memory for time, not results. backend: "torch", "triton" or "auto" (triton on CUDA).

    stats: `tokens`, `scored` and `live` rows, and the means of `grpo_reference.rollout_stats`. Raises ValueError where
    shapes do not fit and on a token to which the head gives probability 0, IndexError on one outside the vocabulary,
    RuntimeError on a second derivative.
    """
    head = Head(weight, bias, temperature, logit_scale, softcap)
    sweep = _Sweep(hidden, head, ids, mask, rows_per_chunk, backend, with_entropy=True)
    rollout = grpo.make_rollout(
        mask,
        advantages,
        spec,
        old_logp=old_logp,
        ref_logp=ref_logp,
        is_ratio=is_ratio,
        normalizer=normalizer,
        dtype=sweep.logp.dtype,
    )
    stats: dict[str, Tensor | int] = {}
    switches = (entropy_coef, score_dead_rows, torch.is_grad_enabled())  # always off inside Function.forward
    loss, logp, entropy = _FusedGRPO.apply(hidden, weight, bias, sweep, rollout, spec, switches, stats)
    return FusedOut(loss, logp, entropy, {**stats, **grpo.rollout_stats(logp, rollout, spec)})


def linear_logp(
    hidden: Tensor,
    weight: Tensor,
    ids: Tensor,
    *,
    bias: Tensor | None = None,
    temperature: float = 1.0,
    logit_scale: float = 1.0,
    softcap: float | None = None,
    entropy: str = "none",
    row_mask: Tensor | None = None,
    rows_per_chunk: int | None = None,
    backend: str = "auto",
) -> LogpOut:
    """Log-probability of ids[n] under the head, differentiable, for any loss on top: [N] in float32 (float64).

    hidden: [N, H]; weight: [V, H]; ids: [N]; row_mask: [N], 0 skips a row; entropy: "none", "detached" (for a metric) or
    "grad"; the rest, and what is raised, as in `fused_grpo_loss`. With a frozen head, d logp / d hidden is kept from the
    forward pass; otherwise backward makes the tiles again, of the rows whose gradient is not 0.
    """
    if entropy not in ("none", "detached", "grad"):
        raise ValueError(f"unknown entropy {entropy!r}: choose 'none', 'detached' or 'grad'")
    head = Head(weight, bias, temperature, logit_scale, softcap)
    mask = torch.ones_like(ids) if row_mask is None else row_mask
    hidden = hidden[None]
    sweep = _Sweep(
        hidden, head, ids[None], mask[None], rows_per_chunk, backend, with_entropy=entropy != "none"
    )
    logp, entropies = _LinearLogp.apply(
        hidden, weight, bias, sweep, entropy == "grad", torch.is_grad_enabled()
    )
    return LogpOut(logp, entropies)


class _FusedGRPO(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, bias, sweep, rollout, spec, switches, stats):
        entropy_coef, score_dead_rows, with_grad = switches
        gradients = sweep.zero_gradients(ctx.needs_input_grad) if with_grad else None
        rows, shape = sweep.rows, rollout.mask.shape
        pull = -entropy_coef / max(1, len(rows))  # dL/dentropy of every row

        def learn_from(c: Tensor, index: Tensor):
            return c, c.new_full(index.shape, pull) if entropy_coef else None

        def per_token(index: Tensor, logp: Tensor):
            return learn_from(grpo.coefficients(logp[:, None], rollout.rows(index), spec)[:, 0], index)

        def known(c: Tensor) -> Coefficients:
            return lambda index, _: learn_from(c.flatten()[index], index)

        learn = per_token if grpo.known_per_token(spec) else None
        can_learn = rollout.weights * rollout.advantages != 0
        if grpo.known_before_scoring(rollout, spec):
            c = grpo.coefficients(sweep.logp.view(shape), rollout, spec)
            learn, can_learn = known(c), c != 0
        elif learn is None:
            can_learn = can_learn.any(-1, keepdim=True).expand(shape)
        if spec.beta or entropy_coef:
            can_learn = rollout.mask
        can_learn = can_learn.flatten()[rows]
        live = rows[can_learn]
        if score_dead_rows:
            sweep.run(rows[~can_learn])
        sweep.run(live, learn, gradients)
        logp, entropy = sweep.logp.view(shape), sweep.entropy.view(shape)
        if learn is None and gradients:
            c = grpo.coefficients(logp, rollout, spec)
            sweep.run(live if entropy_coef else live[c.flatten()[live] != 0], known(c), gradients)
        if logp.isneginf().any():
            raise ValueError(
                "the head gives probability 0 to a token of the batch: mask that token, or allow it"
            )
        stats.update(tokens=len(rows), scored=len(rows) if score_dead_rows else len(live), live=len(live))
        ctx.save_for_backward(*(gradients or (None,) * 3))
        ctx.dtypes = _dtypes(hidden, weight, bias)
        ctx.mark_non_differentiable(logp, entropy)
        ctx.set_materialize_grads(False)
        loss = grpo.rollout_loss(logp, rollout, spec)
        if entropy_coef:
            loss = loss - entropy_coef * grpo.masked_mean(entropy, rollout.mask)
        return loss, logp, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_loss, *_):
        if grad_loss is None:
            return (None,) * 8
        return *_scale(ctx.saved_tensors, grad_loss, ctx.dtypes), *(None,) * 5


class _LinearLogp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, weight, bias, sweep, entropy_grad, with_grad):
        ctx.needs = ctx.needs_input_grad if with_grad else (False,) * 3
        slope = None  # d logp / d hidden: all a frozen head needs
        if ctx.needs[0] and not (ctx.needs[1] or ctx.needs[2] or entropy_grad):
            slope = sweep.zero_gradients(ctx.needs)
            sweep.run(sweep.rows, lambda _, logp: (torch.ones_like(logp), None), slope)
            ctx.save_for_backward(slope.hidden)
        else:
            sweep.run(sweep.rows)
            ctx.save_for_backward(hidden, weight, bias)
            ctx.sweep = sweep
        ctx.kept, ctx.dtypes = slope is not None, _dtypes(hidden, weight, bias)
        logp, entropy = sweep.logp, sweep.entropy
        if entropy is not None and not entropy_grad:
            ctx.mark_non_differentiable(entropy)
        # What is returned must be neither kept (a cycle) nor written to when backward scores the rows again.
        sweep.logp, sweep.entropy = torch.zeros_like(logp), torch.zeros_like(logp) if entropy_grad else None
        ctx.set_materialize_grads(False)
        return logp, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_logp, grad_entropy):
        if grad_logp is None and grad_entropy is None:
            return (None,) * 6
        saved = ctx.saved_tensors  # also raises if one of them was changed since
        if ctx.kept:
            return (saved[0] * grad_logp[None, :, None]).to(ctx.dtypes[0]), *(None,) * 5
        c = torch.zeros_like(grad_entropy) if grad_logp is None else grad_logp
        pulled = c != 0 if grad_entropy is None else (c != 0) | (grad_entropy != 0)
        sweep, gradients = ctx.sweep, ctx.sweep.zero_gradients(ctx.needs)

        def learn(index: Tensor, _):
            return c[index], None if grad_entropy is None else grad_entropy[index]

        sweep.run(sweep.rows[pulled[sweep.rows]], learn, gradients)
        return *_cast(gradients, ctx.dtypes), *(None,) * 3


def _dtypes(*tensors: Tensor | None) -> list[torch.dtype | None]:
    return [None if x is None else x.dtype for x in tensors]


def _cast(gradients, dtypes) -> list[Tensor | None]:
    return [None if x is None else x.to(dtype) for x, dtype in zip(gradients, dtypes, strict=True)]


def _scale(gradients, factor: Tensor, dtypes) -> list[Tensor | None]:
    """`gradients` times the gradient of the loss, each in the dtype of its parameter.

    Out of place, since backward may run again (retain_graph). A factor of 1, the usual one, costs nothing on a CPU. On
    a GPU, reading the factor would make the host wait, so one pass scales and rounds, without a float32 copy in between.
    """
    if factor.device.type == "cpu" and factor == 1:
        return _cast(gradients, dtypes)
    return [
        None if x is None else torch.mul(x, factor, out=x.new_empty(x.shape, dtype=dtype))
        for x, dtype in zip(gradients, dtypes, strict=True)
    ]


class _Sweep:
    """One call's inputs, its results so far, and the loop that takes rows through tiles of logits."""

    def __init__(self, hidden, head: Head, ids, mask, rows_per_chunk, backend, *, with_entropy: bool):
        vocabulary, width = head.weight.shape
        if hidden.shape != (*ids.shape, width) or ids.shape != mask.shape:
            raise ValueError(
                f"shapes do not fit: hidden {tuple(hidden.shape)}, weight {tuple(head.weight.shape)}, "
                f"ids {tuple(ids.shape)}, mask {tuple(mask.shape)}; see the docstring"
            )
        exact = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        self.kernel = _row_kernel(backend, hidden)
        self.product = _product_dtype(hidden, head.weight.requires_grad, self.kernel)
        bias = None if head.bias is None else head.bias.detach().to(exact)
        self.head = head._replace(weight=head.weight.detach().to(self.product), bias=bias)
        self.hidden, self.ids = hidden.detach(), ids.flatten()
        self.rows = (mask != 0).flatten().nonzero()[:, 0]
        if len(self.rows):
            low, high = (int(x) for x in self.ids[self.rows].aminmax())
            if low < 0 or high >= vocabulary:
                raise IndexError(
                    f"token {low if low < 0 else high} is outside the vocabulary of {vocabulary}: mask it or fix ids"
                )
        self.logp = torch.zeros(self.ids.shape, dtype=exact, device=hidden.device)
        self.entropy = torch.zeros_like(self.logp) if with_entropy else None
        self.chunk = rows_per_chunk or _default_rows(vocabulary, hidden.device, head.weight.requires_grad)

    def zero_gradients(self, needs) -> Gradients | None:
        """Room for the gradients that are needed. The head's sum over chunks, so they are exact whatever its dtype."""
        if not any(needs[:3]):
            return None
        # Before the loss scale is applied, float16 cannot hold them.
        dtype = self.logp.dtype if self.hidden.dtype == torch.float16 else self.hidden.dtype
        return Gradients(
            self.logp.new_zeros(self.hidden.shape, dtype=dtype) if needs[0] else None,
            self.logp.new_zeros(self.head.weight.shape) if needs[1] else None,
            torch.zeros_like(self.head.bias) if needs[2] else None,
        )

    def run(self, rows: Tensor, learn: Coefficients | None = None, gradients: Gradients | None = None):
        """Score `rows`; given `learn` and `gradients`, also add what they contribute to the gradients."""
        head, length = self.head, self.hidden.shape[1]
        space = self.logp.new_empty(min(self.chunk, len(rows)), len(head.weight))
        for index in rows.split(self.chunk) if len(rows) else ():
            h = self.hidden[index // length, index % length].to(self.product)
            tile, ids = space[: len(index)], self.ids[index]
            _matmul(h, head.weight.t(), tile)
            scores = self.kernel.score(tile, ids, head, self.entropy is not None)
            self.logp[index] = scores.logp
            if self.entropy is not None:
                self.entropy[index] = scores.entropy
            if learn is None or gradients is None:
                continue
            c, e = learn(index, scores.logp)
            # On a CPU the products skip clipped rows. On a GPU the host would have to wait for their number in every
            # chunk, and that wait costs more than the products.
            if e is None and tile.device.type == "cpu":
                kept = _close_gaps(tile, c != 0)
                index, ids, h, c = index[kept], ids[kept], h[kept], c[kept]
                scores = Scores(*(x if x is None else x[kept] for x in scores))
                tile = tile[: len(kept)]
            unit = None
            if self.product == torch.float16:
                # A coefficient is about 1 / tokens, and float16 ends at 6e-8: differentiate with coefficients of at most
                # 1, and multiply by the unit where the result is float32.
                unit = c.abs().amax() if e is None else torch.maximum(c.abs().amax(), e.abs().amax())
                unit = unit.clamp(min=1e-30)
                c, e = c / unit, None if e is None else e / unit
            dz, scale = self.kernel.differentiate(tile, ids, scores, head, c, e)
            dz, scale = dz.to(self.product), unit if scale is None else scale[:, None]
            if gradients.hidden is not None:
                dh = self.logp.new_empty(h.shape)
                _matmul(dz, head.weight, dh)
                dh = dh if scale is None else dh.mul_(scale)
                gradients.hidden[index // length, index % length] = dh.to(gradients.hidden.dtype)
            if gradients.weight is not None:
                _add_matmul(gradients.weight, dz.t(), h if scale is None else h * scale)
            if gradients.bias is not None:
                exact = gradients.bias.dtype
                gradients.bias.add_((dz if scale is None else dz.to(exact) * scale).sum(0, dtype=exact))


def _close_gaps(tile: Tensor, live: Tensor) -> Tensor:
    """Move live rows of `tile` from its end into the places of dead ones; returns which row stands where, [live rows]."""
    count = int(live.sum())
    kept = torch.arange(count, device=live.device)
    gaps, movers = (~live[:count]).nonzero()[:, 0], live[count:].nonzero()[:, 0] + count
    if len(gaps):
        tile[gaps], kept[gaps] = tile[movers], movers
    return kept


def _product_dtype(hidden: Tensor, weight_learns: bool, kernel) -> torch.dtype:
    """The dtype of the inputs of the matrix products. Their results are float32, or float64 for float64.

    A GPU takes bfloat16 as it is, and float16 where the head is frozen: the gradient of a trained head would need more
    range than float16 has. CPUs are slow at both.
    """
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    if hidden.dtype == torch.float64:
        return torch.float64
    if kind == "cuda" and dtype == torch.bfloat16:
        return dtype
    if kind == "cuda" and dtype == torch.float16 and not weight_learns and kernel is not rows_torch:
        return dtype
    return torch.float32


def _matmul(a: Tensor, b: Tensor, out: Tensor) -> None:
    """out = a @ b; operands in half precision are summed and kept in the dtype of `out` (CUDA only)."""
    if a.dtype == out.dtype:
        torch.mm(a, b, out=out)
    else:
        torch.mm(a, b, out_dtype=out.dtype, out=out)


def _add_matmul(total: Tensor, a: Tensor, b: Tensor) -> None:
    if a.dtype == total.dtype:
        total.addmm_(a, b)
    else:
        torch.addmm(total, a, b, out_dtype=total.dtype, out=total)


def _default_rows(vocabulary: int, device: torch.device, weight_learns: bool) -> int:
    if device.type != "cpu":
        return GPU_ROWS_TRAINED if weight_learns else GPU_ROWS_FROZEN
    return max(64, min(CPU_ROWS, CPU_TILE_BYTES // (4 * vocabulary) // 64 * 64))


def _row_kernel(backend: str, hidden: Tensor):
    if backend not in ("auto", "torch", "triton"):
        raise ValueError(f"unknown backend {backend!r}: choose 'auto', 'torch' or 'triton'")
    if backend == "triton" and hidden.dtype == torch.float64:
        raise ValueError("the triton backend works in float32: use backend='torch' for float64")
    if backend == "auto":
        backend = "triton" if hidden.is_cuda and hidden.dtype != torch.float64 else "torch"
    if backend == "torch":
        return rows_torch
    from r1lab.kernels import rows_triton

    return rows_triton
