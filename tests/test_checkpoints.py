"""The ladder of stages: a stage finds what it starts from, or says in one sentence how to make it."""

import json

import pytest

from r1lab.scale import get_scale
from r1lab.stages import checkpoints
from r1lab.stages.checkpoints import STAGES, find_parents, find_stage, save_stage

TINY = get_scale("tiny")


@pytest.fixture
def finished(tmp_path):
    """A folder that looks like a finished cold start."""
    folder = tmp_path / "sft"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "stage.json").write_text(json.dumps({"stage": "cold_start"}))
    return folder


def test_every_stage_starts_from_stages_that_exist_and_that_come_before_it():
    names = list(STAGES)
    for name, stage in STAGES.items():
        assert all(names.index(need) < names.index(name) for need in stage.needs)
    assert len({stage.ships for stage in STAGES.values()}) == len(STAGES)


def test_the_base_is_found_without_a_record():
    assert find_stage(TINY, "base").endswith("tiny-base")
    assert find_stage(get_scale("t4"), "base") == get_scale("t4").model


def test_a_finished_checkpoint_is_found(finished):
    assert find_stage(TINY, "cold_start", finished) == str(finished)
    assert find_parents(TINY, "reason", {"cold_start": finished}) == {"cold_start": str(finished)}


def test_a_missing_checkpoint_is_one_sentence_with_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cold start SFT.*python -m r1lab cold_start --output"):
        find_stage(TINY, "cold_start", tmp_path / "nowhere")


def test_an_unfinished_checkpoint_is_refused(finished):
    (finished / "stage.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"never finished.*--resume"):
        find_stage(TINY, "cold_start", finished)


def test_the_wrong_parent_is_refused(finished):
    with pytest.raises(
        ValueError, match=r"is a checkpoint of stage 'cold_start', not 'reason'.*r1lab reason"
    ):
        find_parents(TINY, "reject", {"reason": finished})


def test_a_parent_the_stage_does_not_have_is_refused(finished):
    with pytest.raises(ValueError, match="does not start from align: it needs cold_start"):
        find_parents(TINY, "reason", {"align": finished})


def test_a_gpu_scale_looks_for_your_own_run(monkeypatch, tmp_path):
    monkeypatch.setenv("R1LAB_OUTPUT", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="python -m r1lab cold_start"):
        find_stage(get_scale("a100"), "cold_start")


class Saved:
    """Stands for a model and a tokenizer; notes whether the record of an older run was still there."""

    def save_pretrained(self, folder):
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text("{}")
        (folder / "tokenizer_config.json").write_text("{}")
        assert not (folder / checkpoints.RECORD).exists()

    def parameters(self):
        return ()


def test_a_saved_stage_is_found_again_and_carries_a_card(tmp_path):
    how = {"stage": "reject", "scale": TINY, "seed": 3, "recipe": "SFT on 7 rows", "seconds": 12.34}
    for _ in range(2):  # the second time over the first: the old record goes before new weights are written
        save_stage(
            Saved(), Saved(), tmp_path, parents={"base": "data/models/tiny-base", "reason": "x/reason"}, **how
        )
    assert find_stage(TINY, "reject", tmp_path) == str(tmp_path)
    card = (tmp_path / "README.md").read_text()
    for said in ("`tiny-base`", "`reason`", "SFT on 7 rows", "12 s", "| seed | 3 |"):
        assert said in card
