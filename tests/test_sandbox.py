"""A candidate can be wrong, slow or hostile: it scores 0, forges nothing, and leaves nothing behind."""

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1lab.prompts import format_completion
from r1lab.rewards import make_reward
from r1lab.rewards.verify.sandbox import SANDBOX, Sandbox, _read_results, call_job, check_job

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the sandbox needs fork")
TESTS = json.dumps({"function": "f", "cases": [[[3], 13], [[4], 17]]})
GOOD = "def f(x): return 4*x+1"


QUICK = Sandbox(wall_s=0.3)  # a candidate that hangs is killed sooner than in training; the rest is the same


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("r1lab.rewards.code.SANDBOX", QUICK)


def reward(code):
    return make_reward("code")([format_completion("x", code)], tests=[TESTS])[0]


@pytest.fixture(scope="module")
def unfiltered():
    """A sandbox as it is where the kernel has no system call filter."""
    sandbox = Sandbox(system_call_filter=False)
    yield sandbox
    sandbox.close()


@pytest.fixture
def filtered():
    QUICK.start()
    if not QUICK.service.greeting["filter"]:
        pytest.skip("this kernel has no system call filter")
    return QUICK


def servers():
    """Process ids of all sandbox servers and of whatever they forked."""
    listing = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listing.splitlines() if "sandbox_server" in line]


# ----------------------------------------------------------------------------------------- ordinary candidates


@pytest.mark.parametrize(
    "code",
    [
        GOOD,
        "def f(x):\n    total = 1\n    for _ in range(4):\n        total += x\n    return total",
        "f = lambda x: 4*x+1",
        "import math\ndef f(x): return math.floor(4*x+1.5)",
        "from typing import List\nfrom dataclasses import dataclass\n@dataclass\nclass P:\n    y: int\ndef f(x): return P(4*x+1).y",
        "def f(x):\n    print('thinking', x)\n    return 4*x+1",
        "def f(x): return 4*x+1.0",
    ],
)
def test_right_code_passes(code):
    assert reward(code) == 1.0


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-50, 50))
def test_results_are_what_python_gives(slope, offset, x):
    code = f"def f(x): return {slope}*x+{offset} if x%2==0 else [{offset}, str(x), None, x/4]"
    namespace = {}
    exec(code, namespace)
    assert SANDBOX.call(code, "f", [[x], [x + 1]]) == [
        (True, namespace["f"](x)),
        (True, namespace["f"](x + 1)),
    ]


def test_the_same_question_is_answered_from_the_cache(monkeypatch):
    assert SANDBOX.call(GOOD, "f", [[3]]) == [(True, 13)]
    monkeypatch.setattr(SANDBOX.service, "request", lambda *_: pytest.fail("ran again"))
    assert SANDBOX.call(GOOD, "f", [[3]]) == [(True, 13)]
    assert SANDBOX.knows(call_job(GOOD, "f", [[3]])) and not SANDBOX.knows(call_job(GOOD, "f", [[5]]))


def cpu_seconds(pid):
    """CPU time of a process, ours, and of the children they have waited for."""
    with open(f"/proc/{pid}/stat") as stat:
        ticks = stat.read().rpartition(")")[2].split()[11:15]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK") + time.process_time()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads /proc")
def test_a_candidate_costs_less_than_half_of_starting_python():
    """Of CPU time, measured beside each other, since seconds tell more about what else the machine is doing."""
    SANDBOX.start()
    before = cpu_seconds(SANDBOX.service.pid)
    for n in range(300):
        code = f"def f(x): return 4*x+{n} if x%2==0 else 3*x"
        assert SANDBOX.call(code, "f", [[4], [6]]) == [(True, 16 + n), (True, 24 + n)]
    per_candidate = (cpu_seconds(SANDBOX.service.pid) - before) / 300
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(30):
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = (after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime) / 30
    assert per_candidate < started / 2


def test_threads_take_turns():
    wrong = []

    def work(seed):
        for n in range(20):
            if SANDBOX.call(f"def f(x): return x*{n}+{seed}", "f", [[7]]) != [(True, 7 * n + seed)]:
                wrong.append((seed, n))

    threads = [threading.Thread(target=work, args=(1000 * k,)) for k in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert wrong == []


def test_a_candidate_starts_from_nothing():
    """No environment, no arguments, no earlier candidate, no file of ours within reach."""
    assert SANDBOX.call("import os\ndef f(): return len(os.environ)", "f", [[]]) == [(True, 0)]
    SANDBOX.call("import builtins\nbuiltins.leak = 13\ndef f(): return leak", "f", [[]])
    assert SANDBOX.call("def f(): return leak", "f", [[]]) == [(False, None)]


# -------------------------------------------------------------------------------------------- hostile candidates

NO_VERDICT = {
    "exits with 0": "import sys\nsys.exit(0)",
    "exits in the call": "import os\ndef f(x): os._exit(0)",
    "exits with a traceback": "raise KeyboardInterrupt",
    "does not parse": "def f(x) return 4*x+1",
    "defines something else": "def g(x): return 4*x+1",
    "is not a function": "f = 13",
    "prints instead of returning": "def f(x): print(4*x+1)",
    "prints a verdict": "import sys\nprint('[[1, 13], [1, 17]]')\nsys.stdout.flush()\nsys.exit(0)",
    "loops": "def f(x):\n    while True: pass",
    "loops while it is loaded": "while True: pass",
    "swallows everything": "def f(x):\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
    "takes 300 MB": "def f(x): return len(bytearray(300_000_000)) and 4*x+1",
    "takes memory bit by bit": "def f(x):\n    a = [0]\n    while True: a += a",
    "recurses": "def f(x): return f(x)",
    "counts to a googol": "def f(x): return 10**10**8",
    "returns too much": "def f(x): return 'a' * 100_000",
    "returns NaN": "def f(x): return float('nan')",
    "returns what equals everything": "class A:\n    def __eq__(self, other): return True\ndef f(x): return A()",
    "returns a str that equals everything": "class A(str):\n    def __eq__(self, other): return True\n    __hash__ = str.__hash__\ndef f(x): return A('x')",
    "rewrites json": "import json\njson.dumps = lambda *a, **k: '13], [1, 17'\ndef f(x): return 0",
    "writes its own results": "import os\nos.write(3, b'[[1, 0], [1, 0]]')\nos._exit(0)",
    "writes a frame": "import os\nfor fd in range(64):\n    try: os.write(fd, b'\\x00\\x00\\x00\\x12[[1, 13], [1, 17]]')\n    except OSError: pass\nos._exit(0)",
    "refuses to leave": "import os\nos._exit = lambda code: None\ndef f(x): return 0",
    "nests its result": "def f(x):\n    a = []\n    for _ in range(900): a = [a]\n    return a",
}  # fmt: skip


@pytest.mark.parametrize("name", NO_VERDICT)
def test_a_cheat_scores_zero_and_the_next_candidate_is_served(name):
    start = time.monotonic()
    assert reward(NO_VERDICT[name]) == 0.0
    assert time.monotonic() - start < 10.0
    assert reward(GOOD + f"  # after: {name}") == 1.0


def test_each_call_has_its_own_second_of_cpu_and_one_that_hangs_costs_itself_only():
    slow = "def f(x):\n    for _ in range(5_000_000): pass\n    while x == 2: pass\n    return x"
    results = SANDBOX.call(slow, "f", [[1], [2], [3], [4]])
    assert results is None or results[1] == (False, None)  # None: this machine is too slow for one of them
    quick = SANDBOX.call("def f(x):\n    while x == 1: pass\n    return x", "f", [[1], [2], [3]])
    assert quick == [(False, None), (True, 2), (True, 3)]
    catches = "def f(x):\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass"
    assert SANDBOX.call(catches, "f", [[1]]) is None


def test_no_expected_value_ever_reaches_the_server(monkeypatch):
    sent = []
    request = QUICK.service.request
    monkeypatch.setattr(
        QUICK.service, "request", lambda *frames: sent.append(json.dumps(frames)) or request(*frames)
    )
    tests = json.dumps({"function": "f", "cases": [[[3], 987654321]]})
    assert make_reward("code")([format_completion("x", "def f(x): return 1 + 2")], tests=[tests]) == [0.0]
    assert len(sent) == 1 and "987654321" not in sent[0]


# What a candidate may try against us: each returns the right value only if it was let.
ATTACKS = {
    "kills its parent": "import os\ndef f(x):\n    os.kill(os.getppid(), 9)\n    return 4*x+1",
    "stops its parent": "import os\ndef f(x):\n    os.kill(os.getppid(), 19)\n    return 4*x+1",
    "kills everything": "import os\ndef f(x):\n    os.kill(-1, 9)\n    return 4*x+1",
    "forks": "import os\ndef f(x):\n    if os.fork() == 0: os._exit(0)\n    return 4*x+1",
    "is a fork bomb": "import os\ndef f(x):\n    while True: os.fork()",
    "threads": "import _thread\ndef f(x):\n    _thread.start_new_thread(print, ())\n    return 4*x+1",
    "runs a program": "import os\ndef f(x):\n    os.execv('/bin/true', ['true'])\n    return 4*x+1",
    "opens a socket": "import _socket\ndef f(x):\n    _socket.socket()\n    return 4*x+1",
    "writes a file": "def f(x):\n    open({path!r}, 'w').write('x')\n    return 4*x+1",
    "writes here": "def f(x):\n    open('evil.txt', 'w').close()\n    return 4*x+1",
    "makes a folder": "import os\ndef f(x):\n    os.mkdir({path!r})\n    return 4*x+1",
    "deletes a file": "import os\ndef f(x):\n    os.unlink({kept!r})\n    return 4*x+1",
    "reads a file": "def f(x):\n    open({kept!r}).read()\n    return 4*x+1",
    "reads its parent": "import os\ndef f(x):\n    open(f'/proc/{{os.getppid()}}/mem', 'rb')\n    return 4*x+1",
    "reads us": "def f(x):\n    open('/proc/{pid}/mem', 'rb')\n    return 4*x+1",
    "signals us": "import os\ndef f(x):\n    os.kill({pid}, 0)\n    return 4*x+1",
    "lifts its limits": "import resource\ndef f(x):\n    resource.setrlimit(resource.RLIMIT_CPU, (9, 9))\n    return 4*x+1",
    "sleeps": "import time\ndef f(x):\n    time.sleep(30)\n    return 4*x+1",
    "waits for ever": "import _thread\ndef f(x):\n    lock = _thread.allocate_lock()\n    lock.acquire(); lock.acquire()",
    "connects": "import _socket\ndef f(x):\n    _socket.socket().connect(('127.0.0.1', 9))\n    return 4*x+1",
    "leaves a grandchild": "import os\ndef f(x):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            while True: pass\n        os._exit(0)\n    return 4*x+1",
    "prints 300 MB": "def f(x):\n    print('x' * 300_000_000)\n    return 4*x+1",
    "loads C": "import ctypes\ndef f(x): return 4*x+1",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_the_filter_holds(name, filtered, tmp_path):
    kept = tmp_path / "kept.txt"
    kept.write_text("kept")
    code = ATTACKS[name].format(path=str(tmp_path / "evil"), kept=str(kept), pid=os.getpid())
    server, start = filtered.service.pid, time.monotonic()
    assert reward(code) == 0.0
    assert time.monotonic() - start < 10.0
    assert reward(GOOD + f"  # after: {name}") == 1.0
    assert filtered.service.pid == server  # it did not even have to be restarted
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept.txt"] and kept.read_text() == "kept"
    assert not os.path.exists("evil.txt")


def test_a_caught_refusal_does_no_harm(filtered):
    code = "import os\ndef f(x):\n    try: os.fork()\n    except OSError: pass\n    return 4*x+1"
    assert reward(code) == 1.0


# --------------------------------------------------------------------------------------------- whole programs

SUMS = json.dumps({"stdin": [["2\n3 4\n5 6\n", "7\n11\n"], ["1\n1 1\n", "2"]]})
READS = "import sys\nfor _ in range(int(input())):\n    a, b = map(int, sys.stdin.readline().split())\n    "
PROGRAMS = {
    READS + "print(a + b)": 1.0,
    READS + "print(a + b, ' ')": 1.0,  # spaces at the end of a line
    READS + "print(a + b)\nprint()\nsys.exit(0)": 1.0,  # and empty lines at the end
    READS + "sys.stdout.write(f'{a+b}\\n')": 1.0,
    "def main():\n    for line in open(0): pass\n" + READS + "print(a + b)": 1.0,
    "if __name__ == '__main__':\n    n, *rest = [x for x in __import__('sys').stdin.buffer.read().split()]\n"
    "    for a, b in zip(rest[::2], rest[1::2]): print(int(a) + int(b))": 1.0,
    READS + "print(a + b)\n    break": 0.5,  # only the first line of two
    "print(2)": 0.5,
    READS + "print(a + b)\nprint('and more')": 0.0,
    READS + "print(a - b)": 0.0,
    READS + "print(a + b)\nsys.exit(1)": 0.0,
    READS + "print(a + b)\nimport os\nos._exit(0)": 0.0,
    "import sys\nsys.exit(0)": 0.0,
    "print('x' * 300_000_000)": 0.0,
    "while True: print('x' * 1000)": 0.0,
    "while True: pass": 0.0,
    "import sys\nsys.stdout.close()": 0.0,
    "import os\nwhile True: os.fork()": 0.0,
    "": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_is_judged_by_all_it_prints(program):
    text = format_completion("x", f"```python\n{program}\n```")
    assert make_reward("code")([text], tests=[SUMS]) == [PROGRAMS[program]]
    assert make_reward("code", binary=True)([text], tests=[SUMS]) == [float(PROGRAMS[program] == 1.0)]


def test_a_number_of_5000_digits_is_printed_and_returned():
    tests = [json.dumps({"stdin": [["", "1" + "0" * 4999]]})]
    assert make_reward("code")([format_completion("x", "print(10**4999)")], tests=tests) == [1.0]
    tests = [json.dumps({"function": "f", "cases": [[[4999], "1" + "0" * 4999]]})]
    assert make_reward("code")([format_completion("x", "def f(n): return str(10**n)")], tests=tests) == [1.0]


def test_nothing_printed_is_no_answer_unless_nothing_was_asked_for():
    for printed, expected, same in (
        ("", "7", False),
        ("7", "", False),
        ("", "\n", True),
        ("7\n\n8", "7\n8", False),
        (" 7", "7", False),
    ):
        tests = json.dumps({"stdin": [["", expected]]})
        text = format_completion("x", f"print({printed!r}, end='')")
        assert make_reward("code")([text], tests=[tests]) == [float(same)]


# --------------------------------------------------------------------------------------------------- test code

CHECK = """
assert candidate(3) == 13 and candidate(x=4) == 17
assert candidate([1, (2, None)]) == {'a', 1.5} or candidate((0,)) == (0, 0, 0, 0, 1)
for n in range(50):
    assert abs(candidate(n) - (4 * n + 1)) < 1e-9
"""
ODD = (
    "\n    if isinstance(x, list): return {'a', 1.5}\n    if isinstance(x, tuple): return x * 4 + (1,)\n    "
)
CANDIDATES = {
    "right": ("def f(x):" + ODD + "return 4*x+1", 1.0),
    "wrong": ("def f(x):" + ODD + "return 4*x+2", 0.0),
    "wrong later": ("def f(x):" + ODD + "return 4*x+1 if x < 49 else 0", 0.0),
    "raises": ("def f(x): raise ValueError", 0.0),
    "empty": ("def f(x): pass", 0.0),
    "loops": ("def f(x):\n    while True: pass", 0.0),
    "exits": ("import os\ndef f(x): os._exit(0)", 0.0),
    "leaves while it is loaded": ("import sys\nsys.exit(0)", 0.0),
    "equals everything": ("class A(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\ndef f(x): return A(3)", 0.0),
    "forges a verdict": ("import os\ndef f(x):\n    for fd in range(9):\n        try: os.write(fd, b'[[1, true]]')\n        except OSError: pass\n    os._exit(0)", 0.0),
    "returns code": ("class A:\n    def __repr__(self): return '__import__(\"os\")._exit(0)'\ndef f(x): return A()", 0.0),
    "returns too much": ("def f(x): return 'x' * 200_000", 0.0),
    "looks for the tests": ("import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n        if 'check' in frame.f_locals or 'assert' in str(frame.f_locals): return 4*x+1\n        frame = frame.f_back\n    return 0", 0.0),
}  # fmt: skip


@pytest.mark.parametrize("name", CANDIDATES)
def test_test_code_runs_away_from_the_candidate(name):
    code, expected = CANDIDATES[name]
    tests = json.dumps({"function": "f", "check": CHECK})
    assert make_reward("code")([format_completion("x", code)], tests=[tests]) == [expected]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads /proc")
def test_no_candidate_of_test_code_is_left_over():
    SANDBOX.start()
    for n in range(20):
        code = (
            f"def f(x):\n    while x == {n}: pass\n    return 4*x+1"
            if n % 10 == 0
            else f"def f(x): return 4*x+{n}"
        )
        SANDBOX.results(check_job(code, "f", f"assert candidate({n}) == 0"), 1)
    SANDBOX.call(GOOD, "f", [[1000]])
    time.sleep(0.1)
    with open(f"/proc/{SANDBOX.service.pid}/task/{SANDBOX.service.pid}/children") as children:
        assert len(children.read().split()) <= 2  # the last job's, which the next one reaps


# --------------------------------------------------------------------------------------- without the filter


def test_without_a_filter_a_warning_is_logged_once(caplog):
    sandbox = Sandbox(system_call_filter=False)
    with caplog.at_level(logging.WARNING):
        sandbox.start()
        sandbox.close()
        sandbox.start()
    assert sum("no system call filter" in record.message for record in caplog.records) == 1
    sandbox.close()


def test_a_network_that_cannot_be_switched_off_is_reported(caplog, monkeypatch):
    sandbox = Sandbox()
    sandbox.start()
    sandbox.service.greeting, sandbox._warned = {"filter": False, "network_off": False}, False
    monkeypatch.setattr(sandbox.service, "start", lambda: None)
    with caplog.at_level(logging.WARNING):
        sandbox.start()
    assert any("network" in record.message for record in caplog.records)
    sandbox.close()


AROUND = "import collections\nos, time = (collections._sys.modules[name] for name in ('os', 'time'))\n"  # past the import rule


def test_without_a_filter_limits_still_hold(unfiltered, tmp_path):
    path = str(tmp_path / "evil")
    assert unfiltered.call(GOOD, "f", [[3]]) == [(True, 13)]
    assert unfiltered.call("import os\nf = lambda x: 13", "f", [[3]]) is None
    assert unfiltered.call(
        "import math\nfrom collections.abc import Sized\nf = lambda x: 13", "f", [[3]]
    ) == [(True, 13)]
    assert unfiltered.call(f"def f(x):\n    open({path!r}, 'w').write('x')\n    return 13", "f", [[3]]) != [
        (True, 13)
    ]
    assert (
        unfiltered.call(AROUND + "def f(x):\n    os.kill(os.getppid(), 9)\n    return 13", "f", [[3]]) is None
    )
    assert unfiltered.call("def f(x): return len(bytearray(300_000_000)) and 13", "f", [[3]]) == [
        (False, None)
    ]
    start = time.monotonic()
    assert unfiltered.call(AROUND + "def f(x):\n    time.sleep(30)\n    return 13", "f", [[3]]) is None
    assert time.monotonic() - start < 10.0
    assert unfiltered.call(GOOD, "f", [[4]]) == [(True, 17)]


def test_without_a_filter_orphans_are_ended(unfiltered):
    daemon = """
def f(x):
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(60)
            os._exit(0)
    time.sleep(0.2)
    return os.getpid()
"""
    unfiltered.call(GOOD, "f", [[3]])
    before = set(servers())
    unfiltered.call(AROUND + daemon, "f", [[3]])
    assert set(servers()) <= before


# ------------------------------------------------------------------------------------------------- plumbing


def test_a_dead_server_is_replaced():
    sandbox = Sandbox()
    sandbox.start()
    os.kill(sandbox.service.pid, signal.SIGKILL)
    time.sleep(0.1)
    assert sandbox.call(GOOD, "f", [[3]]) == [(True, 13)]
    sandbox.close()
    assert sandbox.service.pid is None


def test_a_server_that_stops_is_not_waited_for():
    sandbox = Sandbox(wall_s=0.2)
    sandbox.start()
    stuck = sandbox.service
    os.kill(stuck.pid, signal.SIGSTOP)
    start = time.monotonic()
    assert stuck.request(1, 0.5, {"code": GOOD, "function": "f", "arguments": [[3]]}) is None
    assert time.monotonic() - start < 2.0
    assert sandbox.call(GOOD, "f", [[3]]) == [(True, 13)]
    sandbox.close()


MALFORMED = [None, b"", b"x", b"13", b"[[1, 13]]", b"[[1], [0]]", b"[[2, 1], [0]]", b"[13, 17]", b"[" * 60_000, b"[[0, 1], [0]]", b"\xff"]  # fmt: skip


def test_a_malformed_reply_is_a_failure():
    assert [_read_results(reply, 2) for reply in MALFORMED] == [None] * len(MALFORMED)


def test_bool_is_not_a_marker():
    assert _read_results(b"[[1, 13], [0]]", 2) == [(True, 13), (False, None)]


def test_ctrl_c_in_the_middle_leaves_no_late_reply():
    program = f"""
import os, signal, threading, time
from r1lab.rewards.verify.sandbox import SANDBOX
SANDBOX.start()
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    SANDBOX.call("def f(x):\\n while True: pass", "f", [[1]])
except KeyboardInterrupt:
    assert SANDBOX.call({GOOD!r}, "f", [[3]]) == [(True, 13)]
    print("served")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    assert done.stdout == "served\n", done.stderr
