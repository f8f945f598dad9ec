"""The R1-Zero stage on the real trainer, a few steps at a time; the whole run is in notebook 04."""

import json
import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from r1lab.policy import load_policy
from r1lab.problems import load_problems
from r1lab.rewards import REWARDS, make_reward, reward_set
from r1lab.scale import DATA, SCALES
from r1lab.stages.align import RestrictedReward
from r1lab.stages.grpo import last_checkpoint, make_grpo_args, make_grpo_trainer, run_trainer
from r1lab.stages.sft import train_sft
from r1lab.stages.zero import make_zero_trainer, train_zero, training_set, zero_rewards

SMALL = replace(SCALES["tiny"], groups=2, group_size=4, max_completion_tokens=48)


def test_a_few_steps_move_the_policy_and_log_every_reward(tmp_path):
    # Enough completions that some group is mixed, and no warm-up, whose first step has a rate of zero.
    scale = replace(SMALL, groups=6, group_size=8)
    trainer = make_zero_trainer(scale, tmp_path, max_steps=3, warmup_steps=0)
    before = trainer.model.model.embed_tokens.weight.detach().clone()
    trainer.train()
    assert not torch.equal(before, trainer.model.model.embed_tokens.weight)
    history = json.loads((tmp_path / "metrics.json").read_text())
    steps = [row for row in history if "reward" in row]
    assert [row["step"] for row in steps] == [1, 2, 3]
    for name in ("accuracy", "logic", "code", "format", "self_check", "language_share_of_target"):
        assert all(f"rewards/{name}/mean" in row for row in steps)
    assert all(math.isfinite(row["rewards/format/mean"]) for row in steps)


def test_every_end_of_a_completion_ends_it_in_training_too(tmp_path):
    folder, said = tmp_path / "model", []
    shutil.copytree(DATA / "models" / "tiny-zero", folder)
    settings = json.loads((folder / "generation_config.json").read_text())
    stop = load_policy(folder).tokenizer(".", add_special_tokens=False)["input_ids"]
    settings["eos_token_id"] = [settings["eos_token_id"], *stop]
    (folder / "generation_config.json").write_text(json.dumps(settings))
    trainer = make_zero_trainer(SMALL, tmp_path / "run", model=folder, max_steps=1, save_strategy="no")
    trainer.reward_funcs[0] = lambda completions, **_: (
        said.extend(c[0]["content"] for c in completions) or [0.0 for _ in completions]
    )
    trainer.train()
    assert len(said) == 8 and all(text.count(".") <= 1 for text in said)
    assert sum(text.endswith(".") for text in said) >= 6, "tiny-zero writes one sentence after another"
    (log,) = [row for row in trainer.state.log_history if "reward" in row]
    assert log["completions/clipped_ratio"] <= 0.25


def test_trl_samples_with_the_engine_and_learns_on_policy(tmp_path, monkeypatch):
    """The completions are the engine's; their log-probabilities switch no correction on; the logged lengths are theirs."""
    from r1lab.stages import rollout

    sampled, batches = [], []
    generate = rollout.engine.generate
    monkeypatch.setattr(
        rollout.engine, "generate", lambda *a, **k: sampled.append(generate(*a, **k)) or sampled[-1]
    )
    trainer = make_zero_trainer(SMALL, tmp_path, max_steps=2, warmup_steps=0, save_strategy="no")
    loss = trainer._compute_loss
    trainer._compute_loss = lambda model, inputs: batches.append(inputs) or loss(model, inputs)
    trainer.train()
    assert len(sampled) == len(batches) == 2
    assert any(not torch.equal(a.ids, b.ids) for a, b in zip(*sampled, strict=True)), "a new seed every step"
    log = [row for row in trainer.state.log_history if "reward" in row]
    for completions, batch, row in zip(sampled, batches, log, strict=True):
        assert not {"importance_sampling_ratio", "old_per_token_logps"} & set(batch)
        lengths = torch.tensor([len(c.ids) for c in completions], dtype=torch.float)
        assert batch["completion_mask"].sum() == lengths.sum() == batch["num_items_in_batch"]
        assert row["completions/mean_length"] == pytest.approx(lengths.mean().item())
        assert row["completions/clipped_ratio"] == pytest.approx(sum(c.truncated for c in completions) / 8)
        assert row["entropy"] > 0


def test_trl_samples_by_itself_where_the_engine_cannot(tmp_path):
    def hook(scale=SMALL, **options):
        return make_zero_trainer(scale, tmp_path, max_steps=1, **options).rollout_func

    assert hook() is not None
    assert hook(min_p=0.1) is None
    assert hook(repetition_penalty=1.1) is None
    assert hook(replace(SMALL, name="another")) is None


def test_an_older_trl_without_the_hook_samples_by_itself(monkeypatch):
    import trl

    from r1lab.stages.rollout import engine_options

    model, args = load_policy("tiny-base").model, make_grpo_args(SMALL, "unused")
    assert engine_options(SMALL, model, args)
    monkeypatch.setattr(trl, "GRPOTrainer", type("Old", (), {"__init__": lambda self, model: None}))
    assert engine_options(SMALL, model, args) == {}


def test_vllm_is_told_of_every_end(tmp_path, monkeypatch):
    asked = []
    fake = type("Fake", (), {"__init__": lambda self, **given: asked.append(given), "remove_callback": print})
    monkeypatch.setattr("r1lab.stages.grpo.trainer_class", lambda scale: fake)
    monkeypatch.setattr("r1lab.stages.grpo.end_tokens", lambda model, tokenizer: [1, 7])
    for use_vllm in (True, False):
        make_zero_trainer(SMALL, tmp_path, use_vllm=use_vllm)
    assert [given["args"].generation_kwargs for given in asked] == [{"stop_token_ids": [1, 7]}, None]


def test_every_reward_that_a_trainer_gets_can_be_pickled(tmp_path, monkeypatch):
    """Trainers that sample in other processes send the rewards there."""
    given = {}
    fake = type("Fake", (), {"__init__": lambda self, **how: given.update(how), "remove_callback": print})
    monkeypatch.setattr("r1lab.stages.grpo.trainer_class", lambda scale: fake)
    lengths = {"cosine": {"max_len": 9}, "soft_overlong": {"max_len": 9}}
    chosen = reward_set(dict.fromkeys(REWARDS, 1.0), **lengths)
    watched = zero_rewards()["reward_funcs"][-2:]
    chosen["reward_funcs"] += [*watched, RestrictedReward(make_reward("format"), general=False)]
    chosen["reward_weights"] += [0.0, 0.0, 1.0]
    make_grpo_trainer(SMALL, tmp_path, dataset=None, rewards=chosen)
    batch = {"completions": ["<think>a</think> <answer>14</answer>", ""], "prompts": ["?"] * 2}
    columns = {
        "solution": "14",
        "tests": "",
        "numbers": [14],
        "target": 14,
        "language": "en",
        "verifier": "math",
    }
    batch |= {name: [value] * 2 for name, value in columns.items()}
    names = [*REWARDS, "self_check", "language_share_of_target", "format"]
    assert [function.__name__ for function in given["reward_funcs"]] == names
    for function in given["reward_funcs"]:
        again = pickle.loads(pickle.dumps(function))
        assert again.__name__ == function.__name__ and again(**batch) == function(**batch)


@pytest.mark.slow
def test_a_run_without_a_step_is_refused(tmp_path):
    """One problem does not fill a step of two groups: the trainer warns, ends, and leaves the parent as it was."""
    rows = training_set(load_problems("train")[:1], SMALL)
    trainer = make_grpo_trainer(SMALL, tmp_path, dataset=rows, rewards=zero_rewards(), max_steps=2)
    with pytest.raises(ValueError, match="took no step: its 1 rows do not fill one"):
        run_trainer(trainer)
    with pytest.raises(ValueError, match="no rows to learn from"):
        train_sft(SMALL, [], tmp_path, model="tiny-base")


def test_watched_functions_are_never_paid():
    rewards = zero_rewards()
    paid = dict(zip([f.__name__ for f in rewards["reward_funcs"]], rewards["reward_weights"], strict=True))
    assert paid == {
        "accuracy": 1.0,
        "logic": 1.0,
        "code": 1.0,
        "countdown": 1.0,
        "format": 0.5,
        "self_check": 0.0,
        "language_share_of_target": 0.0,
    }


def test_a_misspelt_field_is_refused(tmp_path):
    with pytest.raises(ValueError, match="lerning_rate"):
        make_grpo_args(SMALL, tmp_path, lerning_rate=1e-3)


@pytest.mark.slow
def test_a_killed_training_resumes_and_finishes(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        from transformers import TrainerCallback
        from tests.test_zero import SMALL
        from r1lab.stages.zero import make_zero_trainer

        class Kill(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):
                if state.global_step == 5:
                    os.kill(os.getpid(), signal.SIGKILL)

        trainer = make_zero_trainer(SMALL, sys.argv[1], max_steps=7, save_steps=2)
        trainer.add_callback(Kill())
        trainer.train()
        """
    )
    root = Path(__file__).parents[1]
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        timeout=300,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    half_written = tmp_path / "checkpoint-6"
    half_written.mkdir()
    (half_written / "model.safetensors").write_bytes(b"cut off")
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")

    run = train_zero(SMALL, tmp_path, resume=True, max_steps=7, save_steps=2)
    steps = [row["step"] for row in run["history"] if "reward" in row]
    assert steps == [1, 2, 3, 4, 5, 6, 7]
    assert (tmp_path / "model.safetensors").is_file()


def test_a_fresh_start_forgets_the_checkpoints_of_another_run(tmp_path):
    train_zero(SMALL, tmp_path, max_steps=2, save_steps=2)
    run = train_zero(SMALL, tmp_path, max_steps=1, save_steps=2)
    assert [row["step"] for row in run["history"] if "reward" in row] == [1]
    assert not (tmp_path / "checkpoint-2").exists()


def test_no_checkpoint_means_a_fresh_start(tmp_path):
    assert last_checkpoint(tmp_path) is None
    assert last_checkpoint(tmp_path / "nowhere") is None


def test_handing_the_sum_back_is_not_paid():
    accuracy = zero_rewards()["reward_funcs"][0]
    completions = [f"<think>hm</think> <answer>{answer}</answer>" for answer in ("19", "12+7")]
    assert accuracy(completions, solution=["19", "19"]) == [1.0, 0.0]
