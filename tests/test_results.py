"""The committed runs: they are stored by column, read back whole, and fill the tables of the course."""

import pytest
from bench_stages import fill

from r1lab.results import load_run, run_path, save_run


def test_a_run_is_stored_by_column_and_read_back_whole(tmp_path):
    run = load_run("zero")
    save_run(run, run_path("zero", folder=tmp_path))
    assert load_run("zero", folder=tmp_path) == run
    assert '"rows":{"id":["' in (tmp_path / "zero-0.json").read_text()


def test_a_run_that_is_not_there_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no run data/runs/reason-0.json: `make bench-stages`"):
        load_run("reason", folder=tmp_path)


def test_fill_replaces_only_what_lies_between_the_comments(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x: by hand -->\nold\n<!-- /x -->\nb\n")
    fill(page, "x", "new")
    fill(page, "x", "new")
    assert page.read_text() == "a\n<!-- x: by hand -->\nnew\n<!-- /x -->\nb\n"
    with pytest.raises(ValueError, match="'y'"):
        fill(page, "y", "new")
