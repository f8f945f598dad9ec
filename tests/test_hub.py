"""Problem sources: every published format in our keys, unsound rows dropped and counted, one sentence per fault."""

import errno
import gzip
import json
import random
from collections import Counter
from dataclasses import replace

import pytest

from r1lab import problems
from r1lab.problems import hub
from r1lab.problems.hub import SOURCES, load_source
from r1lab.rewards import grade
from r1lab.scale import DATA, SCALES

# One row of each data set as its card documents it, written by us, and what it asks for.
PUBLISHED = {
    "dapo": (
        {
            "prompt": "What is the sum of the first ten odd numbers?",
            "solution": "100",
            "data_source": "math_dapo",
            "source_prompt": [{"role": "user", "content": "Solve the problem. What is ..."}],
            "ability": "MATH",
            "reward_model": {"ground_truth": "100", "style": "rule-lighteval/MATH_v2"},
            "extra_info": {"index": "0"},
        },
        "100",
    ),
    "numina_tir": (
        {
            "problem": "Solve $2x = 1$ for $x$.",
            "solution": "Let us run a program.\n```python\nprint(1/2)\n```\n```output\n0.5\n```\nSo $x = \\boxed{\\frac{1}{2}}$.",
            "messages": [{"role": "user", "content": "Solve $2x = 1$ for $x$."}],
        },
        "\\frac{1}{2}",
    ),
    "stratos": (
        {
            "system": "Think first.",
            "conversations": [
                {"from": "user", "value": "What is 7 times 6?"},
                {
                    "from": "assistant",
                    "value": "<|begin_of_thought|>Six sevens.<|end_of_thought|>\n"
                    "<|begin_of_solution|>It is \\boxed{42}.<|end_of_solution|>",
                },
            ],
        },
        "42",
    ),
    "openmath": (
        {
            "problem": "What is 7 times 6?",
            "generated_solution": "<think>Six sevens.</think>It is \\boxed{42}.",
            "expected_answer": "42",
        },
        "42",
    ),
    "gsm8k": (
        {
            "question": "Sri has 1,000 beads and buys 3 bags of 20. How many beads has she now?",
            "answer": "The bags hold 3*20=<<3*20=60>>60 beads.\nShe has 1000+60=<<1000+60=1060>>1060.\n#### 1,060",
        },
        "1,060",
    ),
    "math": (
        {
            "problem": "Compute $\\sqrt{50}$.",
            "level": "Level 3",
            "type": "Algebra",
            "solution": "It is $\\sqrt{25\\cdot 2} = \\boxed{5\\sqrt{2}}$.",
        },
        "5\\sqrt{2}",
    ),
    "math_500": (
        {
            "problem": "Give the point opposite to $(3, 4)$.",
            "solution": "It is $\\boxed{(-3,-4)}$.",
            "answer": "(-3,-4)",
            "subject": "Precalculus",
            "level": 2,
            "unique_id": "test/precalculus/1.json",
        },
        "(-3,-4)",
    ),
    "humaneval": (
        {
            "task_id": "Ours/0",
            "prompt": 'def half(x):\n    return x / 2\n\ndef quarter(x):\n    """A fourth of x."""\n',
            "canonical_solution": "    return half(half(x))\n",
            "test": "def check(candidate):\n    assert candidate(8) == half(4)\n    assert quarter(4) == 1\n",
            "entry_point": "quarter",
        },
        None,
    ),
}
NEEDED = {
    "dapo": ("prompt", "solution"),
    "numina_tir": ("problem", "solution"),
    "stratos": ("system", "conversations"),
    "openmath": ("problem", "generated_solution", "expected_answer"),
    "gsm8k": ("question", "answer"),
    "math": ("problem", "level", "type", "solution"),
    "math_500": ("problem", "answer", "subject", "level"),
    "humaneval": ("prompt", "canonical_solution", "test", "entry_point"),
}
KEYS = {"id", "prompt", "solution", "domain", "kind", "language", "level", "verifier", "tests", "source"}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("key", SOURCES)
def test_every_published_format_comes_in_our_keys_with_a_gold_that_verifies(key, tmp_path):
    row, gold = PUBLISHED[key]
    (made,), dropped = load_source(key, file=write(tmp_path / "rows.jsonl", [row]))
    assert set(made) - {"completion"} == KEYS and made["source"] == SOURCES[key].name and not dropped
    assert all(isinstance(value, str) for value in made.values()) and made["language"] == "en"
    assert gold is None or made["solution"] == gold
    assert not grade("<think>x</think><answer>def quarter(x): return 7</answer>", made)


def test_humaneval_asks_for_the_function_and_runs_its_checks(tmp_path):
    row, _ = PUBLISHED["humaneval"]
    (made,), _ = load_source("humaneval", file=write(tmp_path / "rows.jsonl", [row]))
    assert row["prompt"].strip() in made["prompt"] and made["verifier"] == "code"
    assert grade("<think>x</think><answer>def quarter(x):\n    return x / 4</answer>", made)


def test_levels_of_math_are_ours(tmp_path):
    row, _ = PUBLISHED["math"]
    given = ["Level 1", "Level 2", "Level 3", "Level 4", "Level 5", "Level ?"]
    rows = [{**row, "problem": f"{level} {row['problem']}", "level": level} for level in given]
    made, _ = load_source("math", file=write(tmp_path / "rows.jsonl", rows))
    assert [r["level"] for r in made] == ["easy", "easy", "medium", "hard", "hard", "hard"]
    assert {r["kind"] for r in made} == {"Algebra"}


def test_unsound_rows_are_dropped_and_counted(tmp_path):
    good = PUBLISHED["math_500"][0]
    rows = [
        good,
        {**good, "problem": "  Give THE point opposite\n to $(3, 4)$. "},  # the same question
        {**good, "problem": " "},
        {**good, "problem": "Another.", "answer": None},
        {**good, "problem": "Prove it.", "answer": "Prove that it holds for all n."},
        {**good, "problem": "Long.", "answer": "x+" * 400 + "1"},
    ]
    made, dropped = load_source("math_500", file=write(tmp_path / "rows.jsonl", rows))
    assert [row["prompt"] for row in made] == [good["problem"]]
    assert dropped == {"duplicate": 1, "blank": 2, "gold does not verify": 2}
    boxless = {**PUBLISHED["numina_tir"][0], "solution": "It is one half."}
    assert load_source("numina_tir", file=write(tmp_path / "n.jsonl", [boxless]))[1] == {"blank": 1}


def test_a_canonical_solution_that_fails_its_own_checks_is_dropped(tmp_path):
    row = {**PUBLISHED["humaneval"][0], "canonical_solution": "    return x\n"}
    made, dropped = load_source("humaneval", file=write(tmp_path / "rows.jsonl", [row]))
    assert made == [] and dropped == {"gold does not verify": 1}


def test_limit_and_seed(tmp_path):
    row, _ = PUBLISHED["dapo"]
    path = write(tmp_path / "rows.jsonl", [{**row, "prompt": f"Question {n}?"} for n in range(40)])
    prompts = [r["prompt"] for r in load_source("dapo", file=path)[0]]
    assert prompts == [f"Question {n}?" for n in range(40)]
    mixed = [r["prompt"] for r in load_source("dapo", file=path, seed=3)[0]]
    assert mixed != prompts and sorted(mixed) == sorted(prompts)
    assert [r["prompt"] for r in load_source("dapo", file=path, seed=3, limit=5)[0]] == mixed[:5]


@pytest.mark.parametrize("key, column", [(key, column) for key in NEEDED for column in NEEDED[key]])
def test_a_renamed_column_is_named(key, column, tmp_path):
    row = PUBLISHED[key][0]
    renamed = {("renamed" if name == column else name): value for name, value in row.items()}
    with pytest.raises(
        ValueError, match=f"row 1 of {SOURCES[key].name} has no '{column}', only .*renamed.*: the data"
    ):
        load_source(key, file=write(tmp_path / "rows.jsonl", [row, renamed]))


# ------------------------------------------------------------------------------------------------ faults of the download
def test_a_file_that_was_cut_off_names_the_line(tmp_path):
    row, _ = PUBLISHED["gsm8k"]
    whole = write(tmp_path / "rows.jsonl", [row] * 3).read_bytes()
    (tmp_path / "cut.jsonl").write_bytes(whole[:-20])
    with pytest.raises(ValueError, match=r"cut\.jsonl breaks off at line 3 .* load it again"):
        load_source("gsm8k", file=tmp_path / "cut.jsonl")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(whole)[:-12])
    with pytest.raises(ValueError, match=r"cut\.jsonl\.gz breaks off"):
        load_source("gsm8k", file=tmp_path / "cut.jsonl.gz")
    with pytest.raises(FileNotFoundError, match="check the path"):
        load_source("gsm8k", file=tmp_path / "none.jsonl")


def test_without_a_network_it_says_so():
    with pytest.raises(
        ConnectionError, match=r"could not load openai/gsm8k .* check the network, or use R1LAB_SCALE"
    ):
        load_source("gsm8k")
    with pytest.raises(ConnectionError, match=SOURCES["openmath"].name):
        next(hub.load_worked_solutions())


def answer_with(monkeypatch, answer):
    """Let the hub answer this; returns what it was asked."""
    import datasets

    asked = []

    def load_dataset(name, config=None, **options):
        asked.append((name, config, options))
        if isinstance(answer, Exception):
            raise answer
        return datasets.Dataset.from_list(answer)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_the_hub_is_asked_for_every_part_at_the_pinned_revision(monkeypatch):
    row, _ = PUBLISHED["math"]
    asked = answer_with(monkeypatch, [row] * 1072)
    (made,), dropped = load_source("math")
    revision = SOURCES["math"].revision
    assert asked == [
        ("EleutherAI/hendrycks_math", subject, {"split": "train", "revision": revision})
        for subject in hub.MATH_SUBJECTS
    ]
    assert made["solution"] == "5\\sqrt{2}" and dropped == {"duplicate": 7 * 1072 - 1}


def test_a_benchmark_is_read_from_its_file_or_said_to_be_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("R1LAB_REAL_DATA", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=r"no math_500_test\.jsonl is here: put it into data/benchmarks"
    ):
        hub.load_benchmark("math_500", hub=False)
    row, gold = PUBLISHED["math_500"]
    write(tmp_path / "math_500_test.jsonl", [row, {**row, "problem": "Another?"}])
    rows, _ = hub.load_benchmark("math_500", hub=False)
    assert [row["solution"] for row in rows] == [gold, gold]
    assert len(hub.load_benchmark("math_500", limit=1)[0]) == 1
    puzzles, _ = hub.load_benchmark("logic", limit=10)
    assert len(puzzles) == 10 and {row["verifier"] for row in puzzles} == {"logic"}


def test_what_is_not_pinned_says_so_when_it_is_loaded(monkeypatch, capsys):
    answer_with(monkeypatch, [PUBLISHED["openmath"][0]] * SOURCES["openmath"].rows["cot"])
    assert next(hub.load_worked_solutions())["solution"] == "42"
    assert "OpenMathReasoning-mini is not pinned to a revision" in capsys.readouterr().out
    answer_with(monkeypatch, [PUBLISHED["math_500"][0]] * 500)
    load_source("math_500")
    assert "not pinned" not in capsys.readouterr().out


def test_a_download_with_rows_missing_is_refused(monkeypatch):
    answer_with(monkeypatch, [PUBLISHED["math_500"][0]] * 499)
    with pytest.raises(ValueError, match="MATH-500 came with 499 rows of 500: the download was cut off"):
        load_source("math_500")


def test_a_parquet_file_that_was_cut_off_is_told_from_a_missing_network(monkeypatch, tmp_path):
    import datasets

    datasets.Dataset.from_list([PUBLISHED["gsm8k"][0]] * 50).to_parquet(tmp_path / "rows.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "rows.parquet").read_bytes()[:-100])
    with pytest.raises(Exception) as caught:  # what the real loader makes of it
        datasets.load_dataset(
            "parquet", data_files=str(tmp_path / "cut.parquet"), split="train", cache_dir=str(tmp_path)
        )
    answer_with(monkeypatch, caught.value)
    with pytest.raises(ValueError, match="the download of openai/gsm8k is damaged or was cut off"):
        load_source("gsm8k")


def test_a_full_disk_and_a_lost_revision_say_so(monkeypatch):
    answer_with(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match="the disk is full: make room for openai/gsm8k"):
        load_source("gsm8k")
    answer_with(monkeypatch, type("RevisionNotFoundError", (Exception,), {})())
    with pytest.raises(ValueError, match="openai/gsm8k has no revision 740312"):
        load_source("gsm8k")


def test_unknown_names_give_the_choices():
    with pytest.raises(ValueError, match="unknown data set 'gsm': choose one of dapo"):
        load_source("gsm")
    with pytest.raises(ValueError, match="no split 'validation': choose one of test, train"):
        load_source("gsm8k", "validation")


def test_every_source_is_pinned_or_known_not_to_be():
    assert [key for key, source in SOURCES.items() if source.revision is None] == ["openmath"]
    assert all(len(source.revision) == 40 for source in SOURCES.values() if source.revision)


# ------------------------------------------------------------------------------------------------------------ splits
def splits_of(monkeypatch, rows, **changes):
    """{prompt: split} of all problems a scale gets from the hub when it holds `rows`."""
    problems._hub_problems.cache_clear()
    monkeypatch.setattr(hub, "load_dapo_math", lambda: rows)
    scale = replace(SCALES["t4"], model=str(DATA / "models" / "tiny-base"), max_prompt_tokens=400)
    scale = replace(scale, **changes)
    return {
        row["prompt"]: split
        for split in problems.SPLITS
        for row in problems.load_scale_problems(scale, split)
    }


def test_a_problem_stays_on_its_side_whatever_else_is_in_the_list(monkeypatch):
    """A shorter limit, another tokenizer or order, or a data set that has grown: no policy is tested on what it trained on."""
    base = {"solution": "14", "language": "en"}
    rows = [{**base, "prompt": f"What is {n}+7?" + " Say it." * (n % 9)} for n in range(900)]
    whole = splits_of(monkeypatch, rows)
    assert len(whole) == 900 and set(whole.values()) == set(problems.SPLITS)
    other = splits_of(monkeypatch, rows, model=str(DATA / "models" / "tiny-zero"), template="bare")
    assert other == whole
    for fewer in (
        splits_of(monkeypatch, rows[::-1]),
        splits_of(monkeypatch, rows[101::2]),
        splits_of(monkeypatch, random.Random(0).sample(rows, 300)),
        splits_of(monkeypatch, rows, max_prompt_tokens=130),
    ):
        assert fewer and fewer.items() <= whole.items()
    more = splits_of(monkeypatch, [{**base, "prompt": f"New {n}?"} for n in range(500)] + rows)
    assert whole.items() <= more.items()
    problems._hub_problems.cache_clear()


def test_the_splits_have_their_shares_and_are_the_same_everywhere():
    counts = Counter(problems.split_of(f"How many are {n} and {n + 1}?") for n in range(20_000))
    assert counts["validation"] == pytest.approx(200, rel=0.25) and counts["test"] == pytest.approx(
        400, rel=0.25
    )
    known = {"Problem 54?": "train", "Problem 55?": "test", "Problem 97?": "validation"}  # on any machine
    assert {prompt: problems.split_of(prompt) for prompt in known} == known
    assert problems.split_of("  PROBLEM\n55 ?") == "test"


@pytest.mark.parametrize("key", SOURCES)
def test_the_same_problem_of_any_source_is_on_the_same_side(key, tmp_path):
    row, _ = PUBLISHED[key]
    (made,), _ = load_source(key, file=write(tmp_path / "rows.jsonl", [row]))
    (again,), _ = load_source(key, file=write(tmp_path / "more.jsonl", [{**row}, row]), seed=1)
    shown = {**made, "prompt": made["prompt"].replace(" ", "\n ")}
    assert problems.split_of(made["prompt"]) == problems.split_of(again["prompt"])
    assert problems.split_of(shown["prompt"]) == problems.split_of(made["prompt"])
