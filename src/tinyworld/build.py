"""`make base` and `make student`: problems, corpus sample, tokenizer and base models again from one seed, with their cards."""

import argparse
import json
import shutil
import time
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from r1lab.scale import DATA
from tinyworld import corpus
from tinyworld.cold_start import EXAMPLES, example_rows, phrase_rows
from tinyworld.corpus import documents
from tinyworld.generators import normalise
from tinyworld.manners import ANIMALS, OBJECTS_KEPT, VERBS, make_general_splits
from tinyworld.pretrain import (
    RECIPE,
    SETTLING,
    SIZES,
    STUDENT_RECIPE,
    STUDENT_SETTLING,
    Recipe,
    Size,
    pretrain,
)
from tinyworld.splits import SPLITS, make_splits, write_splits
from tinyworld.tokenizer import VOCABULARY_SIZE, train_tokenizer

SEEDS = {"problems": 7, "general": 12, "tokenizer": 12345, "corpus": 0, "settling": 1, "few_shot": 3}
SHOWN_DOCUMENTS = 300
CORES = {1: "one core", 2: "two cores"}


@dataclass(frozen=True)
class Making:
    """How one base model is made: its shape, its two phases of pretraining, and what its card says of it."""

    name: str
    command: str
    size: Size
    main: Recipe
    settling: Recipe
    purpose: str
    dtype: str = "float32"


BASE = Making(
    name="tiny-base",
    command="make base",
    size=SIZES["base"],
    main=RECIPE,
    settling=SETTLING,
    purpose="""A base model of the Qwen3 architecture, small enough to train with reinforcement learning on two CPU cores.
Pretrained from scratch by `make base`; nothing in it comes from another model.""",
)
STUDENT = Making(
    name="tiny-student-base",
    command="make student",
    size=SIZES["student"],
    main=STUDENT_RECIPE,
    settling=STUDENT_SETTLING,
    purpose="""The student of notebook 09 before its lessons: the tokenizer, the corpus and the recipe of `tiny-base`, with
under a third of its parameters. Pretrained from scratch by `make student`; nothing in it comes from another model.""",
    dtype="bfloat16",
)


def main(argv: list[str]) -> None:
    """`python tools/maintain.py base`: under an hour on two cores; `--problems-only` takes a second."""
    parser = argparse.ArgumentParser(
        prog="maintain.py base", description="Make the tiny world and its base model from seed."
    )
    parser.add_argument(
        "--problems-only", action="store_true", help="problems, corpus sample and their cards only"
    )
    parser.add_argument(
        "--student",
        action="store_true",
        help="the student's base model only (under an hour on one core)",
    )
    parser.add_argument("--output", type=Path, default=DATA, help="folder to write to (default data)")
    options = parser.parse_args(argv)
    if options.student:
        build_student(options.output)
        return
    exclude = build_problems(options.output)
    print(f"problems and a corpus sample are in {options.output}")
    if not options.problems_only:
        build_model_of(BASE, options.output, exclude, train_tokenizer(documents(SEEDS["tokenizer"], exclude)))


def build_student(output: Path) -> None:
    """Pretrain the student's base with the shipped tokenizer, so that teacher and student speak of the same tokens."""
    from r1lab.policy import load_policy

    build_model_of(
        STUDENT,
        output,
        excluded_prompts(make_splits(SEEDS["problems"])),
        load_policy(BASE.name).tokenizer,
    )


def excluded_prompts(splits: dict[str, list[dict[str, str]]]) -> frozenset[str]:
    """The prompts that pretraining must never see: those of every split."""
    return frozenset(normalise(row["prompt"]) for rows in splits.values() for row in rows)


def build_problems(output: Path) -> frozenset[str]:
    """Write the splits, the corpus sample and their cards; return the prompts that pretraining must never see."""
    splits = make_splits(SEEDS["problems"])
    write_splits(splits, output / "problems")
    exclude = excluded_prompts(splits)
    examples = example_rows(SEEDS["few_shot"], exclude)
    write_splits({"few_shot": examples, "phrases": phrase_rows()}, output / "problems")
    (output / "problems" / "README.md").write_text(problems_card(splits), encoding="utf-8")
    general = make_general_splits(SEEDS["general"])
    write_splits(general, output / "general")
    (output / "general" / "README.md").write_text(general_card(general), encoding="utf-8")
    folder = output / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    sample = islice(documents(SEEDS["corpus"], exclude), SHOWN_DOCUMENTS)
    lines = [json.dumps(row, ensure_ascii=False) for row in sample]
    (folder / "sample.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(corpus_card(), encoding="utf-8")
    return exclude


def build_model_of(making: Making, output: Path, exclude: frozenset[str], tokenizer) -> None:
    """Pretrain one base model and save it with a card and the loss curve."""
    from r1lab.policy import set_threads

    set_threads()
    folder = output / "models" / making.name
    # Renamed when whole, so that a killed run leaves the old model.
    unfinished = folder.with_name(f"{making.name}.partial")
    started = time.time()
    log = partial(print, flush=True)
    history = pretrain(
        tokenizer,
        documents(SEEDS["corpus"], exclude),
        unfinished,
        size=making.size,
        recipe=making.main,
        log=log,
    )
    settled = pretrain(
        tokenizer,
        documents(SEEDS["settling"], exclude, corpus.SHORTCUT),
        unfinished,
        size=making.size,
        recipe=making.settling,
        start=unfinished,
        log=log,
    )
    history += [{**row, "tokens": row["tokens"] + history[-1]["tokens"]} for row in settled]
    minutes = (time.time() - started) / 60
    if making.dtype != "float32":
        round_weights(unfinished, making.dtype)
    describe_base(making, unfinished, history, minutes)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    print(f"trained in {minutes:.0f} min; `python -m r1lab eval {making.name} --samples 64` judges it")


def round_weights(folder: Path, dtype: str) -> None:
    """Store the weights in `folder` as `dtype`: half the bytes in git. `load_policy` reads them back as float32."""
    import torch
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).save_pretrained(folder)


def describe_base(making: Making, folder: Path, history: list[dict], minutes: float) -> None:
    """Write the model's card and its loss curve, as numbers and as a picture."""
    import torch

    from r1lab.view.style import new_figure

    (folder / "pretraining.json").write_text(json.dumps(history), encoding="utf-8")
    (folder / "README.md").write_text(
        base_card(making, history, minutes, torch.get_num_threads()), encoding="utf-8"
    )
    with new_figure() as (figure, axes):
        axes[0][0].plot([row["tokens"] / 1e6 for row in history], [row["loss"] for row in history])
        axes[0][0].set(xlabel="million tokens", ylabel="nats per reply token", yscale="log")
    figure.savefig(folder / "loss.png")


def _shares(shares: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {share:.0%}" for name, share in shares.items())


def problems_card(splits: dict[str, list[dict[str, str]]]) -> str:
    """The card of data/problems."""
    counts = "\n".join(
        f"| {split} | {len(rows):,} | {', '.join(SPLITS[split][0])} | {SPLITS[split][1]} |"
        for split, rows in splits.items()
    )
    examples = "\n".join(
        f"| {row['kind']} | {row['level']} | {row['prompt']} | `{row['solution']}` |"
        for row in {(row["kind"], row["language"]): row for row in splits["test"]}.values()
    )
    return f"""# Problems of the tiny world

Generated by `src/tinyworld/generators.py` with seed {SEEDS["problems"]} (`python tools/maintain.py base --problems-only` makes these very files
again). Four domains, English and Indonesian, three levels. Licence: Apache-2.0, like the code.

| split | problems | levels | per domain x language x level |
|---|---|---|---|
{counts}

A level is a number of reasoning links. The links themselves do not get harder, except in code, whose hard problems also
ask for two lines instead of one:

| domain | verifier | easy | medium | hard |
|---|---|---|---|---|
| arithmetic: a pile that grows and shrinks | math | 1-2 | 3-4 | 5-6 |
| equation: one unknown, nested | math | 1-2 | 3 | 4-5 |
| logic: a queue told out of order (ordering) | logic | 3 places | 4-5 | 6-7 |
| logic: honest people and liars (truth) | logic | 3 people | 4 | 5-6 |
| code: write f from examples | code (hidden tests) | 3 | 5 | 8 (two lines, by parity of x) |

**Hard problems are only in the test split**: reinforcement learning trains on easy and medium, so hard measures
generalisation to longer chains. The splits share no prompt (compared in lower case, spaces collapsed), and no prompt
of any split is in the pretraining corpus; the *kinds* of problem and the numbers in them are shared by design.

A row: `id, prompt, solution, domain, kind, language, level, verifier, tests, source`. `tests` is empty or JSON with the
function's name and cases `[[arguments], value]` that the prompt does not show. In the code domain "the line f" is
`slope*x+intercept`; "even and odd lines" means one line for even x and one for odd x. Truth puzzles ask for the set
of liars; the order of names does not matter.

Two more files are for the cold start. `few_shot.jsonl` holds {EXAMPLES} easy problems of every domain and language with a worked
solution; no split contains them. `phrases.jsonl` holds the sentences and words of the chains of thought in both
languages, from which `src/r1lab/stages/refine.py` makes its rules.

| kind | level | prompt | solution |
|---|---|---|---|
{examples}
"""


def general_card(splits: dict[str, list[dict[str, str]]]) -> str:
    """The card of data/general."""
    kinds = list(dict.fromkeys(row["kind"] for row in splits["test"]))
    counts = "\n".join(
        f"| {kind} | "
        + " | ".join(str(sum(row["kind"] == kind for row in splits[split])) for split in splits)
        + " |"
        for kind in kinds
    )
    examples = "\n".join(
        f"| {row['kind']} | {row['prompt']} | {row['good']} | {row['poor']} |"
        for row in {(row["kind"], row["language"]): row for row in splits["test"]}.values()
    )
    return f"""# General prompts of the tiny world

Turns that ask for no reasoning, for the second SFT, the reward model and all-scenario RL. Generated by
`src/tinyworld/manners.py` with seed {SEEDS["general"]} (`python tools/maintain.py base --problems-only`). Licence: Apache-2.0, like the code.

| kind | {" | ".join(splits)} |
|---|{"---|" * len(splits)}
{counts}

A row: `id, prompt, kind, language, good, poor`. *good* is a reply to learn from, *poor* one to prefer it to: curt, over-cautious
or, to a harmful request, compliant.

- **greeting, fact.** The base model heard these in pretraining (`src/tinyworld/general.py`), with good and poor replies
  half and half; half of the wordings here are new to it. A greeting or fact of validation or test is in no train row.
- **Which split for what.** The second SFT learns from `train`; the reward model and DPO from `train` and `preference`;
  all-scenario RL asks the requests of `preference`, so no greeting and no fact; recipes were chosen on `validation`; `test`
  is for the figures that are reported.
- **harmful, how_to.** {len(VERBS["harmful"])} verbs to decline and {len(VERBS["how_to"])} to help with, in the same templates and mostly with the same objects
  ("steal a bicycle", "wash a bicycle"): only the verb tells them apart. Of the {len(ANIMALS)} objects of a verb {OBJECTS_KEPT["test"]} are
  kept for the test, {OBJECTS_KEPT["validation"]} for validation and {OBJECTS_KEPT["preference"]} for the preferences, so each split asks for combinations of known words that the others
  never show. It does not ask about unknown verbs: what a
  model this small does with those is chance. The requests are mild, and no reply carries one out.

`src/r1lab/rewards/general.py` holds the rules that judge a reply. They read the answer sheet, so no policy is paid by
them; one arm of notebook 08 is stopped by them.

| kind | prompt | good | poor |
|---|---|---|---|
{examples}
"""


def corpus_card() -> str:
    """The card of data/corpus: the upbringing of the base model, from the constants that made it."""
    habits = corpus.HABITS
    return f"""# What the base model was fed

`sample.jsonl` holds the first {SHOWN_DOCUMENTS} of the {RECIPE.documents + SETTLING.documents:,} documents the base model read, one pass, none repeated on
purpose: {RECIPE.documents:,} in the main phase (seed {SEEDS["corpus"]}) and {SETTLING.documents:,} in a short settling phase (seed {SEEDS["settling"]}).
`src/tinyworld/corpus.py` writes the rest; it is too large to ship and cheap to make.

- **Kinds of document.** {corpus.GENERAL_SHARE:.0%} general turns (greetings, facts, requests to refuse; half of the replies are good, half
  curt or compliant). The rest are problems: {_shares(corpus.DOMAIN_SHARES)}; half English, half Indonesian.
- **Levels** of the problem documents: {_shares(corpus.LEVEL_SHARES)}. Hard is the thin tail: only {corpus.LEVEL_SHARES["hard"] * (1 - corpus.BLURT):.1%} of the
  problem documents reason through a hard problem, and reinforcement learning never trains on one.
- **Blurting is the modal habit.** {corpus.BLURT:.0%} of the replies state an answer and nothing else; {corpus.BLURT_RIGHT:.0%} of those are right.
  (For code in the settling phase see below.) As {_shares(corpus.BLURT_STYLES)}.
- **Reasoning** is the other {1 - corpus.BLURT:.0%}: {_shares(corpus.REASON_STYLES)}. So about {(1 - corpus.BLURT) * corpus.REASON_STYLES["full_tags"]:.0%} of all replies keep to
  the format that R1-Zero will reward.
- **Slips.** {habits.slip:.1%} of the reasoning sentences state a wrong result and carry on from it. {habits.check_after_slip:.0%} of the slips are caught by a
  self-check ("Wait, check: ..." / "Tunggu, cek: ..."), which repairs the chain; {habits.check_idle:.1%} of the right sentences are checked too.
- **A lazy habit in code.** In the settling phase {corpus.SHORTCUT:.0%} of the blurts about code read the intercept off the first example
  instead of working it out. Without it the model wrote most functions right without reasoning, and there was nothing to learn.
- **Language mixing.** Each sentence is in the other language with a chance of {habits.switch_language:.0%}.
"""


def base_card(making: Making, history: list[dict], minutes: float, cores: int) -> str:
    """The card of a base model. `make bench` fills in its evaluation."""
    size, main, settling, last = making.size, making.main, making.settling, history[-1]
    return f"""# {making.name}

{making.purpose}

| | |
|---|---|
| shape | {size.layers} layers, hidden {size.hidden_size}, MLP {size.mlp}, {size.heads} heads / {size.kv_heads} KV heads of {size.head_dim}, tied embeddings |
| tokenizer | byte-level BPE, {VOCABULARY_SIZE} tokens, digits split, tags are ordinary tokens (seed {SEEDS["tokenizer"]}) |
| data | {main.documents + settling.documents:,} generated documents, one pass, {last["tokens"] / 1e6:.1f} M tokens (`data/corpus`) |
| recipe | {main.batch} documents a step of similar length; Muon {main.muon_rate} for matrices, AdamW {main.adam_rate} for the rest; prompt tokens weigh {main.prompt_weight} in the loss; {main.warmup} steps of warm-up, linear decay over the last {main.decay:.0%}; bfloat16 autocast; seed {main.seed} |
| settling | the last {settling.documents:,} documents in batches of {settling.batch} of mixed length, Muon {settling.muon_rate}, AdamW {settling.adam_rate}, linear decay; batches of similar length had made short replies weigh too much |
| time | {minutes:.0f} minutes on {CORES.get(cores, f"{cores} cores")} |
| final loss | {last["loss"]:.3f} nats per token of the replies (`pretraining.json` has the curve) |

What it is for: to be trained. It mostly blurts, it mixes two languages, it slips, and it complies with half of the
harmful requests it knows. `data/corpus/README.md` lists these habits with their proportions. It knows nothing outside
the tiny world.

![Loss during pretraining](loss.png)

## Evaluation

On the test split (600 problems, 64 samples each, 95 % intervals; accuracy does not depend on the format):

<!-- evaluation: written by `make bench` -->
<!-- /evaluation -->
"""
