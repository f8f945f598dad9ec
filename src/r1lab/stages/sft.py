"""Supervised fine-tuning: what every SFT stage shares. The loss is on the completion only, never on the prompt."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from r1lab.policy import set_threads
from r1lab.prompts import render_prompt
from r1lab.scale import Scale
from r1lab.stages.grpo import MetricsLog, build_config, load_trainable, machine_args, run_trainer, share_step
from r1lab.stages.lora import put_vllm_to_sleep


def make_sft_args(scale: Scale, output: Path | str, **overrides: Any):
    """The `trl.SFTConfig` of a scale; `overrides` replace any of its fields. Raises ValueError on an unknown field."""
    from trl import SFTConfig

    tiny = scale.name == "tiny"
    micro_batch, passes = share_step(32, 0 if tiny else 2)
    values = {
        **machine_args(scale, output),
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": passes,
        "num_train_epochs": 3 if tiny else 1,
        "learning_rate": 1e-3 if tiny else 1e-4,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 5,
        "max_length": scale.max_prompt_tokens + scale.longest_answer,
        "completion_only_loss": True,  # the prompt is given, not learned
        "loss_type": "nll",
        # Packing glues documents together. Without a flash-attention kernel each would attend to its neighbours, so
        # on a CPU the batches are padded and sorted by length instead.
        "packing": False,
        "train_sampling_strategy": "group_by_length" if tiny else "random",
    }
    return build_config(SFTConfig, values, overrides)


def sft_dataset(rows: Iterable[dict], tokenizer, template: str):
    """A `datasets.Dataset` with `prompt` and `completion` as the very texts the policy will see.

    rows: {"prompt": question, "completion": reply, "language": "en" or "id"}. Rendering here, and not in the trainer,
    keeps the seam between prompt and completion where the policy meets it when it samples.
    """
    from datasets import Dataset

    def rendered(row: dict) -> dict[str, str]:
        messages = render_prompt(row["prompt"], template=template, language=row["language"])
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return {"prompt": prompt, "completion": row["completion"] + tokenizer.eos_token}

    return Dataset.from_list([rendered(row) for row in rows])


def train_sft(
    scale: Scale,
    rows: Iterable[dict],
    output: Path | str,
    *,
    model: str | Path,
    resume: bool = False,
    show=None,
    callbacks: Iterable = (),
    **overrides: Any,
) -> dict[str, Any]:
    """Fine-tune the checkpoint `model` on `rows`; returns {"history", "seconds", "trainer"} and saves nothing but
    checkpoints to resume from. Raises ValueError when there are no rows."""
    from transformers import PrinterCallback
    from trl import SFTTrainer

    rows = list(rows)
    if not rows:
        raise ValueError(
            "there are no rows to learn from: no reply passed the filters, so sample more or look at what they drop"
        )
    set_threads()
    policy, tokenizer = load_trainable(scale, model)
    put_vllm_to_sleep(policy)
    trainer = SFTTrainer(
        model=policy,
        processing_class=tokenizer,
        args=make_sft_args(scale, output, **overrides),
        train_dataset=sft_dataset(rows, tokenizer, scale.template),
        callbacks=[MetricsLog(Path(output) / "metrics.json", show=show), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)
    return run_trainer(trainer, resume=resume)
