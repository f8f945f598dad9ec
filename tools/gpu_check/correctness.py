"""The kernel against float64 logits: every loss, level and dtype, odd vocabularies, dead rows."""

from itertools import product

import torch

from r1lab.kernels import LOSSES, GRPOSpec, fused_grpo_loss, grpo_loss

# What each dtype of the inputs may cost: |d logp| in nats, then the gradients' relative error (Frobenius norm). In float32
# the sequence losses decide: a ratio of whole completions multiplies the rounding of each of their tokens.
TOLERANCES = {"float32": (1e-4, 5e-5), "bfloat16": (1e-4, 4e-3), "float16": (1e-4, 4e-3)}
# By how many nats the policy changed since it sampled, one number for each completion. None is near a clipping bound,
# where rounding would decide.
DRIFTS = (0.1, -0.4, 0.6, -0.05)


def correctness(record, device: str) -> None:
    """Loss, log-probabilities and gradients against float64 logits, for every loss, level, dtype and odd vocabulary."""
    for name, (logp_limit, gradient_limit) in TOLERANCES.items():
        worst = {"logp": 0.0, "loss": 0.0, "hidden": 0.0, "weight": 0.0}
        cases = list(product(LOSSES, ("token", "sequence"), (False, True), (7, 515, 1003, 32_003)))
        for loss, level, off_policy, vocabulary in cases if device == "cuda" else cases[::7]:
            errors = compare_with_float64(getattr(torch, name), loss, level, off_policy, vocabulary, device)
            worst = {key: max(worst[key], errors[key]) for key in worst}
        record.add(dtype=name, cases=len(cases), **{f"worst_{key}": value for key, value in worst.items()})
        record.claim(
            f"{name}: log-probabilities to {logp_limit:g} nats, gradients to {gradient_limit:g}",
            worst["logp"] <= logp_limit and max(worst["hidden"], worst["weight"]) <= gradient_limit,
            f"{worst['logp']:.1e} nats, {max(worst['hidden'], worst['weight']):.1e}",
        )


def compare_with_float64(
    dtype, loss: str, level: str, off_policy: bool, vocabulary: int, device: str
) -> dict:
    """The errors of one case. One completion is all padding, one has advantage 0. The head is frozen in float16."""
    generator = torch.Generator(device).manual_seed(vocabulary)
    hidden = torch.randn(4, 6, 64, generator=generator, device=device).to(dtype).requires_grad_()
    weight = (torch.randn(vocabulary, 64, generator=generator, device=device) * 3 / 8).to(dtype)
    weight.requires_grad_(dtype != torch.float16)
    ids = torch.randint(vocabulary, (4, 6), generator=generator, device=device)
    mask = torch.arange(6, device=device) < torch.tensor([6, 4, 0, 3], device=device)[:, None]
    advantages = torch.tensor([1.0, -0.5, 0.7, 0.0], device=device)
    spec = GRPOSpec(loss, level, beta=0.04 if off_policy else 0.0, max_completion_length=8)

    exact = [hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_()]
    logp = torch.log_softmax(exact[0] @ exact[1].T, -1).gather(-1, ids[..., None])[..., 0]
    drift = torch.tensor(DRIFTS, device=device)[:, None]
    start = logp.detach()
    before = {"old_logp": start - drift, "ref_logp": start + drift} if off_policy else {}
    wanted = grpo_loss(logp, mask, advantages, spec, **before)
    wanted.backward()

    out = fused_grpo_loss(hidden, weight, ids, mask, advantages, spec=spec, rows_per_chunk=5, **before)
    (out.loss * 1024).backward()  # a loss scale, without which float16 has no room for gradients
    return {
        "logp": size_of((out.logp - logp.detach())[mask].abs().max()),
        "loss": size_of((out.loss - wanted).abs() / wanted.abs().clamp(min=1)),
        "hidden": relative(hidden.grad / 1024, exact[0].grad),
        "weight": relative(weight.grad / 1024, exact[1].grad) if weight.requires_grad else 0.0,
    }


def relative(got, wanted) -> float:
    """|got - wanted| / |wanted|, in the Frobenius norm."""
    return size_of((got.double() - wanted).norm() / wanted.norm().clamp(min=1e-12))


def size_of(error) -> float:
    """An error as a number. NaN counts as infinite: `max` would pass over it."""
    error = float(error)
    return error if error == error else float("inf")
