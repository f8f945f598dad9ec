"""Unsloth's model at the scales t4 and a100: one base in half precision, LoRA adapters on it, vLLM to sample where it starts.

A T4 has memory for one base, so every policy of these scales is that base with one adapter or another. vLLM or Unsloth samples,
because Unsloth's forward pass accepts only a cache of its own.
"""

import gc
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from r1lab.engine import Completion
from r1lab.sampling import TRANSFORMERS_BATCH, agree_on_ends, generate_with_transformers, rows_at_once
from r1lab.scale import Scale

# All seven matrices of a layer: adapters on attention alone learned less in Dettmers et al. (2023).
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# The names of the adapter that is trained, and of one that was read from a folder to be sampled.
TRAINED, SAVED = "default", "saved"
# The one base in memory: its name -> (model with adapters, tokenizer).
LOADED: dict[str, tuple[Any, Any]] = {}


def load_lora(scale: Scale, model: str | Path | None = None, base: str | None = None) -> tuple[Any, Any]:
    """(model, tokenizer): the scale's base, or `model`, with adapters to train.

    base: the model under the adapters, if the checkpoint `model` consists of adapters. Then training goes on with these.
    Otherwise the adapters are new. A second call returns the same model with its adapters reset, so save them before.
    """
    policy, tokenizer = load_base(scale, base or str(model or scale.model))
    # PEFT's own start: A random, B zero. So the model with fresh adapters computes what the base computes.
    for module in policy.modules():
        if hasattr(module, "reset_lora_parameters"):
            module.reset_lora_parameters(TRAINED, True)
    if base:
        from peft import load_peft_weights, set_peft_model_state_dict

        set_peft_model_state_dict(policy, load_peft_weights(str(model)))
    return policy, tokenizer


def load_base(scale: Scale, base: str) -> tuple[Any, Any]:
    """(model, tokenizer) of `base` with adapters on it, loaded once. Prints one sentence when vLLM does not start."""
    if base in LOADED:
        return LOADED[base]
    import torch
    from unsloth import FastLanguageModel

    def load(vllm: bool):
        return FastLanguageModel.from_pretrained(
            model_name=base,
            max_seq_length=scale.max_prompt_tokens + scale.longest_answer,
            # float16 on a T4, which has no bfloat16.
            dtype=getattr(torch, scale.dtype),
            # Not quantized, because the adapters are merged into these weights later.
            load_in_4bit=False,
            max_lora_rank=scale.lora_rank,
            fast_inference=vllm,
            # vLLM's share. It gives the memory back while the model trains.
            gpu_memory_utilization=0.9,
        )

    LOADED.clear()
    try:
        model, tokenizer = load(vllm=True)
    # vLLM has a dozen types of errors. An error that is not vLLM's is raised again below.
    except Exception as error:
        model, reason = None, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"
    # Outside of `except`, where the error would keep the half-loaded model in memory.
    if model is None:
        print(f"vLLM did not start ({reason}); Unsloth samples without it, which is slower.")
        gc.collect()
        torch.cuda.empty_cache()
        model, tokenizer = load(vllm=False)
    agree_on_ends(model, tokenizer)
    model = FastLanguageModel.get_peft_model(
        model,
        r=scale.lora_rank,
        # The update is scaled by alpha / r = 2, as in Unsloth's own GRPO notebooks.
        lora_alpha=2 * scale.lora_rank,
        target_modules=list(TARGETS),
        use_gradient_checkpointing="unsloth",
        random_state=0,
    )
    LOADED[base] = model, tokenizer
    return LOADED[base]


def generate(
    policy,
    prompts: list[list[int]],
    *,
    samples: int,
    ends,
    max_new_tokens: int,
    temperature: float,
    seed: int,
) -> list[Completion]:
    """`samples` completions of each prompt, in the order of the prompts, from a model of Unsloth's; no log-probabilities.

    policy: an `r1lab.policy.Policy`. prompts: lists of token ids.
    """
    model, adapter = policy.model, policy.adapter
    # Case 1: vLLM runs. It samples all completions of a prompt from one seed, each from a stream of its own.
    if getattr(model, "vllm_engine", None) is not None:
        from vllm import SamplingParams

        settings = SamplingParams(
            n=samples,
            temperature=temperature,
            top_p=1.0,
            top_k=-1,
            max_tokens=max_new_tokens,
            seed=seed,
            stop_token_ids=ends,
        )
        # Without a request vLLM samples the base.
        request = None
        if adapter is not None:
            trained = adapter == TRAINED
            # The adapter in training is in memory; its tensors are handed over, so nothing is written to a disk.
            request = model.load_lora(adapter, load_tensors=True) if trained else model.load_lora(adapter)
        groups = model.fast_generate(
            [{"prompt_token_ids": ids} for ids in prompts],
            sampling_params=settings,
            lora_request=request,
            use_tqdm=False,
        )
        outputs = [output for group in groups for output in group.outputs]
        return [Completion(list(o.token_ids), None, o.finish_reason == "length") for o in outputs]
    # Case 2: transformers' loop over Unsloth's forward pass.
    settings = {"ends": ends, "max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
    # As many as fit, but no more than always fit. Otherwise a seed would give other completions when more memory is free.
    rows = min(TRANSFORMERS_BATCH, rows_at_once(model, max(map(len, prompts)) + max_new_tokens))
    repeated = [ids for ids in prompts for _ in range(samples)]
    with _inference(model), _active_adapter(model, adapter):
        return generate_with_transformers(model, policy.tokenizer, repeated, rows=rows, **settings)


def put_vllm_to_sleep(model) -> None:
    """Free the GPU memory of vLLM before a training that does not sample. The next sampling wakes it up.

    Only a vLLM engine that was started in standby can sleep. With other models nothing happens.
    """
    engine = getattr(model, "vllm_engine", None)
    if engine is not None and os.environ.get("UNSLOTH_VLLM_STANDBY") == "1":
        # Level 1: the weights move to the CPU's memory, and the key-value cache is dropped.
        engine.sleep(1)


@contextmanager
def _inference(model):
    """Use Unsloth's fast forward pass inside the block. In training mode, Unsloth's model would sample noise."""
    training = model.training
    model.for_inference()
    try:
        yield
    finally:
        if training:
            model.for_training()


@contextmanager
def _active_adapter(model, adapter: str | None):
    """Inside the block the model computes with `adapter`: the one in training, one in a folder, or none."""
    if adapter == TRAINED:
        yield
    elif adapter is None:
        with model.disable_adapter():
            yield
    else:
        model.load_adapter(adapter, adapter_name=SAVED, torch_device=str(model.device))
        model.set_adapter(SAVED)
        try:
            yield
        finally:
            model.set_adapter(TRAINED)
            model.delete_adapter(SAVED)
