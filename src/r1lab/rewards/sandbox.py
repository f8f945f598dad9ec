"""Runs code somebody else wrote, and returns what it returned or printed.

One long-lived server process (`sandbox_server.py`) forks a child per candidate, which costs milliseconds instead of a
new interpreter. The child gets the inputs and nothing else: expected values are compared here, on our side of the
pipe (or, for test code, in a process of its own), so exiting with 0 or rewriting the harness earns nothing.
"""

import json
import logging
import os
import sys
from pathlib import Path

from r1lab.rewards.process import Service

logger = logging.getLogger(__name__)

WALL_S = 1.4  # seconds a candidate may live, not counting those it waits for a CPU; 1 s of CPU ends it before
REPLY_S = 30.0  # the server keeps the time; this only matters if a candidate broke the server
LONGEST_CODE = 20_000  # characters
LONGEST_CACHE = 50_000  # results
# Nothing of our environment goes in, except what some builds of Python need to find their own library.
ENVIRONMENT = ("LD_LIBRARY_PATH",)

_UNKNOWN = object()  # not in the cache, where None is an answer
Result = tuple[bool, object]  # (True, what the function returned) or (False, None) if it raised


class Sandbox:
    """Runs candidates in a limited child process, with a cache. Starts lazily; safe in threads.

    Limits per candidate: 1 s of CPU, `wall_s` seconds of waiting for anything but a CPU, 256 MB, 64 kB of results, no files, processes, signals or
    network. Where the kernel cannot enforce the last line, a warning is logged once. Needs `os.fork` (Linux, macOS).
    """

    def __init__(self, *, wall_s: float = WALL_S, system_call_filter: bool = True) -> None:
        self.wall_s = wall_s
        command = [
            sys.executable,
            "-I",
            "-S",
            str(Path(__file__).with_name("sandbox_server.py")),
            str(wall_s),
        ]
        if not system_call_filter:
            command.append("--no-filter")
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        self.service = Service(command, environment=environment)
        self._results: dict[tuple[str, ...], list[Result] | None] = {}
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

    def call(self, code: str, function: str, arguments: list[list]) -> list[Result] | None:
        """What `function`, defined by `code`, gives for each list of arguments; None if it did not get that far.

        Values are JSON values. None covers all the ways to fail as a whole: a syntax error, no such function, a limit
        reached, an exit. The same question twice is answered from the cache.
        """
        return self._ask(_call(code, function, arguments), len(arguments))

    def run(self, code: str, inputs: list[str]) -> list[Result] | None:
        """What the program `code` prints for each standard input, as `call` does: (True, printed) or (False, None)."""
        return self._ask(_run(code, inputs), len(inputs))

    def check(self, code: str, function: str, check: str) -> list[Result] | None:
        """[(True, True)] if the test code `check` runs to its end; it calls `function` of `code` by the name `candidate`.

        The two run in different processes: arguments and results travel as Python literals, and nothing else does.
        """
        return self._ask(_check(code, function, check), 1)

    def knows(self, kind: str, *question: object) -> bool:
        """Whether `call`, `run` or `check` (the kind) would answer from its cache, at no cost."""
        return _key(_JOBS[kind](*question)) in self._results

    def _ask(self, job: tuple[dict, ...], count: int) -> list[Result] | None:
        if len(job[0]["code"]) > LONGEST_CODE:
            return None
        key = _key(job)
        results = self._results.get(key, _UNKNOWN)
        if results is _UNKNOWN:
            self.start()
            results = _read_results(self.service.request(job[0], REPLY_S, *job[1:]), count)
            if len(self._results) >= LONGEST_CACHE:
                self._results.clear()
            self._results[key] = results
        return results

    def close(self) -> None:
        """End the server."""
        self.service.close()


def _call(code: str, function: str, arguments: list[list]) -> tuple[dict, ...]:
    return ({"code": code, "function": function, "arguments": arguments},)


def _run(code: str, inputs: list[str]) -> tuple[dict, ...]:
    return ({"code": code, "stdin": inputs},)


def _check(code: str, function: str, check: str) -> tuple[dict, str]:
    return {"code": code, "function": function, "check": True}, check


_JOBS = {"call": _call, "run": _run, "check": _check}


def _key(job: tuple) -> tuple[str, ...]:
    return tuple(map(json.dumps, job))


def _read_results(reply: bytes | None, count: int) -> list[Result] | None:
    """Results as the child wrote them, or None: the child is not trusted, so anything unexpected is a failure."""
    try:
        results = json.loads(reply or b"")
    except (ValueError, RecursionError):
        return None
    if not isinstance(results, list) or len(results) != count:
        return None
    if not all(
        isinstance(result, list) and result[:1] in ([0], [1]) and len(result) == 1 + result[0]
        for result in results
    ):
        return None
    return [(bool(result[0]), result[-1] if result[0] else None) for result in results]


SANDBOX = Sandbox()  # all rewards share one server and its results; nothing runs yet
