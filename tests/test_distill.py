"""The distillation stage on the real trainers, a few steps at a time; the whole run is in notebook 09."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import stand_in

from r1lab.policy import load_model
from r1lab.problems import load_general, load_problems
from r1lab.prompts import format_completion
from r1lab.scale import SCALES
from r1lab.stages import distill, general_report, sft, stopwatch, zero
from r1lab.stages.checkpoints import find_stage
from r1lab.stages.runner import Run, train_stage
from r1lab.stages.stopwatch import Stopwatch

SMALL_BATCH = {"per_device_train_batch_size": 8}
TRAIN = load_problems("train")


@pytest.fixture(autouse=True)
def few_problems(monkeypatch):
    """Rendering all training problems takes seconds, and so do the replies to all general prompts."""
    monkeypatch.setattr(zero, "load_scale_problems", lambda scale, split: TRAIN[::20])
    monkeypatch.setattr(general_report, "load_general", lambda split, scale=None: load_general(split)[:4])


SMALL = replace(SCALES["tiny"], groups=2, group_size=4, max_completion_tokens=24)


@pytest.fixture
def teacher(tmp_path) -> Path:
    return stand_in(tmp_path / "align", "align")


@pytest.fixture
def new_run(teacher, tmp_path):
    """Makes a `Run` of the stage, as `train_stage` does."""
    parents = {"student_base": find_stage(SMALL, "student_base"), "align": str(teacher)}
    return lambda **options: Run("distill", SMALL, tmp_path / "run", parents, **options)


@pytest.fixture
def traces(monkeypatch) -> list[dict]:
    """Traces of a teacher that is always right, so that a test need not sample one."""
    rows = [
        {key: row[key] for key in ("id", "prompt", "language")}
        | {"completion": format_completion("Then 1+1=2.", row["solution"]), "correct": True}
        for row in TRAIN[:16]
    ]
    monkeypatch.setattr(distill, "sample_traces", lambda *args, **options: rows)
    monkeypatch.setattr(distill, "sample_general", lambda *args, **options: [])
    return rows


# ------------------------------------------------------------------------------------- the student and the data


def test_traces_are_of_training_problems_and_follow_their_seed(teacher):
    first, again, other = (distill.sample_traces(SMALL, teacher, prompts=3, seed=seed) for seed in (0, 0, 1))
    assert first == again and first != other
    assert {row["prompt"] for row in first} <= {row["prompt"] for row in TRAIN}


def test_a_right_answer_that_was_cut_off_or_untagged_is_not_learned(teacher, monkeypatch):
    def generate(self, prompts, **options):
        solutions = {row["prompt"]: row["solution"] for row in TRAIN}
        solutions = [solutions[messages[-1]["content"]] for messages in prompts]
        texts = [
            format_completion("Then 1+1=2.", solutions[0]),
            f"Then 1+1=2. So the answer is {solutions[1]}.",
            format_completion("Then 1+1=2.", solutions[2]),
            format_completion("Then 1+1=2.", "nothing"),
            f"<think></think> <answer>{solutions[4]}</answer>",
        ]
        return [[SimpleNamespace(text=text, tokens=9, truncated=i == 2)] for i, text in enumerate(texts)]

    monkeypatch.setattr("r1lab.policy.Policy.generate", generate)
    sampled = distill.sample_traces(SMALL, teacher, prompts=5)
    assert distill.keep_correct(sampled) == sampled[:1]
    solution = next(row["solution"] for row in TRAIN if row["id"] == sampled[0]["id"])
    control = {**sampled[0], "completion": f"<answer>{solution}</answer>"}
    assert distill.drop_reasoning(sampled[:1]) == [control]


def test_nothing_right_and_an_unknown_method_are_refused_before_any_training(new_run, traces):
    with pytest.raises(ValueError, match="no method 'dpo' of distillation: choose sft, rl or on-policy"):
        distill.make_trainer(new_run(), method="dpo")
    for row in traces:
        row["correct"] = False
    with pytest.raises(ValueError, match="none of the teacher's 16 traces is right"):
        distill.make_trainer(new_run(), points=0)


def test_traces_survive_a_killed_run(new_run, traces, monkeypatch):
    """A resumed run counts the seconds of the teacher's sampling and does not sample again."""
    calls = []
    monkeypatch.setattr(distill, "sample_traces", lambda *args, **options: calls.append(1) or traces)

    def seconds(**options):
        run = new_run(**options)
        distill.make_trainer(run, points=0, **SMALL_BATCH)
        return run.stopwatch.spent

    seconds()
    path = new_run().output / "traces.json"
    kept = json.loads(path.read_text())
    kept["data"]["seconds"] = 1000.0
    path.write_text(json.dumps(kept))
    assert seconds(resume=True) == 1000 and len(calls) == 1
    # A run with another seed must not learn from these traces, and a new run starts anew.
    assert seconds(resume=True, seed=1) < 1000 and len(calls) == 2
    assert seconds() < 1000 and len(calls) == 3


# ---------------------------------------------------------------------------------------------- a few steps
@pytest.mark.parametrize("name", ["distill", "distill-answers"])
def test_a_student_learns_from_the_traces(tmp_path, teacher, traces, name):
    options = {"points": 0, "num_train_epochs": 3, "warmup_steps": 0, **SMALL_BATCH}
    run = train_stage(name, SMALL, tmp_path / "run", folders={"align": teacher}, **options)
    losses = [row["loss"] for row in run["history"] if "loss" in row]
    assert losses[-1] < 0.8 * losses[0]
    facts = run["facts"]
    assert facts["rows"] == 16 and facts["curve"] == [] and facts["teacher_accuracy_on_train"] == 1.0
    assert run["seconds"] >= facts["training_seconds"] > 0
    text = run["trainer"].processing_class.decode(run["trainer"].train_dataset[0]["input_ids"])
    assert ("1+1=2" in text) == (name == "distill")


@pytest.mark.parametrize("name, budget, steps", [("distill-rl", 600.0, 2), ("distill-on-policy", 0.2, 99)])
def test_a_rival_of_distillation_moves_the_student_until_its_seconds_are_over(
    tmp_path, teacher, name, budget, steps
):
    before, _ = load_model("tiny-student-base")
    scale = replace(SMALL, groups=6, group_size=8)  # enough completions that some group is mixed
    options = {"budget": budget, "points": 0, "warmup_steps": 0, "max_steps": steps}
    run = train_stage(name, scale, tmp_path / "run", folders={"align": teacher}, **options)
    after, _ = load_model(tmp_path / "run")
    assert not torch.equal(before.model.embed_tokens.weight, after.model.embed_tokens.weight)
    assert run["facts"]["budget"] == budget
    assert run["facts"]["steps"] == 2 if name == "distill-rl" else 1 <= run["facts"]["steps"] < 99


def test_one_student_is_loaded_and_all_is_measured_with_it(tmp_path, teacher, traces, monkeypatch):
    monkeypatch.setattr(stopwatch, "PROBLEMS", 4)
    loaded, load = [], distill.load_trainable
    for module in (distill, sft):
        counted = lambda *which: loaded.append(which[1]) or load(*which)  # noqa: E731
        monkeypatch.setattr(module, "load_trainable", counted)
    options = {"folders": {"align": teacher}, "points": 1, "max_steps": 1, **SMALL_BATCH}
    facts = train_stage("distill", SMALL, tmp_path / "run", **options)["facts"]
    assert len(loaded) == 1 and [point["step"] for point in facts["curve"]] == [0, 1]
    assert facts["general"]["n"] == 4


# ------------------------------------------------------------------------------------------------- the clock
def test_a_rival_gets_the_seconds_of_the_run_beside_it(tmp_path, new_run):
    assert distill.equal_seconds(tmp_path / "distill-rl") == distill.BUDGET
    (tmp_path / "distill").mkdir()
    (tmp_path / "distill" / "stage.json").write_text(json.dumps({"stage": "distill", "seconds": 12.5}))
    assert distill.equal_seconds(tmp_path / "distill-rl") == 12.5
    run = new_run()
    distill.make_trainer(run, method="rl", budget=5.0, budget_factor=3, points=0)
    assert run.stopwatch.budget == run.facts["budget"] == 15.0


@pytest.fixture
def train_by_clock(monkeypatch):
    """Drives a stopwatch through a training whose steps take a second each, and validation a hundred."""
    clock = SimpleNamespace(now=0.0)

    def evaluate(*args, **options):
        clock.now += 100
        return {"overall": {f"{name}_accuracy": {"value": 0.5} for name in ("greedy", "sampled")}}

    def train(watch: Stopwatch, steps: int, max_steps: int) -> bool:
        control = SimpleNamespace(should_training_stop=False)
        state = SimpleNamespace(global_step=0, max_steps=max_steps)
        watch.on_train_begin(None, state, control)
        while state.global_step < steps and not control.should_training_stop:
            state.global_step += 1
            clock.now += 1
            watch.on_step_end(None, state, control)
        watch.on_save(None, state, control)
        watch.on_train_end(None, state, control)
        return control.should_training_stop

    monkeypatch.setattr(stopwatch, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(stopwatch, "evaluate", evaluate)
    return train


def test_the_clock_stands_still_during_validation(tmp_path, train_by_clock):
    watch = Stopwatch(SMALL, tmp_path, spent=10.0, points=3)
    assert train_by_clock(watch, 4, 4) and watch.spent == 14.0
    points = [(point["step"], point["seconds"]) for point in watch.curve]
    assert points == [(0, 10), (2, 12), (3, 13), (4, 14)]


def test_a_run_ends_with_its_budget_also_after_it_was_resumed(tmp_path, train_by_clock):
    watch = Stopwatch(SMALL, tmp_path, budget=5.0, points=1)
    assert not train_by_clock(watch, 3, 100) and watch.spent == 3.0
    resumed = Stopwatch(SMALL, tmp_path, budget=5.0, points=1, resume=True)
    assert train_by_clock(resumed, 100, 100) and resumed.spent == 5.0
    assert [point["seconds"] for point in resumed.curve] == [0, 5]
    assert Stopwatch(SMALL, tmp_path, points=0).spent == 0.0
