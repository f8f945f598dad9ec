"""What can be checked of the GPU scales without a GPU: import order, adapters, lengths, batches, precision."""

import json
import os
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import gpu_rehearsal
import pytest
import torch
from datasets import Dataset
from helpers import cut, run_python

from r1lab import unsloth_first
from r1lab.policy import Policy, adapter_base, load_model, load_policy, merge_adapter
from r1lab.sampling import BATCH, Sample, rows_at_once
from r1lab.scale import DATA, SCALES
from r1lab.stages import grpo, lora
from r1lab.stages.callbacks import MetricsLog
from r1lab.stages.checkpoints import find_parents, save_stage
from r1lab.stages.config import machine_args, make_grpo_args, make_sft_args, vllm_args
from r1lab.stages.grpo import load_trainable
from r1lab.stages.prime import prime_format

BASE = str(DATA / "models" / "tiny-base")
QUESTION = "Solve for x: (x+2)*3-5+1=26"


# ------------------------------------------------------------------------------------------------------- import order
@pytest.fixture
def run_with(tmp_path):
    """A function that runs a program beside fake modules, which print their names: the words printed, or the error."""

    def run(modules: dict[str, str], scale: str, program: str) -> list[str]:
        for name, body in modules.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(body + "\n")
        done = run_python("-c", program, path=[tmp_path], R1LAB_SCALE=scale)
        return (done.stdout + done.stderr).split() if not done.returncode else [done.stderr]

    return run


FAKES = {
    "transformers.py": "print('transformers')\nclass TrainerCallback: ...\nclass TrainerState: ...",
    "trl.py": "print('trl')\nclass GRPOTrainer: ...",
    "peft.py": "print('peft')",
    "unsloth.py": "print('unsloth')\nimport trl, transformers, peft",
}
FIRST = ["unsloth", "trl", "transformers", "peft"]


@pytest.mark.parametrize("scale, imported", [("t4", FIRST), ("cluster", [])])
def test_unsloth_is_imported_before_what_it_rewrites_and_only_where_it_trains(run_with, scale, imported):
    assert run_with(FAKES, scale, "import r1lab.stages") == imported


@pytest.mark.parametrize(
    "body, message",
    [
        ("import unsloth.nowhere", "nowhere"),
        ("raise ModuleNotFoundError('no', name='unsloth')", "t4 trains with Unsloth, which is not installed"),
    ],
)
def test_a_missing_unsloth_is_one_sentence_and_a_broken_one_is_not(run_with, body, message):
    assert message in run_with({"unsloth.py": body}, "t4", "import r1lab.stages")[0]


@pytest.mark.slow
def test_trls_trainers_are_imported_beside_the_vllm_of_colabs_t4(run_with):
    """Without our module TRL fails. The day it does not, the module has no use any more."""
    vllm = {
        "unsloth.py": "import sys\nassert 'trl' not in sys.modules",
        "vllm/__init__.py": "LLM = RequestOutput = SamplingParams = object",
        "vllm/sampling_params.py": "StructuredOutputsParams = object",
        "vllm/distributed/__init__.py": "",
        "vllm/utils/__init__.py": "",
        "vllm/utils/network_utils.py": "get_ip = None",
        "vllm-0.11.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: vllm\nVersion: 0.11.2",
        "vllm-0.11.2.dist-info/top_level.txt": "vllm",
    }
    program = "from trl import DPOTrainer, GRPOTrainer, SFTTrainer; print('imported')"
    assert "No module named 'vllm.distributed.weight_transfer'" in " ".join(run_with(vllm, "tiny", program))
    first = "from r1lab.unsloth_first import import_unsloth; import_unsloth(); "
    assert "imported" in run_with(vllm, "tiny", first + program)


@pytest.mark.parametrize("capability, flashinfer", [(7.5, "1"), (8.0, None)])
def test_unsloths_settings_follow_from_the_gpu_unless_they_are_set(monkeypatch, capability, flashinfer):
    monkeypatch.setitem(sys.modules, "unsloth", SimpleNamespace())
    monkeypatch.setattr(unsloth_first, "find_gpu", lambda: unsloth_first.Gpu("a GPU", capability, 15.0))
    for name in ("UNSLOTH_VLLM_STANDBY", "UNSLOTH_VLLM_NO_FLASHINFER"):
        monkeypatch.setenv(name, "before")
        monkeypatch.delenv(name)
    unsloth_first.import_unsloth()
    assert os.environ["UNSLOTH_VLLM_STANDBY"] == "1"
    assert os.environ.get("UNSLOTH_VLLM_NO_FLASHINFER") == flashinfer
    monkeypatch.setenv("UNSLOTH_VLLM_STANDBY", "0")
    unsloth_first.import_unsloth()
    assert os.environ["UNSLOTH_VLLM_STANDBY"] == "0"


@pytest.mark.parametrize("installed, filled", [("0.30.0", False), ("0.20.0", False), ("0.15.1", True)])
def test_only_an_old_vllm_gets_the_empty_modules(monkeypatch, installed, filled):
    names = (unsloth_first.MISSING, f"{unsloth_first.MISSING}.nccl_engine")
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(unsloth_first, "version", lambda package: installed)
    unsloth_first.fill_in_for_old_vllm()
    assert all((name in sys.modules) == filled for name in names)


# ----------------------------------------------------------------------------------------------------------- adapters
def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(12)[None] + 5).logits


def save(model, tokenizer, folder, stage, scale=SCALES["t4"]):
    save_stage(model, tokenizer, folder, stage=stage, scale=scale, seed=0, parents={}, recipe="", seconds=1.0)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """A LoRA adapter of tiny-base that changes its completions, saved as a trainer saves it, and its logits."""
    from peft import LoraConfig, get_peft_model

    model, tokenizer = load_model("tiny-base")
    torch.manual_seed(0)
    model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"]))
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "lora_B" in name:
                tensor.normal_(std=3.0)
    folder = tmp_path_factory.mktemp("lora") / "zero"
    save(model, tokenizer, folder, "zero")
    return folder, logits(model)


def test_an_adapter_is_a_checkpoint_like_any_other_and_can_be_merged(adapter, tmp_path):
    folder, expected = adapter
    assert not (folder / "config.json").exists()
    assert find_parents(SCALES["t4"], "cold_start", {"base": folder, "zero": folder})["zero"] == str(folder)
    merged = merge_adapter(folder, tmp_path / "whole", dtype="float32")
    assert (merged / "model.safetensors").is_file() and adapter_base(merged) is None
    for path in (folder, merged):
        policy = load_policy(path)
        assert not hasattr(policy.model, "peft_config")
        torch.testing.assert_close(logits(policy.model), expected, atol=1e-2, rtol=1e-3)
    assert not torch.allclose(logits(load_policy("tiny-base").model), expected, atol=1e-2)
    with pytest.raises(ValueError, match="whole model already"):
        merge_adapter(merged, tmp_path / "again")


def test_an_adapter_without_its_base_or_with_half_its_weights_is_one_sentence(adapter, tmp_path):
    folder = shutil.copytree(adapter[0], tmp_path / "zero")
    cut(folder / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=r"zero is damaged or incomplete"):
        load_policy(folder)
    config = json.loads((folder / "adapter_config.json").read_text())

    def name_base(name):
        (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": name}))

    for named, found in (("/elsewhere/tiny-base", "tiny-base"), ("unsloth/Qwen3-4B-Base", "Qwen3-4B-Base")):
        name_base(named)
        assert adapter_base(folder).endswith(found)
    name_base("/x/nothing")
    with pytest.raises(FileNotFoundError, match="was trained on /x/nothing, which is not here"):
        load_policy(folder)


# ------------------------------------------------------------------------------------------------- batches, precision


def test_the_batch_follows_from_the_models_size_and_the_free_memory(monkeypatch):
    def qwen3_4b(dtype, device="cpu"):
        config = SimpleNamespace(num_hidden_layers=36, num_key_value_heads=8, head_dim=128)
        config.get_text_config = lambda: config
        weight = SimpleNamespace(device=torch.device(device))
        return SimpleNamespace(config=config, dtype=dtype, parameters=lambda: iter([weight]))

    assert rows_at_once(load_model("tiny-base")[0], 300) == BATCH
    token = 2 * 36 * 8 * 128 * 2  # keys and values in bytes: 144 KiB
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * 10 * token * 3328, 0))
    assert rows_at_once(qwen3_4b(torch.float16, "cuda"), 3328) == 10
    assert rows_at_once(qwen3_4b(torch.float16, "cuda"), 10**9) == 1
    assert rows_at_once(qwen3_4b(torch.float32), 3328) == 2 * 2**30 // (2 * token * 3328)


def test_a_policy_has_the_scales_precision_on_a_gpu_and_float32_on_a_cpu(monkeypatch):
    calls = []
    with monkeypatch.context() as patch:
        patch.setattr("r1lab.policy.load_model", lambda *given: calls.append(given) or (None, None))
        load_policy(SCALES["cluster"])
        patch.setattr(torch.cuda, "is_available", lambda: True)
        load_policy(SCALES["cluster"])
        patch.setenv("R1LAB_SCALE", "t4")
        load_policy("owner/another")
    model = SCALES["cluster"].model
    assert calls == [(model,), (model, "bfloat16"), ("owner/another", "float16")]
    assert machine_args(SCALES["t4"], "x").items() >= {"fp16": True, "bf16": False}.items()
    assert machine_args(SCALES["a100"], "x")["bf16"]
    # Full training keeps float32 weights on the CPU until the trainer moves them.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    model, _ = load_trainable(replace(SCALES["cluster"], model="tiny-base"))
    assert model.dtype == torch.float32 and model.device.type == "cpu"


# ----------------------------------------------------------------------------------------------------------- training
TINY_LORA = replace(SCALES["t4"], model=BASE, lora_rank=4)


@pytest.fixture
def unsloth(monkeypatch):
    """Stands for Unsloth: `settings` of every load. `error` and `vllm_error` are raised, always or only with vLLM."""

    class Unsloth(gpu_rehearsal.Unsloth):
        settings, error, vllm_error = [], None, None

        @classmethod
        def from_pretrained(cls, **settings):
            cls.settings.append(settings)
            if error := cls.error or (cls.vllm_error if settings["fast_inference"] else None):
                raise error
            return load_model(settings["model_name"], device="cpu")

    monkeypatch.setitem(sys.modules, "unsloth", SimpleNamespace(FastLanguageModel=Unsloth))
    monkeypatch.setattr(lora, "LOADED", {})
    return Unsloth


def test_a_t4_gets_float16_and_vllm_or_one_sentence_where_it_does_not_start(unsloth, capsys, monkeypatch):
    load_trainable(TINY_LORA)
    (settings,) = unsloth.settings
    expected = {"fast_inference": True, "dtype": torch.float16, "max_lora_rank": 4}
    assert settings.items() >= expected.items() and not capsys.readouterr().out
    lora.LOADED.clear()
    unsloth.vllm_error = RuntimeError("no kernel image\nmore")
    load_trainable(TINY_LORA)
    assert [settings["fast_inference"] for settings in unsloth.settings] == [True, True, False]
    reason = (
        "vLLM did not start (RuntimeError: no kernel image); Unsloth samples without it, which is slower.\n"
    )
    assert capsys.readouterr().out == reason
    lora.LOADED.clear()
    unsloth.error = OSError("there is no such model")
    with pytest.raises(OSError, match="no such model"):
        load_trainable(TINY_LORA)


def test_a_primed_base_is_an_adapter_that_r1_zero_goes_on_training(unsloth, tmp_path):
    scale = replace(TINY_LORA, name="tiny", dtype="float32", template="bare")  # on a CPU
    untouched = logits(load_trainable(scale)[0])
    row = {"prompt": "2+2?", "completion": "<think>2+2=4.</think> <answer>4</answer>", "language": "en"}
    settings = {"learning_rate": 1e-2, "warmup_steps": 0, "max_steps": 2}
    start = prime_format(scale, tmp_path / "primed", rows=[row] * 8, **settings)
    primed = logits(lora.LOADED[BASE][0])
    assert adapter_base(start) == BASE and not torch.allclose(primed, untouched, atol=1e-2)
    torch.testing.assert_close(logits(load_trainable(scale)[0]), untouched)
    model, _ = load_trainable(scale, start)
    torch.testing.assert_close(logits(model), primed)
    assert unsloth.settings[-1]["model_name"] == BASE  # not the adapter's folder
    assert any("lora" in name and tensor.requires_grad for name, tensor in model.named_parameters())


def test_a_cluster_samples_with_vllm_beside_the_training_or_on_a_server(monkeypatch):
    monkeypatch.delenv("R1LAB_VLLM_SERVER", raising=False)
    assert vllm_args(SCALES["t4"]) == {"use_vllm": False}
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


def test_settings_that_unsloth_would_replace_are_set():
    """It replaces fields that were left at their defaults."""
    scale, cpu = replace(SCALES["t4"], dtype="float32"), {"use_cpu": True}
    for args in (make_grpo_args(scale, "x", **cpu), make_sft_args(scale, "x", **cpu)):
        assert (args.optim, args.weight_decay, args.seed) == ("adamw_torch_fused", 0.0, 0)
    assert make_grpo_args(scale, "x", **cpu).epsilon_high == 0.2
    assert make_grpo_args(scale, "x", **cpu, epsilon=0.3).epsilon_high == 0.3, "one number, both sides"


@pytest.mark.parametrize("vllm", ["in the config", "turned on by Unsloth later", None])
def test_vllm_gets_every_end_token(vllm, monkeypatch, tmp_path):
    """With Unsloth, `args.use_vllm` is still False when the trainer is made."""
    model, tokenizer = load_model("tiny-base", device="cpu")
    made = []
    monkeypatch.setattr(grpo, "attach_log", lambda trainer, show: None)
    if vllm == "turned on by Unsloth later":
        model.vllm_engine = object()
    monkeypatch.setattr(grpo, "end_tokens", lambda *_: [1, 7])
    monkeypatch.setattr(grpo, "load_trainable", lambda *_: (model, tokenizer))
    monkeypatch.setattr(grpo, "trainer_class", lambda scale: lambda **given: made.append(given))
    rewards, rows = {"reward_funcs": [], "reward_weights": []}, Dataset.from_list([{"prompt": "2+2?"}])
    settings = {"dataset": rows, "rewards": rewards, "use_vllm": vllm == "in the config"}
    grpo.make_grpo_trainer(SCALES["tiny"], tmp_path, **settings)
    assert made[0]["args"].generation_kwargs == ({"stop_token_ids": [1, 7]} if vllm else None)


def test_vllm_sleeps_while_sft_trains(monkeypatch):
    levels = []
    model = SimpleNamespace(vllm_engine=SimpleNamespace(sleep=levels.append))
    monkeypatch.delenv("UNSLOTH_VLLM_STANDBY", raising=False)
    lora.put_vllm_to_sleep(model)
    assert levels == [], "an engine without standby cannot sleep"
    monkeypatch.setenv("UNSLOTH_VLLM_STANDBY", "1")
    lora.put_vllm_to_sleep(model)
    lora.put_vllm_to_sleep(SimpleNamespace())
    assert levels == [1]


# ------------------------------------------------------------------------------- sampling one base with many adapters
@pytest.fixture
def on_a_gpu(unsloth, monkeypatch):
    """The scale t4 as it would be on a GPU, with the tiny base and without vLLM; weights stay where they are."""
    monkeypatch.setenv("R1LAB_SCALE", "t4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("r1lab.policy.get_scale", lambda: TINY_LORA)
    model, tokenizer = load_trainable(TINY_LORA)
    model.for_inference, model.for_training = model.eval, model.train
    return Policy(model, tokenizer)


def test_base_saved_and_trained_policies_share_one_model(on_a_gpu, adapter, monkeypatch):
    prompts, settings = ["Solve for x: x+2=7", "Hello!"], {"max_new_tokens": 16}
    base, saved, model = load_policy(TINY_LORA), load_policy(adapter[0]), on_a_gpu.model
    assert base.model is saved.model is model, "a T4 has no room for two"
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "lora_B" in name:
                tensor.normal_(std=2.0)
    with monkeypatch.context() as cpu:
        cpu.setattr(torch.cuda, "is_available", lambda: False)
        expected = [load_policy(name).generate(prompts, **settings) for name in ("tiny-base", adapter[0])]
    before = logits(model)
    groups = [policy.generate(prompts, **settings) for policy in (base, saved, on_a_gpu)]
    assert groups[:2] == expected and groups[2] not in expected and expected[0] != expected[1]
    torch.testing.assert_close(logits(model), before)
    assert any(tensor.requires_grad for name, tensor in model.named_parameters() if "default" in name)
    settings |= {"samples": 3, "temperature": 1.0, "seed": 1}
    sampled = [on_a_gpu.generate(prompts, **settings) for _ in range(2)]
    assert sampled[0] == sampled[1] and [len(group) for group in sampled[0]] == [3, 3]


def test_a_model_in_training_is_sampled_in_inference_and_trains_on(on_a_gpu):
    """Unsloth's forward pass for training gives noise when it is sampled from."""
    model = on_a_gpu.model
    modes, forward = [], model.base_model.model.forward
    model.base_model.model.forward = lambda *a, **k: modes.append(model.training) or forward(*a, **k)
    for training in (True, False):
        model.train(training)
        on_a_gpu.generate(["2+2?"], max_new_tokens=2)
        assert model.training is training
    assert modes and not any(modes)


def test_without_vllm_every_end_ends_a_completion(on_a_gpu):
    model, tokenizer = on_a_gpu.model, on_a_gpu.tokenizer
    (whole,) = on_a_gpu.generate([QUESTION], max_new_tokens=60)[0]
    (stop,) = tokenizer(".", add_special_tokens=False)["input_ids"]
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, stop]
    (short,) = on_a_gpu.generate([QUESTION], max_new_tokens=60)[0]
    assert "." in whole.text and short.text == whole.text.partition(".")[0] and not short.truncated


@pytest.mark.parametrize(
    "name, request_",
    [("default", (("default",), {"load_tensors": True})), (None, None), ("runs/zero", (("runs/zero",), {}))],
)
def test_vllm_is_told_which_adapter_to_use(monkeypatch, name, request_):
    calls, tokenizer = [], load_model("tiny-base")[1]
    end = tokenizer.eos_token_id
    ids = tokenizer("<think>7", add_special_tokens=False)["input_ids"]
    ended = SimpleNamespace(token_ids=(*ids, end), finish_reason="stop")
    cut = SimpleNamespace(token_ids=(*ids, *ids), finish_reason="length")

    def fast_generate(prompts, *, sampling_params, lora_request, use_tqdm):
        calls.append((prompts, sampling_params, lora_request))
        return [SimpleNamespace(outputs=[ended, cut]) for _ in prompts]

    model = SimpleNamespace(
        for_inference=None,
        vllm_engine=1,
        fast_generate=fast_generate,
        load_lora=lambda *given, **more: (given, more),
        generation_config=SimpleNamespace(eos_token_id=[end, 9]),
    )
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=dict))
    settings = {"samples": 2, "temperature": 1.0, "max_new_tokens": 3}
    groups = Policy(model, tokenizer, name).generate(["2+2?", "3+3?"], **settings)
    assert groups == [[Sample("<think>7", 2, False), Sample("<think>7<think>7", 4, True)]] * 2
    ((prompts, params, lora_request),) = calls
    assert tokenizer.decode(prompts[1]["prompt_token_ids"]) == "User: 3+3?\nAssistant:\n"
    expected = {"n": 2, "temperature": 1.0, "top_k": -1, "max_tokens": 3, "stop_token_ids": sorted([end, 9])}
    assert params.items() >= expected.items() and lora_request == request_


# ---------------------------------------------------------------------------------------------------------- notebooks
@pytest.mark.slow
@pytest.mark.parametrize("name", ["04_r1_zero", "05_cold_start", "06_reasoning_rl", "10_evaluate_and_share"])
def test_a_notebook_runs_at_scale_t4_with_stand_ins(name, tmp_path):
    # The environment that tests the stages under an older TRL has no Jupyter.
    pytest.importorskip("IPython")
    changes = {"R1LAB_SCALE": "t4", "R1LAB_OUTPUT": str(tmp_path)}
    done = run_python("tests/gpu_rehearsal.py", f"notebooks/{name}.ipynb", **changes)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "at tiny" not in done.stdout, "the branch for scale tiny ran"
