"""What can be checked of the GPU scales without a GPU: import order, adapters, lengths, batches, precision."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


# ---------------------------------------------------------------------------------------------------- Unsloth
@pytest.fixture
def fakes(tmp_path):
    """A folder with modules that note the order in which they are imported; the function runs a program beside them."""
    names = {
        "transformers": "class TrainerCallback: ...",
        "trl": "class GRPOTrainer: ...",
        "peft": "",
        "unsloth": "import trl, transformers, peft",
    }
    for name, body in names.items():
        (tmp_path / f"{name}.py").write_text(f"print('{name}')\n{body}\n")

    def run(program: str, scale: str) -> list[str]:
        path = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            env={**os.environ, "PYTHONPATH": path, "R1LAB_SCALE": scale},
            capture_output=True,
            text=True,
        )
        return (done.stdout + done.stderr).split() if not done.returncode else [done.stderr]

    run.folder = tmp_path
    return run


STAGE = """
    from r1lab.scale import get_scale
    from r1lab.stages.grpo import trainer_class
    trainer_class(get_scale())
"""


@pytest.mark.parametrize("scale", ["t4", "a100"])
def test_unsloth_is_imported_before_what_it_rewrites(fakes, scale):
    assert fakes(STAGE, scale) == ["unsloth", "trl", "transformers", "peft"]


def test_elsewhere_unsloth_is_not_imported(fakes):
    assert "unsloth" not in fakes("import r1lab.stages.grpo", "cluster")
    assert "unsloth" not in fakes("import r1lab.stages.grpo", "tiny")


def test_a_missing_unsloth_is_one_sentence(fakes):
    (fakes.folder / "unsloth.py").write_text("import unsloth.nowhere")
    assert "nowhere" in fakes(STAGE, "t4")[0], "a broken Unsloth is not a missing one"
    (fakes.folder / "unsloth.py").write_text("raise ModuleNotFoundError('no', name='unsloth')")
    assert "scale t4 trains with Unsloth, which is not installed" in fakes(STAGE, "t4")[0]
