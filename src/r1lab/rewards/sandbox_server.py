"""Runs inside the sandbox: `python -I -S sandbox_server.py`, standard library only. See `sandbox.py` for the other end.

For every job the server forks a child. The child, not the server, reads the job (code, function name, arguments), so
that nothing of one candidate is in memory when the next is forked; then it gives up its files, its system calls and
its resources, runs the code, and writes what the function returned. The expected values never come here: a
candidate that lies about its results can only be wrong.

Wire format, both ways: 4 bytes length (big endian), then that many bytes of JSON. Length 0 in a reply: no result.
"""

import builtins
import contextlib
import ctypes
import gc
import importlib
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
PRELOADED = """bisect cmath collections collections.abc copy dataclasses datetime decimal enum fractions functools heapq
itertools math operator random re statistics string typing"""
for name in PRELOADED.split():
    importlib.import_module(name)

WALL_S = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
MEMORY = 256 * 2**20  # bytes of address space
LONGEST_RESULT = 64 * 2**10  # bytes
FILTER = "--no-filter" not in sys.argv  # for the tests of what remains where the kernel has no filter

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000

# What a pure function needs from the kernel; all else (open, fork, socket, kill, ptrace, ...) fails with EPERM.
# write, mmap, mprotect, munmap, brk, rt_sigaction, rt_sigprocmask, rt_sigreturn, madvise, mremap, exit, exit_group,
# futex, getrandom, clock_gettime, gettimeofday, getpid, gettid, sched_yield, sigaltstack, close, fstat
ALLOWED = {
    "x86_64": (0xC000003E,
        (1, 9, 10, 11, 12, 13, 14, 15, 28, 25, 60, 231, 202, 318, 228, 96, 39, 186, 24, 131, 3, 5)),
    "aarch64": (0xC00000B7,
        (64, 222, 226, 215, 214, 134, 135, 139, 233, 216, 93, 94, 98, 278, 113, 169, 172, 178, 124, 132, 57, 80)),
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


def read_frame(fd):
    return read_exactly(fd, struct.unpack(">I", read_exactly(fd, 4))[0])


def write_frame(fd, data):
    data = struct.pack(">I", len(data)) + data
    while data:
        data = data[os.write(fd, data) :]


def limit_child(program, null, result):
    """Give up everything but the CPU, some memory and the pipe `result`, for good."""
    os.setpgid(0, 0)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.dup2(result, 3)
    os.closerange(4, 64)
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


def call_each(job):
    """[[1, value] or [0], ...]: what the candidate's function returned for every list of arguments."""
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module  # dataclasses and typing look a class's module up by its name
    exec(compile(job["code"], "candidate", "exec"), module.__dict__)
    function = module.__dict__[job["function"]]
    results = []
    for arguments in job["arguments"]:
        try:
            value = json.dumps(function(*arguments), allow_nan=False)
        except Exception:
            results.append("[0]")
        else:
            results.append(f"[1, {value}]")
    return f"[{', '.join(results)}]".encode()


def run_child(program, null, result):
    """Read one job, run it, leave. Any way out other than a full list of results counts as a failure."""
    leave = os._exit  # the candidate may replace it in `os`
    try:
        job = json.loads(read_frame(0))
        limit_child(program, null, result)
        os.write(3, call_each(job))  # a longer result than the pipe holds is over the limit anyway
    finally:
        leave(0)


def collect(result, pid):
    """Bytes the child wrote until it closed the pipe, or b"" if it wrote too much or took too long."""
    deadline, data = time.monotonic() + WALL_S, b""
    poller = select.poll()
    poller.register(result, select.POLLIN | select.POLLHUP)
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not poller.poll(left * 1000):
            return b""
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
        answer = collect(result, pid)
        os.close(result)
        end(pid, children)
        if requests.poll(0):
            return  # the child died before it had read its job: what follows would be out of step
        write_frame(1, answer)


main()
