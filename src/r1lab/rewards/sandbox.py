"""Runs a function somebody else wrote, and returns what it returned.

One long-lived server process (`sandbox_server.py`) forks a child per candidate, which costs milliseconds instead of a
new interpreter. The child gets the arguments and nothing else: expected values are compared here, on our side of the
pipe, so printing, exiting with 0 or rewriting the harness earns nothing.
"""

import json
import logging
import os
import sys
from pathlib import Path

from r1lab.rewards.process import Service

logger = logging.getLogger(__name__)

WALL_S = 3.0  # a candidate gets 1 s of CPU; the rest is for a machine that is busy with something else
LONGEST_CODE = 20_000  # characters
LONGEST_CACHE = 50_000  # results
# Nothing of our environment goes in, except what some builds of Python need to find their own library.
ENVIRONMENT = ("LD_LIBRARY_PATH",)

_UNKNOWN = object()  # not in the cache, where None is an answer
Result = tuple[bool, object]  # (True, what the function returned) or (False, None) if it raised


class Sandbox:
    """Calls candidate functions in a limited child process, with a cache. Starts lazily; safe in threads.

    Limits per candidate: 1 s of CPU, `wall_s` seconds in all, 256 MB, 64 kB of results, no files, processes, signals or
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
        self._results: dict[tuple[str, str, str], list[Result] | None] = {}
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
        if len(code) > LONGEST_CODE:
            return None
        key = (code, function, json.dumps(arguments))
        results = self._results.get(key, _UNKNOWN)
        if results is _UNKNOWN:
            self.start()
            job = {"code": code, "function": function, "arguments": arguments}
            # The server keeps the time; the slack only matters if the candidate broke the server.
            reply = self.service.request(job, self.wall_s + 10.0)
            results = _read_results(reply, len(arguments))
            if len(self._results) >= LONGEST_CACHE:
                self._results.clear()
            self._results[key] = results
        return results

    def knows(self, code: str, function: str, arguments: list[list]) -> bool:
        """Whether `call` would answer from its cache, at no cost."""
        return (code, function, json.dumps(arguments)) in self._results

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
    if not all(
        isinstance(result, list) and result[:1] in ([0], [1]) and len(result) == 1 + result[0]
        for result in results
    ):
        return None
    return [(bool(result[0]), result[-1] if result[0] else None) for result in results]


SANDBOX = Sandbox()  # all rewards share one server and its results; nothing runs yet
