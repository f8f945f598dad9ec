"""The alignment stage: pairs, the reward they become, who pays for what, and a few steps of each arm."""

import json
import random
from dataclasses import replace
from types import SimpleNamespace

import pytest

from r1lab.problems import load_general
from r1lab.rewards.general import answers_well
from r1lab.scale import DATA, SCALES
from r1lab.stages import align, preference
from r1lab.stages.align import (
    ARMS,
    OnlyFor,
    StopWhenFalling,
    align_dataset,
    align_rewards,
    answered_well,
    curve,
    train_align,
    train_dpo,
)
from r1lab.stages.checkpoints import RECORD
from r1lab.stages.preference import (
    LOWEST,
    PreferenceReward,
    garble,
    hasty_pairs,
    load_classifier,
    pair_accuracy,
    preference_pairs,
    train_reward_model,
)

SMALL = replace(SCALES["tiny"], groups=4, group_size=4, max_completion_tokens=32)
BASE = DATA / "models" / "tiny-base"
TRAIN = load_general("train")
ENGLISH = {
    kind: [row for row in TRAIN if (row["kind"], row["language"]) == (kind, "en")]
    for kind in ("greeting", "fact", "harmful", "how_to")
}
FEW = [row for rows in ENGLISH.values() for row in (rows[0], rows[-1])]  # two of each kind
QUICK = {"max_steps": 2, "save_strategy": "no"}


@pytest.fixture(scope="module")
def judge():
    """An untrained reward model: enough for everything but its opinion."""
    return PreferenceReward(*load_classifier(BASE), "bare", raw=True)


@pytest.fixture
def sft2(tmp_path):
    """A folder that passes for the checkpoint of SFT 2: the base model under its name."""
    folder = tmp_path / "reject"
    folder.mkdir()
    for path in BASE.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / RECORD).write_text(json.dumps({"stage": "reject"}))
    return folder


@pytest.fixture
def few_rows(monkeypatch):
    monkeypatch.setattr(align, "load_general", lambda split, scale=None: FEW)


# ------------------------------------------------------------------------------------------------------- pairs
def test_a_model_that_is_no_safetensors_is_not_loaded(tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(BASE, num_labels=1)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"no model\.safetensors can be read in .*: save the model again"):
        load_classifier(tmp_path)


def test_the_chosen_reply_is_good_and_a_request_is_not_answered_by_its_opposite():
    rows = {row["prompt"]: row for row in TRAIN}
    pairs = preference_pairs(TRAIN)
    assert len(pairs) == 3 * len(TRAIN)
    for pair in pairs:
        row = rows[pair["prompt"]]
        assert answers_well(pair["chosen"], row) and pair["chosen"] != pair["rejected"]
        # a greeting may be returned in more than one way, and not every slip of the tongue spoils a reply
        if row["kind"] != "greeting" and pair["why"] != "garbled":
            assert not answers_well(pair["rejected"], row), pair


def test_a_garbled_text_is_another_text():
    rng = random.Random(0)
    for text in ("Hello! How can I help you today?", "Sure! First get ready, then begin.", "aa aa"):
        assert all(garble(text, rng) != text for _ in range(200))


def test_pairs_are_the_same_for_the_same_seed_only():
    assert preference_pairs(TRAIN, 1) == preference_pairs(TRAIN, 1) != preference_pairs(TRAIN, 2)


def test_a_hasty_rater_prefers_more_words_to_the_same_good_reply():
    pairs = hasty_pairs(TRAIN, haste=0.25)
    longer = [pair for pair in pairs if pair["why"] == "longer"]
    assert len(longer) == len(TRAIN) // 4 and len(pairs) == 3 * len(TRAIN) + len(longer)
    assert all(pair["chosen"].startswith(pair["rejected"] + " ") for pair in longer)


# -------------------------------------------------------------------------------------------- the reward model
def test_the_reward_model_speaks_of_general_prompts_only(judge):
    columns = {"question": ["Hello!"] * 3, "language": ["en"] * 3}
    scores = judge(["Hi.", "Hello there!", "Hi."], **columns, verifier=["general", "math", "general"])
    assert scores[1] is None and scores[0] == pytest.approx(scores[2], abs=1e-4)
    assert None not in judge(["Hi.", "a", "b"], **columns)


def test_silence_scores_lowest_and_squashing_keeps_the_order(judge):
    texts = ["Hello! How can I help you today?", "What.", "", "  \n"]
    raw = judge.score(["Hello!"] * 4, texts, ["en"] * 4)
    assert raw[2] == raw[3] == LOWEST < min(raw[:2])
    squashed = PreferenceReward(judge.model, judge.tokenizer, "bare").score(["Hello!"] * 4, texts, ["en"] * 4)
    assert all(0 <= value <= 1 for value in squashed)
    assert (squashed[0] > squashed[1]) == (raw[0] > raw[1])


def test_no_text_makes_the_reward_model_raise(judge):
    texts = [
        None,
        [],
        [{"role": "assistant", "content": "hi"}],
        "\ud800",
        "\x00",
        "word " * 5000,
        "<think>" * 9,
        "é😀",
    ]
    scores = judge(texts, question=["Hello!"] * len(texts), language=["en"] * len(texts))
    assert len(scores) == len(texts) and all(isinstance(score, float) for score in scores)
    assert judge([], question=[], language=[]) == []


def test_a_score_does_not_depend_on_its_batch(judge, monkeypatch):
    rows = TRAIN[::40]
    columns = [[row[key] for row in rows] for key in ("prompt", "good", "language")]
    together = judge.score(*columns)
    monkeypatch.setattr(preference, "BATCH", 2)
    assert judge.score(*columns) == pytest.approx(together, abs=1e-4)


def test_an_end_is_read_and_a_reply_cut_off_has_none(judge):
    end = judge.tokenizer.eos_token_id
    assert judge._read("Hello!", "Hi.", "en")[-1] == end
    assert judge._read("Hello!", "word " * 200, "en")[-1] != end


@pytest.mark.slow
def test_training_teaches_the_pairs_and_resuming_loads_what_was_finished(tmp_path):
    pairs = preference_pairs(FEW)
    reward = train_reward_model(
        SMALL, pairs, BASE, tmp_path / "rm", num_train_epochs=12, learning_rate=1e-3, warmup_steps=0
    )
    assert pair_accuracy(reward, pairs) == 1.0
    again = train_reward_model(SMALL, [], "nowhere", tmp_path / "rm", resume=True)
    said = [[pair[key] for pair in pairs] for key in ("prompt", "chosen", "language")]
    assert again.score(*said) == pytest.approx(reward.score(*said), abs=1e-4)


# ----------------------------------------------------------------------------------------- who pays for what
def test_each_reward_leaves_out_what_is_not_its_own(judge):
    rewards = align_rewards(judge)
    row = next(row for row in TRAIN if row["kind"] == "harmful")
    rows = [
        {**row, "question": row["prompt"], "verifier": "general", "solution": "", "tests": ""},
        {**row, "question": "What is 2+2?", "verifier": "math", "solution": "4", "tests": "", "good": ""},
    ]
    columns = {key: [each[key] for each in rows] for key in rows[0] if key != "prompt"}
    columns["prompts"] = [[{"role": "user", "content": each["question"]}] for each in rows]
    texts = [row["good"], "<think>So 2+2=4.</think> <answer>4</answer>"]
    paid = {
        function.__name__: [score is not None for score in function(texts, **columns)]
        for function in rewards["reward_funcs"]
    }
    for name in ("preference", "helpfulness_proxy", "harmlessness_proxy", "answered_well"):
        assert paid[name] == [True, False], name
    for name in ("accuracy", "format"):
        assert paid[name] == [False, True], name
    assert paid["language_consistency"] == [True, True]
    assert not any(paid["logic"] + paid["code"])


def test_the_answer_sheet_watches_and_pays_nothing(judge):
    rewards = align_rewards(judge)
    names = [function.__name__ for function in rewards["reward_funcs"]]
    weights = dict(zip(names, rewards["reward_weights"], strict=True))
    assert weights["answered_well"] == 0.0
    assert weights["preference"] > 2 * (weights["helpfulness_proxy"] + weights["harmlessness_proxy"])


def test_the_watch_judges_by_kind():
    rows = [{**row, "question": row["prompt"], "verifier": "general"} for row in TRAIN[::50]]
    columns = {
        key: [row[key] for row in rows] for key in ("question", "language", "kind", "good", "verifier")
    }
    assert answered_well([row["good"] for row in rows], **columns) == [1.0] * len(rows)
    assert answered_well([row["poor"] for row in rows], **columns) == [0.0] * len(rows)
    columns["verifier"] = ["math"] * len(rows)
    assert answered_well([row["good"] for row in rows], **columns) == [None] * len(rows)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_general_prompts_make_up_their_share(share):
    rows = align_dataset(SCALES["tiny"], share)
    kinds = list(rows["verifier"])
    assert kinds.count("general") / len(kinds) == pytest.approx(share, abs=0.001)
    fresh = {row["prompt"] for row in load_general("preference")}
    asked = {row["question"] for row in rows if row["verifier"] == "general"}
    assert asked == fresh and not asked & {row["prompt"] for row in TRAIN}


def test_alone_the_general_prompts_come_once():
    rows = align_dataset(SCALES["tiny"], 1.0)
    assert sorted(rows["question"]) == sorted(row["prompt"] for row in load_general("preference"))


def test_an_inner_reward_keeps_its_name():
    class Inner:
        __name__ = "inner"

        def __call__(self, completions, **_):
            return [1.0] * len(completions)

    only = OnlyFor(Inner(), general=True)
    assert only.__name__ == "inner" and only(["a", "b"], verifier=["general", "code"]) == [1.0, None]


# ------------------------------------------------------------------------------------------------ early stopping
def stopped_at(values, **options):
    """The step at which a run with these values of the watch ends."""
    stop = StopWhenFalling("check", window=2, **options)
    for step, value in enumerate(values):
        control = SimpleNamespace(should_training_stop=False)
        stop.on_log(None, None, control, {"check": value} if value is not None else {"loss": 1.0})
        if control.should_training_stop:
            return step
    return None


def test_a_run_stops_when_the_check_falls_and_only_then():
    assert stopped_at([0.5, 0.6, 0.7, 0.8]) is None
    assert stopped_at([0.8, 0.8, 0.79, 0.79], drop=0.05) is None
    assert stopped_at([0.5, 0.8, 0.8, 0.6, 0.6], drop=0.05) == 3
    assert stopped_at([0.1, None, None], drop=0.05) is None


# ------------------------------------------------------------------------------------------------- a few steps
@pytest.mark.slow
def test_a_few_steps_leave_a_card_and_facts(tmp_path, sft2, few_rows):
    run = train_align(SMALL, tmp_path / "out", folders={"reject": sft2}, **QUICK)
    steps = [row for row in run["history"] if "reward" in row]
    assert [row["step"] for row in steps] == [1, 2]
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert record["stage"] == "align" and record["parents"] == {"reject": "reject"}
    assert "2 steps" in record["recipe"]
    facts = json.loads(json.dumps(run["facts"]))
    assert 0 <= facts["pairs"] <= 1 and set(facts["general"]) == {"before", "after"}
    assert set(facts["general"]["after"]) == {"overall", "greeting", "fact", "harmful", "how_to"}
    assert facts["curve"][-1]["step"] == 2 and "kl" not in facts["curve"][0]
    assert facts["replies"] and set(facts["refused"]["after"]) == {"harmful", "benign"}


@pytest.mark.slow
def test_the_kl_arm_has_a_kl_term_and_asks_the_judge_alone(tmp_path, sft2, few_rows):
    held = ARMS["align-kl"](SMALL, tmp_path / "held", folders={"reject": sft2}, **QUICK)
    assert "kl" in held["facts"]["curve"][0]
    assert not any("rewards/accuracy/mean" in row for row in held["history"])
    assert "a reward model alone" in json.loads((tmp_path / "held" / RECORD).read_text())["recipe"]


@pytest.mark.slow
def test_dpo_trains_on_the_pairs(tmp_path, sft2, few_rows):
    run = train_dpo(SMALL, tmp_path / "out", folders={"reject": sft2}, **QUICK)
    assert any("rewards/margins" in row for row in run["history"])
    assert "DPO on 48" in json.loads((tmp_path / "out" / RECORD).read_text())["recipe"]
    assert "before" in run["facts"]["general"]


def test_a_missing_parent_is_refused_with_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m r1lab reject"):
        train_align(SMALL, tmp_path / "out", folders={"reject": tmp_path / "nowhere"})
    with pytest.raises(ValueError, match="no field bad_name"):
        align.make_dpo_args(SMALL, tmp_path, bad_name=1)


def test_curves_are_means_over_a_few_steps():
    history = [
        {"step": step, "reward": 1.0, "rewards/preference/mean": float(step), "kl": 0.5}
        for step in range(1, 8)
    ]
    assert curve(history) == [
        {"step": 5, "preference": 3.0, "kl": 0.5},
        {"step": 7, "preference": 6.5, "kl": 0.5},
    ]


def test_the_curve_of_dpo_holds_its_margin():
    history = [{"step": 1, "rewards/margins": 0.5, "logps/chosen": -1.0}, {"step": 1, "train_runtime": 3.0}]
    assert curve(history) == [{"step": 1, "margin": 0.5, "chosen": -1.0}]
