"""The committed notebooks are whole, and the machinery that runs and cleans them does its job."""

import json
import re

import course
import nbformat
import pytest
from course import ROOT, CourseError, clean_notebook, foreign_paths, to_text
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output


def read(path):
    return nbformat.read(path, as_version=4)


# --- the cleaner ------------------------------------------------------------------------------------------------------


def messy_notebook():
    outputs = [
        new_output("stream", name="stdout", text="step 1\rstep 2\rste"),
        new_output("stream", name="stderr", text="Warning: noise"),
        new_output("stream", name="stdout", text="p 3\nend\n"),
        new_output("display_data", data={course.WIDGET: {"model_id": "1"}, "text/plain": "bar"}),
        new_output("execute_result", data={"text/plain": "1"}, execution_count=7),
    ]
    checked = {"tags": ["nbval-check-output"], "execution": {"shell.execute_reply": "2026"}, "scrolled": True}
    cells = [
        new_markdown_cell("# Title"),
        new_code_cell("x = 1\nx", execution_count=7, metadata=checked, outputs=outputs),
        new_code_cell("!pip install r1lab", metadata={"tags": ["nbval-skip"]}, execution_count=8),
        new_code_cell("x = 1\nx", execution_count=9),
    ]
    kernel = {"kernelspec": {"name": "me", "display_name": "Me"}}
    return new_notebook(cells=cells, metadata={"widgets": {"state": 1}, "accelerator": "GPU", **kernel})


def test_clean_notebook_keeps_results_and_drops_the_moment():
    dirty = messy_notebook()
    before = to_text(dirty)
    clean = clean_notebook(dirty)
    assert to_text(dirty) == before, "the argument was changed"
    nbformat.validate(clean)
    language = {"language_info": {"name": "python"}}
    assert clean.metadata == {"accelerator": "GPU", "kernelspec": course.KERNELSPEC, **language}
    _, first, skipped, last = clean.cells
    assert [output.output_type for output in first.outputs] == ["stream", "execute_result"]
    assert first.outputs[0].text == "step 3\nend\n" and first.metadata == {"tags": ["nbval-check-output"]}
    assert first.outputs[1].execution_count == first.execution_count == 1
    assert (skipped.execution_count, last.execution_count) == (None, 2)
    assert len({cell.id for cell in clean.cells}) == len(clean.cells)
    # Cleaning twice changes nothing, and ids depend on the source only.
    assert to_text(clean) == to_text(clean_notebook(messy_notebook())) == to_text(clean_notebook(clean))


@pytest.mark.parametrize(
    "text", ["/home/ani/r1lab", "in /tmp/x7/y", "/Users/ani", "C:\\Users", f"{ROOT}/data"]
)
def test_clean_notebook_refuses_paths_of_a_machine(text):
    output = new_output("stream", name="stdout", text=f"saved to {text}\n")
    notebook = new_notebook(cells=[new_code_cell("save()", outputs=[output], execution_count=1)])
    with pytest.raises(CourseError, match="cell 1"):
        clean_notebook(notebook, "05.ipynb")
    fine = "build/runs/zero ../data/tmp https://example.org/home/x 1/2 and/or 3 ~/r1lab"
    assert foreign_paths(new_notebook(cells=[new_markdown_cell(fine)])) == []


# --- the executor and the pages ---------------------------------------------------------------------------------------


@pytest.fixture
def small_course(tmp_path):
    """A repository of one or two notebooks; call it with lists of cells."""

    def make(*sources):
        (tmp_path / "notebooks").mkdir()
        (tmp_path / "images").mkdir()
        (tmp_path / "images" / "a.png").write_bytes(b"\x89PNG")
        for number, cells in enumerate(sources):
            notebook = clean_notebook(new_notebook(cells=cells))
            (tmp_path / "notebooks" / f"0{number}_part.ipynb").write_text(to_text(notebook))
        return tmp_path

    return make


@pytest.mark.slow
def test_run_course_writes_pages_that_load_nothing_from_the_network(small_course):
    badge = "[![Open](https://example.org/badge.svg)](https://example.org) ![a](../images/a.png)"
    links = "Next: [one](01_part.ipynb#two), see [data](../images/a.png), $x^2$ and\n\n$$\\frac{a}{b}$$"
    save = "import os, pathlib\npathlib.Path(os.environ['R1LAB_OUTPUT'], 'x.json').write_text('{}')"
    root = small_course(
        [new_markdown_cell(badge), new_markdown_cell(links), new_code_cell("print(1 + 1)")],
        [new_code_cell("1 / 0", metadata={"tags": ["nbval-skip"]}), new_code_cell(save)],
    )
    index = course.run_course(root=root)
    html = (index.parent / "00_part.html").read_text()
    assert re.findall(r"""(?:src|xlink:href)=["'](?!data:)[^"']*""", html) == []
    assert not re.search(r"<script|<link|<iframe|@import|url\(http", html)
    assert html.count("<math") == 2 and "data:image/png;base64,iVBORw==" in html
    assert 'href="01_part.html#two"' in html and 'href="../../images/a.png"' in html
    assert (index.parent / "results" / "x.json").is_file() and "01_part.html" in index.read_text()
    assert read(root / "notebooks" / "00_part.ipynb").cells[-1].execution_count is None, (
        "the source was changed"
    )


def test_the_index_shows_before_and_after(tmp_path):
    for name, value in (("zero-before", 0.31), ("zero-after", 0.92)):
        overall = {"greedy_accuracy": {"value": value, "low": value - 0.04, "high": value + 0.04, "n": 500}}
        report = {"overall": overall, "by": {"domain": {"logic": overall}, "level": {"hard": overall}}}
        (tmp_path / f"{name}.json").write_text(json.dumps(report))
    html = course.index_page([], {}, tmp_path)
    assert html.count("<table>") == 4 and "<td>logic</td>" in html and "<td>hard</td>" in html
    assert "31 % [27, 35]" in html and "92 % [88, 96]" in html


def test_notebooks_are_run_and_cleaned_up_to_the_one_that_fails(small_course):
    failing = [new_code_cell("x = 1"), new_markdown_cell("hm"), new_code_cell("raise ValueError('no model')")]
    root = small_course([new_code_cell("import sys\nprint(1)\nprint(2, file=sys.stderr)\n3")], failing)
    good, bad = sorted((root / "notebooks").glob("*.ipynb"))
    before = bad.read_text()
    with pytest.raises(
        CourseError, match=r"01_part\.ipynb stopped at code cell 2 of 2: ValueError: no model"
    ):
        course.refresh_notebooks(root=root)
    assert [output.output_type for output in read(good).cells[0].outputs] == ["stream", "execute_result"]
    assert bad.read_text() == before


def test_the_appendix_is_part_of_the_course_and_comes_last(tmp_path):
    names = ["00_tour.ipynb", "12_grpo.ipynb", "A2_kernel.ipynb"]
    (tmp_path / "notebooks").mkdir()
    for name in (*names, "notes.ipynb"):
        (tmp_path / "notebooks" / name).touch()
    assert [path.name for path in course.notebook_paths(root=tmp_path)] == names
    assert [path.name for path in course.notebook_paths(["A2"], tmp_path)] == names[2:]


def test_main_clean_rewrites_only_what_is_dirty(tmp_path, capsys):
    path = tmp_path / "a.ipynb"
    path.write_text(nbformat.writes(messy_notebook()))
    assert course.main_clean([str(path)]) == 0 and "cleaned" in capsys.readouterr().out
    assert course.main_clean([str(path)]) == 0 and capsys.readouterr().out == ""
