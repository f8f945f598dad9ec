"""One line in a terminal that says how far a training run is and whether it learns."""

import sys
import time
from collections.abc import Callable


def progress_line(steps: int, stream=None) -> Callable[[dict], None]:
    """A function for `MetricsLog(show=...)`: rewrites one line with the step, the reward and the minutes left."""
    stream = stream or sys.stdout
    started = time.time()

    def show(log: dict) -> None:
        if "reward" not in log:
            return
        left = (time.time() - started) / log["step"] * (steps - log["step"])
        bar = "#" * (20 * log["step"] // steps)
        stream.write(
            f"\r[{bar:<20}] {log['step']}/{steps}  reward {log['reward']:.2f}  "
            f"format {log.get('rewards/format/mean', 0):.0%}  {left / 60:.1f} min left "
        )
        stream.flush()

    return show
