"""Runs code somebody else wrote, and returns what it returned or printed.

One long-lived server process (`sandbox_server.py`) forks a child per candidate, which costs milliseconds instead of a
new interpreter. The child gets the inputs and nothing else: expected values are compared here, on our side of the
pipe (or, for test code, in a process of its own), so exiting with 0 or rewriting the harness earns nothing.
"""

import json
import logging
import os
import sys
import time
from pathlib import Path

from r1lab.rewards.verify.process import Service

logger = logging.getLogger(__name__)

WALL_S = 1.4  # seconds a candidate may live per test, not counting those it waits for a CPU; 1 s of CPU ends it before
REPLY_S = 120.0  # the server keeps the time; this only matters if a candidate broke the server
PROGRAM_S = 10.0  # seconds for all inputs of one program; the rest of them count as failed
LONGEST_CODE = 20_000  # characters
LONGEST_CACHE = 50_000  # results
# Nothing of our environment goes in, except what some builds of Python need to find their own library.
ENVIRONMENT = ("LD_LIBRARY_PATH",)

_UNKNOWN = object()  # not in the cache, where None is a result
Result = tuple[bool, object]  # (True, what the function returned) or (False, None) if it raised
Job = tuple  # the frames that describe one candidate to the server: JSON values


def call_job(code: str, function: str, arguments: list[list]) -> Job:
    """What `function`, defined by `code`, returns for each list of arguments. Values are JSON values."""
    return ({"code": code, "function": function, "arguments": arguments},)


def run_job(code: str, inputs: list[str]) -> Job:
    """What the program `code` prints for each standard input."""
    return ({"code": code, "stdin": inputs},)


def check_job(code: str, function: str, check: str) -> Job:
    """Whether the test code `check` runs to its end (True); it calls `function` of `code` by the name `candidate`.

    The two run in different processes: arguments and results travel as Python literals, and nothing else does.
    """
    return {"code": code, "function": function, "check": True}, check


class Sandbox:
    """Runs candidates in a limited child process, with a cache. Starts lazily; safe in threads.

    Limits per candidate: 1 s of CPU and `wall_s` seconds of waiting for anything but a CPU for each test (10 s for all),
    256 MB, 64 kB of results, no files, processes, signals or network. Where the kernel cannot enforce the last line, a warning is logged once. Needs `os.fork` (Linux, macOS).
    """

    def __init__(self, *, wall_s: float = WALL_S, system_call_filter: bool = True) -> None:
        server = Path(__file__).with_name("sandbox_server.py")
        # -I and -S: no user site, no environment variables, no site-packages.
        command = [sys.executable, "-I", "-S", str(server), str(wall_s)]
        if not system_call_filter:
            command.append("--no-filter")
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        self.service = Service(command, environment=environment)
        self._results: dict[str, list[Result] | None] = {}
        self._warned = False

    def start(self) -> None:
        """Start the server and report once what its isolation lacks. Raises RuntimeError where there is no fork."""
        if not hasattr(os, "fork"):
            raise RuntimeError(
                "the code sandbox needs os.fork: run on Linux, macOS or WSL, or leave out the code reward"
            )
        self.service.start()
        if self._warned:
            return
        self._warned = True
        isolation = self.service.greeting
        if not isolation["network_off"]:
            logger.warning(
                "this kernel does not let the code sandbox switch the network off: candidates could use it"
            )
        if not isolation["filter"]:
            logger.warning(
                "this kernel gives the code sandbox no system call filter: candidates are held by resource limits only, "
                "and determined ones could read files or start processes until they are killed"
            )

    def results(self, job: Job, count: int) -> list[Result] | None:
        """The `count` results of a job; None if it failed as a whole.

        None stands for a syntax error, no such function, a limit reached, an exit. The same job twice is answered from the cache.
        """
        if len(job[0]["code"]) > LONGEST_CODE:
            return None
        key = json.dumps(job)
        results = self._results.get(key, _UNKNOWN)
        if results is _UNKNOWN:
            self.start()
            results = self._run_each(job) if "stdin" in job[0] else self._request(job, count)
            if len(self._results) >= LONGEST_CACHE:
                self._results.clear()
            self._results[key] = results
        return results

    def _request(self, job: Job, count: int) -> list[Result] | None:
        return _read_results(self.service.request(count, REPLY_S, *job), count)

    def _run_each(self, job: Job) -> list[Result]:
        """Each input in a process of its own, because a program may leave, close its output or never end."""
        results, start = [], time.monotonic()
        for text in job[0]["stdin"]:
            over = time.monotonic() - start > PROGRAM_S
            result = None if over else self._request(({"code": job[0]["code"], "stdin": text},), 1)
            results.append(result[0] if result else (False, None))
        return results

    def knows(self, job: Job) -> bool:
        """Whether `results` would answer from its cache, at no cost."""
        return json.dumps(job) in self._results

    def call(self, code: str, function: str, arguments: list[list]) -> list[Result] | None:
        """Results of a `call_job`, one for each list of arguments."""
        return self.results(call_job(code, function, arguments), len(arguments))

    def close(self) -> None:
        """End the server."""
        self.service.close()


def _read_results(reply: bytes | None, count: int) -> list[Result] | None:
    """Results as the child wrote them, or None: the child is not trusted, so anything unexpected is a failure."""
    try:
        results = json.loads(reply or b"")
    except (ValueError, RecursionError):
        return None
    if not isinstance(results, list) or len(results) != count:
        return None
    for result in results:
        # [1, value] for a result, [0] for an exception.
        if not isinstance(result, list) or result[:1] not in ([0], [1]) or len(result) != 1 + result[0]:
            return None
    return [(bool(result[0]), result[-1] if result[0] else None) for result in results]


SANDBOX = Sandbox()  # all rewards share one server and its results; nothing runs yet
