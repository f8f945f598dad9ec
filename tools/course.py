"""Run the notebooks: the whole course into build/course/, or in place for the copies that are committed.

A notebook is a program with pictures: the same executor makes the learner's pages (`pages`) and the committed outputs,
and one cleaner decides what of a run is worth committing.
"""

import argparse
import hashlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from pages import clock, index_page, page, results_table

ROOT = Path(__file__).resolve().parents[1]
CELL_TIMEOUT = 900  # seconds; the longest real cell trains for about four minutes on two cores
SKIP_TAG = "nbval-skip"  # a cell that nbval skips (an install cell for Colab) is not run here either
SETUP = ROOT / "tools" / "setup_cell.py"  # the one source of every notebook's set-up cell
SCALE_CHOICE = 'SCALE = "tiny"  # @param ["tiny", "t4", "a100"]'
# They need no larger model, or it would not fit a GPU beside vLLM.
TINY_ONLY = ("00_", "01_", "02_", "03_", "08_", "09_", "A")
CLONE = "https://github.com/r1lab/r1lab"  # what a set-up cell, old or new, is known by

# What a kernel needs to give the same output twice, offline and without progress bars.
KERNEL_ENV = {
    "R1LAB_SCALE": "tiny",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "PYTHONHASHSEED": "0",
}

KEPT_CELL_METADATA = {"tags", "cellView", "colab", "id", "jupyter"}
KEPT_METADATA = {"accelerator", "colab"}
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
WIDGET = "application/vnd.jupyter.widget-view+json"
FOREIGN_PATH = re.compile(
    r"(?<![\w.:/~-])(?:/(?:home|root|Users|tmp|var|private|mnt|usr|opt)/[\w.-]+|[A-Z]:\\\w+)|/site-packages/"
)


class CourseError(RuntimeError):
    """A notebook that cannot be run or committed; the message is one sentence for the learner."""


def notebook_paths(only: Iterable[str] = (), root: Path = ROOT) -> list[Path]:
    """Paths of the notebooks in reading order: NN_*.ipynb, then the appendix AN_*.ipynb.

    `only` keeps names that start with one of its entries ("04", "A1").

    Raises CourseError when there is nothing to run.
    """
    only = tuple(only)
    paths = sorted((root / "notebooks").glob("[0-9A][0-9]_*.ipynb"))
    chosen = [path for path in paths if not only or path.name.startswith(only)]
    if not chosen:
        wanted = f" that starts with {' or '.join(only)}" if only else ""
        raise CourseError(
            f"No notebook{wanted} in {root / 'notebooks'}: run this from a clone of the repository."
        )
    return chosen


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".tmp")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


# --- running ----------------------------------------------------------------------------------------------------------


def execute(
    notebook, folder: Path, name: str, env: dict[str, str] | None = None, progress: Callable | None = None
) -> float:
    """Run every cell of `notebook` (changed in place) with its working directory at `folder`; the seconds it took.

    `progress(done, cells)` is called after each code cell. Raises CourseError, naming notebook, cell and error.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    cells = [
        i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code" and SKIP_TAG not in tags(cell)
    ]
    at = {"cell": 0}

    def started(cell, cell_index):
        if cell_index in cells:
            at["cell"] = cells.index(cell_index) + 1
            if progress:
                progress(at["cell"], len(cells))

    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        skip_cells_with_tag=SKIP_TAG,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # no warning about a local socket at every start
        on_cell_start=started,
    )
    begin = time.monotonic()
    where = f"{name} stopped at code cell {{}} of {len(cells)}"
    try:
        client.execute(env={**os.environ, **KERNEL_ENV, **(env or {})})
    except CellExecutionError as error:
        raise CourseError(f"{where.format(at['cell'])}: {error.ename}: {error.evalue}".rstrip()) from error
    except CellTimeoutError as error:
        raise CourseError(
            f"{where.format(at['cell'])}: it ran for more than {CELL_TIMEOUT} seconds; close other programs and try again."
        ) from error
    except DeadKernelError as error:
        raise CourseError(
            f"{where.format(at['cell'])}: Python died, most likely for want of memory; close other programs and try again."
        ) from error
    return time.monotonic() - begin


class _Line:
    """One line of progress for one notebook: rewritten on a terminal, printed once at the end elsewhere."""

    def __init__(self, name: str):
        self.name, self.begin, self.live = name, time.monotonic(), sys.stdout.isatty()
        if not self.live:
            print(f"{name} ...", flush=True)

    def __call__(self, cell: int, cells: int) -> None:
        if self.live:
            self._show(f"cell {cell}/{cells}", "")

    def end(self, note: str) -> None:
        self._show(note, "\n")

    def _show(self, note: str, end: str) -> None:
        text = f"{self.name:<28} {clock(time.monotonic() - self.begin):>6}  {note}"
        print(f"\r{text:<78}" if self.live else text, end=end or "", flush=True)


def run_course(only: Iterable[str] = (), root: Path = ROOT) -> Path:
    """Run the notebooks in order at scale tiny and write build/course/: executed notebooks, pages, index.html.

    Evaluation reports that the notebooks save land in build/course/results and make the table of the index.
    Returns the path of index.html; raises CourseError at the first cell that fails.
    """
    import nbformat

    paths = notebook_paths(only, root)
    output = root / "build" / "course"
    results = output / "results"
    for old in [*output.glob("*.html"), *output.glob("*.ipynb"), *results.glob("*.json")]:
        old.unlink()
    results.mkdir(parents=True, exist_ok=True)
    seconds = {}
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        line = _Line(path.stem)
        try:
            seconds[path.stem] = execute(
                notebook, path.parent, path.name, {"R1LAB_OUTPUT": str(results)}, line
            )
        except CourseError as error:
            line.end("failed")
            write_text(output / path.name, nbformat.writes(notebook))
            raise CourseError(f"{error} (the notebook up to there: {output / path.name})") from error
        write_text(output / path.name, nbformat.writes(notebook))
        write_text(output / f"{path.stem}.html", page(notebook, path))
        line.end("done")
    index = output / "index.html"
    write_text(index, index_page(paths, seconds, results))
    return index


def refresh_notebooks(only: Iterable[str] = (), root: Path = ROOT) -> list[Path]:
    """Run the notebooks at scale tiny, clean them, and replace the committed copies; those that ran, as paths.

    A notebook that fails, or whose output names a folder of this machine, raises CourseError and stays as it was.
    """
    import nbformat

    paths = notebook_paths(only, root)
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        line = _Line(path.stem)
        try:
            execute(notebook, path.parent, path.name, progress=line)
            cleaned = clean_notebook(put_setup(notebook, path.name), path.name)
        except CourseError:
            line.end("failed")
            raise
        write_text(path, to_text(cleaned))
        line.end(f"done, {path.stat().st_size / 1000:.0f} kB")
    return paths


# --- cleaning ---------------------------------------------------------------------------------------------------------


def tags(cell) -> list[str]:
    """The cell's tags, or an empty list."""
    return cell.metadata.get("tags", [])


def to_text(notebook) -> str:
    """The notebook as it is committed: JSON with one space of indent and a final newline."""
    import nbformat

    return nbformat.writes(notebook, indent=1).rstrip("\n") + "\n"


def setup_source(name: str) -> str:
    """The source of the set-up cell of the notebook file `name`; TINY_ONLY ones leave no choice of scale."""
    source = SETUP.read_text(encoding="utf-8").rstrip("\n")
    if not name.startswith(TINY_ONLY):
        return source
    return source.replace(
        SCALE_CHOICE, 'SCALE = os.environ["R1LAB_SCALE"] = "tiny"  # all that this notebook runs at'
    )


def put_setup(notebook, name: str):
    """`notebook` (changed in place) with the source of SETUP in its set-up cell; name: that of its file."""
    for cell in notebook.cells:
        if SKIP_TAG in tags(cell) and CLONE in cell.source:
            cell.source = setup_source(name)
    return notebook


def clean_notebook(notebook, name: str = "The notebook"):
    """A copy of `notebook` fit to commit: the same cells and results, nothing of the machine or the moment.

    Drops stderr, widgets, timestamps and editor metadata (Colab's stays); joins stdout split by timing and resolves
    carriage returns; renumbers execution counts 1..n; derives cell ids from the source. Cleaning twice changes nothing.
    Raises CourseError when a source or an output names a folder of this machine.
    """
    import copy

    from nbformat.v4 import upgrade

    notebook = upgrade(copy.deepcopy(notebook))
    kept = {key: value for key, value in notebook.metadata.items() if key in KEPT_METADATA}
    notebook.metadata = type(notebook.metadata)(kept, kernelspec=KERNELSPEC, language_info={"name": "python"})
    notebook.nbformat_minor = max(notebook.nbformat_minor, 5)
    count, seen = 0, {}
    for cell in notebook.cells:
        cell.metadata = type(cell.metadata)(
            {k: v for k, v in cell.metadata.items() if k in KEPT_CELL_METADATA}
        )
        cell.id = _cell_id(cell, seen)
        if cell.cell_type != "code":
            continue
        if SKIP_TAG in tags(cell) or (cell.execution_count is None and not cell.outputs):
            cell.execution_count, cell.outputs = None, []
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = _clean_outputs(cell.outputs, count)
    problem = next(iter(foreign_paths(notebook)), None)
    if problem:
        raise CourseError(
            f"{name} names a folder of this machine in cell {problem[0]}: {problem[1]!r}; print a relative path."
        )
    return notebook


def _cell_id(cell, seen: dict[str, int]) -> str:
    """An id that depends on the source only (plus a counter for equal sources), so that re-runs give no diff."""
    digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:10]
    seen[digest] = seen.get(digest, 0) + 1
    return digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"


def _clean_outputs(outputs: list, count: int) -> list:
    kept = []
    for output in outputs:
        output.pop("transient", None)
        if output.output_type == "stream":
            if output.name == "stderr":
                continue
            if kept and kept[-1].output_type == "stream" and kept[-1].name == output.name:
                kept[-1].text += output.text
                continue
        elif WIDGET in output.get("data", {}):
            continue
        if output.output_type == "execute_result":
            output.execution_count = count
        kept.append(output)
    for output in kept:
        # A terminal would show only the text after the last carriage return of a line.
        if output.output_type == "stream":
            lines = output.text.replace("\r\n", "\n").split("\n")
            output.text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)
    return kept


def foreign_paths(notebook) -> list[tuple[int, str]]:
    """(cell number from 1, text) for every absolute path of a machine in a source, an output or an attachment's name."""
    here = {str(ROOT), str(Path.home()), tempfile.gettempdir(), sys.prefix}
    here = [re.escape(folder) for folder in here if len(folder) > 4]
    pattern = re.compile("|".join([*(rf"{folder}(?![\w-])" for folder in here), FOREIGN_PATH.pattern]))
    matches = []
    for number, cell in enumerate(notebook.cells, 1):
        texts = [cell.source]
        for output in cell.get("outputs", []):
            texts += [output.get("text", ""), output.get("evalue", ""), *output.get("traceback", [])]
            texts += [value for kind, value in output.get("data", {}).items() if kind.startswith("text/")]
        matches += [(number, match.group()) for text in texts if (match := pattern.search("".join(text)))]
    return matches


# --- commands ---------------------------------------------------------------------------------------------------------


def _only(argv: list[str], command: str, text: str) -> list[str]:
    parser = argparse.ArgumentParser(prog=f"python -m r1lab {command}", description=text)
    parser.add_argument("only", nargs="*", help="run only notebooks whose names start so, as in 04")
    return parser.parse_args(argv).only


def _stop(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 1


def main_course(argv: list[str]) -> int:
    """`python tools/maintain.py course [04 ...]`: run the course, print where the pages are; 1 when a notebook failed."""
    only = _only(argv, "course", "Run the notebooks in order at scale tiny and write pages to build/course/.")
    begin = time.monotonic()
    try:
        index = run_course(only)
    except (CourseError, OSError) as error:
        return _stop(error)
    results = results_table(index.parent / "results")
    print(f"\n{results}\n\nThe course took {clock(time.monotonic() - begin)} (minutes:seconds). Open {index}")
    return 0


def main_notebooks(argv: list[str]) -> int:
    """`python tools/maintain.py notebooks [04 ...]`: run the committed notebooks in place and clean them; 1 when one failed."""
    try:
        refresh_notebooks(
            _only(argv, "notebooks", "Run the committed notebooks in place at scale tiny and clean them.")
        )
    except (CourseError, OSError) as error:
        return _stop(error)
    return 0


def main_clean(argv: list[str]) -> int:
    """`python tools/maintain.py clean [files]`: clean notebooks in place without running them (all of them without files)."""
    import nbformat

    parser = argparse.ArgumentParser(prog="maintain.py clean", description=main_clean.__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    try:
        for path in parser.parse_args(argv).files or notebook_paths():
            before = path.read_text(encoding="utf-8")
            after = to_text(
                clean_notebook(put_setup(nbformat.reads(before, as_version=4), path.name), path.name)
            )
            if after != before:
                write_text(path, after)
                print(f"cleaned {path}")
    except (CourseError, OSError) as error:
        return _stop(error)
    return 0
