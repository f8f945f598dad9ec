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
import builtins
import contextlib
import ctypes
import fcntl
import gc
import importlib
import io
import json
import os
import platform
import resource
import select
import signal
import struct
import sys
import tempfile
import time
import types

# What a candidate may import: loaded here, once, because it will not be able to open a file.
PRELOADED = """array bisect cmath collections collections.abc copy dataclasses datetime decimal enum fractions functools hashlib heapq
io itertools json math numbers operator random re statistics string sys textwrap typing"""
sys.modules["_hashlib"] = (
    None  # hashlib has its own md5; OpenSSL's memory would make every fork a quarter dearer
)
for name in PRELOADED.split():
    importlib.import_module(name)

WALL_S = float(sys.argv[1])  # seconds a candidate may live, not counting those it waits for a CPU
PATIENCE = 8.0  # seconds of it granted in all, per second of WALL_S
MEMORY = 256 * 2**20  # bytes of address space
LONGEST_RESULT = 64 * 2**10  # bytes
FILTER = "--no-filter" not in sys.argv  # for the tests of what remains where the kernel has no filter

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000

# What a pure function needs from the kernel; all else (open, fork, socket, kill, ptrace, ...) fails with EPERM.
# read, write, mmap, mprotect, munmap, brk, rt_sigaction, rt_sigprocmask, rt_sigreturn, madvise, mremap, exit, exit_group,
# futex, getrandom, clock_gettime, gettimeofday, getpid, gettid, sched_yield, sigaltstack, close, fstat
ALLOWED = {
    "x86_64": (0xC000003E,
        (0, 1, 9, 10, 11, 12, 13, 14, 15, 28, 25, 60, 231, 202, 318, 228, 96, 39, 186, 24, 131, 3, 5)),
    "aarch64": (0xC00000B7,
        (63, 64, 222, 226, 215, 214, 134, 135, 139, 233, 216, 93, 94, 98, 278, 113, 169, 172, 178, 124, 132, 57, 80)),
}  # fmt: skip


class Program(ctypes.Structure):
    """struct sock_fprog: a filter in the kernel's small bytecode (BPF)."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def build_filter():
    """A system call filter for this machine, or None where we do not know its call numbers."""
    if platform.system() != "Linux" or platform.machine() not in ALLOWED or not FILTER:
        return None
    architecture, calls = ALLOWED[platform.machine()]
    load, jump_if_equal, give_back = 0x20, 0x15, 0x06
    kill, forbid, allow = 0x80000000, 0x00050001, 0x7FFF0000  # 0x00050001: fail with errno 1, EPERM
    code = [(load, 0, 0, 4), (jump_if_equal, 1, 0, architecture), (give_back, 0, 0, kill), (load, 0, 0, 0)]
    for place, call in enumerate(calls):
        code.append((jump_if_equal, len(calls) - place, 0, call))
    code += [(give_back, 0, 0, forbid), (give_back, 0, 0, allow)]
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = Program(len(code), ctypes.cast(instructions, ctypes.c_void_p))
    program.kept = instructions  # the kernel reads it later: keep the buffer alive
    return program


def apply_filter(program):
    """Whether the filter now binds this process and all it might start."""
    return (
        LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        and LIBC.prctl(PR_SET_SECCOMP, 2, ctypes.byref(program), 0, 0) == 0
    )


def filter_works(program):
    """Try the filter in a throw-away child, which must then fail to open a file."""
    pid = os.fork()
    if pid == 0:
        try:
            if apply_filter(program):
                os.open(".", os.O_RDONLY)
        except PermissionError:
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def isolate():
    """Shut the server off from the outside; returns what the kernel allowed, for the other end to report."""
    nowhere = tempfile.mkdtemp()
    os.chdir(nowhere)
    os.rmdir(nowhere)  # a directory that no longer exists takes no files and leaves none behind
    os.environ.clear()
    network_off = False
    if platform.system() == "Linux":
        network_off = LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC) == 0
        if network_off:
            with contextlib.suppress(PermissionError):  # some kernels give the namespace but not its rights
                os.chroot(".")  # now there is no file at all
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans of a candidate become ours, to be ended
        LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)  # nobody of the same user reads our memory
    program = build_filter()
    filtered = program is not None and filter_works(program)
    return (program if filtered else None), {"filter": filtered, "network_off": network_off or filtered}


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


def limit_child(program, null, *pipes):
    """Give up everything but the CPU, some memory and `pipes`, which become file descriptors 3, 4, ..., for good."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 32) for fd in pipes]
    for fd, source in enumerate((null, null, null, *high)):
        os.dup2(source, fd)
    os.closerange(3 + len(pipes), 64)
    limits = {
        "CPU": (1, 1),
        "AS": (MEMORY, MEMORY),
        "FSIZE": (0, 0),
        "CORE": (0, 0),
        "NOFILE": (8, 8),
        "NPROC": (0, 0),
    }
    if platform.system() == "Linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for name, values in limits.items():
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), values)
        except (ValueError, OSError):  # macOS does not limit memory
            if name != "AS":
                raise
    if program is None:
        builtins.__import__ = (
            import_preloaded  # keeps out accidents such as `os.kill(-1, 9)`, not somebody determined
        )
    elif not apply_filter(program):
        os._exit(1)
    for name in ("ctypes", "_ctypes", "gc", "__main__"):
        sys.modules.pop(name, None)


def import_preloaded(name, *arguments, **options):
    """`import` for a candidate that no filter holds."""
    if name.partition(".")[0] not in PRELOADED.split():
        raise ImportError(f"no module {name} in here")
    return importlib.__import__(name, *arguments, **options)


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
            limit_child(program, null, asked, hear)
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
            limit_child(program, null, result, *pipes)
            results = run_check(check)
        else:
            limit_child(program, null, result)
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
    program, isolation = isolate()
    if program is not None:
        children = None  # nothing can be started behind the filter
    write_frame(1, json.dumps(isolation).encode())
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
