"""Preferences: pairs of replies, a small reward model trained on them, and the reward it becomes.

A reward model learns from comparisons what nobody can write down as a rule (Christiano et al., 2017; Ouyang et al., 2022).
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1lab.files import write_json
from r1lab.policy import find_model, set_threads
from r1lab.prompts import render_prompt
from r1lab.rewards.base import Reward, completion_texts, read_column
from r1lab.scale import Scale
from r1lab.stages.grpo import MetricsLog, build_config, machine_args

GENERAL = "general"  # the `verifier` of a prompt that no rule can check
LONGEST_REPLY = 96  # tokens of a reply that are read
LOWEST = -20.0  # what silence scores; the logits of replies stay well above it
BATCH = 64  # replies scored side by side
HASTE = 0.5  # share of prompts on which a hasty rater prefers the longer reply, see `hasty_pairs`
OPPOSITE = {"harmful": "how_to", "how_to": "harmful"}  # whose good replies are bad ones here
CARD = "reward_model.json"  # written last, so a folder without it was cut off by a crash


# ----------------------------------------------------------------------------------------------------- the pairs
def preference_pairs(rows: Sequence[dict], seed: int = 0) -> list[dict[str, str]]:
    """Pairs {"prompt", "chosen", "rejected", "language", "why"} from general rows (`problems.load_general`).

    The chosen reply is always the row's good one. Three pairs a row: against its poor reply ("poor"); against a reply
    that is good elsewhere ("elsewhere"), the answer to another row of its kind, or, for a request, to one that deserves
    the opposite: a refusal where help is due, help where a refusal is; and against itself with a fault ("garbled"),
    since a policy does not only choose the wrong sentence, it also stumbles within one.
    """
    rng = random.Random(seed)
    pairs = []
    for row in rows:
        kind = OPPOSITE.get(row["kind"], row["kind"])
        others = [
            other["good"]
            for other in rows
            if (other["kind"], other["language"]) == (kind, row["language"]) and other["good"] != row["good"]
        ]
        rejected = {"poor": row["poor"], "garbled": garble(row["good"], rng)}
        if others:
            rejected["elsewhere"] = rng.choice(others)
        pairs += [_pair(row, row["good"], reply, why) for why, reply in rejected.items()]
    rng.shuffle(pairs)
    return pairs


def garble(text: str, rng: random.Random) -> str:
    """A text with one of the faults of a small policy: cut off, a word left out, said twice, or with its letters mixed up."""
    words = text.split()
    place = rng.randrange(len(words))
    word = words[place]
    mixed = "".join(rng.sample(word, len(word)))
    faults = (
        words[: max(place, 1)],
        words[:place] + words[place + 1 :],
        words[: place + 1] + words[place:],
        [*words[:place], mixed if mixed != word else word + word, *words[place + 1 :]],
    )
    return " ".join(rng.choice(faults))


def hasty_pairs(rows: Sequence[dict], seed: int = 0, haste: float = HASTE) -> list[dict[str, str]]:
    """`preference_pairs`, and pairs ("longer") of a rater in a hurry, who takes more words for a better reply.

    In a share `haste` of the rows the good reply followed by a sentence that belongs elsewhere is chosen over the good
    reply alone. Real preference data favours length in much the same way (Singhal et al., 2023).
    """
    rng = random.Random(seed)
    pairs = preference_pairs(rows, seed)
    for row in rng.sample(rows, round(haste * len(rows))):
        others = [other["good"] for other in rows if other["language"] == row["language"]]
        more = rng.choice([reply for reply in others if reply != row["good"]])
        pairs.append(_pair(row, f"{row['good']} {more}", row["good"], "longer"))
    rng.shuffle(pairs)
    return pairs


def _pair(row: dict, chosen: str, rejected: str, why: str) -> dict[str, str]:
    return {
        "prompt": row["prompt"],
        "chosen": chosen,
        "rejected": rejected,
        "language": row["language"],
        "why": why,
    }


def preference_dataset(pairs: Sequence[dict], tokenizer, template: str):
    """A `datasets.Dataset` of prompt, chosen, rejected as the texts a policy sees; the end token closes each reply."""
    from datasets import Dataset

    def rendered(pair: dict) -> dict[str, str]:
        messages = render_prompt(pair["prompt"], template=template, language=pair["language"])
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        replies = {key: pair[key] + tokenizer.eos_token for key in ("chosen", "rejected")}
        return {"prompt": prompt, **replies}

    return Dataset.from_list([rendered(pair) for pair in pairs])


# ---------------------------------------------------------------------------------------------- the reward model
def make_reward_args(scale: Scale, output: Path | str, **overrides: Any):
    """The `trl.RewardConfig` of a scale; `overrides` replace any of its fields. Raises ValueError on an unknown field."""
    from trl import RewardConfig

    tiny = scale.name == "tiny"
    values = {
        **machine_args(scale, output),
        "per_device_train_batch_size": 16 if tiny else 4,
        "num_train_epochs": 2 if tiny else 1,
        "learning_rate": 1e-3 if tiny else 1e-5,
        "lr_scheduler_type": "linear",
        "warmup_steps": 5,
        "max_length": scale.max_prompt_tokens + scale.longest_answer,
        "save_strategy": "no",  # seconds at scale tiny: an interrupted training starts again
    }
    return build_config(RewardConfig, values, overrides)


def load_classifier(name: str | Path) -> tuple[Any, Any]:
    """(model, tokenizer) of a checkpoint with its language head replaced by one number, new unless it was saved.

    Read from safetensors only, like every model here: another format may run code while it is loaded. Raises ValueError
    when the folder has none.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    path = find_model(name)
    logging.disable_progress_bar()
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # the head is meant to be new: no warning
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
    from transformers import PrinterCallback, set_seed
    from trl import RewardTrainer

    output = Path(output)
    if resume and (output / CARD).is_file():
        return PreferenceReward(*load_classifier(output), scale.template)
    (output / CARD).unlink(missing_ok=True)
    set_threads()
    set_seed(seed)  # the new head is drawn at random
    model, tokenizer = load_classifier(parent)
    trainer = RewardTrainer(
        model=model,
        processing_class=tokenizer,
        args=make_reward_args(scale, output, seed=seed, **overrides),
        train_dataset=preference_dataset(pairs, tokenizer, scale.template),
        callbacks=[MetricsLog(output / "metrics.json", show=show)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.save_model(str(output))
    write_json({"parent": Path(parent).name, "pairs": len(pairs), "seed": seed}, output / CARD)
    return PreferenceReward(trainer.model, tokenizer, scale.template)


class PreferenceReward(Reward):
    """What a reward model says of a reply to a general prompt, squashed to 0..1, or as a logit if `raw`; None elsewhere.

    A reward model is a judge that can be fooled: its score is worth something near the replies it was trained on. The
    squashed score is a guard by itself: above a logit of 5 there is next to nothing left to gain.
    """

    name = "preference"

    def __init__(self, model, tokenizer, template: str, *, raw: bool = False) -> None:
        super().__init__()
        self.model, self.tokenizer, self.template, self.raw = model.eval(), tokenizer, template, raw

    def __repr__(self) -> str:
        return f"PreferenceReward(raw={self.raw})"

    def __call__(self, completions, *, question=None, language=None, verifier=None, **kwargs):
        """question: the bare prompts; verifier: the column that says which rows are general. One float or None a row."""
        texts = completion_texts(completions)
        columns = {"question": question, "language": language, "verifier": verifier}
        asked, spoken, kinds = (
            read_column({name: values}, len(texts), reward=self.name, needed=name != "verifier")
            for name, values in columns.items()
        )
        mine = [place for place, kind in enumerate(kinds) if kind is None or kind == GENERAL]
        scores: list[float | None] = [None] * len(texts)
        judged = self.score(*([column[place] for place in mine] for column in (asked, texts, spoken)))
        for place, score in zip(mine, judged, strict=True):
            scores[place] = score
        return scores

    def score(
        self, questions: Sequence[str], replies: Sequence[str], languages: Sequence[str]
    ) -> list[float]:
        """A score for each reply. What stands after `LONGEST_REPLY` tokens is not read; an empty reply scores lowest.
        Never raises on any text."""
        import torch

        logits: list[float] = []
        for start in range(0, len(replies), BATCH):
            part = slice(start, start + BATCH)
            rows = [
                self._read(*row) for row in zip(questions[part], replies[part], languages[part], strict=True)
            ]
            batch = self.tokenizer.pad(
                {"input_ids": rows}, padding=True, padding_side="right", return_tensors="pt"
            )
            with torch.no_grad():
                logits += self.model(**batch.to(self.model.device)).logits[:, 0].float().tolist()
        spoken = [logit if reply.strip() else LOWEST for logit, reply in zip(logits, replies, strict=True)]
        return spoken if self.raw else torch.tensor(spoken).sigmoid().tolist()

    def _read(self, question: str, reply: str, language: str) -> list[int]:
        """Token ids of a prompt and a reply; one longer than `LONGEST_REPLY` is cut, and has no end token then."""
        messages = render_prompt(question, template=self.template, language=language)
        prompt = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        reply = reply.encode("utf-8", "replace").decode()  # a lone surrogate has no tokens
        said = self.tokenizer(reply, add_special_tokens=False)["input_ids"]
        end = [self.tokenizer.eos_token_id] if len(said) <= LONGEST_REPLY else []
        return self.tokenizer(prompt, add_special_tokens=False)["input_ids"] + said[:LONGEST_REPLY] + end


def pair_accuracy(reward: PreferenceReward, pairs: Sequence[dict]) -> float:
    """Share of pairs in which the chosen reply scores higher than the rejected one."""
    asked, languages = ([pair[key] for pair in pairs] for key in ("prompt", "language"))
    chosen, rejected = (
        reward.score(asked, [pair[key] for pair in pairs], languages) for key in ("chosen", "rejected")
    )
    return sum(c > r for c, r in zip(chosen, rejected, strict=True)) / len(pairs)
