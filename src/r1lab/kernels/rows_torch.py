"""The row kernel in plain torch: what happens to one tile of logits [rows, V] between two matrix products.

The tile is overwritten: logits, then e^(z - max z), then dL/dlogits. A tile is larger than the processor's cache, so `score`
goes through it in strips of a few rows, with all operations on one strip before the next.
"""

from typing import NamedTuple

import torch
from torch import Tensor

STRIP = 1 << 20  # elements of a strip: 4 MB in float32, about the cache of one core


class Head(NamedTuple):
    """The projection to the vocabulary: logits = softcap(logit_scale * (hidden @ weight.T + bias)) / temperature."""

    weight: Tensor  # [V, H] in the dtype of the matrix products
    bias: Tensor | None  # [V] in the dtype of the tile
    temperature: float
    logit_scale: float
    softcap: float | None


class Scores(NamedTuple):
    """What `score` computed for each row; all [rows]."""

    logp: Tensor
    entropy: Tensor | None
    total: Tensor  # sum of e^(z - max z)
    derivative: Tensor | None = None  # [rows, V], d z / d logits where a softcap makes it vary (torch)
    packed: Tensor | None = None  # [4, rows], logp, entropy, total and max z in one piece (triton)


def score(tile: Tensor, ids: Tensor, head: Head, with_entropy: bool) -> Scores:
    """logp of ids[row] and, if wanted, the entropy of every row of raw `tile`, which becomes e^(z - max z), 0 at the target.

    The sum without the target gives logp = -log(1 + (1 - p) / p), which loses neither a confident token (p next to 1) nor a
    large offset common to all logits.
    """
    rows, vocabulary = tile.shape
    logp, total = tile.new_empty(2, rows)
    entropy = tile.new_empty(rows) if with_entropy else None
    derivative = torch.empty_like(tile) if head.softcap else None
    step = max(1, STRIP // vocabulary)
    scratch = tile.new_empty(min(step, rows), vocabulary)
    for start in range(0, rows, step):
        strip = slice(start, start + step)
        z, target = tile[strip], ids[strip, None]
        _transform(z, head, None if derivative is None else derivative[strip])
        # Stage 1: e^(z - max z), which cannot overflow.
        shifted = torch.sub(z, z.amax(-1, keepdim=True), out=scratch[: len(z)])
        target_z = shifted.gather(-1, target)[:, 0]
        # Stage 2: the log-probability, from the sum over all other tokens.
        torch.exp(shifted, out=z).scatter_(-1, target, 0)
        others = z.sum(-1)
        log_odds = others.log() - target_z  # log((1 - p) / p)
        logp[strip] = -torch.logaddexp(log_odds, torch.zeros_like(log_odds))
        total[strip] = others + target_z.exp()
        # Stage 3: the entropy, log(total) - sum p (z - max z).
        if with_entropy:
            if head.bias is not None:
                shifted.clamp_(min=-1e3)  # a banned token: p = 0 and z = -inf, but p z = 0
            weighted = torch.linalg.vecdot(z, shifted) + target_z.exp() * target_z
            entropy[strip] = total[strip].log() - weighted / total[strip]
    return Scores(logp, entropy, total, derivative)


def differentiate(
    tile: Tensor, ids: Tensor, scores: Scores, head: Head, c: Tensor, e: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """dL/dlogits from c = dL/dlogp and e = dL/dentropy, written over what `score` left in `tile`.

    Returns the tile and a factor for each of its rows (None: 1). Scaling a row of V numbers is left to the two matrix
    products, which can scale the H of a hidden state instead. dz = c (1[target] - p) - e p (log p + entropy), with
    1 - p of the target from logp.
    """
    factor = 1.0 if scores.derivative is not None else head.logit_scale / head.temperature
    target, logp = ids[:, None], scores.logp
    if e is None:
        # The tile holds e^(z - max z), so dz / -c * total is there already, except at the target.
        tile.scatter_(-1, target, (scores.total * torch.expm1(logp))[:, None])
        scale = -factor * c / scores.total
    else:
        step = max(1, STRIP // tile.shape[1])
        for start in range(0, len(tile), step):
            strip = slice(start, start + step)
            p = tile[strip].div_(scores.total[strip, None])
            minus_p_log_p = torch.special.entr(p).mul_(e[strip, None])
            p.mul_(-(c + e * scores.entropy)[strip, None]).add_(minus_p_log_p)
        at_target = -c * torch.expm1(logp) - e * logp.exp() * (logp.clamp(min=-1e3) + scores.entropy)
        tile.scatter_(-1, target, at_target[:, None])
        scale = torch.full_like(c, factor)
    return (tile if scores.derivative is None else tile.mul_(scores.derivative)), scale


def _transform(z: Tensor, head: Head, derivative: Tensor | None) -> None:
    """Raw logits to z in place; d z / d logits goes to `derivative` where there is a softcap."""
    if head.bias is not None:
        z.add_(head.bias)
    if derivative is None:
        factor = head.logit_scale / head.temperature
        if factor != 1:
            z.mul_(factor)
        return
    # softcap(x) = cap tanh(x / cap), whose derivative is 1 - tanh^2 (Gemma 2, 2024).
    z.mul_(head.logit_scale / head.softcap).tanh_()
    torch.mul(z, z, out=derivative)
    derivative.neg_().add_(1).mul_(head.logit_scale / head.temperature)
    z.mul_(head.softcap / head.temperature)
