"""Supervised fine-tuning: the data set and the trainer that all SFT stages share. The loss is on the completion only."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from r1lab.policy import set_threads
from r1lab.prompts import render_prompt
from r1lab.scale import Scale
from r1lab.stages.callbacks import EpochOrder, attach_log
from r1lab.stages.config import make_sft_args
from r1lab.stages.grpo import load_trainable
from r1lab.stages.lora import put_vllm_to_sleep


def render_row(row: dict, tokenizer, template: str) -> str:
    """The text of `row["prompt"]` as the policy sees it: chat template applied, up to where the reply begins.

    row: needs `prompt` and `language`. template: of `prompts.render_prompt`.
    """
    # Rendered here and not in the trainer, so that the reply begins at the same token as when the policy samples.
    messages = render_prompt(row["prompt"], template=template, language=row["language"])
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def sft_dataset(rows: Iterable[dict], tokenizer, template: str):
    """A `datasets.Dataset` with the columns `prompt` and `completion`, both texts as the policy sees them.

    rows: {"prompt": question, "completion": reply, "language": "en" or "id"}.
    """
    from datasets import Dataset

    return Dataset.from_list(
        [
            {
                "prompt": render_row(row, tokenizer, template),
                # Without an end token the policy would never learn to stop.
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
    from trl import SFTTrainer

    rows = list(rows)
    # Checked before the model is loaded, which may take minutes.
    if not rows:
        raise ValueError(
            "there are no rows to learn from: no reply passed the filters, so sample more or look at what they reject"
        )
    set_threads()
    policy, tokenizer = load_trainable(scale, model)
    # SFT samples nothing, so it can have the memory of vLLM.
    put_vllm_to_sleep(policy)
    trainer = SFTTrainer(
        model=policy,
        processing_class=tokenizer,
        args=make_sft_args(scale, output, **overrides),
        train_dataset=sft_dataset(rows, tokenizer, scale.template),
        # Rows are grouped by length, so a resumed run must restore the order of its epoch.
        callbacks=[EpochOrder(), *callbacks],
    )
    attach_log(trainer, show)
    return trainer
