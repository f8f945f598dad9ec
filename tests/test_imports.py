"""Who imports whom, read from the source: no circles, TRL and its kin in the stages, light packages stay light."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "r1lab"
FILES = {
    ".".join(("r1lab", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}
TRAINERS = {"trl", "peft", "unsloth", "vllm"}
# Who may import a trainer outside `r1lab.stages`, and why.
ELSEWHERE = {
    ("r1lab.unsloth_first", "unsloth"): "it must be imported before anything that the stages import",
    ("r1lab.policy", "peft"): "a LoRA adapter is merged for whoever loads it, also without training",
}
LIGHT = ("prompts", "problems", "rewards", "evaluation", "intervals")
RECIPE = ("prime", "zero", "cold_start", "reason", "reject", "align", "distill")


def named(node: ast.stmt) -> list[str]:
    """The modules that an import statement names: `from package import module` means the module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert not node.level, "the package is imported by its full name"
        longer = (f"{node.module}.{alias.name}" for alias in node.names)
        return [name if name in FILES else node.module for name in longer]
    return []


@cache
def imports(module: str, inside_functions: bool = True) -> frozenset[str]:
    """What a module imports. Without `inside_functions`: only what is imported as soon as the module is."""
    tree, found = ast.parse(FILES[module].read_text(encoding="utf-8")), []
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not inside_functions:
            continue
        found += named(node)
        nodes += ast.iter_child_nodes(node)
    return frozenset(found)


def reached(module: str, inside_functions: bool = True) -> set[str]:
    """All modules that importing `module` leads to, its own included only if there is a circle."""
    seen, left = set(), list(imports(module, inside_functions))
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += imports(name, inside_functions) if name in FILES else ()
    return seen


@pytest.mark.parametrize("module", FILES)
def test_no_module_leads_back_to_itself(module):
    circle = sorted(name for name in reached(module) if name in FILES and module in reached(name))
    assert module not in reached(module), f"a circle of {', '.join(circle)}"


def test_only_the_stages_import_trainers():
    found = {
        (module, name.partition(".")[0])
        for module in FILES
        for name in imports(module)
        if name.partition(".")[0] in TRAINERS and not f"{module}.".startswith("r1lab.stages.")
    }
    assert found == set(ELSEWHERE)


@pytest.mark.parametrize(
    "module", [name for name in FILES if name.split(".")[1:2] and name.split(".")[1] in LIGHT]
)
def test_light_modules_load_neither_torch_nor_a_trainer(module):
    heavy = {name.partition(".")[0] for name in reached(module, inside_functions=False)}
    assert not heavy & {"torch", "transformers", *TRAINERS}


def test_a_stage_imports_no_later_one():
    for place, stage in enumerate(RECIPE):
        later = {f"r1lab.stages.{name}" for name in RECIPE[place + 1 :]}
        assert not reached(f"r1lab.stages.{stage}") & later, stage


def test_a_circle_and_a_heavy_import_are_seen(tmp_path, monkeypatch):
    """The reading itself: also inside functions, conditions and class bodies."""
    for name, text in {
        "one": "if True:\n    import trl.trainer\ndef f():\n    from r1lab import two",
        "two": "class A:\n    def g(self):\n        import r1lab.one",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setitem(FILES, f"r1lab.{name}", tmp_path / f"{name}.py")
    imports.cache_clear()
    assert "r1lab.one" in reached("r1lab.one") and "r1lab.two" in reached("r1lab.two")
    assert imports("r1lab.one", False) == {"trl.trainer"} and imports("r1lab.two", False) == frozenset()
    imports.cache_clear()


@pytest.mark.parametrize(
    "module", [name for name in FILES if name.startswith(("r1lab.kernels", "r1lab.engine"))]
)
def test_kernels_and_engine_import_torch_only(module):
    """And triton only where it is used: a machine without it runs everything else."""
    outside = {name.partition(".")[0] for name in reached(module)} - {"r1lab", *sys.stdlib_module_names}
    assert outside <= {"torch", "triton"}
    assert module.endswith("triton") or "triton" not in {
        name for name in reached(module, inside_functions=False)
    }
