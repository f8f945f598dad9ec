"""The committed runs in `data/runs`: one file per stage, variant and seed, and the table that grows with the course."""

import json
from pathlib import Path

from r1lab.evaluation import GROUPS, format_estimate, pool, table
from r1lab.problems import load_problems
from r1lab.scale import DATA

RUNS = DATA / "runs"
LADDER = {  # run -> its line in the table, in the order of the recipe
    "base": "base",
    "zero": "R1-Zero",
    "cold_start": "cold start SFT",
    "reason": "reasoning RL",
    "reject": "SFT 2",
    "align": "R1 (all-scenario RL)",
    "distill": "student",
}


def run_path(name: str, seed: int = 0, folder: Path = RUNS) -> Path:
    """File of a run. The base was evaluated once, with R1-Zero."""
    return folder / ("zero-base.json" if name == "base" else f"{name}-{seed}.json")


def save_run(record: dict, path: Path) -> None:
    """Write a run whose report's rows are stored by column: a third of the size, and `load_run` reads it back."""
    from r1lab.files import write_json

    rows = record["report"]["rows"]
    columns = {key: [row[key] for row in rows] for key in rows[0] if key not in GROUPS}
    write_json({**record, "report": {**record["report"], "rows": columns}}, path)


def load_run(name: str, seed: int = 0, folder: Path = RUNS) -> dict:
    """A committed run: seed, seconds, `report` (see `evaluation.evaluate`), mostly `history` and `facts`.

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


def load_seeds(name: str, folder: Path = RUNS) -> list[dict]:
    """Every committed seed of a run, in order."""
    seeds = sorted(int(path.stem.rpartition("-")[2]) for path in folder.glob(f"{name}-[0-9].json"))
    return [load_run(name, seed, folder) for seed in seeds]


def table_so_far(last: str, seed: int = 0, **options) -> str:
    """The results table from the base up to the stage `last`, as Markdown; options go to `evaluation.table`.

    Raises ValueError on an unknown stage.
    """
    if last not in LADDER:
        raise ValueError(f"no stage is called {last!r}: choose one of {', '.join(LADDER)}")
    names = list(LADDER)[: list(LADDER).index(last) + 1]
    return table({LADDER[name]: load_run(name, seed)["report"] for name in names}, **options)


def seeds_table(
    names: dict[str, str],
    columns: tuple[str, ...] = ("greedy_accuracy", "sampled_accuracy", "format_rate", "language_consistency"),
    folder: Path = RUNS,
) -> str:
    """A Markdown table of all seeds, a line per run: their pooled mean, its 95 % interval, and behind the bar each seed.

    names: run -> its line's label.
    """
    lines = [["policy", *(column.replace("_", " ") for column in columns)], ["---"] * (len(columns) + 1)]
    for name, label in names.items():
        reports = [run["report"] for run in (load_seeds(name, folder) or [load_run(name, folder=folder)])]
        pooled = pool(reports)["overall"]
        cells = []
        for column in columns:
            each = ", ".join(f"{100 * report['overall'][column]['value']:.0f}" for report in reports)
            cells.append(
                format_estimate(pooled[column], column) + (f" \\| {each}" if len(reports) > 1 else "")
            )
        lines.append([label, *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ladder_table(folder: Path = RUNS) -> str:
    """`seeds_table` of every stage that has been measured, in the order of the recipe."""
    measured = {name: label for name, label in LADDER.items() if run_path(name, 0, folder).is_file()}
    return seeds_table(measured, folder=folder)
