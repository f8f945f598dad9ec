"""Unsloth's model at the scales t4 and a100: a base in half precision, LoRA adapters on it, vLLM to sample where it starts."""

import gc
from pathlib import Path
from typing import Any

from r1lab.policy import adapter_base
from r1lab.scale import Scale

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def load_lora(scale: Scale, model: str | Path | None = None) -> tuple[Any, Any]:
    """(model, tokenizer): the scale's base, or `model`, with adapters to train.

    The adapters are fresh ones, or those of the checkpoint `model`, so that every stage's adapter stands on the same
    base. Where vLLM does not start, one sentence says so and Unsloth samples by itself.
    """
    import torch
    from unsloth import FastLanguageModel

    base = adapter_base(model) if model else None
    options = {
        "model_name": base or str(model or scale.model),
        "max_seq_length": scale.max_prompt_tokens + scale.longest_answer,
        "dtype": getattr(torch, scale.dtype),  # float16 on a T4, which has no bfloat16
        "load_in_4bit": False,
        "max_lora_rank": scale.lora_rank,
    }
    try:
        policy, tokenizer = FastLanguageModel.from_pretrained(
            fast_inference=True, gpu_memory_utilization=0.9, **options
        )
    except Exception as error:  # vLLM has a dozen ways to fail; what is no fault of its own fails again below
        policy, reason = None, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"
    if policy is None:
        print(f"vLLM did not start ({reason}); Unsloth samples without it, which is slower.")
        gc.collect()
        torch.cuda.empty_cache()
        policy, tokenizer = FastLanguageModel.from_pretrained(fast_inference=False, **options)
    policy = FastLanguageModel.get_peft_model(
        policy,
        r=scale.lora_rank,
        lora_alpha=2 * scale.lora_rank,
        target_modules=list(TARGETS),
        use_gradient_checkpointing="unsloth",
        random_state=0,
    )
    if base:
        from peft import load_peft_weights, set_peft_model_state_dict

        set_peft_model_state_dict(policy, load_peft_weights(str(model)))
    return policy, tokenizer
