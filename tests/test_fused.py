"""The kernel: exact in float64, accurate in float32 and bfloat16, small in memory, and sound at the edges."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from r1lab.kernels import LOSSES, GRPOSpec, fused_grpo_loss, linear_logp, reference_grpo

CASES = [(loss, level) for loss in LOSSES for level in ("token", "sequence")]


def toy(dtype=torch.float64, completions=4, length=6, width=8, vocabulary=23, seed=0, spread=1.0):
    """A batch with a padded, an empty and a zero-advantage completion, and old and reference log-probabilities."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    hidden = normal(completions, length, width).to(dtype)
    weight = (spread * normal(vocabulary, width)).to(dtype)
    bias = normal(vocabulary).to(dtype)
    ids = torch.randint(vocabulary, (completions, length), generator=draw)
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


def with_gradients(loss, inputs):
    return loss.detach(), torch.autograd.grad(loss, inputs, allow_unused=True)


def relative(got, wanted):
    return ((got.double() - wanted).norm() / wanted.norm()).item()


@pytest.mark.parametrize("loss,level", CASES)
def test_equals_the_reference_in_float64(loss, level):
    hidden, weight, bias, ids, mask, advantages, noise = toy()
    inputs = [x.requires_grad_() for x in (hidden, weight, bias)]
    head = {"temperature": 0.7, "logit_scale": 1.3}
    logp, entropy = plain(hidden, weight, bias, ids, **head)
    for off_policy in (False, True):
        for beta, corrected, entropy_coef, softcap in (
            (0.0, True, 0.0, None),
            (0.04, True, 0.0, None),
            (0.04, False, 0.1, 4.0),
        ):
            if softcap:
                logp, entropy = plain(hidden, weight, bias, ids, **head, softcap=softcap)
            else:
                logp, entropy = plain(hidden, weight, bias, ids, **head)
            spec = GRPOSpec(loss, level, beta=beta, bias_correct_kl=corrected, max_completion_length=7)
            rest = {"ref_logp": logp.detach() + noise["ref_logp"], "normalizer": 3.0}
            if off_policy:
                rest["old_logp"] = logp.detach() + noise["old_logp"]
            wanted = reference_grpo(
                logp, mask, advantages, spec, **rest, entropy=entropy, entropy_coef=entropy_coef
            )
            wanted, wanted_gradients = with_gradients(wanted, inputs)
            out = fused_grpo_loss(
                hidden,
                weight,
                ids,
                mask,
                advantages,
                spec=spec,
                bias=bias,
                **rest,
                **head,
                softcap=softcap,
                entropy_coef=entropy_coef,
                rows_per_chunk=5,
            )
            got, gradients = with_gradients(out.loss, inputs)
            assert abs(got - wanted) <= 1e-12 * max(1, abs(wanted))
            for gradient, expected in zip(gradients, wanted_gradients, strict=True):
                assert torch.allclose(gradient, expected, rtol=1e-11, atol=1e-14)
            assert torch.allclose(out.logp[mask], logp[mask], rtol=1e-12)
            assert torch.allclose(out.entropy[mask], entropy[mask], rtol=1e-12)
            assert (out.logp[~mask] == 0).all()


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss not in ("cispo", "vespo")])
def test_gradcheck(loss):
    """By finite differences. Not cispo and vespo: by design, their gradient is not the slope of their value."""
    hidden, weight, bias, ids, mask, advantages, noise = toy(length=4, width=3, vocabulary=7)
    inputs = [x.requires_grad_() for x in (hidden, weight, bias)]
    start = plain(hidden, weight, bias, ids)[0].detach()
    for level in ("token", "sequence"):
        for beta in (0.0, 0.04):
            for drift in (0.0, 0.3):  # of the policy since it sampled
                spec = GRPOSpec(loss, level, beta=beta, max_completion_length=5)
                old = start + drift * noise["old_logp"]

                def value(h, w, b, spec=spec, old=old):
                    rest = {"ref_logp": start + noise["ref_logp"], "entropy_coef": 0.1, "rows_per_chunk": 3}
                    return fused_grpo_loss(
                        h, w, ids, mask, advantages, spec=spec, bias=b, old_logp=old, **rest
                    ).loss

                assert torch.autograd.gradcheck(value, inputs, fast_mode=True)


def test_float32_is_accurate():
    hidden, weight, _, ids, mask, advantages, noise = toy(
        torch.float32, completions=8, length=64, width=64, vocabulary=1003, spread=0.3
    )
    inputs = [x.requires_grad_() for x in (hidden, weight)]
    logp, _ = plain(hidden, weight, None, ids)
    spec, old = GRPOSpec("grpo"), logp.detach() + 0.2 * noise["old_logp"]
    doubles = [x.detach().double().requires_grad_() for x in inputs]
    exact = reference_grpo(plain(*doubles, None, ids)[0], mask, advantages, spec, old_logp=old)
    exact, wanted = with_gradients(exact, doubles)
    out = fused_grpo_loss(*inputs, ids, mask, advantages, spec=spec, old_logp=old)
    loss, gradients = with_gradients(out.loss, inputs)
    assert out.loss.dtype == torch.float32
    assert abs(loss - exact) <= 1e-6 * abs(exact)
    assert all(relative(g, w) <= 2e-6 for g, w in zip(gradients, wanted, strict=True))


def test_bfloat16_inputs_cost_no_accuracy():
    hidden, weight, _, ids, mask, advantages, _ = toy(
        torch.bfloat16, completions=8, length=64, width=64, vocabulary=515, spread=0.5
    )
    inputs = [x.requires_grad_() for x in (hidden, weight)]
    doubles = [x.detach().double().requires_grad_() for x in inputs]
    logp, _ = plain(*doubles, None, ids)
    assert logp.min() < -20  # logits large enough that rounding them to bfloat16 would show
    _, wanted = with_gradients(reference_grpo(logp, mask, advantages, GRPOSpec()), doubles)
    out = fused_grpo_loss(*inputs, ids, mask, advantages, spec=GRPOSpec())
    _, gradients = with_gradients(out.loss, inputs)
    assert (out.logp - logp)[mask].abs().max() <= 1e-4
    assert [g.dtype for g in gradients] == [torch.bfloat16, torch.bfloat16]
    assert all(relative(g, w) <= 3e-3 for g, w in zip(gradients, wanted, strict=True))


def test_autocast_takes_float32_weights_and_keeps_its_accuracy():
    hidden, weight, _, ids, mask, advantages, _ = toy(torch.float32, vocabulary=515, width=32)
    hidden = hidden.bfloat16().requires_grad_()
    weight.requires_grad_()
    wanted, _ = plain(hidden, weight, None, ids)
    with torch.autocast("cpu", torch.bfloat16):
        out = fused_grpo_loss(hidden, weight, ids, mask, advantages, spec=GRPOSpec())
    out.loss.backward()
    assert (out.logp - wanted)[mask].abs().max() <= 1e-4
    assert (hidden.grad.dtype, weight.grad.dtype) == (torch.bfloat16, torch.float32)


def test_float16_gradients_survive_the_loss_scale():
    """Before scaling they are far below float16's range; the scale comes with backward's incoming gradient."""
    hidden, weight, _, ids, mask, advantages, _ = toy(torch.float16, vocabulary=64)
    hidden.requires_grad_()
    exact = hidden.detach().double().requires_grad_()
    wanted = reference_grpo(plain(exact, weight, None, ids)[0], mask, advantages, GRPOSpec(), normalizer=1e9)
    wanted = torch.autograd.grad(wanted, exact)[0]
    out = fused_grpo_loss(hidden, weight, ids, mask, advantages, spec=GRPOSpec(), normalizer=1e9)
    (out.loss * 1e8).backward()
    assert relative(hidden.grad, wanted * 1e8) <= 2e-3


@pytest.mark.parametrize("margin", [8, 14, 20, 30])
def test_confident_tokens_keep_their_gradient(margin):
    """p(target) = 1 - e^-margin or so; in float32 that is 1, and a gradient computed from 1 - p would be 0."""
    draw = torch.Generator().manual_seed(0)
    weight = 0.1 * torch.randn(50, 16, generator=draw)
    ids = torch.arange(8)[None]
    hidden = weight[ids[0]] * (margin / weight[ids[0]].pow(2).sum(-1, keepdim=True))
    hidden = hidden[None].requires_grad_()
    exact = hidden.detach().double().requires_grad_()
    bias = torch.zeros(50).index_fill_(0, ids[0], float(margin) / 2)
    weight.requires_grad_()
    logp, _ = plain(exact, weight, bias, ids)
    wanted = torch.autograd.grad(reference_grpo(logp, ids >= 0, torch.ones(1), GRPOSpec()), exact)[0]
    out = fused_grpo_loss(hidden, weight, ids, ids >= 0, torch.ones(1), spec=GRPOSpec(), bias=bias)
    out.loss.backward()
    assert relative(hidden.grad, wanted) <= 1e-4
    assert torch.allclose(out.logp.double(), logp, rtol=1e-4, atol=0)


def test_a_large_offset_common_to_all_logits_changes_nothing():
    hidden, weight, bias, ids, mask, advantages, _ = toy(torch.float32, vocabulary=515)
    shifted = fused_grpo_loss(hidden, weight, ids, mask, advantages, spec=GRPOSpec(), bias=bias + 100)
    wanted, _ = plain(hidden, weight, (bias + 100), ids)
    assert (shifted.logp - wanted)[mask].abs().max() <= 5e-5


def test_any_chunk_gives_the_same_and_every_run_the_same_bits():
    hidden, weight, bias, ids, mask, advantages, noise = toy(torch.float32, length=33, vocabulary=515)
    inputs = [x.requires_grad_() for x in (hidden, weight, bias)]
    runs = {}
    for rows in (None, 1, 7, 64, 1000):
        for repeat in range(2):
            out = fused_grpo_loss(
                hidden,
                weight,
                ids,
                mask,
                advantages,
                spec=GRPOSpec(),
                bias=bias,
                old_logp=plain(*inputs, ids)[0].detach() + noise["old_logp"],
                rows_per_chunk=rows,
            )
            runs[rows, repeat] = (out.loss.detach(), *torch.autograd.grad(out.loss, inputs))
        assert all(torch.equal(a, b) for a, b in zip(runs[rows, 0], runs[rows, 1], strict=True))
        assert abs(runs[rows, 0][0] - runs[None, 0][0]) <= 1e-6
        for one, other in zip(runs[rows, 0][1:], runs[None, 0][1:], strict=True):
            assert relative(one, other.double()) <= 2e-6


class Watch(TorchDispatchMode):
    """Counts matrix products and remembers the largest tensor that any operation made."""

    def __init__(self):
        super().__init__()
        self.products, self.largest = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.products += function.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm_)
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


def run_watched(mask, advantages, frozen=False, **options):
    hidden, weight, _, ids, _, _, _ = toy(torch.float32, completions=8, length=32, width=4, vocabulary=515)
    hidden.requires_grad_()
    weight.requires_grad_(not frozen)
    with Watch() as watch:
        out = fused_grpo_loss(
            hidden, weight, ids, mask, advantages, spec=GRPOSpec(), rows_per_chunk=16, **options
        )
        out.loss.backward()
    return out, watch, hidden.grad, weight.grad


def test_work_and_memory_are_those_of_the_live_rows():
    everything, advantages = torch.ones(8, 32), torch.tensor([1.0, -1.0] * 4)
    _, watch, _, _ = run_watched(everything, advantages)
    chunks = 8 * 32 // 16
    assert watch.products == 3 * chunks
    assert watch.largest < 8 * 32 * 515 / 8  # N x V would be 131,840 elements; a tile is 8,240
    _, watch, _, weight_gradient = run_watched(everything, advantages, frozen=True)
    assert watch.products == 2 * chunks and weight_gradient is None
    half = torch.tensor([1.0, 0.0] * 4)
    out, watch, _, _ = run_watched(everything, half)
    assert watch.products == (3 + 1) * chunks // 2
    assert (out.stats["tokens"], out.stats["scored"], out.stats["live"]) == (256, 256, 128)
    skipped, watch, _, _ = run_watched(everything, half, score_dead_rows=False)
    assert watch.products == 3 * chunks // 2 and skipped.stats["scored"] == 128
    assert torch.equal(skipped.loss, out.loss) and (skipped.logp[1::2] == 0).all()
    padded = everything.clone()
    padded[:, 24:] = 0
    assert run_watched(padded, advantages)[1].products == 3 * chunks * 3 // 4


def test_nothing_to_learn_gives_zero_gradients_and_a_connected_loss():
    ones, advantages = torch.ones(8, 32), torch.zeros(8)
    out, watch, gradient, _ = run_watched(ones, advantages, score_dead_rows=False)
    assert out.loss == 0 and watch.products == 0 and (gradient == 0).all()
    out, watch, gradient, _ = run_watched(torch.zeros(8, 32), torch.ones(8))
    assert out.loss == 0 and watch.products == 0 and (gradient == 0).all()
    assert all(value == 0 for value in out.stats.values())


def test_clipped_rows_are_scored_but_not_differentiated():
    """Off-policy, a third of the ratios beyond the clip: their rows leave the tile before the gradient products."""
    hidden, weight, _, ids, mask, _, _ = toy(completions=8, length=32)
    hidden.requires_grad_(), weight.requires_grad_()
    logp = plain(hidden, weight, None, ids)[0]
    old = logp.detach() - torch.where(torch.arange(32) % 3 == 0, 1.0, 0.1)
    for entropy_coef in (0.0, 0.1):
        arguments = dict(spec=GRPOSpec(), old_logp=old, rows_per_chunk=16, entropy_coef=entropy_coef)
        out = fused_grpo_loss(hidden, weight, ids, mask, torch.ones(8), **arguments)
        got = torch.autograd.grad(out.loss, (hidden, weight))
        logp, entropy = plain(hidden, weight, None, ids)
        wanted = reference_grpo(
            logp,
            mask,
            torch.ones(8),
            GRPOSpec(),
            old_logp=old,
            entropy=entropy,
            entropy_coef=entropy_coef,
        )
        for g, w in zip(got, torch.autograd.grad(wanted, (hidden, weight)), strict=True):
            assert torch.allclose(g, w, rtol=1e-10, atol=1e-14)
        assert 0.2 < out.stats["clip_high"] < 0.5
        assert torch.allclose(out.logp[mask], logp[mask])


def test_shapes_and_dtypes_at_the_edges():
    for vocabulary in (2, 515, 1003):
        hidden, weight, bias, ids, mask, advantages, _ = toy(vocabulary=vocabulary, length=9)
        wide = torch.cat([hidden, hidden[:, :1]], 1)
        outs = [
            fused_grpo_loss(h, weight, i, m, a, spec=GRPOSpec(), is_ratio=ratio, bias=bias)
            for h, i, m, a, ratio in (
                (hidden, ids, mask, advantages, None),
                (wide[:, :-1], ids.int(), mask.long(), advantages.float(), torch.ones(4, 1)),
                (hidden, ids.masked_fill(~mask, -100), mask.float(), advantages[:, None].expand(4, 9), None),
                (hidden, ids, mask.to(torch.uint8), advantages, torch.ones(4, 9)),
            )
        ]
        for out in outs[1:]:
            assert torch.allclose(out.loss, outs[0].loss, rtol=1e-6) and torch.equal(out.logp, outs[0].logp)
        none = fused_grpo_loss(
            hidden, weight, ids, mask, advantages, spec=GRPOSpec(), is_ratio=torch.zeros(4, 1)
        )
        assert none.loss == 0 and none.stats["live"] == 0
    for completions, length in ((0, 5), (1, 1), (3, 0)):
        out = fused_grpo_loss(
            torch.randn(completions, length, 8, requires_grad=True),
            torch.randn(9, 8),
            torch.zeros(completions, length, dtype=torch.long),
            torch.ones(completions, length),
            torch.ones(completions),
            spec=GRPOSpec("grpo"),
        )
        out.loss.backward()
        assert out.loss.isfinite()


def test_banned_tokens_have_no_probability_and_no_nan():
    hidden, weight, bias, ids, mask, advantages, _ = toy(torch.float32)
    bias = bias.masked_fill(torch.arange(23) == 5, float("-inf"))
    ids[ids == 5] = 6
    inputs = [x.requires_grad_() for x in (hidden, weight)]
    for entropy_coef in (0.0, 0.1):
        out = fused_grpo_loss(
            hidden,
            weight,
            ids,
            mask,
            advantages,
            spec=GRPOSpec(),
            bias=bias,
            entropy_coef=entropy_coef,
        )
        dh, dw = torch.autograd.grad(out.loss, inputs)
        assert dh.isfinite().all() and (dw[5] == 0).all() and out.entropy.isfinite().all()
        assert torch.allclose(out.entropy[mask].double(), plain(*inputs, bias, ids)[1][mask], rtol=1e-5)
    ids[0, 0] = 5
    with pytest.raises(ValueError, match="probability 0"):
        fused_grpo_loss(hidden, weight, ids, mask, advantages, spec=GRPOSpec(), bias=bias)


def test_errors_are_not_silent():
    hidden, weight, _, ids, mask, advantages, _ = toy()
    for wrong in (-1, 23):
        with pytest.raises(IndexError, match=str(wrong)):
            outside = ids.masked_fill(ids == ids[0, 0], wrong)
            fused_grpo_loss(hidden, weight, outside, mask, advantages, spec=GRPOSpec())
    with pytest.raises(ValueError, match="shapes do not fit"):
        fused_grpo_loss(hidden[:, :-1], weight, ids, mask, advantages, spec=GRPOSpec())
    with pytest.raises(ValueError, match="backend"):
        fused_grpo_loss(hidden, weight, ids, mask, advantages, spec=GRPOSpec(), backend="cuda")
    with pytest.raises(ValueError, match="entropy"):
        linear_logp(hidden[0], weight, ids[0], entropy="yes")


def test_autograd_manners():
    hidden, weight, _, ids, mask, advantages, _ = toy()

    def loss(h, w):
        return fused_grpo_loss(h, w, ids, mask, advantages, spec=GRPOSpec()).loss

    hidden.requires_grad_(), weight.requires_grad_()
    with torch.no_grad():
        assert not loss(hidden, weight).requires_grad
    once = torch.autograd.grad(loss(hidden, weight), (hidden, weight))
    value = loss(hidden, weight)
    value.backward(retain_graph=True)
    value.backward()
    (loss(hidden, weight) * 3).backward()
    for x, gradient in zip((hidden, weight), once, strict=True):
        assert torch.allclose(x.grad, 5 * gradient, rtol=1e-12)
    first = torch.autograd.grad(loss(hidden, weight), hidden, create_graph=True)[0]
    with pytest.raises(RuntimeError):
        first.sum().backward()
    # Tied weights: the head's gradient joins the embedding's.
    tied = weight.detach().clone().requires_grad_()
    loss(tied[ids], tied).backward()
    parts = [weight.detach().clone().requires_grad_() for _ in range(2)]
    loss(parts[0][ids], parts[1]).backward()
    assert torch.allclose(tied.grad, parts[0].grad + parts[1].grad, rtol=1e-12)


@pytest.mark.parametrize("entropy", ["none", "detached", "grad"])
def test_linear_logp_is_differentiable_under_any_loss(entropy):
    hidden, weight, bias, ids, mask, _, _ = toy()
    hidden, ids, rows = hidden.flatten(0, 1), ids.flatten(), mask.flatten()
    head = {"temperature": 1.3, "logit_scale": 0.8, "softcap": 5.0}
    for trained in ((True, True, True), (True, False, False), (False, True, False)):
        leaves = [
            x.detach().clone().requires_grad_(t) for x, t in zip((hidden, weight, bias), trained, strict=True)
        ]
        needed = [x for x in leaves if x.requires_grad]
        logp, full = plain(*leaves, ids, **head)
        h, w, b = leaves
        out = linear_logp(h, w, ids, bias=b, **head, entropy=entropy, row_mask=rows, rows_per_chunk=5)
        assert torch.allclose(out.logp[rows], logp[rows], rtol=1e-12) and (out.logp[~rows] == 0).all()
        wanted, got = (logp[rows] ** 2).sum(), (out.logp[rows] ** 2).sum()
        if entropy == "none":
            assert out.entropy is None
        else:
            assert torch.allclose(out.entropy[rows], full[rows], rtol=1e-11)
            assert out.entropy.requires_grad == (entropy == "grad")
        if entropy == "grad":
            wanted, got = wanted + (full[rows] ** 2).sum(), got + (out.entropy[rows] ** 2).sum()
        wanted, got = torch.autograd.grad(wanted, needed), torch.autograd.grad(got, needed)
        for one, other in zip(got, wanted, strict=True):
            assert torch.allclose(one, other, rtol=1e-10, atol=1e-13)


def test_linear_logp_never_learns_from_a_weight_changed_since():
    hidden, weight, _, ids, _, _, _ = toy()
    weight.requires_grad_()
    out = linear_logp(hidden[0], weight, ids[0])
    with torch.no_grad():
        weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.logp.sum().backward()


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
    inputs = [x.requires_grad_() for x in (hidden, weight)]
    logp = plain(hidden, weight, None, ids, temperature=0.9)[0].detach().float()
    for beta in (0.0, 0.04) if loss != "luspo" else (0.0,):
        spec = GRPOSpec(loss, level, beta=beta, epsilon_high=0.2, max_completion_length=8)
        old, ref = (logp + noise[name].float() for name in ("old_logp", "ref_logp"))
        liger = chunked_loss.LigerFusedLinearGRPOLoss(
            beta=beta,
            compiled=False,
            use_ref_model=beta != 0,
            epsilon_low=0.2,
            epsilon_high=0.2,
            loss_type=loss,
            max_completion_length=8,
            importance_sampling_level=level,
            temperature=0.9,
            use_bias_correction_kl=True,
        )
        wanted, _ = liger(
            hidden,
            weight,
            ids,
            mask.long(),
            advantages.float(),
            ref_per_token_logps=ref if beta else None,
            old_per_token_logps=old,
            num_items_in_batch=mask.sum(),
        )
        out = fused_grpo_loss(
            hidden,
            weight,
            ids,
            mask,
            advantages,
            spec=spec,
            old_logp=old,
            ref_logp=ref,
            temperature=0.9,
        )
        assert abs(out.loss - wanted) <= 1e-5
        for got, w in zip(
            torch.autograd.grad(out.loss, inputs), torch.autograd.grad(wanted, inputs), strict=True
        ):
            assert relative(got, w.double()) <= 1e-5
