"""The rewards on real rows, which are not in the repository: R1LAB_REAL_DATA names the folder that holds them.

gsm8k_test.jsonl (question, answer) and HumanEval.jsonl.gz (prompt, canonical_solution, test, entry_point); both MIT.
"""

import gzip
import json
import os
import re
from pathlib import Path

import pytest

from r1lab.problems.hub import SOURCES, load_source
from r1lab.prompts import format_completion
from r1lab.rewards import make_reward

FOLDER = Path(os.environ.get("R1LAB_REAL_DATA") or "no-such-folder")


def rows(name):
    if not (FOLDER / name).is_file():
        pytest.skip(f"no {name}: set R1LAB_REAL_DATA to the folder that holds it")
    opened = gzip.open if name.endswith(".gz") else open
    with opened(FOLDER / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_every_gsm8k_gold_verifies_itself_and_none_verifies_the_next_number():
    solutions = [row["answer"] for row in rows("gsm8k_test.jsonl")]
    golds = [solution.rpartition("####")[2].strip() for solution in solutions]
    assert len(golds) == 1319
    reward = make_reward("accuracy")
    for dress in ("{}", "\\boxed{{{}}}", "The answer is {}."):
        said = [format_completion("x", dress.format(gold)) for gold in golds]
        assert reward(said, solution=solutions) == [1.0] * 1319
        said = [format_completion("x", dress.format(int(gold.replace(",", "")) + 1)) for gold in golds]
        assert reward(said, solution=solutions) == [0.0] * 1319


def test_the_last_sentences_of_gsm8k_are_read_with_their_dollars_and_chains():
    problems = rows("gsm8k_test.jsonl")
    texts = [re.sub(r"<<.*?>>", "", row["answer"]).partition("####")[0].strip() for row in problems]
    said = [f"<think>x</think>\n{text}" for text in texts]
    wrong = [f"#### {int(row['answer'].rpartition('####')[2].replace(',', '')) + 1}" for row in problems]
    reward = make_reward("reasoning_accuracy", budget_s=600.0)
    assert (
        sum(reward(said, solution=[row["answer"] for row in problems])) >= 1270
    )  # 1286; the others state it in words
    assert sum(reward(said, solution=wrong)) == 0


def test_every_canonical_humaneval_solution_passes_and_no_empty_one_does():
    problems = rows("HumanEval.jsonl.gz")
    assert len(problems) == 164
    # Some checks use a helper that the prompt defines, and one calls the function under test by its own name.
    checks = [
        f"{row['prompt']}    pass\n{row['entry_point']} = candidate\n{row['test']}\ncheck(candidate)"
        for row in problems
    ]
    tests = [
        json.dumps({"function": row["entry_point"], "check": check})
        for row, check in zip(problems, checks, strict=True)
    ]
    reward = make_reward("code", budget_s=600.0)
    for body, expected in (("canonical_solution", 1.0), (None, 0.0)):
        said = [
            format_completion("x", row["prompt"] + (row[body] if body else "    pass\n")) for row in problems
        ]
        scores = reward(said, tests=tests)
        assert [
            row["task_id"] for row, score in zip(problems, scores, strict=True) if score != expected
        ] == []


@pytest.mark.parametrize(
    "key, name, count", [("gsm8k", "gsm8k_test.jsonl", 1319), ("humaneval", "HumanEval.jsonl.gz", 164)]
)
def test_every_published_row_is_read_and_found_sound(key, name, count):
    assert len(rows(name)) == count
    made, dropped = load_source(key, file=FOLDER / name)
    assert (len(made), dict(dropped)) == (count, {})
    assert {row["source"] for row in made} == {SOURCES[key].name}
