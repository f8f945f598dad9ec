"""Tables of cases, labelled by mathematics: answers and golds, hostile answers, completions in and out of format."""

import json
import time
from pathlib import Path

import pytest

from r1lab.prompts import format_completion
from r1lab.rewards import accuracy, make_reward
from r1lab.rewards.answers import reading
from r1lab.rewards.verify.symbolic import SymbolicVerifier

DATA = Path(__file__).with_name("data")


def read(name):
    with open(DATA / name, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


MATH, HOSTILE, FORMAT = read("math.jsonl"), read("hostile.jsonl"), read("format.jsonl")
SECOND, PUZZLES, ATTACKS = (
    read("math_second.jsonl"),
    read("puzzles.jsonl"),
    read("attacks.jsonl"),
)  # see data/README.md
FAMILIES = sorted({row["family"] for row in MATH + SECOND})


def judge(row):
    reward = make_reward("accuracy", budget_s=60.0)
    said = format_completion("x", row["answer"])
    return reward([said], solution=[row["gold"]], locale=[row.get("locale")])[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_answers_are_right_and_no_others(family):
    rows = [row for row in MATH + SECOND if row["family"] == family]
    assert [row for row in rows if judge(row) != float(row["equal"])] == []


def test_neighbours_of_reported_cases_are_graded_as_mathematics_has_it():
    rows = read("neighbours.jsonl")
    assert [row for row in rows if judge(row) != float(row["equal"])] == []


def test_an_answer_without_tags_is_the_whole_formula_that_the_text_states():
    rows, reward = read("untagged.jsonl"), make_reward("accuracy", require_tags=False, budget_s=60.0)
    assert [
        row for row in rows if reward([row["text"]], solution=[row["gold"]]) != [float(row["right"])]
    ] == []


def test_no_hostile_text_slows_the_reading_of_an_answer_without_tags():
    """A formula of one long word took seconds for 25 letters, twice as many for each further one."""
    texts = ["".join(text * times for text, times in row["parts"]) for row in HOSTILE]
    texts += [
        f"So it ={piece * 400} = x" for piece in ("1a", "1", "1aa", "1^", "1!", "x+", "(1)", "1 ", "\\pi")
    ]
    texts += [f"So it =1{'a' * 400} = x"]
    for number in (True, False):
        for text in texts:
            start = time.monotonic()
            reading.spoken_answer(text, number=number)
            reading.stated_answer(text, number=number, several=not number)
            assert time.monotonic() - start < 5.0, text[:80]


REPORTED = read("reported.jsonl")


@pytest.mark.parametrize("name", sorted({row["reward"] for row in REPORTED}))
def test_what_the_public_reported_is_right_here(name):
    """Rewritten from issues of 42 repositories: what other graders refused, paid or could not read."""
    wrong = []
    for row in (row for row in REPORTED if row["reward"] == name):
        columns = {key: [row.get(key, "")] for key in ("solution", "tests", "numbers", "target", "locale")}
        if make_reward(name, **row.get("options", {}))([row["completion"]], **columns) != [row["expect"]]:
            wrong.append(row)
    assert wrong == []


UNDECIDED = [
    ("(1,2)", "x=1, y=2", "which name comes first is not known"),
    ("5 kg", "5000 g", "units are compared, not converted"),
    (r"\ln 2", r"\log 2", "which base a bare log has is a matter of the book"),
]


@pytest.mark.parametrize(
    ("gold", "answer"),
    [pytest.param(g, a, marks=pytest.mark.xfail(strict=True, reason=why)) for g, a, why in UNDECIDED],
)
def test_right_answers_that_are_not_recognised(gold, answer):
    assert judge({"gold": gold, "answer": answer}) == 1.0


@pytest.mark.parametrize(
    "rows", [HOSTILE[::4], pytest.param(HOSTILE, marks=pytest.mark.slow)], ids=["every fourth", "all"]
)
def test_no_hostile_answer_is_paid_or_stops_the_trainer(rows, tmp_path, monkeypatch, capfd):
    """A fifth of the CPU limit, to be quick; what all of them do under the real one is recorded by the bench."""
    verifier = SymbolicVerifier(limit_s=0.2)
    monkeypatch.setattr(accuracy, "SYMBOLIC", verifier)
    monkeypatch.chdir(tmp_path)
    for number, row in enumerate(rows):
        said = "".join(text * times for text, times in row["parts"])
        start = time.monotonic()
        score = judge({"answer": said, "gold": ("7\\sqrt{2}", "7654")[number % 2]})
        assert score == 0.0, row["name"]
        assert time.monotonic() - start < 15.0, row["name"]  # a loaded machine; 0.2 s on an idle one
    assert judge({"answer": "\\sqrt{98}", "gold": "7\\sqrt{2}"}) == 1.0  # and the next answer is served
    assert not list(tmp_path.iterdir()) and capfd.readouterr() == ("", "")
    verifier.service.close()


def test_hostile_text_in_any_place_breaks_no_reward():
    names = [
        "format",
        "tag_count",
        "reasoning_steps",
        "repetition_penalty",
        "language_consistency",
        "helpfulness_proxy",
        "logic",
        "countdown",
    ]
    said = ["".join(text * times for text, times in row["parts"]) for row in HOSTILE]
    row = {"solution": "Ani", "numbers": [1, 2], "target": 3, "language": "en"}
    columns = {name: [value] * len(said) for name, value in row.items()}
    for name in names:
        start = time.monotonic()
        make_reward(name)(said, **columns)
        make_reward(name)([f"<think>{text}</think><answer>{text}</answer>" for text in said], **columns)
        assert time.monotonic() - start < 20.0, name  # linear in the text, so well under a second each


def test_format_is_exact():
    scores = make_reward("format")([row["text"] for row in FORMAT])
    assert [
        row for row, score in zip(FORMAT, scores, strict=True) if score != float(row["well_formed"])
    ] == []


def test_tag_count_is_full_for_all_that_is_well_formed():
    scores = make_reward("tag_count")([row["text"] for row in FORMAT])
    assert all(score == 1.0 for row, score in zip(FORMAT, scores, strict=True) if row["well_formed"])


def test_puzzle_answers_are_paid_when_they_are_right():
    countdown, logic = make_reward("countdown"), make_reward("logic")
    for row in PUZZLES:
        said = [format_completion("x", row["answer"])]
        if "target" in row:
            score = countdown(said, numbers=[row["numbers"]], target=[row["target"]])
        else:
            score = logic(said, solution=[row["solution"]])
        assert score == [float(row["right"])], row


ASKED = {
    "call": {"function": "f", "cases": [[[3], 1301], [[4], 1701]]},
    "check": {"function": "f", "check": "assert candidate(3) == 1301 and candidate(4) == 1701"},
    "run": {"stdin": [["3\n", "1301\n"], ["4\n", "1701\n"]]},
}


def test_no_attack_earns_a_verdict_and_the_next_candidate_is_served():
    reward = make_reward("code")
    for number, row in enumerate(ATTACKS):
        kind = tuple(ASKED)[number % 3]
        tests = [json.dumps(ASKED[kind])]
        code = row["code"] if kind != "run" else row["code"] + "\nprint(f(3))"
        honest = "print(400*int(input())+101)" if kind == "run" else "def f(n): return 400*n+101"
        assert reward([format_completion("x", f"```python\n{code}\n```")], tests=tests) == [0.0], row["name"]
        assert reward([format_completion("x", f"{honest}\n# {number}")], tests=tests) == [1.0], row["name"]
