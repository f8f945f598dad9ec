"""Checks of the Triton row kernel, run by test_rows_triton.py in a process with TRITON_INTERPRET=1."""

import torch

from r1lab.kernels import GRPOSpec, fused, fused_grpo_loss, linear_logp, rows_triton

rows_triton.BLOCK = 64  # so that these vocabularies take one block, several, and a part of one
HEADS = {
    "plain": {},
    "bias, scale, temperature": {"temperature": 0.6, "logit_scale": 1.5, "bias": True},
    "softcap": {"softcap": 5.0, "temperature": 1.3},
}


def toy(vocabulary, width=16):
    draw = torch.Generator().manual_seed(vocabulary)
    hidden = torch.randn(3, 4, width, generator=draw)
    weight = torch.randn(vocabulary, width, generator=draw)
    ids = torch.randint(vocabulary, (3, 4), generator=draw)
    mask = torch.arange(4) < torch.tensor([4, 3, 2])[:, None]
    return (
        hidden,
        weight,
        torch.randn(vocabulary, generator=draw),
        ids,
        mask,
        torch.tensor([1.0, -0.5, 0.0]),
    )


def close(a, b, tolerance=5e-6):
    return (a - b).norm() <= tolerance * b.norm() + 1e-12


def equals_the_torch_backend():
    for vocabulary in (7, 131):
        for name, head in HEADS.items():
            hidden, weight, bias, ids, mask, advantages = toy(vocabulary)
            inputs = [x.requires_grad_() for x in (hidden, weight, bias)][: 3 if head.get("bias") else 2]
            head = {**head, "bias": bias if head.get("bias") else None}
            for entropy_coef, off_policy in ((0.0, False), (0.1, True)):
                results = []
                for backend in ("torch", "triton"):
                    out = fused_grpo_loss(
                        hidden,
                        weight,
                        ids,
                        mask,
                        advantages,
                        spec=GRPOSpec("grpo"),
                        old_logp=torch.full((3, 4), -3.0) if off_policy else None,
                        entropy_coef=entropy_coef,
                        rows_per_chunk=5,
                        backend=backend,
                        **head,
                    )
                    gradients = torch.autograd.grad(out.loss, inputs)
                    results.append((out.loss.detach(), out.logp, out.entropy, *gradients))
                for wanted, got in zip(*results, strict=True):
                    assert close(got, wanted), (vocabulary, name, entropy_coef, off_policy)


def confident_tokens_offsets_and_banned_tokens():
    hidden, weight, _, ids, mask, advantages = toy(131)
    for bias in (
        torch.zeros(131).index_fill_(0, ids[0, :1], 60.0),
        torch.full((131,), 100.0),
        torch.full((131,), -100.0),
        torch.zeros(131).masked_fill_(torch.arange(131) >= 128, float("-inf")),
        torch.zeros(131).masked_fill_(torch.arange(131) < 64, float("-inf")),
    ):
        allowed = bias.isfinite().nonzero()[:, 0]
        targets = allowed[ids % len(allowed)] if len(allowed) < 131 else ids
        h = hidden.detach().requires_grad_()
        results = []
        for backend in ("torch", "triton"):
            out = fused_grpo_loss(
                h, weight, targets, mask, advantages, spec=GRPOSpec(), bias=bias, backend=backend
            )
            results.append((out.logp, out.entropy, torch.autograd.grad(out.loss, h)[0]))
        for wanted, got in zip(*results, strict=True):
            assert got.isfinite().all() and close(got, wanted, 1e-5)


def gradients_of_linear_logp():
    hidden, weight, _, ids, _, _ = toy(131)
    for entropy in ("detached", "grad"):
        results = []
        for backend in ("torch", "triton"):
            leaves = [x.detach().clone().requires_grad_() for x in (hidden[0], weight)]
            out = linear_logp(*leaves, ids[0], entropy=entropy, backend=backend)
            loss = out.logp.square().sum() + (out.entropy.sum() if entropy == "grad" else 0)
            results.append((out.logp.detach(), out.entropy.detach(), *torch.autograd.grad(loss, leaves)))
        assert all(close(got, wanted) for wanted, got in zip(*results, strict=True))


def half_precision_gradients_share_the_memory_of_the_logits():
    """On a GPU the products are in bfloat16: each row's gradient goes into the first half of its own logits."""
    from r1lab.kernels import rows_torch
    from r1lab.kernels.rows_torch import Head

    draw = torch.Generator().manual_seed(0)
    logits, ids, c = (
        torch.randn(5, 1003, generator=draw),
        torch.arange(5) * 200,
        torch.randn(5, generator=draw),
    )
    for dtype, tolerance in ((torch.float16, 1e-3), (torch.bfloat16, 8e-3)):
        head = Head(torch.empty(131, 1, dtype=dtype), None, 0.7, 1.0, None)
        one, other = logits.clone(), logits.clone()
        wanted, scale = rows_torch.differentiate(
            one, ids, rows_torch.score(one, ids, head, False), head, c, None
        )
        scores = rows_triton.score(other, ids, head, False)
        got, _ = rows_triton.differentiate(other, ids, scores, head, c, None)
        assert got.dtype == dtype and got.data_ptr() == other.data_ptr()
        assert close(got.float(), wanted * scale[:, None], tolerance)


def float16_products_keep_small_coefficients():
    """A step of a million tokens: its coefficients lie below float16's range, and a GPU multiplies in float16."""

    def multiply(a, b, out):
        out.copy_(a.float() @ b.float())  # CUDA's product of halves: summed and kept in float32

    hidden, weight, _, ids, mask, advantages = toy(131)
    half = hidden.half().requires_grad_()
    exact = half.detach().float().requires_grad_()
    for entropy_coef in (0.0, 1e-7):
        options = {"spec": GRPOSpec(), "normalizer": 1e9, "entropy_coef": entropy_coef}
        wanted = fused_grpo_loss(exact, weight, ids, mask, advantages, backend="torch", **options)
        kept = fused._product_dtype, fused._matmul
        fused._product_dtype, fused._matmul = lambda *_: torch.float16, multiply
        got = fused_grpo_loss(half, weight, ids, mask, advantages, backend="triton", **options)
        fused._product_dtype, fused._matmul = kept
        (gradient,) = torch.autograd.grad(got.loss * 1e8, half)
        (reference,) = torch.autograd.grad(wanted.loss * 1e8, exact)
        assert close(got.logp, wanted.logp, 2e-3) and close(gradient.float(), reference, 4e-3)


if __name__ == "__main__":
    equals_the_torch_backend()
    confident_tokens_offsets_and_banned_tokens()
    gradients_of_linear_logp()
    half_precision_gradients_share_the_memory_of_the_logits()
    float16_products_keep_small_coefficients()
    print("all checks passed")
