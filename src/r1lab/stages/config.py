"""TRL's configs for all stages. Every value that matters is set here, so that a new TRL release cannot change a run."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

from r1lab.scale import Scale

# For all GRPO stages at all scales. The other values come from the scale or from the stage.
GRPO = {
    # Sampling. At temperature 1 with nothing cut off the samples come from the policy itself. At any other setting the
    # policy gradient would be biased.
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    # The loss. It is on-policy: one update a batch. Without a KL term no reference model is needed (Yu et al., 2025).
    "loss_type": "dapo",
    "beta": 0.0,
    "epsilon": 0.2,
    "scale_rewards": "group",
    "num_iterations": 1,
    "use_bias_correction_kl": False,
    # The optimizer.
    "lr_scheduler_type": "constant_with_warmup",
    "warmup_steps": 5,
    "max_grad_norm": 1.0,
}


def machine_args(scale: Scale, output: Path | str) -> dict[str, Any]:
    """The fields that all trainers' configs share: the machine, the log, the checkpoints."""
    return {
        "output_dir": str(output),
        # At tiny also where there is a GPU, because the committed runs are from CPUs.
        "use_cpu": scale.name == "tiny",
        "bf16": scale.dtype == "bfloat16",
        "fp16": scale.dtype == "float16",
        # Recomputes activations in the backward pass. A large model needs the memory, the tiny one would only lose time.
        "gradient_checkpointing": scale.name != "tiny",
        "dataloader_num_workers": 0,
        # These two are TRL's defaults. Unsloth replaces what is not set by values of its own.
        "optim": "adamw_torch_fused",
        "weight_decay": 0.0,
        "seed": 0,
        "logging_steps": 1,
        # A loss that is NaN must be visible, not averaged away.
        "logging_nan_inf_filter": False,
        # A step of a large model takes minutes, so its checkpoints are closer together.
        "save_steps": 50 if scale.name == "tiny" else 10,
        # MetricsLog removes old checkpoints, by their step. The trainer would go by the time of change.
        "save_total_limit": None,
        "report_to": "none",
        "disable_tqdm": True,
    }


def build_config(kind: type, values: dict[str, Any], overrides: dict[str, Any]):
    """A config of TRL's class `kind` with `values`, some of them replaced by `overrides`.

    Raises ValueError on an unknown name in `overrides`. Of `values`, those that the installed TRL does not know are skipped.
    """
    known = {field.name for field in fields(kind)}
    # A misspelled name that is skipped would train something else.
    if unknown := sorted(set(overrides) - known):
        raise ValueError(
            f"{kind.__name__} has no field {', '.join(unknown)}: see `help(trl.{kind.__name__})` for the names"
        )
    return kind(**{name: value for name, value in {**values, **overrides}.items() if name in known})


def split_step(rows: int, micro_batch: int = 0) -> tuple[int, int]:
    """(rows in one forward pass of one process, passes in a step), so that all processes together make a step of `rows`.

    micro_batch: the most rows in a pass; 0 sets no limit. Raises ValueError when the step cannot be split evenly.
    """
    # Set by torchrun and accelerate.
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    micro_batch = min(micro_batch or rows, rows // processes)
    if not micro_batch or rows % (micro_batch * processes):
        raise ValueError(
            f"{processes} processes cannot share a step of {rows} completions in passes of {micro_batch}: start another "
            "number of processes, or change groups, group_size or micro_batch of the scale"
        )
    return micro_batch, rows // (micro_batch * processes)


def vllm_args(scale: Scale) -> dict[str, Any]:
    """The fields of `GRPOConfig` that turn vLLM on or off.

    On a cluster vLLM samples, on the GPUs that train or as a server at R1LAB_VLLM_SERVER (`http://node:8000`).
    """
    # At tiny the engine samples. Unsloth turns vLLM on by itself where it runs.
    if scale.name != "cluster":
        return {"use_vllm": False}
    server = os.environ.get("R1LAB_VLLM_SERVER")
    # On the GPUs that train, vLLM gets 30% of the memory. A server has its GPUs to itself and ignores the number.
    mode = {"vllm_mode": "server", "vllm_server_base_url": server} if server else {"vllm_mode": "colocate"}
    return {"use_vllm": True, "vllm_gpu_memory_utilization": 0.3, **mode}


def make_grpo_args(scale: Scale, output: Path | str, **overrides: Any):
    """The `trl.GRPOConfig` of a scale; `overrides` replace any of its fields. Raises ValueError on an unknown field."""
    from trl import GRPOConfig

    micro_batch, passes = split_step(scale.groups * scale.group_size, scale.micro_batch)
    values = {
        **machine_args(scale, output),
        **GRPO,
        "num_generations": scale.group_size,
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": passes,
        "max_steps": scale.steps,
        "max_completion_length": scale.max_completion_tokens,
        "learning_rate": scale.learning_rate,
        # The same bound on both sides, unless a stage sets a higher upper one as DAPO does.
        "epsilon_high": overrides.get("epsilon", GRPO["epsilon"]),
        # With loss_type "dapo" Unsloth skips completions that were cut off at the limit, whatever we set, so we set it.
        # At other scales they are graded like the others, and without an answer they get no reward.
        "mask_truncated_completions": scale.engine == "unsloth",
        **vllm_args(scale),
    }
    return build_config(GRPOConfig, values, overrides)


def make_sft_args(scale: Scale, output: Path | str, **overrides: Any):
    """The `trl.SFTConfig` of a scale; `overrides` replace any of its fields. Raises ValueError on an unknown field."""
    from trl import SFTConfig

    tiny = scale.name == "tiny"
    micro_batch, passes = split_step(32, 0 if tiny else 2)
    values = {
        **machine_args(scale, output),
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": passes,
        "num_train_epochs": 3 if tiny else 1,
        "learning_rate": 1e-3 if tiny else 1e-4,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 5,
        "max_length": scale.max_prompt_tokens + scale.longest_answer,
        # The prompt is given, not learned.
        "completion_only_loss": True,
        "loss_type": "nll",
        # Packing joins documents. Without a flash-attention kernel each one would attend to its neighbors, so on a CPU
        # the batches are padded, and sorted by length to keep the padding short.
        "packing": False,
        "train_sampling_strategy": "group_by_length" if tiny else "random",
    }
    return build_config(SFTConfig, values, overrides)


def make_reward_args(scale: Scale, output: Path | str, **overrides: Any):
    """The `trl.RewardConfig` of a scale; `overrides` replace any of its fields. Raises ValueError on an unknown field."""
    from trl import RewardConfig

    tiny = scale.name == "tiny"
    values = {
        **machine_args(scale, output),
        "per_device_train_batch_size": 16 if tiny else 4,
        "num_train_epochs": 2 if tiny else 1,
        "learning_rate": 1e-3 if tiny else 1e-5,
        "lr_scheduler_type": "linear",
        "warmup_steps": 5,
        "max_length": scale.max_prompt_tokens + scale.longest_answer,
        # At tiny it takes seconds: an interrupted training starts again.
        "save_strategy": "no",
    }
    return build_config(RewardConfig, values, overrides)


def make_dpo_args(scale: Scale, output: Path | str, **overrides: Any):
    """The `trl.DPOConfig` of a scale; `overrides` replace any of its fields. Raises ValueError on an unknown field."""
    from trl import DPOConfig

    tiny = scale.name == "tiny"
    values = {
        **machine_args(scale, output),
        "per_device_train_batch_size": 32 if tiny else 2,
        "num_train_epochs": 3 if tiny else 1,
        "learning_rate": 1e-4 if tiny else 5e-6,
        "beta": 0.1,
        "loss_type": "sigmoid",
        "warmup_steps": 5,
        "max_length": scale.max_prompt_tokens + scale.longest_answer,
    }
    return build_config(DPOConfig, values, overrides)


def make_on_policy_args(scale: Scale, output: Path | str, **overrides: Any):
    """The `trl.DistillationConfig` of on-policy distillation (trl 1.16); `overrides` replace any of its fields."""
    from trl import DistillationConfig

    values = {
        **machine_args(scale, output),
        "per_device_train_batch_size": scale.groups * scale.group_size,
        "max_completion_length": scale.max_completion_tokens,
        # Reverse KL, KL(student || teacher): a token of the student's costs more, the less probable the teacher finds it.
        "beta": 1.0,
        "temperature": 1.0,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 5,
        "max_grad_norm": 1.0,
    }
    return build_config(DistillationConfig, values, overrides)
