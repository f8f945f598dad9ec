"""The picture of a GPU check: kernel against TRL, R1-Zero over time, a step of Qwen3-4B, and SmolLM2's reward."""

import json
from pathlib import Path

from r1lab.view.style import PALETTE, new_figure


def draw(folder: Path) -> Path:
    """Draw what the JSON files in `folder` hold into `gpu-check.png` there, whose path is returned."""
    records = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("gpu-*.json")}
    rows = {name: record.get("measurements", []) for name, record in records.items()}
    device = next((r["machine"]["device"] for r in records.values() if "machine" in r), "nothing measured")
    with new_figure(2, 2, width=11, row_height=3.6) as (figure, axes):
        figure.suptitle(f"Measured on {device}", x=0.01, ha="left", fontsize=12)
        draw_speed(axes[0, 0], rows.get("gpu-speed", []))
        draw_zero(axes[0, 1], {name: row for name, row in rows.items() if name.startswith("gpu-zero")})
        draw_steps(axes[1, 0], rows.get("gpu-qwen3", []))
        draw_rewards(axes[1, 1], rows.get("gpu-smollm2", []))
        picture = folder / "gpu-check.png"
        figure.savefig(picture, dpi=160)
    return picture


def empty(ax, title: str) -> None:
    """Mark a panel as not measured."""
    ax.set_title(title)
    ax.text(0.5, 0.5, "not measured", ha="center", va="center", transform=ax.transAxes, color="#777777")
    ax.set_xticks([]), ax.set_yticks([])


def draw_speed(ax, rows: list[dict]) -> None:
    """Time of each implementation as a multiple of TRL's, by case."""
    cases = list(dict.fromkeys(row["case"] for row in rows if "case" in row))
    seconds = {(row["case"], row["implementation"]): row.get("seconds") for row in rows if "case" in row}
    title = "Loss and gradient: time as a multiple of TRL's"
    if not any(seconds.get((case, "trl")) for case in cases):
        return empty(ax, title)
    ways = {
        "fused": "r1lab",
        "fused, silent rows unscored": "r1lab, silent rows unscored",
        "full logits": "full logits",
    }
    for i, (way, label) in enumerate(ways.items()):
        points = [
            (seconds[case, way] / seconds[case, "trl"], index)
            for index, case in enumerate(cases)
            if seconds.get((case, way)) and seconds.get((case, "trl"))
        ]
        if points:
            ax.plot(*zip(*points, strict=True), "osD"[i], color=PALETTE[i], label=label, markersize=7)
    ax.axvline(1, color="#555555", linewidth=1.2, linestyle=":")
    ax.set_yticks(range(len(cases)), cases, fontsize=7.5)
    ax.set_ylim(len(cases) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.set_xlabel("TRL = 1")
    ax.set_title(title)
    ax.legend(loc="upper center", bbox_to_anchor=(0.4, -0.16), ncols=3, fontsize=8)


def draw_zero(ax, runs: dict[str, list[dict]]) -> None:
    """Sampled accuracy over the seconds of training."""
    title = "R1-Zero, tiny world: accuracy over training time"
    curves = {name: [row for row in rows if "step" in row] for name, rows in runs.items()}
    if not any(curves.values()):
        return empty(ax, title)
    for color, (name, rows) in zip(PALETTE, sorted(curves.items()), strict=False):
        seconds = [row["training_seconds"] for row in rows]
        ax.plot(seconds, [100 * row["sampled_accuracy"] for row in rows], "o-", color=color, label=name[9:])
    ax.axhline(75, color="#555555", linewidth=1.2, linestyle=":")
    ax.set_xlim(left=0)
    ax.set_ylim(0, 100)
    ax.set_xlabel("seconds of training")
    ax.set_ylabel("sampled accuracy, %")
    ax.set_title(title)
    ax.legend(loc="lower right")


def draw_steps(ax, rows: list[dict]) -> None:
    """Peak memory of one optimizer step with and without the kernel; the seconds are printed beside the bars."""
    steps = [row for row in rows if "scale" in row]
    title = "A GRPO step of Qwen3-4B's size: peak memory and time"
    if not steps:
        return empty(ax, title)
    labels = [
        f"{r['scale']}, {r['completions']} x {r['completion_tokens']} tokens, {'r1lab' if r['kernel'] else 'TRL'}"
        for r in steps
    ]
    peaks = [row["peak_gib"] or 0 for row in steps]
    ax.barh(range(len(steps)), peaks, color=[PALETTE[0] if row["kernel"] else PALETTE[1] for row in steps])
    for index, row in enumerate(steps):
        peak = "" if row["peak_gib"] is None else f"{row['peak_gib']:.1f} GiB, "
        ax.text(peaks[index], index, f" {peak}{row['seconds']:.1f} s", va="center", fontsize=8.5)
    ax.set_yticks(range(len(steps)), labels, fontsize=8)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.45 * max(*peaks, 1))
    ax.set_xlabel("GiB")
    ax.grid(axis="y", visible=False)
    ax.set_title(title)


def draw_rewards(ax, rows: list[dict]) -> None:
    """Reward of SmolLM2 during GRPO, smoothed over ten steps."""
    title = "SmolLM2-135M on stories: reward during GRPO"
    rewards = next((row["rewards"] for row in rows if "rewards" in row), None)
    if not rewards:
        return empty(ax, title)
    smooth = [
        sum(rewards[max(0, i - 9) : i + 1]) / len(rewards[max(0, i - 9) : i + 1]) for i in range(len(rewards))
    ]
    steps = range(1, len(rewards) + 1)
    ax.plot(steps, rewards, color=PALETTE[0], alpha=0.3, linewidth=1)
    ax.plot(steps, smooth, "-", color=PALETTE[0], label="mean of ten steps")
    ax.set_xlabel("step")
    ax.set_ylabel("reward")
    ax.set_title(title)
    ax.legend(loc="upper left")
