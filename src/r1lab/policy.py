"""A policy: a language model with its tokenizer, loaded with clear errors, sampled in large batches."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1lab.scale import DATA, Scale

BATCH = 512  # completions generated side by side
Prompt = str | list[dict[str, str]]


@dataclass(frozen=True)
class Sample:
    """One completion: its text, its length in tokens (end token not counted), and whether it was cut off."""

    text: str
    tokens: int
    truncated: bool


def find_model(name: str | Path) -> str:
    """Path of a shipped model (`tiny-base`), of a checkpoint folder, or a hub name (`owner/model`) unchanged.

    Raises FileNotFoundError when nothing is there.
    """
    for folder in (DATA / "models" / str(name), Path(name)):
        if (folder / "config.json").is_file():
            return str(folder)
    owner, _, model = str(name).partition("/")
    if model and "/" not in model and not Path(owner).is_dir() and not Path(name).is_absolute():
        return str(name)
    shipped = sorted(path.parent.name for path in (DATA / "models").glob("*/config.json"))
    raise FileNotFoundError(
        f"no model called {name!r}: give a folder with a config.json, or one of the shipped models "
        f"({', '.join(shipped) or 'none found: run `make base`'})"
    )


def load_model(name: str | Path, dtype: str = "float32") -> tuple[Any, Any]:
    """Load (model, tokenizer) with plain transformers, the tokenizer padding on the left.

    Raises FileNotFoundError for a missing model and ValueError for a damaged one.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # the bar outlives the loading it is about
    path = find_model(name)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype)).to(device)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"the model in {path} is damaged or incomplete ({str(error).splitlines()[0][:120]}): "
            "restore the folder from git, or delete the checkpoint and train again"
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def load_policy(name: str | Path | Scale) -> "Policy":
    """A policy to sample from: a scale's base model, a shipped model or a checkpoint folder."""
    if isinstance(name, Scale):
        return Policy(*load_model(name.model, name.dtype))
    return Policy(*load_model(name))


def set_threads() -> None:
    """Use the threads `OMP_NUM_THREADS` names, or two: a tiny model slows down on more."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


class Policy:
    """Wraps a causal language model for sampling. The model may be one that is being trained."""

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer

    def render(self, prompt: Prompt) -> str:
        """The very text the model continues."""
        if isinstance(prompt, str):
            prompt = [{"role": "user", "content": prompt}]
        return self.tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        samples: int = 1,
        temperature: float = 0.0,
        max_new_tokens: int = 160,
        seed: int = 0,
    ) -> list[list[Sample]]:
        """Sample `samples` completions for every prompt; result[i][j] is sample j of prompt i.

        temperature 0 is greedy decoding. Prompts of similar length share a batch, so the order of the prompts does
        not change the padding; the same seed on the same machine gives the same completions.
        """
        import torch

        rendered = [self.render(prompt) for prompt in prompts]
        order = sorted(
            (i for i in range(len(prompts)) for _ in range(samples)), key=lambda i: (len(rendered[i]), i)
        )
        results: list[list[Sample]] = [[] for _ in prompts]
        was_training = self.model.training
        self.model.eval()
        device = next(self.model.parameters()).device
        generator = torch.Generator(device).manual_seed(seed)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            inputs = self.tokenizer(
                [rendered[i] for i in chosen],
                return_tensors="pt",
                padding=True,
                padding_side="left",
                add_special_tokens=False,
            ).to(device)
            completions = self._continue(
                inputs["input_ids"], inputs["attention_mask"], temperature, max_new_tokens, generator
            )
            for i, ids in zip(chosen, completions, strict=True):
                ended = ids[-1:] == [self.tokenizer.eos_token_id]
                text = self.tokenizer.decode(ids, skip_special_tokens=True)
                results[i].append(Sample(text=text, tokens=len(ids) - ended, truncated=not ended))
        self.model.train(was_training)
        return results

    def _continue(self, ids, mask, temperature: float, limit: int, generator) -> list[list[int]]:
        """Token ids each row adds, its end token included, at most `limit`.

        Like `model.generate`, but rows that have ended leave the batch: one long completion in a batch of short ones
        would otherwise cost as much as a batch of long ones. ids, mask: [batch, length], padded on the left.
        """
        import torch
        from transformers import DynamicCache

        cache, completions = DynamicCache(), [[] for _ in ids]
        rows, running = torch.arange(len(ids)), torch.ones(len(ids), dtype=torch.bool)
        with torch.inference_mode():
            for _ in range(limit):
                positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
                logits = self.model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=cache,
                    logits_to_keep=1,
                ).logits[:, -1]
                if temperature:
                    ids = torch.multinomial(
                        (logits.float() / temperature).softmax(-1), 1, generator=generator
                    )
                else:
                    ids = logits.argmax(-1, keepdim=True)
                for row, token, runs in zip(rows.tolist(), ids[:, 0].tolist(), running.tolist(), strict=True):
                    if runs:
                        completions[row].append(token)
                running = running & (ids[:, 0] != self.tokenizer.eos_token_id).cpu()
                if not running.any():
                    break
                mask = torch.cat([mask, torch.ones_like(ids)], 1)
                if running.float().mean() < 0.75:  # copying the cache costs, so not for every row that ends
                    kept = running.nonzero()[:, 0]
                    cache.batch_select_indices(kept.to(ids.device))
                    rows, ids, mask, running = rows[kept], ids[kept], mask[kept], running[kept]
        return completions
