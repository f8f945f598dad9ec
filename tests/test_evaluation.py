"""evaluate, pool and compare against a policy that reads a script, every metric computed by hand."""

import json
import random

import pytest
from helpers import ScriptedPolicy

from r1lab import rewards
from r1lab.evaluation import compare, evaluate, load_report, pool, save_report, table
from r1lab.rewards import accuracy
from r1lab.statistics import mcnemar_p, paired_interval, wilson_interval


def problem(number, prompt, solution, **columns):
    row = {"id": f"test-{number:06d}", "prompt": prompt, "solution": solution, "domain": "arithmetic"}
    row |= {"kind": "arithmetic", "language": "en", "level": "easy", "verifier": "math", "tests": ""}
    return row | columns


PROBLEMS = [
    problem(0, "3+4?", "7"),
    problem(1, "Berapa 5+5?", "10", language="id", level="medium"),
    problem(2, "x+1=3?", "2", domain="equation"),
]
GOOD = "<think>First 3+4=7.</think> <answer>7</answer>"
INDONESIAN = [
    "<think>Pertama 5+5=9. Tunggu, cek: 5+5=10.</think> <answer>10</answer>",
    "<think>First 5+5=10.</think> <answer>10</answer>",
    "Jawabannya 10.",
    "lalu 5+5 ~",
]
SCRIPT = {
    "3+4?": (GOOD, [GOOD, "The answer is 7.", "8", "8"]),
    "Berapa 5+5?": ("10", INDONESIAN),
    "x+1=3?": ("3", ["3", "3", "3", "3"]),
}


@pytest.fixture(scope="module")
def report():
    return evaluate(ScriptedPolicy(SCRIPT), PROBLEMS, samples=4, ks=(1, 2, 4, 16), label="scripted")


def test_every_metric_by_hand(report):
    words = [len(text.split()) for _, texts in SCRIPT.values() for text in texts]
    assert {metric: estimate["value"] for metric, estimate in report["overall"].items()} == pytest.approx(
        {
            "greedy_accuracy": 2 / 3,
            "greedy_format_rate": 1 / 3,
            "sampled_accuracy": 5 / 12,
            "rewarded_accuracy": 3 / 12,
            "format_rate": 3 / 12,
            # Problem 0: two English completions, two without words. Problem 1: id, en, id, id. Problem 2: no words.
            "language_consistency": 5 / 6,
            "mean_tokens": sum(words) / 12,
            "truncated_rate": 1 / 12,
            "self_check_rate": 1 / 12,
            "pass@1": 5 / 12,
            "pass@2": (1 - 1 / 6 + 1 + 0) / 3,
            "pass@4": 2 / 3,
            # The second block of problem 1 has one vote for 10 and one for 5, and 10 came first.
            "maj@2": (0.5 + 1.0 + 0.0) / 3,
            # Problem 0 is a tie, and 7 came first.
            "maj@4": 2 / 3,
        },
        abs=1e-6,
    )
    consistency = report["overall"]["language_consistency"]
    assert (consistency["left_out"], consistency["n"]) == (6, 2)


def test_groups_rows_and_intervals(report):
    for estimate in report["overall"].values():
        assert estimate["low"] <= estimate["value"] <= estimate["high"]
    accuracy = report["overall"]["greedy_accuracy"]
    assert (accuracy["low"], accuracy["high"]) == pytest.approx(wilson_interval(2, 3), abs=1e-6)
    # Problem 2 alone, 0 of 4 samples: a bootstrap of one problem has no width, Wilson of one draw has.
    equation = report["by"]["domain"]["equation"]
    assert (equation["sampled_accuracy"]["value"], equation["sampled_accuracy"]["low"]) == (0, 0)
    assert equation["sampled_accuracy"]["high"] == pytest.approx(wilson_interval(0, 1)[1], abs=1e-6)
    assert equation["language_consistency"]["value"] is None
    assert report["by"]["language"]["id"]["sampled_accuracy"]["value"] == 0.75


def test_greedy_or_samples_alone():
    policy = ScriptedPolicy(SCRIPT)
    assert set(evaluate(policy, PROBLEMS, samples=0)["overall"]) == {"greedy_accuracy", "greedy_format_rate"}
    sampled = evaluate(policy, PROBLEMS, greedy=False, samples=4, max_new_tokens=32, seed=9)
    assert "greedy_accuracy" not in sampled["overall"]
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(policy, PROBLEMS, greedy=False, samples=0)
    with pytest.raises(ValueError, match="share an id"):
        evaluate(policy, [PROBLEMS[0], PROBLEMS[0]])


def test_every_domain_is_graded_by_its_own_verifier():
    """The completions a base and a trained policy write, in every domain."""
    tests = json.dumps({"function": "f", "cases": [[[3], 13], [[5], 21]]})
    problems = [
        problem(0, "3+4?", "7"),
        problem(1, "Who lies?", "Ani, Budi", verifier="logic"),
        problem(2, "Tulis f", "def f(x): return 4*x+1", language="id", verifier="code", tests=tests),
    ]
    tagged_code = "<think>17-13=4. Lalu 13-12=1.</think> <answer>def f(x): return 4*x+1</answer>"
    script = {
        "3+4?": ("The answer is 7.", [GOOD, "Jawabannya 7.", "First 3+4=7. So the answer is 8.", "7"]),
        "Who lies?": ("<answer>Budi, Ani</answer>", ["So the answer is Ani, Budi.", "Ani", "Ani.", "Citra"]),
        "Tulis f": (tagged_code, [tagged_code, "def f(x): return 4*x+1", "def f(x): return 4*x", "pertama"]),
    }
    report = evaluate(ScriptedPolicy(script), problems, samples=4, ks=(1, 4))
    assert report["overall"]["greedy_accuracy"]["value"] == 1.0
    assert [row["samples_correct"] for row in report["rows"]] == [3, 1, 2]
    assert [row["samples_rewarded"] for row in report["rows"]] == [1, 0, 1]
    assert [row["maj@4"] for row in report["rows"]] == [1.0, 0.0, 1.0]


# ------------------------------------------------------------------------------------------- maj@k by value
@pytest.mark.parametrize(
    ("verifier", "texts", "votes"),
    [
        ("math", ["<think>12+2=14</think> <answer> 14 </answer>", "It is 14.", "It is 15."], [0, 0, 2]),
        ("math", ["Jawabannya 14.", "First 20-6=14", r"<answer>\boxed{14}</answer>", ""], [0, 0, 0, None]),
        ("math", ["x = -4", "-4", "4", "no number here"], [0, 0, 2, None]),
        ("math", ["It costs $1,250.", "1250", "1250.0"], [0, 0, 0]),
        ("logic", ["<answer>Budi, Ani</answer>", "So the answer is Ani and Budi.", "Ani"], [0, 0, 2]),
        ("logic", ["Jadi jawabannya Ani dan Budi.", "Ani, Budi", "<answer></answer>"], [0, 0, None]),
        ("code", ["It is def f(x): return 4*x+1.", "def f(x): return 4 * x + 1", "7", ""], [0, 0, 2, None]),
        ("countdown", ["3*4+2", "2+4*3 = 14", "14", "3*4", "many"], [0, 0, 2, 3, None]),
    ],
)
def test_votes_for_the_same_answer_are_one_however_they_are_spelled(verifier, texts, votes):
    row = {"verifier": verifier, "solution": "Ani, Budi" if verifier == "logic" else "14"}
    row |= {"tests": json.dumps({"function": "f", "cases": [[[3], 13]]})} if verifier == "code" else {}
    if verifier == "countdown":
        row |= {"numbers": [2, 3, 4], "target": 14}
        texts = [f"<answer>{text}</answer>" for text in texts]
    assert rewards.count_votes(texts, row) == votes


HALVES = ["0.5", "1/2", "\\frac{1}{2}", "0.25", "0.25"]


def test_equal_answers_in_different_spellings_do_not_split_the_vote(monkeypatch):
    half = problem(0, "Half?", "1/2")
    tagged = [f"<think>a</think> <answer>{text}</answer>" for text in HALVES]
    report = evaluate(ScriptedPolicy({"Half?": ("0", tagged)}), [half], greedy=False, samples=5, ks=(5,))
    assert report["overall"]["maj@5"]["value"] == 1.0
    assert rewards.count_votes(HALVES, half) == [0, 0, 0, 3, 3], "also without tags"
    # Formulas are compared by the verifier, and numbers never start it.
    texts = [f"<answer>{text}</answer>" for text in ("2\\sqrt{3}", "\\sqrt{12}", "\\sqrt{13}", "3")]
    assert rewards.count_votes(texts, problem(0, "?", "2\\sqrt{3}")) == [0, 0, 2, 3]
    monkeypatch.setattr(accuracy, "SYMBOLIC", None)
    texts = [f"<answer>{text}</answer>" for text in (*HALVES, "12+", "x^2", "5 cm", "5")]
    assert rewards.count_votes(texts, half) == [0, 0, 0, 3, 3, 5, 6, 7, 7]


# ------------------------------------------------------------------------------------------- several reports
def made_report(greedy, correct, samples=8):
    columns = {"id": range(len(greedy)), "greedy_correct": greedy, "samples_correct": correct}
    columns |= {"samples_tokens": [8 * c for c in correct], "samples": [samples] * len(greedy)}
    return {"rows": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}


def test_compare_greedy():
    before = made_report([True] * 10 + [False] * 20, [0] * 30)
    after = made_report([True] * 9 + [False] * 1 + [True] * 12 + [False] * 8, [0] * 30)
    after["rows"].reverse()  # rows are paired by id, not by position
    result = compare(before, after)
    assert (result["improved"], result["worsened"], result["n"]) == (12, 1, 30)
    assert (result["difference"], result["p"]) == (pytest.approx(11 / 30), mcnemar_p(12, 1))
    assert (result["low"], result["high"]) == paired_interval(9, 12, 1, 8)


def test_compare_of_pooled_seeds_keeps_the_interval_around_the_difference():
    """Pooled verdicts are fractions: McNemar's counts of 0 and 1 would find nothing at all in them."""
    before = made_report([1 / 3] * 30 + [2 / 3] * 30, [0] * 60)
    after = made_report([2 / 3] * 40 + [1.0] * 20, [0] * 60)
    result = compare(before, after)
    assert result["difference"] == pytest.approx(50 / 180)
    assert 0 < result["low"] < result["difference"] < result["high"]
    assert result["test"] == "paired bootstrap" and result["p"] < 0.01


def test_compare_sampled_pairs_the_problems():
    """Problems of very different difficulty and a small steady gain: only a paired interval can see it."""
    rng = random.Random(0)
    correct = [rng.choice((0, 1, 6, 7)) for _ in range(100)]
    before, after = made_report([True] * 100, correct), made_report([True] * 100, [c + 1 for c in correct])
    result = compare(before, after, "sampled_accuracy")
    assert result["difference"] == pytest.approx(1 / 8)
    assert (result["low"], result["high"]) == pytest.approx((1 / 8, 1 / 8))
    assert result["p"] < 0.01
    same = compare(before, before, "sampled_accuracy")
    assert (same["difference"], same["p"]) == (0, 1)
    assert compare(before, after, "pass@8")["after"] == 1.0
    assert compare(before, after, "mean_tokens")["difference"] == pytest.approx(1.0)


def test_what_cannot_be_paired_is_refused(report):
    other = {**report, "rows": report["rows"][1:]}
    for function in (compare, lambda *reports: pool(reports)):
        with pytest.raises(ValueError, match="different problems"):
            function(report, other)
    for metric, message in (("maj@16", "has no maj@16"), ("accuracy", "no metric is called 'accuracy'")):
        with pytest.raises(ValueError, match=message):
            compare(report, report, metric)


def test_seeds_are_pooled_with_equal_weight_however_often_they_were_sampled(report):
    other = evaluate(ScriptedPolicy(SCRIPT | {"x+1=3?": ("2", ["2", "2"])}), PROBLEMS, samples=2, ks=(1,))
    pooled = pool([report, other])
    for metric in ("greedy_accuracy", "sampled_accuracy", "format_rate"):
        values = [seed["overall"][metric]["value"] for seed in (report, other)]
        assert pooled["overall"][metric]["value"] == pytest.approx(sum(values) / 2, abs=1e-5)
    assert pooled["rows"][0]["samples"] == 8 and set(pooled["by"]["domain"]) == {"arithmetic", "equation"}


# -------------------------------------------------------------------------------------------------- on paper


def test_a_table_and_a_file_hold_the_report(report, tmp_path):
    low, high = wilson_interval(2, 3)
    last = table({"base": report}, columns=("greedy_accuracy", "mean_tokens", "maj@8")).splitlines()[2]
    assert last.startswith(f"| base | 67 % [{100 * low:.0f}, {100 * high:.0f}] | ") and last[-6:] == " | - |"
    lines = table({"a": report, "b": report}, rows="language", columns=["sampled_accuracy"]).splitlines()
    assert len(lines) == 6 and lines[3].startswith("| a | id | 75 % [")
    path = tmp_path / "runs" / "scripted.json"
    save_report(report, path)
    with pytest.raises(TypeError):
        save_report({"value": object()}, path)
    assert load_report(path) == report, "a report that cannot be written does not spoil the one that is there"
    assert [file.name for file in path.parent.iterdir()] == ["scripted.json"]
