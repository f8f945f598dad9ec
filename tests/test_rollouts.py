"""Prompts become graded completions in one place: what it asks of the policy, and what it returns."""

import pytest
from helpers import ScriptedPolicy

from r1lab.prompts import render_prompt
from r1lab.rollouts import add_grades, sample_and_grade, sample_completions

TAGGED = "<think>3+4=7.</think> <answer>7</answer>"
PROBLEMS = [
    {"id": "a", "prompt": "3+4?", "solution": "7", "language": "en", "verifier": "math"},
    {"id": "b", "prompt": "Berapa 5+5?", "solution": "10", "language": "id", "verifier": "math"},
]
SCRIPT = {"3+4?": (TAGGED, [TAGGED, "The answer is 7."]), "Berapa 5+5?": ("10", ["11", "10"])}


def test_rollouts_are_graded_in_groups():
    groups = sample_and_grade(ScriptedPolicy(SCRIPT), PROBLEMS, samples=2)
    assert [[rollout["correct"] for rollout in group] for group in groups] == [[True, True], [False, True]]
    expected = {"completion": "The answer is 7.", "tokens": 4, "truncated": False, "correct": True}
    assert groups[0][1] == PROBLEMS[0] | expected
    assert "correct" not in PROBLEMS[0], "the problems stay as they were"
    add_grades(groups, key="rewarded", require_tags=True)
    assert [[rollout["rewarded"] for rollout in group] for group in groups] == [[True, False], [False, False]]
    tagged = sample_and_grade(ScriptedPolicy(SCRIPT), PROBLEMS, samples=2, require_tags=True)
    assert [[rollout["correct"] for rollout in group] for group in tagged] == [[True, False], [False, False]]


def test_the_policy_gets_the_prompts_and_settings_once():
    policy = ScriptedPolicy(SCRIPT)
    settings = {"samples": 2, "temperature": 0.7, "seed": 5, "max_new_tokens": 9}
    groups = sample_completions(policy, iter(PROBLEMS), template="zero", **settings)
    prompts = [render_prompt(row["prompt"], template="zero", language=row["language"]) for row in PROBLEMS]
    assert policy.calls == [(prompts, settings)]
    assert [rollout["completion"] for group in groups for rollout in group][1:3] == ["The answer is 7.", "11"]
    assert "correct" not in groups[0][0]
    sample_completions(policy, PROBLEMS, temperature=0.0)
    assert policy.calls[-1][1] == {"samples": 1, "temperature": 0.0, "seed": 0}, "the policy's own limit"
    assert sample_and_grade(None, []) == [], "no problems need no policy"


def test_few_shot_examples_belong_to_their_problem():
    policy, examples = ScriptedPolicy(SCRIPT), [[("1+1?", "2")], [("2+2?", "4")]]
    sample_completions(policy, PROBLEMS, template="few_shot", examples=examples)
    (prompts, _) = policy.calls[0]
    assert [prompt[-3]["content"] for prompt in prompts] == ["1+1?", "2+2?"]
    with pytest.raises(ValueError, match="zip"):
        sample_completions(policy, PROBLEMS, template="few_shot", examples=examples[:1])
