"""The GRPO loss without the logits: the mathematics in `grpo`, the kernel in `fused`."""

from r1lab.kernels.fused import FusedOut, LogpOut, fused_grpo_loss, linear_logp
from r1lab.kernels.grpo import LOSSES, GRPOSpec, grpo_loss, step_normalizer
