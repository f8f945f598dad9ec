"""Who imports whom, read from the source: no circles, TRL and its kin in the stages, light packages stay light."""

import ast
import sys
from functools import cache
from pathlib import Path

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
LIGHT = {"prompts", "problems", "rewards", "rollouts", "evaluation", "statistics"}
LIGHT |= {"self_checks", "files", "recipe", "sampling"}
TORCH_ONLY = {"engine": {"torch"}, "kernels": {"torch", "triton"}}
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
    tree, names = ast.parse(FILES[module].read_text(encoding="utf-8")), []
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not inside_functions:
            continue
        names += named(node)
        nodes += ast.iter_child_nodes(node)
    return frozenset(names)


@cache
def reached(module: str, inside_functions: bool = True) -> frozenset[str]:
    """All modules that importing `module` leads to, its own included only if there is a circle."""
    seen, left = set(), list(imports(module, inside_functions))
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += imports(name, inside_functions) if name in FILES else ()
    return frozenset(seen)


def packages(modules) -> set[str]:
    """The packages of modules outside r1lab and the standard library."""
    return {name.partition(".")[0] for name in modules} - {"r1lab", *sys.stdlib_module_names}


def part(module: str) -> str:
    """`rewards` of `r1lab.rewards.code`."""
    return module.split(".")[1] if "." in module else ""


def test_no_module_leads_back_to_itself():
    assert [module for module in FILES if module in reached(module)] == []


def test_only_the_stages_import_trainers():
    outside = [module for module in FILES if part(module) != "stages"]
    importers = {(module, name) for module in outside for name in packages(imports(module)) & TRAINERS}
    assert importers == set(ELSEWHERE)


def test_light_modules_load_neither_torch_nor_a_trainer_and_kernels_load_torch_alone():
    """And triton only where it is used: a machine without it runs everything else."""
    for module in FILES:
        loaded = packages(reached(module, inside_functions=False))
        assert part(module) not in LIGHT or not loaded & {"torch", "transformers", *TRAINERS}, module
        if part(module) in TORCH_ONLY:
            assert packages(reached(module)) <= TORCH_ONLY[part(module)], module
            assert module.endswith("triton") or "triton" not in loaded, module


def test_the_package_needs_neither_the_factory_nor_the_tools():
    outside = {"tinyworld", *(path.stem for path in (SOURCE.parents[1] / "tools").iterdir())}
    assert not [module for module in FILES if outside & {name.partition(".")[0] for name in imports(module)}]


def test_a_stage_imports_no_later_one():
    for number, stage in enumerate(RECIPE, 1):
        later = {f"r1lab.stages.{name}" for name in RECIPE[number:]}
        assert not reached(f"r1lab.stages.{stage}") & later, stage


def test_a_circle_and_a_heavy_import_are_seen(tmp_path, monkeypatch):
    """The reading itself: also inside functions, conditions and class bodies."""
    texts = {"one": "if True:\n    import trl.trainer\ndef f():\n    from r1lab import two"}
    texts |= {"two": "class A:\n    def g(self):\n        import r1lab.one"}
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setitem(FILES, f"r1lab.{name}", tmp_path / f"{name}.py")
    imports.cache_clear()
    assert "r1lab.one" in reached("r1lab.one") and "r1lab.two" in reached("r1lab.two")
    assert imports("r1lab.one", False) == {"trl.trainer"} and imports("r1lab.two", False) == frozenset()
    imports.cache_clear()
