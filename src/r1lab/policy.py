"""A policy is a language model with its tokenizer. This file finds, loads, saves and samples one."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1lab.sampling import Sample, agree_on_ends, end_tokens, generate_with_transformers, rows_at_once
from r1lab.scale import DATA, Scale, get_scale

# The file in a folder with a LoRA adapter, which has no config.json.
ADAPTER = "adapter_config.json"
Prompt = str | list[dict[str, str]]


def find_model(name: str | Path) -> str:
    """Path of a shipped model (`tiny-base`), of a checkpoint folder, or a hub name (`owner/model`) unchanged.

    Raises FileNotFoundError when `name` is none of them.
    """
    for folder in (DATA / "models" / str(name), Path(name)):
        if (folder / "config.json").is_file() or (folder / ADAPTER).is_file():
            return str(folder)
    owner, _, model = str(name).partition("/")
    if model and "/" not in model and not Path(owner).is_dir() and not Path(name).is_absolute():
        return str(name)
    shipped = sorted(path.parent.name for path in (DATA / "models").glob("*/config.json"))
    raise FileNotFoundError(
        f"no model called {name!r}: give a folder with a config.json, or one of the shipped models "
        f"({', '.join(shipped) or 'none found: run `make base`'})"
    )


def adapter_base(folder: str | Path) -> str | None:
    """The base of the LoRA adapter in `folder`, as `find_model` gives it, or None if `folder` has a whole model.

    Raises FileNotFoundError when that base is not on this machine.
    """
    config = Path(folder) / ADAPTER
    if (Path(folder) / "config.json").is_file() or not config.is_file():
        return None
    named = json.loads(config.read_text(encoding="utf-8"))["base_model_name_or_path"]
    # A path from another machine may be a shipped model, which has the same name here.
    for name in (named, Path(named).name):
        try:
            return find_model(name)
        except FileNotFoundError:
            continue
    raise FileNotFoundError(
        f"the adapter in {folder} was trained on {named}, which is not here: put that model back, or write its path or "
        f"hub name into {ADAPTER}"
    )


def load_model(name: str | Path, dtype: str = "float32", device: str | None = None) -> tuple[Any, Any]:
    """(model, tokenizer) loaded with plain transformers. The tokenizer pads on the left.

    A LoRA adapter is merged into its base. dtype: a name in torch, or "auto" for that of the file. device: by default the
    GPU if there is one. Raises FileNotFoundError for a missing model and ValueError for a damaged one.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    # The bar would stay in a notebook's output.
    logging.disable_progress_bar()
    path = find_model(name)
    base = adapter_base(path)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    own_tokenizer = (Path(path) / "tokenizer_config.json").is_file()
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path if own_tokenizer else base or path, padding_side="left"
        )
        # A checkpoint of another format may run code while it is loaded; safetensors hold numbers only.
        model = AutoModelForCausalLM.from_pretrained(
            base or path, dtype=getattr(torch, dtype, dtype), use_safetensors=True
        )
        if base:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, path, torch_device="cpu").merge_and_unload()
        # On the CPU it is already, and a model that was sharded while it was loaded must stay where it is.
        if device != "cpu":
            model = model.to(device)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"the model in {path} is damaged or incomplete ({str(error).splitlines()[0][:120]}): "
            "restore the folder from git, or delete the checkpoint and train again"
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    agree_on_ends(model, tokenizer)
    return model, tokenizer


def save_tokenizer(tokenizer, output: str | Path) -> None:
    """Save a tokenizer in `output`, in a form that transformers 4.57 and 5 can load."""
    # Colab's GPU environments have 4.57. It knows the class TokenizersBackend of transformers 5 under an older name only, and
    # needs the names of the model's inputs.
    tokenizer.save_pretrained(output)
    path = Path(output) / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("tokenizer_class") == "TokenizersBackend":
        # What the models of the course take.
        inputs = ["input_ids", "attention_mask"]
        config |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": inputs}
        # The layout that transformers itself writes.
        text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")


def merge_adapter(folder: str | Path, output: str | Path, dtype: str = "auto") -> Path:
    """`output`, after the LoRA adapter in `folder` was merged into its base and saved there as a whole model.

    Raises as `load_model` does, and ValueError when `folder` holds no adapter.
    """
    if adapter_base(find_model(folder)) is None:
        raise ValueError(f"{folder} is a whole model already: there is no adapter to merge")
    model, tokenizer = load_model(folder, dtype, device="cpu")
    model.save_pretrained(output)
    save_tokenizer(tokenizer, output)
    return Path(output)


def load_policy(name: str | Path | Scale) -> "Policy":
    """A policy to sample from: a scale's base model, a shipped model or a checkpoint folder.

    On a GPU it has the scale's precision, on a CPU float32.
    """
    import torch

    scale = name if isinstance(name, Scale) else get_scale()
    path = find_model(scale.model if name is scale else name)
    if not torch.cuda.is_available():
        return Policy(*load_model(path))
    base = adapter_base(path)
    # At t4 and a100 the base and its adapters share one model in the GPU's memory, also with the one in training.
    if scale.engine == "unsloth" and (base or path) == scale.model:
        from r1lab.stages.lora import load_base

        return Policy(*load_base(scale, scale.model), adapter=path if base else None)
    return Policy(*load_model(path, scale.dtype))


def set_threads() -> None:
    """Let torch use as many threads as `OMP_NUM_THREADS` says, by default two."""
    import torch

    # On more than two, a tiny model is slower.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


class Policy:
    """A causal language model and its tokenizer, for sampling. The model may be in training."""

    def __init__(self, model, tokenizer, adapter: str | None = "default"):
        """adapter: only for a model of Unsloth's. "default" is the one in training, None is the base, else a folder."""
        self.model, self.tokenizer, self.adapter = model, tokenizer, adapter

    def render(self, prompt: Prompt) -> str:
        """The text that the model continues: `prompt` in the chat template."""
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
        """Completions of all prompts: result[i][j] is sample j of prompt i.

        temperature: 0 is greedy decoding. The same seed gives the same completions, however much memory is free.
        """
        from r1lab import engine

        if not prompts:
            return []
        model, tokenizer = self.model, self.tokenizer
        ids = tokenizer([self.render(prompt) for prompt in prompts], add_special_tokens=False)["input_ids"]
        repeated = [i for i in ids for _ in range(samples)]
        settings = {"ends": end_tokens(model, tokenizer), "max_new_tokens": max_new_tokens}
        settings |= {"temperature": temperature, "seed": seed}
        # Only models of Unsloth's have this method.
        if hasattr(model, "for_inference"):
            from r1lab.stages import lora

            completions = lora.generate(self, ids, samples=samples, **settings)
        # Slower, but for every architecture.
        elif engine.why_unsupported(model):
            completions = generate_with_transformers(model, tokenizer, repeated, **settings)
        else:
            rows = rows_at_once(model, max(map(len, ids)) + max_new_tokens)
            completions = engine.generate(model, repeated, rows=rows, **settings)
        # The end token is not part of the text: cut it off where there is one.
        kept = [c.ids[: len(c.ids) - (not c.truncated)] for c in completions]
        texts = tokenizer.batch_decode(kept, skip_special_tokens=True)
        flat = [
            Sample(text, len(ids), completion.truncated)
            for text, ids, completion in zip(texts, kept, completions, strict=True)
        ]
        return [flat[start : start + samples] for start in range(0, len(flat), samples)]
