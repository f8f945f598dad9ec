"""The configurations for several GPUs are what accelerate accepts, and the sizing table counts real models."""

import subprocess
from pathlib import Path

import pytest
import sizing
from sizing import SHAPES

FOLDER = Path(__file__).parents[1] / "cluster"


@pytest.mark.parametrize(("name", "kind"), [("zero3", "DEEPSPEED"), ("fsdp2", "FSDP")])
def test_accelerate_reads_the_configuration(name, kind):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(FOLDER / f"{name}.yaml"))  # refuses keys it does not know
    assert config.distributed_type == kind and config.mixed_precision == "bf16" and not config.use_cpu
    if kind == "FSDP":
        assert config.fsdp_config["fsdp_version"] == 2
    else:
        assert (
            config.deepspeed_config["zero_stage"] == 3 and config.deepspeed_config["zero3_save_16bit_model"]
        )


def test_the_slurm_script_is_a_shell_script():
    subprocess.run(["bash", "-n", FOLDER / "train.slurm"], check=True)


@pytest.fixture(scope="module")
def models():
    """The models of the table, as transformers builds them, without memory for the weights."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config, Qwen3Config

    built = {}
    for name, shape in SHAPES.items():
        fields = dict(vars(shape))
        kind = Qwen3Config if fields.pop("qwen3") else Qwen2Config
        if kind is Qwen2Config:
            assert fields.pop("head_dim") == shape.hidden_size // shape.num_attention_heads
        with torch.device("meta"):
            built[name] = AutoModelForCausalLM.from_config(kind(**fields))
    return built


def test_the_counted_parameters_are_those_of_the_models(models):
    for name, model in models.items():
        assert sizing.parameters(SHAPES[name]) == sum(p.numel() for p in model.parameters()), name
        layer = sum(p.numel() for p in model.model.layers[0].parameters())
        assert sizing.layer_parameters(SHAPES[name]) == layer, name
    # what the model cards say
    assert round(sizing.parameters(SHAPES["Qwen2.5-1.5B"]) / 1e9, 2) == 1.54
    assert round(sizing.parameters(SHAPES["Qwen2.5-7B"]) / 1e9, 2) == 7.62
    assert round(sizing.parameters(SHAPES["Qwen3-32B"]) / 1e9, 1) == 32.8


def test_the_counted_adapters_are_those_of_peft(models):
    from peft import LoraConfig, get_peft_model

    from r1lab.stages.lora import TARGETS

    config = LoraConfig(r=32, target_modules=list(TARGETS))
    adapted = get_peft_model(models["Qwen3-4B"], config)
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert sizing.lora_parameters(SHAPES["Qwen3-4B"]) == trained == 66_060_288


def test_the_bytes_add_up():
    small = SHAPES["Qwen3-4B"]
    assert sizing.states(small, 1) == pytest.approx(16 * 4_022_468_096 / 2**30)
    assert sizing.states(small, 8) == sizing.states(small, 1) / 8
    assert sizing.one_pass(small, rows=8) > 1.8 * sizing.one_pass(small, rows=4)
    assert (
        sizing.gpus_needed(small) == 2 and sizing.states(small, 1) + sizing.one_pass(small) > 72 * 1e9 / 2**30
    )


def test_the_table_is_the_one_in_the_readme():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    shown = text.partition("tools/sizing.py` -->\n")[2].partition("\n<!-- /table -->")[0]
    assert shown == sizing.table()
