"""What every GRPO stage shares: the TRL config, a model to train, a metrics log, and a safe way to resume."""

import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerState

from r1lab.files import write_json
from r1lab.languages import language_share
from r1lab.policy import adapter_base, end_tokens, load_model, set_threads
from r1lab.scale import Scale
from r1lab.self_checks import has_self_check
from r1lab.stages.folder import (
    drop_checkpoints,
    explained,
    keep_newest,
    last_checkpoint,
    own_folder,
    resume_point,
)
from r1lab.stages.rollout import engine_options


def self_check(completions, **_) -> list[float]:
    """1.0 where a completion checks itself. Watched with weight 0, never paid for."""
    return [float(has_self_check(_text(completion))) for completion in completions]


def language_share_of_target(completions, language, **_) -> list[float | None]:
    """Share of a completion's function words in the question's language. Watched with weight 0."""
    return [language_share(_text(c), lang) for c, lang in zip(completions, language, strict=True)]


def _text(completion: str | list[dict[str, str]]) -> str:
    return (
        completion
        if isinstance(completion, str)
        else "".join(str(m.get("content") or "") for m in completion)
    )


WATCHED = (self_check, language_share_of_target)


def make_grpo_args(scale: Scale, output: Path | str, **overrides: Any):
    """The `trl.GRPOConfig` of a scale; `overrides` replace any of its fields.

    Every value that a TRL release has changed the default of is set here, so that the same notebook means the same
    thing under trl 1.14 and 1.16. Raises ValueError on a field the installed TRL does not know: a silently dropped
    typo would train something else.
    """
    from trl import GRPOConfig

    micro_batch, passes = share_step(scale.groups * scale.group_size, scale.micro_batch)
    values = {
        **machine_args(scale, output),
        # The group and the step
        "num_generations": scale.group_size,
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": passes,
        "max_steps": scale.steps,
        # Sampling: temperature 1 and nothing cut off, so that the samples are the policy's own
        "max_completion_length": scale.max_completion_tokens,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        # The loss: on-policy (one update a batch), no KL term, so no reference model (Yu et al., 2025)
        "loss_type": "dapo",
        "beta": 0.0,
        "epsilon": 0.2,
        "epsilon_high": overrides.get("epsilon", 0.2),
        "scale_rewards": "group",
        "num_iterations": 1,
        "use_bias_correction_kl": False,
        # Unsloth sets this with loss_type "dapo" whatever we say, so it is said here: a completion that was cut off
        # at the limit has no gradient. Elsewhere it is graded like any other, and without an answer it earns nothing.
        "mask_truncated_completions": scale.engine == "unsloth",
        # The optimizer
        "learning_rate": scale.learning_rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 5,
        "max_grad_norm": 1.0,
        **vllm_args(scale),
    }
    return build_config(GRPOConfig, values, overrides)


def share_step(rows: int, micro_batch: int = 0) -> tuple[int, int]:
    """(rows in one forward pass of one process, passes in a step), so that the processes that torchrun or accelerate
    started make a step of `rows` together. micro_batch: at most so many rows in a pass; 0 sets no limit.

    Raises ValueError when the step cannot be shared evenly.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    micro_batch = min(micro_batch or rows, rows // processes)
    if not micro_batch or rows % (micro_batch * processes):
        raise ValueError(
            f"{processes} processes cannot share a step of {rows} completions in passes of {micro_batch}: start another "
            "number of processes, or change groups, group_size or micro_batch of the scale"
        )
    return micro_batch, rows // (micro_batch * processes)


def vllm_args(scale: Scale) -> dict[str, Any]:
    """Who samples: the model itself (tiny), Unsloth, which turns vLLM on where it runs, or on a cluster vLLM, beside the
    training or as a server of its own at R1LAB_VLLM_SERVER (`http://node:8000`)."""
    if scale.name != "cluster":
        return {"use_vllm": False}
    server = os.environ.get("R1LAB_VLLM_SERVER")
    where = {"vllm_mode": "server", "vllm_server_base_url": server} if server else {"vllm_mode": "colocate"}
    return {"use_vllm": True, "vllm_gpu_memory_utilization": 0.3, **where}


def machine_args(scale: Scale, output: Path | str) -> dict[str, Any]:
    """What every trainer's config holds: the machine, the log, the checkpoints."""
    return {
        "output_dir": str(output),
        "use_cpu": scale.name == "tiny",
        "bf16": scale.dtype == "bfloat16",
        "fp16": scale.dtype == "float16",
        "gradient_checkpointing": scale.name != "tiny",
        "dataloader_num_workers": 0,
        # Set although they are the defaults, because Unsloth replaces what is not set by values of its own.
        "optim": "adamw_torch_fused",
        "weight_decay": 0.0,
        "seed": 0,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is NaN must be seen, not averaged away
        "save_steps": 50 if scale.name == "tiny" else 10,  # a step of a large model takes minutes
        "save_total_limit": None,  # MetricsLog keeps the newest, by step
        "report_to": "none",
        "disable_tqdm": True,
    }


def build_config(kind: type, values: dict[str, Any], overrides: dict[str, Any]):
    """A config of TRL's class `kind`. A value of ours that this TRL does not know is left out; an unknown name in
    `overrides` raises ValueError."""
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(overrides) - known):
        raise ValueError(
            f"{kind.__name__} has no field {', '.join(unknown)}: see `help(trl.{kind.__name__})` for the names"
        )
    return kind(**{name: value for name, value in {**values, **overrides}.items() if name in known})


def load_trainable(scale: Scale, model: str | Path | None = None) -> tuple[Any, Any]:
    """(model, tokenizer) ready for a trainer: the scale's base model or `model`; LoRA adapters where the scale asks."""
    if scale.engine == "unsloth":
        from r1lab.stages.lora import load_lora

        return load_lora(scale, model, adapter_base(model) if model else None)
    # In float32 whatever the scale computes in: a bfloat16 weight has 8 bits and does not feel a step of 1e-6. On the
    # CPU, because the trainer knows which GPU is this process's.
    return load_model(model or scale.model, "float32", "cpu")


def trainer_class(scale: Scale):
    """`KernelGRPOTrainer`: TRL's trainer with the loss of `r1lab.kernels`. TRL's own where Unsloth rewrites it."""
    if scale.engine == "unsloth":
        from trl import GRPOTrainer

        return GRPOTrainer
    from r1lab.stages.trainer import KernelGRPOTrainer

    return KernelGRPOTrainer


def make_grpo_trainer(
    scale: Scale,
    output: Path | str,
    *,
    dataset,
    rewards: dict[str, list],
    model: str | Path | None = None,
    show=None,
    **overrides: Any,
):
    """The GRPO trainer of a stage; the same few lines as in notebook 04.

    dataset: a `datasets.Dataset`; rewards: {"reward_funcs", "reward_weights"} as `rewards.reward_set` gives them; model:
    the checkpoint to start from (default: the scale's base).
    """
    from transformers import PrinterCallback

    set_threads()
    # The arguments first: they set up the processes, and DeepSpeed shards a model only when it is loaded after that.
    args = make_grpo_args(scale, output, reward_weights=rewards["reward_weights"], **overrides)
    policy, tokenizer = load_trainable(scale, model)
    # vLLM reads the base's end tokens from the hub, not from our model. Unsloth turns `use_vllm` on later, in its trainer.
    if args.use_vllm or getattr(policy, "vllm_engine", None) is not None:
        args.generation_kwargs = {"stop_token_ids": end_tokens(policy, tokenizer)} | (
            args.generation_kwargs or {}
        )
    with warnings.catch_warnings():
        # TRL warns that the hook may change. pyproject.toml limits the versions of TRL for that reason.
        warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
        trainer = trainer_class(scale)(
            model=policy,
            processing_class=tokenizer,
            reward_funcs=[FiniteReward(function) for function in rewards["reward_funcs"]],
            args=args,
            train_dataset=dataset,
            callbacks=[MetricsLog(Path(output) / "metrics.json", show=show)],
            **engine_options(scale, policy, args),
        )
    # MetricsLog keeps the log; a line of thirty numbers a step helps nobody
    trainer.remove_callback(PrinterCallback)
    return trainer


def run_trainer(trainer, *, resume: bool = False) -> dict[str, Any]:
    """Train; returns {"history", "seconds", "trainer"}, seconds of training.

    With `resume` it goes on from the newest complete checkpoint in the trainer's folder, if there is one; without,
    checkpoints that an earlier run left there are removed. Raises ValueError when the rows do not fill one step: the
    trainer would only warn, and the untouched parent would be saved as trained.
    """
    output = trainer.args.output_dir
    with own_folder(output), explained(output):
        if not resume:
            with trainer.accelerator.main_process_first():
                drop_checkpoints(output)
        started, checkpoint = time.monotonic(), last_checkpoint(output)
        if not load_finished(trainer, checkpoint):
            trainer.train(resume_from_checkpoint=checkpoint)
        seconds = round(time.monotonic() - started, 1)
        if not trainer.state.global_step:
            raise ValueError(
                f"the run took no step: its {len(trainer.train_dataset)} rows do not fill one; train on more problems"
            )
        if is_sharded(trainer.model):
            trainer.save_model()  # every process hands in its part
    return {"history": trainer.state.log_history, "seconds": seconds, "trainer": trainer}


def load_finished(trainer, checkpoint: str | None) -> bool:
    """Load `checkpoint` into the trainer if it is of the run's last step, and say whether it was.

    `train` looks for the end only after a step, so a run that was killed between its last checkpoint and its model would
    take one step too many. Sharded weights only `train` can load.
    """
    if not checkpoint or trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        return False
    state = TrainerState.load_from_json(os.path.join(checkpoint, "trainer_state.json"))
    if not 0 < trainer.args.max_steps <= state.global_step:
        return False
    trainer._load_from_checkpoint(checkpoint)
    trainer.state = state
    return True


def is_sharded(model) -> bool:
    """Whether this process holds a part of the weights only (ZeRO-3, FSDP2)."""
    return any(hasattr(p, "ds_id") or hasattr(p, "full_tensor") for p in model.parameters())


class FiniteReward:
    """The same reward, but a value that is NaN or infinite raises ValueError. It can be pickled if the reward can.

    TRL takes NaN for None, "not mine to judge", so a reward that divides by zero would go unnoticed.
    """

    def __init__(self, reward: Callable) -> None:
        self.reward, self.__name__ = reward, reward.__name__  # TRL names the logged metrics after it

    def __call__(self, **columns) -> list[float | None]:
        values = self.reward(**columns)
        for completion, value in zip(columns["completions"], values, strict=True):
            if value is not None and not math.isfinite(value):
                raise ValueError(
                    f"the reward {self.__name__!r} gave {value} for the completion {_text(completion)[:80]!r}: "
                    "a reward must be a finite number, or None for a problem it does not judge"
                )
        return values


class MetricsLog(TrainerCallback):
    """Writes the trainer's whole log to `path` as JSON after every step, atomically, and hands each row to `show`.

    Stops a run that has gone wrong, before its checkpoint is written over by a worse one: FloatingPointError.
    After three steps a long run says how long it will take. Of several processes only the first writes and shows.
    """

    def __init__(self, path: Path | str, show=None):
        self.path, self.show, self.times = Path(path), show, []

    def on_log(self, args, state, control, logs=None, **kwargs):
        if state.is_world_process_zero:
            write_json(state.log_history, self.path)
        # All processes hold the same numbers, so all of them stop. In half precision the scaler skips a step whose
        # gradient overflows; that is how it finds its scale.
        watched = ("loss", "reward") if args.fp16 else ("loss", "reward", "grad_norm")
        for name in watched:
            value = (logs or {}).get(name, 0.0)
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"{name} is {value} at step {state.global_step}, learning rate {logs.get('learning_rate')}: a rate too "
                    f"high or a number too large for {'half' if args.fp16 or args.bf16 else 'single'} precision; "
                    f"this step is not saved, lower the rate and go on with --resume {resume_point(args.output_dir)}"
                )
        if state.is_world_process_zero and self.show and logs:
            self.show({**logs, "step": state.global_step, "steps": state.max_steps})

    def on_step_end(self, args, state, control, **kwargs):
        self.times.append(time.time())
        if len(self.times) == 3 and state.is_world_process_zero:  # the first step also warms up
            step = (self.times[2] - self.times[0]) / 2
            minutes = step * (state.max_steps - state.global_step) / 60
            if minutes > 15:
                print(f"{step:.0f} s a step: about {minutes:.0f} more minutes for {state.max_steps} steps")

    def on_save(self, args, state, control, **kwargs):
        if state.is_world_process_zero:
            keep_newest(args.output_dir, state.global_step)
