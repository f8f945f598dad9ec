"""Two processes on one CPU train one model: the same steps as one process, one writer, a clean end."""

import json
import subprocess

import pytest
import torch
from helpers import run_python, steps_of

from r1lab.policy import load_model
from r1lab.scale import SCALES
from r1lab.stages.config import make_grpo_args, make_sft_args, split_step


def test_processes_share_the_step_of_a_scale(monkeypatch, tmp_path):
    assert split_step(64) == (64, 1) and split_step(512, 4) == (4, 128)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert split_step(64) == (8, 1) and split_step(512, 4) == (4, 16) and split_step(32, 8) == (4, 1)
    for rows, most in ((4, 0), (512, 3)):
        with pytest.raises(ValueError, match=r"8 processes cannot share a step of \d+ completions"):
            split_step(rows, most)
    monkeypatch.setattr("trl.GRPOConfig", dict)
    monkeypatch.setattr("trl.SFTConfig", dict)
    monkeypatch.setattr("r1lab.stages.config.build_config", lambda kind, values, overrides: values)
    for make, rows in ((make_grpo_args, 64), (make_sft_args, 32)):
        args = make(SCALES["tiny"], tmp_path)
        assert args["per_device_train_batch_size"] * args["gradient_accumulation_steps"] == rows // 8


def start(processes: int, *words) -> subprocess.CompletedProcess:
    """Run `python words` as so many processes, one thread each."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", processes)
    return run_python(*launcher, *words, OMP_NUM_THREADS="1")


@pytest.mark.slow
def test_the_command_trains_with_two_processes_and_ends_cleanly(tmp_path):
    done = start(2, "-m", "r1lab", "zero", "--steps", "2", "--output", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "terminate called" not in done.stderr
    assert done.stdout.count("scale tiny") == 1 and done.stdout.count("trained in") == 1
    assert (tmp_path / "model.safetensors").is_file() and (tmp_path / "stage.json").is_file()
    assert steps_of(json.loads((tmp_path / "metrics.json").read_text())) == [1, 2]
    assert not list(tmp_path.glob("*.tmp"))


# Sampling differs between one process and two, so that here nothing is sampled: the trainer is handed completions that
# depend on nothing but the prompt and the place in its group. What is left must be the same: which prompts a step has,
# how rewards become advantages across processes, the kernel's loss and its scale, the averaged gradient.
TRAIN = """
import os, sys, zlib
from dataclasses import replace
import torch
from r1lab.cli import _leave_together
from r1lab.scale import SCALES
from r1lab.stages import trainer as module
from r1lab.stages.zero import make_zero_trainer

class Scripted(module.KernelGRPOTrainer):
    def _generate_single_turn(self, prompts, *rest):
        completions, seen = [], {}
        for prompt in map(str, prompts):
            seen[prompt] = seen.get(prompt, -1) + 1
            n = zlib.crc32(prompt.encode()) % 9
            good = f"<think>First 1+{n}={1 + n}.</think> <answer>{1 + n}</answer>"
            text = (good, f"The answer is {n}.", "Hm. " * n, f"{n} {n}")[seen[prompt]]
            completions.append(self.processing_class(text)["input_ids"] + [self.processing_class.eos_token_id])
        return completions, None

module.KernelGRPOTrainer = Scripted
scale = replace(SCALES["tiny"], groups=4, group_size=4, max_completion_tokens=48)
run = make_zero_trainer(scale, sys.argv[1], max_steps=2, warmup_steps=0, save_strategy="no")
run.rollout_func = None  # the engine would sample
run.train()
if run.accelerator.is_main_process:
    torch.save(run.model.state_dict(), os.path.join(sys.argv[1], "weights.pt"))
_leave_together()
"""


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    logs, weights = [], []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        done = start(processes, tmp_path / "train.py", folder)
        assert done.returncode == 0, done.stderr[-3000:]
        logs.append([row for row in json.loads((folder / "metrics.json").read_text()) if "reward" in row])
        weights.append(torch.load(folder / "weights.pt", weights_only=True))
    assert len(logs[0]) == len(logs[1]) == 2
    names = ("reward", "reward_std", "rewards/format/mean", "completions/mean_length", "loss", "grad_norm")
    for one, two in zip(*logs, strict=True):
        for name in names:
            assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-5), name
        assert one["grad_norm"] > 0
    base = load_model("tiny-base")[0].state_dict()
    assert max((tensor - base[name]).abs().max() for name, tensor in weights[0].items()) > 1e-4
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, atol=1e-5, rtol=1e-3)
