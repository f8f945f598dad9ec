"""Cold start: its rows, its control, a short SFT, a resumed run, and rows from the hub; test_refine.py has the clean-up."""

import json
import random
import shutil
from dataclasses import replace

import pytest
from helpers import stand_in

from r1lab.languages import language_share
from r1lab.problems import load_problems, take_balanced
from r1lab.prompts import format_completion, parse_completion
from r1lab.rewards import grade_many
from r1lab.sampling import Sample
from r1lab.scale import DATA, SCALES
from r1lab.stages import cold_start, run_folder
from r1lab.stages.checkpoints import find_stage
from r1lab.stages.refine import steps_hold
from r1lab.stages.runner import train_stage
from tinyworld.build import SEEDS, excluded_prompts
from tinyworld.cold_start import example_rows, phrase_rows
from tinyworld.generators import normalise
from tinyworld.splits import make_splits

SMALL = replace(SCALES["tiny"], max_completion_tokens=64)
BASE = DATA / "models" / "tiny-base"


def row(completion, **changes):
    base = {"prompt": "Solve for x: x+4=7", "solution": "3", "language": "en", "verifier": "math"}
    return {**base, "completion": completion, "truncated": False, "tokens": 9, **changes}


# ------------------------------------------------------------------------------------------- the shipped files
def test_the_shipped_files_are_the_ones_that_the_world_writes():
    exclude = excluded_prompts(make_splits(SEEDS["problems"]))
    examples = example_rows(SEEDS["few_shot"], exclude)
    for name, made in (("phrases", phrase_rows()), ("few_shot", examples)):
        assert cold_start.read_shipped("problems", name) == made
    assert not exclude & {normalise(example["prompt"]) for example in examples}


def test_few_shot_examples_are_right_of_the_same_kind_and_fixed_by_the_seed():
    rng = random.Random(0)
    for problem in take_balanced(load_problems("train"), 16):
        pairs = cold_start.worked_examples(problem, rng)
        assert len({question for question, _ in pairs}) == cold_start.EXAMPLES
        for question, completion in pairs:
            parsed = parse_completion(completion)
            assert parsed.well_formed and steps_hold(question, parsed.think, problem["language"])
            assert language_share(completion, problem["language"]) in (1.0, None)
    first, again, other = (cold_start.worked_examples(problem, random.Random(n)) for n in (0, 0, 1))
    assert first == again != other


# -------------------------------------------------------------------------------------------------- the filters
def test_each_filter_takes_out_what_its_name_says():
    good = format_completion("First 7-4=3.", "3")
    rows = [
        row(good),
        row(good),  # twice
        row(good.replace("3</answer>", "4</answer>")),  # wrong
        row("First 7-4=3. The answer is 3."),  # no tags
        row(good.replace("First", "Pertama")),  # the other language
        row(format_completion("First 7-4=2.", "3")),  # a step that does not hold
        row(format_completion("First 7-4=3. Then 3-0=3.", "3"), truncated=True),
    ]
    kept, left = cold_start.keep_good(rows)
    names = ["right", "well formed", "one language", "steps hold", "not over-long", "different"]
    assert list(left.values()) == [7, 6, 5, 4, 3, 2, 1] and list(left)[1:] == names
    assert [kept_row["completion"] for kept_row in kept] == [good]
    # The clean-up mends form, not sense.
    cleaned, left = cold_start.keep_good(cold_start.clean_up(rows))
    assert left["one language"] == 6 and left["steps hold"] == 5
    assert [kept_row["completion"] for kept_row in cleaned] == [good]


# ---------------------------------------------------------------------------------------------------- the stage
class Zero:
    """A stand-in for R1-Zero: right completions in both languages at once, some of them without tags."""

    def generate(self, prompts, *, samples, seed, **_):
        solutions = {problem["prompt"]: problem["solution"] for problem in load_problems("train")}
        rng, groups = random.Random(seed), []
        for prompt in prompts:
            think = rng.choice(("First 1+1=2. Lalu 2+1=3.", "Pertama 1+1=2. Then 2+1=3."))
            text = format_completion(think, solutions[prompt[-1]["content"]])
            groups.append([Sample(text, 9, False), Sample("The answer is 0.", 4, False)][:samples])
        return groups


@pytest.fixture
def parents(monkeypatch, tmp_path):
    """Stand-ins for both parents; every way samples few problems."""
    monkeypatch.setattr(cold_start, "load_policy", lambda path: Zero())
    few = {way: (parent, template, 24) for way, (parent, template, _) in cold_start.WAYS.items()}
    monkeypatch.setattr(cold_start, "WAYS", few)
    return {"zero": stand_in(tmp_path / "zero", "zero"), "base": BASE}


def test_the_rows_are_right_in_one_language_and_those_of_the_control_are_mixed(parents):
    rows, facts = cold_start.build_cold_start(SMALL, parents, seed=1)
    bank = {problem["id"]: problem for problem in load_problems("train")}
    problems = [bank[r["id"]] for r in rows]
    assert len(rows) == facts["rows"] == sum(facts["domains"].values()) >= 20
    assert all(grade_many([r["completion"] for r in rows], problems, require_tags=True))
    assert all(language_share(r["completion"], r["language"]) == 1.0 for r in rows)
    left = facts["ways"]["refined R1-Zero"]
    sampled, cleaned = left["as sampled"], left["cleaned"]
    assert sampled["one language"] == 0 and cleaned["one language"] == sampled["right"]
    assert facts["repairs"]["refined R1-Zero"] == {"language": left["cleaned"]["different"]}
    assert cold_start.build_cold_start(SMALL, parents, seed=1)[0] == rows
    assert cold_start.build_cold_start(SMALL, parents, seed=2)[0] != rows
    # The control is R1-Zero's completions as they were.
    rows, facts = cold_start.build_cold_start(SMALL, parents, clean=False)
    assert list(facts["ways"]) == ["refined R1-Zero"]
    assert rows and all(0 < language_share(r["completion"], r["language"]) < 1 for r in rows)


def test_a_resumed_run_samples_nothing_and_ends_with_the_same_weights(parents, tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "KEPT", 9)
    output = tmp_path / "cold_start"
    settings = {"folders": parents, "per_device_train_batch_size": 12, "max_steps": 5, "save_steps": 1}
    run = train_stage("cold_start", SMALL, output, **settings)
    assert run["facts"]["rows"] == 24 and find_stage(SMALL, "cold_start", output) == str(output)
    rows = [json.loads(line) for line in (output / "data" / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 24 and "different" in (output / "data" / "README.md").read_text()
    weights = (output / "model.safetensors").read_bytes()
    monkeypatch.setattr(cold_start, "build_cold_start", None)
    for step in (4, 3):  # at the end of the second epoch of two steps, and in its middle
        for later in range(step + 1, 6):
            shutil.rmtree(output / f"checkpoint-{later}")  # as after a kill
        (output / "model.safetensors").unlink()
        train_stage("cold_start", SMALL, output, resume=True, **settings)
        assert (output / "model.safetensors").read_bytes() == weights
    with pytest.raises(FileNotFoundError, match="r1lab zero"):
        train_stage("cold_start", SMALL, output, folders={"zero": tmp_path / "none"})
    with pytest.raises(TypeError, match="NoneType"):  # the control needs other data
        train_stage("cold_start-messy", SMALL, output, resume=True, **settings)


def test_the_loss_is_on_the_completion_only(tmp_path):
    completion = format_completion("First 7-4=3.", "3")
    trainer = cold_start.make_sft_trainer(SMALL, tmp_path, rows=[row(completion)], model=BASE)
    batch = next(iter(trainer.get_train_dataloader()))
    tokenizer = trainer.processing_class
    learned = batch["labels"][batch["labels"] != -100]
    assert tokenizer.decode(learned) == completion + tokenizer.eos_token
