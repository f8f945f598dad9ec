"""The measured figures: R1-Zero from the tiny base for several seeds, judged on the whole test split."""

import argparse
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path

from r1lab.scale import DATA, get_scale, output_folder

SAMPLES = 64  # of the base and of the first seed, for pass@64 ...
FEWER_SAMPLES = 16  # ... and of the other seeds, which need a mean only
CARD_COLUMNS = ("greedy_accuracy", "sampled_accuracy", "format_rate", "pass@16", "pass@64")
KEPT = (
    "step",
    "reward",
    "reward_std",
    "frac_reward_zero_std",
    "completions/mean_length",
    "completions/clipped_ratio",
    "entropy",
)


def stamp(seed: int) -> dict:
    """What a reader needs to judge or repeat a run."""
    packages = {name: version(name) for name in ("torch", "transformers", "trl")}
    return {
        "seed": seed,
        "scale": get_scale().name,
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "packages": packages,
        "command": "make bench",
    }


def shorten(history: list[dict]) -> list[dict]:
    """The columns of a TRL log worth keeping in git, rounded; a reward no problem of a step asked for is left out."""

    def kept(key: str, value: float | None) -> bool:
        return value is not None and (key in KEPT or (key.startswith("rewards/") and key.endswith("/mean")))

    steps = [row for row in history if "reward" in row]
    return [{key: round(value, 4) for key, value in row.items() if kept(key, value)} for row in steps]


def fill(path: Path, name: str, text: str) -> None:
    """Put `text` between the comments `<!-- name ... -->` and `<!-- /name -->` of a Markdown file."""
    whole = path.read_text(encoding="utf-8")
    head, opening, rest = whole.partition(f"<!-- {name}")
    comment, _, rest = rest.partition("-->\n")
    _, closing, tail = rest.partition(f"<!-- /{name} -->")
    if not closing:
        raise ValueError(f"{path.name} has no place marked {name!r}: put the two comments back")
    path.write_text(f"{head}{opening}{comment}-->\n{text}\n{closing}{tail}", encoding="utf-8")


def main(argv: list[str]) -> None:
    """`python -m r1lab bench`: writes data/runs/zero-base.json and data/runs/zero-SEED.json, prints the table."""
    parser = argparse.ArgumentParser(
        prog="r1lab bench", description="R1-Zero for several seeds on the test split."
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--output", type=Path, default=DATA / "runs", help="folder of the JSON files (default data/runs)"
    )
    options = parser.parse_args(argv)
    from r1lab.evaluation import compare, evaluate, table
    from r1lab.policy import Policy, load_policy, set_threads
    from r1lab.problems import load_problems
    from r1lab.stages.grpo import write_json
    from r1lab.stages.zero import train_zero
    from r1lab.view import progress_line

    set_threads()
    scale, problems = get_scale(), load_problems("test")
    how = {"samples": SAMPLES, "template": scale.template, "max_new_tokens": scale.longest_answer}
    base = evaluate(load_policy(scale), problems, label="base", **how)
    write_json({**stamp(0), "report": base}, options.output / "zero-base.json")
    reports = {"base": base}
    for seed in range(options.seeds):
        run = train_zero(
            scale, output_folder() / f"bench-zero-{seed}", seed=seed, show=progress_line(scale.steps)
        )
        trainer = run["trainer"]
        policy = Policy(trainer.model, trainer.processing_class)
        label = f"zero, seed {seed}"
        if seed:
            how["samples"] = FEWER_SAMPLES
        report = evaluate(policy, problems, label=label, **how)
        gains = {metric: compare(base, report, metric) for metric in ("greedy_accuracy", "sampled_accuracy")}
        record = {
            **stamp(seed),
            "seconds": run["seconds"],
            "gains": gains,
            "history": shorten(run["history"]),
            "report": report,
        }
        write_json(record, options.output / f"zero-{seed}.json")
        reports[label] = report
        print(f"\nseed {seed}: trained in {run['seconds']:.0f} s")
    measured = table(reports)
    print(measured)
    fill(DATA.parent / "README.md", "results", measured)
    domains = table({"tiny-base": base}, rows="domain", columns=CARD_COLUMNS)
    levels = table({"tiny-base": base}, rows="level", columns=CARD_COLUMNS)
    overall = table({"tiny-base": base}, columns=CARD_COLUMNS)
    fill(DATA / "models" / "tiny-base" / "README.md", "evaluation", "\n\n".join([overall, domains, levels]))
