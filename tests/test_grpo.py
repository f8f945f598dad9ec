"""The loss mathematics against autograd and against TRL's own loss function, both in float64."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from r1lab.kernels import grpo
from r1lab.kernels.grpo import LOSSES, GRPOSpec, grpo_loss, step_normalizer

CASES = [(loss, level) for loss in LOSSES for level in ("token", "sequence")]
STEP = {"accumulation_steps": 2, "steps_per_generation": 4}
ITEMS = torch.tensor(50.0, dtype=torch.float64)  # completion tokens of the generation batch


def toy(seed=0, off_policy=True, sampler=True):
    """logp, mask, advantages, old, ref and is_ratio with padding, an empty completion and ratios on both sides of the clip."""
    generator = torch.Generator().manual_seed(seed)

    def normal():
        return torch.randn(5, 7, generator=generator, dtype=torch.float64)

    logp = -normal().abs() - 0.05
    x = {
        "logp": logp.requires_grad_(),
        "mask": torch.arange(7) < torch.tensor([7, 3, 1, 0, 6])[:, None],
        "advantages": torch.tensor([1.3, -0.7, 0.4, 1.0, -1.1], dtype=torch.float64),
        "old_logp": logp.detach() + 0.4 * normal(),
        "ref_logp": logp.detach() + 0.4 * normal(),
        "is_ratio": (0.3 * normal()).exp(),
    }
    given = {"old_logp": off_policy, "is_ratio": sampler}
    return {name: value for name, value in x.items() if given.get(name, True)}


def make_spec(loss, level, **settings):
    # TRL holds the temperatures of sapo in float32: these two are exact there. The upper clip is higher than the lower one.
    settings |= {"sapo_temperatures": (0.875, 1.0625), "epsilon_high": 5.0 if loss == "cispo" else 0.28}
    return GRPOSpec(loss, level, max_completion_length=9, **settings)


def prepare(x, spec):
    """The batch of `toy`, as the loss and its coefficients take it."""
    names = ("mask", "advantages", "old_logp", "ref_logp", "is_ratio")
    mask, advantages, *rest = (x.get(name) for name in names)
    return grpo.make_batch(mask, advantages, spec, *rest, None, torch.float64)


def trl_loss(x, spec, *, entropy, entropy_coef):
    """What `trl.GRPOTrainer._compute_loss` makes of the same tokens: the method alone, on a stand-in for the trainer."""
    from trl import GRPOTrainer

    alone = {"gather": lambda t: t, "gather_for_metrics": lambda t: t, "reduce": lambda t, reduction: t}
    trainer = SimpleNamespace(
        accelerator=SimpleNamespace(**alone, num_processes=1, sync_gradients=True),
        model=SimpleNamespace(training=True),
        _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_adaptive_entropy=False,
        entropy_coef=entropy_coef,
        _entropy_bonus_enabled=entropy_coef != 0,
        importance_sampling_level=spec.level,
        beta=spec.beta,
        loss_type=spec.loss_type,
        epsilon_low=spec.epsilon_low,
        epsilon_high=spec.epsilon_high,
        use_vllm=True,
        vllm_importance_sampling_correction="is_ratio" in x,
        current_gradient_accumulation_steps=STEP["accumulation_steps"],
        max_completion_length=spec.max_completion_length,
        get_gamma_weights=GRPOTrainer.get_gamma_weights,
        args=SimpleNamespace(
            use_bias_correction_kl=spec.bias_correct_kl,
            delta=spec.delta,
            steps_per_generation=STEP["steps_per_generation"],
            sapo_temperature_pos=spec.sapo_temperatures[0],
            sapo_temperature_neg=spec.sapo_temperatures[1],
            vespo_k_pos=spec.vespo_k[0],
            vespo_k_neg=spec.vespo_k[1],
            vespo_lambda_pos=spec.vespo_lambda[0],
            vespo_lambda_neg=spec.vespo_lambda[1],
        ),
        _get_per_token_logps_and_entropies=lambda *a, **k: (x["logp"], entropy, None),
    )
    empty = torch.zeros(len(x["mask"]), 0, dtype=torch.long)
    inputs = {
        "prompt_ids": empty,
        "prompt_mask": empty,
        "completion_ids": torch.zeros(x["mask"].shape, dtype=torch.long),
        "completion_mask": x["mask"].long(),
        "advantages": x["advantages"],
        "num_items_in_batch": ITEMS,
        "importance_sampling_ratio": x.get("is_ratio"),
    }
    for name, key in (("old_per_token_logps", "old_logp"), ("ref_per_token_logps", "ref_logp")):
        if key in x:
            inputs[name] = x[key]
    return GRPOTrainer._compute_loss(trainer, None, inputs)


@pytest.mark.parametrize("loss,level", CASES)
@pytest.mark.parametrize("off_policy", [False, True])
def test_loss_and_gradient_equal_trl_in_float64(loss, level, off_policy):
    for beta, corrected, sampler, delta, entropy_coef in (
        (0.0, True, False, None, 0.0),
        (0.04, True, True, 1.4, 0.01),
        (0.04, False, False, 1.1, 0.0),
    ):
        x = toy(off_policy=off_policy, sampler=sampler)
        if loss == "vespo" and sampler:
            # TRL's ratio is 1 on padding, over which vespo sums its logarithm too.
            x["is_ratio"] = torch.where(x["mask"], x["is_ratio"], 1)
        spec = make_spec(loss, level, beta=beta, bias_correct_kl=corrected, delta=delta)
        wanted = trl_loss(x, spec, entropy=x["logp"] ** 2, entropy_coef=entropy_coef)
        # In TRL the bonus is divided by the accumulation steps as well.
        bonus = {"entropy": x["logp"] ** 2, "entropy_coef": entropy_coef / 2}
        got = grpo_loss(**x, spec=spec, normalizer=step_normalizer(spec, ITEMS, **STEP), **bonus)
        assert abs(got - wanted) <= 1e-13 * max(1, abs(wanted)), (beta, corrected)
        got, wanted = (torch.autograd.grad(value, x["logp"])[0] for value in (got, wanted))
        assert torch.allclose(got, wanted, rtol=1e-12, atol=1e-14), (beta, corrected)


@pytest.mark.parametrize("loss,level", CASES)
@pytest.mark.parametrize("off_policy", [False, True])
def test_closed_form_coefficient_equals_autograd(loss, level, off_policy):
    settings = ((0.0, True, None, False), (0.04, True, 1.4, True), (0.1, False, 1.1, True))
    for beta, corrected, delta, per_token in settings:
        x = toy(seed=1, off_policy=off_policy)
        if per_token:
            x["advantages"] = x["advantages"][:, None] * torch.linspace(-1, 1, 7, dtype=torch.float64)
        spec = make_spec(loss, level, beta=beta, bias_correct_kl=corrected, delta=delta)
        logp, mask, batch = x["logp"], x["mask"], prepare(x, spec)
        wanted = torch.autograd.grad(grpo.batch_loss(logp, batch, spec), logp)[0]
        got = grpo.coefficients(logp, batch, spec)
        assert torch.allclose(got, wanted, rtol=1e-12, atol=1e-15), (beta, corrected)
        assert (got[~mask] == 0).all()
        if grpo.known_before_scoring(batch, spec):
            assert torch.equal(got, grpo.coefficients(torch.zeros_like(logp), batch, spec))
        if grpo.known_per_token(spec):
            index = mask.flatten().nonzero()[:, 0]
            alone = grpo.coefficients(logp.flatten()[index, None], batch.rows(index), spec)
            assert torch.equal(alone[:, 0], got.flatten()[index])


@pytest.mark.parametrize(
    "ratio,advantage,wanted",
    [(1.0, 1, -1.0), (1.1, 1, -1.1), (1.5, 1, 0.0), (0.5, 1, -0.5), (0.5, -1, 0.0), (1.5, -1, 1.5)],
)
def test_the_clip_by_hand(ratio, advantage, wanted):
    """One token, epsilon 0.2: inside the clip dL/dlogp = -r A; outside, 0 on the side that gains."""
    logp = torch.tensor([[-1.0]], dtype=torch.float64)
    old = logp - torch.tensor(ratio).log()
    x = {"mask": logp < 0, "advantages": torch.tensor([advantage]), "old_logp": old}
    got = grpo.coefficients(logp, prepare(x, GRPOSpec()), GRPOSpec()).item()
    assert got == pytest.approx(wanted, rel=1e-6)


def test_the_gradients_of_the_kl_estimates_are_what_the_docstring_says():
    """Over all tokens of a vocabulary, k3 has the gradient of KL(reference || policy), r k3 that of KL(policy || reference)."""
    logits = torch.randn(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    logp, ref = logits.log_softmax(-1), torch.full((6,), 1 / 6, dtype=torch.float64).log()
    p = logp.exp().detach()
    forward = torch.autograd.grad((ref.exp() * (ref - logp)).sum(), logits, retain_graph=True)[0]
    backward = torch.autograd.grad((logp.exp() * (logp - ref)).sum(), logits, retain_graph=True)[0]
    for corrected, wanted in ((False, forward), (True, backward)):
        spec = GRPOSpec("luspo", beta=1.0, bias_correct_kl=corrected)
        nothing = torch.zeros(6, dtype=torch.float64)
        batch = grpo.make_batch(nothing[None] == 0, nothing[None], spec, None, ref[None], None, None, p.dtype)
        c = p * grpo.coefficients(logp[None].detach(), batch, spec)[0]  # the mean over sampled tokens
        assert torch.allclose(torch.autograd.grad(logp, logits, c, retain_graph=True)[0], wanted)


@pytest.mark.parametrize("loss,level", CASES)
def test_padding_and_huge_ratios_are_harmless(loss, level):
    x, spec = toy(), make_spec(loss, level, beta=0.04)
    clean = grpo_loss(**x, spec=spec)
    for name in ("old_logp", "ref_logp", "is_ratio"):
        x[name] = torch.where(x["mask"], x[name], float("nan"))
    x["logp"] = torch.where(x["mask"], x["logp"].detach(), -1e30)
    assert grpo_loss(**x, spec=spec) == clean
    x["mask"] = torch.zeros_like(x["mask"])
    assert grpo_loss(**x, spec=spec) == 0
    logp, advantages = -torch.ones(3, 2), torch.tensor([-1.0, 0, 1])
    batch = grpo.make_batch(logp < 0, advantages, spec, logp - 100, logp, None, None, torch.float32)
    assert grpo.batch_loss(logp, batch, spec).isfinite(), "a ratio beyond float32"
    assert grpo.coefficients(logp, batch, spec).isfinite().all()


def test_wrong_names_and_missing_inputs_are_refused():
    x = toy()
    wrong = {"ppo": ("ppo",), "level": ("dapo", "batch"), "max_completion_length": ("dr_grpo",)}
    for word, arguments in wrong.items():
        with pytest.raises(ValueError, match=word):
            GRPOSpec(*arguments)
    wrong = {"ref_logp": (GRPOSpec(beta=0.1), None), "old_logp": (GRPOSpec(), x["logp"][:, :3])}
    for word, (spec, old) in wrong.items():
        with pytest.raises(ValueError, match=word):
            grpo_loss(x["logp"], x["mask"], x["advantages"], spec, old_logp=old)
