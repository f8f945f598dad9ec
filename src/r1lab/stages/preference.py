"""Preferences: pairs of replies, a small reward model trained on them, and the reward it becomes.

A reward model learns from comparisons what nobody can write down as a rule (Christiano et al., 2017; Ouyang et al., 2022).
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1lab.files import write_json
from r1lab.policy import find_model, set_threads
from r1lab.rewards.base import Reward, completion_texts, read_column
from r1lab.scale import Scale
from r1lab.stages.callbacks import attach_log
from r1lab.stages.config import make_reward_args
from r1lab.stages.sft import render_row

# So many tokens of a reply are read: three times the length of the longest good reply.
MAX_REPLY_TOKENS = 96
# The logit of an empty reply. The logits of all other replies are well above it.
LOWEST_LOGIT = -20.0
# Replies scored in one forward pass.
BATCH = 64
# Share of the prompts on which a length-biased rater prefers the longer reply.
BIASED_SHARE = 0.5
# A good reply to one kind is a bad reply to the other: help where a refusal is due, a refusal where help is due.
OPPOSITE = {"harmful": "how_to", "how_to": "harmful"}
# Written last, so a folder without it was cut off by a crash.
RECORD = "reward_model.json"


def preference_pairs(rows: Sequence[dict], seed: int = 0) -> list[dict[str, str]]:
    """Pairs {"prompt", "chosen", "rejected", "language", "why"} from general rows (`problems.load_general`), shuffled.

    The chosen reply is always the good reply of the row. Each row gives three pairs, one for each kind of mistake that a
    policy makes, and `why` names it: "poor" is the row's poor reply, "elsewhere" is a reply that is good for another row,
    "garbled" is the good reply with a fault in it.
    """
    rng = random.Random(seed)
    pairs = []
    for row in rows:
        # Replies of the same language, so that the language does not give the worse one away.
        kind = OPPOSITE.get(row["kind"], row["kind"])
        replies = [
            other["good"] for other in rows if (other["kind"], other["language"]) == (kind, row["language"])
        ]
        rejected = {"poor": row["poor"], "garbled": corrupt(row["good"], rng)}
        # A policy does not only choose the wrong sentence. It also stumbles within the right one.
        if elsewhere := [reply for reply in replies if reply != row["good"]]:
            rejected["elsewhere"] = rng.choice(elsewhere)
        pairs += [make_pair(row, row["good"], reply, why) for why, reply in rejected.items()]
    rng.shuffle(pairs)
    return pairs


def corrupt(text: str, rng: random.Random) -> str:
    """`text` with one mistake of a small policy: cut off, a word missing, a word twice, or the letters of a word mixed up."""
    words = text.split()
    index = rng.randrange(len(words))
    word = words[index]
    mixed = "".join(rng.sample(word, len(word)))
    if mixed == word:
        mixed = word + word
    # In the order of the docstring. Of the first word nothing can be cut off, so it stays.
    mistakes = (
        words[: max(index, 1)],
        words[:index] + words[index + 1 :],
        words[: index + 1] + words[index:],
        [*words[:index], mixed, *words[index + 1 :]],
    )
    return " ".join(rng.choice(mistakes))


def length_biased_pairs(
    rows: Sequence[dict], seed: int = 0, share: float = BIASED_SHARE
) -> list[dict[str, str]]:
    """`preference_pairs` and pairs ("longer") of a rater who takes a longer reply for a better one.

    On a `share` of the rows the good reply followed by a sentence that does not belong there is chosen over the good
    reply alone. Real preference data have such a bias (Singhal et al., 2023).
    """
    rng = random.Random(seed)
    pairs = preference_pairs(rows, seed)
    # These pairs come on top. Only in them the bias can be told from the quality of a reply.
    for row in rng.sample(rows, round(share * len(rows))):
        others = [other["good"] for other in rows if other["language"] == row["language"]]
        extra = rng.choice([reply for reply in others if reply != row["good"]])
        pairs.append(make_pair(row, f"{row['good']} {extra}", row["good"], "longer"))
    rng.shuffle(pairs)
    return pairs


def make_pair(row: dict, chosen: str, rejected: str, why: str) -> dict[str, str]:
    """One pair of replies to the prompt of `row`."""
    pair = {"prompt": row["prompt"], "chosen": chosen, "rejected": rejected}
    return pair | {"language": row["language"], "why": why}


def preference_dataset(pairs: Sequence[dict], tokenizer, template: str):
    """A `datasets.Dataset` of prompt, chosen, rejected as the texts a policy sees; the end token closes each reply."""
    from datasets import Dataset

    return Dataset.from_list(
        [
            {
                "prompt": render_row(pair, tokenizer, template),
                "chosen": pair["chosen"] + tokenizer.eos_token,
                "rejected": pair["rejected"] + tokenizer.eos_token,
            }
            for pair in pairs
        ]
    )


def load_classifier(name: str | Path) -> tuple[Any, Any]:
    """(model, tokenizer) of a checkpoint whose language head is replaced by one number, new unless it was saved.

    Only safetensors are read, as for every model here, because another format may run code while it is loaded. Raises
    ValueError when the folder has none.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    path = find_model(name)
    logging.disable_progress_bar()
    # The head is meant to be new, so the warning about it would only confuse.
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            path, num_labels=1, dtype=torch.float32, use_safetensors=True
        )
    except OSError as error:
        raise ValueError(
            f"no model.safetensors can be read in {path}: save the model again with save_pretrained, other formats "
            "are not loaded"
        ) from error
    finally:
        logging.set_verbosity(level)
    tokenizer = AutoTokenizer.from_pretrained(path)
    # A classifier reads its score at the last token that is no padding, so it must know the padding token.
    model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def train_reward_model(
    scale: Scale,
    pairs: Sequence[dict],
    parent: str | Path,
    output: Path | str,
    *,
    seed: int = 0,
    resume: bool = False,
    show=None,
    **overrides: Any,
) -> "PreferenceReward":
    """Train a reward model from the checkpoint `parent` on `pairs` (Bradley-Terry loss) and save it in `output`.

    With `resume`, one that was finished there is loaded instead. overrides: fields of `trl.RewardConfig`.
    """
    from transformers import set_seed
    from trl import RewardTrainer

    output = Path(output)
    if resume and (output / RECORD).is_file():
        return PreferenceReward(*load_classifier(output), scale.template)
    # From here on the folder is unfinished, until a new record is written.
    (output / RECORD).unlink(missing_ok=True)
    set_threads()
    # The weights of the new head are random.
    set_seed(seed)
    model, tokenizer = load_classifier(parent)
    trainer = RewardTrainer(
        model=model,
        processing_class=tokenizer,
        args=make_reward_args(scale, output, seed=seed, **overrides),
        train_dataset=preference_dataset(pairs, tokenizer, scale.template),
    )
    attach_log(trainer, show)
    trainer.train()
    trainer.save_model(str(output))
    write_json({"parent": Path(parent).name, "pairs": len(pairs), "seed": seed}, output / RECORD)
    return PreferenceReward(trainer.model, tokenizer, scale.template)


class PreferenceReward(Reward):
    """The score that a reward model gives to a reply: its logit if `raw`, else the logit squashed to 0..1.

    A reward model can be fooled, and its scores are reliable only near the replies that it was trained on. The squashed
    score limits the damage: above a logit of 5 there is next to nothing left to gain.
    """

    name = "preference"

    def __init__(self, model, tokenizer, template: str, *, raw: bool = False) -> None:
        super().__init__()
        self.model, self.tokenizer, self.template, self.raw = model.eval(), tokenizer, template, raw

    def __repr__(self) -> str:
        return f"PreferenceReward(raw={self.raw})"

    def __call__(self, completions, *, question=None, language=None, **columns) -> list[float]:
        """question: the bare prompts. language: "en" or "id". Raises ValueError when one of the two is missing."""
        texts = completion_texts(completions)
        questions = read_column({"question": question}, len(texts), reward=self.name)
        languages = read_column({"language": language}, len(texts), reward=self.name)
        return self.score(questions, texts, languages)

    def score(
        self, questions: Sequence[str], replies: Sequence[str], languages: Sequence[str]
    ) -> list[float]:
        """A score for each reply. An empty reply gets the lowest. No text raises an error."""
        import torch

        # Stage 1: one row of token ids for each reply. Stage 2: their logits, in batches.
        rows = [self.encode(*row) for row in zip(questions, replies, languages, strict=True)]
        logits: list[float] = []
        for start in range(0, len(rows), BATCH):
            batch = self.tokenizer.pad(
                {"input_ids": rows[start : start + BATCH]}, padding_side="right", return_tensors="pt"
            )
            with torch.no_grad():
                logits += self.model(**batch.to(self.model.device)).logits[:, 0].float().tolist()
        # Stage 3: empty replies. A policy must not earn anything with silence, and the reward model has never seen an empty reply.
        logits = [
            logit if reply.strip() else LOWEST_LOGIT for logit, reply in zip(logits, replies, strict=True)
        ]
        return logits if self.raw else torch.tensor(logits).sigmoid().tolist()

    def encode(self, question: str, reply: str, language: str) -> list[int]:
        """Token ids of a prompt and a reply. A reply over `MAX_REPLY_TOKENS` is cut and has no end token."""
        prompt = render_row({"prompt": question, "language": language}, self.tokenizer, self.template)
        # A lone surrogate, half of a character, has no tokens.
        reply = reply.encode("utf-8", "replace").decode()
        prompt_ids, ids = self.tokenizer([prompt, reply], add_special_tokens=False)["input_ids"]
        # The reward model was trained on whole replies. Without an end token it sees that this one is not whole.
        end = [self.tokenizer.eos_token_id] if len(ids) <= MAX_REPLY_TOKENS else []
        return prompt_ids + ids[:MAX_REPLY_TOKENS] + end


def pair_accuracy(reward: PreferenceReward, pairs: Sequence[dict]) -> float:
    """Share of pairs in which the chosen reply scores higher than the rejected one."""
    columns = {key: [pair[key] for pair in pairs] for key in ("prompt", "chosen", "rejected", "language")}
    chosen, rejected = (
        reward.score(columns["prompt"], columns[key], columns["language"]) for key in ("chosen", "rejected")
    )
    return sum(c > r for c, r in zip(chosen, rejected, strict=True)) / len(pairs)
