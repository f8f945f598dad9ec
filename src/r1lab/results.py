"""The committed runs in `data/runs`, one file per stage, variant and seed, and the tables made from them."""

import json
from pathlib import Path

from r1lab.evaluation import GROUPS, format_estimate, markdown_table, pool, table
from r1lab.files import write_json
from r1lab.problems import load_problems
from r1lab.recipe import STAGES
from r1lab.scale import DATA

RUNS = DATA / "runs"
# Run -> its line in the table, in the order of the recipe.
LABELS = {name: stage.title for name, stage in STAGES.items() if name != "student_base"}
SEED_COLUMNS = ("greedy_accuracy", "sampled_accuracy", "format_rate", "language_consistency")


def run_path(name: str, seed: int = 0, folder: Path = RUNS) -> Path:
    """Path of a run's file. The base has one run, which was evaluated with R1-Zero."""
    return folder / ("zero-base.json" if name == "base" else f"{name}-{seed}.json")


def save_run(record: dict, path: Path) -> None:
    """Write a run to `path`, for `load_run`."""
    # The report's rows by column, without what the problems tell anyway: a third of the size.
    rows = record["report"]["rows"]
    columns = {key: [row[key] for row in rows] for key in rows[0] if key not in GROUPS}
    write_json({**record, "report": {**record["report"], "rows": columns}}, path)


def load_run(name: str, seed: int = 0, folder: Path = RUNS) -> dict:
    """A committed run: seed, seconds, `report` as `evaluation.evaluate` returns it, and in most runs `history` and `facts`.

    Raises FileNotFoundError naming the command that measures it.
    """
    path = run_path(name, seed, folder)
    if not path.is_file():
        command = "make bench" if name in ("base", "zero") else "make bench-stages"
        raise FileNotFoundError(f"no run data/runs/{path.name}: `{command}` measures it")
    run = json.loads(path.read_text(encoding="utf-8"))
    columns = run["report"]["rows"]
    if isinstance(columns, dict):
        groups = {row["id"]: {group: row[group] for group in GROUPS} for row in load_problems("test")}
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        run["report"]["rows"] = [{**row, **groups[row["id"]]} for row in rows]
    return run


def load_seeds(name: str) -> list[dict]:
    """All committed seeds of a run, in order, as `load_run` gives them."""
    seeds = sorted(int(path.stem.rpartition("-")[2]) for path in RUNS.glob(f"{name}-[0-9].json"))
    return [load_run(name, seed) for seed in seeds]


def table_so_far(last: str, **options) -> str:
    """The results table of seed 0 from the base up to the stage `last`, as Markdown; options go to `evaluation.table`.

    Raises ValueError on an unknown stage.
    """
    names = list(LABELS)
    if last not in names:
        raise ValueError(f"no stage is called {last!r}: choose one of {', '.join(names)}")
    # A stage of your own may stand between the others without a run in the repository.
    earlier = [name for name in names[: names.index(last)] if run_path(name).is_file()]
    return table({LABELS[name]: load_run(name)["report"] for name in (*earlier, last)}, **options)


def seeds_table(names: dict[str, str]) -> str:
    """A Markdown table of all seeds, a line per run: their pooled mean, its 95% interval, and after the bar each seed in %.

    names: run -> its line's label.
    """
    lines = [["policy", *(column.replace("_", " ") for column in SEED_COLUMNS)]]
    for name, label in names.items():
        reports = [run["report"] for run in load_seeds(name) or [load_run(name)]]
        pooled, cells = pool(reports)["overall"], []
        for column in SEED_COLUMNS:
            each = ", ".join(f"{100 * report['overall'][column]['value']:.0f}" for report in reports)
            bar = f" \\| {each}" if len(reports) > 1 else ""
            cells.append(format_estimate(pooled[column], column) + bar)
        lines.append([label, *cells])
    return markdown_table(lines)


def stages_table() -> str:
    """`seeds_table` of every stage that has been measured, in the order of the recipe."""
    return seeds_table({name: label for name, label in LABELS.items() if run_path(name).is_file()})
