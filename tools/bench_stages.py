"""The measured figures: every stage for several seeds, judged on the whole test split."""

import argparse
import platform
import shutil
from datetime import date
from importlib import import_module
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


STAGE_SAMPLES, FEWER_STAGE_SAMPLES = (
    8,
    4,
)  # a problem: of a stage with the first seed; of other seeds and of controls
CHAIN = ("cold_start", "reason", "reject", "align", "distill")  # each trains on what the one before left


def stamp(seed: int, command: str = "make bench") -> dict:
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
    """`python tools/maintain.py bench`: writes data/runs/zero-base.json and data/runs/zero-SEED.json, prints the table."""
    parser = argparse.ArgumentParser(
        prog="maintain.py bench", description="R1-Zero for several seeds on the test split."
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
    settings = {"samples": SAMPLES, "template": scale.template, "max_new_tokens": scale.longest_answer}
    base = evaluate(load_policy(scale), problems, label="base", **settings)
    write_json({**stamp(0), "report": base}, options.output / "zero-base.json")
    reports = {"base": base}
    for seed in range(options.seeds):
        run = train_zero(scale, output_folder() / f"bench-zero-{seed}", seed=seed, show=progress_line())
        trainer = run["trainer"]
        policy = Policy(trainer.model, trainer.processing_class)
        label = f"zero, seed {seed}"
        if seed:
            settings["samples"] = FEWER_SAMPLES
        report = evaluate(policy, problems, label=label, **settings)
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
    fill_card("tiny-base", base)


def fill_card(name: str, report: dict) -> None:
    """Write the evaluation of a base model into its card."""
    from r1lab.evaluation import table

    tables = [table({name: report}, rows=rows, columns=CARD_COLUMNS) for rows in (None, "domain", "level")]
    fill(DATA / "models" / name / "README.md", "evaluation", "\n\n".join(tables))


def main_stages(argv: list[str]) -> None:
    """`python tools/maintain.py bench-stages`: the stages after R1-Zero with their controls, a chain of checkpoints per seed.

    Writes data/runs/ARM-SEED.json. A run that is already there is kept, so that a broken bench goes on where it was.
    """
    parser = argparse.ArgumentParser(
        prog="maintain.py bench-stages",
        description="The stages after R1-Zero, and their controls, for several seeds.",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--stages", nargs="+", default=CHAIN, choices=CHAIN)
    parser.add_argument("--arms", nargs="+", help="only these arms")
    parser.add_argument(
        "--output", type=Path, default=DATA / "runs", help="folder of the JSON files (default data/runs)"
    )
    options = parser.parse_args(argv)
    from r1lab.results import ladder_table, run_path

    arms = {stage: import_module(f"r1lab.stages.{stage}").ARMS for stage in options.stages}
    known = [arm for stage in arms.values() for arm in stage]
    if unknown := [arm for arm in options.arms or () if arm not in known]:
        raise ValueError(
            f"no stage of {', '.join(arms)} has an arm called {', '.join(unknown)}: choose from {', '.join(known)}"
        )
    for seed in options.seeds:
        for stage in options.stages:
            for arm, train in arms[stage].items():
                path = run_path(arm, seed, options.output)
                if path.is_file() or (options.arms and arm not in options.arms):
                    continue
                measure(stage, arm, train, seed, path)
    if "distill" in options.stages and not run_path("student-base", 0, options.output).is_file():
        judge_student_base(run_path("student-base", 0, options.output))
    if options.output == DATA / "runs":
        fill(DATA.parent / "README.md", "stages", ladder_table())


def judge_student_base(path: Path) -> None:
    """The student before its lessons, on the test split: a run without a training, and the evaluation in its card."""
    from r1lab.evaluation import evaluate
    from r1lab.policy import load_policy, set_threads
    from r1lab.problems import load_problems
    from r1lab.results import save_run

    set_threads()
    scale = get_scale()
    settings = {"samples": SAMPLES, "template": scale.template, "max_new_tokens": scale.longest_answer}
    report = evaluate(
        load_policy("tiny-student-base"), load_problems("test"), label="student base", **settings
    )
    save_run({**stamp(0, "make bench-stages"), "seconds": 0.0, "facts": {}, "report": report}, path)
    fill_card("tiny-student-base", report)


def chain_folder(arm: str, seed: int) -> Path:
    """Where a run of the bench keeps its checkpoint."""
    return output_folder() / f"chain-{seed}" / arm


def measure(stage: str, arm: str, train, seed: int, path: Path) -> None:
    """Train one arm of a stage from this seed's earlier checkpoints, judge it on the test split, write the run."""
    from r1lab.evaluation import evaluate, table
    from r1lab.policy import load_policy, set_threads
    from r1lab.problems import load_problems
    from r1lab.results import save_run
    from r1lab.stages.checkpoints import PRETRAINED, STAGES
    from r1lab.view import progress_line

    set_threads()
    scale = get_scale()
    folders = {need: chain_folder(need, seed) for need in STAGES[stage].needs if need not in PRETRAINED}
    if "zero" in folders and not (folders["zero"] / "stage.json").is_file():
        from r1lab.stages.zero import train_zero

        train_zero(scale, folders["zero"], seed=seed, show=progress_line())
    print(f"\n{arm}, seed {seed}", flush=True)
    # what an interrupted run left there must not pass for this one, here or as a parent of the next stage
    shutil.rmtree(chain_folder(arm, seed), ignore_errors=True)
    run = train(scale, chain_folder(arm, seed), folders=folders, seed=seed)
    report = evaluate(
        load_policy(chain_folder(arm, seed)),
        load_problems("test"),
        samples=STAGE_SAMPLES if arm == stage and not seed else FEWER_STAGE_SAMPLES,
        template=scale.template,
        max_new_tokens=scale.longest_answer,
        label=arm,
    )
    record = {**stamp(seed, "make bench-stages"), "stage": stage, "seconds": run["seconds"]}
    history = shorten(run.get("history", []))
    save_run({**record, "history": history, "facts": run.get("facts", {}), "report": report}, path)
    print(f"trained in {run['seconds']:.0f} s\n{table({arm: report})}", flush=True)


def main_ship(argv: list[str]) -> None:
    """`python tools/maintain.py ship`: copies a seed's checkpoints from the bench into data/models, in bfloat16, cards filled in."""
    parser = argparse.ArgumentParser(
        prog="maintain.py ship", description="Put the bench's checkpoints into data/models."
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", nargs="+", default=("zero", *CHAIN), choices=("zero", *CHAIN))
    options = parser.parse_args(argv)
    import json

    import torch

    from r1lab.evaluation import table
    from r1lab.policy import load_model, save_tokenizer
    from r1lab.results import load_run
    from r1lab.stages.checkpoints import RECORD, STAGES, find_stage, stage_card

    for stage in options.stages:
        source = Path(find_stage(get_scale(), stage, chain_folder(stage, options.seed)))
        target = DATA / "models" / STAGES[stage].ships
        unfinished = target.with_name(f"{target.name}.partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        model, tokenizer = load_model(source)
        model.to(torch.bfloat16).save_pretrained(unfinished)
        save_tokenizer(tokenizer, unfinished)
        record = json.loads((source / RECORD).read_text(encoding="utf-8"))
        parents = {need: STAGES[need].ships for need in STAGES[stage].needs}
        record |= {"parents": parents}
        (unfinished / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        report = load_run(stage, options.seed)["report"]
        judged = (
            f"On the test split (600 problems, 95 % intervals), in float32 before rounding to bfloat16:\n\n"
            f"{table({STAGES[stage].ships: report})}\n\n{table({STAGES[stage].ships: report}, rows='domain')}"
        )
        (unfinished / "README.md").write_text(stage_card(record, judged), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)
        size = sum(file.stat().st_size for file in target.iterdir()) / 1e6
        print(f"{stage} -> data/models/{target.name}, {size:.1f} MB")
