"""Rejection sampling: the filter on hand-made chains, the control, the mixture, and a whole small stage."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from r1lab.policy import Sample, load_policy
from r1lab.problems import load_general, load_problems
from r1lab.prompts import TAGS, format_completion
from r1lab.scale import DATA, SCALES
from r1lab.stages import align, reject
from r1lab.stages.checkpoints import RECORD

SMALL = replace(SCALES["tiny"], max_completion_tokens=48)
QUESTION = {"id": "a", "prompt": "Ani has 12 eggs. Ani buys 7. How many eggs now?", "solution": "19"}
QUESTION |= {"language": "en", "verifier": "math", "domain": "arithmetic", "level": "easy"}


def row(completion, **changes):
    """A pool row that is right and short unless `changes` say otherwise."""
    return {
        **QUESTION,
        "completion": completion,
        "tokens": 20,
        "truncated": False,
        "correct": True,
        **changes,
    }


def thought(text, answer="19"):
    return format_completion(text, answer)


class Copyist:
    """A sampler that writes the same good chain every time, but for every fourth sample, which is wrong."""

    def __init__(self):
        self.asked = 0

    def generate(self, prompts, *, samples=1, temperature=0.0, max_new_tokens=160, seed=0):
        self.asked += 1
        solutions = {problem["prompt"]: problem["solution"] for problem in load_problems("train")}
        groups = []
        for prompt in prompts:
            right = solutions.get(prompt[-1]["content"], "?")
            answers = ["no idea" if n % 4 == 3 else right for n in range(samples)]
            groups.append([Sample(thought("2+2=4.", answer), 12, False) for answer in answers])
        return groups


# ---------------------------------------------------------------------------------------------------- the filter
@pytest.mark.parametrize(
    ("judged", "reason"),
    [
        (row(thought("First 12+7=19.")), ""),
        (row(thought("Pertama 12+7=19."), language="id"), ""),
        (row(thought("12+7=19.")), ""),  # no function word: no evidence of mixing
        (row(thought("First 12+7=19. Wait, check: 12+7=19.")), ""),  # one check is no repetition
        (row(thought("First 12+7=19."), tokens=97), "over-long"),
        (row(thought("First 12+7=19."), truncated=True), "over-long"),
        (row("First 12+7=19. So the answer is 19."), "malformed"),
        (row(thought("First 12+7=18.", "18"), correct=False), "wrong answer"),
        (row(thought("First 12+7=19. Then 19*1=19. Then 19*1=19.")), "repeats itself"),
        (row(thought("First 12+7=19. Lalu 19*1=19.")), "mixes languages"),
        (row(thought("Pertama 12+7=19.")), "mixes languages"),
        # The first reason is the one that is named.
        (row("19", correct=False, tokens=97), "over-long"),
        (row("19", correct=False), "malformed"),
    ],
)
def test_a_sample_is_rejected_for_the_first_thing_that_is_wrong(judged, reason):
    assert reject.why_rejected(judged, limit=96) == reason


def test_likeness_is_about_what_is_said_and_not_how_it_is_linked():
    one = thought("First 12+7=19. Then 19-5=14.")
    assert reject.statements(one) == {"12+7=19", "19-5=14"}
    assert reject.likeness(one, thought("Pertama 12+7=19. Wait, check: 12+7=19. Lalu 19-5=14.")) == 1.0
    assert reject.likeness(one, thought("First 12+7=18. Wait, check: 12+7=19. Then 19-5=14.")) == 2 / 3
    assert reject.likeness(one, thought("First 7-5=2. Then 12+2=14.")) == 0.0
    assert reject.statements("First number 1 is Ani. Next number 2 is Tom.") == {
        "number 1 is ani",
        "number 2 is tom",
    }
    assert reject.likeness("", "") == 1.0


def test_near_duplicates_are_dropped_within_a_prompt_only():
    said = [
        "First 12+7=19. Then 19-5=14.",
        "First 12+7=19. Next 19-5=14.",
        "First 7-5=2. Then 2+12=14.",
    ]
    pool = [row(thought(text, "14")) for text in said] + [row(thought(said[0], "14"), id="b")]
    judged = reject.judge(pool, 96)
    assert [r["rejected"] for r in judged] == ["", "near-duplicate", "", ""]
    assert [r["completion"] for r in judged] == [r["completion"] for r in pool]


def test_the_cap_counts_kept_samples_only():
    said = [thought("First 1+1=2."), thought("Then 20*20=400. Next 3+3=6."), thought("100-81=19."), "bad"]
    pool = [row("bad"), *map(row, said)]
    reasons = [r["rejected"] for r in reject.judge(pool, 96, cap=2)]
    assert reasons == ["malformed", "", "", "over the cap", "malformed"]
    assert Counter(r["rejected"] for r in reject.judge(pool, 96, cap=1))[""] == 1


def test_acceptance_adds_up():
    pool = [row(thought("First 12+7=19.")), row(thought("Next 12+7=19.")), row("19"), row("19", level="hard")]
    judged = reject.judge(pool, 96)
    table = reject.acceptance(judged, "level")
    assert table["easy"] == {
        "samples": 3,
        "passed": 2,
        "kept": 1,
        "rejected": {"near-duplicate": 1, "malformed": 1},
    }
    assert table["hard"]["kept"] == 0
    for line in table.values():
        assert line["kept"] + sum(line["rejected"].values()) == line["samples"]


def test_the_control_is_as_large_and_chosen_by_chance():
    pool = [row(thought(f"First {n}+1={n + 1}."), id=str(n)) for n in range(30)]
    judged = reject.judge(pool + [row("19", id=str(n)) for n in range(30)], 96)
    control = reject.keep_random(judged, seed=3)
    assert len(control) == len(reject.keep_best(judged)) == 30
    assert {r["rejected"] for r in control} == {"", "malformed"}  # nothing was filtered
    assert control == reject.keep_random(judged, seed=3) != reject.keep_random(judged, seed=4)


# -------------------------------------------------------------------------------------------------- the mixture
def test_the_mixture_holds_its_share_of_plain_replies_and_of_refusals():
    general = load_general("train")
    chosen = [row(thought(f"First {n}+1={n + 1}."), id=str(n)) for n in range(400)]
    rows = reject.mixture(chosen, general, seed=0, share=0.2)
    plain = [r for r in rows if not any(tag in r["completion"] for tag in TAGS)]
    assert len(rows) == 500 and len(plain) == 100
    assert set(rows[0]) == {"prompt", "completion", "language"}
    refused = {r["prompt"] for r in general if r["kind"] == "harmful"}
    assert sum(r["prompt"] in refused for r in plain) == round(reject.KINDS["harmful"] * 100)
    poor = {r["poor"] for r in general} - {r["good"] for r in general}
    assert not any(r["completion"] in poor for r in rows)
    assert rows == reject.mixture(chosen, general, seed=0, share=0.2)
    assert rows != reject.mixture(chosen, general, seed=1, share=0.2)
    assert len(reject.mixture(chosen, general, share=0.0)) == 400


def test_general_kinds_have_their_shares_and_their_rows_equal_ones():
    rows = load_general("train")
    kinds = {row["prompt"]: row["kind"] for row in rows}
    taken = reject.general_rows(1000, rows)
    counts = Counter(kinds[r["prompt"]] for r in taken)
    assert counts == {kind: round(1000 * share) for kind, share in reject.KINDS.items()}
    assert len(reject.general_rows(7, rows)) == 7
    used = Counter(r["prompt"] for r in taken)
    for kind in set(kinds.values()):
        times = [used[prompt] for prompt in kinds if kinds[prompt] == kind]
        assert max(times) - min(times) <= 1


# ------------------------------------------------------------------------------------------------------ the pool
def test_a_pool_row_is_a_problem_with_one_graded_sample():
    problems = load_problems("train")[:3]
    pool = reject.draw_pool(Copyist(), problems, SMALL, samples=4)
    assert [r["id"] for r in pool] == [p["id"] for p in problems for _ in range(4)]
    assert [r["correct"] for r in pool] == [True, True, True, False] * 3


def test_an_interrupted_stage_uses_the_pool_it_had_drawn(tmp_path, monkeypatch):
    sampler = Copyist()
    monkeypatch.setattr(reject, "load_policy", lambda name: sampler)
    how = {"seed": 0, "prompts": 5, "samples": 4}
    pool = reject.make_pool(SMALL, "x", tmp_path, resume=False, **how)
    assert reject.make_pool(SMALL, "x", tmp_path, resume=True, **how) == pool and sampler.asked == 1
    other = reject.make_pool(SMALL, "x", tmp_path, resume=True, **{**how, "seed": 1})
    assert sampler.asked == 2 and other != pool  # the pool of another run is no pool of this one
    reject.make_pool(SMALL, "x", tmp_path, resume=False, **{**how, "seed": 1})
    assert sampler.asked == 3


# ----------------------------------------------------------------------------------------------------- the stage
@pytest.fixture
def reason_folder(tmp_path):
    """A folder that passes for the checkpoint of stage reason."""
    folder = tmp_path / "tiny-r1-reason"
    folder.mkdir()
    for file in (DATA / "models" / "tiny-base").iterdir():
        (folder / file.name).symlink_to(file)
    (folder / RECORD).write_text(json.dumps({"stage": "reason"}))
    return folder


BIG = SCALES["t4"]


@pytest.mark.parametrize("way", ["reject", "align", "align-dpo"])
def test_a_large_scale_does_not_learn_from_the_general_prompts_of_the_tiny_world(way, tmp_path, monkeypatch):
    stage = way.partition("-")[0]
    module = {"reject": reject, "align": align}[stage]
    monkeypatch.delenv("R1LAB_GENERAL", raising=False)
    monkeypatch.setattr(module, "find_parents", lambda *_: {"base": "b", "reason": "r", "reject": "j"})
    for name in ("load_policy", "train_reward_model", "load_trainable"):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("it went on"), raising=False)
    with pytest.raises(ValueError, match=r"scale t4 has no general prompts.* --general"):
        module.ARMS[way](BIG, tmp_path)
    monkeypatch.setenv("R1LAB_GENERAL", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no file .*\.jsonl"):
        module.ARMS[way](BIG, tmp_path)


def test_general_prompts_of_ones_own_are_read_and_checked(tmp_path, monkeypatch):
    rows = [{**row, "prompt": f"Mine: {row['prompt']}"} for row in load_general("train")]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("R1LAB_GENERAL", str(tmp_path))
    assert load_general("train", BIG) == load_general("train") == rows
    for bad in (rows[:1], [], [{"id": "a", "more": 1}], [row | {"kind": "joke"} for row in rows]):
        path.write_text("".join(json.dumps(row) + "\n" for row in bad))
        with pytest.raises(ValueError, match=r"train.jsonl in R1LAB_GENERAL needs rows of all kinds"):
            load_general("train", BIG)


@pytest.mark.slow
def test_two_steps_train_the_base_and_leave_a_checkpoint_with_its_facts(tmp_path, reason_folder, monkeypatch):
    import torch

    monkeypatch.setattr(reject, "load_policy", lambda name: Copyist())
    monkeypatch.setattr(reject, "load_general", lambda split, scale=None: load_general(split)[::7])
    output = tmp_path / "run"
    small = {"folders": {"reason": reason_folder}, "prompts": 16, "max_steps": 2, "warmup_steps": 0}
    run = reject.ARMS["reject"](SMALL, output, **small)
    facts = run["facts"]
    assert facts["samples"] == 64 and facts["chosen"] == facts["chosen_correct"] == 16
    assert facts["rejected"] == {"near-duplicate": 32, "wrong answer": 16}
    assert facts["steps"] == 2 and json.dumps(facts)
    record = json.loads((output / RECORD).read_text())
    assert record["stage"] == "reject" and record["parents"]["base"] == "tiny-base"
    trained, base = (load_policy(name).model.model.embed_tokens.weight for name in (output, "tiny-base"))
    assert not torch.equal(trained, base)

    control = reject.ARMS["reject-random"](SMALL, tmp_path / "control", **small)["facts"]
    assert (control["rows"], control["steps"]) == (facts["rows"], facts["steps"])
    assert control["chosen_correct"] < control["chosen"] == facts["chosen"]


def test_a_filter_that_leaves_nothing_says_so(tmp_path, reason_folder, monkeypatch):
    monkeypatch.setattr(reject, "load_policy", lambda name: Copyist())
    monkeypatch.setattr(reject, "why_rejected", lambda row, limit: "mixes languages")
    with pytest.raises(ValueError, match="none of 8 samples passed"):
        reject.train_reject(SMALL, tmp_path / "run", folders={"reason": reason_folder}, prompts=2)


def test_the_sampler_must_be_the_reasoning_model(tmp_path, reason_folder):
    (reason_folder / RECORD).write_text(json.dumps({"stage": "cold_start"}))
    with pytest.raises(ValueError, match="not 'reason': make it with `python -m r1lab reason"):
        reject.train_reject(SMALL, tmp_path / "run", folders={"reason": reason_folder})
    with pytest.raises(FileNotFoundError, match="r1lab reason"):
        reject.train_reject(SMALL, tmp_path / "run", folders={"reason": tmp_path / "nowhere"})


def test_each_seed_asks_other_problems():
    first, again, other = (reject.sampled_problems(SMALL, seed, 50) for seed in (0, 0, 1))
    assert first == again != other and len({p["id"] for p in first}) == 50
    assert {p["level"] for p in first} == {"easy", "medium"}
