"""Your own reward: R1-Zero with a second reward for short answers, which only right answers get.

    python examples/own_reward.py               # 30 steps; R1-Zero's 130 take about three minutes on two quiet cores
    python examples/own_reward.py --steps 130   # as long as R1-Zero itself

A reward is a function that TRL calls with keyword lists, one entry per completion: `completions`, `completion_ids` (tokens), `prompts`, and
every column of the data set (`solution`, `verifier`, `language`, ...). It returns one number per completion.
"""

import argparse

from r1lab.rewards import grade_many
from r1lab.scale import get_scale, output_folder
from r1lab.stages.grpo import make_grpo_trainer
from r1lab.stages.runner import run_trainer
from r1lab.stages.zero import zero_dataset, zero_rewards
from r1lab.view import progress_line

# Tokens. A right answer of this length gets no extra reward.
LIMIT = 96


def brief_if_right(completions, completion_ids, solution, verifier, tests, **columns) -> list[float]:
    """Up to 1 for a short right answer, 0 for every wrong one, so that short wrong answers are never rewarded."""
    rows = [
        {"solution": gold, "verifier": kind, "tests": hidden}
        for gold, kind, hidden in zip(solution, verifier, tests, strict=True)
    ]
    right = grade_many(completions_text(completions), rows, require_tags=True)
    return [
        max(0.0, 1 - len(ids) / LIMIT) if ok else 0.0 for ids, ok in zip(completion_ids, right, strict=True)
    ]


def completions_text(completions) -> list[str]:
    """The texts of completions, which TRL passes as chat messages when the prompt is a chat, else as strings."""
    return [c if isinstance(c, str) else c[-1]["content"] for c in completions]


def main(argv: list[str] | None = None) -> dict[str, tuple[float, float]]:
    """{column: (mean of the first steps, mean of the last)} after a training with the reward."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=30)
    steps = parser.parse_args(argv).steps

    # 1. By hand, before any training: which reward do short right, long right and short wrong answers get?
    short, wrong = "<think>7+7=14.</think> <answer>14</answer>", "<think>.</think> <answer>15</answer>"
    columns = {"solution": ["14"] * 3, "verifier": ["math"] * 3, "tests": [""] * 3}
    scores = brief_if_right([short, short, wrong], [[0] * 20, [0] * 60, [0] * 10], **columns)
    print("right and short {:.2f}, right and long {:.2f}, wrong and short {:.2f}".format(*scores))
    assert scores[0] > scores[1] > scores[2] == 0

    # 2. Beside the rewards of R1-Zero, at half the weight of being right.
    rewards = zero_rewards()
    rewards["reward_funcs"].append(brief_if_right)
    rewards["reward_weights"].append(0.5)

    # 3. The same trainer as in notebook 04.
    scale = get_scale()
    trainer = make_grpo_trainer(
        scale,
        output_folder() / "own-reward",
        dataset=zero_dataset(scale),
        rewards=rewards,
        max_steps=steps,
        show=progress_line(),
    )
    history = [row for row in run_trainer(trainer)["history"] if "reward" in row]
    print()
    means = {}
    for key in ("rewards/brief_if_right/mean", "rewards/format/mean", "completions/mean_length"):
        ends = [sum(row[key] for row in rows) / len(rows) for rows in (history[:5], history[-5:])]
        means[key] = tuple(ends)
        print(f"{key:<28} first steps {ends[0]:6.2f}   last steps {ends[1]:6.2f}")
    return means


if __name__ == "__main__":
    main()
