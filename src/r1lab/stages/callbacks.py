"""Callbacks of the trainers: a log on disk, a stop at the first NaN, and rewards that must be finite."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import PrinterCallback, TrainerCallback
from transformers.trainer_callback import ExportableState

from r1lab.files import write_json
from r1lab.rewards.base import completion_texts
from r1lab.stages.run_folder import keep_newest, resume_point


class FiniteReward:
    """The values of another reward, unchanged. Raises ValueError when one of them is NaN or infinite.

    TRL reads NaN as None, which means that the reward does not apply. A reward that divides by zero would go unnoticed.
    """

    def __init__(self, reward: Callable) -> None:
        # TRL names the logged metrics after `__name__`.
        self.reward, self.__name__ = reward, reward.__name__

    def __call__(self, **columns) -> list[float | None]:
        values = self.reward(**columns)
        # The message names the completion, because it is what the author of a reward needs to reproduce the fault.
        for completion, value in zip(columns["completions"], values, strict=True):
            if value is not None and not math.isfinite(value):
                (text,) = completion_texts([completion])
                raise ValueError(
                    f"the reward {self.__name__!r} gave {value} for the completion {text[:80]!r}: "
                    "a reward must be a finite number, or None for a problem it does not apply to"
                )
        return values


class MetricsLog(TrainerCallback):
    """Writes the trainer's whole log to `path` as JSON after every step, atomically, and calls `show` with each row.

    Raises FloatingPointError when a logged number is not finite, before a worse checkpoint replaces the last good one.
    After three steps a long run prints how long it will take. Of several processes only the first writes and shows.
    """

    def __init__(self, path: Path | str, show=None):
        self.path, self.show, self.times = Path(path), show, []

    def on_log(self, args, state, control, logs=None, **kwargs):
        # Stage 1: the file first, so that it also holds the row that stops the run.
        if state.is_world_process_zero:
            write_json(state.log_history, self.path)
        # Stage 2: stop at a number that is not finite. All processes log the same numbers, so all of them stop. In float16 the
        # scaler skips a step whose gradient overflows. This is how it finds its scale, so there an infinite gradient norm is
        # no fault.
        names = ("loss", "reward") if args.fp16 else ("loss", "reward", "grad_norm")
        for name in names:
            value = (logs or {}).get(name, 0.0)
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"{name} is {value} at step {state.global_step}, learning rate {logs.get('learning_rate')}: a rate too "
                    f"high or a number too large for {'half' if args.fp16 or args.bf16 else 'single'} precision; "
                    f"this step is not saved, lower the rate and go on with --resume {resume_point(args.output_dir)}"
                )
        # Stage 3: the row goes to the notebook's figure or to the line in the terminal.
        if state.is_world_process_zero and self.show and logs:
            self.show({**logs, "step": state.global_step, "steps": state.max_steps})

    def on_step_end(self, args, state, control, **kwargs):
        self.times.append(time.time())
        # The first step also warms up, so the estimate uses the next two.
        if len(self.times) == 3 and state.is_world_process_zero:
            step = (self.times[2] - self.times[0]) / 2
            minutes = step * (state.max_steps - state.global_step) / 60
            # A shorter run needs no warning.
            if minutes > 15:
                print(f"{step:.0f} s a step: about {minutes:.0f} more minutes for {state.max_steps} steps")

    def on_save(self, args, state, control, **kwargs):
        # Two processes that remove the same folder would get in each other's way.
        if state.is_world_process_zero:
            keep_newest(args.output_dir, state.global_step)


def attach_log(trainer, show=None) -> None:
    """Give `trainer` a `MetricsLog` that writes metrics.json in its output folder, and stop its own printing."""
    trainer.add_callback(MetricsLog(Path(trainer.args.output_dir) / "metrics.json", show=show))
    # It would print a line of thirty numbers at every step.
    trainer.remove_callback(PrinterCallback)


class EpochOrder(TrainerCallback, ExportableState):
    """Lets a resumed run go through the rest of its epoch in the order in which the epoch began.

    `group_by_length` shuffles with torch's global generator when an epoch begins. transformers loads the generator of a
    checkpoint only after that, so from the second epoch on a resumed run would skip the first rows of another order.
    """

    def __init__(self):
        # The generator when the epoch began, as hexadecimal digits; "" before the first epoch of this process.
        self.begin = ""

    def state(self) -> dict:
        """What transformers writes into trainer_state.json: the generator when the epoch began, and now."""
        return {"args": {}, "attributes": {"begin": self.begin, "now": generator_state()}}

    def on_epoch_begin(self, args, state, control, **kwargs):
        saved = state.stateful_callbacks.get("EpochOrder", {}).get("attributes", {})
        # Only in the first epoch of a resumed process. Later epochs begin where the generator is.
        if not self.begin and saved.get("begin"):
            # A checkpoint at the end of an epoch goes on with a new epoch, whose order is not sampled yet.
            hexadecimal = saved["now" if state.epoch == int(state.epoch) else "begin"]
            torch.set_rng_state(torch.frombuffer(bytearray.fromhex(hexadecimal), dtype=torch.uint8))
        self.begin = generator_state()


def generator_state() -> str:
    """The state of torch's global generator as hexadecimal digits."""
    return torch.get_rng_state().numpy().tobytes().hex()
