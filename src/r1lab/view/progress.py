"""One line in a terminal that says how far a training run is and whether it learns."""

import sys
import time
from collections.abc import Callable


def progress_line(stream=None) -> Callable[[dict], None]:
    """A function for `MetricsLog(show=...)`: rewrites one line with the step, what is learned and the minutes left."""
    stream = stream or sys.stdout
    # Time and step at which this run began: a resumed run does not begin at step 0.
    started, first = 0.0, None

    def show(log: dict) -> None:
        nonlocal started, first
        if "reward" in log:
            learned = f"reward {log['reward']:.2f}  format {log.get('rewards/format/mean', 0):.0%}"
        elif "loss" in log:
            learned = f"loss {float(log['loss']):.3f}"
        else:
            return
        step, steps = log["step"], log["steps"]
        # A stage with two trainings shows one after the other.
        if first is None or step <= first:
            started, first = time.time(), step
        left = (time.time() - started) / max(step - first, 1) * (steps - step)
        bar = "#" * (20 * step // steps)
        stream.write(f"\r[{bar:<20}] {step}/{steps}  {learned}  {left / 60:.1f} min left ")
        stream.flush()

    return show
