"""The kernel: exact in float64, accurate in float32 and bfloat16, small in memory, and sound at the edges."""

from itertools import product

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from r1lab.kernels import LOSSES, GRPOSpec, fused_grpo_loss, grpo_loss, linear_logp

CASES = [(loss, level) for loss in LOSSES for level in ("token", "sequence")]


def toy(dtype=torch.float64, completions=4, length=6, width=8, vocabulary=23, spread=1.0):
    """A batch with a padded, an empty and a zero-advantage completion, and noise for old and reference log-probabilities."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    hidden = normal(completions, length, width).to(dtype).requires_grad_()
    weight = (spread * normal(vocabulary, width)).to(dtype).requires_grad_()
    bias = normal(vocabulary).to(dtype).requires_grad_()
    ids = torch.randint(vocabulary, (completions, length), generator=generator)
    lengths = torch.tensor([length, length - 2, 0, length - 1] * (completions // 4))
    mask = torch.arange(length) < lengths[:, None]
    advantages = torch.tensor([1.2, -0.8, 0.5, 0.0] * (completions // 4), dtype=torch.float64)
    noise = {name: 0.4 * normal(completions, length) for name in ("old_logp", "ref_logp")}
    return hidden, weight, bias, ids, mask, advantages, noise


def plain(hidden, weight, bias, ids, *, temperature=1.0, logit_scale=1.0, softcap=None):
    """logp and entropy by way of all the logits, in float64."""
    logits = hidden.double() @ weight.double().t()
    logits = logit_scale * (logits if bias is None else logits + bias.double())
    if softcap:
        logits = softcap * torch.tanh(logits / softcap)
    logp = (logits / temperature).log_softmax(-1)
    entropy = -(logp.exp() * logp.clamp(min=-1e9)).sum(-1)
    return logp.gather(-1, ids[..., None])[..., 0], entropy


def relative(got, wanted):
    return ((got.double() - wanted).norm() / wanted.norm()).item()


def all_close(some, others, rtol, atol=1e-13):
    return all(torch.allclose(a, b, rtol=rtol, atol=atol) for a, b in zip(some, others, strict=True))


# ------------------------------------------------------------------------------------------------------------ exact
@pytest.mark.parametrize("loss,level", CASES)
def test_equals_the_mathematics_in_float64(loss, level):
    hidden, weight, bias, ids, mask, advantages, noise = toy()
    inputs = (hidden, weight, bias)
    cases = ((0.0, True, 0.0, None), (0.04, True, 0.0, None), (0.04, False, 0.1, 4.0))
    for off_policy, (beta, corrected, entropy_coef, softcap) in product((False, True), cases):
        head = {"temperature": 0.7, "logit_scale": 1.3, "softcap": softcap}
        logp, entropy = plain(*inputs, ids, **head)
        spec = GRPOSpec(loss, level, beta=beta, bias_correct_kl=corrected, max_completion_length=7)
        given = {"ref_logp": logp.detach() + noise["ref_logp"], "normalizer": 3.0}
        given |= {"entropy_coef": entropy_coef}
        given |= {"old_logp": logp.detach() + noise["old_logp"]} if off_policy else {}
        wanted = grpo_loss(logp, mask, advantages, spec, **given, entropy=entropy)
        settings = {**given, **head, "spec": spec, "bias": bias, "rows_per_chunk": 5}
        out = fused_grpo_loss(hidden, weight, ids, mask, advantages, **settings)
        assert abs(out.loss - wanted) <= 1e-12 * max(1, abs(wanted))
        gradients = torch.autograd.grad(out.loss, inputs)
        assert all_close(gradients, torch.autograd.grad(wanted, inputs), 1e-11, 1e-14)
        assert all_close((out.logp[mask], out.entropy[mask]), (logp[mask], entropy[mask]), 1e-12)
        assert (out.logp[~mask] == 0).all()


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss not in ("cispo", "vespo")])
def test_gradcheck(loss):
    """By finite differences. Not cispo and vespo: by design, their gradient is not the derivative of their value."""
    hidden, weight, bias, ids, mask, advantages, noise = toy(length=4, width=3, vocabulary=7)
    start = plain(hidden, weight, bias, ids)[0].detach()
    # The drift is that of the policy since it sampled.
    for level, drift in (("token", 0.0), ("token", 0.3), ("sequence", 0.3)):
        spec = GRPOSpec(loss, level, beta=0.04, max_completion_length=5)
        given = {"old_logp": start + drift * noise["old_logp"], "ref_logp": start + noise["ref_logp"]}
        given |= {"entropy_coef": 0.1, "rows_per_chunk": 3, "spec": spec}

        def value(h, w, b, given=given):
            return fused_grpo_loss(h, w, ids, mask, advantages, bias=b, **given).loss

        assert torch.autograd.gradcheck(value, (hidden, weight, bias), fast_mode=True)


@pytest.mark.parametrize("trained", [(True, True, True), (True, False, False), (False, True, False)])
def test_linear_logp_is_differentiable_under_any_loss(trained):
    hidden, weight, bias, ids, mask, _, _ = toy()
    leaves = [x.detach().requires_grad_(t) for x, t in zip((hidden[0], weight, bias), trained, strict=True)]
    needed, rows = [x for x in leaves if x.requires_grad], mask[1]
    head = {"temperature": 1.3, "logit_scale": 0.8, "softcap": 5.0}
    logp, entropy = plain(*leaves, ids[0], **head)
    settings = {"bias": leaves[2], **head, "entropy": True, "row_mask": rows, "rows_per_chunk": 3}
    out = linear_logp(*leaves[:2], ids[0], **settings)
    assert all_close((out.logp[rows], out.entropy[rows]), (logp[rows], entropy[rows]), 1e-12)
    assert (out.logp[~rows] == 0).all() and not out.entropy.requires_grad
    got, wanted = ((x[rows] ** 2).sum() for x in (out.logp, logp))
    assert all_close(torch.autograd.grad(got, needed), torch.autograd.grad(wanted, needed), 1e-10)


def test_linear_logp_never_learns_from_a_weight_changed_since():
    hidden, weight, _, ids, _, _, _ = toy()
    out = linear_logp(hidden[0], weight, ids[0])
    assert out.entropy is None
    with torch.no_grad():
        weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.logp.sum().backward()


# --------------------------------------------------------------------------------------------------------- accuracy
@pytest.mark.parametrize(
    "dtype,spread,logp_error,gradient_error",
    [(torch.float32, 0.3, 1e-5, 2e-6), (torch.bfloat16, 0.5, 1e-4, 3e-3)],
)
def test_inputs_of_low_precision_cost_no_accuracy(dtype, spread, logp_error, gradient_error):
    hidden, weight, _, ids, mask, advantages, noise = toy(dtype, 8, 64, 64, 1003, spread)
    doubles = [x.detach().double().requires_grad_() for x in (hidden, weight)]
    logp, _ = plain(*doubles, None, ids)
    assert logp.min() < -15  # logits large enough that rounding them to bfloat16 would show
    given = {"old_logp": logp.detach() + 0.2 * noise["old_logp"], "spec": GRPOSpec("grpo")}
    exact = grpo_loss(logp, mask, advantages, **given)
    out = fused_grpo_loss(hidden, weight, ids, mask, advantages, **given)
    assert out.loss.dtype == torch.float32 and (out.logp - logp)[mask].abs().max() <= logp_error
    got, wanted = torch.autograd.grad(out.loss, (hidden, weight)), torch.autograd.grad(exact, doubles)
    assert [g.dtype for g in got] == [dtype, dtype]
    assert all(relative(g, w) <= gradient_error for g, w in zip(got, wanted, strict=True))


def test_autocast_takes_float32_weights_and_keeps_its_accuracy():
    hidden, weight, _, ids, mask, advantages, _ = toy(torch.float32, vocabulary=515, width=32)
    hidden = hidden.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = fused_grpo_loss(hidden, weight, ids, mask, advantages, spec=GRPOSpec())
    out.loss.backward()
    assert (out.logp - plain(hidden, weight, None, ids)[0])[mask].abs().max() <= 1e-4
    assert (hidden.grad.dtype, weight.grad.dtype) == (torch.bfloat16, torch.float32)


def test_float16_gradients_survive_the_loss_scale():
    """Before scaling they are far below float16's range; the scale comes with backward's incoming gradient."""
    hidden, weight, _, ids, mask, advantages, _ = toy(torch.float16, vocabulary=64)
    exact = hidden.detach().double().requires_grad_()
    given = {"spec": GRPOSpec(), "normalizer": 1e9}
    wanted = torch.autograd.grad(
        grpo_loss(plain(exact, weight, None, ids)[0], mask, advantages, **given), exact
    )[0]
    (fused_grpo_loss(hidden, weight, ids, mask, advantages, **given).loss * 1e8).backward()
    assert relative(hidden.grad, wanted * 1e8) <= 2e-3


@pytest.mark.parametrize("margin", [8, 14, 20, 30])
def test_confident_tokens_keep_their_gradient(margin):
    """p(target) = 1 - e^-margin or so; in float32 that is 1, and a gradient computed from 1 - p would be 0."""
    weight, ids = 0.1 * torch.randn(50, 16, generator=torch.Generator().manual_seed(0)), torch.arange(8)[None]
    rows = weight[ids[0]]
    hidden = (rows * (margin / rows.pow(2).sum(-1, keepdim=True)))[None].requires_grad_()
    exact = hidden.detach().double().requires_grad_()
    bias = torch.zeros(50).index_fill_(0, ids[0], float(margin) / 2)
    logp, _ = plain(exact, weight, bias, ids)
    wanted = torch.autograd.grad(grpo_loss(logp, ids >= 0, torch.ones(1), GRPOSpec()), exact)[0]
    out = fused_grpo_loss(hidden, weight, ids, ids >= 0, torch.ones(1), spec=GRPOSpec(), bias=bias)
    out.loss.backward()
    assert relative(hidden.grad, wanted) <= 1e-4
    assert torch.allclose(out.logp.double(), logp, rtol=1e-4, atol=0)


def test_offsets_and_chunks_change_nothing_and_every_run_has_the_same_bits():
    hidden, weight, bias, ids, mask, advantages, noise = toy(torch.float32, length=33, vocabulary=515)
    inputs, old = (hidden, weight, bias), plain(hidden, weight, bias, ids)[0].detach() + noise["old_logp"]

    def run(rows, bias=bias):
        given = {"spec": GRPOSpec(), "bias": bias, "old_logp": old, "rows_per_chunk": rows}
        out = fused_grpo_loss(hidden, weight, ids, mask, advantages, **given)
        return out.logp, (out.loss.detach(), *torch.autograd.grad(out.loss, inputs))

    _, whole = run(None)
    for rows in (1, 7, 1000):
        (_, once), (_, again) = run(rows), run(rows)
        assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
        assert all(relative(a, b.double()) <= 2e-6 for a, b in zip(once, whole, strict=True))
    shifted, _ = run(None, bias + 100)
    assert (shifted - plain(hidden, weight, bias + 100, ids)[0])[mask].abs().max() <= 5e-5


# -------------------------------------------------------------------------------------------------- work and memory
class Watch(TorchDispatchMode):
    """Counts matrix products and remembers the largest tensor that any operation made."""

    products, largest = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.products += function.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm)
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


def watch(mask, advantages, frozen=False, **settings):
    """What a batch of 8 x 32 rows gives in 16 chunks of 16 rows: (out, products, largest tensor, gradients)."""
    hidden, weight, _, ids, _, _, _ = toy(torch.float32, completions=8, length=32, width=4, vocabulary=515)
    weight.requires_grad_(not frozen)
    with Watch() as seen:
        settings = {"spec": GRPOSpec(), "rows_per_chunk": 16, **settings}
        out = fused_grpo_loss(hidden, weight, ids, mask, advantages, **settings)
        out.loss.backward()
    return out, seen.products, seen.largest, (hidden.grad, weight.grad)


def test_work_and_memory_are_those_of_the_live_rows():
    everything = torch.ones(8, 32)
    advantages, half = torch.tensor([1.0, -1.0] * 4), torch.tensor([1.0, 0.0] * 4)
    _, products, largest, _ = watch(everything, advantages)
    assert products == 3 * 16 and largest < 8 * 32 * 515 / 8  # logits: 131,840 elements, a tile: 8,240
    _, products, _, (_, weight_gradient) = watch(everything, advantages, frozen=True)
    assert products == 2 * 16 and weight_gradient is None
    out, products, _, _ = watch(everything, half)
    assert products == (3 + 1) * 8, "dead rows are scored only"
    assert (out.stats["tokens"], out.stats["scored"], out.stats["live"]) == (256, 256, 128)
    skipped, products, _, _ = watch(everything, half, score_dead_rows=False)
    assert products == 3 * 8 and skipped.stats["scored"] == 128
    assert torch.equal(skipped.loss, out.loss) and (skipped.logp[1::2] == 0).all()
    padded = torch.arange(32).expand(8, 32) < 24
    assert watch(padded, advantages)[1] == 3 * 12
    off_policy = {"spec": GRPOSpec(level="sequence"), "old_logp": -6 * everything}
    _, products, largest, _ = watch(everything, advantages, **off_policy)
    assert products == 16 + 3 * 8, "tiles of whole completions are made twice, of clipped ones once"
    assert largest < 8 * 32 * 515 / 8
    for mask, dead in ((everything, torch.zeros(8)), (torch.zeros(8, 32), torch.ones(8))):
        out, products, _, gradients = watch(mask, dead, score_dead_rows=False)
        assert out.loss == 0 and products == 0 and all((g == 0).all() for g in gradients)
        assert out.stats["live"] == out.stats["scored"] == 0


# ------------------------------------------------------------------------------------------------------------ edges
@pytest.mark.parametrize("vocabulary", [2, 515])
def test_masks_ids_and_advantages_come_in_many_forms(vocabulary):
    hidden, weight, bias, ids, mask, advantages, _ = toy(vocabulary=vocabulary, length=9)
    wide = torch.cat([hidden, hidden[:, :1]], 1)

    def run(h=hidden, i=ids, m=mask, a=advantages, ratio=None):
        return fused_grpo_loss(h, weight, i, m, a, spec=GRPOSpec(), is_ratio=ratio, bias=bias)

    wanted = run()
    for out in (
        run(wide[:, :-1], ids.int(), mask.long(), advantages.float(), torch.ones(4, 1)),
        run(i=ids.masked_fill(~mask, -100), m=mask.float(), a=advantages[:, None].expand(4, 9)),
        run(m=mask.to(torch.uint8), ratio=torch.ones(4, 9)),
    ):
        assert torch.allclose(out.loss, wanted.loss, rtol=1e-6) and torch.equal(out.logp, wanted.logp)
    none = run(ratio=torch.zeros(4, 1))
    assert none.loss == 0 and none.stats["live"] == 0


@pytest.mark.parametrize("completions,length", [(0, 5), (1, 1), (3, 0)])
def test_a_batch_may_be_empty(completions, length):
    hidden = torch.randn(completions, length, 8, requires_grad=True)
    ids, ones = torch.zeros(completions, length, dtype=torch.long), torch.ones(completions, length)
    given = (hidden, torch.randn(9, 8), ids, ones, torch.ones(completions))
    out = fused_grpo_loss(*given, spec=GRPOSpec("grpo"))
    out.loss.backward()
    assert out.loss.isfinite()


@pytest.mark.parametrize("entropy_coef", [0.0, 0.1])
def test_banned_tokens_have_no_probability_and_no_nan(entropy_coef):
    hidden, weight, bias, ids, mask, advantages, _ = toy(torch.float32)
    bias = bias.detach().masked_fill(torch.arange(23) == 5, float("-inf"))
    ids[ids == 5] = 6
    given = {"spec": GRPOSpec(), "bias": bias, "entropy_coef": entropy_coef}
    out = fused_grpo_loss(hidden, weight, ids, mask, advantages, **given)
    dh, dw = torch.autograd.grad(out.loss, (hidden, weight))
    assert dh.isfinite().all() and (dw[5] == 0).all()
    assert torch.allclose(out.entropy[mask].double(), plain(hidden, weight, bias, ids)[1][mask], rtol=1e-5)
    ids[0, 0] = 5
    with pytest.raises(ValueError, match="probability 0"):
        fused_grpo_loss(hidden, weight, ids, mask, advantages, **given)


@pytest.mark.parametrize(
    "error,word,changes",
    [
        (IndexError, "token -1", {"ids": torch.full((4, 6), -1)}),
        (IndexError, "token 23", {"ids": torch.full((4, 6), 23)}),
        (ValueError, "shapes do not fit", {"hidden": torch.zeros(4, 5, 8)}),
        (ValueError, "backend", {"backend": "cuda"}),
        (ValueError, "float64", {"backend": "triton"}),
    ],
)
def test_errors_are_not_silent(error, word, changes):
    hidden, weight, _, ids, mask, advantages, _ = toy()
    given = {"hidden": hidden, "weight": weight, "ids": ids, "mask": mask, "advantages": advantages}
    with pytest.raises(error, match=word):
        fused_grpo_loss(**{**given, **changes}, spec=GRPOSpec())


def test_autograd_treats_it_like_any_loss():
    hidden, weight, _, ids, mask, advantages, _ = toy()

    def loss(h, w):
        return fused_grpo_loss(h, w, ids, mask, advantages, spec=GRPOSpec()).loss

    with torch.no_grad():
        assert not loss(hidden, weight).requires_grad
    once = torch.autograd.grad(loss(hidden, weight), (hidden, weight))
    value = loss(hidden, weight)
    value.backward(retain_graph=True)
    value.backward()
    (loss(hidden, weight) * 3).backward()
    assert all_close((hidden.grad, weight.grad), [5 * gradient for gradient in once], 1e-12)
    first = torch.autograd.grad(loss(hidden, weight), hidden, create_graph=True)[0]
    with pytest.raises(RuntimeError):
        first.sum().backward()
    # Tied weights: the head's gradient joins the embedding's.
    tied, *parts = (weight.detach().clone().requires_grad_() for _ in range(3))
    loss(tied[ids], tied).backward()
    loss(parts[0][ids], parts[1]).backward()
    assert torch.allclose(tied.grad, parts[0].grad + parts[1].grad, rtol=1e-12)


LIGER = [
    (loss, level)
    for loss, level in CASES
    if (level == "token" or loss not in ("cispo", "sapo", "vespo")) and (loss, level) != ("luspo", "token")
]


@pytest.mark.parametrize("loss,level", LIGER)
def test_equals_liger_where_its_formulas_are_trls(loss, level):
    """Liger 0.8.5 has an older luspo (other weights at token level and under a KL term) and no soft sequence losses."""
    chunked_loss = pytest.importorskip("liger_kernel.chunked_loss", reason="liger-kernel is not installed")
    hidden, weight, _, ids, mask, advantages, noise = toy(torch.float32, length=8)
    logp = plain(hidden, weight, None, ids, temperature=0.9)[0].detach().float()
    old, ref = (logp + noise[name].float() for name in ("old_logp", "ref_logp"))
    for beta in (0.0, 0.04) if loss != "luspo" else (0.0,):
        same = {"beta": beta, "epsilon_low": 0.2, "epsilon_high": 0.2, "loss_type": loss}
        same |= {"max_completion_length": 8}
        own = {"compiled": False, "use_ref_model": beta != 0, "temperature": 0.9}
        own |= {"use_bias_correction_kl": True}
        liger = chunked_loss.LigerFusedLinearGRPOLoss(**same, **own, importance_sampling_level=level)
        given = {"old_per_token_logps": old, "ref_per_token_logps": ref if beta else None}
        given["num_items_in_batch"] = mask.sum()
        wanted, _ = liger(hidden, weight, ids, mask.long(), advantages.float(), **given)
        given = {"spec": GRPOSpec(level=level, **same), "old_logp": old, "ref_logp": ref, "temperature": 0.9}
        out = fused_grpo_loss(hidden, weight, ids, mask, advantages, **given)
        assert abs(out.loss - wanted) <= 1e-5
        got, wanted = (torch.autograd.grad(value, (hidden, weight)) for value in (out.loss, wanted))
        assert all(relative(g, w.double()) <= 1e-5 for g, w in zip(got, wanted, strict=True))
