"""Distillation: a student learns from the teacher's traces, and three other ways to spend the same seconds.

DeepSeek-AI (2025) fine-tuned small models on 800,000 samples of R1 and reported that this beat reinforcement learning
on the small model itself. Hinton et al. (2015) named the idea; Agarwal et al. (2024) let the student write and the
teacher score. The clock of every arm counts what the student costs once the teacher exists: the teacher's sampling
and grading, and training. Loading, validation and the teacher's own training are not in it.
"""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from r1lab.evaluation import evaluate, evaluate_general
from r1lab.files import write_json
from r1lab.policy import Policy, load_policy, set_threads
from r1lab.problems import load_general, load_scale_problems, take_balanced
from r1lab.prompts import ANSWER_CLOSE, ANSWER_OPEN, parse_completion, render_prompt
from r1lab.rewards import grade_many
from r1lab.scale import Scale
from r1lab.stages.checkpoints import RECORD, find_parents, save_stage
from r1lab.stages.grpo import MetricsLog, build_config, load_trainable, machine_args, run_trainer

PROMPTS = 3000  # the teacher answers so many training problems, once each: new prompts teach more than second answers
TEMPERATURE = 0.7  # of the teacher: its better habits, and fewer traces to throw away
EPOCHS = 2  # validation accuracy is flat after the second
BATCH = 16
LEARNING_RATE = 1e-3  # twice that is as good up to medium problems and loses a fifth of the hard ones
LONGER = 3  # times the seconds, for the rival that gets more
BUDGET = 60.0  # seconds of an arm that is stopped by the clock, unless the caller measured `distill` and says
ON_POLICY_RATE = 1e-3
MANY_STEPS = 100_000  # more than any budget allows: the clock ends these runs
LOOKS = 6  # at validation during a run
LOOKED_AT = 160  # problems of the validation split


class Stopwatch(TrainerCallback):
    """Counts the seconds of a training, looks at validation with the clock stopped, and ends it when `budget` is spent.

    `curve` holds rows of step, seconds, greedy and sampled accuracy. tokenizer: None means the trainer's. spent: seconds
    used before training. With every checkpoint the state goes to `folder`, and `resume` takes it up again.
    """

    def __init__(
        self,
        scale: Scale,
        tokenizer,
        folder: Path,
        *,
        spent: float = 0.0,
        budget: float | None = None,
        looks: int = LOOKS,
        resume: bool = False,
    ):
        self.scale, self.tokenizer, self.path = scale, tokenizer, folder / "watch.json"
        self.spent, self.budget, self.looks, self.curve = spent, budget, looks, []
        if resume and self.path.is_file():
            saved = json.loads(self.path.read_text(encoding="utf-8"))
            self.spent, self.curve = saved["spent"], saved["curve"]
        self.problems = take_balanced(load_scale_problems(scale, "validation"), LOOKED_AT)

    @property
    def seconds(self) -> float:
        return self.spent + time.perf_counter() - self.started

    def look(self, model, step: int) -> None:
        """One point of the curve; what it takes is given back to the clock."""
        if not self.looks:
            return
        seconds, began = self.seconds, time.perf_counter()
        report = evaluate(
            Policy(model, self.tokenizer),
            self.problems,
            samples=2,
            template=self.scale.template,
            max_new_tokens=self.scale.longest_answer,
        )["overall"]
        accuracy = {how: report[f"{how}_accuracy"]["value"] for how in ("greedy", "sampled")}
        self.curve.append({"step": step, "seconds": round(seconds, 1), **accuracy})
        self.started += time.perf_counter() - began

    def on_train_begin(self, args, state, control, model=None, processing_class=None, **kwargs):
        self.tokenizer = self.tokenizer or processing_class
        self.started = time.perf_counter()
        if not self.curve:
            self.look(model, state.global_step)

    def on_step_end(self, args, state, control, model=None, **kwargs):
        done = state.global_step / state.max_steps
        if self.budget:
            done = max(done, self.seconds / self.budget)
        if done >= 1 or done * self.looks >= len(self.curve):
            self.look(model, state.global_step)
        if done >= 1:
            control.should_training_stop = True

    def on_save(self, args, state, control, **kwargs):
        write_json({"spent": self.seconds, "curve": self.curve}, self.path)

    def on_train_end(self, args, state, control, **kwargs):
        self.spent, self.started = self.seconds, time.perf_counter()


# ------------------------------------------------------------------------------------------------ the teacher writes
def write_traces(
    scale: Scale, teacher: str | Path, *, prompts: int = PROMPTS, seed: int = 0
) -> list[dict[str, Any]]:
    """The teacher answers `prompts` training problems once each at TEMPERATURE.

    Returns rows of id, prompt, language, completion, and correct: solved, in the tags, and not cut off.
    """
    problems = list(load_scale_problems(scale, "train"))
    random.Random(seed).shuffle(problems)
    problems = take_balanced(problems, prompts)
    asked = [
        render_prompt(row["prompt"], template=scale.template, language=row["language"]) for row in problems
    ]
    drawn = load_policy(teacher).generate(
        asked, temperature=TEMPERATURE, max_new_tokens=scale.max_completion_tokens, seed=seed
    )
    samples = [one for (one,) in drawn]
    right = grade_many([sample.text for sample in samples], problems, require_tags=True)
    return [
        {key: row[key] for key in ("id", "prompt", "language")}
        | {"completion": sample.text, "correct": bool(solved and not sample.truncated)}
        for row, sample, solved in zip(problems, samples, right, strict=True)
    ]


def write_general(scale: Scale, teacher: str | Path) -> list[dict[str, Any]]:
    """The teacher's most likely reply to every general prompt it was trained on: rows of id, prompt, language, completion.

    Nobody filters these: what the teacher learned from its preferences is what the student is to inherit.
    """
    rows = load_general("train", scale) + load_general("preference", scale)
    asked = [render_prompt(row["prompt"], template=scale.template, language=row["language"]) for row in rows]
    drawn = load_policy(teacher).generate(asked, max_new_tokens=scale.max_completion_tokens)
    return [
        {key: row[key] for key in ("id", "prompt", "language")} | {"completion": one.text}
        for row, (one,) in zip(rows, drawn, strict=True)
        if not one.truncated
    ]


def keep_traces(traces: list[dict]) -> list[dict]:
    """The rows a student learns from: right ones in the whole format. The teacher's slips are not worth copying."""
    return [row for row in traces if row["correct"] and parse_completion(row["completion"]).well_formed]


def drop_reasoning(rows: list[dict]) -> list[dict]:
    """The same prompts and answers without the thinking: what the control learns from."""
    return [
        {**row, "completion": f"{ANSWER_OPEN}{parse_completion(row['completion']).answer}{ANSWER_CLOSE}"}
        for row in rows
    ]


def _find_traces(scale: Scale, output: Path, teacher: str, *, seed: int, resume: bool, prompts: int) -> dict:
    """{"traces", "general", "seconds"} of the teacher's writing, kept in `output`: a resumed run does not write again."""
    path = output / "traces.json"
    drawn_by = {"teacher": Path(teacher).name, "seed": seed, "prompts": prompts}
    if resume and path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["drawn_by"] == drawn_by:
            return found
    path.unlink(missing_ok=True)
    started = time.perf_counter()
    found = {"drawn_by": drawn_by, "traces": write_traces(scale, teacher, seed=seed, prompts=prompts)}
    found["general"] = write_general(scale, teacher) if scale.problems == "tiny" else []
    found["seconds"] = round(time.perf_counter() - started, 1)
    write_json(found, path)
    return found


# --------------------------------------------------------------------------------------------- the student learns
def train_distill(
    scale: Scale,
    output: Path | str,
    *,
    folders: dict[str, Path | str] | None = None,
    seed: int = 0,
    resume: bool = False,
    show=None,
    prompts: int = PROMPTS,
    looks: int = LOOKS,
    reasoning: bool = True,
    **overrides: Any,
) -> dict[str, Any]:
    """Fine-tune the student on the right traces of the teacher; returns {"history", "seconds", "trainer", "facts"}.

    reasoning=False is the control: the same prompts with the answers alone. looks: points of the learning curve.
    overrides: fields of `trl.SFTConfig`.
    """
    from r1lab.stages.sft import train_sft

    output = Path(output)
    parents = find_parents(scale, "distill", folders)
    set_threads()
    written = _find_traces(scale, output, parents["align"], seed=seed, resume=resume, prompts=prompts)
    traces, general = keep_traces(written["traces"]), written["general"]
    if not traces:
        raise ValueError(
            f"none of the teacher's {len(written['traces'])} traces is right: check the checkpoint of stage align"
        )
    watch = Stopwatch(scale, None, output, spent=written["seconds"], looks=looks, resume=resume)
    values = (
        {
            "num_train_epochs": EPOCHS,
            "learning_rate": LEARNING_RATE,
            "per_device_train_batch_size": BATCH,
        }
        if scale.name == "tiny"
        else {}
    )
    run = train_sft(
        scale,
        (traces if reasoning else drop_reasoning(traces)) + general,
        output,
        model=parents["student_base"],
        resume=resume,
        show=show,
        callbacks=[watch],
        **{**values, "seed": seed, **overrides},
    )
    what = "right traces" if reasoning else "right answers, without the reasoning,"
    return _finish(
        run,
        watch,
        scale,
        output,
        parents,
        seed,
        f"SFT on {len(traces):,} {what} that the teacher wrote for {len(written['traces']):,} training problems and "
        f"its {len(general)} replies to general prompts, {run['trainer'].args.num_train_epochs:g} epochs, rate "
        f"{run['trainer'].args.learning_rate:g}",
        facts={
            "prompts": len(written["traces"]),
            "rows": len(traces),
            "general_rows": len(general),
            "teacher_accuracy_on_train": round(
                sum(row["correct"] for row in written["traces"]) / len(written["traces"]), 4
            ),
            "sampling_seconds": written["seconds"],
        },
    )


def train_distill_answers(scale: Scale, output: Path | str, **options) -> dict[str, Any]:
    """The control without reasoning: the same rows, the same epochs, answers alone."""
    return train_distill(scale, output, reasoning=False, **options)


def train_distill_rl(
    scale: Scale,
    output: Path | str,
    *,
    folders: dict[str, Path | str] | None = None,
    seed: int = 0,
    resume: bool = False,
    show=None,
    budget: float | None = None,
    looks: int = LOOKS,
    **overrides: Any,
) -> dict[str, Any]:
    """The rival: R1-Zero's GRPO on the student itself, for as long as `distill` took.

    budget: seconds, see `equal_seconds`. overrides: fields of `trl.GRPOConfig`.
    """
    from r1lab.stages.zero import make_zero_trainer

    output, parents = Path(output), find_parents(scale, "distill", folders)
    trainer = make_zero_trainer(
        scale,
        output,
        model=parents["student_base"],
        show=show,
        **{"max_steps": MANY_STEPS, "seed": seed, **overrides},
    )
    return _train_on_the_clock(
        trainer, scale, output, parents, seed, resume=resume, budget=budget, looks=looks, name="GRPO alone"
    )


def train_distill_rl_long(
    scale: Scale, output: Path | str, *, budget: float | None = None, **options
) -> dict[str, Any]:
    """The rival with LONGER times the seconds: does it catch up?"""
    return train_distill_rl(scale, output, budget=LONGER * equal_seconds(Path(output), budget), **options)


def make_on_policy_args(scale: Scale, output: Path | str, **overrides: Any):
    """The `trl.DistillationConfig` of on-policy distillation; `overrides` replace any of its fields."""
    from trl import DistillationConfig

    values = {
        **machine_args(scale, output),
        "per_device_train_batch_size": scale.groups * scale.group_size,
        "max_completion_length": scale.max_completion_tokens,
        "beta": 1.0,  # reverse KL: every token the student wrote is judged by the teacher's probability of it
        "temperature": 1.0,
        "learning_rate": ON_POLICY_RATE,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 5,
        "max_grad_norm": 1.0,
        "max_steps": MANY_STEPS,
    }
    return build_config(DistillationConfig, values, overrides)


def train_distill_on_policy(
    scale: Scale,
    output: Path | str,
    *,
    folders: dict[str, Path | str] | None = None,
    seed: int = 0,
    resume: bool = False,
    show=None,
    budget: float | None = None,
    looks: int = LOOKS,
    **overrides: Any,
) -> dict[str, Any]:
    """The student writes, the teacher scores each token (Agarwal et al., 2024), for as long as `distill` took.

    No reward, no verifier: only the teacher's probabilities. budget: seconds, see `equal_seconds`. overrides: fields
    of `trl.DistillationConfig` (trl 1.16).
    """
    from transformers import PrinterCallback
    from trl import DistillationTrainer

    from r1lab.stages.zero import zero_dataset

    set_threads()
    output, parents = Path(output), find_parents(scale, "distill", folders)
    student, tokenizer = load_trainable(scale, parents["student_base"])
    teacher, _ = load_trainable(scale, parents["align"])
    trainer = DistillationTrainer(
        model=student,
        teacher_model=teacher,
        processing_class=tokenizer,
        args=make_on_policy_args(scale, output, **{"seed": seed, **overrides}),
        train_dataset=zero_dataset(scale).select_columns("prompt"),
        callbacks=[MetricsLog(output / "metrics.json", show=show)],
    )
    trainer.remove_callback(PrinterCallback)
    return _train_on_the_clock(
        trainer,
        scale,
        output,
        parents,
        seed,
        resume=resume,
        budget=budget,
        looks=looks,
        name="on-policy distillation, reverse KL to the teacher",
    )


def equal_seconds(output: Path, budget: float | None = None) -> float:
    """Seconds an arm on the clock may take: `budget`, or what the run of `distill` beside it took, or BUDGET."""
    record = output.parent / "distill" / RECORD
    if budget is None and record.is_file():
        budget = json.loads(record.read_text(encoding="utf-8"))["seconds"]
    return budget or BUDGET


def _train_on_the_clock(
    trainer, scale: Scale, output: Path, parents: dict, seed: int, *, resume, budget, looks, name: str
) -> dict[str, Any]:
    """Train until the seconds are spent, then save."""
    budget = equal_seconds(output, budget)
    watch = Stopwatch(scale, None, output, budget=budget, looks=looks, resume=resume)
    trainer.add_callback(watch)
    run = run_trainer(trainer, resume=resume)
    steps, rate = trainer.state.global_step, trainer.args.learning_rate
    recipe = f"{name}: {steps} steps of {scale.groups * scale.group_size} completions, rate {rate:g}"
    return _finish(run, watch, scale, output, parents, seed, recipe, facts={"budget": budget})


def _finish(run, watch: Stopwatch, scale, output: Path, parents, seed: int, recipe: str, facts: dict) -> dict:
    """Save the student with its card; returns what every arm returns."""
    trainer, seconds = run["trainer"], round(watch.spent, 1)
    save_stage(
        trainer.model,
        trainer.processing_class,
        output,
        stage="distill",
        scale=scale,
        seed=seed,
        parents=parents,
        recipe=recipe,
        seconds=seconds,
    )
    facts |= {
        "training_seconds": round(seconds - facts.get("sampling_seconds", 0.0), 1),
        "steps": trainer.state.global_step,
        "curve": watch.curve,
    }
    if scale.problems == "tiny" and watch.looks:
        student = Policy(trainer.model, trainer.processing_class)
        facts["general"] = evaluate_general(
            student, load_general("test", scale), template=scale.template, max_new_tokens=scale.longest_answer
        )["overall"]
    return {**run, "seconds": seconds, "facts": facts}


ARMS: dict[str, Callable[..., dict[str, Any]]] = {
    "distill": train_distill,
    "distill-rl": train_distill_rl,
    "distill-rl-long": train_distill_rl_long,
    "distill-answers": train_distill_answers,
    "distill-on-policy": train_distill_on_policy,
}
