"""Runs inside the sandbox: `python -I -S sandbox_server.py`, standard library only. See `sandbox.py` for the other end.

For every job the server forks a child. The child, not the server, reads the job, so that nothing of one candidate is
in memory when the next is forked; then it gives up its files, its system calls and its resources, runs the code, and
writes its results. There are three kinds of jobs, all of them JSON objects with the key `code`:
- function, arguments: what the function returns for each list of arguments;
- stdin: what the program prints for each of these inputs;
- function, check: whether the test code in the next frame, which calls `candidate`, runs to its end. It runs in a process
  of its own and asks the candidate's process for every value, as text.
The first two never see an expected value, and the third keeps them from the candidate: whoever lies can only be wrong.

Wire format, both ways: 4 bytes length (big endian), then that many bytes of JSON. Length 0 in a reply: no result.
"""

import ast
import contextlib
import gc
import io
import json
import os
import select
import signal
import struct
import sys
import time
import types

# -I leaves this folder out of the import path; its name there must not outlive the import of our own file.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import isolation

del sys.path[0]

WALL_S = float(sys.argv[1])  # seconds a candidate may live, not counting those it waits for a CPU
PATIENCE = 8.0  # seconds of it granted in all, per second of WALL_S
LONGEST_RESULT = 64 * 2**10  # bytes
FILTER = "--no-filter" not in sys.argv  # for the tests of what remains where the kernel has no filter


def read_exactly(fd, count):
    data = b""
    while len(data) < count:
        piece = os.read(fd, count - len(data))
        if not piece:
            os._exit(1)
        data += piece
    return data


def read_frame(fd, longest=2**32):
    size = struct.unpack(">I", read_exactly(fd, 4))[0]
    if size > longest:
        os._exit(1)
    return read_exactly(fd, size)


def write_frame(fd, data):
    data = struct.pack(">I", len(data)) + data
    while data:
        data = data[os.write(fd, data) :]


def load(job, name="candidate"):
    """Run the candidate's code as a module and return its namespace."""
    module = types.ModuleType(name)
    sys.modules[name] = module  # dataclasses and typing look a class's module up by its name
    exec(compile(job["code"], name, "exec"), module.__dict__)
    return module.__dict__


def call_each(job):
    """[[1, value] or [0], ...]: what the candidate's function returned for every list of arguments."""
    function = load(job)[job["function"]]
    results = []
    for arguments in job["arguments"]:
        try:
            value = json.dumps(function(*arguments), allow_nan=False)
        except Exception:
            results.append("[0]")
        else:
            results.append(f"[1, {value}]")
    return f"[{', '.join(results)}]".encode()


def run_programs(job):
    """[[1, printed] or [0], ...]: what the program wrote to its standard output for every standard input."""
    results = []
    for text in job["stdin"]:
        printed = io.BytesIO()
        sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")
        sys.stdout = output = io.TextIOWrapper(printed, encoding="utf-8", write_through=True)
        try:
            load(job, "__main__")
        except SystemExit as leaving:
            ended = leaving.code in (None, 0)
        except Exception:
            ended = False
        else:
            ended = True
        with contextlib.suppress(ValueError):  # the program may have closed it
            output.detach()
        results.append([1, printed.getvalue().decode(errors="replace")] if ended else [0])
    return json.dumps(results).encode()


def answer_calls(job):
    """In the candidate's process: call its function as the test code's process says, until that is gone."""
    function = load(job)[job["function"]]
    while True:
        arguments, named = ast.literal_eval(read_frame(3).decode())
        try:
            answer = f"1{function(*arguments, **named)!r}"
        except Exception:
            answer = "0"
        write_frame(4, answer.encode())


def run_check(check):
    """In a process of its own: [[1, true]] if the test code runs to its end, [[0]] if it raises (or the candidate does)."""

    def candidate(*arguments, **named):
        write_frame(4, repr((arguments, named)).encode())
        answer = read_frame(5, LONGEST_RESULT).decode()
        if answer[:1] != "1":
            raise RuntimeError("the candidate raised")
        return ast.literal_eval(answer[1:])

    try:
        exec(compile(check, "check", "exec"), {"candidate": candidate, "__name__": "check"})
    except Exception:
        return b"[[0]]"
    return b"[[1, true]]"


def fork_candidate(job, program, null):
    """Start the candidate's process before the test code is read; returns the pipes to ask it and to hear it."""
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


def run_child(program, null, result):
    """Read one job, run it, leave. Any way out other than a full list of results counts as a failure."""
    leave = os._exit  # the candidate may replace it in `os`
    try:
        os.setpgid(0, 0)
        job = json.loads(read_frame(0))
        if job.get("check"):
            pipes = fork_candidate(job, program, null)
            check = json.loads(read_frame(0))
            isolation.limit_child(program, null, result, *pipes)
            results = run_check(check)
        else:
            isolation.limit_child(program, null, result)
            results = run_programs(job) if "stdin" in job else call_each(job)
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


def collect(result, pid, proc):
    """Bytes the child wrote until it closed the pipe, or b"" if it wrote too much or took too long."""
    start, data = time.monotonic(), b""
    poller = select.poll()
    poller.register(result, select.POLLIN | select.POLLHUP)
    while True:
        alive = time.monotonic() - start
        left = WALL_S - alive
        if left <= 0 and proc is not None:
            left += seconds_queued(pid, proc)
        if left <= 0 or alive > PATIENCE * WALL_S:
            return b""
        if not poller.poll(min(left, WALL_S) * 1000 + 1):
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
    gc.freeze()
    while True:
        if not requests.poll()[0][1] & select.POLLIN:
            return  # the other end is gone
        result, result_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            run_child(program, null, result_end)
        os.close(result_end)
        answer = collect(result, pid, proc)
        os.close(result)
        end(pid, children)
        if requests.poll(0):
            return  # the child died before it had read its job: what follows would be out of step
        write_frame(1, answer)


main()
