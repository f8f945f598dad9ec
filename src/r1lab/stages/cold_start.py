"""Cold start: completions sampled in the paper's three ways, cleaned and filtered, and the first SFT on them.

Source: DeepSeek-AI (2025), section 2.3.1.
"""

import json
import operator
import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from r1lab.files import write_text
from r1lab.policy import load_policy
from r1lab.problems import load_scale_problems, read_shipped, take_balanced
from r1lab.problems.hub import hub_rows
from r1lab.rewards import grade_many
from r1lab.rollouts import Rollout, sample_completions
from r1lab.scale import Scale
from r1lab.stages.filters import (
    ONE_LANGUAGE,
    RIGHT,
    SOUND_STEPS,
    WELL_FORMED,
    Filter,
    apply_filters,
    funnel,
    keep,
    not_over_long,
)
from r1lab.stages.refine import refine
from r1lab.stages.run_folder import load_or_make
from r1lab.stages.runner import Run
from r1lab.stages.sft import make_sft_trainer

# The paper's three ways: the model that is sampled, the template ("" is the scale's own), the number of problems. So small a
# model gives no usable completion in the first two, so few problems are enough to show it.
WAYS = {
    "few-shot": ("base", "few_shot", 64),
    "direct": ("base", "direct", 64),
    "refined R1-Zero": ("zero", "", 1500),
}
# Completions of each problem.
SAMPLES = 4
# Worked examples in a few-shot prompt.
EXAMPLES = 2
# Rows for the SFT, at most, and its epochs: enough to teach the format, few enough that reinforcement learning can still
# improve the accuracy.
ROWS = 2000
EPOCHS = 2
FILTERS = (RIGHT, WELL_FORMED, ONE_LANGUAGE, SOUND_STEPS, not_over_long())
# Of the control, whose completions are not cleaned up.
FORM_FILTERS = (RIGHT, WELL_FORMED, not_over_long())
# Inside the stage's output: rows.jsonl and README.md.
DATA_FOLDER = "data"
ROW_KEYS = ("id", "prompt", "completion", "language", "domain", "kind", "level", "source")


# ---------------------------------------------------------------------------------------- sampling and filtering
def worked_examples(problem: dict, rng: random.Random, count: int = EXAMPLES) -> list[tuple[str, str]]:
    """Random (question, completion) pairs of the problem's domain and language, with reasoning and checks."""
    # Of the problem's own kind, so that only the format is new to the model.
    rows = read_shipped("problems", "few_shot")
    rows = [row for row in rows if all(row[key] == problem[key] for key in ("domain", "language"))]
    return [(row["prompt"], row["completion"]) for row in rng.sample(rows, count)]


def sample_rollouts(
    policy, problems: Iterable[dict], scale: Scale, *, template: str, samples: int = SAMPLES, seed: int = 0
) -> list[Rollout]:
    """`samples` completions of each problem at temperature 1, in one list; see `rollouts.sample_completions`.

    template: of `prompts.render_prompt`; `few_shot` shows EXAMPLES worked examples of the problem's own kind.
    """
    problems, rng = list(problems), random.Random(seed)
    examples = [worked_examples(problem, rng) for problem in problems] if template == "few_shot" else None
    limit = scale.max_completion_tokens
    settings = {"template": template, "samples": samples, "seed": seed, "max_new_tokens": limit}
    groups = sample_completions(policy, problems, examples=examples, **settings)
    return [rollout for group in groups for rollout in group]


def clean_up(rollouts: Iterable[Rollout]) -> list[Rollout]:
    """The rollouts with `completion` rewritten by `refine`. `original` is the text before, `repairs` what was repaired."""
    cleaned = []
    for row in rollouts:
        refined = refine(row["completion"], row["language"])
        new = {"completion": refined.text, "original": row["completion"], "repairs": refined.repairs}
        cleaned.append(row | new)
    return cleaned


def keep_good(
    rollouts: Sequence[Rollout], tests: Sequence[Filter] = FILTERS
) -> tuple[list[Rollout], dict[str, int]]:
    """(rollouts that pass all tests, how many passed each test in order). Equal completions of a prompt count once."""
    # Graded without requiring tags, because they have a filter of their own. So the counts tell a wrong answer from a
    # missing tag.
    correct = grade_many([row["completion"] for row in rollouts], rollouts)
    graded = [{**row, "correct": verdict} for row, verdict in zip(rollouts, correct, strict=True)]
    marked = apply_filters(graded, tests, same=operator.eq)
    return keep(marked), funnel(marked, tests)


def build_cold_start(
    scale: Scale, parents: dict[str, str], *, seed: int = 0, clean: bool = True
) -> tuple[list[dict], dict]:
    """(rows for the SFT, facts). At a GPU scale the rows come from the hub.

    clean: False is the control, which takes R1-Zero's right and well-formed completions as they are. facts: for each way, how
    many completions passed each filter, "as sampled" and "cleaned"; and the repairs of those that were kept.
    """
    # The clean-up rules are for the tiny world. For real mathematics there are collections of worked solutions.
    if scale.problems != "tiny":
        return hub_rows(scale, parents["base"], ROWS)
    problems = load_scale_problems(scale, "train")
    random.Random(seed).shuffle(problems)
    kept, facts = [], {"ways": {}, "repairs": {}}
    for way, (parent, template, number) in WAYS.items():
        if not clean and parent != "zero":
            continue
        # Stage 1: sample.
        policy, chosen = load_policy(parents[parent]), take_balanced(problems, number)
        rollouts = sample_rollouts(policy, chosen, scale, template=template or scale.template, seed=seed)
        # Stage 2: filter the completions as they were sampled, and again after the clean-up.
        good, counts = keep_good(rollouts, FILTERS if clean else FORM_FILTERS)
        facts["ways"][way] = {"as sampled": counts, "kept": counts}
        if clean:
            good, cleaned = keep_good(clean_up(rollouts))
            facts["ways"][way] = {"as sampled": counts, "cleaned": cleaned}
            facts["repairs"][way] = dict(Counter(repair for row in good for repair in row["repairs"]))
        kept += good
    # Stage 3: drop completions that two ways have in common, then take equally many of each kind of problem, if there are.
    kept = take_balanced(keep(apply_filters(kept, (), same=operator.eq)), ROWS)
    random.Random(seed).shuffle(kept)
    facts |= {"rows": len(kept), "domains": dict(sorted(Counter(row["domain"] for row in kept).items()))}
    return [{key: row[key] for key in ROW_KEYS} for row in kept], facts


# ----------------------------------------------------------------------------------------------- the data set
def save_data(rows: list[dict], facts: dict, folder: Path) -> None:
    """Write the data set into `folder`: rows.jsonl and its card, README.md."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    write_text("".join(lines), folder / "rows.jsonl")
    write_text(data_card(facts), folder / "README.md")


def data_card(facts: dict) -> str:
    """The card of a cold-start data set as Markdown. facts: as `build_cold_start` returns them."""
    lines = [
        f"| {way}, {which} | {' -> '.join(f'{name} {count}' for name, count in counts.items())} |"
        for way, funnels in facts.get("ways", {}).items()
        for which, counts in funnels.items()
    ]
    domains = ", ".join(f"{name} {count}" for name, count in facts.get("domains", {}).items())
    table = "\n".join(lines)
    return f"""# Cold-start data

{facts["rows"]} examples ({domains or "from the hub"}): a question, and a reply that was checked by rules. Made by \
`r1lab.stages.cold_start` from training problems of the tiny world; no test problem is in it. Apache-2.0.

| way | replies left after each filter |
|---|---|
{table}

Keys: {", ".join(ROW_KEYS)}. Replies are a model's own, rewritten by rule (`r1lab.stages.refine`): \
they can not teach what the model never got right.
"""


# -------------------------------------------------------------------------------------------------- the stage
def make_trainer(run: Run, *, clean: bool = True, **overrides: Any):
    """The SFT trainer of the base on the cold-start data; overrides are fields of `SFTConfig`.

    clean: False is the control, see `build_cold_start`. Facts: those of the data, and the seconds to make them. A resumed
    run finds its data in data.json and samples nothing.
    """
    started = time.monotonic()
    parents = {name: Path(path).name for name, path in run.parents.items()}
    rows, facts = load_or_make(
        run.output / "data.json",
        {"seed": run.seed, "clean": clean, "parents": parents},
        lambda: build_cold_start(run.scale, run.parents, seed=run.seed, clean=clean),
        resume=run.resume,
    )
    save_data(rows, facts, run.output / DATA_FOLDER)
    run.data_seconds = time.monotonic() - started
    run.facts |= {**facts, "data_seconds": round(run.data_seconds, 1)}
    run.summary = f"{len(rows)} replies of R1-Zero, {'cleaned up' if clean else 'not cleaned up'}"
    if run.scale.name == "tiny":
        overrides = {"num_train_epochs": EPOCHS} | overrides
    options = {"rows": rows, "model": run.parents["base"], "show": run.show, "seed": run.seed}
    return make_sft_trainer(run.scale, run.output, **options | overrides)
