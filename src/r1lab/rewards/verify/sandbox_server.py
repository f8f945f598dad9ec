"""Runs inside the sandbox: `python -I -S sandbox_server.py`, standard library only. See `sandbox.py` for the other end.

For every job the server forks a child. The child, not the server, reads the job, so that nothing of one candidate is
in memory when the next is forked; then it gives up its files, its system calls and its resources (`isolation`), runs
the code (`sandbox_jobs`), and writes its results. The server keeps the time and cleans up.

Wire format, both ways: 4 bytes length (big endian), then that many bytes of JSON. A request has two frames, the number of
tests and the job (and a third with test code); a reply has one, of length 0 if there is no result.
"""

import contextlib
import gc
import json
import os
import select
import signal
import sys
import time

# -I leaves this folder out of the import path; its name there must not outlive the import of our own files.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import isolation
from sandbox_jobs import (
    LONGEST_RESULT,
    answer_calls,
    call_each,
    read_frame,
    run_check,
    run_program,
    write_frame,
)

del sys.path[0]

WALL_S = float(sys.argv[1])  # seconds a candidate may live per test, not counting those it waits for a CPU
PATIENCE = 8.0  # seconds of it granted in all, per second of WALL_S
MOST_S = 10  # CPU seconds of a candidate, however many tests there are
FILTER = "--no-filter" not in sys.argv  # for the tests of what remains where the kernel has no filter


def fork_candidate(job, program, null):
    """Start the candidate's process before the test code is read; returns the pipes to ask it and to hear it."""
    # Two pipes: calls to the candidate, and its answers.
    asked, ask = os.pipe()
    heard, hear = os.pipe()
    if os.fork() == 0:
        try:
            isolation.limit_child(program, null, asked, hear)
            answer_calls(job)
        finally:
            os._exit(1)
    os.close(asked)
    os.close(hear)
    return ask, heard


def input_file(text):
    """A file descriptor that gives `text`: a file in memory, or a pipe where the system has none."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("stdin")
        with open(fd, "wb", closefd=False) as file:
            file.write(text.encode())
        os.lseek(fd, 0, os.SEEK_SET)
        return fd
    fd, end = os.pipe()
    os.set_blocking(end, False)  # what a pipe does not hold is cut off
    with contextlib.suppress(BlockingIOError):
        os.write(end, text.encode())
    os.close(end)
    return fd


def run_child(seconds, program, null, result):
    """Read one job, run it, leave. Any way out other than a full list of results counts as a failure."""
    leave = os._exit  # the candidate may replace it in `os`
    try:
        # A process group of its own, so that all of it can be killed at once.
        os.setpgid(0, 0)
        job = json.loads(read_frame(0))
        if job.get("check"):
            pipes = fork_candidate(job, program, null)
            check = json.loads(read_frame(0))
            isolation.limit_child(program, null, result, *pipes)
            results = run_check(check)
        else:
            given = input_file(job["stdin"]) if "stdin" in job else null
            isolation.limit_child(program, null, result, stdin=given, seconds=seconds)
            results = run_program(job) if "stdin" in job else call_each(job)
        os.write(3, results)  # a longer result than the pipe holds is over the limit anyway
    finally:
        leave(0)


def seconds_queued(pid, proc):
    """Seconds that a process and its children stood in line for a CPU: not their fault. 0.0 where the kernel keeps no count."""
    total = 0.0
    try:
        for member in (pid, *read_proc(proc, f"{pid}/task/{pid}/children").split()):
            total += int(read_proc(proc, f"{int(member)}/schedstat").split()[1]) / 1e9
    except (OSError, ValueError, IndexError, TypeError):
        pass
    return total


def read_proc(proc, name):
    fd = os.open(name, os.O_RDONLY, dir_fd=proc)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def collect(result, pid, proc, wall_s):
    """Bytes the child wrote until it closed the pipe, or b"" if it wrote too much or took over `wall_s` seconds."""
    start, data = time.monotonic(), b""
    poller = select.poll()
    poller.register(result, select.POLLIN | select.POLLHUP)
    while True:
        alive = time.monotonic() - start
        left = wall_s - alive
        if left <= 0 and proc is not None:
            left += seconds_queued(pid, proc)
        if left <= 0 or alive > PATIENCE * wall_s:
            return b""
        # Wake up in time to look at the clock.
        if not poller.poll(min(left, wall_s) * 1000 + 1):
            continue
        piece = os.read(result, LONGEST_RESULT)
        if not piece:
            return data
        data += piece
        if len(data) > LONGEST_RESULT:
            return b""


def end(pid, children):
    """Kill the candidate, its process group, and whatever it orphaned; returns when none of them is left."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass  # what it forked fell to us
    while children is not None:
        children.seek(0)
        orphans = children.read().split()
        if not orphans:
            return
        for orphan in map(int, orphans):
            os.kill(orphan, signal.SIGKILL)
            os.waitpid(orphan, 0)


def main():
    gc.disable()
    children, null = None, os.open(os.devnull, os.O_RDWR)
    proc = os.open("/proc", os.O_RDONLY) if os.path.isdir("/proc/self") else None
    if os.path.exists(path := f"/proc/self/task/{os.getpid()}/children"):
        children = open(path)  # noqa: SIM115, opened now because it cannot be later
    program, report = isolation.isolate(FILTER)
    if program is not None:
        children = None  # nothing can be started behind the filter
    write_frame(1, json.dumps(report).encode())
    requests = select.poll()
    requests.register(0, select.POLLIN | select.POLLHUP)
    # What is loaded stays as it is, so that a fork copies less.
    gc.freeze()
    while True:
        if not requests.poll()[0][1] & select.POLLIN:
            return  # the other end is gone
        seconds = max(1, min(MOST_S, json.loads(read_frame(0))))  # a second of CPU per test
        result, result_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            run_child(seconds, program, null, result_end)
        os.close(result_end)
        answer = collect(result, pid, proc, WALL_S * seconds)
        os.close(result)
        end(pid, children)
        if requests.poll(0):
            return  # the child died before it had read its job: what follows would be out of step
        write_frame(1, answer)


main()
