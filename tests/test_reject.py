"""Rejection sampling: the control, the mixture, and a whole small stage; test_filters.py has the filters."""

import json
from collections import Counter
from dataclasses import replace
from importlib import import_module

import pytest
import torch
from helpers import stand_in

from r1lab.policy import load_policy
from r1lab.problems import load_general, load_problems
from r1lab.prompts import TAGS, format_completion
from r1lab.recipe import STAGES, VARIANTS
from r1lab.sampling import Sample
from r1lab.scale import SCALES
from r1lab.stages import filters, general_report, reject
from r1lab.stages.checkpoints import RECORD
from r1lab.stages.runner import Run, train_stage


def rollout(number, **changes):
    """A rollout that is right and short, in the one language of its question."""
    row = {"id": str(number), "prompt": f"{number}+1?", "solution": str(number + 1), "language": "en"}
    text = format_completion(f"First {number}+1={number + 1}.", str(number + 1))
    return {**row, "completion": text, "tokens": 20, "truncated": False, "correct": True, **changes}


class Copyist:
    """A sampler that writes the same good chain every time, but for every fourth sample, which is wrong."""

    def __init__(self):
        self.calls = 0

    def generate(self, prompts, *, samples=1, temperature=0.0, max_new_tokens=160, seed=0):
        self.calls += 1
        solutions = {problem["prompt"]: problem["solution"] for problem in load_problems("train")}
        groups = []
        for prompt in prompts:
            right = solutions.get(prompt[-1]["content"], "?")
            answers = ["no idea" if n % 4 == 3 else right for n in range(samples)]
            groups.append([Sample(format_completion("2+2=4.", answer), 12, False) for answer in answers])
        return groups


# -------------------------------------------------------------------------------------------------- what is chosen
SMALL = replace(SCALES["tiny"], max_completion_tokens=48)


def test_the_control_is_as_large_and_chosen_by_chance():
    pool = [rollout(n) for n in range(30)] + [rollout(n, completion="19") for n in range(30)]
    marked = filters.apply_filters(pool, reject.quality_filters(SMALL))
    control = reject.keep_random(marked, seed=3)
    assert len(control) == len(filters.keep(marked)) == 30
    assert {r["rejected"] for r in control} == {"", "malformed"}  # nothing was filtered
    assert control == reject.keep_random(marked, seed=3) != reject.keep_random(marked, seed=4)


def test_the_mixture_holds_its_share_of_plain_replies_and_of_refusals():
    prompts = load_general("train")
    chosen = [rollout(n) for n in range(400)]
    rows = reject.mixture(chosen, prompts, seed=0, share=0.2)
    plain = [r for r in rows if not any(tag in r["completion"] for tag in TAGS)]
    assert len(rows) == 500 and len(plain) == 100
    kinds = {row["prompt"]: row["kind"] for row in prompts}
    counts = Counter(kinds[row["prompt"]] for row in plain)
    assert counts == {kind: round(100 * share) for kind, share in reject.KINDS.items()}
    poor = {r["poor"] for r in prompts} - {r["good"] for r in prompts}
    assert not any(r["completion"] in poor for r in rows)
    again, other = (reject.mixture(chosen, prompts, seed=seed, share=0.2) for seed in (0, 1))
    assert rows == again != other
    assert len(reject.mixture(chosen, prompts, share=0.0)) == 400


def test_a_pool_is_one_graded_rollout_for_each_sample_and_each_seed_has_other_problems():
    first, again, other = (reject.sampled_problems(SMALL, seed, 50) for seed in (0, 0, 1))
    assert first == again != other and len({p["id"] for p in first}) == 50
    assert {p["level"] for p in first} == {"easy", "medium"}
    pool = reject.sample_pool(Copyist(), first[:3], SMALL)
    assert [r["id"] for r in pool] == [p["id"] for p in first[:3] for _ in range(4)]
    assert [r["correct"] for r in pool] == [True, True, True, False] * 3


# ----------------------------------------------------------------------------------------------------- the stage


@pytest.fixture
def sampler(monkeypatch):
    policy = Copyist()
    monkeypatch.setattr(reject, "load_policy", lambda path: policy)
    return policy


def test_an_interrupted_run_uses_the_pool_it_had_sampled(tmp_path, sampler, monkeypatch):
    monkeypatch.setattr(reject, "make_sft_trainer", lambda *_, rows, **__: rows)

    def rows(seed, resume, **options):
        run = Run("reject", SMALL, tmp_path, {"base": "b", "reason": "r"}, seed, resume)
        return reject.make_trainer(run, prompts=5, **options)

    first = rows(seed=0, resume=False)
    assert rows(seed=0, resume=True) == first and sampler.calls == 1
    # The variants choose other rows of the same pool.
    variants = (STAGES["reject"].variants[f"reject-{name}"] for name in ("reasoning", "random"))
    reasoning, random = (rows(0, True, **options) for options in variants)
    assert all(TAGS[0] in row["completion"] for row in reasoning) and len(reasoning) < len(first)
    assert random != first and len(random) == len(first) and sampler.calls == 1
    # The pool of another run is no pool of this one.
    assert rows(seed=1, resume=True) != first and sampler.calls == 2
    rows(seed=1, resume=False)
    assert sampler.calls == 3
    monkeypatch.setattr(reject, "quality_filters", lambda _: [filters.Filter("", "bad", lambda _: False)])
    with pytest.raises(ValueError, match="none of 20 samples passed"):
        rows(seed=1, resume=True)


@pytest.mark.parametrize("name", ["reject", "align", "align-dpo"])
def test_a_large_scale_does_not_learn_from_the_general_prompts_of_the_tiny_world(name, tmp_path, monkeypatch):
    stage, options = VARIANTS[name]
    module = import_module(f"r1lab.stages.{stage}")
    monkeypatch.delenv("R1LAB_GENERAL", raising=False)
    for function in ("load_policy", "train_reward_model", "load_trainable"):
        monkeypatch.setattr(module, function, lambda *_, **__: pytest.fail("it went on"), raising=False)
    run = Run(stage, SCALES["t4"], tmp_path, {"base": "b", "reason": "r", "reject": "j"})
    with pytest.raises(ValueError, match=r"scale t4 has no general prompts.* --general"):
        module.make_trainer(run, **options)
    monkeypatch.setenv("R1LAB_GENERAL", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no file .*\.jsonl"):
        module.make_trainer(run, **options)


def test_general_prompts_of_ones_own_are_read_and_checked(tmp_path, monkeypatch):
    rows = [{**row, "prompt": f"Mine: {row['prompt']}"} for row in load_general("train")]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("R1LAB_GENERAL", str(tmp_path))
    assert load_general("train", SCALES["t4"]) == load_general("train") == rows
    for bad in (rows[:1], [], [{"id": "a", "more": 1}], [row | {"kind": "joke"} for row in rows]):
        path.write_text("".join(json.dumps(row) + "\n" for row in bad))
        with pytest.raises(ValueError, match=r"train.jsonl in R1LAB_GENERAL needs rows of all kinds"):
            load_general("train", SCALES["t4"])


def test_a_short_run_trains_the_base_and_leaves_its_facts(tmp_path, sampler, monkeypatch):
    monkeypatch.setattr(general_report, "load_general", lambda split, scale: load_general(split)[::20])
    output, parent = tmp_path / "run", stand_in(tmp_path / "tiny-r1-reason", "reason")
    small = {"folders": {"reason": parent}, "prompts": 16, "max_steps": 1, "warmup_steps": 0}
    facts = train_stage("reject", SMALL, output, save_strategy="no", **small)["facts"]
    assert facts["samples"] == 64 and facts["chosen"] == facts["chosen_correct"] == 16
    assert facts["rejected"] == {"near-duplicate": 32, "wrong answer": 16}
    assert facts["steps"] == 1 and facts["rows"] == 64 and json.dumps(facts)
    assert set(facts["general"]["trained"]) > {"benign", "harmful refused", "how_to"}
    record = json.loads((output / RECORD).read_text())
    assert record["stage"] == "reject" and record["parents"]["base"] == "tiny-base"
    assert "16 of 64 samples" in record["recipe"] and "48 general" in record["recipe"]
    trained, base = (load_policy(name).model.model.embed_tokens.weight for name in (output, "tiny-base"))
    assert not torch.equal(trained, base)


def test_the_sampler_must_be_the_reasoning_model(tmp_path):
    parent = stand_in(tmp_path / "parent", "cold_start")
    with pytest.raises(ValueError, match="not 'reason': make it with `python -m r1lab reason"):
        train_stage("reject", SMALL, tmp_path / "run", folders={"reason": parent})
