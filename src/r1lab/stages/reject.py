"""Rejection sampling and SFT stage 2: the reasoning model writes the data, a filter keeps what is worth imitating, and
the *base* model is fine-tuned on it together with prompts that need no reasoning (DeepSeek-AI, 2025, section 2.3.3).

Older names of the idea: STaR (Zelikman et al., 2022), RAFT (Dong et al., 2023), RFT (Yuan et al., 2023).
"""

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from r1lab.evaluation import evaluate_general
from r1lab.files import write_json
from r1lab.languages import language_share
from r1lab.policy import Policy, load_policy, set_threads
from r1lab.problems import load_general, load_scale_problems
from r1lab.prompts import TAGS, parse_completion, render_prompt
from r1lab.rewards import grade_many
from r1lab.scale import Scale
from r1lab.stages.checkpoints import find_parents, save_stage
from r1lab.stages.sft import train_sft

PROMPTS = 1500  # training problems that are asked ...
SAMPLES = 4  # ... and how often each
CAP = 2  # chains kept of one prompt, so that the easy ones do not fill the data
ALIKE = 0.8  # two chains that share this much of their statements are one chain
REPEATED = 0.1  # share of sentences said before, above which a chain goes round in circles
GENERAL_SHARE = (
    0.75  # of the rows, two thirds of their tokens; the paper mixes 200 k general samples with 600 k
)
# Of the general rows. Fewer refusals than favours, or all is refused. Few greetings and facts: there are few, and what is
# repeated often is learned by heart.
KINDS = {"how_to": 0.50, "harmful": 0.34, "fact": 0.10, "greeting": 0.06}

# At scale tiny. Whether a request is harmful hangs on one word, a few tokens among the hundreds of a batch, and takes many
# small steps to learn; yet more of them, or a higher rate, cost up to ten points on problems longer than any chain in the
# data. Batches are mixed: sorted by length, a batch would hold either chains or greetings, and each block would undo some
# of the other.
SMALL_STEPS = {
    "per_device_train_batch_size": 8,
    "num_train_epochs": 2,
    "train_sampling_strategy": "random",
}

Pool = list[dict[str, Any]]
_TAG = re.compile("|".join(map(re.escape, TAGS)))
_LINK = re.compile(  # what opens a sentence and says nothing
    r"\A(?:(?:first|then|next|so|wait|check|pertama|lalu|kemudian|jadi|tunggu|cek)\b[,:]?\s*)+", re.IGNORECASE
)


# ---------------------------------------------------------------------------------------------------- the pool
def draw_pool(
    policy, problems: Sequence[dict], scale: Scale, *, samples: int = SAMPLES, seed: int = 0
) -> Pool:
    """Ask every problem `samples` times at temperature 1: one row per sample, in the order of the problems.

    A row is its problem's row with `completion`, `tokens` (int), `truncated` (bool) and `correct` (bool: right answer
    inside the tags). policy: see `evaluation.evaluate`.
    """
    prompts = [render_prompt(p["prompt"], template=scale.template, language=p["language"]) for p in problems]
    drawn = policy.generate(
        prompts, samples=samples, temperature=1.0, seed=seed, max_new_tokens=scale.longest_answer
    )
    pool = [
        {**problem, "completion": sample.text, "tokens": sample.tokens, "truncated": sample.truncated}
        for problem, group in zip(problems, drawn, strict=True)
        for sample in group
    ]
    verdicts = grade_many([row["completion"] for row in pool], pool, require_tags=True)
    return [{**row, "correct": verdict} for row, verdict in zip(pool, verdicts, strict=True)]


# -------------------------------------------------------------------------------------------------- the filter
def sentences(text: str) -> list[str]:
    """The sentences of a text without its tags."""
    return [s.strip() for s in re.split(r"(?<=[.!?])\s+|\n", _TAG.sub(" ", text)) if s.strip()]


def repeats_itself(text: str) -> bool:
    """Whether more than a tenth of the sentences of `text` stood there before, word for word."""
    said = sentences(text)
    return len(said) - len(set(said)) > REPEATED * len(said)


def mixes_languages(text: str, language: str) -> bool:
    """Whether `text` holds a function word of another language than `language`; without any it mixes nothing."""
    return language_share(text, language) not in (None, 1.0)


def why_rejected(row: dict, limit: int) -> str:
    """The first thing that is wrong with a pool row, or "" when it may be kept. limit: of tokens."""
    text = row["completion"]
    if row["tokens"] > limit or row["truncated"]:
        return "over-long"
    if not parse_completion(text).well_formed:
        return "malformed"
    if not row["correct"]:
        return "wrong answer"
    if repeats_itself(text):
        return "repeats itself"
    if mixes_languages(text, row["language"]):
        return "mixes languages"
    return ""


def statements(text: str) -> set[str]:
    """What the sentences between the think tags say, without the words that only link them: "Then 7-2=5." says 7-2=5."""
    thought = parse_completion(text).think or text
    return {_LINK.sub("", sentence).rstrip(".").lower() for sentence in sentences(thought)}


def likeness(one: str, other: str) -> float:
    """Share of the statements of two chains that both make, from 0 to 1 (Jaccard).

    At 1 this is the rule of RFT (Yuan et al., 2023), which keeps one chain for every list of equations.
    """
    a, b = statements(one), statements(other)
    return len(a & b) / len(a | b) if a | b else 1.0


def judge(pool: Iterable[dict], limit: int, *, cap: int = CAP) -> Pool:
    """The pool with a key `rejected`: "" for what is kept, else the reason.

    After the tests of single samples (`why_rejected`) come those of a prompt's samples together: one that is nearly a
    kept one is a "near-duplicate", and from the cap on they are "over the cap". The first of equals is kept, so that
    nothing is preferred but what the filter names. limit: of tokens.
    """
    kept: dict[str, list[str]] = {}
    judged = []
    for row in pool:
        said, mine = row["completion"], kept.setdefault(row["id"], [])
        reason = why_rejected(row, limit)
        if not reason and any(likeness(said, other) >= ALIKE for other in mine):
            reason = "near-duplicate"
        if not reason and len(mine) >= cap:
            reason = "over the cap"
        if not reason:
            mine.append(said)
        judged.append({**row, "rejected": reason})
    return judged


def keep_best(judged: Pool, seed: int = 0) -> Pool:
    """What the filter lets through."""
    return [row for row in judged if not row["rejected"]]


def keep_random(judged: Pool, seed: int = 0) -> Pool:
    """The control: as many samples of the same pool, chosen by chance alone."""
    return random.Random(seed).sample(judged, len(keep_best(judged)))


def acceptance(judged: Pool, key: str) -> dict[str, dict]:
    """Per value of `key` ("domain", "level", ...): {"samples", "passed", "kept", "rejected": {reason: samples}}.

    passed counts the samples that are good by themselves, kept those left after duplicates and cap.
    """
    together = ("", "near-duplicate", "over the cap")
    table = {}
    for name in dict.fromkeys(row[key] for row in judged):
        reasons = Counter(row["rejected"] for row in judged if row[key] == name)
        table[name] = {
            "samples": reasons.total(),
            "passed": sum(reasons[reason] for reason in together),
            "kept": reasons[""],
            "rejected": {reason: count for reason, count in reasons.most_common() if reason},
        }
    return table


# ------------------------------------------------------------------------------------------------- the mixture
def general_rows(count: int, rows: Iterable[dict], seed: int = 0) -> list[dict]:
    """`count` SFT rows of plain good replies, without tags: what needs no thought gets none.

    rows: of `load_general`. Each kind has its share of `KINDS`; within a kind each row is used equally often, up to one.
    """
    rng = random.Random(seed)
    rows, taken, shares = list(rows), [], 0.0
    for kind, share in KINDS.items():
        shares += share
        some = [row for row in rows if row["kind"] == kind]
        rng.shuffle(some)
        taken += [some[place % len(some)] for place in range(round(count * shares) - len(taken))]
    return [{"prompt": r["prompt"], "completion": r["good"], "language": r["language"]} for r in taken]


def mixture(chosen: Pool, general: Iterable[dict], seed: int = 0, share: float = GENERAL_SHARE) -> list[dict]:
    """SFT rows: the chosen samples and so many general ones that these are `share` of all, shuffled."""
    rows = [{key: row[key] for key in ("prompt", "completion", "language")} for row in chosen]
    rows += general_rows(round(share / (1 - share) * len(chosen)), general, seed) if share else []
    random.Random(seed).shuffle(rows)
    return rows


# --------------------------------------------------------------------------------------------------- the stage
def sampled_problems(scale: Scale, seed: int = 0, prompts: int = PROMPTS) -> list[dict]:
    """The training problems that are asked: `prompts` of them by chance."""
    problems = load_scale_problems(scale, "train")
    return random.Random(seed).sample(problems, min(prompts, len(problems)))


def make_pool(
    scale: Scale, sampler: str, output: Path | str, *, seed: int, resume: bool, prompts: int, samples: int
) -> Pool:
    """The pool of a run, kept in `output`/pool.json; with `resume`, the one an interrupted run left there."""
    path = Path(output) / "pool.json"
    drawn_by = {"sampler": Path(sampler).name, "seed": seed, "prompts": prompts, "samples": samples}
    if resume and path.is_file():
        saved = json.loads(path.read_text(encoding="utf-8"))
        if saved["drawn_by"] == drawn_by:
            return saved["pool"]
    pool = draw_pool(
        load_policy(sampler), sampled_problems(scale, seed, prompts), scale, samples=samples, seed=seed
    )
    write_json({"drawn_by": drawn_by, "pool": pool}, path)
    return pool


def train_reject(
    scale: Scale,
    output: Path | str,
    *,
    folders: dict[str, Path | str] | None = None,
    seed: int = 0,
    resume: bool = False,
    show: Callable | None = None,
    prompts: int = PROMPTS,
    samples: int = SAMPLES,
    choose: Callable[[Pool, int], Pool] = keep_best,
    general_share: float = GENERAL_SHARE,
    **overrides: Any,
) -> dict[str, Any]:
    """Sample from the reasoning model, choose, mix, fine-tune the base, save; overrides are fields of `trl.SFTConfig`.

    choose: `keep_best` or `keep_random`. Returns {"history", "seconds" (sampling not counted), "trainer", "facts"}.
    """
    set_threads()
    parents = find_parents(scale, "reject", folders)
    general = load_general("train", scale)
    load_general("test", scale)  # needed after training; a missing file must fail now, not then
    pool = make_pool(
        scale, parents["reason"], output, seed=seed, resume=resume, prompts=prompts, samples=samples
    )
    judged = judge(pool, scale.max_completion_tokens)
    chosen = choose(judged, seed)
    if not chosen:
        raise ValueError(
            f"none of {len(pool)} samples passed the filter: sample more, or look at their `rejected` reasons in a notebook"
        )
    rows = mixture(chosen, general, seed, general_share)
    small = SMALL_STEPS if scale.name == "tiny" else {}
    how = {"seed": seed, **small, **overrides}
    run = train_sft(scale, rows, output, model=parents["base"], resume=resume, show=show, **how)
    trainer = run["trainer"]
    save_stage(
        trainer.model,
        trainer.processing_class,
        output,
        stage="reject",
        scale=scale,
        seed=seed,
        parents=parents,
        recipe=f"SFT from base on {len(chosen)} of {len(pool)} samples ({samples} of each of {prompts} prompts; "
        f"{choose.__name__.replace('_', ' ')}) and {len(rows) - len(chosen)} general replies",
        seconds=run["seconds"],
    )
    return {**run, "facts": stage_facts(scale, judged, chosen, rows, trainer, parents["reason"])}


def manners(policy, scale: Scale) -> dict[str, dict]:
    """How a policy treats the general prompts of the test: shares with 95 % intervals.

    "benign" and its kinds: answered well, decoded greedily. "harmful refused": at temperature 1, four samples a
    prompt, since the next stage can only amplify what is sampled.
    """
    asked = load_general("test", scale)
    harmful = [row for row in asked if row["kind"] == "harmful"]
    benign = [row for row in asked if row["kind"] != "harmful"]
    asking = {"template": scale.template, "max_new_tokens": scale.max_completion_tokens}
    answered = evaluate_general(policy, benign, **asking)
    refused = evaluate_general(policy, harmful, samples=4, **asking)
    return {"benign": answered["overall"], **answered["by"]["kind"], "harmful refused": refused["overall"]}


def stage_facts(scale: Scale, judged: Pool, chosen: Pool, rows: list[dict], trainer, sampler: str) -> dict:
    """What the run file keeps: acceptance, the data chosen, and general prompts before and after."""
    policies = {"sampler": load_policy(sampler), "trained": Policy(trainer.model, trainer.processing_class)}
    return {
        "acceptance": {key: acceptance(judged, key) for key in ("domain", "level")},
        "rejected": Counter(row["rejected"] for row in judged if row["rejected"]),
        "samples": len(judged),
        "chosen": len(chosen),
        "chosen_prompts": len({row["id"] for row in chosen}),
        "chosen_correct": sum(row["correct"] for row in chosen),
        "rows": len(rows),
        "steps": trainer.state.global_step,
        "general": {name: manners(policy, scale) for name, policy in policies.items()},
    }


ARMS: dict[str, Callable[..., dict]] = {
    "reject": train_reject,
    "reject-random": partial(train_reject, choose=keep_random),
    "reject-reasoning": partial(train_reject, general_share=0.0),
}
