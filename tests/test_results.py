"""The committed runs: what the README and the cards state is what they measured, and the bars hold for every seed."""

import json

import pytest

from r1lab.bench import CARD_COLUMNS, fill
from r1lab.evaluation import table
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


def test_the_readme_and_the_card_print_the_logged_numbers():
    labels = {"base": "zero-base"} | {f"zero, seed {RUNS[name]['seed']}": name for name in SEEDS}
    printed = table({label: RUNS[name]["report"] for label, name in labels.items()})
    assert printed in (DATA.parent / "README.md").read_text()
    card = (DATA / "models" / "tiny-base" / "README.md").read_text()
    for rows in (None, "domain", "level"):
        assert table({"tiny-base": RUNS["zero-base"]["report"]}, rows=rows, columns=CARD_COLUMNS) in card


def test_fill_replaces_only_what_lies_between_the_comments(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x: by hand -->\nold\n<!-- /x -->\nb\n")
    fill(page, "x", "new")
    fill(page, "x", "new")
    assert page.read_text() == "a\n<!-- x: by hand -->\nnew\n<!-- /x -->\nb\n"
    with pytest.raises(ValueError, match="'y'"):
        fill(page, "y", "new")
