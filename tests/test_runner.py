"""The runner and the checkpoints: parents are found or named, runs are saved, resumed and never mixed up."""

import json

import pytest
from helpers import SMALL, stand_in, steps_of

from r1lab.problems import load_problems
from r1lab.recipe import VARIANTS
from r1lab.scale import SCALES
from r1lab.stages import checkpoints
from r1lab.stages.checkpoints import find_parents, find_stage, save_stage
from r1lab.stages.grpo import make_grpo_trainer
from r1lab.stages.run_folder import last_checkpoint, load_or_make
from r1lab.stages.runner import run_trainer, train_stage
from r1lab.stages.sft import make_sft_trainer
from r1lab.stages.zero import training_set, zero_rewards

TINY = SCALES["tiny"]


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_a_stage_knows_the_options_of_its_variants(name):
    """An option that a stage does not name would go to TRL's config, which refuses it only after the data are made."""
    import inspect
    from importlib import import_module

    import trl

    stage, options = VARIANTS[name]
    known = set(inspect.signature(import_module(f"r1lab.stages.{stage}").make_trainer).parameters)
    known |= set(inspect.signature(trl.GRPOConfig).parameters)
    assert set(options) <= known


# --- parents ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(tmp_path):
    """A folder that looks like a finished cold start."""
    return stand_in(tmp_path / "sft", "cold_start")


def test_parents_are_found(finished):
    assert find_stage(TINY, "base").endswith("tiny-base"), "it has no record"
    assert find_stage(SCALES["t4"], "base") == SCALES["t4"].model
    assert find_stage(TINY, "cold_start", finished) == str(finished)
    assert find_parents(TINY, "reason", {"cold_start": finished}) == {"cold_start": str(finished)}
    assert list(find_parents(TINY, "reason", {"cold_start": finished}, instead="zero")) == ["zero"]


def test_a_missing_unfinished_or_wrong_parent_is_one_sentence_with_the_command(
    finished, tmp_path, monkeypatch
):
    with pytest.raises(ValueError, match=r"no stage 'zeroo': choose from zero, .*reason-free"):
        train_stage("zeroo", SMALL, "unused")
    with pytest.raises(FileNotFoundError, match=r"cold start SFT.*python -m r1lab cold_start --output"):
        find_stage(TINY, "cold_start", tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"checkpoint of stage 'cold_start', not 'reason'.*r1lab reason"):
        find_parents(TINY, "reject", {"reason": finished})
    with pytest.raises(ValueError, match="does not start from align: it needs cold_start"):
        find_parents(TINY, "reason", {"align": finished})
    with pytest.raises(ValueError, match="checkpoint of stage 'cold_start', not 'zero'"):
        train_stage("reason-zero", SMALL, tmp_path / "out", folders={"zero": finished})
    assert not list((tmp_path / "out").glob("*"))
    (finished / "stage.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"never finished.*--resume"):
        find_stage(TINY, "cold_start", finished)
    # A GPU scale looks for your own run.
    monkeypatch.setenv("R1LAB_OUTPUT", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="python -m r1lab cold_start"):
        find_stage(SCALES["a100"], "cold_start")


# --- saving -----------------------------------------------------------------------------------------------------------


class Saved:
    """Stands for a model and a tokenizer; checks that the record of an older run is gone before weights are written."""

    def save_pretrained(self, folder):
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text("{}")
        (folder / "tokenizer_config.json").write_text("{}")
        assert not (folder / checkpoints.RECORD).exists()

    def parameters(self):
        return ()


def test_a_saved_stage_is_found_again_and_has_a_card(tmp_path):
    facts = {"stage": "reject", "scale": TINY, "seed": 3, "recipe": "SFT on 7 rows", "seconds": 12.34}
    parents = {"base": "data/models/tiny-base", "reason": "x/reason"}
    for _ in range(2):
        save_stage(Saved(), Saved(), tmp_path, parents=parents, **facts)
    assert find_stage(TINY, "reject", tmp_path) == str(tmp_path)
    card = (tmp_path / "README.md").read_text()
    assert all(text in card for text in ("`tiny-base`", "`reason`", "SFT on 7 rows", "| seed | 3 |"))


@pytest.mark.slow
def test_a_run_without_a_step_is_refused(tmp_path):
    """One problem does not fill a step of two groups: the trainer warns, ends, and leaves the parent as it was."""
    rows = training_set(load_problems("train")[:1], SMALL)
    trainer = make_grpo_trainer(SMALL, tmp_path, dataset=rows, rewards=zero_rewards(), max_steps=2)
    with pytest.raises(ValueError, match="took no step: its 1 rows do not fill one"):
        run_trainer(trainer)
    with pytest.raises(ValueError, match="no rows to learn from"):
        make_sft_trainer(SMALL, tmp_path, rows=[], model="tiny-base")


# --- resuming ---------------------------------------------------------------------------------------------------------


def test_a_fresh_start_removes_the_checkpoints_of_another_run(tmp_path):
    assert last_checkpoint(tmp_path) is None and last_checkpoint(tmp_path / "nowhere") is None
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "checkpoint-2" / "trainer_state.json").write_text('{"global_step": 2}')
    run = train_stage("zero", SMALL, tmp_path, max_steps=1, save_strategy="no")
    assert steps_of(run["history"]) == [1] and not (tmp_path / "checkpoint-2").exists()
    assert "1 steps of 2 groups of 4" in json.loads((tmp_path / "stage.json").read_text())["recipe"]


@pytest.mark.parametrize(
    ("resume", "seed", "expected"), [(True, 0, "first"), (True, 1, "second"), (False, 0, "second")]
)
def test_only_a_resumed_run_with_the_same_settings_reads_what_was_kept(tmp_path, resume, seed, expected):
    path = tmp_path / "new" / "data.json"
    assert load_or_make(path, {"seed": 0, "sizes": (1, 2)}, lambda: "first", resume=True) == "first"
    assert load_or_make(path, {"seed": seed, "sizes": (1, 2)}, lambda: "second", resume=resume) == expected


def test_a_run_killed_while_it_makes_data_leaves_none_and_data_are_the_same_made_or_read(tmp_path):
    path, data = tmp_path / "data.json", {"rows": [("a\ud800", 1)], "counts": {2: 0.5}}
    made = load_or_make(path, {}, lambda: data, resume=False)
    assert made == load_or_make(path, {}, lambda: 1 / 0, resume=True) == json.loads(json.dumps(data))
    with pytest.raises(KeyboardInterrupt):
        load_or_make(path, {}, lambda: (_ for _ in ()).throw(KeyboardInterrupt), resume=False)
    assert list(tmp_path.iterdir()) == []
