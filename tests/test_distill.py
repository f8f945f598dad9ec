"""The distillation stage on the real trainers, a few steps at a time; the whole run is in notebook 09."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from r1lab.policy import load_model
from r1lab.problems import load_general, load_problems
from r1lab.prompts import format_completion
from r1lab.scale import DATA, SCALES
from r1lab.stages import distill
from r1lab.stages.checkpoints import find_stage, save_stage
from r1lab.stages.distill import (
    ARMS,
    BUDGET,
    Stopwatch,
    drop_reasoning,
    equal_seconds,
    keep_traces,
    make_on_policy_args,
    write_traces,
)
from tinyworld.build import BASE, STUDENT, base_card

SMALL = replace(SCALES["tiny"], groups=2, group_size=4, max_completion_tokens=24)
SMALL_BATCH = {"per_device_train_batch_size": 8}
TRAINED = load_problems("train")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    """The base model, labelled as the aligned model: any weights serve a test of the plumbing."""
    folder = tmp_path_factory.mktemp("align")
    model, tokenizer = load_model("tiny-base")
    save_stage(
        model, tokenizer, folder, stage="align", scale=SMALL, seed=0, parents={}, recipe="none", seconds=0
    )
    return folder


@pytest.fixture
def written(monkeypatch) -> list[dict]:
    """Traces of a teacher that is always right, so that a test need not sample one."""
    rows = [
        {key: row[key] for key in ("id", "prompt", "language")}
        | {"completion": format_completion("Then 1+1=2.", row["solution"]), "correct": True}
        for row in TRAINED[:16]
    ]
    monkeypatch.setattr(distill, "write_traces", lambda *args, **options: rows)
    monkeypatch.setattr(distill, "write_general", lambda *args, **options: [])
    return rows


def test_the_student_is_small_and_speaks_the_teachers_tokens():
    student, its_tokenizer = load_model("tiny-student-base")
    base, tokenizer = load_model("tiny-base")
    count = [sum(p.numel() for p in model.parameters()) for model in (student, base)]
    assert count[0] <= count[1] / 3
    assert its_tokenizer.get_vocab() == tokenizer.get_vocab()
    assert its_tokenizer.chat_template == tokenizer.chat_template
    folder = Path(find_stage(SMALL, "student_base"))
    assert (folder / "model.safetensors").stat().st_size <= 2_000_000
    assert STUDENT.size != BASE.size


@pytest.mark.parametrize(("making", "minutes", "cores"), [(BASE, 49, 2), (STUDENT, 44, 1)])
def test_the_cards_of_the_base_models_say_how_they_are_made_today(making, minutes, cores):
    folder = DATA / "models" / making.name
    history = json.loads((folder / "pretraining.json").read_text())
    card = base_card(making, history, minutes, cores)
    shipped = (folder / "README.md").read_text(encoding="utf-8")
    assert shipped.partition("<!-- evaluation")[0] == card.partition("<!-- evaluation")[0]


def test_on_a_gpu_the_student_is_a_hub_model_of_the_teachers_family():
    for name in ("t4", "a100", "cluster"):
        assert find_stage(SCALES[name], "student_base") == SCALES[name].student != SCALES[name].model


def test_traces_are_of_training_problems_and_follow_their_seed(teacher):
    first, again, other = (write_traces(SMALL, teacher, prompts=8, seed=seed) for seed in (0, 0, 1))
    assert first == again and first != other
    prompts = {row["prompt"] for row in TRAINED}
    assert all(row["prompt"] in prompts for row in first)


def test_a_right_answer_that_was_cut_off_or_untagged_is_not_a_trace(teacher, monkeypatch):
    def generate(self, asked, **options):
        told = []
        for place, messages in enumerate(asked):
            solution = next(row["solution"] for row in TRAINED if row["prompt"] == messages[-1]["content"])
            text = [
                format_completion("Then 1+1=2.", solution),
                f"Then 1+1=2. So the answer is {solution}.",
                format_completion("Then 1+1=2.", solution),
                format_completion("Then 1+1=2.", "nothing"),
                f"<think></think> <answer>{solution}</answer>",
            ][place]
            told.append([SimpleNamespace(text=text, tokens=9, truncated=place == 2)])
        return told

    monkeypatch.setattr("r1lab.policy.Policy.generate", generate)
    traces = write_traces(SMALL, teacher, prompts=5)
    assert keep_traces(traces) == traces[:1]


def test_the_control_keeps_the_answer_and_drops_the_thinking():
    row = {"prompt": "q", "completion": format_completion("First 1+1=2.", "2"), "correct": True}
    assert drop_reasoning([row]) == [{**row, "completion": "<answer>2</answer>"}]


def test_nothing_right_is_refused_before_any_training(tmp_path, teacher, written):
    for row in written:
        row["correct"] = False
    with pytest.raises(ValueError, match="none of the teacher's 16 traces is right"):
        ARMS["distill"](SMALL, tmp_path, folders={"align": teacher}, looks=0)
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("arm", ["distill", "distill-answers"])
def test_a_student_learns_what_it_is_shown(tmp_path, teacher, written, arm):
    run = ARMS[arm](
        SMALL,
        tmp_path,
        folders={"align": teacher},
        looks=0,
        num_train_epochs=6,
        warmup_steps=0,
        **SMALL_BATCH,
    )
    losses = [row["loss"] for row in run["history"] if "loss" in row]
    assert losses[-1] < 0.8 * losses[0]
    assert run["facts"]["rows"] == 16 and run["facts"]["curve"] == []
    assert run["seconds"] >= run["facts"]["training_seconds"] > 0
    assert find_stage(SMALL, "distill", tmp_path) == str(tmp_path)
    seen = run["trainer"].train_dataset[0]
    text = run["trainer"].processing_class.decode(seen["input_ids"])
    assert ("1+1=2" in text) == (arm == "distill")


@pytest.mark.parametrize("arm", ["distill-rl", pytest.param("distill-on-policy", marks=pytest.mark.slow)])
def test_an_arm_on_the_clock_moves_the_student(tmp_path, teacher, arm):
    before, _ = load_model("tiny-student-base")
    scale = replace(SMALL, groups=6, group_size=8)  # enough completions that some group is mixed
    run = ARMS[arm](
        scale, tmp_path, folders={"align": teacher}, budget=600.0, looks=0, warmup_steps=0, max_steps=2
    )
    after, _ = load_model(tmp_path)
    assert not torch.equal(before.model.embed_tokens.weight, after.model.embed_tokens.weight)
    assert run["facts"]["steps"] == 2 and run["facts"]["budget"] == 600.0


def test_an_arm_on_the_clock_stops_when_its_seconds_are_spent(tmp_path, teacher):
    run = ARMS["distill-on-policy"](SMALL, tmp_path, folders={"align": teacher}, budget=0.2, looks=0)
    assert run["seconds"] >= 0.2
    assert 1 <= run["facts"]["steps"] < 100


def test_an_arm_on_the_clock_leaves_the_folder_of_another_run_alone(tmp_path, teacher):
    import fcntl

    (tmp_path / "checkpoint-1").mkdir()
    with open(tmp_path / ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="another run is writing to"):
            ARMS["distill-rl"](SMALL, tmp_path, folders={"align": teacher}, budget=0.2, looks=0)
    assert (tmp_path / "checkpoint-1").is_dir()


@pytest.mark.slow
def test_the_clock_stands_still_while_validation_is_looked_at(tmp_path, teacher, written, monkeypatch):
    import time

    def slow(*args, **options):
        time.sleep(0.5)
        return {"overall": {f"{how}_accuracy": {"value": 0.5} for how in ("greedy", "sampled")}}

    monkeypatch.setattr(distill, "evaluate", slow)
    run = ARMS["distill"](
        SMALL, tmp_path, folders={"align": teacher}, looks=3, num_train_epochs=2, **SMALL_BATCH
    )
    curve = run["facts"]["curve"]
    assert [point["step"] for point in curve] == [0, 2, 3, 4]
    assert run["seconds"] < 0.5 * len(curve), "the looks were counted"
    seconds = [point["seconds"] for point in curve]
    assert seconds == sorted(seconds) and seconds[-1] <= run["seconds"] + 0.1


def test_traces_survive_a_killed_run(tmp_path, teacher, written, monkeypatch):
    calls = []
    monkeypatch.setattr(distill, "write_traces", lambda *args, **options: calls.append(1) or written)
    options = {"folders": {"align": teacher}, "looks": 0, "max_steps": 1, **SMALL_BATCH}
    ARMS["distill"](SMALL, tmp_path, **options)
    kept = json.loads((tmp_path / "traces.json").read_text())
    (tmp_path / "traces.json").write_text(json.dumps({**kept, "seconds": 1000.0}))
    (tmp_path / "watch.json").unlink()  # killed before the first checkpoint of the training
    assert ARMS["distill"](SMALL, tmp_path, resume=True, **options)["seconds"] >= 1000
    assert len(calls) == 1
    assert ARMS["distill"](SMALL, tmp_path, **options)["seconds"] < 1000
    assert len(calls) == 2
    ARMS["distill"](SMALL, tmp_path, resume=True, seed=1, **options)  # another seed's traces are not its own
    assert len(calls) == 3


def test_an_arm_on_the_clock_gets_the_seconds_of_the_run_beside_it(tmp_path):
    assert equal_seconds(tmp_path / "distill-rl") == BUDGET
    (tmp_path / "distill").mkdir()
    (tmp_path / "distill" / "stage.json").write_text(json.dumps({"stage": "distill", "seconds": 12.5}))
    assert equal_seconds(tmp_path / "distill-rl") == 12.5
    assert equal_seconds(tmp_path / "distill-rl", 3.0) == 3.0


def test_the_long_rival_gets_three_times_the_seconds(tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(distill, "train_distill_rl", lambda scale, output, **options: given.update(options))
    ARMS["distill-rl-long"](SMALL, tmp_path, budget=5.0, seed=2)
    assert given == {"budget": 15.0, "seed": 2}


def test_on_policy_distillation_is_reverse_kl_and_refuses_a_typo(tmp_path):
    args = make_on_policy_args(SMALL, tmp_path)
    assert args.beta == 1.0 and args.temperature == 1.0 and not args.bf16
    with pytest.raises(ValueError, match="betta"):
        make_on_policy_args(SMALL, tmp_path, betta=0.5)


def test_one_student_is_loaded_and_the_watch_reads_with_its_tokenizer(
    written, teacher, tmp_path, monkeypatch
):
    from r1lab.stages import sft

    monkeypatch.setattr(distill, "LOOKED_AT", 4)
    monkeypatch.setattr(distill, "load_general", lambda split, scale=None: load_general(split)[:4])
    loaded = []
    for module in (distill, sft):
        load = module.load_trainable
        monkeypatch.setattr(
            module, "load_trainable", lambda *which, load=load: loaded.append(which[1]) or load(*which)
        )
    run = ARMS["distill"](
        SMALL, tmp_path / "run", folders={"align": teacher}, looks=1, max_steps=1, **SMALL_BATCH
    )
    assert len(loaded) == 1 and len(run["facts"]["curve"]) == 2


def test_a_watch_counts_what_was_spent_before_and_takes_up_where_it_was_saved(tmp_path):
    watch = Stopwatch(SMALL, None, tmp_path, spent=10.0, looks=0)
    state, control = SimpleNamespace(global_step=0, max_steps=2), SimpleNamespace(should_training_stop=False)
    watch.on_train_begin(None, state, control)
    state.global_step = 1
    watch.on_step_end(None, state, control)
    assert not control.should_training_stop and watch.seconds >= 10.0
    state.global_step = 2
    watch.on_step_end(None, state, control)
    watch.on_train_end(None, state, control)
    assert control.should_training_stop and 10.0 <= watch.spent < 11.0
    watch.spent = 50.0
    watch.on_save(None, state, control)
    assert Stopwatch(SMALL, None, tmp_path, looks=0, resume=True).spent >= 50.0
    assert Stopwatch(SMALL, None, tmp_path, looks=0).spent == 0.0
