"""GRPO on a real language model, if its weights are here: SmolLM2-135M-Instruct learns arithmetic stories."""

import math
import os
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from gpu_check.zero import clock
from r1lab.scale import SCALES

ROOT = Path(__file__).resolve().parents[2]


# A transformers folder, or a folder with a GGUF file, whole or in parts.
WEIGHTS = ("build/models/smollm2-135m", "build/gpu-weights")


def smollm2(record, device: str) -> None:
    """SmolLM2-135M-Instruct on generated stories: primed, then GRPO with LoRA; accuracy before and after."""
    began = time.perf_counter()
    folder = find_weights()
    if folder is None:
        record.data["skipped"] = f"no weights of SmolLM2 in {' or '.join(WEIGHTS)}"
        return
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTTrainer

    from r1lab.evaluation import evaluate
    from r1lab.policy import Policy
    from r1lab.problems import to_training_rows
    from r1lab.stages.config import make_grpo_args, make_sft_args
    from r1lab.stages.engine_hook import sample_with_engine
    from r1lab.stages.sft import sft_dataset
    from r1lab.stages.trainer import KernelGRPOTrainer
    from r1lab.stages.zero import zero_rewards

    gpu = device == "cuda"
    scale = replace(
        SCALES["cluster"], name="smollm2", dtype="bfloat16" if gpu else "float32", max_completion_tokens=96,
        groups=8 if gpu else 1, group_size=8 if gpu else 4, steps=80 if gpu else 1, learning_rate=1e-4, micro_batch=0,
    )  # fmt: skip
    start = time.perf_counter()
    model, tokenizer = load_smollm2(folder, device)
    record.add(loaded=Path(folder).name, seconds=time.perf_counter() - start)
    rows = stories(1200 if gpu else 12)
    held_out, rows = rows[: 200 if gpu else 4], rows[200 if gpu else 4 :]
    policy = Policy(model, tokenizer)

    def test_policy(label: str) -> float:
        settings = {
            "samples": 2,
            "ks": (),
            "template": scale.template,
            "max_new_tokens": scale.max_completion_tokens,
        }
        overall = evaluate(policy, held_out, **settings)["overall"]
        names = ("greedy_accuracy", "sampled_accuracy", "rewarded_accuracy", "format_rate", "mean_tokens")
        record.add(tested=label, problems=len(held_out), **{name: overall[name]["value"] for name in names})
        return overall["sampled_accuracy"]["value"]

    with tempfile.TemporaryDirectory() as output:
        common = {"use_cpu": not gpu, "save_strategy": "no", "gradient_checkpointing": False}
        # 16 steps. In passes of 2 rows, as the stages make them, a GPU would wait for Python most of the time.
        batches = {
            "per_device_train_batch_size": 16,
            "gradient_accumulation_steps": 1,
            "num_train_epochs": 2 if gpu else 1,
        }
        worked = [{"prompt": r["prompt"], "completion": r["worked"], "language": "en"} for r in rows[:128]]
        sft = SFTTrainer(
            model=model,
            args=make_sft_args(scale, output, learning_rate=2e-4, **batches, **common),
            train_dataset=sft_dataset(worked, tokenizer, scale.template),
            processing_class=tokenizer,
        )
        sft.remove_callback(PrinterCallback)
        sft.train()
        before = test_policy("after priming on 128 worked stories")
        rewards = zero_rewards()

        def sample_merged(prompts: list, trainer) -> dict[str, list]:
            # Added to the weights, the adapters cost nothing while 96 tokens are sampled one after the other; beside
            # them, they double the number of operations.
            model.merge_adapter()
            try:
                return sample_with_engine(prompts, trainer)
            finally:
                model.unmerge_adapter()

        trainer = KernelGRPOTrainer(
            model=model,
            args=make_grpo_args(
                scale, output, reward_weights=rewards["reward_weights"], use_vllm=False, **common
            ),
            reward_funcs=rewards["reward_funcs"],
            train_dataset=Dataset.from_list(to_training_rows(rows[128 if gpu else 0 :], scale.template)),
            processing_class=tokenizer,
            rollout_func=sample_merged,
            # Of the step's 90 seconds, the imports before this function take 5 and the test after it 6.
            callbacks=[clock(lambda *_: None, (), until=began + 72 if gpu else math.inf)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    history = [row for row in trainer.state.log_history if "reward" in row]
    lengths = sum(row["completions/mean_length"] for row in history) * scale.groups * scale.group_size
    record.add(
        steps=len(history),
        rewards=[row["reward"] for row in history],
        mean_lengths=[row["completions/mean_length"] for row in history],
        tokens_per_second=lengths / sum(row["step_time"] for row in history),
    )
    after = test_policy(f"after {len(history)} steps of GRPO")
    record.claim(
        "a real language model learns by GRPO: sampled accuracy rises",
        after > before,
        f"{before:.0%} to {after:.0%}",
    )


def find_weights() -> str | None:
    """The folder with SmolLM2's weights, or None."""
    for name in (os.environ.get("GPU_CHECK_WEIGHTS", ""), *WEIGHTS):
        folder = ROOT / name
        if name and ((folder / "config.json").is_file() or list(folder.glob("*.gguf*"))):
            return str(folder)
    return None


def load_smollm2(folder: str, device: str):
    """(model with LoRA adapters, tokenizer). A GGUF file that came in parts is put together first."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from r1lab.sampling import agree_on_ends
    from r1lab.stages.lora import TARGETS

    options = {}
    if not (Path(folder) / "config.json").is_file():
        parts = sorted(Path(folder).glob("*.gguf.part*"))
        whole = (
            Path(folder) / parts[0].name.partition(".part")[0] if parts else next(Path(folder).glob("*.gguf"))
        )
        if parts and not whole.is_file():
            whole.write_bytes(b"".join(part.read_bytes() for part in parts))
        options["gguf_file"] = whole.name
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", **options)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)
    # Trainers refuse a model that is marked as quantized, so the weights move into one that is not.
    if options:
        read, config = model.state_dict(), model.config
        del config.quantization_config
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(read)
        # transformers 5.17 takes the start token of this file for its end token; the model's settings have the right one.
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(config.eos_token_id)
    model = model.to(device)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    agree_on_ends(model, tokenizer)
    return get_peft_model(model, LoraConfig(r=32, lora_alpha=64, target_modules=list(TARGETS))), tokenizer


def stories(count: int) -> list[dict]:
    """English arithmetic stories of one to four steps, no two alike, each with its worked solution in `worked`."""
    from r1lab.prompts import format_completion
    from tinyworld.chain import ChainWriter
    from tinyworld.generators import make_problem

    rng, rows = random.Random(0), {}
    while len(rows) < count:
        problem = make_problem(rng, "arithmetic", rng.choice(("easy", "medium")), "en")
        writer = ChainWriter("en", rng)
        answer = problem.reason(writer)
        rows[problem.prompt] = {
            "id": f"story-{len(rows)}", "prompt": problem.prompt, "solution": problem.solution, "domain": problem.domain,
            "kind": problem.kind, "language": "en", "level": problem.level, "verifier": problem.verifier, "tests": "",
            "source": "r1lab-tiny", "worked": format_completion(writer.text, answer),
        }  # fmt: skip
    return list(rows.values())
