"""The loss mathematics against autograd and against TRL's own loss function, both in float64."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from r1lab.kernels import grpo_reference as grpo
from r1lab.kernels.grpo_reference import LOSSES, GRPOSpec, reference_grpo, step_normalizer

CASES = [(loss, level) for loss in LOSSES for level in ("token", "sequence")]


def toy(seed=0, completions=5, length=7, dtype=torch.float64):
    """logp, mask, advantages, old, ref and is_ratio with padding, an empty completion and ratios on both sides of the clip."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=dtype)

    logp = -normal(completions, length).abs() - 0.05
    mask = torch.arange(length) < torch.tensor([7, 3, 1, 0, 6])[:, None]
    return {
        "logp": logp.requires_grad_(),
        "mask": mask,
        "advantages": torch.tensor([1.3, -0.7, 0.4, 1.0, -1.1], dtype=dtype),
        "old_logp": logp.detach() + 0.4 * normal(completions, length),
        "ref_logp": logp.detach() + 0.4 * normal(completions, length),
        "is_ratio": (0.3 * normal(completions, length)).exp(),
    }


def make_spec(loss, level, **options):
    # TRL holds the temperatures of sapo in float32: these two are exact there.
    return GRPOSpec(loss, level, max_completion_length=9, sapo_temperatures=(0.875, 1.0625), **options)


def trl_loss(x, spec, *, entropy, entropy_coef, accumulation=2, steps=4, training=True):
    """What `trl.GRPOTrainer._compute_loss` makes of the same tokens: the method alone, on a stand-in for the trainer."""
    from trl import GRPOTrainer

    identity = SimpleNamespace(
        gather=lambda t: t, gather_for_metrics=lambda t: t, reduce=lambda t, reduction: t, num_processes=1
    )
    identity.sync_gradients = True
    trainer = SimpleNamespace(
        accelerator=identity,
        model=SimpleNamespace(training=training),
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
        current_gradient_accumulation_steps=accumulation,
        max_completion_length=spec.max_completion_length,
        get_gamma_weights=GRPOTrainer.get_gamma_weights,
        args=SimpleNamespace(
            use_bias_correction_kl=spec.bias_correct_kl,
            delta=spec.delta,
            steps_per_generation=steps,
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
        "num_items_in_batch": torch.tensor(50.0, dtype=torch.float64),
        "importance_sampling_ratio": x.get("is_ratio"),
    }
    for name, key in (("old_per_token_logps", "old_logp"), ("ref_per_token_logps", "ref_logp")):
        if key in x:
            inputs[name] = x[key]
    return GRPOTrainer._compute_loss(trainer, None, inputs)


@pytest.mark.parametrize("loss,level", CASES)
def test_loss_and_gradient_equal_trl_in_float64(loss, level):
    for off_policy in (False, True):
        for beta, corrected, sampler, delta, entropy_coef in (
            (0.0, True, False, None, 0.0),
            (0.04, True, True, 1.4, 0.01),
            (0.04, False, False, 1.1, 0.0),
        ):
            x = toy()
            if not off_policy:
                del x["old_logp"]
            if not sampler:
                del x["is_ratio"]
            elif (
                loss == "vespo"
            ):  # TRL's ratio is 1 on padding, and vespo sums its logarithm over the padding too
                x["is_ratio"] = torch.where(x["mask"], x["is_ratio"], 1)
            spec = make_spec(loss, level, beta=beta, bias_correct_kl=corrected, delta=delta)
            entropy = x["logp"] ** 2
            wanted = trl_loss(x, spec, entropy=entropy, entropy_coef=entropy_coef)
            wanted_gradient = torch.autograd.grad(wanted, x["logp"])[0]
            normalizer = step_normalizer(
                spec, torch.tensor(50.0, dtype=torch.float64), accumulation_steps=2, steps_per_generation=4
            )
            # In TRL the bonus is divided by the accumulation steps as well.
            got = reference_grpo(
                **x, spec=spec, normalizer=normalizer, entropy=x["logp"] ** 2, entropy_coef=entropy_coef / 2
            )
            gradient = torch.autograd.grad(got, x["logp"])[0]
            case = (loss, level, off_policy, beta, corrected)
            assert abs(got - wanted) <= 1e-13 * max(1, abs(wanted)), case
            assert torch.allclose(gradient, wanted_gradient, rtol=1e-12, atol=1e-14), case


@pytest.mark.parametrize("loss,level", CASES)
def test_closed_form_coefficient_equals_autograd(loss, level):
    for off_policy in (False, True):
        for beta, corrected, delta, per_token in (
            (0.0, True, None, False),
            (0.04, True, 1.4, True),
            (0.1, False, 1.1, True),
        ):
            x = toy(seed=1)
            if not off_policy:
                del x["old_logp"]
            if per_token:
                x["advantages"] = x["advantages"][:, None] * torch.linspace(-1, 1, 7, dtype=torch.float64)
            spec = make_spec(loss, level, beta=beta, bias_correct_kl=corrected, delta=delta)
            logp, mask = x.pop("logp"), x["mask"]
            rollout = grpo.make_rollout(**x, spec=spec, dtype=torch.float64)
            wanted = torch.autograd.grad(grpo.rollout_loss(logp, rollout, spec), logp)[0]
            got = grpo.coefficients(logp, rollout, spec)
            assert torch.allclose(got, wanted, rtol=1e-12, atol=1e-15), (loss, level, off_policy, beta)
            assert (got[~mask] == 0).all()
            if grpo.known_before_scoring(rollout, spec):
                assert torch.equal(got, grpo.coefficients(torch.zeros_like(logp), rollout, spec))
            if grpo.known_per_token(spec):
                index = mask.flatten().nonzero()[:, 0]
                alone = grpo.coefficients(logp.flatten()[index, None], rollout.rows(index), spec)
                assert torch.equal(alone[:, 0], got.flatten()[index])


def test_the_clip_by_hand():
    """One token, A = +-1, epsilon 0.2: inside the clip dL/dlogp = -r A; outside, 0 on the side that gains."""
    for ratio, advantage, coefficient in (
        (1.0, 1, -1.0),
        (1.1, 1, -1.1),
        (1.5, 1, 0.0),
        (0.5, 1, -0.5),
        (0.5, -1, 0.0),
        (1.5, -1, 1.5),
    ):
        logp = torch.tensor([[-1.0]], dtype=torch.float64)
        rollout = grpo.make_rollout(
            torch.ones(1, 1),
            torch.tensor([advantage]),
            GRPOSpec(),
            old_logp=logp - math.log(ratio),
            dtype=torch.float64,
        )
        assert grpo.coefficients(logp, rollout, GRPOSpec()).item() == pytest.approx(coefficient, rel=1e-12)


def test_an_empty_or_hostile_padding_changes_nothing():
    for loss, level in CASES:
        x, spec = toy(), make_spec(loss, level, beta=0.04)
        clean = reference_grpo(**x, spec=spec)
        for name in ("old_logp", "ref_logp", "is_ratio"):
            x[name] = torch.where(x["mask"], x[name], float("nan"))
        x["logp"] = torch.where(x["mask"], x["logp"].detach(), -1e30)
        assert reference_grpo(**x, spec=spec) == clean, loss
        x["mask"] = torch.zeros_like(x["mask"])
        assert reference_grpo(**x, spec=spec) == 0, loss


def test_a_ratio_beyond_float32_stays_finite():
    for loss, level in CASES:
        for advantage in (-1.0, 0.0, 1.0):
            logp, ones = torch.tensor([[-1.0, -1.0]]), torch.ones(1, 2)
            rollout = grpo.make_rollout(
                ones,
                torch.tensor([advantage]),
                make_spec(loss, level),
                old_logp=logp - 100,
                dtype=torch.float32,
            )
            value = grpo.rollout_loss(logp, rollout, make_spec(loss, level))
            assert (
                value.isfinite() and grpo.coefficients(logp, rollout, make_spec(loss, level)).isfinite().all()
            )


def test_wrong_names_and_missing_inputs_are_refused():
    x = toy()
    with pytest.raises(ValueError, match="ppo"):
        GRPOSpec("ppo")
    with pytest.raises(ValueError, match="level"):
        GRPOSpec(level="batch")
    with pytest.raises(ValueError, match="max_completion_length"):
        GRPOSpec("dr_grpo")
    with pytest.raises(ValueError, match="ref_logp"):
        reference_grpo(x["logp"], x["mask"], x["advantages"], GRPOSpec(beta=0.1))
    with pytest.raises(ValueError, match="old_logp"):
        reference_grpo(x["logp"], x["mask"], x["advantages"], GRPOSpec(), old_logp=x["logp"][:, :3])
