"""R1-Zero of the tiny world on a GPU: does it learn as on a CPU, and how fast?"""

import json
import math
import tempfile
import time
from dataclasses import replace

import torch

from r1lab.scale import DATA, get_scale

MARKS = (40, 60, 80, 100, 130)  # steps after which the policy is evaluated


def zero(record, device: str, dtype: str) -> None:
    """Accuracy of the tiny R1-Zero over the seconds of its training, without the seconds of the evaluations."""
    began = time.perf_counter()
    from r1lab.evaluation import evaluate
    from r1lab.policy import Policy
    from r1lab.problems import load_problems, take_balanced
    from r1lab.stages.runner import run_trainer
    from r1lab.stages.zero import make_zero_trainer

    gpu = device == "cuda"
    scale = replace(get_scale("tiny"), dtype=dtype, **({} if gpu else {"steps": 2}))
    problems = take_balanced(load_problems("validation"), 200 if gpu else 8)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_zero_trainer(scale, folder, seed=0, use_cpu=not gpu, save_strategy="no")
        policy = Policy(trainer.model, trainer.processing_class)

        def test_policy(step: int, seconds: float) -> None:
            report = evaluate(
                policy, problems, greedy=False, samples=2, ks=(), max_new_tokens=scale.longest_answer
            )
            accuracy = report["overall"]["sampled_accuracy"]["value"]
            record.add(step=step, training_seconds=seconds, sampled_accuracy=accuracy)

        # Of the step's 110 seconds, the imports before this function take 5 and the test after the training 20.
        until = began + 80 if gpu else math.inf
        trainer.add_callback(clock(test_policy, MARKS if gpu else (2,), until))
        run_trainer(trainer)
        test = load_problems("test")[: None if gpu else 8]
        report = evaluate(policy, test, samples=2 if gpu else 1, ks=(), max_new_tokens=scale.longest_answer)
    overall = report["overall"]
    rewards = [row["reward"] for row in trainer.state.log_history if "reward" in row]
    record.add(steps=trainer.state.global_step, rewards=rewards, **{
        name: overall[name]["value"] for name in ("greedy_accuracy", "sampled_accuracy", "format_rate")
    })  # fmt: skip
    low = cpu_lowest()
    value = overall["sampled_accuracy"]["value"]
    record.claim(
        f"R1-Zero in {dtype} learns as on a CPU: sampled accuracy of at least {low:.1%} after {scale.steps} steps",
        low <= value,
        f"{value:.1%} after {trainer.state.global_step}",
    )


def cpu_lowest() -> float:
    """The lowest end of the intervals of the committed CPU runs, sampled accuracy on the test problems."""
    runs = [json.loads(path.read_text()) for path in sorted((DATA / "runs").glob("zero-[0-9].json"))]
    return min(run["report"]["overall"]["sampled_accuracy"]["low"] for run in runs)


def clock(after_step, marks, until: float = math.inf):
    """A callback that adds up the seconds of training steps, calls `after_step` after the steps in `marks`, and ends the run when
    `time.perf_counter` passes `until`."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        spent, began = 0.0, 0.0

        def on_step_begin(self, args, state, control, **_):
            Clock.began = time.perf_counter()

        def on_step_end(self, args, state, control, **_):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            Clock.spent += time.perf_counter() - Clock.began
            if state.global_step in marks:
                after_step(state.global_step, round(Clock.spent, 2))
            control.should_training_stop |= time.perf_counter() > until

    return Clock()
