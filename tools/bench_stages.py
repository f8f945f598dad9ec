"""The measured figures: every stage and its controls for several seeds, evaluated on the whole test split."""

import argparse
import json
import platform
import shutil
from datetime import date
from importlib.metadata import version
from pathlib import Path

from r1lab.recipe import PRETRAINED, STAGES, TRAINED, VARIANTS
from r1lab.scale import DATA, get_scale, output_folder

# Samples of each problem: (first seed of the stage itself, other seeds and controls). R1-Zero's pass@64 needs 64; the others
# need a mean only.
SAMPLES = {"base": (64, 64), "zero": (64, 16)}
OTHER_SAMPLES = (8, 4)
CARD_COLUMNS = ("greedy_accuracy", "sampled_accuracy", "format_rate", "pass@16", "pass@64")
# Columns of a TRL log that are worth keeping in git, besides the mean of every reward.
KEPT = {
    "step",
    "reward",
    "reward_std",
    "frac_reward_zero_std",
    "completions/mean_length",
    "completions/clipped_ratio",
    "entropy",
}


def main(argv: list[str], stages: tuple[str, ...] = TRAINED[1:], prog: str = "bench-stages") -> None:
    """Train and evaluate variants of `stages` for several seeds; write data/runs/VARIANT-SEED.json and the README's tables.

    Each seed is a chain: a stage starts from what the one before left. A run that is already there is kept, so that a
    bench that was interrupted goes on where it was.
    """
    from r1lab.results import run_path

    parser = argparse.ArgumentParser(prog=f"maintain.py {prog}", description=main.__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--stages", nargs="+", default=stages, choices=TRAINED)
    parser.add_argument("--variants", nargs="+", help="only these")
    parser.add_argument(
        "--output", type=Path, default=DATA / "runs", help="folder of the JSON files (default data/runs)"
    )
    options = parser.parse_args(argv)
    names = [name for name, (stage, _) in VARIANTS.items() if stage in options.stages]
    if unknown := [name for name in options.variants or () if name not in names]:
        raise ValueError(
            f"{', '.join(unknown)} is no variant of {', '.join(options.stages)}: choose from {', '.join(names)}"
        )
    scale = get_scale()
    # The pretrained models are evaluated, too: each is the line before its first stage.
    runs = [
        (base, 0)
        for base, stage in (("base", "zero"), ("student-base", "distill"))
        if stage in options.stages
    ]
    runs += [(name, seed) for seed in options.seeds for name in options.variants or names]
    for name, seed in runs:
        path = run_path(name, seed, options.output)
        if path.is_file():
            print(f"{path.name} is kept: remove it to measure it again")
        elif name in VARIANTS:
            measure(name, seed, path, scale)
        else:
            evaluate_pretrained(name, path)
    if options.output == DATA / "runs":
        fill_readme()


def main_zero(argv: list[str]) -> None:
    """The bench of R1-Zero alone."""
    main(argv, stages=("zero",), prog="bench")


def evaluate_test(policy, label: str, samples: int) -> dict:
    """The report of a policy on the test split, as this scale's policies are asked."""
    from r1lab.evaluation import evaluate
    from r1lab.problems import load_problems

    scale, problems = get_scale(), load_problems("test")
    limit = {"template": scale.template, "max_new_tokens": scale.longest_answer}
    return evaluate(policy, problems, samples=samples, label=label, **limit)


def evaluate_pretrained(name: str, path: Path) -> None:
    """A pretrained model on the test split: a run without a training. Its card gets the evaluation, too."""
    from r1lab.policy import load_policy, set_threads
    from r1lab.results import save_run

    set_threads()
    folder = STAGES[name.replace("-", "_")].ships
    report = evaluate_test(load_policy(folder), name.replace("-", " "), SAMPLES["base"][0])
    save_run({**stamp(0), "seconds": 0.0, "facts": {}, "report": report}, path)
    fill_card(folder, report)


def measure(name: str, seed: int, path: Path, scale) -> None:
    """Train one variant from this seed's earlier checkpoints, evaluate it on the test split, write the run."""
    from r1lab.evaluation import table
    from r1lab.policy import load_policy, set_threads
    from r1lab.results import save_run
    from r1lab.stages.runner import train_stage
    from r1lab.view import progress_line

    set_threads()
    stage, _ = VARIANTS[name]
    folders = {need: chain_folder(need, seed) for need in STAGES[stage].needs if need not in PRETRAINED}
    if "zero" in folders and not (folders["zero"] / "stage.json").is_file():
        train_stage("zero", scale, folders["zero"], seed=seed, show=progress_line())
    print(f"\n{name}, seed {seed}", flush=True)
    output = chain_folder(name, seed)
    # What an interrupted run left there must not pass for this one, here or as a parent of the next stage.
    shutil.rmtree(output, ignore_errors=True)
    run = train_stage(name, scale, output, folders=folders, seed=seed, show=progress_line())
    first, others = SAMPLES.get(stage, OTHER_SAMPLES)
    report = evaluate_test(load_policy(output), name, first if name == stage and not seed else others)
    record = {**stamp(seed), "stage": stage, "seconds": run["seconds"], "history": shorten(run["history"])}
    save_run({**record, "facts": run["facts"], "report": report}, path)
    print(f"trained in {run['seconds']:.0f} s\n{table({name: report})}", flush=True)


def chain_folder(name: str, seed: int) -> Path:
    """Where a run of the bench keeps its checkpoint."""
    return output_folder() / f"chain-{seed}" / name


def stamp(seed: int, command: str = "make bench-stages") -> dict:
    """What a reader needs to judge or repeat a run."""
    packages = {name: version(name) for name in ("torch", "transformers", "trl")}
    return {
        "seed": seed,
        "scale": get_scale().name,
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "packages": packages,
        "command": command,
    }


def shorten(history: list[dict]) -> list[dict]:
    """The columns of a TRL log worth keeping in git, rounded. A reward that applied to no problem of a step has no value."""

    def is_kept(key: str, value: float | None) -> bool:
        return value is not None and (key in KEPT or (key.startswith("rewards/") and key.endswith("/mean")))

    steps = [row for row in history if "reward" in row]
    return [{key: round(value, 4) for key, value in row.items() if is_kept(key, value)} for row in steps]


def fill(path: Path, name: str, text: str) -> None:
    """Put `text` between the comments `<!-- name ... -->` and `<!-- /name -->` of a Markdown file."""
    whole = path.read_text(encoding="utf-8")
    head, opening, rest = whole.partition(f"<!-- {name}")
    comment, _, rest = rest.partition("-->\n")
    _, closing, tail = rest.partition(f"<!-- /{name} -->")
    if not closing:
        raise ValueError(f"{path.name} has no place marked {name!r}: put the two comments back")
    path.write_text(f"{head}{opening}{comment}-->\n{text}\n{closing}{tail}", encoding="utf-8")


def readme_tables() -> dict[str, str]:
    """The two tables of results in the README, by the names of their places."""
    from r1lab.evaluation import table
    from r1lab.results import load_run, load_seeds, stages_table

    reports = {"base": load_run("base")["report"]}
    reports |= {f"zero, seed {run['seed']}": run["report"] for run in load_seeds("zero")}
    return {"results": table(reports), "stages": stages_table()}


def fill_readme() -> None:
    """Write the two tables of results into the README."""
    for name, text in readme_tables().items():
        fill(DATA.parent / "README.md", name, text)


def card_tables(name: str, report: dict) -> str:
    """The evaluation of a base model as its card shows it."""
    from r1lab.evaluation import table

    tables = [table({name: report}, rows=rows, columns=CARD_COLUMNS) for rows in (None, "domain", "level")]
    return "\n\n".join(tables)


def fill_card(name: str, report: dict) -> None:
    """Write the evaluation of a base model into its card."""
    fill(DATA / "models" / name / "README.md", "evaluation", card_tables(name, report))


def main_ship(argv: list[str]) -> None:
    """Copy a seed's checkpoints from the bench into data/models, in bfloat16, with the evaluation in their cards."""
    parser = argparse.ArgumentParser(
        prog="maintain.py ship", description="Put the bench's checkpoints into data/models."
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", nargs="+", default=TRAINED, choices=TRAINED)
    options = parser.parse_args(argv)
    import torch

    from r1lab.evaluation import table
    from r1lab.policy import load_model, save_tokenizer
    from r1lab.results import load_run
    from r1lab.stages.checkpoints import RECORD, find_stage, stage_card

    for stage in options.stages:
        source = Path(find_stage(get_scale(), stage, chain_folder(stage, options.seed)))
        target = DATA / "models" / STAGES[stage].ships
        unfinished = target.with_name(f"{target.name}.partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        model, tokenizer = load_model(source)
        model.to(torch.bfloat16).save_pretrained(unfinished)
        save_tokenizer(tokenizer, unfinished)
        record = json.loads((source / RECORD).read_text(encoding="utf-8"))
        record["parents"] = {need: STAGES[need].ships for need in STAGES[stage].needs}
        (unfinished / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        report = {STAGES[stage].ships: load_run(stage, options.seed)["report"]}
        evaluation = (
            f"On the test split (600 problems, 95 % intervals), in float32 before rounding to bfloat16:\n\n"
            f"{table(report)}\n\n{table(report, rows='domain')}"
        )
        (unfinished / "README.md").write_text(stage_card(record, evaluation), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)
        size = sum(file.stat().st_size for file in target.iterdir()) / 1e6
        print(f"{stage} -> data/models/{target.name}, {size:.1f} MB")
