"""A random batch for the loss, and the seconds and the memory that a call needs: for notebook A2 and `make bench-kernel`."""

import ctypes
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

GROUP = 4  # completions of one prompt
LOGIT_STD = 3.0  # a trained model's logits spread about as far


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
    trainable=True,
    device="cpu",
    dtype=torch.float32,
) -> Problem:
    """Random hidden states, head, tokens and advantages without padding, the same for the same sizes.

    `completions` is a multiple of 4, the size of a group. trainable: whether the head asks for a gradient.
    """
    random = {"generator": torch.Generator(device).manual_seed(0), "device": device}
    hidden = torch.randn(completions, length, width, **random).to(dtype).requires_grad_()
    # A sum over H products of standard normal numbers has the standard deviation sqrt(H).
    weight = torch.randn(vocabulary, width, **random) * (LOGIT_STD / width**0.5)
    ids = torch.randint(vocabulary, (completions, length), **random)
    rewards = torch.rand(completions // GROUP, GROUP, **random)
    advantages = (rewards - rewards.mean(1, keepdim=True)) / rewards.std(1, keepdim=True)
    mask = torch.ones(completions, length, device=device)
    return Problem(hidden, weight.to(dtype).requires_grad_(trainable), ids, mask, advantages.flatten())


def measure(run: Callable[[], object], above: int | None = None) -> tuple[float, float | None]:
    """(seconds, peak memory in MB) of one call on a CPU; None for the peak where the system is not Linux.

    above: bytes from which the peak is counted, as `memory_now` gave them. The default is now. Take them before a first
    call, because memory that one call leaves to the next counts as needed.
    """
    above = memory_now() if above is None else above
    if above is not None:
        # Resets the high-water mark of the resident set, VmHWM.
        Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    return seconds, None if above is None else max(0, _resident("VmHWM") - above) / 1e6


def memory_now() -> int | None:
    """Bytes that this process holds, or None where the system is not Linux."""
    # Freed memory first goes back to the system. Otherwise a later call would reuse it and seem to need none.
    with suppress(OSError, AttributeError):  # only the GNU C library has it
        ctypes.CDLL(None).malloc_trim(0)
    return _resident("VmRSS")


def _resident(name: str) -> int | None:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return 1024 * int(status.partition(f"{name}:")[2].split()[0])
