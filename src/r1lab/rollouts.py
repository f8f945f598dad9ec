"""Rollouts: samples completions of problems and grades them, for all stages and evaluations.

A rollout is one sampled completion with what is known about it. It is a plain dict, so that it can be filtered, saved as
JSON or turned into a `datasets.Dataset`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from r1lab.prompts import render_prompt
from r1lab.rewards import grade_many

Rollout = dict[str, Any]


def sample_completions(
    policy,
    problems: Iterable[dict],
    *,
    template: str = "bare",
    samples: int = 1,
    temperature: float = 1.0,
    seed: int = 0,
    max_new_tokens: int | None = None,
    examples: Sequence[Sequence[tuple[str, str]]] | None = None,
) -> list[list[Rollout]]:
    """Rollouts without a grade: result[i][j] is sample j of problem i.

    A rollout is its problem's row with `completion` (str), `tokens` (int) and `truncated` (bool: the token limit cut it off).
    policy: anything with `generate(prompts, samples=, temperature=, seed=, max_new_tokens=)` that returns, for each prompt,
    a list of objects with `text`, `tokens` and `truncated`. problems: rows with `prompt` and `language`.
    template: of `prompts.render_prompt`. temperature: 0 is greedy decoding. max_new_tokens: None leaves it to the policy.
    examples: for the template `few_shot`, the (question, completion) pairs of each problem.
    """
    problems = list(problems)
    if not problems:
        return []
    examples = examples or [()] * len(problems)
    prompts = [
        render_prompt(problem["prompt"], template=template, language=problem["language"], examples=pairs)
        for problem, pairs in zip(problems, examples, strict=True)
    ]
    limit = {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
    rollouts = []
    groups = policy.generate(prompts, samples=samples, temperature=temperature, seed=seed, **limit)
    for problem, group in zip(problems, groups, strict=True):
        columns = [
            {"completion": sample.text, "tokens": int(sample.tokens), "truncated": bool(sample.truncated)}
            for sample in group
        ]
        rollouts.append([problem | row for row in columns])
    return rollouts


def sample_and_grade(
    policy, problems: Iterable[dict], *, require_tags: bool = False, **sampling: Any
) -> list[list[Rollout]]:
    """Rollouts with a grade, `correct` (bool): result[i][j] is sample j of problem i.

    require_tags: grade as the reward in training does, see `rewards.grade_many`. sampling: as for `sample_completions`.
    Raises ValueError on an unknown verifier.
    """
    groups = sample_completions(policy, problems, **sampling)
    add_grades(groups, require_tags=require_tags)
    return groups


def add_grades(groups: list[list[Rollout]], *, key: str = "correct", require_tags: bool = False) -> None:
    """Write each rollout's grade into its `key`, as `sample_and_grade` does."""
    # One call for all completions, because the graders share their work between equal answers.
    rollouts = [rollout for group in groups for rollout in group]
    grades = grade_many([rollout["completion"] for rollout in rollouts], rollouts, require_tags=require_tags)
    for rollout, grade in zip(rollouts, grades, strict=True):
        rollout[key] = grade
