"""The alignment stage: pairs, the reward model, which prompt gets which reward, and a few steps of each variant."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from helpers import SMALL, stand_in

from r1lab.problems import load_general, load_problems
from r1lab.rewards.general import answers_well
from r1lab.scale import DATA, SCALES
from r1lab.stages import align, general_report, preference
from r1lab.stages.checkpoints import RECORD
from r1lab.stages.config import make_dpo_args
from r1lab.stages.runner import train_stage

BASE = DATA / "models" / "tiny-base"
TRAIN = load_general("train")
KINDS = ("greeting", "fact", "harmful", "how_to")
ENGLISH = {kind: [row for row in TRAIN if (row["kind"], row["language"]) == (kind, "en")] for kind in KINDS}
FEW = [row for rows in ENGLISH.values() for row in (rows[0], rows[-1])]


@pytest.fixture(autouse=True)
def few_problems(monkeypatch):
    """Rendering all training problems takes seconds."""
    monkeypatch.setattr(align, "load_scale_problems", lambda scale, split: load_problems(split)[:200])


@pytest.fixture(scope="module")
def untrained():
    """An untrained reward model: enough for everything but the order of its scores."""
    return preference.PreferenceReward(*preference.load_classifier(BASE), "bare", raw=True)


# ------------------------------------------------------------------------------------------------------- pairs
def test_the_chosen_reply_is_good_and_the_rejected_one_is_not():
    rows = {row["prompt"]: row for row in TRAIN}
    pairs = preference.preference_pairs(TRAIN)
    assert len(pairs) == 3 * len(TRAIN)
    for pair in pairs:
        row = rows[pair["prompt"]]
        assert answers_well(pair["chosen"], row) and pair["chosen"] != pair["rejected"]
        # A greeting may be returned in more than one way, and not every fault spoils a reply.
        if row["kind"] != "greeting" and pair["why"] != "garbled":
            assert not answers_well(pair["rejected"], row), pair
    assert pairs == preference.preference_pairs(TRAIN) != preference.preference_pairs(TRAIN, 1)
    longer = [p for p in preference.length_biased_pairs(TRAIN, share=0.25) if p["why"] == "longer"]
    assert len(longer) == len(TRAIN) // 4
    assert all(pair["chosen"].startswith(pair["rejected"] + " ") for pair in longer)


# -------------------------------------------------------------------------------------------- the reward model
def test_a_model_that_is_no_safetensors_is_not_loaded(tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(BASE, num_labels=1)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"no model\.safetensors can be read in .*: save the model again"):
        preference.load_classifier(tmp_path)


def test_an_empty_reply_scores_lowest_and_squashing_keeps_the_order(untrained):
    texts = ["Hello! How can I help you today?", "What.", "", "  \n"]
    raw = untrained.score(["Hello!"] * 4, texts, ["en"] * 4)
    assert raw[2] == raw[3] == preference.LOWEST_LOGIT < min(raw[:2])
    squashed = preference.PreferenceReward(untrained.model, untrained.tokenizer, "bare")
    scores = squashed(texts, question=["Hello!"] * 4, language=["en"] * 4)
    assert all(0 <= score <= 1 for score in scores)
    assert (scores[0] > scores[1]) == (raw[0] > raw[1])


def test_no_text_makes_the_reward_model_raise(untrained):
    message = [{"role": "assistant", "content": "hi"}]
    texts = [None, [], message, "\ud800", "\x00", "word " * 5000, "<think>" * 9, "é😀"]
    scores = untrained(texts, question=["Hello!"] * len(texts), language=["en"] * len(texts))
    assert len(scores) == len(texts) and all(isinstance(score, float) for score in scores)
    assert untrained([], question=[], language=[]) == []
    with pytest.raises(ValueError, match="needs the dataset column 'question'"):
        untrained(["Hi."], language=["en"])


def test_a_score_depends_neither_on_its_batch_nor_on_what_is_cut_off(untrained, monkeypatch):
    columns = [[row[key] for row in TRAIN[::80]] for key in ("prompt", "good", "language")]
    together = untrained.score(*columns)
    monkeypatch.setattr(preference, "BATCH", 2)
    assert untrained.score(*columns) == pytest.approx(together, abs=1e-4)
    end = untrained.tokenizer.eos_token_id
    assert untrained.encode("Hello!", "Hi.", "en")[-1] == end
    assert untrained.encode("Hello!", "word " * 200, "en")[-1] != end


@pytest.mark.slow
def test_training_teaches_the_pairs_and_resuming_loads_what_was_finished(tmp_path):
    pairs = preference.preference_pairs(FEW)
    settings = {"num_train_epochs": 12, "learning_rate": 1e-3, "warmup_steps": 0}
    reward = preference.train_reward_model(SMALL, pairs, BASE, tmp_path / "rm", **settings)
    assert preference.pair_accuracy(reward, pairs) == 1.0
    again = preference.train_reward_model(SMALL, [], "nowhere", tmp_path / "rm", resume=True)
    columns = [[pair[key] for pair in pairs] for key in ("prompt", "chosen", "language")]
    assert again.score(*columns) == pytest.approx(reward.score(*columns), abs=1e-4)


# ------------------------------------------------------------------------------- which prompt gets which reward
def test_each_reward_scores_its_own_rows_and_the_answer_sheet_is_not_rewarded(untrained):
    rewards = align.align_rewards(untrained)
    row = ENGLISH["harmful"][0]
    request = {**row, "question": row["prompt"], "verifier": "general", "solution": "", "tests": ""}
    problem = request | {
        "question": "What is 2+2?",
        "verifier": "math",
        "solution": "4",
        "kind": "",
        "good": "",
    }
    columns = {key: [request[key], problem[key]] for key in problem if key != "prompt"}
    columns["prompts"] = [[{"role": "user", "content": text}] for text in columns["question"]]
    texts = [row["good"], "<think>So 2+2=4.</think> <answer>4</answer>"]
    scored = {f.__name__: [s is not None for s in f(texts, **columns)] for f in rewards["reward_funcs"]}
    general_only = ("preference", "helpfulness_proxy", "harmlessness_proxy", "answered_well")
    assert [scored[name] for name in general_only] == [[True, False]] * 4
    assert [scored[name] for name in ("accuracy", "format")] == [[False, True]] * 2
    assert scored["language_consistency"] == [True, True] and not any(scored["logic"] + scored["code"])
    weights = dict(zip(scored, rewards["reward_weights"], strict=True))
    assert weights["answered_well"] == 0.0
    assert weights["preference"] > 2 * (weights["helpfulness_proxy"] + weights["harmlessness_proxy"])
    # What is only logged knows the good and the poor replies of every kind.
    rows = TRAIN[::50]
    known = {key: [row[key] for row in rows] for key in ("language", "kind", "good")}
    for reply, score in (("good", 1.0), ("poor", 0.0)):
        scores = align.AnsweredWell()([r[reply] for r in rows], question=[r["prompt"] for r in rows], **known)
        assert scores == [score] * len(rows)


def test_a_restricted_reward_sees_its_rows_and_keeps_its_name():
    seen = []

    class Inner:
        __name__ = "inner"

        def __call__(self, completions, *, solution, trainer_state, **columns):
            seen.append((completions, solution, trainer_state))
            return [1.0] * len(completions)

    reward = align.RestrictedReward(Inner(), general=True)
    columns = {"solution": [1, 2], "trainer_state": "state"}
    assert reward(["a", "b"], verifier=["code", "general"], **columns) == [None, 1.0]
    assert reward(["a", "b"], verifier=["code", "math"], **columns) == [None, None]
    assert reward.__name__ == "inner" and seen == [(["b"], [2], "state")]


@pytest.mark.parametrize("share", [0.5, 0.8, 1.0])
def test_general_prompts_make_up_their_share(share):
    rows = align.align_dataset(SCALES["tiny"], share)
    questions = [row["question"] for row in rows if row["verifier"] == "general"]
    assert len(questions) / len(rows) == pytest.approx(share, abs=0.002)
    unseen = sorted(row["prompt"] for row in load_general("preference"))
    assert set(questions) == set(unseen) and not set(unseen) & {row["prompt"] for row in TRAIN}
    if share == 1.0:
        assert sorted(questions) == unseen


# ------------------------------------------------------------------------------------------ the log of a run
@pytest.mark.parametrize(
    ("values", "drop", "expected"),
    [
        ([0.5, 0.6, 0.7, 0.8], 0.03, None),
        ([0.5, 0.8, 0.8, 0.6, 0.6], 0.05, 3),
        ([0.1, None, None], 0.05, None),
    ],
)
def test_a_run_stops_when_the_check_falls_and_only_then(values, drop, expected):
    history, stopped = [], None
    for step, value in enumerate(values):
        # As after a crash, each step has a new callback. It must remember from the log alone.
        callback = align.StopWhenFalling("check", window=2, drop=drop)
        control = SimpleNamespace(should_training_stop=False)
        history.append({"loss": 1.0} if value is None else {"check": value})
        callback.on_log(None, SimpleNamespace(log_history=history), control)
        if control.should_training_stop and stopped is None:
            stopped = step
    assert stopped == expected


# ------------------------------------------------------------------------------------------------- a few steps
@pytest.mark.parametrize(
    ("name", "recipe", "logged", "missing"),
    [
        ("align", "rules on problems", "rewards/accuracy/mean", "kl"),
        pytest.param(
            "align-kl", "a reward model alone", "kl", "rewards/accuracy/mean", marks=pytest.mark.slow
        ),
        ("align-dpo", "24 preference pairs", "rewards/margins", "reward"),
    ],
)
def test_a_few_steps_leave_a_card_and_facts(tmp_path, monkeypatch, name, recipe, logged, missing):
    for module, rows in ((align, FEW[:4]), (general_report, FEW)):
        monkeypatch.setattr(module, "load_general", lambda split, scale=None, rows=rows: rows)
    scale = replace(SMALL, max_completion_tokens=16)
    folders = {"reject": stand_in(tmp_path / "reject", "reject")}
    run = train_stage(name, scale, tmp_path / "out", folders=folders, max_steps=1, save_strategy="no")
    steps = [row for row in run["history"] if logged in row]
    assert [row["step"] for row in steps] == [1] and not any(missing in row for row in run["history"])
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert record["stage"] == "align" and record["parents"] == {"reject": "reject"}
    assert recipe in record["recipe"]
    facts = json.loads(json.dumps(run["facts"]))
    for key in ("general", "general_sampled"):
        assert set(facts[key]["before"]) == set(facts[key]["after"]) == {"overall", *KINDS}
    assert set(facts["refused"]["after"]) == {"harmful", "benign"}
    assert facts["curve"][-1]["step"] == 1 and len(facts["replies"]) == len(FEW)
    assert name == "align-dpo" or 0 <= facts["pairs"] <= 1


def test_an_unknown_field_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no field bad_name"):
        make_dpo_args(SMALL, tmp_path, bad_name=1)
