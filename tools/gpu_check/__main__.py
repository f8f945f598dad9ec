"""`make gpu-check`: what this project claims about a GPU, measured on one in at most eight minutes.

Each step runs in a process of its own, under its own time limit, and writes its JSON after every figure. A step that fails
or runs out of time is recorded with its reason, and the next one begins. At the end the check prints the claims that held
and those that did not, and draws a picture.

    make gpu-check                           all steps, into data/runs/gpu-*.json
    make gpu-check ONLY="speed qwen3"        some of them
    GPU_CHECK_DEVICE=cpu make gpu-check      a rehearsal at tiny sizes, into build/gpu-rehearsal

A rehearsal runs the same lines on a CPU, so that no minute of a GPU is spent on a typing error. Its figures mean nothing.
Each step has a file of its own beside this one.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from datetime import date
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from r1lab.files import write_json

ROOT = Path(__file__).resolve().parents[2]
DEVICE = os.environ.get("GPU_CHECK_DEVICE", "cuda")
FOLDER = ROOT / ("data/runs" if DEVICE == "cuda" else "build/gpu-rehearsal")
QUIET = {
    "PYTHONWARNINGS": "ignore",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "HF_HUB_OFFLINE": "1",
    "R1LAB_SCALE": "tiny",
}
QUIET |= {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")}
PACKAGES = ("torch", "triton", "transformers", "trl", "peft", "datasets", "accelerate")


@dataclass(frozen=True)
class Step:
    """Measurements that run at the same time, and the seconds they may take. A rehearsal on a CPU may take 600."""

    names: tuple[str, ...]
    limit: int
    about: str

    @property
    def seconds(self) -> int:
        return self.limit if DEVICE == "cuda" else 600


STEPS = (
    Step(("correctness",), 45, "the kernel against float64, every loss and dtype"),
    Step(("speed",), 120, "the kernel at the shapes of Qwen3-4B against TRL and full logits"),
    Step(("zero-float32", "zero-bfloat16"), 110, "R1-Zero of the tiny world, in two precisions side by side"),
    Step(("qwen3",), 115, "a GRPO step of Qwen3-4B's size, random weights"),
    Step(("smollm2",), 90, "SmolLM2-135M, if its weights are here: GRPO on stories"),
)


class Record:
    """One step's JSON file, written again after every change, so that a killed step keeps what it had measured."""

    def __init__(self, name: str, folder: Path):
        self.path = folder / f"gpu-{name}.json"
        self.data = {
            "step": name,
            "date": date.today().isoformat(),
            "command": "make gpu-check",
            "finished": False,
        }
        self.data |= {"machine": machine(), "claims": [], "measurements": []}

    def add(self, **measurement) -> None:
        """Keep one measurement and print it."""
        self.data["measurements"].append(measurement)
        print("  " + ", ".join(f"{key} {show(value)}" for key, value in measurement.items()), flush=True)
        self.write()

    def claim(self, text: str, holds: bool, measured: str) -> None:
        """Keep a claim of the project and whether it held."""
        self.data["claims"].append({"claim": text, "measured": measured, "holds": bool(holds)})
        self.write()

    def write(self) -> None:
        """Write the file in one move: a reader never sees half of it."""
        write_json(self.data, self.path)


def show(value) -> str:
    return (
        f"{value:.4g}" if isinstance(value, float) else str(value) if not isinstance(value, list) else "[...]"
    )


def machine() -> dict:
    """The device and the package versions behind the figures."""
    import torch

    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    if DEVICE != "cuda":
        return {"device": "a CPU (rehearsal)", "packages": packages}
    card = torch.cuda.get_device_properties(0)
    memory = round(card.total_memory / 2**30, 1)
    return {"device": card.name, "memory_gib": memory, "cuda": torch.version.cuda, "packages": packages}


def measurement(name: str):
    """The function behind a name. What it imports (torch, TRL) is loaded in its own process only."""
    module, _, dtype = name.partition("-")
    function = getattr(import_module(f"gpu_check.{module}"), module)
    return partial(function, dtype=dtype) if dtype else function


def run_one(name: str, folder: Path) -> int:
    """Run a measurement in this process; its failure goes into its file."""
    record, start = Record(name, folder), time.monotonic()
    record.write()
    try:
        measurement(name)(record, DEVICE)
        record.data["finished"] = True
    except Exception as error:
        record.data["error"] = f"{type(error).__name__}: {error}"[:2000]
        traceback.print_exc()
    record.data["seconds"] = round(time.monotonic() - start, 1)
    record.write()
    return 0 if record.data["finished"] else 1


def run_step(step: Step, folder: Path) -> None:
    """Start a step's measurements side by side and wait for them, no longer than the step may take."""
    print(f"== {' + '.join(step.names)}: {step.about} (at most {step.seconds} s)", flush=True)
    started = time.monotonic()
    running = {}
    for name in step.names:
        (folder / f"gpu-{name}.json").unlink(missing_ok=True)  # it is not of this run
        running[name] = subprocess.Popen(
            command(name, folder), start_new_session=True, env={**os.environ, **QUIET}
        )
    for name, process in running.items():
        reason = "the process ended with {}"
        try:
            process.wait(max(0.1, step.seconds - (time.monotonic() - started)))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            reason = f"stopped after its {step.seconds} s"
        if process.returncode:
            explain(folder, name, reason.format(process.returncode))


def command(name: str, folder: Path) -> list[str]:
    """What starts a measurement's process."""
    return [sys.executable, "-m", "gpu_check", "--measure", name, "--output", str(folder)]


def explain(folder: Path, name: str, reason: str) -> None:
    """Write into a measurement's file why it did not finish, unless the file has a reason already."""
    path = folder / f"gpu-{name}.json"
    data = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"step": name, "claims": []}
    write_json({**data, "error": data.get("error", reason)}, path)


def verdict(folder: Path, names: list[str]) -> bool:
    """Whether every measurement finished. Prints which claims held and which did not."""
    records = [json.loads((folder / f"gpu-{name}.json").read_text(encoding="utf-8")) for name in names]
    claims = [claim for record in records for claim in record["claims"]]
    for title, wanted in (("Held", True), ("Did not hold", False)):
        chosen = [claim for claim in claims if claim["holds"] is wanted]
        print(f"\n{title}: {len(chosen)} of {len(claims)} claims")
        print("".join(f"  {claim['claim']}: {claim['measured']}\n" for claim in chosen), end="")
    unfinished = [record for record in records if not record.get("finished")]
    skipped = [record for record in records if record.get("skipped")]
    if unfinished or skipped:
        print("\nNot measured, or not to the end:")
    print(
        "".join(f"  {record['step']}: {record.get('error', 'no reason')}\n" for record in unfinished), end=""
    )
    print("".join(f"  {record['step']}: {record['skipped']}\n" for record in skipped), end="")
    return not unfinished


def main() -> int:
    """The exit status: 1 if a step did not finish. Runs the chosen steps in order and prints which claims held."""
    parser = argparse.ArgumentParser(description="What this project claims about a GPU, measured on one.")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the measurements")
    parser.add_argument(
        "--output", type=Path, default=FOLDER, help="folder of the JSON files and the picture"
    )
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # what the processes are started with
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.measure:
        return run_one(options.measure, options.output)
    import torch

    if DEVICE == "cuda" and not torch.cuda.is_available():
        print(
            "There is no CUDA device here. To rehearse on the CPU: GPU_CHECK_DEVICE=cpu make gpu-check",
            file=sys.stderr,
        )
        return 2
    every = [name for step in STEPS for name in step.names]
    names = options.only or every
    if unknown := sorted(set(names) - set(every)):
        print(f"unknown measurement {unknown[0]!r}: choose from {', '.join(every)}", file=sys.stderr)
        return 2
    started = time.monotonic()
    for step in STEPS:
        chosen = tuple(name for name in step.names if name in names)
        if chosen:
            run_step(Step(chosen, step.limit, step.about), options.output)
    finished = verdict(options.output, names)
    from gpu_check.picture import draw

    picture = draw(options.output)
    print(f"\n{time.monotonic() - started:.0f} s in all; files in {options.output}, picture {picture.name}")
    if DEVICE != "cuda":
        print("This was a rehearsal on a CPU: the figures mean nothing.")
    return 0 if finished else 1


if __name__ == "__main__":
    sys.exit(main())
