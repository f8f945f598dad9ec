"""A helper process that answers one request at a time and can be killed.

A time limit inside our own process cannot be trusted: `signal.alarm` works in the main thread only, and nothing
interrupts a long call into C. A process can always be killed, by anyone, from any thread. Requests and replies are
frames on its stdin and stdout: 4 bytes length (big endian), then JSON. When we end, its stdin closes and it exits.
"""

import atexit
import contextlib
import json
import os
import signal
import struct
import subprocess
import threading
import weakref

START_LIMIT_S = 60.0  # importing sympy takes half a second, or many on a machine that is busy or cold


class Service:
    """A thread-safe helper process, started on the first request and again after it was killed.

    command: the program and its arguments; environment: None for ours. `greeting` is the first frame it sent after
    its last start (a dict), None before.
    """

    def __init__(self, command: list[str], *, environment: dict[str, str] | None = None) -> None:
        self.command = command
        self.environment = environment
        self.greeting: dict | None = None
        self._process: subprocess.Popen | None = None
        self._lock = threading.RLock()
        _services.add(self)

    @property
    def pid(self) -> int | None:
        """Process id of the running helper, or None."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the helper unless it runs. Raises RuntimeError when it does not come up."""
        with self._lock:
            if self._process and self._process.poll() is None:
                return
            self.close()
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                self.command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, bufsize=0,
                env=self.environment, start_new_session=True,  # so that Ctrl-C in a terminal reaches us, not the helper
            )  # fmt: skip
            try:
                greeting = self._receive(START_LIMIT_S)
            except TimeoutError:
                greeting = None
            if greeting is None:
                command = " ".join(self.command)
                raise RuntimeError(f"a helper process did not start: run `{command}` to see why")
            self.greeting = json.loads(greeting)

    def request(self, message: object, limit_s: float, *more: object) -> bytes | None:
        """The reply to `message` (sent as JSON; `more` as frames of their own), None after `limit_s` seconds or a crash.

        After None the helper is gone and the next request starts a new one. Start-up does not count into the limit.
        """
        frames = [json.dumps(part).encode() for part in (message, *more)]
        data = b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)
        with self._lock:
            try:
                # A helper that died in time is asked once more: the system may have killed it for no fault of the
                # request (out of memory, say), and a right answer must not be graded wrong for that.
                for _ in range(2):
                    self.start()
                    if (reply := self._receive(limit_s, data)) is not None:
                        return reply
            except TimeoutError:
                pass
            except BaseException:
                self.close()  # interrupted half way (KeyboardInterrupt): a late reply must not answer the next request
                raise
            return None

    def _receive(self, limit_s: float, data: bytes = b"") -> bytes | None:
        """The next reply after sending `data`, None if the helper died before it, TimeoutError if we killed it."""
        process, expired = self._process, threading.Event()

        def expire() -> None:
            expired.set()
            _kill(process)

        # The clock runs in a thread of its own, because reading from a pipe cannot be interrupted.
        timer = threading.Timer(limit_s, expire)
        timer.daemon = True
        timer.start()
        reply = None
        try:
            # A large request may fill the pipe more than once.
            while data:
                data = data[process.stdin.write(data) :]
            (size,) = struct.unpack(">I", _read(process.stdout, 4))
            reply = _read(process.stdout, size)
        except (BrokenPipeError, EOFError):
            pass  # it died, of the request or by the timer
        finally:
            timer.cancel()
            timer.join()  # so that a late kill ends this request's helper, never the next one's
        if reply is None or expired.is_set():
            self.close()
        if expired.is_set():
            raise TimeoutError
        return reply

    def close(self) -> None:
        """Kill the helper, if it runs, and wait until it is gone."""
        with self._lock:
            process, self._process = self._process, None
            if process is None:
                return
            _kill(process)
            process.stdin.close()
            process.stdout.close()
            process.wait()

    def forget(self) -> None:
        """Drop the helper without ending it: after a fork it belongs to the parent."""
        self._lock = threading.RLock()
        process, self._process = self._process, None
        if process is not None:
            process.returncode = 0  # not our child, so not ours to wait for
            process.stdin.close()  # or the helper would not see its end when the parent goes
            process.stdout.close()


def _kill(process: subprocess.Popen) -> None:
    """Kill a helper and what it forked (it leads a process group of its own)."""
    if hasattr(os, "killpg") and process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _read(pipe, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = pipe.read(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


_services: weakref.WeakSet[Service] = weakref.WeakSet()


def _for_all(method) -> None:
    for service in list(_services):
        method(service)


atexit.register(_for_all, Service.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _for_all(Service.forget))
