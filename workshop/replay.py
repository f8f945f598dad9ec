"""Plays a recorded R1-Zero run in a terminal, faster than it was: `python workshop/replay.py`, for the day a machine refuses.

The rows come from data/runs/zero-SEED.json, the log of a real run; nothing is computed here, so it needs only Python.
"""

import argparse
import json
import time
from pathlib import Path

RUNS = Path(__file__).resolve().parents[1] / "data" / "runs"
COLUMNS = {  # heading: (key in the log, how it is shown)
    "reward": ("reward", "{:.2f}"),
    "format": ("rewards/format/mean", "{:.0%}"),
    "math right": ("rewards/accuracy/mean", "{:.0%}"),
    "tokens": ("completions/mean_length", "{:.0f}"),
    "silent groups": ("frac_reward_zero_std", "{:.0%}"),
}


def mean(rows: list[dict], key: str) -> float | None:
    """The mean of one column over rows; None where no row has it (a step may hold no problem of a kind)."""
    values = [row[key] for row in rows if row.get(key) is not None]
    return sum(values) / len(values) if values else None


def table_lines(run: dict, every: int = 10) -> list[str]:
    """A heading and one line for every `every` steps, each the mean of its steps."""
    lines = ["step  " + "".join(f"{name:>15}" for name in COLUMNS)]
    history = run["history"]
    for end in range(every, len(history) + 1, every):
        rows = history[end - every : end]
        cells = ((mean(rows, key), how) for key, how in COLUMNS.values())
        lines.append(
            f"{end:>4}  " + "".join(f"{how.format(x) if x is not None else '':>15}" for x, how in cells)
        )
    return lines


def main() -> None:
    """Print the run line by line, then what it changed on problems it never saw."""
    parser = argparse.ArgumentParser(description="Replay a recorded R1-Zero run.")
    parser.add_argument("--seed", type=int, default=0, choices=(0, 1, 2))
    parser.add_argument("--seconds", type=float, default=30, help="how long the replay takes (default 30)")
    options = parser.parse_args()
    run = json.loads((RUNS / f"zero-{options.seed}.json").read_text(encoding="utf-8"))
    print(
        f"A recording: seed {run['seed']}, {run['date']}, {len(run['history'])} steps in {run['seconds']:.0f} s on two cores.\n"
    )
    lines = table_lines(run)
    for line in lines:
        print(line, flush=True)
        time.sleep(options.seconds / len(lines))
    base = json.loads((RUNS / "zero-base.json").read_text(encoding="utf-8"))
    print("\nOn 600 held-out problems, with 95 % intervals:")
    for label, report in (("base", base["report"]), ("R1-Zero", run["report"])):
        said = []
        for metric in ("greedy_accuracy", "sampled_accuracy", "format_rate"):
            value, low, high = (100 * report["overall"][metric][key] for key in ("value", "low", "high"))
            said.append(f"{metric.replace('_', ' ')} {value:.0f} % [{low:.0f}, {high:.0f}]")
        print(f"{label:<9}" + "   ".join(said))


if __name__ == "__main__":
    main()
