"""Unsloth's model at the scales t4 and a100: one base in half precision, LoRA adapters on it, vLLM to sample where it starts.

A T4 has room for the base once, so every policy of these scales is that one base with one adapter or another. Sampling
goes through vLLM or Unsloth, because Unsloth's forward pass takes none but its own cache.
"""

import gc
import os
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from r1lab.sampling import Sample, agree_on_ends, end_tokens
from r1lab.scale import Scale

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LIVE = "default"  # the adapter that is trained
SAVED = "saved"  # one that was read from a folder to be sampled
HELD: dict[str, tuple[Any, Any]] = {}  # the one base in memory: its name -> (model with adapters, tokenizer)


def load_lora(scale: Scale, model: str | Path | None = None, base: str | None = None) -> tuple[Any, Any]:
    """(model, tokenizer): the scale's base, or `model`, with adapters to train.

    base: the model under the adapters, if the checkpoint `model` consists of adapters. The adapters are
    fresh ones, or those of that checkpoint, so that every stage's adapter stands on the same base. A second call
    returns the same model with its adapters reset: save what was trained before.
    """
    policy, tokenizer = hold(scale, base or str(model or scale.model))
    for module in policy.modules():
        if hasattr(module, "reset_lora_parameters"):
            module.reset_lora_parameters(LIVE, True)
    if base:
        from peft import load_peft_weights, set_peft_model_state_dict

        set_peft_model_state_dict(policy, load_peft_weights(str(model)))
    return policy, tokenizer


def hold(scale: Scale, base: str) -> tuple[Any, Any]:
    """(model, tokenizer) of `base` with adapters on it, loaded once. Where vLLM does not start, one sentence says so."""
    if base in HELD:
        return HELD[base]
    import torch
    from unsloth import FastLanguageModel

    HELD.clear()
    options = {
        "model_name": base,
        "max_seq_length": scale.max_prompt_tokens + scale.longest_answer,
        "dtype": getattr(torch, scale.dtype),  # float16 on a T4, which has no bfloat16
        "load_in_4bit": False,
        "max_lora_rank": scale.lora_rank,
    }
    try:
        model, tokenizer = FastLanguageModel.from_pretrained(
            fast_inference=True, gpu_memory_utilization=0.9, **options
        )
    except Exception as error:  # vLLM has a dozen ways to fail; what is no fault of its own fails again below
        model, reason = None, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"
    if model is None:
        print(f"vLLM did not start ({reason}); Unsloth samples without it, which is slower.")
        gc.collect()
        torch.cuda.empty_cache()
        model, tokenizer = FastLanguageModel.from_pretrained(fast_inference=False, **options)
    agree_on_ends(model, tokenizer)
    model = FastLanguageModel.get_peft_model(
        model,
        r=scale.lora_rank,
        lora_alpha=2 * scale.lora_rank,
        target_modules=list(TARGETS),
        use_gradient_checkpointing="unsloth",
        random_state=0,
    )
    HELD[base] = model, tokenizer
    return HELD[base]


def sample(
    policy, texts: list[str], *, samples: int, temperature: float, limit: int, seed: int
) -> list[list[Sample]]:
    """What `Policy.generate` gives for the rendered prompts `texts`, from a model of Unsloth's."""
    model, ends = policy.model, end_tokens(policy.model, policy.tokenizer)
    if getattr(model, "vllm_engine", None) is not None:
        from vllm import SamplingParams

        how = SamplingParams(
            n=samples,
            temperature=temperature,
            top_p=1.0,
            top_k=-1,
            max_tokens=limit,
            seed=seed,
            stop_token_ids=ends,
        )
        answers = model.fast_generate(
            texts, sampling_params=how, lora_request=_request(model, policy.adapter), use_tqdm=False
        )
        return [
            [
                Sample(o.text, len(o.token_ids) - (o.finish_reason == "stop"), o.finish_reason == "length")
                for o in answer.outputs
            ]
            for answer in answers
        ]
    import torch

    order = sorted((i for i in range(len(texts)) for _ in range(samples)), key=lambda i: (len(texts[i]), i))
    results: list[list[Sample]] = [[] for _ in texts]
    how = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
    how = how or {"do_sample": False}
    rows = policy.rows_at_once(policy.longest(texts) + limit)
    tokenizer = policy.tokenizer
    with torch.random.fork_rng(), _inference(model), _speaking(model, policy.adapter), torch.no_grad():
        torch.manual_seed(seed)
        for chosen in (order[start : start + rows] for start in range(0, len(order), rows)):
            inputs = tokenizer(
                [texts[i] for i in chosen],
                return_tensors="pt",
                padding=True,
                padding_side="left",
                add_special_tokens=False,
            ).to(model.device)
            ids = model.generate(
                **inputs,
                max_new_tokens=limit,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=ends,
                **how,
            ).tolist()
            for i, row in zip(chosen, ids, strict=True):
                row = row[inputs["input_ids"].shape[1] :]
                length = next((place for place, token in enumerate(row) if token in ends), len(row))
                text = tokenizer.decode(row[:length], skip_special_tokens=True)
                results[i].append(Sample(text, length, truncated=length == len(row)))
    return results


def rest_engine(model) -> None:
    """Free the GPU memory of vLLM before a training that does not sample. vLLM sleeps until sampling wakes it up again.

    Only a vLLM engine that was started in standby can sleep. For other models nothing happens.
    """
    engine = getattr(model, "vllm_engine", None)
    if engine is not None and os.environ.get("UNSLOTH_VLLM_STANDBY") == "1":
        engine.sleep(1)  # level 1: the weights stay in the CPU's memory, the key-value cache is dropped


@contextmanager
def _inference(model):
    """Use Unsloth's fast forward pass inside the block. In training mode, Unsloth's model would sample noise."""
    was_training = model.training
    model.for_inference()
    try:
        yield
    finally:
        if was_training:
            model.for_training()


def _request(model, adapter: str | None):
    """What vLLM must be told to speak with an adapter: the one in training, one in a folder, or none."""
    if adapter is None:
        return None
    return model.load_lora(LIVE, load_tensors=True) if adapter == LIVE else model.load_lora(adapter)


@contextmanager
def _speaking(peft_model, adapter: str | None):
    """The same without vLLM, for the time of the block; then the adapter in training is back."""
    if adapter in (None, LIVE):
        with peft_model.disable_adapter() if adapter is None else nullcontext():
            yield
        return
    peft_model.load_adapter(adapter, adapter_name=SAVED, torch_device=str(peft_model.device))
    peft_model.set_adapter(SAVED)
    try:
        yield
    finally:
        peft_model.set_adapter(LIVE)
        peft_model.delete_adapter(SAVED)
