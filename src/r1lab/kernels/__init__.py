"""The GRPO loss without the logits: mathematics in `grpo_reference`, the kernel in `fused`."""

from r1lab.kernels.fused import FusedOut, LogpOut, fused_grpo_loss, linear_logp
from r1lab.kernels.grpo_reference import LOSSES, GRPOSpec, reference_grpo, step_normalizer

__all__ = [
    "LOSSES",
    "FusedOut",
    "GRPOSpec",
    "LogpOut",
    "fused_grpo_loss",
    "linear_logp",
    "reference_grpo",
    "step_normalizer",
]
