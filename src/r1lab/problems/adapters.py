"""Rows of public data sets, each in the keys of the tiny world's problems. One function per data set.

Every adapter takes (row as published, its number) and raises ValueError naming a column that is not there. A value
that is there but blank stays blank: `hub.keep_sound` drops and counts such rows.
"""

import json
from collections.abc import Mapping

from r1lab.prompts import format_completion
from r1lab.rewards.reading import last_boxed

DAPO_MATH = "open-r1/DAPO-Math-17k-Processed"
NUMINA_TIR = "AI-MO/NuminaMath-TIR"
STRATOS = "bespokelabs/Bespoke-Stratos-17k"
OPENMATH = "unsloth/OpenMathReasoning-mini"
GSM8K = "openai/gsm8k"
MATH = "EleutherAI/hendrycks_math"
MATH_500 = "HuggingFaceH4/MATH-500"
HUMANEVAL = "openai/openai_humaneval"

STRATOS_THOUGHT = ("<|begin_of_thought|>", "<|end_of_thought|>")
STRATOS_SOLUTION = ("<|begin_of_solution|>", "<|end_of_solution|>")
OPENMATH_THOUGHT = ("<think>", "</think>")
MATH_LEVELS = {"1": "easy", "2": "easy", "3": "medium", "4": "hard", "5": "hard"}


def dapo_row(row: Mapping, number: int) -> dict[str, str]:
    """One row of DAPO-Math-17k-Processed. Raises ValueError naming a missing column."""
    _require(row, number, DAPO_MATH, "prompt", "solution")
    return _row(f"dapo-{number:06d}", row["prompt"], row["solution"], DAPO_MATH)


def numina_tir_row(row: Mapping, number: int) -> dict[str, str]:
    r"""One row of NuminaMath-TIR; the answer is the last \boxed{} of its solution, blank where that has none.

    The solution itself, prose around programs that were run, is left out. Raises ValueError naming a missing column.
    """
    _require(row, number, NUMINA_TIR, "problem", "solution")
    return _row(f"numina-{number:06d}", row["problem"], last_boxed(row["solution"] or "") or "", NUMINA_TIR)


def gsm8k_row(row: Mapping, number: int) -> dict[str, str]:
    """One row of GSM8K; the answer is what follows `####`. Raises ValueError naming a missing column."""
    _require(row, number, GSM8K, "question", "answer")
    _, found, gold = (row["answer"] or "").rpartition("####")
    names = {"domain": "grade-school", "kind": "grade-school", "level": "easy"}
    return _row(f"gsm8k-{number:06d}", row["question"], gold.strip() if found else "", GSM8K) | names


def math_row(row: Mapping, number: int) -> dict[str, str]:
    r"""One row of MATH; the answer is the last \boxed{} of its solution. Levels 1-2 are easy, 3 medium, 4-5 hard."""
    _require(row, number, MATH, "problem", "solution", "level", "type")
    gold = last_boxed(row["solution"] or "") or ""
    names = {"kind": row["type"], "level": _math_level(row["level"])}
    return _row(f"math-{number:06d}", row["problem"], gold, MATH) | names


def math_500_row(row: Mapping, number: int) -> dict[str, str]:
    """One row of MATH-500, whose `answer` is the answer alone. Raises ValueError naming a missing column."""
    _require(row, number, MATH_500, "problem", "answer", "level", "subject")
    names = {"kind": row["subject"], "level": _math_level(row["level"])}
    return _row(f"math500-{number:06d}", row["problem"], row["answer"], MATH_500) | names


def humaneval_row(row: Mapping, number: int) -> dict[str, str]:
    """One row of HumanEval: write the function whose head and docstring are given; its own checks are the test.

    solution is the whole function. Raises ValueError naming a missing column.
    """
    _require(row, number, HUMANEVAL, "prompt", "canonical_solution", "test", "entry_point")
    head, name = row["prompt"] or "", row["entry_point"] or ""
    # Some checks use a helper that the prompt defines, and one calls the function under test by its own name.
    check = f"{head}    pass\n{name} = candidate\n{row['test']}\ncheck(candidate)"
    asked = f"Complete this Python function and answer with all of it.\n\n{head.rstrip()}\n" if head else ""
    names = {"domain": "code", "kind": "code", "level": "medium", "verifier": "code"}
    names["tests"] = json.dumps({"function": name, "check": check})
    body = row["canonical_solution"] or ""
    return _row(f"humaneval-{number:06d}", asked, head + body if body.strip() else "", HUMANEVAL) | names


def stratos_row(row: Mapping, number: int) -> dict[str, str]:
    """One row of Bespoke-Stratos-17k in our keys, with `completion` in our tags.

    The answer is the last \\boxed{} of the solution, or the whole solution when it has none (code). The data set's own
    system prompt, which asks for its own tags, is left out. A missing block stays blank, so that the completion is not
    well formed and a filter can take it out. Raises ValueError naming a missing column or turn.
    """
    _require(row, number, STRATOS, "system", "conversations")
    turns = {turn["from"]: turn["value"] for turn in row["conversations"]}
    _require(turns, number, STRATOS, "user", "assistant")
    reply = turns["assistant"]
    solution = _between(reply, *STRATOS_SOLUTION)
    answer = last_boxed(solution) or solution
    worked = {"completion": format_completion(_between(reply, *STRATOS_THOUGHT), answer)}
    return _row(f"stratos-{number:06d}", turns["user"], answer, STRATOS) | worked


def openmath_row(row: Mapping, number: int) -> dict[str, str]:
    """One row of OpenMathReasoning-mini in our keys, with `completion` in our tags.

    Its thought is kept and what follows it gives way to `expected_answer`. A missing thought stays blank (see
    `stratos_row`). Raises ValueError naming a missing column.
    """
    _require(row, number, OPENMATH, "problem", "generated_solution", "expected_answer")
    answer = str(row["expected_answer"] or "")
    thought = _between(row["generated_solution"] or "", *OPENMATH_THOUGHT)
    worked = {"completion": format_completion(thought, answer)}
    return _row(f"openmath-{number:06d}", row["problem"], answer, OPENMATH) | worked


def _row(name: str, prompt: object, solution: object, source: str) -> dict[str, str]:
    """A competition problem in English, to be changed where it is something else."""
    return {
        "id": name,
        "prompt": "" if prompt is None else str(prompt).strip(),
        "solution": "" if solution is None else str(solution),
        "domain": "competition",
        "kind": "competition",
        "language": "en",
        "level": "hard",
        "verifier": "math",
        "tests": "",
        "source": source,
    }


def _math_level(level: object) -> str:
    """`Level 5` in MATH, 5 in MATH-500; a few rows say `Level ?`."""
    return MATH_LEVELS.get(str(level).removeprefix("Level").strip(), "hard")


def _require(row: Mapping, number: int, source: str, *names: str) -> None:
    for name in names:
        if name not in row:
            raise ValueError(
                f"row {number} of {source} has no {name!r}, only {', '.join(sorted(row)) or 'nothing'}: "
                "the data set has changed, load the version that r1lab.problems.hub names"
            )


def _between(text: str, opening: str, closing: str) -> str:
    """What stands between two marks, without the white space around it; "" when either is missing."""
    _, found, rest = text.partition(opening)
    body, closed, _ = rest.partition(closing)
    return body.strip() if found and closed else ""
