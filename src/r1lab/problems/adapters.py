"""The data sets of the Hugging Face hub that the course knows, and how a row of each becomes one in our keys.

An adapter takes a row as published and returns the keys in which it differs from a COMPETITION problem. A blank value stays
blank, and `hub.keep_sound` drops and counts such rows.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from r1lab.prompts import format_completion
from r1lab.rewards.answers.reading import last_boxed

# What most of the data sets hold: competition problems in English. The keys are those of data/problems.
COMPETITION = {"domain": "competition", "kind": "competition", "language": "en", "level": "hard"}
COMPETITION |= {"verifier": "math", "tests": ""}
MATH_LEVELS = {"1": "easy", "2": "easy", "3": "medium"}  # 4 and 5 are hard


@dataclass(frozen=True)
class Source:
    """One data set on the hub."""

    name: str
    # A commit of the data set's own repository, so that the same rows come tomorrow; None takes the newest version.
    revision: str | None
    rows: Mapping[str, int]  # split -> how many rows the pinned version has; the first split is the usual one
    adapt: Callable[[Mapping], dict[str, str]]
    config: str | None = None  # the part of the data set, where it has several
    benchmark: str = (
        ""  # the file that `hub.load_benchmark` looks for first, where checkpoints are evaluated on it
    )

    def to_row(self, row: Mapping, number: int) -> dict[str, str]:
        """Row `number` of the data set, in our keys. Raises ValueError naming a column that is not there."""
        try:
            ours = COMPETITION | self.adapt(row)
        except KeyError as error:
            raise ValueError(
                f"row {number} of {self.name} has no {error}, only {', '.join(sorted(row)) or 'nothing'}: "
                "the data set has changed, load the version that r1lab.problems.adapters names"
            ) from None
        ours["prompt"] = str(ours["prompt"] or "").strip()
        ours["solution"] = str(ours["solution"] or "")
        return {"id": f"{self.adapt.__name__}-{number:06d}", **ours, "source": self.name}


def dapo(row: Mapping) -> dict[str, str]:
    """DAPO-Math-17k: every answer is an integer."""
    return {"prompt": row["prompt"], "solution": row["solution"]}


def gsm8k(row: Mapping) -> dict[str, str]:
    """GSM8K: the answer is what follows `####`."""
    _, mark, gold = (row["answer"] or "").rpartition("####")
    kind = {"domain": "grade-school", "kind": "grade-school", "level": "easy"}
    return {"prompt": row["question"], "solution": gold.strip() if mark else "", **kind}


def math_500(row: Mapping) -> dict[str, str]:
    """MATH-500: `answer` is the answer alone, `level` a number from 1 to 5."""
    kind = {"kind": row["subject"], "level": MATH_LEVELS.get(str(row["level"]), "hard")}
    return {"prompt": row["problem"], "solution": row["answer"], **kind}


def humaneval(row: Mapping) -> dict[str, str]:
    """HumanEval: write the function whose head and docstring are given. Its own checks are the test."""
    head, name, body = row["prompt"] or "", row["entry_point"] or "", row["canonical_solution"] or ""
    # Some checks use a helper that the prompt defines, and one calls the function under test by its own name.
    check = f"{head}    pass\n{name} = candidate\n{row['test']}\ncheck(candidate)"
    prompt = f"Complete this Python function and answer with all of it.\n\n{head.rstrip()}\n" if head else ""
    kind = {"domain": "code", "kind": "code", "level": "medium", "verifier": "code"}
    kind["tests"] = json.dumps({"function": name, "check": check})
    return {"prompt": prompt, "solution": head + body if body.strip() else "", **kind}


def stratos(row: Mapping) -> dict[str, str]:
    r"""Bespoke-Stratos-17k, with `completion` in our tags. The answer is the last \boxed{}; of code, the whole solution.

    The data set's own system prompt, which asks for its own tags, is skipped. A missing block stays blank, so that the
    completion is not well formed and a filter can take it out.
    """
    turns = {turn["from"]: turn["value"] for turn in row["conversations"]}
    thought = _between(turns["assistant"], "<|begin_of_thought|>", "<|end_of_thought|>")
    solution = _between(turns["assistant"], "<|begin_of_solution|>", "<|end_of_solution|>")
    answer = last_boxed(solution) or solution
    return {"prompt": turns["user"], "solution": answer, "completion": format_completion(thought, answer)}


def openmath(row: Mapping) -> dict[str, str]:
    """OpenMathReasoning-mini, with `completion` in our tags: its thought, and then `expected_answer` alone."""
    thought = _between(row["generated_solution"] or "", "<think>", "</think>")
    answer = str(row["expected_answer"] or "")
    return {"prompt": row["problem"], "solution": answer, "completion": format_completion(thought, answer)}


def _between(text: str, opening: str, closing: str) -> str:
    """The text between two marks, without the white space around it; "" when either is missing."""
    _, opened, rest = text.partition(opening)
    body, closed, _ = rest.partition(closing)
    return body.strip() if opened and closed else ""


SOURCES = {
    # The English rows, deduplicated from DAPO-Math-17k (Yu et al., 2025).
    "dapo": Source(
        "open-r1/DAPO-Math-17k-Processed",
        "31dd309567e3da778038cc87d868b6097a3ccf68",
        {"train": 14_116},
        dapo,
        "en",
    ),
    # Worked solutions with long chains of thought, for the cold start: from DeepSeek-R1 (mathematics, code, science) ...
    "stratos": Source(
        "bespokelabs/Bespoke-Stratos-17k",
        "9e9adba943911a9fc44dffcb30aaa18dc96ae6df",
        {"train": 16_710},
        stratos,
    ),
    # ... and a part of nvidia/OpenMathReasoning. NOT PINNED: of its one upload we know the short hash only, 5ea611a,
    # and the hub wants all 40 digits. Loading it says so.
    "openmath": Source("unsloth/OpenMathReasoning-mini", None, {"cot": 19_252}, openmath),
    # Grade-school word problems (Cobbe et al., 2021).
    "gsm8k": Source(
        "openai/gsm8k",
        "740312add88f781978c0658806c59bc2815b9866",
        {"test": 1_319, "train": 7_473},
        gsm8k,
        "main",
        "gsm8k_test.jsonl",
    ),
    # Of the competition problems of Hendrycks et al. (2021) the 500 that Lightman et al. (2023) held out.
    "math_500": Source(
        "HuggingFaceH4/MATH-500",
        "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        {"test": 500},
        math_500,
        benchmark="math_500_test.jsonl",
    ),
    # Python functions with their tests (Chen et al., 2021).
    "humaneval": Source(
        "openai/openai_humaneval",
        "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
        {"test": 164},
        humaneval,
        benchmark="HumanEval.jsonl.gz",
    ),
}
