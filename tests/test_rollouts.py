"""Prompts become graded completions in one place: what it asks of the policy, and what it returns."""

from dataclasses import dataclass

import pytest

from r1lab.prompts import render_prompt
from r1lab.rollouts import sample_and_grade, sample_completions


@dataclass
class Sample:
    text: str
    tokens: int = 3
    truncated: bool = False


class ScriptedPolicy:
    """Returns the completions that `script` lists for each question, and records every call."""

    def __init__(self, script):
        self.script, self.calls = script, []

    def generate(self, prompts, **settings):
        self.calls.append((prompts, settings))
        return [[Sample(text) for text in self.script[prompt[-1]["content"]]] for prompt in prompts]


TAGGED = "<think>3+4=7.</think> <answer>7</answer>"
PROBLEMS = [
    {"id": "a", "prompt": "3+4?", "solution": "7", "language": "en", "verifier": "math"},
    {"id": "b", "prompt": "Berapa 5+5?", "solution": "10", "language": "id", "verifier": "math"},
]


def make_policy():
    return ScriptedPolicy({"3+4?": [TAGGED, "The answer is 7."], "Berapa 5+5?": ["11", "10"]})


@pytest.mark.parametrize(
    ("require_tags", "correct"),
    [(False, [[True, True], [False, True]]), (True, [[True, False], [False, False]])],
)
def test_rollouts_are_graded_in_groups(require_tags, correct):
    groups = sample_and_grade(make_policy(), PROBLEMS, samples=2, require_tags=require_tags)
    assert [[rollout["correct"] for rollout in group] for group in groups] == correct
    assert groups[0][1] == {
        **PROBLEMS[0],
        "completion": "The answer is 7.",
        "tokens": 3,
        "truncated": False,
        "correct": not require_tags,
    }
    assert "correct" not in PROBLEMS[0], "the problems stay as they were"


def test_the_policy_gets_the_prompts_and_settings_once():
    policy = make_policy()
    groups = sample_completions(
        policy, iter(PROBLEMS), template="zero", samples=2, temperature=0.7, seed=5, max_new_tokens=9
    )
    prompts = [render_prompt(row["prompt"], template="zero", language=row["language"]) for row in PROBLEMS]
    assert policy.calls == [
        (prompts, {"samples": 2, "temperature": 0.7, "seed": 5, "max_new_tokens": 9}),
    ]
    assert [[rollout["completion"] for rollout in group] for group in groups] == [
        [TAGGED, "The answer is 7."],
        ["11", "10"],
    ]
    assert "correct" not in groups[0][0]
    sample_completions(policy, PROBLEMS, temperature=0.0)
    assert policy.calls[-1][1] == {"samples": 1, "temperature": 0.0, "seed": 0}, "the policy's own limit"


def test_few_shot_examples_belong_to_their_problem():
    policy, examples = make_policy(), [[("1+1?", "2")], [("2+2?", "4")]]
    sample_completions(policy, PROBLEMS, template="few_shot", examples=examples)
    (prompts, _) = policy.calls[0]
    assert [prompt[-3]["content"] for prompt in prompts] == ["1+1?", "2+2?"]
    with pytest.raises(ValueError, match="zip"):
        sample_completions(policy, PROBLEMS, template="few_shot", examples=examples[:1])


def test_no_problems_need_no_policy():
    assert sample_and_grade(None, []) == []
