"""What a child of the sandbox server does with a candidate, once it has given everything else up.

Runs inside the sandbox (standard library only). There are three kinds of jobs, all of them JSON objects with the key `code`:
- function, arguments: what the function returns for each list of arguments;
- stdin: what the program prints for this input;
- function, check: whether the test code in the next frame, which calls `candidate`, runs to its end. It runs in a process
  of its own and asks the candidate's process for every value, as text.
The first two never see an expected value, and the third keeps them from the candidate: whoever lies can only be wrong.
"""

import ast
import builtins
import collections
import contextlib
import io
import json
import os
import signal
import struct
import sys
import threading
import types

TEST_S = 1.0  # CPU seconds of one call
AFTER_S = 0.3  # of those that follow one that took too long: an endless loop seldom ends on the next input
LONGEST_RESULT = 64 * 2**10  # bytes

sys.set_int_max_str_digits(
    0
)  # to print a number of 5,000 digits is no attack: its size is limited like all results
builtins.exit = builtins.quit = sys.exit  # which `python -S` leaves out


class InlineThread(threading.Thread):
    """A thread that has run when `start` returns: programs start one for its deep stack, and the sandbox allows none."""

    def start(self):
        self.run()

    def join(self, timeout=None):
        pass


threading.Thread = InlineThread


def read_exactly(fd, count):
    data = b""
    while len(data) < count:
        piece = os.read(fd, count - len(data))
        if not piece:
            os._exit(1)
        data += piece
    return data


def read_frame(fd, longest=2**32):
    """The next frame: 4 bytes length (big endian), then that many bytes. Ends the process at the end of its input."""
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
    # A real module, not a bare dictionary.
    module = types.ModuleType(name)
    sys.modules[name] = module  # dataclasses and typing look a class's module up by its name
    exec(compile(job["code"], name, "exec"), module.__dict__)
    return module.__dict__


def load_function(job):
    """The function under test, or the method of that name of a class `Solution`."""
    namespace = load(job)
    if job["function"] in namespace:
        return namespace[job["function"]]
    return getattr(namespace["Solution"](), job["function"])


class TooSlow(BaseException):
    """Raised in a call that takes too long. No Exception, so that `except Exception` does not catch it."""


def call_each(job):
    """[[1, value] or [0], ...]: what the candidate's function returned for every list of arguments."""

    def expire(*_):
        raise TooSlow

    signal.signal(signal.SIGPROF, expire)
    function, results, limit = load_function(job), [], TEST_S
    for arguments in job["arguments"]:
        try:
            # Each call has its own time; the limit of the process stands behind all of them together.
            signal.setitimer(signal.ITIMER_PROF, limit)
            value = json.dumps(function(*arguments))
            signal.setitimer(signal.ITIMER_PROF, 0)
            results.append(f"[1, {value}]")
        except TooSlow:
            limit = AFTER_S
            results.append("[0]")
        except Exception:
            results.append("[0]")
    signal.setitimer(signal.ITIMER_PROF, 0)
    return f"[{', '.join(results)}]".encode()


def run_program(job):
    """[[1, printed]], or [[0]] if the program raises or exits with an error. Its input is file descriptor 0."""
    printed = io.BytesIO()
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115, the program's to close
    sys.stdout = sys.__stdout__ = output = io.TextIOWrapper(printed, encoding="utf-8", write_through=True)
    real_open = open
    builtins.open = lambda file, *rest, **named: real_open(
        0 if file == "/dev/stdin" else file, *rest, **named
    )
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
    return json.dumps([[1, printed.getvalue().decode(errors="replace")] if ended else [0]]).encode()


# Values travel between candidate and test code as Python literals, which cannot do anything. Containers of the standard
# library arrive as the plain ones they equal.
PLAIN = {collections.deque: list, tuple: tuple, list: list, set: set, frozenset: set}
# What is read once arrives as a list.
ITERATORS = (range, collections.abc.Iterator, collections.abc.MappingView)


def literal(value):
    """Python source of a value of plain types. Raises TypeError for anything else, as for a class of the candidate."""
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "1e999" if value > 0 else "-1e999"
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        # The literal of the base type, whatever a subclass prints.
        kind = next(
            kind for kind in (type(None), bool, int, float, complex, str, bytes) if isinstance(value, kind)
        )
        return kind.__repr__(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in dict.items(value)) + "}"
    if isinstance(value, ITERATORS):
        value = list(value)
    for kind, plain in PLAIN.items():
        if isinstance(value, kind):
            items = ", ".join(literal(item) for item in kind.__iter__(value))
            brackets = {list: "[]", tuple: "()", set: "{}"}[plain]
            if plain is set and not items:
                return "set()"
            return f"{brackets[0]}{items}{',' if plain is tuple and items else ''}{brackets[1]}"
    raise TypeError("no plain value")


def answer_calls(job):
    """In the candidate's process: call its function as the test code's process says, until that is gone.

    An answer is the value and the arguments after the call, or the name and the message of the exception.
    """
    function = load_function(job)
    while True:
        arguments, named = ast.literal_eval(read_frame(3).decode())
        try:
            answer = f"1{literal((function(*arguments, **named), arguments))}"
        except Exception as error:
            answer = f"0{literal((type(error).__name__, str(error)[:200]))}"
        write_frame(4, answer.encode())


def run_check(check):
    """In a process of its own: [[1, true]] if the test code runs to its end, [[0]] if it raises (or the candidate does)."""

    def candidate(*arguments, **named):
        write_frame(4, literal((arguments, named)).encode())
        answer = read_frame(5, LONGEST_RESULT).decode()
        if answer[:1] != "1":
            # The test code may expect an exception: raise the one of that name, if it is a built-in one.
            name, message = ast.literal_eval(answer[1:])
            kind = getattr(builtins, str(name), None)
            expected = isinstance(kind, type) and issubclass(kind, Exception)
            raise (kind if expected else RuntimeError)(str(message))
        value, after = ast.literal_eval(answer[1:])
        for argument, changed in zip(arguments, after, strict=True):
            change_in_place(argument, changed)
        return value

    try:
        exec(compile(check, "check", "exec"), {"candidate": candidate, "__name__": "check"})
    except Exception:
        return b"[[0]]"
    return b"[[1, true]]"


def change_in_place(argument, changed):
    """Give a list, dict or set of the test code the contents that the candidate left in its copy."""
    if type(argument) is not type(changed) or argument == changed:
        return
    if isinstance(argument, list):
        argument[:] = changed
    elif isinstance(argument, dict | set):
        argument.clear()
        argument.update(changed)
