"""Faults, really made: kill -9 in mid-training, files cut in half, a full disk, a clock set back, a killed verifier."""

import json
import math
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
import warnings
from pathlib import Path

import pytest
import torch
from helpers import ROOT, SMALL, cut, run_python
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from r1lab import problems
from r1lab.cli import main
from r1lab.files import write_json
from r1lab.policy import find_model, load_policy
from r1lab.rewards.verify.sandbox import Sandbox
from r1lab.rewards.verify.symbolic import SymbolicVerifier
from r1lab.stages import trainer as trainer_module
from r1lab.stages.callbacks import FiniteReward
from r1lab.stages.run_folder import KEPT, find_damage, keep_newest, last_checkpoint, lock_folder
from r1lab.stages.runner import run_trainer, train_stage
from r1lab.stages.zero import make_zero_trainer

STEPS, KILLS = 6, 10
TIMES = re.compile(r"time|runtime|per_second")  # what a log holds of the clock
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")


# --- killed in the middle ---------------------------------------------------------------------------------------------


def train(output, resume=False, **options):
    options = {"max_steps": STEPS, "save_steps": 1, **options}
    return train_stage("zero", SMALL, output, resume=resume, **options)


@pytest.fixture(scope="module")
def processes():
    """Makes processes that have imported torch and trl already: a start costs a fork."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["r1lab.stages.trainer", "r1lab.stages.zero"])
    with pytest.MonkeyPatch.context() as patch:  # the server is started by the first process and keeps this
        patch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT / 'tests'}")
        yield context.Process


def metrics(folder):
    """The steps in the log of a run so far, without what the clock says and without the summary at the end."""
    path = folder / "metrics.json"
    rows = json.loads(path.read_text()) if path.is_file() else []
    return [{key: row[key] for key in row if not TIMES.search(key)} for row in rows if "reward" in row]


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def wait_for(condition, limit=120.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@needs_fork
@pytest.mark.slow
def test_ten_kills_at_random_moments_change_nothing(processes, tmp_path):
    """After a random number of logged steps and a random part of the next: in a step, in a checkpoint, at the end."""

    def begin(folder, resume=False):
        process = processes(target=train, args=(folder, resume))
        process.start()
        return process

    process = begin(tmp_path / "whole")
    wait_for(lambda: metrics(tmp_path / "whole"))
    started = time.monotonic()
    process.join()
    step_seconds = (time.monotonic() - started) / (STEPS - 1)
    whole = metrics(tmp_path / "whole")
    assert process.exitcode == 0 and [row["step"] for row in whole] == [*range(1, STEPS + 1)]

    rng, killed = random.Random(0), 0
    for number in range(KILLS):
        folder, step, part = tmp_path / str(number), rng.randrange(STEPS), rng.random()
        process = begin(folder)
        wait_for(lambda process=process, folder=folder: (folder / ".lock").exists() or not process.is_alive())
        wait_for(lambda folder=folder, step=step: len(metrics(folder)) >= step)
        process.join(part * step_seconds)
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        process = begin(folder, resume=True)
        process.join()
        assert process.exitcode == 0, (step, part)
        assert metrics(folder) == whole and weights(folder) == weights(tmp_path / "whole"), (step, part)
        assert not any(map(find_damage, folder.glob("checkpoint-*")))
        shutil.rmtree(folder)
    assert killed >= KILLS - 2  # one or two may have been quicker than we


@pytest.mark.slow
def test_a_run_killed_after_its_last_checkpoint_takes_no_step_too_many(tmp_path):
    train(tmp_path, max_steps=2)
    log, whole = metrics(tmp_path), weights(tmp_path)
    for name in ("model.safetensors", "stage.json"):
        (tmp_path / name).unlink()
    run = train(tmp_path, resume=True, max_steps=2)
    assert metrics(tmp_path) == log and len(log) == 2 == run["trainer"].state.global_step
    assert weights(tmp_path) == whole
    assert len(train(tmp_path, resume=True, max_steps=3)["history"]) > len(log), "more steps were asked for"


@pytest.mark.slow
def test_a_checkpoint_cut_in_half_is_passed_over_and_the_end_is_the_same(tmp_path):
    train(tmp_path)
    log, whole = metrics(tmp_path), weights(tmp_path)
    cut(tmp_path / f"checkpoint-{STEPS}" / "model.safetensors")
    message = rf"checkpoint-{STEPS} is skipped: model\.safetensors is cut off"
    with pytest.warns(UserWarning, match=message):
        train(tmp_path, resume=True)
    assert metrics(tmp_path) == log and len(log) == STEPS and weights(tmp_path) == whole


def make_checkpoint(output, step):
    folder = output / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    save_file({"weight": torch.ones(99)}, folder / "model.safetensors")
    torch.save({"state": torch.ones(99)}, folder / "optimizer.pt")
    torch.save({"cpu": torch.ones(99)}, folder / "rng_state.pth")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return folder


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json"])
def test_any_file_cut_in_half_is_noticed(name, tmp_path):
    for step in (8, 9, 10):
        make_checkpoint(tmp_path, step)
    with warnings.catch_warnings(action="error"):
        assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    cut(tmp_path / "checkpoint-10" / name)
    with pytest.warns(UserWarning, match="checkpoint-10 is skipped"):
        assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-9")


# --- the clock, the disk ----------------------------------------------------------------------------------------------


def test_checkpoints_are_kept_by_step_and_only_whole_ones_count(tmp_path):
    """transformers sorts by time of change: after a clock was set back it would remove the newest."""
    for step in (100, 20, 30, 40, 9):
        folder = make_checkpoint(tmp_path, step)
        os.utime(folder, (2e9 - step, 2e9 - step))
    cut(tmp_path / "checkpoint-40" / "optimizer.pt")
    keep_newest(tmp_path, 100)
    assert KEPT == 2 and {path.name for path in tmp_path.iterdir()} == {"checkpoint-100", "checkpoint-30"}


@pytest.mark.parametrize("stale", [(), (90,)])
def test_the_checkpoint_that_other_processes_still_write_is_never_removed(tmp_path, stale):
    """Only the first process clears up, and it does not wait for the others. A damaged folder of a later step, left by an
    earlier run, does not make the one being written an old one."""
    for step in (10, 20, 30, 40):
        make_checkpoint(tmp_path, step)
    for step in stale:
        cut(make_checkpoint(tmp_path, step) / "optimizer.pt")
    newest = tmp_path / "checkpoint-40"
    with open(newest / "rng_state_1.pth", "wb") as file:  # of the second process
        data = (newest / "rng_state.pth").read_bytes()
        file.write(data[:99])
        file.flush()
        assert find_damage(newest)
        keep_newest(tmp_path, 40)
        file.write(data[99:])
    assert find_damage(newest) is None
    kept = {int(path.name.rpartition("-")[2]) for path in tmp_path.iterdir()}
    assert kept == {20, 30, 40, *stale}, "the two whole ones stay while the newest is not finished"


@pytest.mark.slow
def test_a_clock_set_back_loses_no_checkpoint_and_no_second(tmp_path, monkeypatch):
    class SetBack(TrainerCallback):
        """Each step an hour earlier than the last: what was written before seems to come from the future."""

        def on_step_begin(self, args, state, control, **kwargs):
            hours = STEPS - state.global_step
            monkeypatch.setattr(time, "time", lambda: 1.8e9 + 3600 * hours)
            for folder in tmp_path.glob("checkpoint-*"):
                os.utime(folder, (2e9 - 3600 * int(folder.name.rpartition("-")[2]),) * 2)

    trainer = make_zero_trainer(SMALL, tmp_path, max_steps=STEPS, save_steps=1)
    trainer.add_callback(SetBack())
    assert 0 < run_trainer(trainer)["seconds"] < 300
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {"checkpoint-5", "checkpoint-6"}


FULL_DISK = """
import subprocess, sys
from helpers import steps_of
from test_faults import train

try:
    train(sys.argv[1], max_steps=3)
except OSError as error:
    print("SAID", type(error).__name__, error)
subprocess.run(["mount", "-o", "remount,size=90m", sys.argv[1]], check=True)
print("STEPS", steps_of(train(sys.argv[1], max_steps=3, resume=True)["history"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("size, kept", [(3, "starts again"), (12, "starts again"), (30, "from checkpoint-1")])
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_when_there_is_room(size, kept, tmp_path):
    """A disk of a few megabytes: too small for the weights, for the optimizer, for a second checkpoint."""
    mount = f'mount -t tmpfs -o size={size}m full "$0" && exec "$@"'
    inside = ["unshare", "-rm", "bash", "-c", mount, str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("no small disk can be made here: it needs Linux and user namespaces")
    run = run_python("-c", FULL_DISK, tmp_path, before=inside)
    assert run.returncode == 0, run.stderr[-2000:]
    message = next(line for line in run.stdout.splitlines() if line.startswith("SAID"))
    assert "OSError" in message and "make room" in message and kept in message
    assert "STEPS [1, 2, 3]" in run.stdout


def test_a_log_that_cannot_be_written_leaves_the_old_one_whole(tmp_path, monkeypatch):
    write_json([1], tmp_path / "metrics.json")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_json([1, 2], tmp_path / "metrics.json")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == [1]


# --- two runs, no rights ----------------------------------------------------------------------------------------------


def lock(folder):
    with lock_folder(folder):
        time.sleep(600)


@needs_fork
def test_a_second_run_on_the_same_folder_refuses_until_the_first_is_dead(tmp_path, capsys):
    first = multiprocessing.get_context("fork").Process(target=lock, args=(tmp_path,))
    first.start()
    kept = make_checkpoint(tmp_path, 7)
    wait_for((tmp_path / ".lock").exists)
    time.sleep(0.2)
    try:
        assert main(["zero", "--output", str(tmp_path), "--steps", "1"]) == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith("r1lab: another run is writing to") and "\n" not in error
        assert kept.is_dir(), "the refused run removed the first one's checkpoint"
    finally:
        first.kill()
        first.join()
    # It is free again, and a stage may lock what its command has locked.
    with lock_folder(tmp_path), lock_folder(tmp_path):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_an_output_that_cannot_be_written_is_refused_before_the_work(capsys):
    assert main(["zero", "--output", "/proc/r1lab", "--steps", "1"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("r1lab: cannot write to the output folder /proc/r1lab") and "\n" not in error


# --- numbers that are none --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_run_and_spares_the_last_checkpoint(tmp_path, monkeypatch):
    calls, kernel = [], trainer_module.fused_grpo_loss

    def third_is_nan(*args, **options):
        calls.append(1)
        result = kernel(*args, **options)
        loss = result[0] if isinstance(result, tuple) else result
        loss.data.mul_(math.nan if len(calls) == 3 else 1)
        return result

    monkeypatch.setattr(trainer_module, "fused_grpo_loss", third_is_nan)
    with pytest.raises(FloatingPointError, match=r"loss is nan at step 3.*--resume from checkpoint-2$"):
        train(tmp_path)
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {"checkpoint-1", "checkpoint-2"}
    saved = load_file(tmp_path / "checkpoint-2" / "model.safetensors")
    assert all(weight.isfinite().all() for weight in saved.values())


@pytest.mark.slow
def test_weights_that_are_no_numbers_are_named(tmp_path):
    class Spoil(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **kwargs):
            if state.global_step == 2:
                model.model.embed_tokens.weight.data.fill_(math.nan)

    trainer = make_zero_trainer(SMALL, tmp_path, max_steps=4, save_steps=1)
    trainer.add_callback(Spoil())
    message = r"probabilities are no numbers.*--resume from checkpoint-2$"
    with pytest.raises(FloatingPointError, match=message):
        run_trainer(trainer)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_reward_that_is_no_number_is_named_and_none_is_left_alone(value):
    def mean_of_nothing(completions, **_):
        return [1.0, None, value]

    checked = FiniteReward(mean_of_nothing)
    assert checked.__name__ == "mean_of_nothing"
    with pytest.raises(ValueError, match=rf"'mean_of_nothing' gave {value} for the completion 'c'"):
        checked(completions=["a", "b", "c"])
    value = 0.5
    assert checked(completions=["a", "b", "c"]) == [1.0, None, 0.5]


# --- helpers killed, files corrupt ------------------------------------------------------------------------------------


def ask_and_kill(ask, victims):
    """The answer to `ask()`, whose helpers `victims()` are killed a moment after it was asked."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(ask()))
    thread.start()
    time.sleep(0.05)
    for pid in victims():
        os.kill(pid, signal.SIGKILL)
    thread.join(60)
    return answers[0]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")
@pytest.mark.parametrize("whole", [False, True], ids=["the fork that answers", "the whole worker"])
def test_a_verifier_killed_in_the_middle_of_an_answer_is_asked_again(whole, monkeypatch):
    """What the system kills (for memory, mostly) has given no verdict: a right answer stays right."""
    verifier = SymbolicVerifier(limit_s=10.0)
    verifier.service.start()
    frames, receive = [], verifier.service._receive
    monkeypatch.setattr(verifier.service, "_receive", lambda *a: frames.append(a[1:]) or receive(*a))
    pid = verifier.service.pid

    def victims():
        children = Path(f"/proc/{pid}/task/{pid}/children")
        wait_for(children.read_text)
        child = int(children.read_text().split()[0])
        return [child, pid] if whole else [child]

    # about a second of CPU the first time
    assert ask_and_kill(lambda: verifier.verify("\\sin^2(x)+\\cos^2(x)", "1"), victims) is True
    assert len([frame for frame in frames if frame]) == 2, "it was not killed in the middle"
    assert verifier.verify("5", "\\sqrt{25}") and not verifier.verify("5", "\\sqrt{24}")
    verifier.service.close()


@needs_fork
def test_a_sandbox_killed_in_the_middle_of_a_candidate_is_asked_again():
    sandbox = Sandbox()
    sandbox.start()
    slow = "def f(x):\n    for _ in range(3_000_000):\n        pass\n    return x + 1"
    assert ask_and_kill(lambda: sandbox.call(slow, "f", [[3]]), lambda: [sandbox.service.pid]) == [(True, 4)]
    sandbox.close()


@pytest.mark.parametrize("damage", [b'{"id": "x", "prom', b"\xff\xfe{}", b"[1, 2]", b"\n"])
def test_a_corrupt_problem_file_is_named_with_its_line(damage, tmp_path, monkeypatch):
    monkeypatch.setattr(problems.rows, "DATA", tmp_path)
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems" / "test.jsonl").write_bytes(b'{"id": "a"}\n{"id": "b"}\n' + damage)
    with pytest.raises(ValueError, match=r"test\.jsonl breaks off at line \d .*restore .* from git"):
        problems.load_problems("test")


# --- only numbers are loaded ------------------------------------------------------------------------------------------


class Payload:
    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def test_a_checkpoint_that_is_not_safetensors_is_not_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(find_model("tiny-base"), tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save({"lm_head.weight": Payload()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="damaged or incomplete"):
        load_policy(folder)
    assert not Path("ran").exists()


def test_no_file_of_ours_trusts_code_from_elsewhere_or_unpickles_or_holds_a_token():
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "notebooks").rglob("*.ipynb")]
    assert len(files) > 60
    forbidden = (
        r"trust_remote_code\W{0,3}\s*[=:]\s*True",
        r"\b(?:torch|pickle|joblib)\.loads?\(|use_safetensors\s*=\s*False",
        r"(?i)\bhf_[a-z0-9]{30,}|token\s*=\s*[\"'][^\"']{20,}",
    )
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not [pattern for pattern in forbidden if re.search(pattern, text)], path
