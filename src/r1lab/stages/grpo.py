"""The GRPO trainer of every stage: TRL's, with our loss kernel and our sampling engine where they apply."""

import warnings
from pathlib import Path
from typing import Any

from r1lab.languages import language_share
from r1lab.policy import adapter_base, end_tokens, load_model, set_threads
from r1lab.rewards.base import completion_texts
from r1lab.scale import Scale
from r1lab.self_checks import has_self_check
from r1lab.stages.callbacks import FiniteReward, attach_log
from r1lab.stages.config import make_grpo_args
from r1lab.stages.engine_hook import engine_options


def self_check(completions, **_) -> list[float]:
    """1.0 where a completion checks itself. It is logged with weight 0 and never rewarded."""
    return [float(has_self_check(text)) for text in completion_texts(completions)]


def language_share_of_target(completions, language, **_) -> list[float | None]:
    """Share of a completion's function words in the question's language. It is logged with weight 0."""
    return [language_share(*pair) for pair in zip(completion_texts(completions), language, strict=True)]


# Every GRPO run logs these two, so that all runs can be compared by them.
LOGGED_ONLY = (self_check, language_share_of_target)


def load_trainable(scale: Scale, model: str | Path | None = None) -> tuple[Any, Any]:
    """(model, tokenizer) ready for a trainer: the scale's base model or `model`; LoRA adapters where the scale asks."""
    if scale.engine == "unsloth":
        from r1lab.stages.lora import load_lora

        return load_lora(scale, model, adapter_base(model) if model else None)
    # In float32 whatever the scale computes in: a bfloat16 weight has 8 bits and does not change by a step of 1e-6. On
    # the CPU, because the trainer knows which GPU is this process's.
    return load_model(model or scale.model, "float32", "cpu")


def trainer_class(scale: Scale):
    """`KernelGRPOTrainer`, which is TRL's trainer with the loss of `r1lab.kernels`. With Unsloth, TRL's own class."""
    # Unsloth rewrites TRL's trainer with a loss of its own, and ours would replace it.
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
    """A GRPO trainer that writes to `output`.

    dataset: a `datasets.Dataset` with a column `prompt`. rewards: {"reward_funcs", "reward_weights"} as
    `rewards.reward_set` gives them. model: the checkpoint to start from, by default the scale's base. show: called with
    every row of the log. overrides: fields of `GRPOConfig`.
    """
    set_threads()
    # Stage 1: the arguments. They set up the processes, and DeepSpeed shards a model only when it is loaded after that.
    args = make_grpo_args(scale, output, reward_weights=rewards["reward_weights"], **overrides)
    # Stage 2: the policy. vLLM reads the base's end tokens from the hub, not from our model, so they are passed on. Unsloth
    # turns `use_vllm` on later, in its own trainer.
    policy, tokenizer = load_trainable(scale, model)
    if args.use_vllm or getattr(policy, "vllm_engine", None) is not None:
        stops = {"stop_token_ids": end_tokens(policy, tokenizer)}
        args.generation_kwargs = stops | (args.generation_kwargs or {})
    # Stage 3: the trainer.
    with warnings.catch_warnings():
        # TRL warns that the hook may change. pyproject.toml limits the versions of TRL for that reason.
        warnings.filterwarnings("ignore", message="You are using 'rollout_func'")
        trainer = trainer_class(scale)(
            model=policy,
            processing_class=tokenizer,
            reward_funcs=[FiniteReward(function) for function in rewards["reward_funcs"]],
            args=args,
            train_dataset=dataset,
            **engine_options(scale, policy, args),
        )
    attach_log(trainer, show)
    return trainer
