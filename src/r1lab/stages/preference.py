"""Pairs of replies, the reward model that is trained on them, and the reward that uses it.

Reward models learned from comparisons: Christiano et al. (2017), Ouyang et al. (2022).
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1lab.files import write_json
from r1lab.policy import find_model
from r1lab.rewards.base import Reward, completion_texts, read_column
from r1lab.scale import Scale
from r1lab.stages.callbacks import attach_log
from r1lab.stages.config import make_reward_args
from r1lab.stages.sft import render_row

# Tokens of a reply that are read: three times the length of the longest good reply.
MAX_REPLY_TOKENS = 96
# The logit of an empty reply. The logits of all other replies are well above it.
LOWEST_LOGIT = -20.0
# Replies scored in one forward pass.
BATCH = 64
# Share of the prompts on which a length-biased rater prefers the longer reply.
BIASED_SHARE = 0.5
# A good reply to one kind is a bad reply to the other: it helps where it should refuse, or refuses where it should help.
OPPOSITE = {"harmful": "how_to", "how_to": "harmful"}
# Written last, so a folder without it was cut off by a crash.
RECORD = "reward_model.json"


def preference_pairs(rows: Sequence[dict], seed: int = 0) -> list[dict[str, str]]:
    """Pairs {"prompt", "chosen", "rejected", "language", "why"} from general rows (`problems.load_general`), shuffled.

    The chosen reply is the good reply of the row. Each row gives three pairs, one for each kind of mistake that a policy
    makes. `why` names the rejected reply: "poor" is the row's poor reply, "elsewhere" is the good reply of another row, and
    "garbled" is the good reply with a mistake in it.
    """
    rng = random.Random(seed)
    pairs = []
    for row in rows:
        # In the same language, because the reward model should not learn to compare languages.
        kind = OPPOSITE.get(row["kind"], row["kind"])
        replies = [
            other["good"] for other in rows if (other["kind"], other["language"]) == (kind, row["language"])
        ]
        # A policy does not only choose a wrong sentence. It also makes mistakes within the right one.
        rejected = {"poor": row["poor"], "garbled": corrupt(row["good"], rng)}
        # There is none where all rows of a kind have the same reply.
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
    # In the order of the docstring. The first word is never cut off, because the reply would be empty.
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
    """`preference_pairs`, and pairs with `why` "longer" of a rater who prefers longer replies.

    In these, the good reply followed by an unrelated sentence is preferred to the good reply alone. share: of the rows that
    get such a pair. Real preference data have such a bias (Singhal et al., 2023).
    """
    rng = random.Random(seed)
    pairs = preference_pairs(rows, seed)
    # Added to the others. Only these pairs separate the bias from the quality of a reply.
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
    """A `datasets.Dataset` of the texts `prompt`, `chosen` and `rejected` as a policy sees them, with end tokens."""
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
    """(model, tokenizer) of a checkpoint with a head of one number instead of the language head, new unless it was saved.

    Raises ValueError when the folder has no safetensors.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    path = find_model(name)
    logging.disable_progress_bar()
    # The head is meant to be new, so the warning about it would only confuse.
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    # Only safetensors, as for every model here, because another format may run code while it is loaded.
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
    **overrides: Any,
) -> "PreferenceReward":
    """A reward model that is trained from the checkpoint `parent` on `pairs` and saved in `output`.

    The loss is that of Bradley and Terry (1952). With `resume`, a model that was finished there is loaded instead.
    overrides: fields of `trl.RewardConfig`.
    """
    from transformers import set_seed
    from trl import RewardTrainer

    output = Path(output)
    if resume and (output / RECORD).is_file():
        return PreferenceReward(*load_classifier(output), scale.template)
    # From here on the folder is unfinished, until a new record is written.
    (output / RECORD).unlink(missing_ok=True)
    # The weights of the new head are random.
    set_seed(seed)
    model, tokenizer = load_classifier(parent)
    trainer = RewardTrainer(
        model=model,
        processing_class=tokenizer,
        args=make_reward_args(scale, output, seed=seed, **overrides),
        train_dataset=preference_dataset(pairs, tokenizer, scale.template),
    )
    attach_log(trainer)
    trainer.train()
    trainer.save_model(str(output))
    write_json({"parent": Path(parent).name, "pairs": len(pairs), "seed": seed}, output / RECORD)
    return PreferenceReward(trainer.model, tokenizer, scale.template)


class PreferenceReward(Reward):
    """The score that a reward model gives to a reply: its logit if `raw`, else the sigmoid of the logit, from 0 to 1.

    The scores are reliable only near the replies that the model was trained on. The sigmoid limits the damage: above a logit
    of 5 it rises by less than 0.01.
    """

    name = "preference"

    def __init__(self, model, tokenizer, template: str, *, raw: bool = False) -> None:
        super().__init__()
        self.model, self.tokenizer, self.template, self.raw = model.eval(), tokenizer, template, raw

    def __repr__(self) -> str:
        return f"PreferenceReward(raw={self.raw})"

    def __call__(self, completions, *, question=None, language=None, **columns) -> list[float]:
        """One score for each completion. question: the bare prompts. language: "en" or "id". ValueError if one is missing."""
        texts = completion_texts(completions)
        questions = read_column({"question": question}, len(texts), reward=self.name)
        languages = read_column({"language": language}, len(texts), reward=self.name)
        return self.score(questions, texts, languages)

    def score(
        self, questions: Sequence[str], replies: Sequence[str], languages: Sequence[str]
    ) -> list[float]:
        """A score for each reply. An empty reply gets the lowest one. Raises no error on any text."""
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
        # Stage 3: empty replies. The reward model has never seen one, and a policy must not get a reward for it.
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
    """Share of pairs, from 0 to 1, in which the chosen reply has a higher score than the rejected one."""
    columns = {key: [pair[key] for pair in pairs] for key in ("prompt", "chosen", "rejected", "language")}
    chosen, rejected = (
        reward.score(columns["prompt"], columns[key], columns["language"]) for key in ("chosen", "rejected")
    )
    return sum(c > r for c, r in zip(chosen, rejected, strict=True)) / len(pairs)
