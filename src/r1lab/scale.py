"""The scales of the course. `R1LAB_SCALE` chooses one: its model, lengths, batch and steps."""

import os
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parents[1]
# The shipped problems, models and runs. In a checkout they are beside src/, in an installed wheel inside the package.
DATA = (CHECKOUT if (CHECKOUT / "data" / "models").is_dir() else PACKAGE) / "data"


@dataclass(frozen=True)
class Scale:
    """One scale. Lengths are in tokens. A step trains on `groups` prompts with `group_size` completions each."""

    name: str
    reason: str  # why these values, in one line
    model: str  # a folder under data/models, or a name on the hub
    engine: str  # "transformers" (plain TRL) or "unsloth" (Unsloth + vLLM)
    dtype: str
    template: str  # which prompt template the policy can read (prompts.render_prompt)
    problems: str  # "tiny" (data/problems), or a key of problems.adapters.SOURCES, such as "dapo"
    max_prompt_tokens: int
    max_completion_tokens: int
    groups: int
    group_size: int
    steps: int
    learning_rate: float
    lora_rank: int = 0  # 0 trains every weight
    micro_batch: int = 0  # completions in one forward pass; 0 means the whole step at once
    # Base of the distilled student: the same tokenizer, far fewer parameters.
    student: str = "Qwen/Qwen3-0.6B-Base"

    @property
    def longest_answer(self) -> int:
        """Tokens that a completion may have outside training: twice as many, so that hard problems are not cut off."""
        return 2 * self.max_completion_tokens


SCALES = {
    "tiny": Scale(
        name="tiny",
        reason="1.7 M parameters on two CPU cores: float32 (many CPUs emulate bf16), every weight trained, no instruction "
        "in the prompt because so small a model cannot follow one",
        model="tiny-base",
        engine="transformers",
        dtype="float32",
        template="bare",
        problems="tiny",
        max_prompt_tokens=96,
        max_completion_tokens=96,
        groups=8,
        group_size=8,
        steps=130,
        learning_rate=4e-4,
        student="tiny-student-base",
    ),
    "t4": Scale(
        name="t4",
        reason="Qwen3-4B-Base on 15 GB: float16 because Turing has no bf16, LoRA; groups of 8, so that few are all wrong "
        "or all right and teach nothing; 1,536 tokens, so that few thoughts are cut off, which teach nothing either; not "
        "measured by us",
        model="unsloth/Qwen3-4B-Base",
        engine="unsloth",
        dtype="float16",
        template="zero",
        problems="dapo",
        max_prompt_tokens=256,
        max_completion_tokens=1536,
        groups=1,
        group_size=8,
        steps=200,
        learning_rate=5e-6,
        lora_rank=32,
        micro_batch=1,
    ),
    "a100": Scale(
        name="a100",
        reason="Qwen3-4B-Base on 40-80 GB: bfloat16, LoRA; four groups of 16, so that most steps hold a mixed group; 3,072 "
        "tokens for longer thoughts; not measured by us",
        model="unsloth/Qwen3-4B-Base",
        engine="unsloth",
        dtype="bfloat16",
        template="zero",
        problems="dapo",
        max_prompt_tokens=256,
        max_completion_tokens=3072,
        groups=4,
        group_size=16,
        steps=200,
        learning_rate=5e-6,
        lora_rank=32,
        micro_batch=8,
    ),
    "cluster": Scale(
        name="cluster",
        reason="Qwen3-4B-Base on several GPUs under accelerate: bfloat16 on float32 weights, all of them trained, plain TRL "
        "and vLLM; not measured by us",
        model="Qwen/Qwen3-4B-Base",
        engine="transformers",
        dtype="bfloat16",
        template="zero",
        problems="dapo",
        max_prompt_tokens=256,
        max_completion_tokens=3072,
        groups=32,
        group_size=16,
        steps=500,
        learning_rate=1e-6,
        micro_batch=4,
    ),
}


def get_scale(name: str | None = None) -> Scale:
    """The scale `name`, or the one that `R1LAB_SCALE` names, or tiny. Raises ValueError on an unknown name."""
    name = name or os.environ.get("R1LAB_SCALE") or "tiny"
    if name not in SCALES:
        raise ValueError(f"unknown scale {name!r}: set R1LAB_SCALE to one of {', '.join(SCALES)}")
    return SCALES[name]


def output_folder() -> Path:
    """The folder that runs write to, created if missing: `R1LAB_OUTPUT`, else build/runs of the checkout.

    Where a wheel is installed, it is build/runs below the current folder. Raises PermissionError when it cannot be written.
    """
    home = CHECKOUT if DATA.parent == CHECKOUT else Path.cwd()
    folder = Path(os.environ.get("R1LAB_OUTPUT") or home / "build" / "runs")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise PermissionError(
            f"cannot write to the output folder {folder} ({error.strerror}): set R1LAB_OUTPUT to a folder you own"
        ) from error
    return folder
