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
    found = {
        step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_NAME", "LOAD_GLOBAL")
    }
    return found.union(*(globals_of(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))


def earlier_code(sources: list[str], names: set[str]) -> list[str]:
    """What of `sources` (cells in order) must run to define `names`: whole cells, but of an import only its line."""
    cells = [bound_and_used(source) for source in sources]
    chosen: dict[int, set[str] | None] = {}  # None: the whole cell

    def require(name: str, before: int) -> None:
        for i in reversed(range(before)):
            bound, used = cells[i]
            if name not in bound:
                continue
            if isinstance(bound[name], ast.Import | ast.ImportFrom):
                if chosen.get(i, ()) is not None:
                    chosen.setdefault(i, set()).add(ast.unparse(bound[name]))
            elif chosen.get(i, ()) is not None:
                chosen[i] = None
                for other in sorted(used):
                    require(other, i)
            return

    for name in sorted(names):
        require(name, len(sources))
    return [sources[i] if chosen[i] is None else "\n".join(sorted(chosen[i])) for i in sorted(chosen)]


def run_cells(notebook, wanted: list[int], replaced: dict[int, str] | None = None) -> dict[int, str]:
    """Run the cells numbered `wanted` in order, after what they need; {number: what it printed}.

    `replaced` gives other sources to some of them. What the earlier cells print is dropped.
    """
    sources = {
        i: cell.source
        for i, cell in enumerate(notebook.cells)
        if cell.cell_type == "code" and SKIP_TAG not in tags(cell)
    } | (replaced or {})
    cells = [bound_and_used(sources[i]) for i in wanted]
    names = set().union(*(used for _, used in cells)) - set().union(*(bound for bound, _ in cells))
    earlier = [sources[i] for i in sorted(sources) if i < min(wanted)]
    scope, printed = {"__name__": "__main__"}, {}
    with contextlib.redirect_stdout(io.StringIO()):
        for source in earlier_code(earlier, names):
            exec(compile(source, "<earlier cell>", "exec"), scope)
    for i in wanted:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(compile(sources[i], f"<cell {i}>", "exec"), scope)
        printed[i] = said.getvalue()
    return printed
