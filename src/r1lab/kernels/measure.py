"""What the kernel is measured with: a random batch for the loss, and the seconds and the memory of a call."""

import ctypes
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from r1lab.kernels.grpo_reference import GRPOSpec

SPEC = GRPOSpec("dapo")  # on-policy, no KL term: what TRL does by default
GROUP = 4  # completions of one prompt
SHARES = (1.0, 0.875, 0.625, 0.5)  # their lengths where there is padding: 75% of the tokens are real
LOGIT_STD = 3.0


class Problem(NamedTuple):
    """What every implementation is given; `weight` asks for a gradient or not."""

    hidden: Tensor  # [B, T, H]
    weight: Tensor  # [V, H]
    ids: Tensor  # [B, T]
    mask: Tensor  # [B, T], 1.0 on real tokens
    advantages: Tensor  # [B]


def make_problem(
    completions: int,
    length: int,
    width: int,
    vocabulary: int,
    *,
    trainable: bool = True,
    sparse: bool = False,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Problem:
    """Random hidden states, head, tokens and advantages: logits of standard deviation 3, the same for the same sizes.

    sparse: every second group of 4 completions has advantage 0, and a quarter of the positions is padding. Raises
    ValueError where `completions` are not a multiple of two groups.
    """
    if completions % (2 * GROUP):
        raise ValueError(
            f"{completions} completions are not pairs of groups of {GROUP}: take a multiple of 8"
        )
    draw = {"generator": torch.Generator(device).manual_seed(0), "device": device}
    hidden = torch.randn(completions, length, width, **draw)
    weight = torch.randn(vocabulary, width, **draw) * (LOGIT_STD / width**0.5)
    ids = torch.randint(vocabulary, (completions, length), **draw)
    rewards = torch.rand(completions // GROUP, GROUP, **draw)
    advantages = (rewards - rewards.mean(1, keepdim=True)) / rewards.std(1, keepdim=True)
    mask = torch.ones(completions, length, device=device)
    if sparse:
        advantages[::2] = 0
        lengths = length * torch.tensor(SHARES).repeat(completions // GROUP)
        mask = (torch.arange(length, device=device) < lengths[:, None].to(device)).float()
    hidden = hidden.to(dtype).requires_grad_()
    return Problem(hidden, weight.to(dtype).requires_grad_(trainable), ids, mask, advantages.flatten())


def held(device: str = "cpu") -> int | None:
    """Bytes in use now: the allocator's on a GPU, the resident set on Linux, None elsewhere.

    On Linux, freed memory first goes back to the system. Otherwise a later call would reuse it and seem to need none.
    """
    if device == "cuda":
        return torch.cuda.memory_allocated()
    with suppress(OSError, AttributeError):  # only the GNU C library has it
        ctypes.CDLL(None).malloc_trim(0)
    return _resident("VmRSS")


def measure(
    run: Callable[[], object], above: int | None = None, device: str = "cpu"
) -> tuple[float, float | None]:
    """(seconds, peak memory in MB) of one call; the peak is counted from `above`, as `held` gave it (default: now).

    Take `above` before the first call, because memory that one call leaves to the next counts as needed. On Linux the high-water mark of the
    resident set is reset before the call; elsewhere, without a GPU, the peak is None.
    """
    above = held(device) if above is None else above
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    elif above is not None:
        Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else _resident("VmHWM")
    if device == "cuda":
        torch.cuda.empty_cache()  # the next process to measure may need it all
    return seconds, None if above is None else max(0, peak - above) / 1e6


def _resident(name: str) -> int | None:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return 1024 * int(status.partition(f"{name}:")[2].split()[0])


def forward_backward(implementation: Callable[[Problem], Tensor], p: Problem) -> Tensor:
    """One loss and its gradients, in `p.hidden.grad` and `p.weight.grad`; the loss is returned."""
    p.hidden.grad = p.weight.grad = None
    loss = implementation(p)
    loss.backward()
    return loss.detach()
