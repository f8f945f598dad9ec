"""The committed runs: what the README and the cards state is what they measured, and the bars hold for every seed."""

import json
import re

import pytest
from bench_stages import CARD_COLUMNS, fill

from r1lab.evaluation import compare, pool, table
from r1lab.results import ladder_table, load_run, load_seeds, run_path, save_run, seeds_table, table_so_far
from r1lab.scale import DATA

RUNS = {path.stem: json.loads(path.read_text()) for path in sorted((DATA / "runs").glob("zero-*.json"))}
SEEDS = [name for name in RUNS if name != "zero-base"]


def values(run, metric):
    report = RUNS[run]["report"]
    return {name: group[metric]["value"] for name, group in report["by"]["domain"].items()} | {
        "overall": report["overall"][metric]["value"],
        "hard": report["by"]["level"]["hard"][metric]["value"],
    }


def test_there_are_three_seeds_on_the_whole_test_split():
    assert len(SEEDS) == 3 and len({RUNS[name]["seed"] for name in SEEDS}) == 3
    for run in RUNS.values():
        assert len(run["report"]["rows"]) == 600
        assert {"seed", "scale", "date", "packages"} <= run.keys()


def test_the_base_is_bad_and_promising():
    greedy, sampled = values("zero-base", "greedy_accuracy"), values("zero-base", "sampled_accuracy")
    assert 0.2 <= greedy["overall"] <= 0.5 and 0.2 <= sampled["overall"] <= 0.5
    assert max(greedy.values()) <= 0.6
    assert values("zero-base", "format_rate")["overall"] <= 0.4
    assert min(values("zero-base", "pass@64").values()) >= 0.5


@pytest.mark.parametrize("name", SEEDS)
def test_zero_reaches_its_bars(name):
    before, after = values("zero-base", "sampled_accuracy"), values(name, "sampled_accuracy")
    assert after["overall"] >= 0.75 and after["overall"] - before["overall"] >= 0.35
    assert all(after[group] > before[group] for group in before)
    before, after = values("zero-base", "greedy_accuracy"), values(name, "greedy_accuracy")
    assert after["overall"] - before["overall"] >= 0.40
    assert after["hard"] - before["hard"] >= 0.15
    assert values(name, "format_rate")["overall"] >= 0.97
    assert RUNS[name]["seconds"] <= 240


def overall(run, metric):
    return run["report"]["overall"][metric]["value"]


@pytest.mark.parametrize("run", load_seeds("cold_start"), ids=lambda run: run["seed"])
def test_the_cold_start_reaches_its_bars(run):
    assert overall(run, "format_rate") >= 0.95 and overall(run, "language_consistency") >= 0.90
    assert run["seconds"] <= 240


@pytest.mark.parametrize("run", load_seeds("reason"), ids=lambda run: run["seed"])
def test_reasoning_rl_reaches_its_bars(run):
    assert overall(run, "language_consistency") >= 0.98
    zero = load_run("zero", run["seed"])["report"]
    assert compare(zero, run["report"], "sampled_accuracy")["high"] >= 0  # not below R1-Zero beyond chance


@pytest.mark.parametrize("free", load_seeds("reason-free"), ids=lambda run: run["seed"])
def test_without_the_language_reward_consistency_is_measurably_lower(free):
    paid = load_run("reason", free["seed"])["report"]
    assert compare(free["report"], paid, "language_consistency")["low"] > 0


def test_the_filter_beats_random_samples():
    chosen, random = (
        pool([run["report"] for run in load_seeds(name)]) for name in ("reject", "reject-random")
    )
    assert compare(random, chosen, "sampled_accuracy")["low"] > 0


def test_the_readme_and_the_card_print_the_logged_numbers():
    labels = {"base": "zero-base"} | {f"zero, seed {RUNS[name]['seed']}": name for name in SEEDS}
    printed = table({label: RUNS[name]["report"] for label, name in labels.items()})
    assert printed in (DATA.parent / "README.md").read_text()
    card = (DATA / "models" / "tiny-base" / "README.md").read_text()
    for rows in (None, "domain", "level"):
        assert table({"tiny-base": RUNS["zero-base"]["report"]}, rows=rows, columns=CARD_COLUMNS) in card


def test_every_model_the_readme_names_is_shipped():
    named = set(re.findall(r"\btiny-[a-z][a-z0-9-]*", (DATA.parent / "README.md").read_text()))
    assert "tiny-base" in named
    assert not {name for name in named if not (DATA / "models" / name / "config.json").is_file()}


def test_the_readme_prints_the_measured_stages():
    assert ladder_table() in (DATA.parent / "README.md").read_text()


def test_fill_replaces_only_what_lies_between_the_comments(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x: by hand -->\nold\n<!-- /x -->\nb\n")
    fill(page, "x", "new")
    fill(page, "x", "new")
    assert page.read_text() == "a\n<!-- x: by hand -->\nnew\n<!-- /x -->\nb\n"
    with pytest.raises(ValueError, match="'y'"):
        fill(page, "y", "new")


def test_a_run_is_stored_by_column_and_read_back_whole(tmp_path):
    run = load_run("zero")
    save_run(run, run_path("zero", folder=tmp_path))
    assert load_run("zero", folder=tmp_path) == run
    assert (tmp_path / "zero-0.json").stat().st_size < (DATA / "runs" / "zero-0.json").stat().st_size / 2


def test_a_run_that_is_not_there_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no run data/runs/reason-0.json: `make bench-stages`"):
        load_run("reason", folder=tmp_path)


def test_the_table_grows_stage_by_stage():
    assert len(table_so_far("base").splitlines()) == 3
    grown = table_so_far("zero").splitlines()
    assert len(grown) == 4 and grown[-1].startswith("| R1-Zero | 85 %")
    with pytest.raises(ValueError, match="no stage is called 'sft'"):
        table_so_far("sft")


def test_seeds_are_pooled_problem_by_problem():
    reports = [RUNS[name]["report"] for name in SEEDS]
    pooled = pool(reports)
    drawn = [report["rows"][0]["samples"] for report in reports]
    assert len(set(drawn)) > 1, "the seeds must differ in samples, or equal weights show nothing"
    for metric in ("greedy_accuracy", "sampled_accuracy", "format_rate"):
        values = [report["overall"][metric]["value"] for report in reports]
        assert pooled["overall"][metric]["value"] == pytest.approx(sum(values) / len(values), abs=1e-5)
    assert pooled["rows"][0]["samples"] == len(reports) * max(drawn)
    with pytest.raises(ValueError, match="different problems"):
        pool([reports[0], {**reports[1], "rows": reports[1]["rows"][1:]}])


def test_the_table_of_seeds_shows_each_seed():
    line = seeds_table({"zero": "R1-Zero"}, columns=("greedy_accuracy",)).splitlines()[-1]
    assert line.startswith("| R1-Zero | 87 % [") and line.endswith("\\| 85, 88, 88 |")
