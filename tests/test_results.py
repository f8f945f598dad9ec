"""The committed runs: they are stored by column, read back whole, and fill the tables of the course."""

import pytest
from bench_stages import fill

from r1lab.results import SEED_COLUMNS, load_run, run_path, save_run, seeds_table, table_so_far


def test_a_run_is_stored_by_column_and_read_back_whole(tmp_path):
    run = load_run("zero")
    save_run(run, run_path("zero", folder=tmp_path))
    assert load_run("zero", folder=tmp_path) == run
    assert '"rows":{"id":["' in (tmp_path / "zero-0.json").read_text()


def test_a_run_that_is_not_there_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no run data/runs/reason-0.json: `make bench-stages`"):
        load_run("reason", folder=tmp_path)


def test_the_table_grows_stage_by_stage_and_that_of_seeds_shows_each_seed():
    assert len(table_so_far("base").splitlines()) == 3
    grown = table_so_far("zero").splitlines()
    assert len(grown) == 4 and grown[-1].startswith("| R1-Zero | ")
    with pytest.raises(ValueError, match="no stage is called 'sft'"):
        table_so_far("sft")
    label, *cells = seeds_table({"zero": "R1-Zero"}).splitlines()[-1].strip("| ").split(" | ")
    assert label == "R1-Zero"
    assert [len(cell.partition(" \\| ")[2].split(", ")) for cell in cells] == [3] * len(SEED_COLUMNS)


def test_fill_replaces_only_what_lies_between_the_comments(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x: by hand -->\nold\n<!-- /x -->\nb\n")
    fill(page, "x", "new")
    fill(page, "x", "new")
    assert page.read_text() == "a\n<!-- x: by hand -->\nnew\n<!-- /x -->\nb\n"
    with pytest.raises(ValueError, match="'y'"):
        fill(page, "y", "new")
