"""Replies that may become training data: ask for them, clean them up, filter them, and count what each filter took."""

import random
from collections import Counter
from collections.abc import Callable, Iterable

from r1lab.languages import language_share
from r1lab.prompts import format_completion, parse_completion, render_prompt
from r1lab.rewards import grade_many
from r1lab.scale import Scale
from tinyworld.chain import ChainWriter, Habits
from tinyworld.generators import make_problem
from tinyworld.refine import refine
from tinyworld.steps import steps_hold

EXAMPLES = 2  # shown in a few-shot prompt
TEACHING = Habits(check_idle=0.5)  # an example reasons link by link and verifies about every other one
PER_PROBLEM = 2  # different replies kept of one problem


def worked_examples(problem: dict, rng: random.Random, count: int = EXAMPLES) -> list[tuple[str, str]]:
    """Fresh easy (question, completion) pairs of the problem's domain and language, with reasoning and checks."""
    pairs = []
    for _ in range(count):
        fresh = make_problem(rng, problem["domain"], "easy", problem["language"])
        writer = ChainWriter(problem["language"], rng, TEACHING)
        answer = fresh.reason(writer)
        pairs.append((fresh.prompt, format_completion(writer.text, answer)))
    return pairs


def ask(
    policy, problems: Iterable[dict], *, scale: Scale, template: str, samples: int, seed: int
) -> list[dict]:
    """Replies at temperature 1, as rows: each problem's own keys with `completion`, `tokens` and `truncated`.

    template: of `prompts.render_prompt`; `few_shot` shows EXAMPLES worked examples of the problem's own kind.
    """
    rng, problems = random.Random(seed), list(problems)
    prompts = [
        render_prompt(
            problem["prompt"],
            template=template,
            language=problem["language"],
            examples=worked_examples(problem, rng) if template == "few_shot" else (),
        )
        for problem in problems
    ]
    limit = scale.max_completion_tokens
    drawn = policy.generate(prompts, samples=samples, temperature=1.0, seed=seed, max_new_tokens=limit)
    return [
        {**problem, "completion": sample.text, "tokens": sample.tokens, "truncated": sample.truncated}
        for problem, group in zip(problems, drawn, strict=True)
        for sample in group
    ]


def clean_up(rows: Iterable[dict]) -> list[dict]:
    """The rows with `completion` rewritten by `tiny.refine`; the old text is kept as `draft`, with the `repairs` made."""
    cleaned = []
    for row in rows:
        refined = refine(row["completion"], row["language"])
        cleaned.append(
            {**row, "completion": refined.text, "draft": row["completion"], "repairs": refined.repairs}
        )
    return cleaned


# ------------------------------------------------------------------------------------------------- filters
def is_well_formed(row: dict) -> bool:
    return parse_completion(row["completion"]).well_formed


def is_one_language(row: dict) -> bool:
    """Every function word is in the question's language (a chain of bare sums has none, and passes)."""
    return language_share(row["completion"], row["language"]) in (1.0, None)


def has_sound_steps(row: dict) -> bool:
    return steps_hold(row["prompt"], parse_completion(row["completion"]).think or "", row["language"])


def is_not_overlong(row: dict) -> bool:
    return not row["truncated"]


FILTERS: dict[str, Callable[[dict], bool]] = {
    "well formed": is_well_formed,
    "one language": is_one_language,
    "steps hold": has_sound_steps,
    "not over-long": is_not_overlong,
}


def keep_good(
    rows: Iterable[dict], filters: Iterable[str] = tuple(FILTERS)
) -> tuple[list[dict], dict[str, int]]:
    """(the rows that pass every filter, how many were left after each one, in order).

    First the answer must be right; then the named `filters`; last, a reply counts once, and a problem gives at most
    PER_PROBLEM of them.
    """
    rows = list(rows)
    left = {"replies": len(rows)}
    right = grade_many([row["completion"] for row in rows], rows)
    rows = [row for row, verdict in zip(rows, right, strict=True) if verdict]
    left["right"] = len(rows)
    for name in filters:
        rows = [row for row in rows if FILTERS[name](row)]
        left[name] = len(rows)
    rows = drop_duplicates(rows)
    left["different"] = len(rows)
    return rows, left


def drop_duplicates(rows: Iterable[dict], per_problem: int = PER_PROBLEM) -> list[dict]:
    """The first `per_problem` different replies to every question."""
    kept, seen, count = [], set(), Counter()
    for row in rows:
        reply = row["prompt"], row["completion"]
        if reply not in seen and count[row["prompt"]] < per_problem:
            seen.add(reply)
            count[row["prompt"]] += 1
            kept.append(row)
    return kept
