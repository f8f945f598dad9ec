"""The learner's notebooks: each notebook of the course without its solutions, into notebooks/exercises/ (`make exercises`).

A cell tagged `solution` is the answer to an exercise. Of a code cell the skeleton stays: every function keeps its
signature and docstring and loses its body. A markdown cell disappears. Outputs disappear everywhere, so that the learner's
own are the only ones. The copies are committed, because a Colab badge and a link to GitHub can open only what is committed;
a test makes them again and compares.
"""

import ast
import copy
import re
import sys

import nbformat
from course import ROOT, SKIP_TAG, clean_notebook, notebook_paths, tags, to_text, write_text
from nbformat.v4 import new_markdown_cell

SOLUTION = "solution"
FOLDER = ROOT / "notebooks" / "exercises"
NOTE = (
    "> **This copy is to work in.** The exercises are empty and nothing has been run. The same notebook with outputs and "
    "solutions: [{name}](../{name}). Made by `make exercises`; change the original, not this copy."
)
SIBLING = re.compile(r"[\dA]\d_\w+\.ipynb")


def skeleton(source: str) -> str:
    """The functions of `source` with signature and docstring, and `...` for a body.

    Raises ValueError when `source` defines no function, because then nothing would be left to fill in.
    """
    lines, kept = source.splitlines(), []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            documented = ast.get_docstring(node) is not None
            end = node.body[0].end_lineno if documented else node.body[0].lineno - 1
            kept.append("\n".join([*lines[node.lineno - 1 : end], "    ..."]))
    if not kept:
        raise ValueError(f"a cell tagged {SOLUTION!r} defines no function: {lines[0]!r}")
    return "\n\n\n".join(kept)


def deeper(markdown: str) -> str:
    """Relative links as they must read one folder further down; links between the notebooks stay."""

    def moved(match: re.Match) -> str:
        before, target = match.groups()
        stays = "://" in target or target.startswith(("#", "mailto:", "data:", "attachment:"))
        return before + (target if stays or SIBLING.match(target) else "../" + target)

    return re.sub(r"""(\]\(<?|(?:src|href)=["'])([^)\s>"']+)""", moved, markdown)


def learner_copy(notebook, name: str):
    """The notebook called `name` for a learner: solutions stripped, outputs gone, links one folder deeper."""
    notebook = copy.deepcopy(notebook)
    cells = []
    for cell in notebook.cells:
        solved = SOLUTION in tags(cell)
        if cell.cell_type == "markdown":
            if solved:
                continue
            cell.source = deeper(cell.source).replace(f"/notebooks/{name}", f"/notebooks/exercises/{name}")
        else:
            cell.execution_count, cell.outputs = None, []
            cell.metadata = {"tags": [tag for tag in tags(cell) if tag == SKIP_TAG]}
            if solved:
                cell.source = skeleton(cell.source)
            if not cell.metadata["tags"]:
                del cell.metadata["tags"]
        cells.append(cell)
    notebook.cells = [cells[0], new_markdown_cell(NOTE.format(name=name)), *cells[1:]]
    return clean_notebook(notebook, f"exercises/{name}")


def main() -> int:
    """Write every learner's notebook again and remove those whose original is gone."""
    paths = notebook_paths()
    for old in FOLDER.glob("*.ipynb"):
        if old.name not in {path.name for path in paths}:
            old.unlink()
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        write_text(FOLDER / path.name, to_text(learner_copy(notebook, path.name)))
        count = sum(SOLUTION in tags(cell) and cell.cell_type == "code" for cell in notebook.cells)
        print(f"{path.stem:<24}{count} exercises to write")
    return 0


if __name__ == "__main__":
    sys.exit(main())
