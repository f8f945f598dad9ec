"""Distillation: a student learns from the teacher's traces, and three other ways to spend the same seconds.

DeepSeek-AI (2025) fine-tuned small models on 800,000 samples and reported that this beat reinforcement learning on the
small model itself. The idea is older (Hinton et al., 2015). In on-policy distillation the student samples, and the teacher
scores each token (Agarwal et al., 2024).

The seconds of a run are what the student costs once the teacher exists: the teacher's sampling and grading, and training.
Loading, validation and the training of the teacher are not in them.
"""

import json
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from r1lab.policy import load_policy, set_threads
from r1lab.problems import load_general, load_scale_problems, take_balanced
from r1lab.prompts import ANSWER_CLOSE, ANSWER_OPEN, parse_completion
from r1lab.rollouts import sample_and_grade, sample_completions
from r1lab.scale import Scale
from r1lab.stages.callbacks import attach_log
from r1lab.stages.checkpoints import RECORD
from r1lab.stages.config import make_on_policy_args
from r1lab.stages.general_report import report_general
from r1lab.stages.grpo import load_trainable
from r1lab.stages.run_folder import load_or_make
from r1lab.stages.runner import Run
from r1lab.stages.sft import make_sft_trainer
from r1lab.stages.stopwatch import LOOKS, Stopwatch
from r1lab.stages.zero import make_zero_trainer, zero_dataset

# Training problems that the teacher solves, once each: a new problem teaches more than a second trace of the same one.
PROMPTS = 3000
# Of the teacher's sampling. Below 1 it shows its better habits, and fewer traces are thrown away.
TEMPERATURE = 0.7
# Validation accuracy no longer rises after the second epoch.
EPOCHS = 2
BATCH = 16
# Twice this rate is as good up to medium problems and loses a fifth of the hard ones.
LEARNING_RATE = 1e-3
# Seconds of a run that ends by the clock, where no run of `distill` was timed.
BUDGET = 60.0
# More steps than any budget allows. The clock ends these runs.
MANY_STEPS = 100_000
# What a row of training data holds.
KEYS = ("id", "prompt", "language", "completion")


def sample_traces(
    scale: Scale, teacher: str | Path, *, prompts: int = PROMPTS, seed: int = 0
) -> list[dict[str, Any]]:
    """One trace of the teacher for each of `prompts` training problems: rows of KEYS and `correct`.

    correct: solved, in the tags, and not cut off at the token limit.
    """
    # Shuffled first, because the balanced part takes the first problems of each domain and level.
    problems = list(load_scale_problems(scale, "train"))
    random.Random(seed).shuffle(problems)
    groups = sample_and_grade(
        load_policy(teacher),
        take_balanced(problems, prompts),
        require_tags=True,
        template=scale.template,
        temperature=TEMPERATURE,
        seed=seed,
        max_new_tokens=scale.max_completion_tokens,
    )
    return [
        {**{key: row[key] for key in KEYS}, "correct": row["correct"] and not row["truncated"]}
        for (row,) in groups
    ]


def sample_general(scale: Scale, teacher: str | Path) -> list[dict[str, Any]]:
    """The teacher's greedy reply to every general prompt that it was trained on: rows of KEYS.

    No filter looks at them, because the student is to inherit what the teacher learned from its preferences.
    """
    groups = sample_completions(
        load_policy(teacher),
        load_general("train", scale) + load_general("preference", scale),
        template=scale.template,
        temperature=0.0,
        max_new_tokens=scale.max_completion_tokens,
    )
    return [{key: row[key] for key in KEYS} for (row,) in groups if not row["truncated"]]


def keep_correct(traces: Iterable[dict]) -> list[dict]:
    """The traces that a student learns from: correct, and with both pairs of tags."""
    return [row for row in traces if row["correct"] and parse_completion(row["completion"]).well_formed]


def drop_reasoning(rows: Iterable[dict]) -> list[dict]:
    """The same prompts and answers without the reasoning: what the control learns from."""
    return [
        {**row, "completion": f"{ANSWER_OPEN}{parse_completion(row['completion']).answer}{ANSWER_CLOSE}"}
        for row in rows
    ]


def make_trainer(
    run: Run,
    *,
    method: str = "sft",
    reasoning: bool = True,
    prompts: int = PROMPTS,
    looks: int = LOOKS,
    budget: float | None = None,
    longer: float = 1,
    **overrides: Any,
):
    """The trainer of a student.

    method: "sft" on the teacher's traces; "rl", the GRPO of R1-Zero on the student itself; "on-policy". overrides: fields of
    the method's config in TRL. looks: points of the learning curve. For "sft": `prompts` as in `sample_traces`;
    reasoning=False is the control that learns the answers alone. The other two end after `longer` times the seconds of
    `equal_seconds`.
    """
    # What the caller overrides comes last.
    overrides = {"seed": run.seed} | overrides
    if method == "sft":
        return make_sft_student(run, reasoning, prompts, looks, overrides)
    run.facts["budget"] = longer * equal_seconds(run.output, budget)
    run.stopwatch = Stopwatch(
        run.scale, run.output, budget=run.facts["budget"], looks=looks, resume=run.resume
    )
    # The other methods end by the clock, so that all of them cost the same.
    overrides = {"max_steps": MANY_STEPS} | overrides
    if method == "rl":
        run.summary = "the rewards of R1-Zero, no teacher"
        start = run.parents["student_base"]
        trainer = make_zero_trainer(run.scale, run.output, model=start, show=run.show, **overrides)
    elif method == "on-policy":
        run.summary = "on-policy, reverse KL to the teacher"
        trainer = make_on_policy_trainer(run, overrides)
    else:
        raise ValueError(f"there is no method {method!r} of distillation: choose sft, rl or on-policy")
    trainer.add_callback(run.stopwatch)
    return trainer


def make_sft_student(run: Run, reasoning: bool, prompts: int, looks: int, overrides: dict[str, Any]):
    """The SFT trainer of a student on the correct traces of the teacher, see `make_trainer`."""
    scale, teacher = run.scale, run.parents["align"]

    def sample() -> dict[str, Any]:
        started = time.perf_counter()
        traces = sample_traces(scale, teacher, prompts=prompts, seed=run.seed)
        general = sample_general(scale, teacher) if scale.problems == "tiny" else []
        seconds = round(time.perf_counter() - started, 1)
        return {"traces": traces, "general": general, "seconds": seconds}

    # Stage 1: the teacher's data. A resumed run finds them again.
    made_with = {"teacher": Path(teacher).name, "seed": run.seed, "prompts": prompts}
    # If one of these differs, the kept data are another run's.
    data = load_or_make(run.output / "traces.json", made_with, sample, resume=run.resume)
    traces = keep_correct(data["traces"])
    count, general = len(data["traces"]), data["general"]
    if not traces:
        raise ValueError(
            f"none of the teacher's {count} traces is right: check the checkpoint of stage align"
        )
    run.facts |= {
        "prompts": count,
        "rows": len(traces),
        "general_rows": len(general),
        "teacher_accuracy_on_train": round(sum(row["correct"] for row in data["traces"]) / count, 4),
        "sampling_seconds": data["seconds"],
    }
    content = "right traces" if reasoning else "right answers, without the reasoning,"
    run.summary = (
        f"{len(traces):,} {content} that the teacher sampled for {count:,} training problems and "
        f"its {len(general)} replies to general prompts"
    )
    # Stage 2: the trainer, with a clock that has counted the sampling already.
    run.stopwatch = Stopwatch(scale, run.output, spent=data["seconds"], looks=looks, resume=run.resume)
    if scale.name == "tiny":
        tiny = {"num_train_epochs": EPOCHS, "learning_rate": LEARNING_RATE}
        overrides = tiny | {"per_device_train_batch_size": BATCH} | overrides
    return make_sft_trainer(
        scale,
        run.output,
        rows=(traces if reasoning else drop_reasoning(traces)) + general,
        model=run.parents["student_base"],
        show=run.show,
        callbacks=[run.stopwatch],
        **overrides,
    )


def make_on_policy_trainer(run: Run, overrides: dict[str, Any]):
    """TRL's trainer of on-policy distillation: no reward and no verifier, only the teacher's probabilities."""
    from trl import DistillationTrainer

    set_threads()
    # Both have the same tokens, or their probabilities could not be compared token by token.
    student, tokenizer = load_trainable(run.scale, run.parents["student_base"])
    teacher, _ = load_trainable(run.scale, run.parents["align"])
    trainer = DistillationTrainer(
        model=student,
        teacher_model=teacher,
        processing_class=tokenizer,
        args=make_on_policy_args(run.scale, run.output, **overrides),
        train_dataset=zero_dataset(run.scale).select_columns("prompt"),
    )
    attach_log(trainer, run.show)
    return trainer


def equal_seconds(output: Path, budget: float | None = None) -> float:
    """`budget`, or the seconds of the run of `distill` beside `output`, or BUDGET."""
    record = output.parent / "distill" / RECORD
    if budget is None and record.is_file():
        budget = json.loads(record.read_text(encoding="utf-8"))["seconds"]
    return budget or BUDGET


def measure(run: Run, trainer, policy) -> dict[str, Any]:
    """The seconds of training alone, the learning curve, and the share of general prompts that the student answers well."""
    watch = run.stopwatch
    # The clock of SFT began with the seconds of the teacher's sampling.
    training = round(watch.spent, 1) - run.facts.get("sampling_seconds", 0.0)
    facts = {"training_seconds": round(training, 1), "steps": trainer.state.global_step, "curve": watch.curve}
    # A run without a curve is a quick one, so this is skipped too. At other scales the student saw no general prompt.
    if run.scale.problems == "tiny" and watch.looks:
        report = report_general(policy, run.scale, max_new_tokens=run.scale.longest_answer)
        facts["general"] = report["overall"]
    return facts
