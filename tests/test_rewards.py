"""The contract of every reward, and the verdicts of format, logic, code and grading."""

import asyncio
import json
import pickle
import subprocess
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1lab.prompts import format_completion
from r1lab.rewards import (
    REWARDS,
    VERIFIERS,
    AnswerReward,
    count_votes,
    grade,
    grade_many,
    make_reward,
    reward_set,
)
from r1lab.rewards.base import LONGEST_TEXT, completion_text
from r1lab.rewards.code import same_value
from r1lab.rewards.logic import read_names

NAMES = sorted(REWARDS)
ANSWERS = [name for name in NAMES if issubclass(REWARDS[name], AnswerReward)]
OPTIONS = {"cosine": {"max_len": 20}, "soft_overlong": {"max_len": 20, "cache": 10}}
TESTS = json.dumps({"function": "f", "cases": [[[3], 13], [[4], 17], [[6], 25], [[9], 37]]})
COLUMNS = {
    **{key: {"solution": "14"} for key in ("accuracy", "reasoning_accuracy", "cosine", "length")},
    "logic": {"solution": "Ani, Budi"},
    "code": {"tests": TESTS},
    "countdown": {"numbers": [2, 3, 4], "target": 14},
}
THOUGHT = "First, I take four times three eggs.\nThen I add the two eggs that are left.\nFinally, that makes 14 eggs in all."
RIGHT = dict.fromkeys(NAMES, format_completion(THOUGHT, "14")) | {
    "logic": format_completion("Ani lies.", "Budi, Ani"),
    "code": format_completion("17-13=4.", "def f(x): return 4*x+1"),
    "countdown": format_completion("12+2", "3*4+2"),
}
# Scores of the right completion, of "" and of "junk".
EXPECTED = {key: [1, 0, 0] for key in ("accuracy", "reasoning_accuracy", "format", "tag_count", "reasoning_steps", "logic", "code", "countdown")} | {
    "cosine": [0.5, -1.0, -0.99692],  # 24 words are over max_len; none; one of 20
    "length": [-0.5, 0.0, 0.0],  # right but the longest; wrong ones never earn
    "soft_overlong": [-1.0, 0.0, 0.0],
    "repetition_penalty": [-0.0, 0.0, 0.0],
    "language_consistency": [0.5, 0.5, 0.5],  # no prompt and no column: no target
    "helpfulness_proxy": [0.73333, 0.0, 0.73333],
    "harmlessness_proxy": [1.0, 1.0, 1.0],
}  # fmt: skip


def score(name, completions, *, options=None, **columns):
    """Scores of completions that all answer the same problem."""
    return make_reward(name, **(OPTIONS.get(name, {}) | (options or {})))(
        completions, **{key: [value] * len(completions) for key, value in columns.items()}
    )


# ------------------------------------------------------------------------------------------- the contract


def test_unknown_name_lists_the_names():
    with pytest.raises(ValueError, match="accuracy, code, cosine, countdown, format"):
        make_reward("acuracy")


@pytest.mark.parametrize("name", NAMES)
def test_a_reward_keeps_the_contract(name):
    reward = make_reward(name, **OPTIONS.get(name, {}))
    assert reward.__name__ == name
    assert reward([], **{key: [] for key in COLUMNS.get(name, {})}) == []
    scores = score(name, [RIGHT[name], "", "junk"], **COLUMNS.get(name, {}))
    assert scores == pytest.approx(EXPECTED[name], abs=1e-5)
    again = pickle.loads(pickle.dumps(reward))
    assert again.__name__ == name and vars(again) == vars(reward)
    columns = {key: [value] * 3 for key, value in COLUMNS.get(name, {}).items()}
    assert again([RIGHT[name], "", "junk"], **columns) == scores


PROMPT = [{"role": "user", "content": "Ani has 12 eggs and gets 2. How many eggs now?"}]
BATCH = {  # every column a mixed dataset may hold
    "solution": "14", "answer": "14", "tests": TESTS, "numbers": [2, 3, 4], "target": 14, "language": "en", "locale": "en", "level": "easy",
}  # fmt: skip
TRL_CALLS = {
    "1.14.2": {"trainer_state": None, "log_extra": None, "log_metric": None},
    "1.16": {"trainer_state": None, "log_extra": None, "log_metric": None, "environments": [None] * 2},
}


@pytest.mark.parametrize("release", TRL_CALLS)
@pytest.mark.parametrize("name", NAMES)
def test_it_is_called_the_way_trl_calls_it(name, release):
    metrics, extra = [], []
    said = RIGHT[name]
    scores = make_reward(name, **OPTIONS.get(name, {}))(
        prompts=[PROMPT, PROMPT],
        completions=[[{"role": "assistant", "content": said}], [{"role": "assistant", "content": ""}]],
        completion_ids=[list(range(20)), []],
        **{key: [value] * 2 for key, value in (BATCH | COLUMNS.get(name, {})).items()},
        **TRL_CALLS[release]
        | {"log_extra": lambda *said: extra.append(said), "log_metric": lambda *said: metrics.append(said)},
    )
    with_ids = {
        "cosine": [0.5, -1.0],
        "length": [-0.5, 0.0],
        "soft_overlong": [-1.0, 0.0],
        "helpfulness_proxy": [0.4, 0.0],
    }
    expected = with_ids.get(name, EXPECTED[name][:2])
    if name == "language_consistency":
        assert scores[0] > 0.9 and scores[1] == 0.5
    else:
        assert scores == pytest.approx(expected)
    assert all(value == 0.0 for _, value in metrics)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_a_completion_says_raises_or_is_paid_beyond_the_range(name):
    """Whatever the type of a completion: a finite number within the range of the reward, one per completion."""
    lowest = -1.0 if name in ("cosine", "length", "soft_overlong", "repetition_penalty") else 0.0
    scores = score(name, SAID, **COLUMNS.get(name, {}))
    assert len(scores) == len(SAID)
    assert all(isinstance(value, float) and lowest <= value <= 1.0 for value in scores)
    ids = [[1] * 5] * len(SAID)
    columns = {key: [value] * len(SAID) for key, value in COLUMNS.get(name, {}).items()}
    reward = make_reward(name, **OPTIONS.get(name, {}))
    for prompt in ("Halo", PROMPT, None, [{"role": "user"}]):
        scores = reward(SAID, prompts=[prompt] * len(SAID), completion_ids=ids, **columns)
        assert all(isinstance(value, float) and lowest <= value <= 1.0 for value in scores)


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("format", "tag_count", "reasoning_steps")]
)
def test_a_short_column_raises_and_names_it(name):
    takes_ids = name in ("cosine", "length", "soft_overlong", "repetition_penalty")
    column = next(iter(COLUMNS.get(name, {})), "completion_ids" if takes_ids else "prompts")
    with pytest.raises(ValueError, match=f"1 values in column '{column}' for 2"):
        make_reward(name, **OPTIONS.get(name, {}))(["a", "b"], **{column: ["x"]})


def test_a_set_of_rewards_is_what_trl_takes():
    rewards = reward_set(
        {"accuracy": 1, "cosine": 0.25, "format": 0}, accuracy={"locale": "id"}, cosine={"max_len": 9}
    )
    assert [f.__name__ for f in rewards["reward_funcs"]] == ["accuracy", "cosine", "format"]
    assert rewards["reward_weights"] == [1.0, 0.25, 0.0]
    assert rewards["reward_funcs"][0].locale == "id" and rewards["reward_funcs"][1].max_len == 9
    with pytest.raises(ValueError, match="options for format"):
        reward_set({"accuracy": 1.0}, format={})
    with pytest.raises(ValueError, match="weight of 'format' is nan"):
        reward_set({"format": float("nan")})
    with pytest.raises(ValueError, match="unknown reward 'acuracy'"):
        reward_set({"acuracy": 1.0})


def test_unscorable_golds_are_counted():
    metrics = {}
    scores = make_reward("accuracy")(["", ""], solution=["", "14"], log_metric=metrics.__setitem__)
    assert scores == [None, 0.0] and metrics == {"accuracy/unscorable": 1.0, "accuracy/unverified": 0.0}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_wrong_dataset_raises_and_names_the_column(name):
    column = next(iter(COLUMNS[name]))
    with pytest.raises(ValueError, match=f"needs the dataset column '{column}'"):
        make_reward(name, **OPTIONS.get(name, {}))(["a"])
    with pytest.raises(ValueError, match=f"2 values in column '{column}' for 1"):
        make_reward(name, **OPTIONS.get(name, {}))(["a"], **{column: ["x", "y"]})
    with pytest.raises(ValueError, match="1 values in column 'verifier' for 2"):
        make_reward(name, **OPTIONS.get(name, {}))(["a", "b"], verifier=["math"], **{column: ["", ""]})


@pytest.mark.parametrize("name", ANSWERS)
def test_a_dataset_without_rows_of_its_own_needs_none_of_its_columns(name):
    reward = make_reward(name, **OPTIONS.get(name, {}))
    assert reward(["a", ""], verifier=["general", "chess"]) == [None, None]


def test_unreadable_tests_raise():
    with pytest.raises(ValueError, match="column 'tests' does not read"):
        score("code", ["x"], tests="{not json")


def test_answer_is_an_alias_of_solution():
    assert score("accuracy", [RIGHT["accuracy"]], answer="14") == [1.0]
    assert score("logic", [RIGHT["logic"]], answer="Ani, Budi") == [1.0]


def test_a_mixed_batch_is_routed_by_problem():
    batch = {
        "completions": [RIGHT["accuracy"], RIGHT["logic"], RIGHT["code"], "junk"],
        "solution": ["14", "Ani, Budi", "def f(x): return 4*x+1", "14"],
        "tests": ["", "", TESTS, ""],
        "verifier": ["math", "logic", "code", "math"],
    }
    assert make_reward("accuracy")(**batch) == [1.0, None, None, 0.0]
    assert make_reward("logic")(**batch) == [None, 1.0, None, None]
    assert make_reward("code")(**batch) == [None, None, 1.0, None]
    assert make_reward("format")(**batch) == [1.0, 1.0, 1.0, 0.0]


# None would count as 0 in TRL's group sum: it must never be something a completion can choose.
GOLDS = {"accuracy": ("solution", ["14", "", None, "#### ", "Prove that …", "2\\sqrt{3}", "Ani"]),
         "logic": ("solution", ["Ani", "", None, " , "]),
         "code": ("tests", [TESTS, "", None])}  # fmt: skip
SAID = [
    *RIGHT.values(),
    "",
    None,
    "\ud800",
    "<answer>",
    "\\boxed{",
    7,
    [{"role": "assistant"}],
    "x" * (LONGEST_TEXT + 9),
]


@pytest.mark.parametrize("name", GOLDS)
def test_none_depends_on_the_problem_only(name):
    column, golds = GOLDS[name]
    for gold in golds:
        scores = score(name, SAID, **{column: gold})
        assert len({value is None for value in scores}) == 1, (gold, scores)
        scorable = isinstance(gold, str) and gold not in ("", "#### ", "Prove that …", " , ")
        assert (scores[0] is not None) == scorable, gold


@given(
    st.lists(
        st.sampled_from([*RIGHT.values(), "", "14", "<answer>Ani</answer>", None]) | st.text(max_size=40),
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_permuting_a_batch_permutes_the_scores(completions, rng):
    order = list(range(len(completions)))
    rng.shuffle(order)
    for name in NAMES:
        scores = score(name, completions, **COLUMNS.get(name, {}))
        assert score(name, [completions[i] for i in order], **COLUMNS.get(name, {})) == [
            scores[i] for i in order
        ]
        assert score(name, completions, **COLUMNS.get(name, {})) == scores


def test_it_works_in_threads_and_asyncio():
    async def main():
        calls = [
            asyncio.to_thread(score, name, [RIGHT[name]], **COLUMNS.get(name, {}))
            for name in NAMES
            for _ in range(3)
        ]
        return await asyncio.gather(*calls)

    expected = [score(name, [RIGHT[name]], **COLUMNS.get(name, {})) for name in NAMES for _ in range(3)]
    assert asyncio.run(main()) == expected


def test_importing_and_grading_integers_pays_for_nothing_heavy():
    program = """
import sys
from r1lab.rewards import make_reward
from r1lab.rewards.verify.symbolic import SYMBOLIC
from r1lab.rewards.verify.sandbox import SANDBOX
said = ["14", "15", "14 eggs", "12+2", "12+2=14", "x=14", "abc", "", "14 or 15", "def f(x): return 4*x+1", "Ani, Budi", "5x", "19-", "))((", "14 14"]
scores = make_reward("accuracy")([f"<think>a</think> <answer>{s}</answer>" for s in said], solution=["14"] * len(said))
assert scores == [1.0, 0.0, 1.0, 1.0, 1.0, 1.0] + [0.0] * 9, scores
assert SYMBOLIC.service.pid is None and SANDBOX.service.pid is None
print(sorted({"sympy", "math_verify", "torch", "trl", "transformers", "numpy"} & set(sys.modules)))
"""
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


# ------------------------------------------------------------------------------------------ chat messages


def test_reasoning_is_put_back_between_think_tags():
    for key in ("reasoning_content", "thinking"):
        message = [{"role": "assistant", key: "7+7=14.", "content": "<answer>14</answer>"}]
        assert score("format", [message]) == [1.0]
        assert score("accuracy", [message], solution="14") == [1.0]


def test_only_the_assistant_is_read():
    turns = [
        {"role": "assistant", "content": None},
        {"role": "tool", "content": RIGHT["accuracy"]},
        {"role": "assistant", "content": [{"type": "text", "text": "<think>a</think>"}, {"type": "image"}]},
    ]
    assert completion_text(turns) == "\n<think>a</think>"
    assert score("accuracy", [turns], solution="14") == [0.0]


# -------------------------------------------------------------------------------------------------- format


def test_format_accepts_any_spacing_and_a_prefilled_think():
    assert score("format", ["\n<think>\na < b\n</think>\n\n<answer>\nb\n</answer>\n"]) == [1.0]
    assert score("format", ["a</think><answer>b</answer>"], options={"prefilled_think": True}) == [1.0]
    assert score("format", ["<think>a</think><answer>b</answer>"], options={"prefilled_think": True}) == [0.0]


# --------------------------------------------------------------------------------------------------- logic


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("Ani, Budi", 1), ("budi,ani", 1), ("Ani and Budi.", 1), ("Ani dan Budi", 1), ("**Ani**; Budi", 1), ("Ani", 0), ("Ani, Budi, Citra", 0),
     ("Ani or Budi", 0), ("not Ani, Budi", 0), ("Ani Budi", 0), ("AniBudi", 0), ("everybody", 0), ("-", 0), (" " * 100_000 + "Ani", 0)],
)  # fmt: skip
def test_logic_wants_exactly_the_names(answer, expected):
    assert score("logic", [format_completion("x", answer)], solution="Ani, Budi") == [expected]


def test_logic_reads_replies_without_manners_only_when_told_to():
    spoken = ["The answer is Ani, Budi.", "Lalu Citra bohong. Jadi jawabannya Budi, Ani.", "Ani, Budi", "Jawabannya adalah: Ani dan Budi.",
              "<answer>Budi, Ani</answer>", "<think>Citra</think> So the answer is Ani and Budi. "]  # fmt: skip
    assert score("logic", spoken, solution="Ani, Budi") == [0.0] * 6
    assert score("logic", spoken, solution="Ani, Budi", options={"require_tags": False}) == [1.0] * 6
    two = ["First number 1 is Budi. Then number 2 is Citra.", ""]
    assert score("logic", two, solution="Citra", options={"require_tags": False}) == [1.0, 0.0]
    assert read_names("") == frozenset()


# ---------------------------------------------------------------------------------------------------- code


FOUND_CODE = [  # answer, share of the tests that it passes
    ("def f(x): return 13 if x == 3 else 17", 0.5),
    ("def f(x): return 4*x+1 if x != 9 else 1/0", 0.75),  # a crash on one test costs that test
    ("First try:\n```python\ndef f(x): return 0\n```\nBetter:\n```\ndef f(x):\n    return 4*x+1\n```\nDone.", 1.0),
    ("```python\ndef f(x):\n    return 4*x+1\n```\nFor example:\n```python\nprint(f(3), foo(3))\n```", 1.0),
    ("```py title=\"a\"\ndef f(x):\n    return 4*x+1\n```\nOutput:\n```text\n13\n```", 1.0),
    ("```python\nK = 4\n```\nthen\n```python\ndef f(x): return K*x+1\n```", 1.0),
    ("~~~~\ndef f(x):\n    \"\"\"Try:\n    ```\n    f(3)\n    ```\n    \"\"\"\n    return 4*x+1\n~~~~", 1.0),
    ("`def f(x): return 4*x+1`", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "share"), FOUND_CODE)
def test_code_is_found_in_its_fence_and_scores_the_share_of_passed_tests(answer, share):
    assert score("code", [format_completion("x", answer)], tests=TESTS) == [share]
    assert score("code", [format_completion("x", answer)], tests=TESTS, options={"binary": True}) == [
        float(share == 1)
    ]


SPOKEN_CODE = {
    "another name": "def f(x): return 4*x+1\ndef foo(x): return 0",
    "a helper below": "The answer is def f(x): return foo(x)\ndef foo(x): return 4*x+1.",
    "a helper above": "So we write:\ndef g(x):\n    return 4*x\n\ndef f(x):\n    return g(x)+1",
    "imports": "Here it is.\nimport operator\nfrom operator import mul\nFOUR = 4\n\n@abs and None or (lambda f: f)\n"
    "def f(x):\n    return operator.add(mul(FOUR, x), 1)",
    "indented": "The code is:\n\n    def g(x):\n        return 4*x\n\n    def f(x):\n        return g(x)+1\n",
    "prose that looks like code": "from three we get 13:\ndef f(x): return 4*x+1",
    "a draft before it": "def f(x): return 0\nWait, that is wrong.\ndef f(x): return 4*x+1",
    "spaces": "def  f (x): return 4*x+1",
    "another name only": "def foo(x): return 4*x+1",
    "hostile": "import os\n" * 99_999 + "def f(x): return 4*x+1",
}


@pytest.mark.parametrize("name", SPOKEN_CODE)
def test_spoken_code_is_found_by_the_exact_name_with_the_helpers_of_its_block(name):
    (found,) = score("code", [SPOKEN_CODE[name]], tests=TESTS, options={"require_tags": False})
    assert found == (0.0 if name == "another name only" else 1.0)


def test_code_in_think_or_in_two_answers_is_not_run():
    code = "def f(x): return 4*x+1"
    cheats = [f"<think><answer>{code}</answer></think>", f"<think>{code}</think><answer>?</answer>",
              f"<think>a</think><answer>{code}</answer><answer>{code}</answer>", f"<answer>{code}</answer>", code]  # fmt: skip
    assert score("code", cheats, tests=TESTS) == [0.0] * 5


def test_values_are_compared_as_python_does_but_for_bools():
    same = [(13, 13), (13, 13.0), ("a", "a"), ([1, [2.0]], [1.0, [2]]), (True, True), (None, None), ({"a": 1}, {"a": 1.0}),
            (0.1 + 0.2, 0.3), (float("inf"), float("inf"))]  # fmt: skip
    apart = [(True, 1), (0, False), (1.0, True), ("13", 13), ([1], [True]), ([1], [1, 2]), (None, 0), ({"a": 1}, {"b": 1}),
             (0.3 + 1e-5, 0.3), (2e-9, 1e-9), (13.0000001, 13), (float("nan"), 0.5), (1e308, float("inf"))]  # fmt: skip
    assert all(same_value(*pair) for pair in same)
    assert not any(same_value(*pair) for pair in apart)


def test_a_call_does_not_outlive_its_budget():
    metrics = {}
    loops = [format_completion("x", f"def f(x):\n while True: {n}") for n in range(20)]
    reward = make_reward("code", budget_s=1.5)
    scores = reward([*loops, ""], tests=[TESTS] * 21, log_metric=metrics.__setitem__)
    assert scores == [0.0] * 21 and 10 <= metrics["code/unverified"] <= 19


# --------------------------------------------------------------------------------------------------- grade

ROWS = [
    {"verifier": "math", "solution": "14", "tests": ""},
    {"verifier": "logic", "solution": "Ani, Budi", "tests": ""},
    {"verifier": "code", "solution": "def f(x): return 4*x+1", "tests": TESTS},
]
BLURTS = [
    ["The answer is 14.", "Jawabannya 14.", "14", "<answer>14</answer>", "First 12+7=19. Lalu 19-5=14.", "<think>9</think> It is 14!"],
    ["The answer is Budi, Ani.", "Jawabannya Ani, Budi.", "Ani, Budi", "<answer>Ani, Budi</answer>", "Then Citra is honest. So the answer is Ani, Budi."],
    ["The answer is def f(x): return 4*x+1.", "def f(x): return 4*x+1", "<answer>def f(x): return 4*x+1</answer>", "<think>def f(x): return 0</think> Jawabannya def f(x): return 4*x+1."],
]  # fmt: skip


@pytest.mark.parametrize(("row", "texts"), list(zip(ROWS, BLURTS, strict=True)))
def test_grading_does_not_fail_a_model_for_its_format_unless_told_to(row, texts):
    assert grade_many(texts, [row] * len(texts)) == [True] * len(texts)
    assert grade_many(texts, [row] * len(texts), require_tags=True) == [False] * len(texts)


def test_grading_agrees_row_by_row_and_batched():
    wrong = ["The answer is 41.", "The answer is Ani.", "def f(x): return 13", "", "14 Ani"]
    texts = [text for text in [*BLURTS[0], *BLURTS[1], *BLURTS[2], *RIGHT.values(), *wrong] for _ in ROWS]
    rows = ROWS * (len(texts) // 3)
    for require_tags in (False, True):
        batched = grade_many(texts, rows, require_tags=require_tags)
        assert batched == [
            grade(text, row, require_tags=require_tags) for text, row in zip(texts, rows, strict=True)
        ]
        assert any(batched) and not all(batched)


def test_half_the_tests_are_not_a_pass_and_no_gold_is_not_one_either():
    assert not grade("def f(x): return 13 if x == 3 else 17", ROWS[2])
    assert not grade("5", {"verifier": "math", "solution": ""})
    with pytest.raises(ValueError, match="unknown verifier 'chess'"):
        grade("e4", {"verifier": "chess", "solution": "e4"})
    with pytest.raises(ValueError, match="1 texts for 2 rows"):
        grade_many(["a"], ROWS[:2])


# ------------------------------------------------------------------------------------------------ verifiers
COUNTDOWN = {
    "id": "c",
    "prompt": "Make 14 of 2, 3, 4.",
    "language": "en",
    "verifier": "countdown",
    "solution": "3*4+2",
}
COUNTDOWN |= {"numbers": [2, 3, 4], "target": 14}


class ParityReward(AnswerReward):
    """1.0 when the answer is as even as the column `parity` says."""

    name = "parity"
    verifier = "even-odd"
    columns = {"parity": ()}  # noqa: RUF012

    def read_problem(self, row):
        return row["parity"]

    def check(self, answer, problem):
        return float(answer == problem)


@pytest.fixture
def parity(monkeypatch):
    monkeypatch.setitem(VERIFIERS, "even-odd", ParityReward)  # the one line that adds a verifier
    return {"id": "p", "prompt": "Is 7 even?", "language": "en", "verifier": "even-odd", "parity": "odd"}


def test_a_verifier_is_added_in_one_place(parity):
    from r1lab.evaluation import evaluate
    from r1lab.scale import get_scale
    from r1lab.stages.reject import sample_pool
    from r1lab.stages.zero import zero_rewards

    right = format_completion("7=2*3+1.", "odd")
    (function,) = reward_set({"parity": 1.0})["reward_funcs"]
    assert function([right, "even"], parity=["odd"] * 2, verifier=["even-odd"] * 2) == [1.0, 0.0]
    assert "parity" in [f.__name__ for f in zero_rewards()["reward_funcs"]]
    assert grade_many([right, "even", RIGHT["accuracy"]], [parity, parity, ROWS[0]]) == [True, False, True]
    assert count_votes([right, "ODD", "even", ""], parity) == [0, 0, 2, None]
    report = evaluate(Says(right), [parity], samples=4, ks=(4,))["overall"]
    assert [report[name]["value"] for name in ("greedy_accuracy", "rewarded_accuracy", "maj@4")] == [1.0] * 3
    pool = sample_pool(Says(right), [parity], get_scale("tiny"))
    assert [row["correct"] for row in pool] == [True] * 4


class Says:
    """A policy that always says the same."""

    def __init__(self, text):
        self.text = text

    def generate(self, prompts, *, samples=1, **how):
        return [[SimpleNamespace(text=self.text, tokens=9, truncated=False)] * samples for _ in prompts]


@pytest.mark.parametrize(
    "said, right", [(RIGHT["countdown"], True), ("The answer is 2+3*4.", True), ("14", False)]
)
def test_countdown_is_evaluated_as_it_is_trained(said, right):
    from r1lab.evaluation import evaluate

    report = evaluate(Says(said), [COUNTDOWN], samples=4, ks=(4,))["overall"]
    assert report["greedy_accuracy"]["value"] == report["maj@4"]["value"] == float(right)


@pytest.mark.parametrize("name", VERIFIERS)
def test_every_verifier_takes_what_an_evaluation_gives_it(name):
    kind = VERIFIERS[name]
    assert kind.verifier == name and REWARDS[kind.name] is kind
    assert kind(require_tags=False, **kind.evaluation_options).vote("", {"solution": "14"}) is None
