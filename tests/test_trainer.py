"""TRL's trainer with and without the kernel: the same steps, the same metrics."""

import copy

import pytest
import torch
import trl

from r1lab.policy import find_model
from r1lab.stages import trainer as module


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(find_model("tiny-base"), padding_side="left")


@pytest.fixture
def make_model(tokenizer, tmp_path):
    """Random weights, by way of a folder: TRL loads the reference model of a full fine-tuning from there."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    def make(tied: bool = True):
        torch.manual_seed(0)
        sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "head_dim": 16}
        sizes |= {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
        ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
        Qwen3ForCausalLM(Qwen3Config(**sizes, **ends, tie_word_embeddings=tied)).save_pretrained(tmp_path)
        return Qwen3ForCausalLM.from_pretrained(tmp_path)

    return make


def spread(completion_ids, **_):
    """A reward that differs within a group, and not in every group: the share of large token ids, cut at one half."""
    return [max(0.5, sum(i > 200 for i in ids) / len(ids)) for ids in completion_ids]


def train(trainer_class, model, tokenizer, folder, lora=False, **changes):
    from datasets import Dataset
    from peft import LoraConfig
    from trl import GRPOConfig

    settings = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 12,
        "max_steps": 4,
        "learning_rate": 5e-4,
        "lr_scheduler_type": "constant",
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "temperature": 0.9,
        "seed": 3,
        **changes,
    }
    torch.manual_seed(1)
    trainer = trainer_class(
        model=copy.deepcopy(model),
        processing_class=tokenizer,
        reward_funcs=spread,
        args=GRPOConfig(**settings),
        train_dataset=Dataset.from_list([{"prompt": p} for p in ("2+3=", "a b c", "Rudi > Ani.", "?")] * 8),
        peft_config=LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"]) if lora else None,
    )
    trainer.train()
    return trainer


CASES = {
    "full, tied": {"tied": True, "max_steps": 3},
    "full, untied, accumulated, off-policy, KL, entropy bonus": {"tied": False, "entropy_coef": 0.02}
    | {"gradient_accumulation_steps": 2, "steps_per_generation": 4, "num_iterations": 2, "beta": 0.04},
    "LoRA, tied, KL": {"tied": True, "lora": True, "beta": 0.04},
    "LoRA, untied, sequence level": {"tied": False, "lora": True, "importance_sampling_level": "sequence"}
    | {"num_iterations": 2, "loss_type": "grpo"},
}


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=[pytest.mark.slow] if "LoRA" in name else []) for name in CASES]
)
def test_steps_end_in_the_same_parameters(case, make_model, tokenizer, tmp_path, monkeypatch):
    calls, kernel = [], module.fused_grpo_loss
    monkeypatch.setattr(module, "fused_grpo_loss", lambda *a, **k: calls.append(1) or kernel(*a, **k))
    settings = dict(CASES[case])
    model = make_model(settings.pop("tied"))
    before = dict(model.named_parameters())
    ours = train(module.KernelGRPOTrainer, model, tokenizer, tmp_path, **settings)
    steps = settings.get("max_steps", 4)
    assert len(calls) == steps * settings.get("gradient_accumulation_steps", 1)
    theirs = train(trl.GRPOTrainer, model, tokenizer, tmp_path, **settings)
    moved, others = 0.0, dict(theirs.model.named_parameters())
    for name, mine in ours.model.named_parameters():
        assert (mine - others.pop(name)).abs().max() <= 1e-5, name
        if mine.requires_grad:  # an adapter's B starts at 0
            moved = max(moved, (mine - before.get(name, 0)).abs().max().item())
    assert moved > 1e-3 and not others
    for row, other in zip(ours.state.log_history, theirs.state.log_history, strict=True):
        assert row.keys() == other.keys()
        for name in row.keys() - {"step_time", "train_runtime"}:
            if "per_second" not in name:
                assert row[name] == pytest.approx(other[name], rel=2e-3, abs=2e-5), name


def test_what_it_does_not_cover_is_left_to_trl_and_logged_once(make_model, tokenizer, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(module.logger, "warning", lines.append)
    monkeypatch.setattr(module, "fused_grpo_loss", None)
    settings = {"max_steps": 2, "top_entropy_quantile": 0.5}
    trainer = train(module.KernelGRPOTrainer, make_model(), tokenizer, tmp_path, **settings)
    assert trainer.state.global_step == 2
    assert len(lines) == 1 and "top_entropy_quantile" in lines[0]
    trainer.top_entropy_quantile = 1.0
    assert trainer._not_covered(trainer.model, {}) is None
    assert "images" in trainer._not_covered(trainer.model, {"pixel_values": torch.zeros(1)})
    monkeypatch.setattr(trainer, "off_policy_mask_threshold", 0.5)
    assert "off_policy_mask_threshold" in trainer._not_covered(trainer.model, {})
    monkeypatch.undo()
    trainer.model.config.logits_scaling = 8.0
    assert "scales" in trainer._not_covered(trainer.model, {})


def test_generation_and_plain_calls_do_not_notice_the_hook(make_model):
    model, ids = make_model().eval(), torch.arange(10)[None] + 5
    settings = {"do_sample": False, "max_new_tokens": 5}
    wanted, text = model(input_ids=ids).logits, model.generate(ids, **settings)
    module.add_head_hook(model)
    assert torch.equal(model(input_ids=ids).logits, wanted)
    assert torch.equal(model.generate(ids, **settings), text)
    states, head = model(input_ids=ids, attention_mask=ids > 0, kernel=lambda *given: given)
    assert torch.equal(states @ head["weight"].T, wanted) and head["softcap"] is None
    with pytest.raises(ValueError, match="colour"):
        model.generate(ids, **settings, colour="red")
