"""The GRPO family of losses and their gradient with respect to the log-probabilities: the mathematics, once.

Every loss is a weighted sum over tokens; r is exp(logp - old_logp), A the advantage, stop() takes the gradient away:

loss_type  one token                          weights of the tokens                   paper
grpo       -min(r A, clip(r) A)               mean per completion, then over them     Shao et al., 2024, arXiv 2402.03300
bnpo       as grpo                            mean over the micro-batch's tokens      (TRL's name; the ratio is GRPO's)
dr_grpo    as grpo                            a constant: completions x max length    Liu et al., 2025, arXiv 2503.20783
dapo       as grpo                            mean over the optimizer step's tokens   Yu et al., 2025, arXiv 2503.14476
luspo      as grpo, level "sequence"          sum per completion, mean over them      LUSPO, 2026, arXiv 2602.05261
cispo      -stop(min(r, epsilon_high)) A logp as dapo                                 MiniMax-M1, 2025, arXiv 2506.13585
sapo       -(4/t) sigmoid(t (r - 1)) A        as grpo                                 SAPO, 2025, arXiv 2511.20347
vespo      -stop(phi(R)) A logp               as dapo                                 Shen et al., 2026, arXiv 2602.10693

dapo is the mean over tokens and nothing else of that paper: for its higher upper bound, set epsilon_high to 0.28.
level="sequence" replaces r by its geometric mean over the completion (GSPO: Zheng et al., 2025, arXiv 2507.18071). Such a mean
stays close to 1, so GSPO's epsilon is about 3e-4 and not 0.2. LUSPO is defined at this level only.
delta bounds r from above where A < 0, the two-sided clip (INTELLECT-2, 2025, arXiv 2505.07291).
beta adds beta k3, where k3 = e^d - 1 - d and d = ref_logp - logp. Its value is an unbiased estimate of KL(policy || reference)
for the next token (Schulman, 2020, "Approximating KL divergence"). Its gradient is not: on-policy, k3 as a term of a loss has
the gradient of KL(reference || policy). k1 = -d would have none in the mean, and k2 = d^2 / 2 would have the right one (Tang
and Munos, 2025, arXiv 2506.09477). bias_correct_kl multiplies k3 by r, and this product has the gradient of
KL(policy || reference), on-policy and off-policy (DeepSeek-V3.2, 2025, arXiv 2512.02556).
is_ratio multiplies the policy term: how much likelier the trainer finds a token than the engine that sampled it did
(Yao et al., 2025, "Your efficient RL framework secretly brings you off-policy RL training").
The entropy bonus is the mean entropy over the micro-batch's tokens (Williams and Peng, 1991).
Formulas and normalizers are those of TRL 1.14 to 1.16, in any float dtype, with one difference: a ratio above e^20 is cut
there, so that float32 never meets infinity x 0.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

CLIPPED = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")
PER_STEP = ("dapo", "cispo", "vespo")  # divided by the tokens of the whole optimizer step
LOSSES = (*CLIPPED, "cispo", "sapo", "vespo")
LOG_RATIO_LIMIT = 20.0  # no useful update has a ratio of e^20 = 5e8


@dataclass(frozen=True)
class GRPOSpec:
    """Which loss, and its constants, with TRL's defaults. ValueError on an unknown name or a missing length."""

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
            object.__setattr__(self, "epsilon_high", default)  # the dataclass is frozen


def grpo_loss(
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
    """The loss, a scalar that autograd can differentiate by `logp` and `entropy`; minimize it.

    logp, old_logp, ref_logp, entropy: [B, T] in nats; mask: [B, T] of any dtype, 0 is padding; advantages: [B] or [B, T];
    is_ratio: [B, 1] or [B, T]. old_logp=None means on-policy: r is 1 and has the gradient of logp. normalizer: for dapo,
    cispo and vespo the tokens to divide by (default: those of the mask); for the others the micro-batches that make up
    one optimizer step (default 1); `step_normalizer` computes both. ValueError where a shape does not fit.
    """
    batch = make_batch(mask, advantages, spec, old_logp, ref_logp, is_ratio, normalizer, logp.dtype)
    loss = batch_loss(logp, batch, spec)
    return loss - entropy_coef * masked_mean(entropy, batch.mask) if entropy_coef else loss


class Batch(NamedTuple):
    """What the loss needs besides logp, each [B, T] (is_ratio also [B, 1]), padding replaced by harmless values."""

    weights: Tensor  # what multiplies a token's loss: 0 on padding, and the loss is the plain sum
    mask: Tensor  # bool
    advantages: Tensor
    old_logp: Tensor | None
    ref_logp: Tensor | None
    is_ratio: Tensor | None

    def rows(self, index: Tensor) -> "Batch":
        """The tokens `index` of the flattened batch as completions of one token each: [n, 1]."""
        return Batch(*(x if x is None else x.expand(self.mask.shape).reshape(-1, 1)[index] for x in self))


def make_batch(mask, advantages, spec, old_logp, ref_logp, is_ratio, normalizer, dtype) -> Batch:
    """Check shapes, broadcast, and hide whatever stands on padding. Arguments as in `grpo_loss`."""
    if spec.beta and ref_logp is None:
        raise ValueError(f"beta is {spec.beta} without a ref_logp: score the reference model, or set beta=0")
    mask = mask != 0

    def clean(name: str, x: Tensor | None, filler: float) -> Tensor | None:
        if x is None:
            return None
        if x.shape not in (mask.shape, (len(mask), 1)):
            raise ValueError(f"{name} is {tuple(x.shape)}: give one value a token, {tuple(mask.shape)}")
        # Padding may hold anything, also NaN, and 0 x NaN is NaN. So it is replaced before it is used.
        x = x.detach().to(dtype)
        return x if x.shape != mask.shape else torch.where(mask, x, filler)

    advantages = advantages[:, None] if advantages.dim() == 1 else advantages
    return Batch(
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
    else:  # grpo, sapo: a token of a long completion weighs less
        weights = weights / (weights.sum(-1, keepdim=True).clamp(min=1) * completions)
    return weights if normalizer is None else weights / normalizer


def step_normalizer(spec, num_items=None, *, accumulation_steps=1, steps_per_generation=1, processes=1):
    """The `normalizer` of one micro-batch when the gradients of several are added up, as TRL counts them.

    num_items: completion tokens of the whole generation batch, over all processes. In evaluation leave the steps at 1.
    """
    if spec.loss_type in PER_STEP:
        # A generation batch may feed several optimizer steps, and data parallelism averages over the processes.
        return num_items.clamp(min=1) / processes * accumulation_steps / steps_per_generation
    return accumulation_steps


def batch_loss(logp: Tensor, batch: Batch, spec: GRPOSpec) -> Tensor:
    """`grpo_loss` of a prepared batch, without the entropy bonus."""
    # Stage 1: how much likelier each token has become since it was sampled.
    logp = torch.where(batch.mask, logp, 0)
    ratio, advantages = _log_ratio(logp, batch, spec).clamp(max=LOG_RATIO_LIMIT).exp(), batch.advantages
    # Stage 2: the policy term. The clipped losses stop where r has moved far enough in the direction of A; cispo and
    # vespo give r no gradient and weigh the token by it; sapo lets its gradient fade.
    if spec.loss_type == "cispo":
        loss = -ratio.clamp(max=spec.epsilon_high).detach() * advantages * logp
    elif spec.loss_type == "vespo":
        loss = -_vespo_weight(logp.detach(), batch, spec) * advantages * logp
    elif spec.loss_type == "sapo":
        temperature = _by_sign(advantages > 0, spec.sapo_temperatures, logp)
        loss = -4 / temperature * torch.sigmoid(temperature * (ratio - 1)) * advantages
    else:
        bounded = ratio if spec.delta is None else ratio.clamp(max=spec.delta)
        clipped = ratio.clamp(1 - spec.epsilon_low, 1 + spec.epsilon_high)
        loss = -torch.minimum(bounded * advantages, clipped * advantages)
    # Stage 3: the correction for the sampler, on the policy term only. vespo has it in its weight.
    if batch.is_ratio is not None and spec.loss_type != "vespo":
        loss = loss * batch.is_ratio
    # Stage 4: the KL term, then one number out of all tokens.
    if spec.beta:
        loss = loss + spec.beta * _k3(logp, batch) * (ratio if spec.bias_correct_kl else 1)
    return (batch.weights * loss).sum()


@torch.no_grad()
def coefficients(logp: Tensor, batch: Batch, spec: GRPOSpec) -> Tensor:
    """dL/dlogp of `batch_loss`, [B, T], in closed form; exactly 0 on padding and wherever a token does not learn."""
    logp = torch.where(batch.mask, logp, 0)
    log_ratio, advantages = _log_ratio(logp, batch, spec), batch.advantages
    ratio = log_ratio.clamp(max=LOG_RATIO_LIMIT).exp()
    # A token's loss depends on its logp directly and through the ratio, which a whole completion may share.
    direct = through = torch.zeros_like(logp)
    # d ratio / d log ratio is the ratio itself, and 0 where it was cut.
    ratio_gradient = torch.where(log_ratio <= LOG_RATIO_LIMIT, ratio, 0)
    # The policy term, in the same four families as in `batch_loss`.
    if spec.loss_type == "cispo":
        direct = -ratio.clamp(max=spec.epsilon_high) * advantages
    elif spec.loss_type == "vespo":
        direct = -_vespo_weight(logp, batch, spec) * advantages
    elif spec.loss_type == "sapo":
        temperature = _by_sign(advantages > 0, spec.sapo_temperatures, logp)
        gate = torch.sigmoid(temperature * (ratio - 1))
        through = -4 * gate * (1 - gate) * ratio_gradient * advantages
    else:
        bounded = ratio if spec.delta is None else ratio.clamp(max=spec.delta)
        clipped = ratio.clamp(1 - spec.epsilon_low, 1 + spec.epsilon_high)
        # Ties count as unclipped: at r = 1 both sides of the minimum are the ratio itself.
        learns = torch.where(bounded * advantages <= clipped * advantages, ratio == bounded, ratio == clipped)
        through = -ratio_gradient * advantages * learns
    if batch.is_ratio is not None and spec.loss_type != "vespo":
        direct, through = direct * batch.is_ratio, through * batch.is_ratio
    # The KL term: d k3 / dlogp = 1 - e^gap, and the factor r has a gradient of its own.
    if spec.beta:
        gap = batch.ref_logp - logp
        if not spec.bias_correct_kl:
            direct = direct - spec.beta * torch.expm1(gap)
        elif spec.level == "token":  # both parts added up by hand: e^gap cancels
            direct = direct - spec.beta * ratio * gap
        else:
            direct = direct - spec.beta * ratio * torch.expm1(gap)
            through = through + spec.beta * ratio_gradient * _k3(logp, batch)
    if spec.level == "token":
        return batch.weights * (direct + through)
    # The log ratio of a completion is the mean over its n tokens, so each token gets 1/n of its gradient.
    share = batch.mask.to(logp.dtype) / batch.mask.sum(-1, keepdim=True).clamp(min=1)
    return batch.weights * direct + share * (batch.weights * through).sum(-1, keepdim=True)


def known_before_scoring(batch: Batch, spec: GRPOSpec) -> bool:
    """Whether the coefficients do not depend on logp at all: on-policy without a KL term, the usual case."""
    return batch.old_logp is None and not spec.beta


def known_per_token(spec: GRPOSpec) -> bool:
    """Whether a token's coefficient needs no other token's logp."""
    return spec.level == "token" and spec.loss_type != "vespo"


@torch.no_grad()
def batch_stats(logp: Tensor, batch: Batch, spec: GRPOSpec) -> dict[str, Tensor]:
    """Means over tokens, as scalars: `kl` (if beta), `clip_low` and `clip_high` (clipped losses), `clip` (cispo)."""
    logp = torch.where(batch.mask, logp, 0)
    ratio, advantages = _log_ratio(logp, batch, spec).clamp(max=LOG_RATIO_LIMIT).exp(), batch.advantages
    stats = {}
    if spec.beta:
        stats["kl"] = _k3(logp, batch) * (ratio if spec.bias_correct_kl else 1)
    # Only the side that gains counts as clipped: on the other one the gradient still flows.
    if spec.loss_type == "cispo":
        stats["clip"] = (ratio > spec.epsilon_high) & (advantages > 0)
    elif spec.loss_type in CLIPPED:
        stats["clip_low"] = (ratio < 1 - spec.epsilon_low) & (advantages < 0)
        stats["clip_high"] = (ratio > 1 + spec.epsilon_high) & (advantages > 0)
    return {name: masked_mean(value, batch.mask) for name, value in stats.items()}


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of x over the true positions of mask, 0 where there are none."""
    return torch.where(mask, x, 0).sum() / mask.sum().clamp(min=1)


def _log_ratio(logp: Tensor, batch: Batch, spec: GRPOSpec) -> Tensor:
    """log(policy / old policy): [B, T] at token level, [B, 1] at sequence level."""
    # On-policy the ratio is 1, but it must keep the gradient of logp.
    log_ratio = logp - (logp.detach() if batch.old_logp is None else batch.old_logp)
    if spec.level == "sequence":
        length = batch.mask.sum(-1, keepdim=True).clamp(min=1)
        log_ratio = log_ratio.sum(-1, keepdim=True) / length
    return log_ratio


def _k3(logp: Tensor, batch: Batch) -> Tensor:
    """Schulman's k3, [B, T]. expm1 keeps its digits where the gap is small, as it is in training."""
    gap = batch.ref_logp - logp
    return torch.expm1(gap) - gap


def _by_sign(positive: Tensor, pair: tuple[float, float], like: Tensor) -> Tensor:
    return torch.where(positive, like.new_tensor(pair[0]), like.new_tensor(pair[1]))


def _vespo_weight(logp: Tensor, batch: Batch, spec: GRPOSpec) -> Tensor:
    """phi(R) = e^lambda R^k e^(-lambda R), R the ratio of the whole completion, sampler's ratio included; phi(1) = 1."""
    log_ratio = torch.zeros_like(logp) if batch.old_logp is None else logp - batch.old_logp
    log_ratio = log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).sum(-1, keepdim=True)
    floor = math.log(1e-8)  # TRL's: stands for log 0
    if batch.is_ratio is not None:
        log_ratio = log_ratio + batch.is_ratio.log().clamp(floor, LOG_RATIO_LIMIT).sum(-1, keepdim=True)
    log_ratio = log_ratio.clamp(floor, LOG_RATIO_LIMIT)
    k = _by_sign(batch.advantages >= 0, spec.vespo_k, logp)
    rate = _by_sign(batch.advantages >= 0, spec.vespo_lambda, logp).clamp(min=1e-4)
    return torch.exp(rate + k * log_ratio - rate * log_ratio.exp())
