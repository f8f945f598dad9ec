"""Runs a few cells of a notebook with only those earlier cells that they need: exercises without the training before them."""

import ast
import builtins
import contextlib
import dis
import io
import types

from course import SKIP_TAG, tags


def bound_and_used(source: str) -> tuple[dict[str, ast.stmt], set[str]]:
    """Names a cell binds at its top level, each with its statement, and the global names it reads anywhere."""
    tree = ast.parse(source)
    bound = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            bound[statement.name] = statement
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.alias):
                bound[(node.asname or node.name).partition(".")[0]] = statement
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                bound[node.id] = statement
    return bound, globals_of(compile(tree, "<cell>", "exec")) - set(dir(builtins))


def globals_of(code: types.CodeType) -> set[str]:
    """Names that `code` and the functions in it look up outside of themselves."""
    looks_up = ("LOAD_NAME", "LOAD_GLOBAL")
    names = {step.argval for step in dis.get_instructions(code) if step.opname in looks_up}
    return names.union(*(globals_of(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))


def earlier_code(sources: list[str], names: set[str]) -> list[str]:
    """What of `sources` (cells in order) must run to define `names`: whole cells, but of an import only its line."""
    cells = [bound_and_used(source) for source in sources]
    whole, lines = set(), {}  # numbers of cells, and lines of the other ones

    def require(name: str, before: int) -> None:
        i = next((i for i in reversed(range(before)) if name in cells[i][0]), None)
        if i is None or i in whole:
            return
        bound, used = cells[i]
        if isinstance(bound[name], ast.Import | ast.ImportFrom):
            lines.setdefault(i, set()).add(ast.unparse(bound[name]))
            return
        whole.add(i)
        for other in sorted(used):
            require(other, i)

    for name in sorted(names):
        require(name, len(sources))
    return [sources[i] if i in whole else "\n".join(sorted(lines[i])) for i in sorted({*whole, *lines})]


def run_exercise(notebook, solution: int, check: int, answers: list[str]) -> list[str]:
    """What the check of an exercise prints for each of `answers`, run in the place of the solution's cell.

    solution, check: numbers of cells. The cells that an answer or the check needs run once, before all answers.
    """
    sources = [
        cell.source if cell.cell_type == "code" and SKIP_TAG not in tags(cell) else ""
        for cell in notebook.cells
    ]
    used = set().union(*(bound_and_used(source)[1] for source in (*answers, sources[check])))
    scope, printed = {"__name__": "__main__"}, []
    with contextlib.redirect_stdout(io.StringIO()):
        for source in earlier_code(sources[:solution], used - {*bound_and_used(sources[check])[0]}):
            exec(compile(source, "<earlier cell>", "exec"), scope)
    for answer in answers:
        own = dict(scope)
        with contextlib.redirect_stdout(io.StringIO()) as output:
            exec(compile(answer, "<answer>", "exec"), own)
            exec(compile(sources[check], "<check>", "exec"), own)
        printed.append(output.getvalue())
    return printed
