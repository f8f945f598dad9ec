"""What can be checked of the GPU scales without a GPU: import order, adapters, lengths, batches, precision."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from r1lab import unsloth_first
from r1lab.colab import Gpu
from r1lab.policy import (
    BATCH,
    Policy,
    Sample,
    adapter_base,
    load_model,
    load_policy,
    merge_adapter,
    rows_at_once,
)
from r1lab.problems import load_scale_problems
from r1lab.scale import DATA, SCALES
from r1lab.stages import lora
from r1lab.stages.callbacks import MetricsLog
from r1lab.stages.checkpoints import find_parents, save_stage
from r1lab.stages.config import machine_args, vllm_args
from r1lab.stages.grpo import load_trainable

ROOT = Path(__file__).parents[1]


# ---------------------------------------------------------------------------------------------------- Unsloth
@pytest.fixture
def fakes(tmp_path):
    """A folder with modules that note the order in which they are imported; the function runs a program beside them."""
    names = {
        "transformers": "class TrainerCallback: ...\nclass TrainerState: ...",
        "trl": "class GRPOTrainer: ...",
        "peft": "",
        "unsloth": "import trl, transformers, peft",
    }
    for name, body in names.items():
        (tmp_path / f"{name}.py").write_text(f"print('{name}')\n{body}\n")

    def run(program: str, scale: str) -> list[str]:
        path = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            env={**os.environ, "PYTHONPATH": path, "R1LAB_SCALE": scale},
            capture_output=True,
            text=True,
        )
        return (done.stdout + done.stderr).split() if not done.returncode else [done.stderr]

    run.folder = tmp_path
    return run


STAGE = """
    from r1lab.scale import get_scale
    from r1lab.stages.grpo import trainer_class
    trainer_class(get_scale())
"""


@pytest.mark.parametrize("scale", ["t4", "a100"])
def test_unsloth_is_imported_before_what_it_rewrites(fakes, scale):
    assert fakes(STAGE, scale) == ["unsloth", "trl", "transformers", "peft"]


def test_elsewhere_unsloth_is_not_imported(fakes):
    assert "unsloth" not in fakes("import r1lab.stages.grpo", "cluster")
    assert "unsloth" not in fakes("import r1lab.stages.grpo", "tiny")


def test_a_missing_unsloth_is_one_sentence(fakes):
    (fakes.folder / "unsloth.py").write_text("import unsloth.nowhere")
    assert "nowhere" in fakes(STAGE, "t4")[0], "a broken Unsloth is not a missing one"
    (fakes.folder / "unsloth.py").write_text("raise ModuleNotFoundError('no', name='unsloth')")
    assert "scale t4 trains with Unsloth, which is not installed" in fakes(STAGE, "t4")[0]


def test_unsloths_settings_follow_from_the_gpu_unless_they_are_set(monkeypatch):
    monkeypatch.setitem(sys.modules, "unsloth", SimpleNamespace())
    for capability, flashinfer in ((7.5, "1"), (8.0, None)):
        monkeypatch.setattr(unsloth_first, "find_gpu", lambda found=capability: Gpu("a GPU", found, 15.0))
        for name in ("UNSLOTH_VLLM_STANDBY", "UNSLOTH_VLLM_NO_FLASHINFER"):
            monkeypatch.setenv(name, "before")
            monkeypatch.delenv(name)
        unsloth_first.import_unsloth()
        assert os.environ["UNSLOTH_VLLM_STANDBY"] == "1"
        assert os.environ.get("UNSLOTH_VLLM_NO_FLASHINFER") == flashinfer
    monkeypatch.setenv("UNSLOTH_VLLM_STANDBY", "0")
    unsloth_first.import_unsloth()
    assert os.environ["UNSLOTH_VLLM_STANDBY"] == "0"


def test_only_an_old_vllm_gets_the_empty_modules(monkeypatch):
    names = (unsloth_first.MISSING, f"{unsloth_first.MISSING}.nccl_engine")
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
    for installed, filled in (("0.30.0", False), ("0.20.0", False), ("0.15.1", True)):
        monkeypatch.setattr(unsloth_first, "version", lambda package, found=installed: found)
        unsloth_first.fill_in_for_old_vllm()
        assert all((name in sys.modules) == filled for name in names)


@pytest.fixture
def old_vllm(fakes):
    """`fakes` with the installed TRL and transformers instead of fakes, beside a vLLM 0.11.2 that holds only names."""
    for name in ("trl", "transformers", "peft"):
        (fakes.folder / f"{name}.py").unlink()
    (fakes.folder / "unsloth.py").write_text("import sys\nassert 'trl' not in sys.modules\n")
    files = {
        "vllm/__init__.py": "LLM = RequestOutput = SamplingParams = object",
        "vllm/sampling_params.py": "StructuredOutputsParams = object",
        "vllm/distributed/__init__.py": "",
        "vllm/utils/__init__.py": "",
        "vllm/utils/network_utils.py": "get_ip = None",
        "vllm-0.11.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: vllm\nVersion: 0.11.2\n",
        "vllm-0.11.2.dist-info/top_level.txt": "vllm\n",
    }
    for name, text in files.items():
        (fakes.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (fakes.folder / name).write_text(text)
    return fakes


@pytest.mark.slow
def test_trls_trainers_are_imported_beside_the_vllm_of_colabs_t4(old_vllm):
    """Without our module TRL fails. The day it does not, the module has no use any more."""
    program = "from trl import DPOTrainer, GRPOTrainer, SFTTrainer; print('imported')"
    assert "No module named 'vllm.distributed.weight_transfer'" in " ".join(old_vllm(program, "tiny"))
    first = "from r1lab.unsloth_first import import_unsloth; import_unsloth(); "
    assert "imported" in old_vllm(first + program, "tiny")


# ---------------------------------------------------------------------------------------------------- adapters
@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """A LoRA adapter of tiny-base that changes what it says, saved as a trainer saves it, and its logits."""
    import torch
    from peft import LoraConfig, get_peft_model

    model, tokenizer = load_model("tiny-base")
    torch.manual_seed(0)
    targets = ["q_proj", "v_proj", "down_proj"]
    lora = get_peft_model(model, LoraConfig(r=4, target_modules=targets))
    with torch.no_grad():
        for name, tensor in lora.named_parameters():
            if "lora_B" in name:
                tensor.normal_(std=3.0)
    folder = tmp_path_factory.mktemp("lora") / "zero"
    save_stage(
        lora, tokenizer, folder, stage="zero", scale=SCALES["t4"], seed=0, parents={}, recipe="", seconds=1.0
    )
    return folder, logits(lora)


def logits(model):
    import torch

    ids = torch.arange(12)[None] + 5
    with torch.no_grad():
        return model.eval()(input_ids=ids).logits


def test_an_adapter_is_a_checkpoint_like_any_other(adapter):
    import torch

    folder, wanted = adapter
    assert not (folder / "config.json").exists()
    assert find_parents(SCALES["t4"], "cold_start", {"base": folder, "zero": folder})["zero"] == str(folder)
    policy = load_policy(folder)
    assert not hasattr(policy.model, "peft_config"), "merged"
    torch.testing.assert_close(logits(policy.model), wanted, atol=1e-2, rtol=1e-3)
    assert not torch.allclose(logits(load_policy("tiny-base").model), wanted, atol=1e-2)
    (reply,) = policy.generate(["2+2?"], max_new_tokens=4)
    assert reply[0].tokens


def test_a_merged_adapter_is_a_whole_model_in_safetensors(adapter, tmp_path):
    import torch

    folder, wanted = adapter
    merged = merge_adapter(folder, tmp_path / "whole", dtype="float32")
    assert (merged / "model.safetensors").is_file() and adapter_base(merged) is None
    torch.testing.assert_close(logits(load_policy(merged).model), wanted, atol=1e-2, rtol=1e-3)
    with pytest.raises(ValueError, match="whole model already"):
        merge_adapter(merged, tmp_path / "again")


def test_an_adapter_finds_a_base_that_has_moved_or_says_which_it_misses(adapter, tmp_path):
    folder = tmp_path / "zero"
    shutil.copytree(adapter[0], folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    for named, found in (("/elsewhere/tiny-base", "tiny-base"), ("unsloth/Qwen3-4B-Base", "Qwen3-4B-Base")):
        (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": named}))
        assert adapter_base(folder).endswith(found)
    (folder / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": "/x/nothing"})
    )
    with pytest.raises(FileNotFoundError, match="was trained on /x/nothing, which is not here"):
        load_policy(folder)


def test_half_an_adapter_is_one_clear_sentence(adapter, tmp_path):
    folder = tmp_path / "zero"
    shutil.copytree(adapter[0], folder)
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"zero is damaged or incomplete"):
        load_policy(folder)


# ---------------------------------------------------------------------------------------------------- sampling
def fake_model(layers, heads, width, dtype, device="cpu"):
    """What `rows_at_once` asks of a model, in the shape of another one."""
    import torch

    config = SimpleNamespace(num_hidden_layers=layers, num_key_value_heads=heads, head_dim=width)
    config.get_text_config = lambda: config
    place = SimpleNamespace(device=torch.device(device))
    return SimpleNamespace(config=config, dtype=dtype, parameters=lambda: iter([place]))


def test_the_batch_follows_from_the_models_size_and_the_free_memory(monkeypatch):
    import torch

    assert rows_at_once(load_model("tiny-base")[0], 300) == BATCH
    qwen = fake_model(36, 8, 128, torch.float16, "cuda")
    token = 2 * 36 * 8 * 128 * 2  # keys and values of Qwen3-4B in bytes: 144 KiB
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * 10 * token * 3328, 0))
    assert rows_at_once(qwen, 3328) == 10
    assert rows_at_once(qwen, 10**9) == 1
    assert rows_at_once(fake_model(36, 8, 128, torch.float32), 3328) == 2 * 2**30 // (2 * token * 3328)


def test_a_policy_has_the_scales_precision_on_a_gpu_and_float32_on_a_cpu(monkeypatch):
    import torch

    asked = []
    monkeypatch.setattr("r1lab.policy.load_model", lambda *given: asked.append(given) or (None, None))
    load_policy(SCALES["cluster"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    load_policy(SCALES["cluster"])
    monkeypatch.setenv("R1LAB_SCALE", "t4")
    load_policy("owner/another")
    model = SCALES["cluster"].model
    assert asked == [(model,), (model, "bfloat16"), ("owner/another", "float16")]


def test_small_batches_give_the_same_greedy_completions(monkeypatch):
    policy = load_policy("tiny-base")
    prompts = ["Solve for x: x+2=7", "Hello!", "What is 3+4?"]
    wanted = policy.generate(prompts, max_new_tokens=30)
    monkeypatch.setattr("r1lab.policy.rows_at_once", lambda model, tokens: 1)
    assert policy.generate(prompts, max_new_tokens=30) == wanted


# ---------------------------------------------------------------------------------------------------- problems
def test_prompts_that_are_too_long_are_left_out_once_and_counted(monkeypatch, capsys):
    """Counted as the policy sees them: with the instruction of the template."""
    from r1lab.problems import hub

    short = {"prompt": "What is 7+7?", "solution": "14", "language": "en"}
    rows = [{**short, "prompt": "What is 7+7? " + "Say it again. " * n} for n in (0, 400, 1, 500)]
    rows += [{**short, "prompt": f"What is {n}+7?"} for n in range(400)]
    monkeypatch.setattr(hub, "load_dapo_math", lambda: rows)
    scale = replace(SCALES["t4"], model=str(DATA / "models" / "tiny-base"), max_prompt_tokens=400)
    splits = [load_scale_problems(scale, split) for split in ("train", "validation", "test")]
    assert sum(map(len, splits)) == 402 and all(rows[n] not in split for n in (1, 3) for split in splits)
    assert capsys.readouterr().out == "2 of 404 problems left out: their prompts have over 400 tokens\n"
    tight = replace(scale, max_prompt_tokens=20)  # enough for the questions, not for the instruction
    assert load_scale_problems(tight, "train") == []
    with pytest.raises(ValueError, match="unknown split 'tset': choose one of train, validation, test"):
        load_scale_problems(scale, "tset")  # not, silently, the training problems


# ---------------------------------------------------------------------------------------------------- training
class FakeUnsloth:
    """Stands for `unsloth.FastLanguageModel`: notes what it is asked for; vLLM starts or not."""

    def __init__(self, monkeypatch, vllm_error=None, error=None):
        self.asked, self.vllm_error, self.error = [], vllm_error, error
        module = SimpleNamespace(FastLanguageModel=self)
        monkeypatch.setitem(sys.modules, "unsloth", module)
        monkeypatch.setattr(lora, "HELD", {})

    def from_pretrained(self, fast_inference, **options):
        self.asked.append((fast_inference, options))
        if self.error or (fast_inference and self.vllm_error):
            raise self.error or self.vllm_error
        return load_model(options["model_name"], device="cpu")

    def get_peft_model(self, model, *, r, lora_alpha, target_modules, **_):
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(r=r, lora_alpha=lora_alpha, target_modules=target_modules)
        return get_peft_model(model, config)


TINY_LORA = replace(SCALES["t4"], model="tiny-base", lora_rank=4)


def test_a_t4_gets_float16_and_vllm(monkeypatch, capsys):
    import torch

    unsloth = FakeUnsloth(monkeypatch)
    load_trainable(TINY_LORA)
    ((fast, options),) = unsloth.asked
    assert fast and options["dtype"] is torch.float16 and options["max_lora_rank"] == 4
    assert machine_args(SCALES["t4"], "x") | {"fp16": True, "bf16": False} == machine_args(SCALES["t4"], "x")
    assert machine_args(SCALES["a100"], "x")["bf16"] and "vLLM" not in capsys.readouterr().out


def test_without_vllm_unsloth_samples_by_itself_and_one_sentence_says_so(monkeypatch, capsys):
    unsloth = FakeUnsloth(monkeypatch, vllm_error=RuntimeError("no kernel image\nmore"))
    load_trainable(TINY_LORA)
    assert [fast for fast, _ in unsloth.asked] == [True, False]
    assert capsys.readouterr().out == (
        "vLLM did not start (RuntimeError: no kernel image); Unsloth samples without it, which is slower.\n"
    )
    FakeUnsloth(monkeypatch, error=OSError("there is no such model"))
    with pytest.raises(OSError, match="no such model"):
        load_trainable(TINY_LORA)


def test_the_next_stage_trains_the_adapter_of_the_last_one(monkeypatch, tmp_path):
    import torch

    unsloth = FakeUnsloth(monkeypatch)
    model, tokenizer = load_trainable(TINY_LORA)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor += 0.05 * ("lora_B" in name)
    save_stage(
        model,
        tokenizer,
        tmp_path,
        stage="cold_start",
        scale=TINY_LORA,
        seed=0,
        parents={},
        recipe="",
        seconds=1,
    )
    again, _ = load_trainable(TINY_LORA, tmp_path)
    assert unsloth.asked[-1][1]["model_name"].endswith("tiny-base"), "not the adapter's folder"
    torch.testing.assert_close(logits(again), logits(model))
    assert any("lora" in name and tensor.requires_grad for name, tensor in again.named_parameters())


def test_a_primed_base_is_an_adapter_that_r1_zero_goes_on_training(monkeypatch, tmp_path):
    import torch

    from r1lab.stages.prime import prime_format

    FakeUnsloth(monkeypatch)
    base = str(DATA / "models" / "tiny-base")
    scale = replace(TINY_LORA, name="tiny", dtype="float32", template="bare", model=base)  # on a CPU
    untouched = logits(load_trainable(scale)[0])
    row = {"prompt": "2+2?", "completion": "<think>2+2=4.</think> <answer>4</answer>", "language": "en"}
    start = prime_format(scale, tmp_path / "primed", rows=[row] * 8, learning_rate=1e-2, warmup_steps=0)
    primed = logits(lora.HELD[base][0])
    assert adapter_base(start) == base and not torch.allclose(primed, untouched, atol=1e-2)
    torch.testing.assert_close(logits(load_trainable(scale)[0]), untouched)
    torch.testing.assert_close(logits(load_trainable(scale, start)[0]), primed)


def test_full_training_keeps_float32_weights_on_the_cpu_until_the_trainer_moves_them(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    model, _ = load_trainable(replace(SCALES["cluster"], model="tiny-base"))
    assert model.dtype == torch.float32 and model.device.type == "cpu"


def test_a_cluster_samples_with_vllm_beside_the_training_or_on_a_server(monkeypatch):
    monkeypatch.delenv("R1LAB_VLLM_SERVER", raising=False)
    assert vllm_args(SCALES["tiny"]) == vllm_args(SCALES["t4"]) == {"use_vllm": False}
    assert vllm_args(SCALES["cluster"])["vllm_mode"] == "colocate"
    monkeypatch.setenv("R1LAB_VLLM_SERVER", "http://node5:8000")
    assert vllm_args(SCALES["cluster"])["vllm_server_base_url"] == "http://node5:8000"


def test_a_long_run_says_after_three_steps_how_long_it_will_be(monkeypatch, capsys, tmp_path):
    log, clock = MetricsLog(tmp_path / "metrics.json"), iter([100.0, 130.0, 160.0, 190.0])
    monkeypatch.setattr("time.time", lambda: next(clock))
    state = SimpleNamespace(global_step=0, max_steps=200, is_world_process_zero=True, log_history=[])
    for state.global_step in (1, 2, 3, 4):
        log.on_step_end(None, state, None)
    assert capsys.readouterr().out == "30 s a step: about 98 more minutes for 200 steps\n"
    state.is_world_process_zero = False
    log.on_log(SimpleNamespace(fp16=False), state, None, logs={"reward": 1.0})
    assert not list(tmp_path.iterdir()), "only the first process writes"


# ------------------------------------------------------------------------------- sampling one base with many adapters
@pytest.fixture
def on_a_gpu(monkeypatch):
    """The scale t4 as it would be on a GPU, with the tiny base; weights stay where they are."""
    import torch

    FakeUnsloth(monkeypatch)
    monkeypatch.setenv("R1LAB_SCALE", "t4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    scale = replace(TINY_LORA, model=str(DATA / "models" / "tiny-base"))
    monkeypatch.setattr("r1lab.policy.get_scale", lambda: scale)
    return scale


def test_base_saved_and_trained_policies_share_one_model(on_a_gpu, adapter, monkeypatch):
    import torch

    prompts, how = ["Solve for x: x+2=7", "Hello!", "What is 3+4?"], {"max_new_tokens": 24}
    base, saved = load_policy(on_a_gpu), load_policy(adapter[0])
    model, tokenizer = load_trainable(on_a_gpu)
    assert base.model is saved.model is model, "a T4 has no room for two"
    monkeypatch.setattr("r1lab.policy.rows_at_once", lambda model, tokens: 2)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "lora_B" in name:
                tensor.normal_(std=2.0)
    model.for_inference, model.for_training = model.eval, model.train
    trained = Policy(model, tokenizer)
    with monkeypatch.context() as cpu:
        cpu.setattr(torch.cuda, "is_available", lambda: False)
        wanted = [load_policy(name).generate(prompts, **how) for name in ("tiny-base", adapter[0])]
    live = logits(model)
    said = [policy.generate(prompts, **how) for policy in (base, saved, trained)]
    assert said[:2] == wanted and said[2] not in wanted and wanted[0] != wanted[1]
    torch.testing.assert_close(logits(model), live)
    assert any(tensor.requires_grad for name, tensor in model.named_parameters() if "default" in name)
    drawn = [trained.generate(prompts, samples=3, temperature=1.0, seed=1, **how) for _ in range(2)]
    assert drawn[0] == drawn[1] and [len(group) for group in drawn[0]] == [3, 3, 3]


def test_vllm_is_told_whose_adapter_speaks(monkeypatch):
    asked = []
    output = SimpleNamespace(text="<think>", token_ids=[5, 6, 0], finish_reason="stop")
    cut = SimpleNamespace(text="<think>", token_ids=[5, 6, 7], finish_reason="length")

    def fast_generate(texts, sampling_params, lora_request, use_tqdm):
        asked.append((sampling_params, lora_request))
        return [SimpleNamespace(outputs=[output, cut]) for _ in texts]

    model = SimpleNamespace(
        for_inference=None,
        vllm_engine=1,
        fast_generate=fast_generate,
        load_lora=lambda *given, **more: (given, more),
        generation_config=SimpleNamespace(eos_token_id=[0, 9]),
    )
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=dict))
    tokenizer = SimpleNamespace(
        apply_chat_template=lambda messages, **_: messages[-1]["content"], chat_template=None, eos_token_id=0
    )
    for adapter in ("default", None, "runs/zero"):
        groups = Policy(model, tokenizer, adapter).generate(
            ["2+2?"], samples=2, temperature=1.0, max_new_tokens=3
        )
        assert groups == [[Sample("<think>", 2, False), Sample("<think>", 3, True)]]
    assert [request for _, request in asked] == [
        (("default",), {"load_tensors": True}),
        None,
        (("runs/zero",), {}),
    ]
    wanted = {"n": 2, "temperature": 1.0, "top_k": -1, "max_tokens": 3, "stop_token_ids": [0, 9]}
    assert asked[0][0] | wanted == asked[0][0]


def test_a_model_in_training_is_sampled_in_inference_and_trains_on(on_a_gpu):
    """Unsloth's forward pass for training gives noise when it is sampled from."""
    model, tokenizer = load_trainable(on_a_gpu)
    modes, inner = [], model.base_model.model.forward
    model.for_inference, model.for_training = model.eval, model.train
    model.base_model.model.forward = lambda *a, **k: modes.append(model.training) or inner(*a, **k)
    for training in (True, False):
        model.train(training)
        Policy(model, tokenizer).generate(["2+2?"], max_new_tokens=2)
        assert model.training is training
    assert modes and not any(modes)


def test_vllm_sleeps_while_sft_trains(monkeypatch):
    slept = []
    model = SimpleNamespace(vllm_engine=SimpleNamespace(sleep=slept.append))
    monkeypatch.delenv("UNSLOTH_VLLM_STANDBY", raising=False)
    lora.rest_engine(model)
    assert slept == [], "an engine without standby cannot sleep"
    monkeypatch.setenv("UNSLOTH_VLLM_STANDBY", "1")
    lora.rest_engine(model)
    lora.rest_engine(SimpleNamespace())
    assert slept == [1]


def test_vllm_gets_the_stop_tokens_although_unsloth_turns_it_on_late(monkeypatch, tmp_path):
    """`args.use_vllm` is still False when the trainer is made."""
    from datasets import Dataset

    from r1lab.stages import grpo

    model, tokenizer = load_model("tiny-base", device="cpu")
    model.vllm_engine, made = object(), []
    monkeypatch.setattr(grpo, "load_trainable", lambda *_: (model, tokenizer))
    stub = SimpleNamespace(remove_callback=lambda _: None)
    monkeypatch.setattr(grpo, "trainer_class", lambda scale: lambda **given: made.append(given) or stub)
    rewards = {"reward_funcs": [], "reward_weights": []}
    rows = Dataset.from_list([{"prompt": "2+2?"}])
    grpo.make_grpo_trainer(SCALES["tiny"], tmp_path, dataset=rows, rewards=rewards)
    assert made[0]["args"].generation_kwargs == {"stop_token_ids": [tokenizer.eos_token_id]}


def test_what_unsloth_would_fill_in_is_said():
    """It replaces fields that were left at their defaults."""
    from r1lab.stages.config import make_grpo_args, make_sft_args

    scale = replace(SCALES["t4"], dtype="float32")
    for args in (make_grpo_args(scale, "x", use_cpu=True), make_sft_args(scale, "x", use_cpu=True)):
        assert (args.optim, args.weight_decay, args.seed) == ("adamw_torch_fused", 0.0, 0)
    assert make_grpo_args(scale, "x", use_cpu=True).epsilon_high == 0.2
    assert make_grpo_args(scale, "x", use_cpu=True, epsilon=0.3).epsilon_high == 0.3, "one number, both sides"


def test_without_vllm_every_end_ends_a_completion(on_a_gpu, monkeypatch):
    model, tokenizer = load_trainable(on_a_gpu)
    model.for_inference, model.for_training = model.eval, model.train
    policy = Policy(model, tokenizer)
    (whole,) = policy.generate(["Solve for x: (x+2)*3-5+1=26"], max_new_tokens=60)[0]
    (stop,) = tokenizer(".", add_special_tokens=False)["input_ids"]
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, stop]
    (short,) = policy.generate(["Solve for x: (x+2)*3-5+1=26"], max_new_tokens=60)[0]
    assert "." in whole.text and short.text == whole.text.partition(".")[0] and not short.truncated
