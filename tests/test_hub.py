"""Problem sources: every published format in our keys, unsound rows dropped and counted, one sentence per fault."""

import errno
import gzip
import json
import random
from collections import Counter
from dataclasses import replace

import datasets
import pytest
from helpers import cut

from r1lab import problems
from r1lab.problems import hub
from r1lab.problems.hub import SOURCES, hub_rows, load_source
from r1lab.problems.rows import split_of
from r1lab.prompts import parse_completion
from r1lab.rewards import grade
from r1lab.scale import DATA, SCALES

BASE = str(DATA / "models" / "tiny-base")
CHAIN = "<|begin_of_thought|>\n\nSix sevens.\n\n<|end_of_thought|>\n"
CHAIN += "<|begin_of_solution|>It is \\boxed{42}.<|end_of_solution|>"
TURNS = [{"from": "user", "value": "What is 7 times 6?"}, {"from": "assistant", "value": CHAIN}]
WORKED = "<think>\nSix sevens.</think>It is \\boxed{42}."
HEAD = 'def half(x):\n    return x / 2\n\ndef quarter(x):\n    """A fourth of x."""\n'
CHECK = "def check(candidate):\n    assert candidate(8) == half(4)\n    assert quarter(4) == 1\n"
BODY = "    return half(half(x))\n"
# Of each source a row as it is published, and the gold of our row.
PUBLISHED = {
    "dapo": {"prompt": "What is the sum of the first ten odd numbers?", "solution": "100"},
    "stratos": {"conversations": TURNS},
    "openmath": {"problem": "What is 7 times 6?", "generated_solution": WORKED, "expected_answer": "42"},
    "gsm8k": {"question": "How many are 1,000 and 60?", "answer": "<<1000+60=1060>>1060.\n#### 1,060"},
    "math_500": {"problem": "Give the point opposite to $(3, 4)$.", "answer": "(-3,-4)"}
    | {"subject": "Algebra", "level": 2},
    "humaneval": {"prompt": HEAD, "canonical_solution": BODY, "test": CHECK, "entry_point": "quarter"},
}
GOLD = {"dapo": "100", "stratos": "42", "openmath": "42", "gsm8k": "1,060", "math_500": "(-3,-4)"}
GOLD |= {"humaneval": HEAD + BODY}
KEYS = {"id", "prompt", "solution", "domain", "kind", "language", "level", "verifier", "tests", "source"}


@pytest.fixture
def load(tmp_path):
    """`load_source` from a file with the given published rows."""

    def load(key, *rows, **settings):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return load_source(key, file=path, **settings)

    return load


@pytest.mark.parametrize("key", SOURCES)
def test_every_published_format_comes_in_our_keys_with_a_gold_that_verifies(load, key):
    (row,), dropped = load(key, PUBLISHED[key])
    assert set(row) - {"completion"} == KEYS and row["source"] == SOURCES[key].name and not dropped
    assert all(isinstance(value, str) for value in row.values()) and row["language"] == "en"
    assert row["solution"] == GOLD[key]
    assert not grade("<think>x</think><answer>def quarter(x): return 7</answer>", row)
    # The split depends on the prompt alone, however it is printed.
    assert split_of(row["prompt"].replace(" ", "\n ").upper()) == split_of(row["prompt"])


def test_humaneval_asks_for_the_function_and_runs_its_checks(load):
    published = PUBLISHED["humaneval"]
    (row,), _ = load("humaneval", published)
    assert published["prompt"].strip() in row["prompt"] and row["verifier"] == "code"
    assert grade("<think>x</think><answer>def quarter(x):\n    return x / 4</answer>", row)
    wrong = load("humaneval", published | {"canonical_solution": "    return x\n"})
    assert wrong == ([], {"gold does not verify": 1})


def test_worked_solutions_come_in_our_tags():
    def completion(key, old="", new=""):
        published = json.loads(json.dumps(PUBLISHED[key]).replace(old, new))
        return parse_completion(SOURCES[key].to_row(published, 0)["completion"])

    for key in ("stratos", "openmath"):
        parsed = completion(key)
        assert (parsed.think, parsed.answer, parsed.well_formed) == ("Six sevens.", "42", True)
    assert completion("stratos", "It is \\\\boxed{42}.", "def f(): return 42").answer == "def f(): return 42"
    assert not completion("stratos", "<|end_of_thought|>").well_formed
    assert not completion("openmath", "<think>").well_formed
    with pytest.raises(ValueError, match="no 'assistant'"):
        SOURCES["stratos"].to_row({"conversations": TURNS[:1]}, 0)


def test_unsound_rows_are_dropped_and_counted(load):
    good = PUBLISHED["math_500"]
    changes = [
        {},
        {"problem": "  Give THE point opposite\n to $(3, 4)$. "},  # the same question
        {"problem": " "},
        {"problem": "Another.", "answer": None},
        {"problem": "Prove it.", "answer": "Prove that it holds for all n."},
        {"problem": "Long.", "answer": "x+" * 400 + "1"},
    ]
    rows, dropped = load("math_500", *(good | change for change in changes))
    assert [(row["prompt"], row["level"]) for row in rows] == [(good["problem"], "easy")]
    assert dropped == {"duplicate": 1, "blank": 2, "gold does not verify": 2}


def test_limit_and_seed(load):
    published = [PUBLISHED["dapo"] | {"prompt": f"Question {n}?"} for n in range(20)]
    in_order = [row["prompt"] for row in load("dapo", *published)[0]]
    assert in_order == [row["prompt"] for row in published]
    mixed = [row["prompt"] for row in load("dapo", *published, seed=3)[0]]
    assert mixed != in_order and sorted(mixed) == sorted(in_order)
    assert [row["prompt"] for row in load("dapo", *published, seed=3, limit=5)[0]] == mixed[:5]


@pytest.mark.parametrize("key", PUBLISHED)
def test_a_renamed_column_and_an_unknown_name_are_named(key):
    for column in PUBLISHED[key]:
        renamed = {("renamed" if name == column else name): text for name, text in PUBLISHED[key].items()}
        message = f"row 1 of {SOURCES[key].name} has no '{column}', only .*renamed.*: the data"
        with pytest.raises(ValueError, match=message):
            SOURCES[key].to_row(renamed, 1)
    with pytest.raises(ValueError, match="unknown data set 'gsm': choose one of dapo"):
        load_source("gsm")
    with pytest.raises(ValueError, match="no split 'validation': choose one of test, train"):
        load_source("gsm8k", "validation")


# ------------------------------------------------------------------------------------------------ faults of the download
def test_a_file_that_was_cut_off_names_the_line(load, tmp_path):
    load("gsm8k", *[PUBLISHED["gsm8k"]] * 3)
    whole = (tmp_path / "rows.jsonl").read_bytes()
    (tmp_path / "cut.jsonl").write_bytes(whole[:-20])
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(whole)[:-12])
    faults = {"cut.jsonl": (ValueError, r"cut\.jsonl breaks off at line 3 .* load it again")}
    faults |= {"cut.jsonl.gz": (ValueError, r"cut\.jsonl\.gz breaks off")}
    faults |= {"none.jsonl": (FileNotFoundError, "check the path")}
    for name, (error, message) in faults.items():
        with pytest.raises(error, match=message):
            load_source("gsm8k", file=tmp_path / name)


def test_without_a_network_it_says_so():
    message = r"could not load openai/gsm8k .* check the network, or use R1LAB"
    with pytest.raises(ConnectionError, match=message):
        load_source("gsm8k")
    with pytest.raises(ConnectionError, match=SOURCES["openmath"].name):
        next(hub.load_worked_solutions())


@pytest.fixture
def answer_with(monkeypatch):
    """A function that sets what the hub answers; it returns the list of what the hub is asked for."""

    def answer_with(answer):
        requests = []

        def load_dataset(name, config=None, **settings):
            requests.append((name, config, settings))
            if isinstance(answer, Exception):
                raise answer
            return datasets.Dataset.from_list(answer)

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return requests

    return answer_with


def test_the_hub_is_asked_for_the_pinned_revision(answer_with, capsys):
    requests = answer_with([PUBLISHED["gsm8k"]] * 1319)
    rows, dropped = load_source("gsm8k")
    revision = SOURCES["gsm8k"].revision
    assert requests == [("openai/gsm8k", "main", {"split": "test", "revision": revision})]
    assert [row["solution"] for row in rows] == ["1,060"] and dropped == {"duplicate": 1318}
    # Only one is not pinned, and loading it says so.
    assert [key for key, source in SOURCES.items() if len(source.revision or "") != 40] == ["openmath"]
    answer_with([PUBLISHED["openmath"]] * SOURCES["openmath"].rows["cot"])
    assert next(hub.load_worked_solutions())["solution"] == "42"
    assert "OpenMathReasoning-mini is not pinned to a revision" in capsys.readouterr().out


def test_a_benchmark_is_read_from_its_file_or_is_missing(monkeypatch, load, tmp_path):
    monkeypatch.setenv("R1LAB_REAL_DATA", str(tmp_path))
    message = r"no math_500_test\.jsonl is here: put it into data/benchmarks"
    with pytest.raises(FileNotFoundError, match=message):
        hub.load_benchmark("math_500", hub=False)
    published, gold = PUBLISHED["math_500"], GOLD["math_500"]
    load("math_500", published, published | {"problem": "Another?"})
    (tmp_path / "rows.jsonl").rename(tmp_path / "math_500_test.jsonl")
    assert [row["solution"] for row in hub.load_benchmark("math_500", hub=False)[0]] == [gold, gold]
    assert len(hub.load_benchmark("math_500", limit=1)[0]) == 1
    puzzles, _ = hub.load_benchmark("logic", limit=10)
    assert len(puzzles) == 10 and {row["verifier"] for row in puzzles} == {"logic"}


LOST = type("RevisionNotFoundError", (Exception,), {})()


@pytest.mark.parametrize(
    "answer, error, message",
    [
        ([PUBLISHED["gsm8k"]] * 9, ValueError, "gsm8k came with 9 rows of 1319: the download was cut off"),
        (OSError(errno.ENOSPC, "No space left"), OSError, "the disk is full: make room for openai/gsm8k"),
        (LOST, ValueError, "openai/gsm8k has no revision 740312"),
        (None, ValueError, "the download of openai/gsm8k is damaged or was cut off"),
    ],
    ids=["rows missing", "disk full", "revision lost", "file cut off"],
)
def test_a_download_that_failed_is_explained(answer_with, tmp_path, answer, error, message):
    if answer is None:  # what the real loader makes of half a file
        path = tmp_path / "rows.parquet"
        datasets.Dataset.from_list([PUBLISHED["gsm8k"]] * 50).to_parquet(path)
        cut(path)
        with pytest.raises(Exception) as caught:
            datasets.load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path))
        answer = caught.value
    answer_with(answer)
    with pytest.raises(error, match=message):
        load_source("gsm8k")


# ------------------------------------------------------------------------------------------------------------ splits
@pytest.fixture
def splits_of(monkeypatch):
    """{prompt: split} of all problems that a scale gets from the hub when it holds the given rows."""

    def splits_of(rows, **changes):
        problems._hub_problems.cache_clear()
        monkeypatch.setattr(hub, "load_source", lambda key, seed: (rows, Counter()))
        scale = replace(SCALES["t4"], **({"model": BASE, "max_prompt_tokens": 400} | changes))
        splits = {split: problems.load_scale_problems(scale, split) for split in problems.SPLITS}
        return {row["prompt"]: split for split, rows in splits.items() for row in rows}

    yield splits_of
    problems._hub_problems.cache_clear()


def test_a_problem_stays_in_its_split_whatever_else_is_in_the_list(splits_of):
    """A shorter limit, another tokenizer or order, or a data set that has grown: no policy is tested on what it trained on."""
    base = {"solution": "14", "language": "en"}
    rows = [{**base, "prompt": f"What is {n}+7?" + " Say it." * (n % 9)} for n in range(400)]
    whole = splits_of(rows)
    assert len(whole) == 400 and set(whole.values()) == set(problems.SPLITS)
    assert splits_of(rows, model=str(DATA / "models" / "tiny-zero"), template="bare") == whole
    some = splits_of(rows[101::2]), splits_of(random.Random(0).sample(rows, 150))
    for fewer in (*some, splits_of(rows, max_prompt_tokens=130)):
        assert fewer and fewer.items() <= whole.items()
    more = splits_of([{**base, "prompt": f"New {n}?"} for n in range(200)] + rows)
    assert whole.items() <= more.items()


def test_the_splits_have_their_shares_and_are_the_same_on_any_machine():
    counts = Counter(split_of(f"How many are {n} and {n + 1}?") for n in range(20_000))
    assert counts["validation"] == pytest.approx(200, rel=0.25)
    assert counts["test"] == pytest.approx(400, rel=0.25)
    known = {"Problem 54?": "train", "  PROBLEM\n55 ?": "test", "Problem 97?": "validation"}
    assert {prompt: split_of(prompt) for prompt in known} == known


def test_prompts_that_are_too_long_are_skipped_once_and_counted(splits_of, capsys):
    """Counted as the policy sees them: with the instruction of the template."""
    short = {"solution": "14", "language": "en"}
    rows = [{**short, "prompt": "What is 7+7? " + "Say it again. " * n} for n in (0, 400, 1, 500)]
    rows += [{**short, "prompt": f"What is {n}+7?"} for n in range(20)]
    splits = splits_of(rows)
    assert len(splits) == 22 and not {rows[1]["prompt"], rows[3]["prompt"]} & set(splits)
    assert capsys.readouterr().out == "2 of 24 problems skipped: their prompts have over 400 tokens\n"
    assert splits_of(rows, max_prompt_tokens=20) == {}  # enough for the questions, not for the instruction
    with pytest.raises(ValueError, match="unknown split 'tset': choose one of train, validation, test"):
        problems.load_scale_problems(SCALES["t4"], "tset")  # not, silently, the training problems


def test_a_worked_solution_of_a_held_out_problem_is_skipped(monkeypatch):
    texts = [f"Problem {n}?" for n in range(99)]
    fresh = [text for text in texts if split_of(text) == "train"][:2]
    test = next(text for text in texts if split_of(text) == "test")
    prompts = (test.upper().replace(" ", "  "), *fresh)
    rows = [{"prompt": text, "completion": "<think>7-4=3</think> <answer>3</answer>"} for text in prompts]
    rows[2]["completion"] = "<think>no end"
    monkeypatch.setattr(hub, "load_worked_solutions", lambda: iter(rows))
    kept, facts = hub_rows(SCALES["tiny"], BASE)
    assert [row["prompt"] for row in kept] == fresh[:1]
    assert facts == {"rows": 1, "read": 3, "held_out": 1}
