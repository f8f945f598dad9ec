"""How fast and how safe the rewards are on this machine: `python tools/maintain.py bench-rewards`, one core, medians."""

import argparse
import contextlib
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

from r1lab.prompts import format_completion
from r1lab.rewards import make_reward
from r1lab.rewards.answers.gold import read_gold
from r1lab.rewards.verify.symbolic import SYMBOLIC
from r1lab.scale import DATA

CASES = DATA.parent / "tests" / "data"
REPEATS = 3
BATCH = 64
COMPLETIONS = 2000  # of 3 kB
CANDIDATES = 100  # lines of code
TARGETS = {  # name -> (figure, whether more is better)
    "integers_per_s": (5000, True),
    "mixed_math_per_s": (100, True),
    "format_per_s": (20_000, True),
    "hostile_slowest_s": (2.0, False),
    "hostile_code_slowest_s": (2.0, False),
    "hostile_batch_s": (20.0, False),
    "import_s": (0.3, False),
}
HOSTILE_CODE = {
    "fork bomb": "import os\ndef f(x):\n    while True: os.fork()",
    "300 MB print": "def f(x):\n    print('x' * 300_000_000)",
    "endless loop": "def f(x):\n    while True: pass",
    "sys.exit(0)": "import sys\nsys.exit(0)",
    "file write outside": "def f(x):\n    open('/tmp/r1lab-evil', 'w').write('x')\n    return 4*x+1",
    "socket connect": "import _socket\ndef f(x):\n    _socket.socket().connect(('127.0.0.1', 9))\n    return 4*x+1",
    "orphaned grandchild": "import os\ndef f(x):\n    if os.fork() == 0:\n        if os.fork() == 0:\n            while True: pass\n        os._exit(0)\n    return 4*x+1",
    "waiting for ever": "import _thread\ndef f(x):\n    lock = _thread.allocate_lock()\n    lock.acquire(); lock.acquire()",
}  # fmt: skip


def read_cases(name: str) -> list[dict]:
    """Rows of a table in tests/data."""
    with open(CASES / f"{name}.jsonl", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def seconds(act: Callable[[], object], *, before: Callable[[], object] = lambda: None) -> float:
    """Median seconds of `act` over a few repeats, each after `before`, which is not timed."""
    times = []
    for _ in range(REPEATS):
        before()
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def forget() -> None:
    """Drop every cached gold and verdict, so that nothing measured is a look-up."""
    read_gold.cache_clear()
    SYMBOLIC._verdicts.clear()


def bench_integers() -> float:
    """Integer golds with 3 kB completions a second."""
    prose = "First we add 12 and 7, which gives 19, and then we go on. " * 52  # 3,016 characters
    texts = [format_completion(prose, str(n)) for n in range(COMPLETIONS)]
    golds = [str(n + n % 2) for n in range(COMPLETIONS)]
    reward = make_reward("accuracy")
    return len(texts) / seconds(lambda: reward(texts, solution=golds), before=forget)


def bench_mixed(rows: list[dict]) -> tuple[float, float]:
    """Rows of the math table a second, and the share judged as labelled; golds are parsed once, as in training."""
    texts = [format_completion("x", row["answer"]) for row in rows]
    columns = {"solution": [row["gold"] for row in rows], "locale": [row.get("locale") for row in rows]}
    reward = make_reward("accuracy", budget_s=600.0)
    scores = reward(texts, **columns)
    right = sum(score == float(row["equal"]) for score, row in zip(scores, rows, strict=True))
    rate = len(rows) / seconds(lambda: reward(texts, **columns), before=forget)
    return rate, right / len(rows)


def bench_trl(rows: list[dict]) -> tuple[float, float]:
    """The same for TRL's own accuracy_reward, which wants the answer boxed."""
    from latex2sympy2_extended.latex2sympy2 import latex2sympy  # noqa: F401, so that importing it is not timed
    from trl.rewards import accuracy_reward

    texts = [[{"role": "assistant", "content": boxed(row["answer"])}] for row in rows]
    golds = [f"${row['gold'].strip('$')}$" for row in rows]
    scores = accuracy_reward(texts, golds)
    right = sum(score == float(row["equal"]) for score, row in zip(scores, rows, strict=True))
    return len(rows) / seconds(lambda: accuracy_reward(texts, golds)), right / len(rows)


def boxed(answer: str) -> str:
    return answer if "boxed" in answer else f"$\\boxed{{{answer}}}$"


def bench_format() -> float:
    """Completions of 3 kB a second."""
    texts = [format_completion("First 12+7=19. " * 200, str(n)) for n in range(COMPLETIONS)]
    reward = make_reward("format")
    return len(texts) / seconds(lambda: reward(texts))


def bench_hostile(rows: list[dict]) -> dict:
    """Seconds of the slowest hostile answer (with its name), of a batch of 64, and how many got a reward (0 is right)."""
    answers = {row["name"]: "".join(text * times for text, times in row["parts"]) for row in rows}
    reward = make_reward("accuracy")
    # The worker runs before the clock starts, as in any training.
    reward([format_completion("x", "\\sqrt{98}")], solution=["7\\sqrt{2}"])
    times, rewarded = {}, 0
    for name, answer in answers.items():
        forget()
        start = time.perf_counter()
        rewarded += sum(reward([f"<think>a</think><answer>{answer}</answer>"], solution=["7\\sqrt{2}"]))
        times[name] = time.perf_counter() - start
    slowest = sorted(times, key=times.__getitem__, reverse=True)
    forget()
    batch = [f"<think>a</think><answer>{answers[name]}</answer>" for name in slowest[:BATCH]]
    start = time.perf_counter()
    rewarded += sum(reward(batch, solution=["7\\sqrt{2}"] * len(batch)))
    return {
        "hostile_slowest_s": times[slowest[0]],
        "hostile_slowest": slowest[0],
        "hostile_batch_s": time.perf_counter() - start,
        "hostile_paid": int(rewarded),
        "hostile_answers": len(rows),
    }


def bench_code() -> dict:
    """Candidates a second, and what each hostile one earned and took."""
    tests = json.dumps({"function": "f", "cases": [[[3], 13], [[4], 17]]})
    reward = make_reward("code")
    candidates = iter(range(10**9))

    def run(count: int) -> list[float]:
        texts = [
            format_completion("x", f"def f(x): return 4*x+1 + 0*{next(candidates)}") for _ in range(count)
        ]
        return reward(texts, tests=[tests] * count)

    run(1)
    rate, attacks = CANDIDATES / seconds(lambda: run(CANDIDATES)), {}
    for name, code in HOSTILE_CODE.items():
        start = time.perf_counter()
        (score,) = reward([format_completion("x", code)], tests=[tests])
        attacks[name] = {"score": score, "seconds": round(time.perf_counter() - start, 3)}
    slowest = max(attack["seconds"] for attack in attacks.values())
    return {"code_per_s": rate, "hostile_code_slowest_s": slowest, "hostile_code": attacks}


def bench_import() -> float:
    """Seconds that `import r1lab.rewards` adds to a new interpreter."""
    program = (
        "import time; start = time.perf_counter(); import r1lab.rewards; print(time.perf_counter() - start)"
    )
    printed = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        for _ in range(REPEATS)
    ]
    return statistics.median(float(done.stdout) for done in printed)


def measure(*, trl: bool = True) -> dict:
    """Every figure of the table, with versions and date."""
    rows = read_cases("math")
    figures = {"import_s": bench_import(), "integers_per_s": bench_integers(), "format_per_s": bench_format()}
    figures["mixed_math_per_s"], figures["mixed_math_right"] = bench_mixed(rows)
    if trl:
        with contextlib.redirect_stderr(None):
            figures["trl_mixed_math_per_s"], figures["trl_mixed_math_right"] = bench_trl(rows)
    figures |= bench_hostile(read_cases("hostile")) | bench_code()
    packages = {name: version(name) for name in ("math-verify", "latex2sympy2_extended", "sympy", "trl")}
    return {
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": packages,
        "command": "make bench-rewards",
        "repeats": REPEATS,
        "math_cases": len(rows),
        "figures": {
            key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()
        },
    }


def main(argv: list[str]) -> int:
    """`python tools/maintain.py bench-rewards`: prints the table, writes it to data/runs/; exit code 1 if a target is missed."""
    parser = argparse.ArgumentParser(
        prog="maintain.py bench-rewards", description="Speed and safety of the rewards."
    )
    parser.add_argument("--output", type=Path, default=DATA / "runs" / "bench-rewards.json")
    options = parser.parse_args(argv)
    from r1lab.files import write_json

    report = measure()
    missed = 0
    for name, value in report["figures"].items():
        if isinstance(value, dict):
            continue
        goal, more = TARGETS.get(name, (None, True))
        met = goal is None or (value >= goal if more else value <= goal)
        missed += not met
        note = "" if goal is None else f"{'>=' if more else '<='} {goal:g} {'' if met else 'MISSED'}"
        print(f"{name:24} {value if isinstance(value, str) else format(value, ',.3f'):>14}  {note}".rstrip())
    write_json(report, options.output)
    return int(missed > 0)
