"""The R1-Zero stage on the real trainer, a few steps at a time; the whole run is in notebook 04."""

import json
import pickle
import shutil
from dataclasses import replace

import pytest
import torch
from helpers import SMALL

from r1lab.policy import load_policy
from r1lab.rewards import REWARDS, make_reward, reward_set
from r1lab.scale import DATA
from r1lab.stages import engine_hook
from r1lab.stages.align import RestrictedReward
from r1lab.stages.config import make_grpo_args
from r1lab.stages.grpo import make_grpo_trainer
from r1lab.stages.zero import make_zero_trainer, zero_rewards


def rows_of_steps(trainer):
    return [row for row in trainer.state.log_history if "reward" in row]


def test_a_few_steps_move_the_policy_and_log_every_reward_of_the_engines_samples(tmp_path, monkeypatch):
    """The completions are the engine's; their log-probabilities switch no correction on; the logged lengths are theirs."""
    sampled, batches, seeds = [], [], set()
    generate = engine_hook.engine.generate

    def generate_and_note(*given, seed, **settings):
        seeds.add(seed)
        sampled.append(generate(*given, seed=seed, **settings))
        return sampled[-1]

    monkeypatch.setattr(engine_hook.engine, "generate", generate_and_note)
    # Enough completions that some group is mixed, and no warm-up, whose first step has a rate of zero.
    scale = replace(SMALL, groups=3, group_size=8, max_completion_tokens=24)
    trainer = make_zero_trainer(scale, tmp_path, max_steps=2, warmup_steps=0, save_strategy="no")
    before = trainer.model.model.embed_tokens.weight.detach().clone()
    loss = trainer._compute_loss
    trainer._compute_loss = lambda model, inputs: batches.append(inputs) or loss(model, inputs)
    trainer.train()
    assert not torch.equal(before, trainer.model.model.embed_tokens.weight)
    log = rows_of_steps(trainer)
    assert [row["step"] for row in log] == [1, 2]
    assert [row for row in json.loads((tmp_path / "metrics.json").read_text()) if "reward" in row] == log
    for name in ("accuracy", "logic", "code", "format", "self_check", "language_share_of_target"):
        assert all(f"rewards/{name}/mean" in row for row in log)
    assert len(sampled) == len(batches) == len(seeds) == 2, "a new seed every step"
    for completions, batch, row in zip(sampled, batches, log, strict=True):
        assert not {"importance_sampling_ratio", "old_per_token_logps"} & set(batch)
        lengths = torch.tensor([len(c.ids) for c in completions], dtype=torch.float)
        assert batch["completion_mask"].sum() == lengths.sum() == batch["num_items_in_batch"]
        assert row["completions/mean_length"] == pytest.approx(lengths.mean().item())
        assert row["completions/clipped_ratio"] == pytest.approx(sum(c.truncated for c in completions) / 24)
        assert row["entropy"] > 0


def test_every_end_of_a_completion_ends_it_in_training_too(tmp_path):
    folder, texts = shutil.copytree(DATA / "models" / "tiny-zero", tmp_path / "model"), []
    settings = json.loads((folder / "generation_config.json").read_text())
    stop = load_policy(folder).tokenizer(".", add_special_tokens=False)["input_ids"]
    settings["eos_token_id"] = [settings["eos_token_id"], *stop]
    (folder / "generation_config.json").write_text(json.dumps(settings))
    trainer = make_zero_trainer(SMALL, tmp_path / "run", model=folder, max_steps=1, save_strategy="no")
    trainer.reward_funcs[0] = lambda completions, **_: (
        texts.extend(c[0]["content"] for c in completions) or [0.0 for _ in completions]
    )
    trainer.train()
    assert len(texts) == 8 and all(text.count(".") <= 1 for text in texts)
    assert sum(text.endswith(".") for text in texts) >= 6, "tiny-zero writes one sentence after another"


def test_trl_samples_by_itself_where_the_engine_cannot(monkeypatch):
    import trl

    model = load_policy("tiny-base").model

    def engine(scale=SMALL, **overrides):
        return bool(engine_hook.engine_options(scale, model, make_grpo_args(scale, "unused", **overrides)))

    assert engine()
    assert not engine(min_p=0.1) and not engine(repetition_penalty=1.1)
    assert not engine(replace(SMALL, name="another", dtype="float32"))
    # An older TRL has no such hook.
    monkeypatch.setattr(trl, "GRPOTrainer", type("Old", (), {"__init__": lambda self, model: None}))
    assert not engine()


def test_every_reward_that_a_trainer_gets_can_be_pickled(tmp_path, monkeypatch):
    """Trainers that sample in other processes send the rewards there."""
    made = []
    monkeypatch.setattr("r1lab.stages.grpo.attach_log", lambda trainer, show: None)
    monkeypatch.setattr("r1lab.stages.grpo.trainer_class", lambda scale: lambda **given: made.append(given))
    rewards = reward_set(dict.fromkeys(REWARDS, 1.0), cosine={"max_len": 9}, soft_overlong={"max_len": 9})
    restricted = RestrictedReward(make_reward("format"), general=False)
    rewards["reward_funcs"] += [*zero_rewards()["reward_funcs"][-2:], restricted]
    rewards["reward_weights"] += [0.0, 0.0, 1.0]
    make_grpo_trainer(SMALL, tmp_path, dataset=None, rewards=rewards)
    columns = {"solution": "14", "tests": "", "numbers": [14], "target": 14}
    columns |= {"language": "en", "verifier": "math"}
    batch = {name: [value] * 2 for name, value in columns.items()}
    batch |= {"completions": ["<think>a</think> <answer>14</answer>", ""], "prompts": ["?"] * 2}
    functions = made[0]["reward_funcs"]
    assert [f.__name__ for f in functions] == [*REWARDS, "self_check", "language_share_of_target", "format"]
    for function in functions:
        again = pickle.loads(pickle.dumps(function))
        assert again.__name__ == function.__name__ and again(**batch) == function(**batch)


def test_accuracy_counts_most_and_what_is_only_logged_has_no_weight():
    rewards = zero_rewards()
    weights = {f.__name__: w for f, w in zip(rewards["reward_funcs"], rewards["reward_weights"], strict=True)}
    verifiers = dict.fromkeys(("accuracy", "logic", "code", "countdown"), 1.0)
    assert weights == verifiers | {"format": 0.5, "self_check": 0.0, "language_share_of_target": 0.0}
    texts = [f"<think>hm</think> <answer>{answer}</answer>" for answer in ("19", "12+7")]
    assert rewards["reward_funcs"][0](texts, solution=["19", "19"]) == [1.0, 0.0], "the sum is no answer"
    with pytest.raises(ValueError, match="lerning_rate"):
        make_grpo_args(SMALL, "unused", lerning_rate=1e-3)
