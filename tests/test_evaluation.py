"""Statistics against brute force and published values; evaluate and compare against a policy that reads a script."""

import itertools
import json
import math
import os
import random
import re
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest

from r1lab import evaluation, rewards
from r1lab.evaluation import (
    bootstrap_interval,
    check_outcomes,
    compare,
    evaluate,
    has_self_check,
    load_report,
    majority_at_k,
    mcnemar_p,
    paired_interval,
    pass_at_k,
    save_report,
    table,
    wilson_interval,
)
from r1lab.rewards import accuracy


# ------------------------------------------------------------------------------------------------ statistics
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (8, 10, 0.4901625, 0.9433178),
        (0, 10, 0.0, 0.2775328),
        (10, 10, 0.7224672, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson_known_values(successes, n, low, high):  # the last is Newcombe (1998), table I
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 2, 7, 40, 1000])
def test_wilson_bounds_solve_the_score_equation(n):
    for successes in {0, 1, n // 2, n}:
        share = successes / n
        low, high = wilson_interval(successes, n)
        assert 0 <= low <= share <= high <= 1
        for bound in {low, high} - {0.0, 1.0}:
            assert abs(share - bound) / math.sqrt(bound * (1 - bound) / n) == pytest.approx(
                1.959964, rel=1e-5
            )


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_what_is_no_proportion(successes, n):
    with pytest.raises(ValueError, match="no proportion"):
        wilson_interval(successes, n)


def test_pass_at_k_is_the_share_of_subsets_with_a_right_one():
    for n in range(1, 8):
        for c in range(n + 1):
            right = [True] * c + [False] * (n - c)
            for k in range(1, n + 1):
                subsets = list(itertools.combinations(right, k))
                assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


def test_pass_at_k_is_stable_where_binomials_overflow():
    assert pass_at_k(5000, 1, 1) == pytest.approx(1 / 5000, rel=1e-9)
    exact = 1 - math.comb(4990, 2000) / math.comb(5000, 2000)  # Python's integers do not overflow
    assert pass_at_k(5000, 10, 2000) == pytest.approx(exact, rel=1e-12)
    assert pass_at_k(5000, 0, 64) == 0.0


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, 1, 5), (4, 1, 0), (4, -1, 1)])
def test_pass_at_k_refuses_the_undefined(n, c, k):
    with pytest.raises(ValueError, match="undefined"):
        pass_at_k(n, c, k)


def test_majority_wins_ties_go_to_the_first_and_none_abstains():
    assert majority_at_k(["7", "14", "14"], [False, True, True], 3) == 1.0
    assert majority_at_k(["7", "14", "14", "7"], [False, True, True, False], 4) == 0.0
    assert majority_at_k([None, None, "14"], [False, False, True], 3) == 1.0
    assert majority_at_k([None, None], [False, False], 2) == 0.0
    # two blocks of two, the fifth sample is left over
    assert majority_at_k(["1", "1", "2", "2", "2"], [True, True, False, False, False], 2) == 0.5
    # one spelling of a right answer may be graded wrong: the value that won is right
    assert majority_at_k([0, 0, 2], [False, True, False], 3) == 1.0
    with pytest.raises(ValueError, match="maj@3 needs at least 3"):
        majority_at_k(["1"], [True], 3)


def test_majority_at_1_is_the_mean_verdict():
    verdicts = [True, False, False, True, True]
    assert majority_at_k(list("abcde"), verdicts, 1) == sum(verdicts) / 5


def test_bootstrap_is_the_loop_it_replaces():
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 9, 40)
    sums = rng.binomial(counts, 0.4)
    drawn = np.random.default_rng(5).integers(0, 40, size=(200, 40), dtype=np.int32)
    ratios = [sum(sums[i] for i in row) / sum(counts[i] for i in row) for row in drawn]
    expected = np.quantile(ratios, [0.025, 0.975])
    assert bootstrap_interval(sums, counts, resamples=200, seed=5) == pytest.approx(tuple(expected))


def test_bootstrap_covers_the_truth_where_counting_completions_does_not():
    """Problems differ in difficulty: the interval must hold the population mean about 95 times in 100."""
    rng = np.random.default_rng(0)
    problems, samples, trials = 80, 8, 400
    clustered = naive = 0
    for trial in range(trials):
        correct = rng.binomial(samples, rng.beta(0.5, 0.5, problems))  # the mean of this population is 0.5
        low, high = bootstrap_interval(correct, [samples] * problems, resamples=300, seed=trial)
        clustered += low <= 0.5 <= high
        low, high = wilson_interval(int(correct.sum()), problems * samples)
        naive += low <= 0.5 <= high
    assert 0.91 <= clustered / trials <= 0.98
    assert naive / trials < 0.75


def test_bootstrap_is_fast():
    correct = np.random.default_rng(0).integers(0, 9, 600)
    start = time.perf_counter()
    bootstrap_interval(correct, [8] * 600, resamples=1000)
    assert time.perf_counter() - start < 0.5


def test_bootstrap_refuses_nothing_and_mismatches():
    for sums, counts in [([], None), ([1], [1, 2]), ([1, 2], [1, 0])]:
        with pytest.raises(ValueError, match="one positive count"):
            bootstrap_interval(sums, counts)


def test_mcnemar_is_the_share_of_coin_flips_as_lopsided():
    for n in range(1, 11):
        flips = [sum(outcome) for outcome in itertools.product((0, 1), repeat=n)]
        for improved in range(n + 1):
            seen = abs(improved - n / 2)
            brute = sum(abs(heads - n / 2) >= seen for heads in flips) / 2**n
            assert mcnemar_p(improved, n - improved) == pytest.approx(brute)


def test_mcnemar_known_values():
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(5, 0) == 0.0625
    assert mcnemar_p(6, 16) == pytest.approx(0.05248, abs=1e-5)
    assert mcnemar_p(2000, 1000) < 1e-70  # far beyond what a float binomial could hold


def test_paired_interval_is_antisymmetric_and_never_empty():
    low, high = paired_interval(40, 12, 3, 25)
    assert paired_interval(40, 3, 12, 25) == pytest.approx((-high, -low))
    assert low < 9 / 80 < high
    low, high = paired_interval(50, 0, 0, 0)
    assert low < 0 < high
    assert paired_interval(0, 50, 0, 0)[1] == 1.0


def test_paired_interval_covers_the_truth():
    rng = np.random.default_rng(1)
    cells = [0.35, 0.30, 0.05, 0.30]  # both, improved, worsened, neither
    covered = 0
    for _ in range(1000):
        low, high = paired_interval(*(int(x) for x in rng.multinomial(120, cells)))
        covered += low <= 0.25 <= high
    assert 0.93 <= covered / 1000 <= 0.98


def test_paired_interval_without_correlation_is_the_unpaired_one():
    """With independent verdicts it is Newcombe's score interval for two proportions (1998, method 10 of the other)."""
    low, high = paired_interval(25, 25, 25, 25)
    half = wilson_interval(50, 100)[1] - 0.5
    assert (low, high) == pytest.approx((-half * math.sqrt(2), half * math.sqrt(2)))


# -------------------------------------------------------------------------------------------- one completion
@pytest.mark.parametrize(
    "text",
    [
        "First 19-5=13. Wait, check: 19-5=14.",
        "Pertama 19-5=13. Tunggu, cek: 19-5=14.",
        "Wait... that is wrong",
        "Hold on, the sign",
        "Let me double-check this",
        "Let's verify the result.",
        "I should re-check it",
        "Mari kita periksa.",
        "Coba hitung ulang",
        "Saya periksa kembali",
        "Tunggu dulu, salah",
    ],
)
def test_self_checks_are_seen(text):
    assert has_self_check(text)


@pytest.mark.parametrize(
    "text",
    [
        "First 12+7=19.",
        "She will wait for the bus.",
        "Dia tunggu bus itu",
        "He pays by check",
        "lebih lama lagi",
        "",
    ],
)
def test_other_words_are_not_self_checks(text):
    assert not has_self_check(text)


def test_check_outcomes():
    text = (
        "First 19-5=13. Wait, check: 19-5=14. Lalu 14*2=28. Tunggu, cek: 14*2=28. "
        "Then 28/4=7. Wait, check: 28/4=6. Next 7+1=9. Wait, check: 7+1=9."
    )
    assert check_outcomes(text) == {"repaired": 1, "confirmed": 1, "spoiled": 1, "missed": 1}
    assert check_outcomes("Wait, check: Ani lies.") == dict.fromkeys(check_outcomes(""), 0)
    assert evaluation.count_checks([f"First {'9' * 5000}+1=2."])["sums"] == 0  # too long for Python to read


@pytest.mark.parametrize(
    ("verifier", "texts", "votes"),
    [
        (
            "math",
            ["<think>12+2=14</think> <answer> 14 </answer>", "The answer is 14.", "It is 15."],
            [0, 0, 2],
        ),
        ("math", ["Jawabannya 14.", "First 20-6=14", r"<answer>\boxed{14}</answer>", ""], [0, 0, 0, None]),
        ("math", ["x = -4", "-4", "4", "no number here"], [0, 0, 2, None]),
        ("math", ["It costs $1,250.", "1250", "1250.0"], [0, 0, 0]),
        ("logic", ["<answer>Budi, Ani</answer>", "So the answer is Ani and Budi.", "Ani"], [0, 0, 2]),
        ("logic", ["Jadi jawabannya Ani dan Budi.", "Ani, Budi", "<answer></answer>"], [0, 0, None]),
        (
            "code",
            ["The answer is def f(x): return 4*x+1.", "<answer>def f(x): return 4 * x + 1</answer>", "7", ""],
            [0, 0, 2, None],
        ),
        (
            "countdown",
            [f"<answer>{said}</answer>" for said in ("3*4+2", "2+4*3 = 14", "14", "3*4", "many")],
            [0, 0, 2, 3, None],
        ),
    ],
)
def test_votes_for_the_same_answer_are_one_however_they_are_spelled(verifier, texts, votes):
    row = {"verifier": verifier, "solution": "Ani, Budi" if verifier == "logic" else "14"}
    row |= {"tests": json.dumps({"function": "f", "cases": [[[3], 13]]})} if verifier == "code" else {}
    row |= {"numbers": [2, 3, 4], "target": 14} if verifier == "countdown" else {}
    assert rewards.count_votes(texts, row) == votes


HALVES = ["0.5", "1/2", "\\frac{1}{2}", "0.25", "0.25"]


def test_equal_answers_in_different_spellings_do_not_split_the_vote():
    half = problem(0, "Half?", "1/2")
    policy = ScriptedPolicy(
        {"Half?": ("0", [f"<think>a</think> <answer>{said}</answer>" for said in HALVES])}
    )
    report = evaluate(policy, [half], greedy=False, samples=5, ks=(5,))
    assert report["overall"]["maj@5"]["value"] == 1.0
    assert rewards.count_votes(HALVES, half) == [0, 0, 0, 3, 3], "also without tags"
    twice = ["0.25", "0.5", "1/4", "1/2"]
    assert majority_at_k(rewards.count_votes(twice, half), [False, True, False, True], 4) == 0.0, "a tie"


def test_formulas_are_compared_by_the_verifier_and_numbers_never_start_it(monkeypatch):
    said = [f"<answer>{text}</answer>" for text in ("2\\sqrt{3}", "\\sqrt{12}", "\\sqrt{13}", "3")]
    assert rewards.count_votes(said, problem(0, "?", "2\\sqrt{3}")) == [0, 0, 2, 3]
    monkeypatch.setattr(accuracy, "SYMBOLIC", None)
    odd = [f"<answer>{text}</answer>" for text in (*HALVES, "12+", "x^2", "\\sqrt{4}", "5 cm", "5")]
    assert rewards.count_votes(odd, problem(0, "?", "1/2")) == [0, 0, 0, 3, 3, 5, 6, 7, 8, 8]


# ------------------------------------------------------------------------------------------------ a policy
@dataclass
class Sample:
    text: str
    tokens: int
    truncated: bool = False


class ScriptedPolicy:
    """Says for each question what the script says: {question: (greedy text, [sampled texts])}."""

    def __init__(self, script):
        self.script, self.calls = script, []

    def generate(self, prompts, **settings):
        self.calls.append(settings)
        drawn = []
        for prompt in prompts:
            greedy, sampled = self.script[prompt[-1]["content"]]
            texts = (
                [greedy]
                if settings["temperature"] == 0
                else list(itertools.islice(sampled, settings["samples"]))
            )
            drawn.append([Sample(text, len(text.split()), "~" in text) for text in texts])
        return drawn


def problem(number, prompt, solution, language="en", domain="arithmetic", level="easy"):
    row = {
        "id": f"test-{number:06d}",
        "prompt": prompt,
        "solution": solution,
        "domain": domain,
        "kind": domain,
    }
    return row | {
        "language": language,
        "level": level,
        "verifier": "math",
        "tests": "",
        "source": "r1lab-tiny",
    }


PROBLEMS = [
    problem(0, "3+4?", "7"),
    problem(1, "Berapa 5+5?", "10", language="id", level="medium"),
    problem(2, "x+1=3?", "2", domain="equation"),
]
GOOD = "<think>First 3+4=7.</think> <answer>7</answer>"
SCRIPT = {
    "3+4?": (GOOD, [GOOD, "The answer is 7.", "8", "8"]),
    "Berapa 5+5?": (
        "10",
        [
            "<think>Pertama 5+5=9. Tunggu, cek: 5+5=10.</think> <answer>10</answer>",
            "<think>First 5+5=10.</think> <answer>10</answer>",
            "Jawabannya 10.",
            "lalu 5+5 ~",
        ],
    ),
    "x+1=3?": ("3", ["3", "3", "3", "3"]),
}


@pytest.fixture
def last_number_grader(monkeypatch):
    """Grades by the answer's last number, so that these tests do not depend on the verifiers."""

    def grade_many(texts, rows, *, require_tags=False):
        verdicts = []
        for text, row in zip(texts, rows, strict=True):
            tagged = "</think> <answer>" in text
            said = (re.findall(r"\d+", text) or [""])[-1]
            verdicts.append(said == row["solution"] and (tagged or not require_tags))
        return verdicts

    monkeypatch.setattr(rewards, "grade_many", grade_many)


@pytest.fixture
def report(last_number_grader):
    return evaluate(ScriptedPolicy(SCRIPT), PROBLEMS, samples=4, ks=(1, 2, 4, 16), label="scripted")


def test_every_metric_by_hand(report):
    overall = {metric: estimate["value"] for metric, estimate in report["overall"].items()}
    assert overall == pytest.approx(
        {
            "greedy_accuracy": 2 / 3,
            "greedy_format_rate": 1 / 3,
            "sampled_accuracy": 5 / 12,
            "rewarded_accuracy": 3 / 12,
            "format_rate": 3 / 12,
            # problem 0: two English completions, two without words; problem 1: id, en, id, id; problem 2: no words
            "language_consistency": 5 / 6,
            "mean_tokens": report["overall"]["mean_tokens"]["value"],
            "truncated_rate": 1 / 12,
            "self_check_rate": 1 / 12,
            "pass@1": 5 / 12,
            "pass@2": (1 - 1 / 6 + 1 + 0) / 3,
            "pass@4": 2 / 3,
            "maj@2": (0.5 + 1.0 + 0.0)
            / 3,  # the second block of problem 1 has one vote for 10 and one for 5, 10 first
            "maj@4": 2 / 3,  # problem 0 is a tie, and 7 came first
        },
        abs=1e-6,
    )
    words = [len(text.split()) for _, texts in SCRIPT.values() for text in texts]
    assert overall["mean_tokens"] == pytest.approx(sum(words) / 12, abs=1e-6)
    assert report["overall"]["language_consistency"]["left_out"] == 6
    assert report["overall"]["language_consistency"]["n"] == 2


def test_intervals_hold_their_value_and_greedy_ones_are_wilson(report):
    for estimate in report["overall"].values():
        assert estimate["low"] <= estimate["value"] <= estimate["high"]
    accuracy = report["overall"]["greedy_accuracy"]
    assert (accuracy["low"], accuracy["high"]) == pytest.approx(wilson_interval(2, 3), abs=1e-6)
    assert accuracy["n"] == 3


def test_unanimous_problems_still_have_an_interval(report):
    """Problem 2 alone: 0 of 4 samples. A bootstrap of one problem has no width, Wilson of one draw has."""
    estimate = report["by"]["domain"]["equation"]["sampled_accuracy"]
    assert (estimate["value"], estimate["low"]) == (0, 0)
    assert estimate["high"] == pytest.approx(wilson_interval(0, 1)[1], abs=1e-6)
    assert report["by"]["domain"]["equation"]["language_consistency"]["value"] is None


def test_groups_and_rows(report):
    assert set(report["by"]["domain"]) == {"arithmetic", "equation"}
    assert set(report["by"]["language"]) == {"en", "id"}
    assert report["by"]["language"]["id"]["sampled_accuracy"]["value"] == 0.75
    row = report["rows"][1]
    assert (row["id"], row["greedy_correct"], row["samples_correct"], row["samples"]) == (
        "test-000001",
        True,
        3,
        4,
    )
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_greedy_or_samples_alone(last_number_grader):
    policy = ScriptedPolicy(SCRIPT)
    greedy = evaluate(policy, PROBLEMS, samples=0)
    assert set(greedy["overall"]) == {"greedy_accuracy", "greedy_format_rate"}
    sampled = evaluate(policy, PROBLEMS, greedy=False, samples=4, max_new_tokens=32, seed=9)
    assert "greedy_accuracy" not in sampled["overall"]
    assert policy.calls == [
        {"samples": 1, "temperature": 0.0, "seed": 0},
        {"samples": 4, "temperature": 1.0, "seed": 9, "max_new_tokens": 32},
    ]
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(policy, PROBLEMS, greedy=False, samples=0)
    with pytest.raises(ValueError, match="share an id"):
        evaluate(policy, [PROBLEMS[0], PROBLEMS[0]])


# ---------------------------------------------------------------------------------------------- two policies
def made_report(greedy, correct, samples=8):
    rows = [
        {"id": str(i), "greedy_correct": g, "samples": samples, "samples_correct": c, "samples_tokens": 8 * c}
        for i, (g, c) in enumerate(zip(greedy, correct, strict=True))
    ]
    return {"rows": rows}


def test_compare_greedy():
    before = made_report([True] * 10 + [False] * 20, [0] * 30)
    after = made_report([True] * 9 + [False] * 1 + [True] * 12 + [False] * 8, [0] * 30)
    after["rows"].reverse()  # rows are paired by id, not by place
    result = compare(before, after)
    assert (result["improved"], result["worsened"], result["n"]) == (12, 1, 30)
    assert result["difference"] == pytest.approx(11 / 30)
    assert result["p"] == mcnemar_p(12, 1)
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


def test_compare_refuses_what_cannot_be_paired():
    report = made_report([True], [1])
    with pytest.raises(ValueError, match="different problems"):
        compare(report, made_report([True, True], [1, 1]))
    with pytest.raises(ValueError, match="has no format_rate"):
        compare(report, report, "format_rate")
    with pytest.raises(ValueError, match="no metric is called 'accuracy'"):
        compare(report, report, "accuracy")


# -------------------------------------------------------------------------------------------------- on paper
def test_save_and_load(report, tmp_path):
    path = tmp_path / "runs" / "scripted.json"
    save_report(report, path)
    assert load_report(path) == report
    assert [file.name for file in path.parent.iterdir()] == ["scripted.json"]
    with pytest.raises(ValueError):
        save_report({"value": float("nan")}, path)
    assert load_report(path) == report  # a report that cannot be written does not spoil the one that is there


def test_table(report):
    lines = table({"base": report}, columns=("greedy_accuracy", "mean_tokens", "maj@8")).splitlines()
    low, high = wilson_interval(2, 3)
    assert lines[0] == "| policy | greedy accuracy | mean tokens | maj@8 |"
    assert lines[2].startswith(f"| base | 67 % [{100 * low:.0f}, {100 * high:.0f}] | ")
    assert lines[2].endswith(" | - |")
    by_language = table(
        {"base": report, "zero": report}, rows="language", columns=["sampled_accuracy"]
    ).splitlines()
    assert len(by_language) == 6 and by_language[3].startswith("| base | id | 75 % [")
    with pytest.raises(ValueError, match="choose one of domain"):
        table({"base": report}, rows="colour")


def test_evaluation_needs_no_torch():
    code = "import sys, r1lab.evaluation, r1lab.languages, r1lab.view; print(set(sys.modules) & {'torch', 'trl', 'matplotlib'})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "set()"


def test_evaluate_with_the_real_graders():
    """The completions a base and a trained policy write, in every domain, through the verifiers themselves."""
    code_tests = json.dumps({"function": "f", "cases": [[[3], 13], [[5], 21]]})
    problems = [
        problem(0, "3+4?", "7"),
        problem(1, "Who lies?", "Ani, Budi", domain="logic") | {"verifier": "logic"},
        problem(2, "Tulis f", "def f(x): return 4*x+1", language="id", domain="code") | {"verifier": "code"},
    ]
    problems[2]["tests"] = code_tests
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
