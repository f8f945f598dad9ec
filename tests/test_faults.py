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
import sys
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from r1lab import problems
from r1lab.cli import main
from r1lab.files import write_json
from r1lab.rewards.verify.sandbox import Sandbox
from r1lab.rewards.verify.symbolic import SymbolicVerifier
from r1lab.scale import SCALES
from r1lab.stages.callbacks import FiniteReward
from r1lab.stages.run_folder import KEPT, find_damage, keep_newest, last_checkpoint, lock_folder

ROOT = Path(__file__).parents[1]
SMALL = replace(SCALES["tiny"], groups=2, group_size=4, max_completion_tokens=48)
STEPS, KILLS = 6, 10
TIMES = re.compile(r"time|runtime|per_second")  # what a log holds of the clock
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")


# --- killed in the middle ---------------------------------------------------------------------------------------------


def train(output, resume=False, **options):
    from r1lab.stages.runner import train_stage

    return train_stage(
        "zero", SMALL, output, resume=resume, **{"max_steps": STEPS, "save_steps": 1, **options}
    )


@pytest.fixture(scope="module")
def processes():
    """Makes processes that have imported torch and trl already: a start costs a fork."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["r1lab.stages.trainer", "r1lab.stages.zero"])
    with pytest.MonkeyPatch.context() as patch:  # the server is started by the first process and keeps this
        patch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT / 'tests'}")
        yield context.Process


def metrics(folder):
    """The steps in the log of a run so far, without what the clock says (and without the summary, which is about the
    steps since the last start)."""
    path = folder / "metrics.json"
    rows = json.loads(path.read_text()) if path.is_file() else []
    return [
        {name: value for name, value in row.items() if not TIMES.search(name)}
        for row in rows
        if "reward" in row
    ]


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
    assert process.exitcode == 0
    whole = metrics(tmp_path / "whole")
    assert [row["step"] for row in whole] == [*range(1, STEPS + 1)]

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
        died, half = (
            len(metrics(folder)),
            [path.name for path in folder.glob("checkpoint-*") if find_damage(path)],
        )
        with warnings.catch_warnings(action="ignore"):
            checkpoint = Path(last_checkpoint(folder) or "the start").name
        process = begin(folder, resume=True)
        process.join()
        assert process.exitcode == 0
        same = metrics(folder) == whole, same_bytes(folder, tmp_path / "whole")
        print(f"| {step} + {part:.2f} | {died} | {half or '-'} | {checkpoint} | {same} |")
        assert same == (True, True)
        assert not any(map(find_damage, folder.glob("checkpoint-*")))
        shutil.rmtree(folder)
    assert killed >= KILLS - 2  # one or two may have been quicker than we


@pytest.mark.slow
def test_a_run_killed_after_its_last_checkpoint_takes_no_step_too_many(tmp_path):
    train(tmp_path, max_steps=2)
    whole, weights = metrics(tmp_path), (tmp_path / "model.safetensors").read_bytes()
    for name in ("model.safetensors", "stage.json"):
        (tmp_path / name).unlink()
    run = train(tmp_path, resume=True, max_steps=2)
    assert metrics(tmp_path) == whole and len(whole) == 2 == run["trainer"].state.global_step
    assert (tmp_path / "model.safetensors").read_bytes() == weights
    assert len(train(tmp_path, resume=True, max_steps=3)["history"]) > len(whole), "more steps were asked for"


def same_bytes(one, other):
    return (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_checkpoint_cut_in_half_is_passed_over_and_the_end_is_the_same(tmp_path):
    whole = train(tmp_path)
    weights = (tmp_path / "model.safetensors").read_bytes()
    cut(tmp_path / f"checkpoint-{STEPS}" / "model.safetensors")
    with pytest.warns(UserWarning, match=rf"checkpoint-{STEPS} is skipped: model\.safetensors is cut off"):
        again = train(tmp_path, resume=True)
    rewards = [[row["reward"] for row in run["history"] if "reward" in row] for run in (whole, again)]
    assert rewards[0] == rewards[1] and len(rewards[0]) == STEPS
    assert (tmp_path / "model.safetensors").read_bytes() == weights


def cut(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def make_checkpoint(output, step):
    import torch
    from safetensors.torch import save_file

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


SLOW_WRITER = """
import sys, time
from pathlib import Path
part, rank = Path(sys.argv[1]), sys.argv[2]
data = (part / "rng_state.pth").read_bytes()
with open(part / f"rng_state_{rank}.pth", "wb") as file:
    file.write(data[:99])
    file.flush()
    print("half", flush=True)
    sys.stdin.readline()
    file.write(data[99:])
"""


@pytest.mark.parametrize("stale", [(), (90,)])
def test_the_checkpoint_that_other_processes_still_write_is_never_removed(tmp_path, stale):
    """Only the first process clears up, and it does not wait for the others. A damaged folder of a later step, left by an
    earlier run, does not make the one being written an old one."""
    for step in (10, 20, 30, 40):
        make_checkpoint(tmp_path, step)
    for step in stale:
        cut(make_checkpoint(tmp_path, step) / "optimizer.pt")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", SLOW_WRITER, str(tmp_path / "checkpoint-40"), str(rank)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (1, 2)
    ]
    try:
        assert [writer.stdout.readline() for writer in writers] == ["half\n"] * 2
        assert find_damage(tmp_path / "checkpoint-40")
        keep_newest(tmp_path, 40)
    finally:
        for writer in writers:
            writer.communicate("go on\n")
    assert [writer.returncode for writer in writers] == [0, 0]
    assert find_damage(tmp_path / "checkpoint-40") is None
    kept = {int(path.name.rpartition("-")[2]) for path in tmp_path.iterdir()}
    assert kept == {20, 30, 40, *stale}, "the two whole ones stay while the newest is not finished"


@pytest.mark.slow
def test_a_clock_set_back_loses_no_checkpoint_and_no_second(tmp_path, monkeypatch):
    from transformers import TrainerCallback

    from r1lab.stages.runner import run_trainer
    from r1lab.stages.zero import make_zero_trainer

    class SetBack(TrainerCallback):
        """Each step an hour earlier than the last: what was written before seems to come from the future."""

        def on_step_begin(self, args, state, control, **kwargs):
            hours = STEPS - state.global_step
            monkeypatch.setattr(time, "time", lambda: 1.8e9 + 3600 * hours)
            for folder in tmp_path.glob("checkpoint-*"):
                step = int(folder.name.rpartition("-")[2])
                os.utime(folder, (2e9 - 3600 * step,) * 2)

    trainer = make_zero_trainer(SMALL, tmp_path, max_steps=STEPS, save_steps=1)
    trainer.add_callback(SetBack())
    run = run_trainer(trainer)
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {
        f"checkpoint-{s}" for s in (STEPS - 1, STEPS)
    }
    assert 0 < run["seconds"] < 300


FULL_DISK = """
import subprocess, sys
from test_faults import train
from r1lab.stages.run_folder import last_checkpoint

try:
    train(sys.argv[1], max_steps=3)
except OSError as error:
    print("SAID", type(error).__name__, error)
subprocess.run(["mount", "-o", "remount,size=90m", sys.argv[1]], check=True)
run = train(sys.argv[1], max_steps=3, resume=True)
print("STEPS", [row["step"] for row in run["history"] if "reward" in row])
"""


@pytest.mark.slow
@pytest.mark.parametrize("size, kept", [(3, "starts again"), (12, "starts again"), (30, "from checkpoint-1")])
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_when_there_is_room(size, kept, tmp_path):
    """A disk of a few megabytes: too small for the weights, for the optimizer, for a second checkpoint."""
    mount = f'mount -t tmpfs -o size={size}m full "$0" && exec "$@"'
    inside = ["unshare", "-rm", "bash", "-c", mount, str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("no small disk can be made here: it needs Linux and user namespaces")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}
    run = subprocess.run(
        [*inside, sys.executable, "-c", FULL_DISK, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
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
        message = capsys.readouterr().err.strip()
        assert message.startswith("r1lab: another run is writing to") and "\n" not in message
        assert kept.is_dir(), "the refused run removed the first one's checkpoint"
    finally:
        first.kill()
        first.join()
    # It is free again, and a stage may lock what its command has locked.
    with lock_folder(tmp_path), lock_folder(tmp_path):
        pass


@pytest.mark.parametrize("folder", ["/proc/r1lab", "read-only"])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(folder, tmp_path, capsys, monkeypatch):
    if folder == "read-only":
        (tmp_path / folder).mkdir(mode=0o500)
        folder = str(tmp_path / folder)
        if os.access(folder, os.W_OK):
            pytest.skip("root may write anywhere")
    elif not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    assert main(["zero", "--output", folder, "--steps", "1"]) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith(f"r1lab: cannot write to the output folder {folder}") and "\n" not in message


# --- numbers that are none --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_run_and_spares_the_last_checkpoint(tmp_path, monkeypatch):
    from safetensors.torch import load_file

    from r1lab.stages import trainer as module

    calls, kernel = [], module.fused_grpo_loss

    def third_is_nan(*args, **options):
        calls.append(1)
        result = kernel(*args, **options)
        loss = result[0] if isinstance(result, tuple) else result
        loss.data.mul_(math.nan if len(calls) == 3 else 1)
        return result

    monkeypatch.setattr(module, "fused_grpo_loss", third_is_nan)
    with pytest.raises(FloatingPointError, match=r"loss is nan at step 3.*--resume from checkpoint-2$"):
        train(tmp_path)
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {"checkpoint-1", "checkpoint-2"}
    weights = load_file(tmp_path / "checkpoint-2" / "model.safetensors")
    assert all(weight.isfinite().all() for weight in weights.values())


@pytest.mark.slow
def test_weights_that_are_no_numbers_are_named(tmp_path):
    from transformers import TrainerCallback

    from r1lab.stages.runner import run_trainer
    from r1lab.stages.zero import make_zero_trainer

    class Spoil(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **kwargs):
            if state.global_step == 2:
                model.model.embed_tokens.weight.data.fill_(math.nan)

    trainer = make_zero_trainer(SMALL, tmp_path, max_steps=4, save_steps=1)
    trainer.add_callback(Spoil())
    with pytest.raises(
        FloatingPointError, match=r"probabilities are no numbers.*--resume from checkpoint-2$"
    ):
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


def child(pid):
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")
@pytest.mark.parametrize("whom", ["the fork that answers", "the whole worker"])
def test_a_verifier_killed_in_the_middle_of_an_answer_is_asked_again(whom, monkeypatch):
    """What the system kills (for memory, mostly) has given no verdict: a right answer stays right."""
    verifier = SymbolicVerifier(limit_s=10.0)
    verifier.service.start()
    frames, receive = [], verifier.service._receive
    monkeypatch.setattr(verifier.service, "_receive", lambda *a: frames.append(a[1:]) or receive(*a))
    pid = verifier.service.pid
    # about a second of CPU the first time
    right = ask_and_kill(
        lambda: verifier.verify("\\sin^2(x)+\\cos^2(x)", "1"),
        lambda: [child(pid), pid][: 2 if whom == "the whole worker" else 1],
    )
    assert right is True
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
    import torch

    from r1lab.policy import find_model, load_policy

    monkeypatch.chdir(tmp_path)
    folder = shutil.copytree(find_model("tiny-base"), tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save({"lm_head.weight": Payload()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="damaged or incomplete"):
        load_policy(folder)
    assert not Path("ran").exists()


def test_no_file_of_ours_trusts_code_from_elsewhere_or_unpickles():
    texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")}
    texts |= {path: path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").rglob("*.ipynb")}
    assert len(texts) > 60
    for path, text in texts.items():
        assert not re.search(r"trust_remote_code\W{0,3}\s*[=:]\s*True", text), path
        assert not re.search(r"\b(?:torch|pickle|joblib)\.loads?\(|use_safetensors\s*=\s*False", text), path
        assert not re.search(r"(?i)\bhf_[a-z0-9]{30,}|token\s*=\s*[\"'][^\"']{20,}", text), (
            f"a token in {path}"
        )
