"""Your own data set: questions from a JSONL file, checked before the training, then trained on.

    python examples/own_problems.py                       # examples/market.jsonl, 20 steps
    python examples/own_problems.py my.jsonl --steps 100

A line holds `prompt`, `solution` and `language`; `id` is given where it is missing. `verifier` says how answers are checked: "math" (the default: numbers and algebra), "logic"
(names that must be equal), "code" (run against `tests`), "countdown" (`numbers` that make `target`), or one you add to `rewards.VERIFIERS`.
"""

import argparse
import json
from pathlib import Path

from r1lab.policy import load_policy
from r1lab.prompts import format_completion
from r1lab.rewards import grade_many
from r1lab.rollouts import sample_and_grade
from r1lab.scale import get_scale, output_folder
from r1lab.stages.grpo import make_grpo_trainer
from r1lab.stages.runner import run_trainer
from r1lab.stages.zero import training_set, zero_rewards
from r1lab.view import progress_line

MARKET = Path(__file__).with_name("market.jsonl")


def read_problems(path: Path) -> list[dict[str, str]]:
    """Rows of a JSONL file, every one with the keys that rewards read. ValueError names a line that is not a problem."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        defaults = {
            "id": f"{path.stem}-{number}",
            "verifier": "math",
            "solution": "",
            "tests": "",
            "language": "en",
        }
        row = defaults | json.loads(line)
        if not row["prompt"] or not (row["solution"] or row.get("target")):
            raise ValueError(
                f"line {number} of {path.name} needs a `prompt` and a `solution` (for countdown `numbers` and a `target`), not empty"
            )
        rows.append(row)
    return rows


def unreadable(rows: list[dict[str, str]]) -> list[str]:
    """Prompts whose own solution the grader does not accept: on such a problem a right answer would earn nothing."""
    rows = [row for row in rows if row["solution"]]
    answers = [format_completion("so", row["solution"]) for row in rows]
    return [row["prompt"] for row, ok in zip(rows, grade_many(answers, rows), strict=True) if not ok]


def mixed_groups(rows: list[dict[str, str]], scale) -> int:
    """How many problems the base solves sometimes. At the start only those have a gradient."""
    limit = scale.max_completion_tokens
    settings = {"template": scale.template, "samples": scale.group_size, "max_new_tokens": limit}
    groups = sample_and_grade(load_policy(scale), rows, **settings)
    return sum(len({rollout["correct"] for rollout in group}) == 2 for group in groups)


def main(argv: list[str] | None = None) -> list[dict]:
    """The log rows of the training, after the problems were read and checked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", nargs="?", type=Path, default=MARKET)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args(argv)
    scale = get_scale()
    rows = read_problems(options.path)
    if bad := unreadable(rows):
        raise ValueError(
            f"the grader does not accept the solution of {len(bad)} problems, the first: {bad[0]!r}"
        )
    print(
        f"{len(rows)} problems, every solution accepted; {mixed_groups(rows, scale)} of them the base solves sometimes"
    )
    trainer = make_grpo_trainer(
        scale,
        output_folder() / "own-problems",
        dataset=training_set(rows, scale),
        rewards=zero_rewards(),
        max_steps=options.steps,
        show=progress_line(),
    )
    history = [row for row in run_trainer(trainer)["history"] if "reward" in row]
    print(f"\nreward of the first step {history[0]['reward']:.2f}, of the last {history[-1]['reward']:.2f}")
    return history


if __name__ == "__main__":
    main()
