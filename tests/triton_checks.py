"""Checks of the Triton row kernel, run by test_rows_triton.py in a process with TRITON_INTERPRET=1."""

from itertools import product

import torch

from r1lab.kernels import GRPOSpec, fused_grpo_loss, linear_logp, rows_torch, rows_triton, tiles
from r1lab.kernels.rows_torch import Head

rows_triton.BLOCK = 64  # so that these vocabularies take one block, several, and a part of one
BACKENDS = ("torch", "triton")
HEADS = ({}, {"temperature": 0.6, "logit_scale": 1.5, "bias": True}, {"softcap": 5.0, "temperature": 1.3})


def toy(vocabulary, width=16):
    """(hidden, weight, ids, mask, advantages) and a bias."""
    generator = torch.Generator().manual_seed(vocabulary)
    hidden = torch.randn(3, 4, width, generator=generator).requires_grad_()
    weight = torch.randn(vocabulary, width, generator=generator).requires_grad_()
    ids = torch.randint(vocabulary, (3, 4), generator=generator)
    mask = torch.arange(4) < torch.tensor([4, 3, 2])[:, None]
    bias = torch.randn(vocabulary, generator=generator).requires_grad_()
    return (hidden, weight, ids, mask, torch.tensor([1.0, -0.5, 0.0])), bias


def all_close(some, others, tolerance=5e-6):
    return all((a - b).norm() <= tolerance * b.norm() + 1e-12 for a, b in zip(some, others, strict=True))


def equals_the_torch_backend():
    for vocabulary, head, (entropy_coef, off_policy) in product((7, 131), HEADS, ((0.0, False), (0.1, True))):
        inputs, bias = toy(vocabulary)
        leaves = inputs[:2] if "bias" not in head else (*inputs[:2], bias)
        settings = {"spec": GRPOSpec("grpo"), **head, "bias": bias if "bias" in head else None}
        settings |= {
            "old_logp": torch.full((3, 4), -3.0) if off_policy else None,
            "entropy_coef": entropy_coef,
        }
        results = []
        for backend in BACKENDS:
            out = fused_grpo_loss(*inputs, **settings, rows_per_chunk=5, backend=backend)
            gradients = torch.autograd.grad(out.loss, leaves)
            results.append((out.loss.detach(), out.logp, out.entropy, *gradients))
        assert all_close(*results), (vocabulary, head, entropy_coef, off_policy)


def confident_tokens_offsets_and_banned_tokens():
    (hidden, weight, ids, mask, advantages), _ = toy(131)
    for bias in (
        torch.zeros(131).index_fill_(0, ids[0, :1], 60.0),
        torch.full((131,), 100.0),
        torch.full((131,), -100.0),
        torch.zeros(131).masked_fill_(torch.arange(131) >= 128, float("-inf")),
        torch.zeros(131).masked_fill_(torch.arange(131) < 64, float("-inf")),
    ):
        allowed = bias.isfinite().nonzero()[:, 0]
        targets, settings, results = allowed[ids % len(allowed)], {"spec": GRPOSpec(), "bias": bias}, []
        for backend in BACKENDS:
            out = fused_grpo_loss(hidden, weight, targets, mask, advantages, **settings, backend=backend)
            results.append((out.logp, out.entropy, *torch.autograd.grad(out.loss, (hidden, weight))))
        assert all(x.isfinite().all() for x in results[1]) and all_close(*results, 1e-5)


def gradients_of_linear_logp():
    (hidden, weight, ids, _, _), _ = toy(131)
    results = []
    for backend in BACKENDS:
        out = linear_logp(hidden[0], weight, ids[0], entropy=True, backend=backend)
        gradients = torch.autograd.grad(out.logp.square().sum(), (hidden, weight))
        results.append((out.logp.detach(), out.entropy, *gradients))
    assert all_close(*results)


def half_precision_gradients_share_the_memory_of_the_logits():
    """On a GPU the products are in bfloat16: each row's gradient goes into the first half of its own logits."""
    generator, ids = torch.Generator().manual_seed(0), torch.arange(5) * 200
    logits, c = torch.randn(5, 1003, generator=generator), torch.randn(5, generator=generator)
    for dtype, tolerance in ((torch.float16, 1e-3), (torch.bfloat16, 8e-3)):
        head = Head(torch.empty(131, 1, dtype=dtype), None, 0.7, 1.0, None)
        one, other = logits.clone(), logits.clone()
        scores = rows_torch.score(one, ids, head, False)
        wanted, scale = rows_torch.differentiate(one, ids, scores, head, c, None)
        scores = rows_triton.score(other, ids, head, False)
        got, _ = rows_triton.differentiate(other, ids, scores, head, c, None)
        assert got.dtype == dtype and got.data_ptr() == other.data_ptr()
        assert all_close([got.float()], [wanted * scale[:, None]], tolerance)


def float16_products_keep_small_coefficients():
    """A step of a million tokens: its coefficients lie below float16's range, and a GPU multiplies in float16."""

    def multiply(a, b, out):
        out.copy_(a.float() @ b.float())  # CUDA's product of halves: summed and kept in float32

    (hidden, weight, *rest), _ = toy(131)
    half = hidden.detach().half().requires_grad_()
    exact, weight = half.detach().float().requires_grad_(), weight.detach()
    for entropy_coef in (0.0, 1e-7):
        settings = {"spec": GRPOSpec(), "normalizer": 1e9, "entropy_coef": entropy_coef}
        wanted = fused_grpo_loss(exact, weight, *rest, backend="torch", **settings)
        kept = tiles._product_dtype, tiles._matmul
        tiles._product_dtype, tiles._matmul = lambda *_: torch.float16, multiply
        got = fused_grpo_loss(half, weight, *rest, backend="triton", **settings)
        tiles._product_dtype, tiles._matmul = kept
        (gradient,), (reference,) = (
            torch.autograd.grad(o.loss * 1e8, h) for o, h in ((got, half), (wanted, exact))
        )
        assert all_close([got.logp], [wanted.logp], 2e-3)
        assert gradient.any() and all_close([gradient.float()], [reference], 4e-3)


if __name__ == "__main__":
    equals_the_torch_backend()
    confident_tokens_offsets_and_banned_tokens()
    gradients_of_linear_logp()
    half_precision_gradients_share_the_memory_of_the_logits()
    float16_products_keep_small_coefficients()
    print("all checks passed")
