"""What counts as a right answer to a math problem, and that no answer can stop or slow the trainer."""

import asyncio
import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1lab.rewards
from r1lab.prompts import format_completion
from r1lab.rewards import make_reward
from r1lab.rewards.answers.compare import compare
from r1lab.rewards.answers.gold import read_gold
from r1lab.rewards.answers.latex import too_costly
from r1lab.rewards.answers.normalise import normalise
from r1lab.rewards.answers.quantities import evaluate, read_numeral, read_quantity
from r1lab.rewards.answers.reading import last_boxed
from r1lab.rewards.verify.symbolic import SYMBOLIC, SymbolicVerifier


def accuracy(answer, gold, locale=None, **options):
    reward = make_reward("accuracy", **options)
    return reward([format_completion("x", answer)], solution=[gold], locale=[locale])[0]


# ------------------------------------------------------------------------------------------ right and wrong

EXACT = [  # answer, gold, verdict; decided without math-verify
    ("14", "14", 1), ("15", "14", 0), ("-14", "14", 0), ("−14", "-14", 1), ("+14", "14", 1), ("14.0", "14", 1), ("14.", "14", 1), ("014", "14", 1),
    ("$14$", "14", 1), ("**14**", "14", 1), ("\\boxed{14}", "14", 1), ("\\(14\\)", "14", 1), ("The answer is 14.", "14", 1), ("Jawabannya adalah 14", "14", 1),
    ("x = 14", "14", 1), ("14 eggs", "14", 1), ("14 butir telur", "14", 1), ("Ani has 14 eggs", "14", 1), ("12+2", "14", 1), ("(1+6)*2", "14", 1),
    ("7 \\times 2 = 14", "14", 1), ("1 = 14", "14", 0), ("12+2=13", "14", 0), ("14 14", "14", 0), ("3 + 14 eggs", "14", 0), ("", "14", 0), ("Ani", "14", 0),
    ("1,234", "1234", 1), ("1\\,234", "1234", 1), ("1{,}234.5", "1234.5", 1), ("1,2", "12", 0), ("\\frac12", "0.5", 1), ("\\dfrac{1}{2}", "1/2", 1),
    ("½", "1/2", 1), ("3 3/4", "15/4", 1), ("3\\frac{3}{4}", "15/4", 1), ("6/8", "3/4", 1), ("1/0", "1", 0), ("5e3", "5000", 1), ("5 \\times 10^3", "5000", 1),
    ("50%", "50", 1), ("50\\%", "0.5", 1), ("50", "50%", 1), ("50%", "5", 0), ("9.5%", "9.5", 1), ("0.333333", "1/3", 1), ("0.33", "1/3", 0),
    ("0.0000001", "0.0000002", 0), ("10001", "10000", 0), ("90°", "90", 1), ("90^\\circ", "90", 1), ("\\$5", "5", 1),
    ("5 cm", "5", 1), ("5", "5 cm", 1), ("5 cm", "5 m", 0), ("5 \\text{ cm}", "5 cm", 1), ("2 hours", "2 minutes", 0), ("2 hours", "2 jam", 1),
    ("2516_8", "2516_8", 1), ("2516_7", "2516_8", 0), ("y=5", "x=5", 0), ("x=5", "x=5", 1), ("5x", "5", 0), ("x", "5", 0),
    ("Rp 15.000", "15000", 1), ("Rp15.000,50", "15000.5", 1), ("Evelyn", "\\text{Evelyn}", 1), ("evelyn", "Evelyn", 1), ("Evelyn or Ani", "Evelyn", 0),
    ("(B)", "B", 1), ("C", "B", 0), ("5", "The sum is \\boxed{5}.", 1), ("72", "48/2=24\n#### 72", 1), ("2", "2\\boxed{7} then \\boxed{2}", 1),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "gold", "expected"), EXACT)
def test_numbers_and_words_are_compared_without_sympy(answer, gold, expected, monkeypatch):
    monkeypatch.setattr(SymbolicVerifier, "_ask", lambda *_: pytest.fail("math-verify was asked"))
    assert accuracy(answer, gold) == expected


def test_think_is_never_read_and_one_answer_is_wanted():
    cheats = [
        "<think>\\boxed{5}</think> I have no idea",
        "<think>5</think> <answer></answer>",
        "<think><answer>5</answer></think> <answer>6</answer>",
        "<think>a</think> <answer>5</answer> <answer>6</answer>",
        "<think>a</think> <answer>6</answer> <answer>5</answer>",
        "<think>a</think> <answer>5",
        "<think>a <answer>5</answer>",
        "<answer>5</answer>",
        "<think>a</think> 5",
    ]
    assert make_reward("accuracy")(cheats, solution=["5"] * len(cheats)) == [0.0] * len(cheats)


def test_a_policy_that_corrects_itself_is_read_at_its_last_word():
    said = "First I guessed \\boxed{3}. That was wrong; the final answer is \\boxed{5}."
    assert accuracy(said, "5") == 1.0 and accuracy(said, "3") == 0.0
    assert last_boxed("\\boxed{\\frac{1}{2}} and \\boxed{3}") == "\\frac{1}{2}, 3"
    assert last_boxed("\\boxed{5") is None and last_boxed("5") is None


UNSOLVED = [
    "12+7",
    "38/2",
    "19+0",
    "19 = 12+7",
    "12+7=19",
    "20-1",
    "\\frac{38}{2}",
    "19^1",
    "\\sqrt{361}",
    "19 \\cdot 1",
]
SOLVED = [
    ("19", "19"),
    ("-19", "-19"),
    ("x = 19", "19"),
    ("19 km/h", "19"),
    ("1/2", "1/2"),
    ("2\\sqrt{3}", "2\\sqrt{3}"),
]


def test_an_unsolved_expression_can_be_refused_and_a_solved_one_is_not():
    for answer in UNSOLVED:
        assert accuracy(answer, "19") == 1.0
        assert accuracy(answer, "19", require_simplified=True) == 0.0, answer
    for answer, gold in SOLVED:
        assert accuracy(answer, gold, require_simplified=True) == 1.0, answer


def test_untagged_replies_are_read_at_their_last_number():
    said = [
        "19-5=14",
        "So 12+7=19 and x=14.",
        "It is \\boxed{14}, not 15.",
        "<think>a</think> 14 eggs",
        "<think>15</think><answer>14</answer>",
        "The answer is -3+17=14",
    ]
    reward = make_reward("accuracy", require_tags=False)
    assert reward(said, solution=["14"] * 6) == [1.0] * 6
    assert reward(["so x=-14", "5-14", "no"], solution=["-14"] * 3) == [1.0, 0.0, 0.0]
    assert reward(["Then the answer is $\\sqrt{12}$."], solution=["2\\sqrt{3}"]) == [1.0]


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
def test_an_integer_is_right_in_every_dress_and_no_other_is(gold, other):
    for dress in ("{}", "${}$", "x = {}", "{} eggs", "{}.0", "\\boxed{{{}}}", "{}/1", "The answer is {}."):
        assert accuracy(dress.format(gold), str(gold)) == 1.0
        assert accuracy(dress.format(other), str(gold)) == float(gold == other)
    assert accuracy(f"{gold:,}", str(gold)) == 1.0
    assert accuracy(f"{gold:,}".replace(",", "."), str(gold), locale="id") == 1.0
    assert accuracy(f"{gold} or {other}", str(gold)) == 0.0


expressions = st.recursive(
    st.integers(0, 99).map(str),
    lambda parts: st.tuples(parts, st.sampled_from("+-*/"), parts).map(lambda t: f"({t[0]}{t[1]}{t[2]})"),
    max_leaves=8,
)


@given(expressions)
def test_our_arithmetic_is_pythons(text):
    with contextlib.suppress(ZeroDivisionError):
        truth = eval(
            "".join(f"Fraction({t})" if t.isdigit() else t for t in _split(text)), {"Fraction": Fraction}
        )
        assert evaluate(text)[0] == truth
        return
    assert evaluate(text) is None


def _split(text):
    word = ""
    for character in text:
        if character.isdigit():
            word += character
            continue
        if word:
            yield word
        word = ""
        yield character
    if word:
        yield word


@given(st.text(max_size=60) | st.text(alphabet="0123456789.,+-*/()= x\\{}$%", max_size=60))
def test_no_text_breaks_the_exact_comparison(text):
    assert isinstance(compare(read_gold("14", "en"), text), bool | tuple)
    assert normalise(normalise(text)) == normalise(text) or len(text) > 0  # never raises, never hangs
    read_quantity(text, "id")
    evaluate(text)


def test_numerals_that_make_no_sense_are_none():
    assert read_numeral("1,234.5") == Fraction(2469, 2) == read_numeral("1.234,5", "id")
    assert [read_numeral(text) for text in ("1,2", "1.2.3", "1,23,456", "1" * 201)] == [None] * 4


def gone(pids, within_s):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not any(os.path.exists(f"/proc/{pid}") and "Z" not in _state(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def _state(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]
    return "Z"


def in_session(pids):
    """All processes of the sessions that `pids` lead."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.getsid(int(entry)) in pids:
                found.append(int(entry))
    return found


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads /proc")


# ------------------------------------------------------------------------------------------ hostile answers

PAPER = "\\dfrac{5^{\\left(5^{\\left(5^{\\left(5^5\\right)}\\right)} - 4\\right)} - 5}{16}"  # Math-Verify issue 65: never returns


def test_what_gets_past_the_guards_dies_in_the_worker():
    for said in ("(x+y+z)^{9999}", "\\log(\\log(\\log(9^{9999})))"):
        assert accuracy(said, "7\\sqrt{2}") == 0.0
    assert accuracy("\\sqrt{98}", "7\\sqrt{2}") == 1.0


def test_cost_guard_leaves_ordinary_answers_alone():
    ordinary = [
        "\\frac{-b \\pm \\sqrt{b^2-4ac}}{2a}",
        "x^2+y^2",
        "2^{2023}-1",
        "\\binom{10}{3}",
        "e^{-x^2}",
        "20!",
    ]
    ordinary += ["\\sum_{k=1}^{100} k", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}"]
    assert not any(map(too_costly, ordinary))


def test_a_hang_is_killed_and_remembered(monkeypatch):
    verifier = SymbolicVerifier(limit_s=0.5)
    assert verifier.verify("2\\sqrt{3}", "\\sqrt{12}")
    start = time.monotonic()
    assert not verifier.verify("5", PAPER)
    assert time.monotonic() - start < 12.0
    assert verifier.verify("5", "\\sqrt{25}")  # a fresh fork answers
    monkeypatch.setattr(verifier.service, "request", lambda *_: pytest.fail("asked again"))
    assert not verifier.verify("5", PAPER)  # the kill is in the cache too
    verifier.service.close()


@needs_proc
def test_only_what_hangs_is_killed_and_sympy_is_imported_once():
    verifier = SymbolicVerifier(limit_s=0.3)
    assert verifier.verify("5", "\\sqrt{25}")
    first = verifier.service.pid
    for n in range(3):
        assert not verifier.verify("5", f"(x+y+z)^{{{9000 + n}}}")
        assert verifier.verify("5", f"\\sqrt{{25}}+{n}-{n}")
    assert verifier.service.pid == first
    everyone = in_session([first])
    verifier.service.close()
    assert gone(everyone, 5.0)


@needs_proc
def test_a_worker_that_dies_between_two_questions_answers_none_of_them():
    verifier = SymbolicVerifier(
        limit_s=10.0
    )  # nothing hangs here, but starting again is slow on a busy machine
    assert verifier.verify("5", "\\sqrt{25}")
    idle = [pid for pid in in_session([verifier.service.pid]) if pid != verifier.service.pid]
    for pid in idle:
        os.kill(pid, signal.SIGKILL)
    assert gone(idle, 10.0)
    assert [verifier.verify("7", f"\\sqrt{{49}}+{n}-{n}") for n in range(2)] == [True, True]
    assert not verifier.verify("7", "\\sqrt{48}")
    verifier.service.close()


@pytest.mark.slow
def test_a_batch_of_hangs_ends_with_its_budget():
    metrics = {}
    said = [
        format_completion("a", f"\\int \\sin({n}x^{{{n}}}) \\cos(x^3+{n}) e^{{x^2}} \\ln(x) dx")
        for n in range(40)
    ]
    start = time.monotonic()
    make_reward("accuracy", budget_s=2.0)(said, solution=["7\\sqrt{2}"] * 40, log_metric=metrics.__setitem__)
    assert time.monotonic() - start < 25.0
    unhurried = metrics["accuracy/unverified"] == 0  # if this sympy was quick after all
    assert unhurried or metrics["accuracy/unverified"] > 10


def test_slow_answers_keep_no_cheap_one_waiting():
    """Four answers that hang, then one that a comparison decides: the time is up before the verifier is asked at all."""
    hangs = [format_completion("a", f"(x+y+z)^{{{n}}}") for n in range(9990, 9994)]
    said, golds = [*hangs, format_completion("a", "14")], ["3\\sqrt{2}"] * 4 + ["14"]
    metrics = {}
    reward = make_reward("accuracy", budget_s=-1.0)
    assert reward(said, solution=golds, log_metric=metrics.__setitem__) == [0.0] * 4 + [1.0]
    assert metrics["accuracy/unverified"] == 4


def test_the_shortest_answers_are_verified_first(monkeypatch):
    asked = []
    monkeypatch.setattr(SYMBOLIC, "verify", lambda gold, answer: bool(asked.append(answer)))
    said = ["(x+y+z)^{9981}", "\\sqrt{12}", "(x+y)^{9982}"]
    make_reward("accuracy")([format_completion("a", answer) for answer in said], solution=["2\\sqrt{3}"] * 3)
    assert asked == sorted(said, key=len)


def test_threads_share_one_worker():
    wrong = []

    def work(seed):
        for n in range(2, 12):
            if not SYMBOLIC.verify(f"{n}\\sqrt{{{seed}}}", f"\\sqrt{{{n * n * seed}}}"):
                wrong.append((n, seed))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (2, 3, 5, 7)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert wrong == []


# ----------------------------------------------------------------------------------------------- leftovers

STARTED = """
import json, os, sys, threading, time
from r1lab.rewards.verify.sandbox import SANDBOX
from r1lab.rewards.verify.symbolic import SymbolicVerifier
verifier = SymbolicVerifier(limit_s=1.0)
assert verifier.verify("2\\\\sqrt{3}", "\\\\sqrt{12}")
assert SANDBOX.call("def f(x): return x", "f", [[1]]) == [(True, 1)]
print(json.dumps([verifier.service.pid, SANDBOX.service.pid]), flush=True)
"""
BUSY = f"""
threading.Thread(target=verifier.verify, args=("5", {PAPER!r}), daemon=True).start()
threading.Thread(target=SANDBOX.call, args=("def f(x):\\n while True: pass", "f", [[1]]), daemon=True).start()
time.sleep(0.2)
print("busy", flush=True)
time.sleep(60)
"""


@needs_proc
@pytest.mark.parametrize("ending", ["sys.exit(3)", "os._exit(1)"])
def test_nothing_is_left_when_the_parent_ends(ending):
    done = subprocess.run([sys.executable, "-c", STARTED + ending], capture_output=True, text=True)
    assert gone(json.loads(done.stdout), 10.0), done.stderr


@pytest.mark.slow
@needs_proc
def test_nothing_is_left_when_the_parent_is_killed_in_the_middle():
    parent = subprocess.Popen([sys.executable, "-c", STARTED + BUSY], stdout=subprocess.PIPE, text=True)
    pids = json.loads(parent.stdout.readline())
    assert parent.stdout.readline() == "busy\n"
    everyone = in_session(pids)
    assert len(everyone) >= 3  # worker, server and the candidate
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(everyone, 15.0)


def _ask_in_fork(results):
    results.put((SYMBOLIC.verify("3\\sqrt{2}", "\\sqrt{18}"), SYMBOLIC.service.pid))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_gets_its_own_worker():
    SYMBOLIC.verify("2\\sqrt{2}", "\\sqrt{8}")
    mine = SYMBOLIC.service.pid
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=_ask_in_fork, args=(results,))
    child.start()
    verdict, theirs = results.get()
    child.join()
    assert verdict and theirs != mine
    assert SYMBOLIC.verify("2\\sqrt{5}", "\\sqrt{20}") and SYMBOLIC.service.pid == mine


CASES = [
    ("\\sqrt{18}", "3\\sqrt{2}"),
    ("14", "14"),
    (PAPER, "14"),
    ("\\frac{1}{2}", "\\cos(\\pi/3)"),
    ("x+1", "x+2"),
    ("(x+y+z)^{9998}", "3\\sqrt{2}"),  # a second of CPU, then killed
]
VERDICTS = [1.0, 1.0, 0.0, 1.0, 0.0, 0.0]


def grade_cases(_=None):
    answers, golds = zip(*CASES, strict=True)
    return make_reward("accuracy")(
        [format_completion("x", answer) for answer in answers], solution=list(golds)
    )


@pytest.mark.slow
def test_every_context_gives_the_same_verdicts(monkeypatch):
    """math-verify's own time limits work in the main thread only; ours hold wherever a trainer may call from."""
    verifier = SymbolicVerifier(limit_s=0.3)  # to be quick; the spawned process keeps the real limit
    monkeypatch.setattr("r1lab.rewards.accuracy.SYMBOLIC", verifier)
    assert grade_cases() == VERDICTS

    async def in_a_loop():
        return [grade_cases(), await asyncio.to_thread(grade_cases)]

    verifier._verdicts.clear()
    assert asyncio.run(in_a_loop()) == [VERDICTS] * 2
    verifier._verdicts.clear()
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        assert list(threads.map(grade_cases, range(2))) == [VERDICTS] * 2
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as processes:
        assert processes.submit(grade_cases).result() == VERDICTS
    verifier.service.close()


FORBIDDEN = re.compile(
    r"(?<![\w.])(?:eval|exec|compile)\(|\b(?:parse_expr|sympify|pickle\.loads?|marshal|__import__)\b"
)


def test_nothing_in_the_package_runs_what_a_model_wrote():
    """The sandbox's own process is the one place that does (and there `import` is replaced); `compile` of a pattern is none."""
    package = Path(r1lab.rewards.__file__).parents[1]
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if FORBIDDEN.search(line.partition("#")[0])
    }
    assert found == {"rewards/verify/sandbox_jobs.py", "rewards/verify/isolation.py"}
