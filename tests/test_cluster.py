"""The configurations for several GPUs are what accelerate accepts, and the sizing table counts real models."""

import subprocess
from dataclasses import asdict, replace

import pytest
import sizing
from course import ROOT
from sizing import SHAPES

# Two layers of each: the others are alike, and peft needs seconds for all of them.
SHALLOW = {name: replace(shape, num_hidden_layers=2) for name, shape in SHAPES.items()}


def test_the_configurations_are_what_accelerate_and_a_shell_accept():
    from accelerate.commands.config.config_args import load_config_from_file

    for name, kind in (("zero3", "DEEPSPEED"), ("fsdp2", "FSDP")):
        config = load_config_from_file(str(ROOT / "cluster" / f"{name}.yaml"))  # refuses unknown keys
        assert config.distributed_type == kind and config.mixed_precision == "bf16" and not config.use_cpu
    subprocess.run(["bash", "-n", ROOT / "cluster" / "train.slurm"], check=True)


def build(shape):
    """The model as transformers builds it, without memory for its weights."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config, Qwen3Config

    fields = asdict(shape)
    kind = Qwen3Config if fields.pop("qwen3") else Qwen2Config
    if kind is Qwen2Config:
        assert fields.pop("head_dim") == shape.hidden_size // shape.num_attention_heads
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(kind(**fields))


@pytest.mark.parametrize("name", SHAPES)
def test_the_counted_parameters_are_those_of_the_model(name):
    model = build(SHALLOW[name])
    assert sizing.parameters(SHALLOW[name]) == sum(p.numel() for p in model.parameters())
    layer = sum(p.numel() for p in model.model.layers[0].parameters())
    assert sizing.layer_parameters(SHAPES[name]) == layer
    model_cards = {"Qwen2.5-1.5B": 1.54, "Qwen3-4B": 4.0, "Qwen2.5-7B": 7.62, "Qwen3-32B": 32.8}  # in 10^9
    assert sizing.parameters(SHAPES[name]) == pytest.approx(1e9 * model_cards[name], rel=0.01)


def test_the_counted_adapters_are_those_of_peft():
    from peft import LoraConfig, get_peft_model

    from r1lab.stages.lora import TARGETS

    config = LoraConfig(r=32, target_modules=list(TARGETS))
    adapted = get_peft_model(build(SHALLOW["Qwen3-4B"]), config)
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert sizing.lora_parameters(SHALLOW["Qwen3-4B"]) == trained
    assert sizing.lora_parameters(SHAPES["Qwen3-4B"]) == 18 * trained  # of 36 layers
