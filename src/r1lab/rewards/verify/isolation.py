"""What keeps a candidate in: system calls, files, network and resources that a child of the sandbox server gives up.

Runs inside the sandbox (standard library only). The filter is the strong part: after it, the kernel refuses every
system call that a pure function does not need. Limits and namespaces stand behind it, and alone where there is none.
"""

import builtins
import contextlib
import ctypes
import fcntl
import importlib
import os
import platform
import resource
import signal
import struct
import sys
import tempfile

# What a candidate may import: loaded here, once, because it will not be able to open a file.
PRELOADED = """
__future__ abc array bisect cmath collections collections.abc contextlib copy dataclasses datetime decimal enum fractions functools hashlib heapq
io itertools json math numbers operator queue random re statistics string struct sys textwrap threading time typing unicodedata
""".split()  # noqa: SIM905
# hashlib has its own md5; OpenSSL's memory would make every fork a quarter dearer.
sys.modules["_hashlib"] = None
for module_name in PRELOADED:
    importlib.import_module(module_name)

MEMORY = 256 * 2**20  # bytes of address space
# What getrlimit(2) calls address space, file size, core dumps, open files, processes.
LIMITS = {"AS": MEMORY, "FSIZE": 0, "CORE": 0, "NOFILE": 8, "NPROC": 0}

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWIPC = 0x10000000, 0x40000000, 0x08000000

# What a pure function needs from the kernel; all else (open, fork, socket, kill, ptrace, ...) fails with EPERM.
# read, write, mmap, mprotect, munmap, brk, rt_sigaction, rt_sigprocmask, rt_sigreturn, madvise, mremap, exit, exit_group,
# futex, getrandom, clock_gettime, gettimeofday, getpid, gettid, sched_yield, sigaltstack, close, fstat, setitimer
ALLOWED = {
    "x86_64": (0xC000003E,
        (0, 1, 9, 10, 11, 12, 13, 14, 15, 28, 25, 60, 231, 202, 318, 228, 96, 39, 186, 24, 131, 3, 5, 38)),
    "aarch64": (0xC00000B7,
        (63, 64, 222, 226, 215, 214, 134, 135, 139, 233, 216, 93, 94, 98, 278, 113, 169, 172, 178, 124, 132, 57, 80, 103)),
}  # fmt: skip


class Program(ctypes.Structure):
    """struct sock_fprog: a filter in the kernel's small bytecode (BPF)."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def build_filter(enabled):
    """A system call filter for this machine, or None where we do not know its call numbers."""
    if platform.system() != "Linux" or platform.machine() not in ALLOWED or not enabled:
        return None
    architecture, calls = ALLOWED[platform.machine()]
    load, jump_if_equal, give_back = 0x20, 0x15, 0x06
    kill, forbid, allow = 0x80000000, 0x00050001, 0x7FFF0000  # 0x00050001: fail with errno 1, EPERM
    # Another architecture has other call numbers, so a call made in its name is fatal. Offsets 4 and 0 of the kernel's
    # struct seccomp_data are the architecture and the number of the call.
    code = [(load, 0, 0, 4), (jump_if_equal, 1, 0, architecture), (give_back, 0, 0, kill), (load, 0, 0, 0)]
    # An allowed number jumps over the rest of the list and over `forbid`.
    for index, call in enumerate(calls):
        code.append((jump_if_equal, len(calls) - index, 0, call))
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


def isolate(filter_enabled):
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
    program = build_filter(filter_enabled)
    filtered = program is not None and filter_works(program)
    return (program if filtered else None), {"filter": filtered, "network_off": network_off or filtered}


def limit_child(program, null, *pipes, stdin=None, seconds=1):
    """Give up everything but `seconds` of CPU, some memory, `stdin` and `pipes`, which become file descriptors 3, 4, ..., for good."""
    # First out of the way, then into place: a pipe may have one of the numbers that are filled.
    stdin, *high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 32) for fd in (null if stdin is None else stdin, *pipes)]
    for fd, source in enumerate((stdin, null, null, *high)):
        os.dup2(source, fd)
    os.closerange(3 + len(pipes), 64)
    if platform.system() == "Linux":
        # Die with the server.
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for name, limit in (LIMITS | {"CPU": seconds}).items():
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))
        except (ValueError, OSError):  # macOS does not limit memory
            if name != "AS":
                raise
    if program is None:
        # Keeps out accidents such as `os.kill(-1, 9)`, not somebody determined.
        builtins.__import__ = import_preloaded
    elif not apply_filter(program):
        os._exit(1)
    for name in ("ctypes", "_ctypes", "gc", "isolation", "sandbox_jobs", "__main__"):
        sys.modules.pop(name, None)


def import_preloaded(name, *arguments, **options):
    """`import` for a candidate that no filter holds."""
    if name.partition(".")[0] not in PRELOADED:
        raise ImportError(f"no module {name} in here")
    return importlib.__import__(name, *arguments, **options)
