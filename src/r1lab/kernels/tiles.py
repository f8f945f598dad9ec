"""The batch in tiles: rows of hidden states go through the head a few hundred at a time, and their gradient comes back.

`fused` decides which rows, and with which coefficients.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from r1lab.kernels import rows_torch
from r1lab.kernels.rows_torch import Head

# The largest tile on a CPU: 48 MB stays in few pages, and more rows make the products no faster (measured).
CPU_TILE_BYTES, CPU_ROWS = 48 << 20, 384
# Rows of a tile on a GPU. With a frozen head the tile is the largest tensor, so it is small. A trained head reads and
# writes its whole gradient once per tile, so tiles are few and large. Not tuned on a GPU yet: `make gpu-check` does it.
GPU_ROWS_FROZEN, GPU_ROWS_TRAINED = 512, 1024


class TiledHead:
    """One call's inputs, its results so far (logp, entropy), and the loop that takes rows through tiles of logits."""

    def __init__(self, hidden, head: Head, ids, mask, with_entropy: bool, rows_per_chunk, backend):
        vocabulary, width = head.weight.shape
        if hidden.shape != (*ids.shape, width) or ids.shape != mask.shape:
            shapes = {"hidden": hidden, "weight": head.weight, "ids": ids, "mask": mask}
            shapes = ", ".join(f"{name} {tuple(x.shape)}" for name, x in shapes.items())
            raise ValueError(f"shapes do not fit: {shapes}; see the docstring")
        # Rows on padding are left out here once, so nothing later computes them.
        self.rows, self.ids = (mask != 0).flatten().nonzero()[:, 0], ids.flatten()
        low, high = (int(x) for x in self.ids[self.rows].aminmax()) if len(self.rows) else (0, 0)
        if low < 0 or high >= vocabulary:
            token = low if low < 0 else high
            raise IndexError(f"token {token} is outside the vocabulary of {vocabulary}: mask it or fix ids")
        self.kernel, learns = _row_kernel(backend, hidden), head.weight.requires_grad
        self.product = _product_dtype(hidden, learns, self.kernel)
        exact = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        bias = None if head.bias is None else head.bias.detach().to(exact)
        self.head = head._replace(weight=head.weight.detach().to(self.product), bias=bias)
        self.hidden = hidden.detach()
        # Results of all rows; those that are never scored stay 0.
        self.logp = torch.zeros(self.ids.shape, dtype=exact, device=hidden.device)
        self.entropy = torch.zeros_like(self.logp) if with_entropy else None
        if hidden.device.type == "cpu":  # whole blocks of 64 rows, as many as fit
            default = max(64, min(CPU_ROWS, CPU_TILE_BYTES // (4 * vocabulary) // 64 * 64))
        else:
            default = GPU_ROWS_TRAINED if learns else GPU_ROWS_FROZEN
        self.chunk = rows_per_chunk or default

    def zero_gradients(self, needed) -> tuple[Tensor | None, ...]:
        """Room for the gradients of hidden states, weight and bias, None where one is not needed.

        Those of the head are sums over chunks, so they are exact whatever its dtype.
        """
        # Before the loss scale is applied, float16 cannot hold the gradients of hidden states.
        dtype = self.logp.dtype if self.hidden.dtype == torch.float16 else self.hidden.dtype
        return (
            self.logp.new_zeros(self.hidden.shape, dtype=dtype) if needed[0] else None,
            self.logp.new_zeros(self.head.weight.shape) if needed[1] else None,
            torch.zeros_like(self.head.bias) if needed[2] else None,
        )

    def run(
        self,
        rows: Tensor,
        coefficients: Tensor | Callable[[Tensor, Tensor], Tensor] | None = None,
        gradients: tuple[Tensor | None, ...] | None = None,
        entropy_gradient: float = 0.0,
    ) -> None:
        """Score `rows`; given `coefficients` and `gradients`, also add what they contribute to the gradients.

        coefficients: dL/dlogp of every row, or a function that computes it from some rows and their logp.
        entropy_gradient: dL/dentropy of each row.
        """
        head, length = self.head, self.hidden.shape[1]
        space = self.logp.new_empty(min(self.chunk, len(rows)), len(head.weight))
        for index in rows.split(self.chunk) if len(rows) else ():
            # Stage 1: a tile of logits, in the memory of the one before.
            h = self.hidden[index // length, index % length].to(self.product)
            tile, ids = space[: len(index)], self.ids[index]
            _matmul(h, head.weight.t(), tile)
            # Stage 2: the log-probabilities.
            scores = self.kernel.score(tile, ids, head, self.entropy is not None)
            self.logp[index] = scores.logp
            if self.entropy is not None:
                self.entropy[index] = scores.entropy
            if coefficients is None or gradients is None:
                continue
            # Stage 3: dL/dlogits over the logits. `scale` is what is left to multiply: [rows, 1], or one number, or None.
            c = coefficients(index, scores.logp) if callable(coefficients) else coefficients[index]
            unit = None
            e = torch.full_like(c, entropy_gradient) if entropy_gradient else None
            if self.product == torch.float16:
                # A coefficient is about 1 / tokens, and float16 ends at 6e-8: differentiate with coefficients of at most
                # 1, and multiply by the unit where the result is float32.
                unit = torch.maximum(c.abs().amax(), c.new_tensor(max(abs(entropy_gradient), 1e-30)))
                c, e = c / unit, None if e is None else e / unit
            dz, scale = self.kernel.differentiate(tile, ids, scores, head, c, e)
            dz, scale = dz.to(self.product), unit if scale is None else scale[:, None]
            # Stage 4: two products, for the gradients of hidden states and head.
            if gradients[0] is not None:
                dh = self.logp.new_empty(h.shape)
                _matmul(dz, head.weight, dh)
                dh = dh if scale is None else dh.mul_(scale)
                gradients[0][index // length, index % length] = dh.to(gradients[0].dtype)
            if gradients[1] is not None:
                _add_matmul(gradients[1], dz.t(), h if scale is None else h * scale)
            if gradients[2] is not None:
                dz = dz if scale is None else dz.to(self.logp.dtype) * scale
                gradients[2].add_(dz.sum(0, dtype=self.logp.dtype))


def _matmul(a: Tensor, b: Tensor, out: Tensor) -> None:
    """out = a @ b; operands in half precision are summed and kept in the dtype of `out` (CUDA only)."""
    torch.mm(a, b, out=out, **({} if a.dtype == out.dtype else {"out_dtype": out.dtype}))


def _add_matmul(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a @ b, summed in the dtype of `total`."""
    torch.addmm(total, a, b, out=total, **({} if a.dtype == total.dtype else {"out_dtype": total.dtype}))


def _product_dtype(hidden: Tensor, weight_learns: bool, kernel) -> torch.dtype:
    """The dtype of the inputs of the matrix products. Their results are float32, or float64 for float64.

    A GPU takes bfloat16 as it is, and float16 where the head is frozen: the gradient of a trained head would need more
    range than float16 has. CPUs are slow at both.
    """
    if hidden.dtype == torch.float64:
        return torch.float64
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    frozen_half = dtype == torch.float16 and not weight_learns and kernel is not rows_torch
    return dtype if kind == "cuda" and (dtype == torch.bfloat16 or frozen_half) else torch.float32


def _row_kernel(backend: str, hidden: Tensor):
    """The module whose `score` and `differentiate` work on a tile. Triton is imported only where it is used."""
    if backend not in ("auto", "torch", "triton"):
        raise ValueError(f"unknown backend {backend!r}: choose 'auto', 'torch' or 'triton'")
    if backend == "triton" and hidden.dtype == torch.float64:
        raise ValueError("the triton backend works in float32: use backend='torch' for float64")
    if backend == "torch" or (backend == "auto" and not (hidden.is_cuda and hidden.dtype != torch.float64)):
        return rows_torch
    from r1lab.kernels import rows_triton

    return rows_triton
