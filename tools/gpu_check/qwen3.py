"""One GRPO step at the size of Qwen3-4B, random weights and completions, with and without the kernel."""

import gc
import tempfile
import time
from dataclasses import replace
from itertools import product

import torch

from gpu_check.zero import clock
from r1lab.scale import SCALES

GIB = 2**30


def qwen3(record, device: str) -> None:
    """Seconds and peak memory of a GRPO step with and without our kernel: random weights, random completions."""
    gpu = device == "cuda"
    lengths = (1024, 3072) if gpu else (8,)
    # Two of the scale's four groups: half the time, and the same peak memory, which is that of one pass of 8 completions.
    a100 = replace(SCALES["a100"], engine="transformers", **({"groups": 2} if gpu else SMALL))
    t4 = replace(SCALES["t4"], engine="transformers", **({} if gpu else SMALL))
    start = time.perf_counter()
    model = random_qwen3(device, "bfloat16")
    weights_gib = torch.cuda.memory_allocated() / GIB if gpu else None
    record.add(loaded="bfloat16, LoRA r=32", seconds=time.perf_counter() - start, weights_gib=weights_gib)
    steps_by_case = {}
    for length, kernel in product(lengths, (False, True)):
        # The first step of a length allocates and compiles; at 3,072 it would cost a minute, so there the shorter
        # length has done it.
        steps = 2 if length == lengths[0] else 1
        steps_by_case[length, kernel] = step_of(model, a100, length, kernel, steps, device)
        record.add(scale="a100", completion_tokens=length, kernel=kernel, **steps_by_case[length, kernel])
    for length in lengths:
        ratio = steps_by_case[length, True]["seconds"] / steps_by_case[length, False]["seconds"]
        record.claim(
            f"half an a100 step, {length} tokens: not slower with our kernel",
            ratio <= 1.02,
            f"{ratio:.2f} of TRL's time",
        )
    del model
    gc.collect()  # the hooks in a model refer to it, so until then its 8 GB would count as the next one's
    if gpu:
        torch.cuda.empty_cache()
    model = random_qwen3(device, "float16")
    length = t4.max_completion_tokens if gpu else 8
    for kernel in (False, True):
        result = step_of(model, t4, length, kernel, 2, device)
        record.add(scale="t4", completion_tokens=length, kernel=kernel, **result)
        if gpu:
            loss = "with our kernel" if kernel else "with TRL's loss"
            record.claim(
                f"a step of the t4 settings {loss} fits into 15 GB, without vLLM beside it",
                result["peak_gib"] < 14.5,
                f"{result['peak_gib']:.1f} GiB",
            )


SMALL = {"groups": 1, "group_size": 4, "micro_batch": 2, "dtype": "float32", "lora_rank": 4}
PROMPT = 200  # tokens


def random_qwen3(device: str, dtype: str):
    """Qwen3-4B-Base's architecture with random weights under fresh LoRA adapters; a small one on a CPU."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, Qwen3Config

    from r1lab.stages.lora import TARGETS

    shape = {
        "hidden_size": 2560,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    }
    shape |= {"head_dim": 128, "intermediate_size": 9728, "vocab_size": 151_936}
    if device == "cpu":
        shape = {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        }
        shape |= {"head_dim": 8, "intermediate_size": 64, "vocab_size": 503}
        dtype = "float32"
    config = Qwen3Config(**shape, tie_word_embeddings=True, max_position_embeddings=32_768, rope_theta=1e6)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    model.generation_config.eos_token_id = 0
    rank = 32 if device == "cuda" else 4
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(TARGETS)))


def number_tokenizer(vocabulary: int):
    """A tokenizer whose words are the numbers of its tokens: random completions need no other."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({str(i): i for i in range(vocabulary)}, unk_token="0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="0", pad_token="1", padding_side="left")


def step_of(model, scale, length: int, kernel: bool, steps: int, device: str) -> dict:
    """Seconds and peak memory of the last of `steps` optimizer steps on random completions of `length` tokens."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import GRPOTrainer

    from r1lab.stages.config import make_grpo_args
    from r1lab.stages.trainer import KernelGRPOTrainer

    vocabulary = model.config.vocab_size
    generator = torch.Generator().manual_seed(0)

    def rollouts(prompts, trainer) -> dict:
        prompt = torch.randint(2, vocabulary, (PROMPT,), generator=generator).tolist()
        ids = torch.randint(2, vocabulary, (len(prompts), length), generator=generator).tolist()
        return {"prompt_ids": [prompt] * len(prompts), "completion_ids": ids, "logprobs": None}

    def every_second(completions, **_) -> list[float]:
        return [float(i % 2) for i in range(len(completions))]

    seconds = []

    def keep(step: int, spent: float) -> None:
        seconds.append(spent - sum(seconds))

    with tempfile.TemporaryDirectory() as folder:
        args = make_grpo_args(
            replace(scale, max_completion_tokens=length), folder, max_steps=steps, save_strategy="no",
            mask_truncated_completions=False, use_cpu=device == "cpu", bf16=scale.dtype == "bfloat16",
            fp16=scale.dtype == "float16",
        )  # fmt: skip
        trainer = (KernelGRPOTrainer if kernel else GRPOTrainer)(
            model=model,
            args=args,
            reward_funcs=[every_second],
            train_dataset=Dataset.from_list([{"prompt": "2"}] * 64),
            processing_class=number_tokenizer(vocabulary),
            rollout_func=rollouts,
            callbacks=[clock(keep, range(1, steps + 1))],
        )
        trainer.remove_callback(PrinterCallback)
        gc.collect()  # the trainer before this one and its optimizer
        if device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        trainer.train()
    peak = torch.cuda.max_memory_allocated() / GIB if device == "cuda" else None
    tokens = args.per_device_train_batch_size * args.gradient_accumulation_steps * (length + PROMPT)
    return {
        "completions": args.per_device_train_batch_size * args.gradient_accumulation_steps,
        "seconds": seconds[-1],
        "tokens_per_second": tokens / seconds[-1],
        "peak_gib": peak,
    }
