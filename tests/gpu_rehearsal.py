"""Run the code cells of a notebook as at scale t4, on a CPU: the tiny base, a stand-in for Unsloth, rows instead of the hub.

    R1LAB_SCALE=t4 R1LAB_OUTPUT=folder python tests/gpu_rehearsal.py notebooks/04_r1_zero.ipynb

It shows that the branches for a GPU run to their end, and nothing about what a GPU or Qwen3 makes of them.
"""

import ast
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nbformat


class Unsloth:
    """`unsloth.FastLanguageModel` where vLLM does not start."""

    @staticmethod
    def from_pretrained(model_name, fast_inference, **_):
        from r1lab.policy import load_model

        if fast_inference:
            raise RuntimeError("there is no GPU")
        return load_model(model_name, device="cpu")

    @staticmethod
    def get_peft_model(model, *, r, lora_alpha, target_modules, **_):
        from peft import LoraConfig, get_peft_model

        return get_peft_model(model, LoraConfig(r=r, lora_alpha=lora_alpha, target_modules=target_modules))


def pretend() -> None:
    """Put the stand-ins where the notebooks find the real ones."""
    sys.modules["unsloth"] = SimpleNamespace(FastLanguageModel=Unsloth)
    from transformers import Trainer

    log = Trainer.log  # Unsloth's own loss logs no entropy
    Trainer.log = lambda self, logs, *more: log(
        self, {k: v for k, v in logs.items() if k != "entropy"}, *more
    )
    from r1lab import scale
    from r1lab.problems import hub, load_problems
    from r1lab.prompts import format_completion

    models = {"model": "tiny-base", "student": "tiny-student-base"}
    small = {key: str(scale.DATA / "models" / name) for key, name in models.items()}
    small |= {"dtype": "float32", "template": "bare", "max_prompt_tokens": 120, "max_completion_tokens": 48}
    small |= {"groups": 2, "group_size": 4, "steps": 2, "lora_rank": 4}
    scale.SCALES["t4"] = replace(scale.SCALES["t4"], **small)
    os.environ.setdefault("R1LAB_GENERAL", str(scale.DATA / "general"))  # nothing is learned here
    rows = [row for row in load_problems("train") if row["verifier"] == "math" and row["language"] == "en"]
    rows = [row | {"domain": "competition", "level": "hard"} for row in rows]
    load_source = hub.load_source
    hub.load_source = lambda key, **options: (
        (rows, {}) if key == scale.SCALES["t4"].problems else load_source(key, **options)
    )
    hub.load_worked_solutions = lambda: (
        row | {"completion": format_completion("First.", row["solution"])} for row in rows[-200:]
    )


def leave_parents(output: Path) -> None:
    """Put the shipped models where the stages before would have left theirs at this scale."""
    from r1lab.recipe import STAGES
    from r1lab.scale import DATA
    from r1lab.stages.checkpoints import RECORD

    for name in ("zero", "cold_start", "reason", "reject", "align"):
        shutil.copytree(DATA / "models" / STAGES[name].ships, output / name)
        record = json.loads((output / name / RECORD).read_text())
        (output / name / RECORD).write_text(json.dumps(record | {"scale": "t4"}))


def run(path: Path) -> None:
    """Execute the cells one after another; what the last line of a cell is worth is computed and thrown away."""
    names = {"display": print, "__name__": "__main__"}
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if cell.cell_type == "code" and "nbval-skip" not in cell.metadata.get("tags", []):
            print(f"cell {number}", flush=True)
            exec(compile(ast.parse(cell.source), f"cell {number}", "exec"), names)


if __name__ == "__main__":
    notebook = Path(sys.argv[1]).resolve()
    os.chdir(notebook.parent)
    pretend()
    leave_parents(Path(os.environ["R1LAB_OUTPUT"]))
    run(notebook)
