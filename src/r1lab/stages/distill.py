"""Distillation: SFT of a student on the teacher's traces, and the methods it is compared with at equal seconds.

DeepSeek-AI (2025) fine-tuned small models on 800,000 samples and reported that this beat reinforcement learning on the
small model itself. The idea is older (Hinton et al., 2015). In on-policy distillation the student samples, and the teacher
scores each token (Agarwal et al., 2024).

The seconds of a run are the cost of the student once the teacher exists: sampling from the teacher, grading, and training.
Loading, validation and the training of the teacher are not counted.
"""

import json
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from r1lab.policy import load_policy
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
from r1lab.stages.stopwatch import POINTS, Stopwatch
from r1lab.stages.zero import make_zero_trainer, zero_dataset

# Training problems that are sampled from the teacher, once each: a new problem teaches more than a second trace.
PROMPTS = 3000
# Of the teacher's sampling. Below 1, more of its traces are right and fewer are thrown away.
TEMPERATURE = 0.7
# At scale tiny. Validation accuracy no longer rises after the second epoch.
EPOCHS = 2
# Half of the other stages' batch, which makes twice as many steps of the same rows.
BATCH = 16
# Twice this rate was as good on easy and medium problems, and lost a fifth of the hard ones.
LEARNING_RATE = 1e-3
# Seconds of a run with a budget, when there is no run of `distill` whose seconds it could take.
BUDGET = 60.0
# More steps than any budget allows, because the clock ends these runs.
MANY_STEPS = 100_000
# The keys of a row of training data.
KEYS = ("id", "prompt", "language", "completion")


def sample_traces(
    scale: Scale, teacher: str | Path, *, prompts: int = PROMPTS, seed: int = 0
) -> list[dict[str, Any]]:
    """One trace of the teacher for each of `prompts` training problems: rows of KEYS and `correct`.

    correct: the answer in the tags is right, and the trace was not cut off at the token limit.
    """
    # Stage 1: the problems. Shuffled first, because `take_balanced` takes the first ones of each domain and level.
    problems = list(load_scale_problems(scale, "train"))
    random.Random(seed).shuffle(problems)
    # Stage 2: one graded completion of each.
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
    """The teacher's greedy reply to every general prompt that it was trained on: rows of KEYS."""
    # No filter follows, because the student should inherit what the teacher learned from its preferences.
    groups = sample_completions(
        load_policy(teacher),
        load_general("train", scale) + load_general("preference", scale),
        template=scale.template,
        temperature=0.0,
        max_new_tokens=scale.max_completion_tokens,
    )
    return [{key: row[key] for key in KEYS} for (row,) in groups if not row["truncated"]]


def keep_correct(traces: Iterable[dict]) -> list[dict]:
    """The traces that a student learns from: those that are correct and well formed."""
    return [row for row in traces if row["correct"] and parse_completion(row["completion"]).well_formed]


def drop_reasoning(rows: Iterable[dict]) -> list[dict]:
    """The same prompts and answers without the reasoning, for the control."""
    # Without the tags of the reasoning too: an empty thought would be a format that nobody uses.
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
    points: int = POINTS,
    budget: float | None = None,
    budget_factor: float = 1,
    **overrides: Any,
):
    """The trainer of a student.

    method: "sft" on the teacher's traces; "rl", the GRPO of R1-Zero on the student itself; "on-policy". overrides: fields of
    the method's config in TRL. points: of the learning curve. For "sft": `prompts` as in `sample_traces`; reasoning=False is
    the control that learns the answers alone. The other two end after `budget_factor` times the seconds of `equal_seconds`.
    Raises ValueError on another method.
    """
    # What the caller overrides comes last.
    overrides = {"seed": run.seed} | overrides
    if method == "sft":
        return make_sft_student(run, reasoning, prompts, points, overrides)
    run.facts["budget"] = budget_factor * equal_seconds(run.output, budget)
    run.stopwatch = Stopwatch(
        run.scale, run.output, budget=run.facts["budget"], points=points, resume=run.resume
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


def make_sft_student(run: Run, reasoning: bool, prompts: int, points: int, overrides: dict[str, Any]):
    """The SFT trainer of a student on the correct traces of the teacher, see `make_trainer`."""
    scale, teacher = run.scale, run.parents["align"]

    def sample() -> dict[str, Any]:
        started = time.perf_counter()
        traces = sample_traces(scale, teacher, prompts=prompts, seed=run.seed)
        general = sample_general(scale, teacher) if scale.problems == "tiny" else []
        seconds = round(time.perf_counter() - started, 1)
        return {"traces": traces, "general": general, "seconds": seconds}

    # Stage 1: the teacher's data. A resumed run loads them again if they were made with the same settings.
    made_with = {"teacher": Path(teacher).name, "seed": run.seed, "prompts": prompts}
    data = load_or_make(run.output / "traces.json", made_with, sample, resume=run.resume)
    # Stage 2: the traces that are worth learning from.
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
    # Stage 3: the trainer, with a clock that has counted the sampling already.
    run.stopwatch = Stopwatch(scale, run.output, spent=data["seconds"], points=points, resume=run.resume)
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
    """TRL's trainer of on-policy distillation. It uses the teacher's probabilities, and no reward or verifier."""
    from trl import DistillationTrainer

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
    # Runs of one machine and time are in one folder, so their seconds can be compared.
    record = output.parent / "distill" / RECORD
    if budget is None and record.is_file():
        budget = json.loads(record.read_text(encoding="utf-8"))["seconds"]
    return budget or BUDGET


def measure(run: Run, trainer, policy) -> dict[str, Any]:
    """Seconds of training alone, steps, the learning curve, and the share of general prompts that are answered well."""
    stopwatch = run.stopwatch
    # The clock of SFT began with the seconds of the teacher's sampling.
    training = round(stopwatch.spent, 1) - run.facts.get("sampling_seconds", 0.0)
    facts = {"training_seconds": round(training, 1), "steps": trainer.state.global_step}
    facts["curve"] = stopwatch.curve
    # A run without a curve should be quick, so this is skipped too. At other scales the student saw no general prompt.
    if run.scale.problems == "tiny" and stopwatch.points:
        report = report_general(policy, run.scale, max_new_tokens=run.scale.longest_answer)
        facts["general"] = report["overall"]
    return facts
