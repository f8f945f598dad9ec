"""Supervised fine-tuning: what every SFT stage shares. The loss is on the completion only, never on the prompt."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from r1lab.policy import set_threads
from r1lab.prompts import render_prompt
from r1lab.scale import Scale
from r1lab.stages.callbacks import EpochOrder, MetricsLog
from r1lab.stages.config import make_sft_args
from r1lab.stages.grpo import load_trainable
from r1lab.stages.lora import put_vllm_to_sleep


def render_row(row: dict, tokenizer, template: str) -> str:
    """The very text that stands before the reply to `row["prompt"]`.

    Rendering here, and not in the trainer, keeps the boundary between prompt and completion where the policy meets it
    when it samples.
    """
    messages = render_prompt(row["prompt"], template=template, language=row["language"])
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def sft_dataset(rows: Iterable[dict], tokenizer, template: str):
    """A `datasets.Dataset` with `prompt` and `completion` as the very texts the policy will see.

    rows: {"prompt": question, "completion": reply, "language": "en" or "id"}. The end token closes each completion.
    """
    from datasets import Dataset

    return Dataset.from_list(
        [
            {
                "prompt": render_row(row, tokenizer, template),
                "completion": row["completion"] + tokenizer.eos_token,
            }
            for row in rows
        ]
    )


def make_sft_trainer(
    scale: Scale,
    output: Path | str,
    *,
    rows: Iterable[dict],
    model: str | Path,
    show=None,
    callbacks: Iterable = (),
    **overrides: Any,
):
    """An SFT trainer of the checkpoint `model` on `rows` (see `sft_dataset`) that writes to `output`.

    overrides: fields of `trl.SFTConfig`. Raises ValueError when there are no rows.
    """
    from transformers import PrinterCallback
    from trl import SFTTrainer

    rows = list(rows)
    if not rows:
        raise ValueError(
            "there are no rows to learn from: no reply passed the filters, so sample more or look at what they reject"
        )
    set_threads()
    policy, tokenizer = load_trainable(scale, model)
    put_vllm_to_sleep(policy)
    trainer = SFTTrainer(
        model=policy,
        processing_class=tokenizer,
        args=make_sft_args(scale, output, **overrides),
        train_dataset=sft_dataset(rows, tokenizer, scale.template),
        callbacks=[MetricsLog(Path(output) / "metrics.json", show=show), EpochOrder(), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer
