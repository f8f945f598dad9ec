"""The GRPO family of losses and their gradient with respect to the log-probabilities: the only copy of this mathematics.

Every loss is a weighted sum over tokens. With r = exp(logp - old_logp), A the advantage and clip() to 1 -/+ epsilon:

loss_type  one token                          weights of the tokens                   paper
grpo       -min(r A, clip(r) A)               mean per completion, then over them     Shao et al., 2024, arXiv 2402.03300
bnpo       as grpo                            mean over the micro-batch's tokens      (TRL's name; the ratio is GRPO's)
dr_grpo    as grpo                            a constant: completions x max length    Liu et al., 2025, arXiv 2503.20783
dapo       as grpo, epsilon_high apart        mean over the optimizer step's tokens   Yu et al., 2025, arXiv 2503.14476
luspo      as grpo                            sum per completion, mean over them      LUSPO, 2026, arXiv 2602.05261
cispo      -stop(min(r, epsilon_high)) A logp as dapo                                 MiniMax-M1, 2025, arXiv 2506.13585
sapo       -(4/t) sigmoid(t (r - 1)) A        as grpo                                 SAPO, 2025, arXiv 2511.20347
vespo      -stop(phi(R)) A logp               as dapo                                 Shen et al., 2026, arXiv 2602.10693

level="sequence" replaces r by its geometric mean over the completion (GSPO: Zheng et al., 2025, arXiv 2507.18071).
delta bounds r from above where A < 0, the two-sided clip (INTELLECT-2, 2025, arXiv 2505.07291).
beta adds the k3 estimate of KL(policy || reference) (Schulman, 2020, "Approximating KL divergence"); bias_correct_kl
multiplies it by r, which makes its gradient unbiased off-policy (DeepSeek-V3.2, 2025, arXiv 2512.02556).
is_ratio multiplies the policy term: how much likelier the trainer finds a token than the engine that sampled it did
(Yao et al., 2025, "Your efficient RL framework secretly brings you off-policy RL training").
The entropy bonus is the mean entropy over the micro-batch's tokens (Williams and Peng, 1991).

Everything runs in the dtype of `logp`, float64 included. Formulas and normalisers are those of TRL 1.14 to 1.16, with one
difference: a ratio above e^20 is cut there, so that float32 never meets infinity x 0.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

CLIPPED = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")
PER_STEP = ("dapo", "cispo", "vespo")  # divided by the tokens of the whole optimizer step
LOSSES = (*CLIPPED, "cispo", "sapo", "vespo")
LOG_RATIO_LIMIT = 20.0


@dataclass(frozen=True)
class GRPOSpec:
    """Which loss, and its constants. ValueError on an unknown name or a missing length."""

    loss_type: str = "dapo"
    level: str = "token"
    epsilon_low: float = 0.2
    epsilon_high: float | None = None  # None: 5 for cispo (where it bounds r itself), else epsilon_low
    delta: float | None = None
    beta: float = 0.0
    bias_correct_kl: bool = True
    sapo_temperatures: tuple[float, float] = (1.0, 1.05)  # for A > 0, for the rest
    vespo_k: tuple[float, float] = (2.0, 3.0)  # for A >= 0, for A < 0
    vespo_lambda: tuple[float, float] = (3.0, 2.0)
    max_completion_length: int | None = None  # dr_grpo's constant, in tokens

    def __post_init__(self):
        if self.loss_type not in LOSSES:
            raise ValueError(f"unknown loss_type {self.loss_type!r}: choose one of {', '.join(LOSSES)}")
        if self.level not in ("token", "sequence"):
            raise ValueError(f"unknown level {self.level!r}: choose 'token' or 'sequence'")
        if self.loss_type == "dr_grpo" and not self.max_completion_length:
            raise ValueError("dr_grpo divides by a fixed length: give GRPOSpec a max_completion_length")
        if self.epsilon_high is None:
            default = 5.0 if self.loss_type == "cispo" else self.epsilon_low
            object.__setattr__(self, "epsilon_high", default)


class Rollout(NamedTuple):
    """What the loss needs besides logp, each [B, T] (is_ratio also [B, 1]), padding replaced by harmless values."""

    weights: Tensor  # what multiplies a token's loss: 0 on padding, and the loss is the plain sum
    mask: Tensor  # bool
    advantages: Tensor
    old_logp: Tensor | None
    ref_logp: Tensor | None
    is_ratio: Tensor | None

    def rows(self, index: Tensor) -> "Rollout":
        """The tokens `index` of the flattened batch as completions of one token each: [n, 1]."""
        shape = self.mask.shape
        return Rollout(*(None if x is None else x.expand(shape).reshape(-1, 1)[index] for x in self))


def make_rollout(
    mask, advantages, spec, *, old_logp=None, ref_logp=None, is_ratio=None, normalizer=None, dtype
) -> Rollout:
    """Check shapes, broadcast, and hide whatever stands on padding. Arguments as in `reference_grpo`."""
    if spec.beta and ref_logp is None:
        raise ValueError(
            f"beta is {spec.beta} but there is no ref_logp: score the reference model, or set beta=0"
        )
    mask = mask != 0
    if advantages.dim() == 1:
        advantages = advantages[:, None]

    def clean(name: str, x: Tensor | None, filler: float) -> Tensor | None:
        if x is None:
            return None
        x = x.detach().to(dtype)
        if x.shape not in (mask.shape, (mask.shape[0], 1)):
            raise ValueError(
                f"{name} has shape {tuple(x.shape)}: give it the mask's, {tuple(mask.shape)}, or one value a row"
            )
        return x if x.shape != mask.shape else torch.where(mask, x, filler)

    return Rollout(
        weights=token_weights(mask, spec, normalizer, dtype),
        mask=mask,
        advantages=clean("advantages", advantages, 0.0).expand(mask.shape),
        old_logp=clean("old_logp", old_logp, 0.0),
        ref_logp=clean("ref_logp", ref_logp if spec.beta else None, 0.0),
        is_ratio=clean("is_ratio", is_ratio, 1.0),
    )


def token_weights(mask: Tensor, spec: GRPOSpec, normalizer, dtype=torch.float32) -> Tensor:
    """[B, T] weights that turn a sum over tokens into the loss's own mean; see the table above."""
    weights, completions = mask.to(dtype), max(1, mask.shape[0])
    if spec.loss_type in PER_STEP:
        return weights / (weights.sum().clamp(min=1) if normalizer is None else normalizer)
    if spec.loss_type == "bnpo":
        weights = weights / weights.sum().clamp(min=1)
    elif spec.loss_type == "dr_grpo":
        weights = weights / (completions * spec.max_completion_length)
    elif spec.loss_type == "luspo":
        weights = weights / completions
    else:
        weights = weights / (weights.sum(-1, keepdim=True).clamp(min=1) * completions)
    return weights if normalizer is None else weights / normalizer


def step_normalizer(
    spec: GRPOSpec, num_items=None, *, accumulation_steps=1, steps_per_generation=1, processes=1
):
    """The `normalizer` of one micro-batch when the gradients of several are added up, as TRL counts them.

    num_items: completion tokens of the whole generation batch, over all processes. In evaluation nothing is added up:
    leave the steps at 1.
    """
    if spec.loss_type in PER_STEP:
        return num_items.clamp(min=1) / processes * accumulation_steps / steps_per_generation
    return accumulation_steps


def reference_grpo(
    logp: Tensor,
    mask: Tensor,
    advantages: Tensor,
    spec: GRPOSpec,
    *,
    old_logp: Tensor | None = None,
    ref_logp: Tensor | None = None,
    is_ratio: Tensor | None = None,
    normalizer: float | Tensor | None = None,
    entropy: Tensor | None = None,
    entropy_coef: float = 0.0,
) -> Tensor:
    """The loss, a scalar that autograd can differentiate by `logp` and `entropy`; minimise it.

    logp, old_logp, ref_logp, entropy: [B, T] in nats; mask: [B, T] of any dtype, 0 is padding; advantages: [B] or [B, T];
    is_ratio: [B, 1] or [B, T]. old_logp=None means on-policy: r is 1 and has the gradient of logp. normalizer: for dapo,
    cispo and vespo the tokens to divide by (default: those of the mask); for the others the micro-batches that make up
    one optimizer step (default 1); `step_normalizer` computes both.
    """
    rollout = make_rollout(
        mask,
        advantages,
        spec,
        old_logp=old_logp,
        ref_logp=ref_logp,
        is_ratio=is_ratio,
        normalizer=normalizer,
        dtype=logp.dtype,
    )
    loss = rollout_loss(logp, rollout, spec)
    return loss - entropy_coef * masked_mean(entropy, rollout.mask) if entropy_coef else loss


def rollout_loss(logp: Tensor, rollout: Rollout, spec: GRPOSpec) -> Tensor:
    """`reference_grpo` on a prepared rollout, without the entropy bonus."""
    logp = torch.where(rollout.mask, logp, 0)
    ratio, advantages = _ratio(logp, rollout, spec), rollout.advantages
    if spec.loss_type == "cispo":
        loss = -ratio.clamp(max=spec.epsilon_high).detach() * advantages * logp
    elif spec.loss_type == "vespo":
        loss = -_vespo_weight(logp.detach(), rollout, spec) * advantages * logp
    elif spec.loss_type == "sapo":
        temperature = _by_sign(advantages > 0, spec.sapo_temperatures, logp)
        loss = -4 / temperature * torch.sigmoid(temperature * (ratio - 1)) * advantages
    else:
        bounded = ratio if spec.delta is None else ratio.clamp(max=spec.delta)
        clipped = ratio.clamp(1 - spec.epsilon_low, 1 + spec.epsilon_high)
        loss = -torch.minimum(bounded * advantages, clipped * advantages)
    if rollout.is_ratio is not None and spec.loss_type != "vespo":
        loss = loss * rollout.is_ratio
    if spec.beta:
        loss = loss + spec.beta * _k3(logp, rollout) * (ratio if spec.bias_correct_kl else 1)
    return (rollout.weights * loss).sum()


@torch.no_grad()
def coefficients(logp: Tensor, rollout: Rollout, spec: GRPOSpec) -> Tensor:
    """dL/dlogp of `rollout_loss`, [B, T], in closed form; exactly 0 on padding and wherever a token does not learn."""
    logp = torch.where(rollout.mask, logp, 0)
    log_ratio, advantages = _log_ratio(logp, rollout, spec), rollout.advantages
    ratio = log_ratio.clamp(max=LOG_RATIO_LIMIT).exp()
    # A token's loss depends on its logp directly and through the ratio, which a whole completion may share.
    direct = through = torch.zeros_like(logp)
    slope = torch.where(log_ratio <= LOG_RATIO_LIMIT, ratio, 0)  # d ratio / d log ratio
    if spec.loss_type == "cispo":
        direct = -ratio.clamp(max=spec.epsilon_high) * advantages
    elif spec.loss_type == "vespo":
        direct = -_vespo_weight(logp, rollout, spec) * advantages
    elif spec.loss_type == "sapo":
        temperature = _by_sign(advantages > 0, spec.sapo_temperatures, logp)
        gate = torch.sigmoid(temperature * (ratio - 1))
        through = -4 * gate * (1 - gate) * slope * advantages
    else:
        bounded = ratio if spec.delta is None else ratio.clamp(max=spec.delta)
        clipped = ratio.clamp(1 - spec.epsilon_low, 1 + spec.epsilon_high)
        # Ties count as unclipped: at r = 1 both sides of the minimum are the ratio itself.
        unclipped = torch.where(
            bounded * advantages <= clipped * advantages, ratio == bounded, ratio == clipped
        )
        through = -slope * advantages * unclipped
    if rollout.is_ratio is not None and spec.loss_type != "vespo":
        direct, through = direct * rollout.is_ratio, through * rollout.is_ratio
    if spec.beta:
        gap = rollout.ref_logp - logp
        if not spec.bias_correct_kl:
            direct = direct - spec.beta * torch.expm1(gap)
        elif spec.level == "token":  # both parts added up by hand: e^gap cancels
            direct = direct - spec.beta * ratio * gap
        else:
            direct = direct - spec.beta * ratio * torch.expm1(gap)
            through = through + spec.beta * slope * _k3(logp, rollout)
    if spec.level == "token":
        return rollout.weights * (direct + through)
    share = rollout.mask.to(logp.dtype) / rollout.mask.sum(-1, keepdim=True).clamp(min=1)
    return rollout.weights * direct + share * (rollout.weights * through).sum(-1, keepdim=True)


def known_before_scoring(rollout: Rollout, spec: GRPOSpec) -> bool:
    """Whether the coefficients do not depend on logp at all: on-policy without a KL term, the usual case."""
    return rollout.old_logp is None and not spec.beta


def known_per_token(spec: GRPOSpec) -> bool:
    """Whether a token's coefficient needs no other token's logp."""
    return spec.level == "token" and spec.loss_type != "vespo"


@torch.no_grad()
def rollout_stats(logp: Tensor, rollout: Rollout, spec: GRPOSpec) -> dict[str, Tensor]:
    """Means over tokens, as scalars: `kl` (if beta), `clip_low` and `clip_high` (clipped losses), `clip` (cispo)."""
    logp = torch.where(rollout.mask, logp, 0)
    ratio, advantages = _ratio(logp, rollout, spec), rollout.advantages
    stats = {}
    if spec.beta:
        kl = _k3(logp, rollout) * (ratio if spec.bias_correct_kl else 1)
        stats["kl"] = masked_mean(kl, rollout.mask)
    if spec.loss_type == "cispo":
        stats["clip"] = masked_mean((ratio > spec.epsilon_high) & (advantages > 0), rollout.mask)
    elif spec.loss_type in CLIPPED:
        low, high = ratio < 1 - spec.epsilon_low, ratio > 1 + spec.epsilon_high
        stats["clip_low"] = masked_mean(low & (advantages < 0), rollout.mask)
        stats["clip_high"] = masked_mean(high & (advantages > 0), rollout.mask)
    return stats


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of x over the true positions of mask, 0 where there are none."""
    return torch.where(mask, x, 0).sum() / mask.sum().clamp(min=1)


def _ratio(logp: Tensor, rollout: Rollout, spec: GRPOSpec) -> Tensor:
    return _log_ratio(logp, rollout, spec).clamp(max=LOG_RATIO_LIMIT).exp()


def _log_ratio(logp: Tensor, rollout: Rollout, spec: GRPOSpec) -> Tensor:
    """log(policy / old policy): [B, T] at token level, [B, 1] at sequence level."""
    log_ratio = logp - (logp.detach() if rollout.old_logp is None else rollout.old_logp)
    if spec.level == "sequence":
        length = rollout.mask.sum(-1, keepdim=True).clamp(min=1)
        log_ratio = log_ratio.sum(-1, keepdim=True) / length
    return log_ratio


def _k3(logp: Tensor, rollout: Rollout) -> Tensor:
    gap = rollout.ref_logp - logp
    return torch.expm1(gap) - gap


def _by_sign(positive: Tensor, pair: tuple[float, float], like: Tensor) -> Tensor:
    return torch.where(positive, like.new_tensor(pair[0]), like.new_tensor(pair[1]))


def _vespo_weight(logp: Tensor, rollout: Rollout, spec: GRPOSpec) -> Tensor:
    """phi(R) = e^lambda R^k e^(-lambda R), R the ratio of the whole completion, sampler's ratio included; phi(1) = 1."""
    log_ratio = torch.zeros_like(logp) if rollout.old_logp is None else logp - rollout.old_logp
    log_ratio = log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).sum(-1, keepdim=True)
    floor = math.log(1e-8)  # stands for log 0
    if rollout.is_ratio is not None:
        log_ratio = log_ratio + rollout.is_ratio.log().clamp(floor, LOG_RATIO_LIMIT).sum(-1, keepdim=True)
    log_ratio = log_ratio.clamp(floor, LOG_RATIO_LIMIT)
    k = _by_sign(rollout.advantages >= 0, spec.vespo_k, logp)
    rate = _by_sign(rollout.advantages >= 0, spec.vespo_lambda, logp).clamp(min=1e-4)
    return torch.exp(rate + k * log_ratio - rate * log_ratio.exp())
