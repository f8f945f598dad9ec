"""The process that runs math-verify on what a model wrote. It is expected to hang now and then, and to be killed.

Importing sympy costs half a second, so the process that has paid for it answers nothing itself: it forks one that does,
and another when that one dies. Requests: ["parses", gold] or ["verify", gold, answer], both LaTeX; replies: true or false. No time limit of
math-verify is used (they raise from a signal handler, which a long call into C never reaches): this process dies instead.
"""

import contextlib
import gc
import json
import logging
import mmap
import os
import signal
import struct
import sys

MEMORY = 2 * 2**30  # bytes of address space
LIMIT_S = float(sys.argv[1])  # of CPU time per answer; then the kernel ends this process, parent or not
GOLD_LIMIT_S = float(
    sys.argv[2]
)  # of CPU time to read a gold: whether it can be read must not depend on luck
NEAR = 1e-6  # relative; math-verify rounds to six decimals, so to it 1e-7 equals 2e-7


def main():
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a stray print must not end up between the frames
    timed = hasattr(signal, "setitimer")  # not on Windows, where only the parent keeps the time
    if timed:
        import resource

        with contextlib.suppress(ValueError, OSError):  # macOS has no such limit
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    def set_timer(seconds):
        if timed:
            signal.setitimer(signal.ITIMER_PROF, seconds)

    def reply(value):
        data = json.dumps(value).encode()
        replies.write(struct.pack(">I", len(data)) + data)
        replies.flush()

    try:
        parse_gold, verify = load_math_verify()
    except ImportError as error:
        reply({"missing": str(error)})
        return
    reply({"missing": None})
    busy = mmap.mmap(-1, 1)  # shared: whether there is a request that waits for its reply

    def serve():
        while len(head := sys.stdin.buffer.read(4)) == 4:
            operation, gold, *answer = json.loads(sys.stdin.buffer.read(struct.unpack(">I", head)[0]))
            busy[0] = 1
            # SIGPROF is left at its default: death, even inside C code.
            set_timer(GOLD_LIMIT_S)
            try:
                verdict = bool(parse_gold(gold))
                set_timer(LIMIT_S)
                if operation == "verify":
                    verdict = verify(gold, *answer)
            except Exception:
                verdict = False  # whatever sympy chokes on is not a right answer
            set_timer(0)
            busy[0] = 0
            reply(verdict)

    if not hasattr(os, "fork"):
        return serve()
    gc.freeze()  # what is loaded stays: a fork need not copy it for the garbage collector's sake
    while True:
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BrokenPipeError):
                serve()
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        if os.WIFEXITED(status):
            return  # the other end is gone
        if busy[0] and os.WTERMSIG(status) == signal.SIGKILL:
            return  # not the clock's signal: the system's, and no verdict, so let them ask again
        if busy[0]:
            busy[0] = 0
            reply(False)


def load_math_verify():
    """Functions parse_gold(latex) -> list and verify(gold, answer) -> bool; the first call of each is already paid for."""
    import math_verify
    from latex2sympy2_extended import NormalizationConfig, latex2sympy
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig
    from math_verify.parser import should_treat_as_complex
    from sympy import Expr, I, N

    logging.disable()
    # Our own reading has taken the unit off; math-verify would take 6ab for 6 of a unit, and R for r.
    spelling = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none"
    )
    conversion = ConversionConfig(lowercase_symbols=False)
    golds = {}

    def parse(latex):
        """[the formula], or [] if latex is none."""
        try:
            real = not should_treat_as_complex(latex)
            return [
                latex2sympy(latex, is_real=real, normalization_config=spelling, conversion_config=conversion)
            ]
        except Exception:
            return []

    def parse_gold(latex):
        if latex not in golds:
            if len(golds) > 1000:
                golds.clear()
            golds[latex] = parse(latex)
        return golds[latex]

    def verify(gold, answer):
        gold, parsed = parse_gold(gold), parse(answer)
        # Equal to math-verify; numbers also have to be close on their own scale.
        if math_verify.verify(gold, parsed, timeout_seconds=None, allow_set_relation_comp=True):
            return not any(far(left, right) for left in gold for right in parsed)
        return any(same_number(left, right) for left in gold for right in parsed)

    def far(left, right):
        if not (isinstance(left, Expr) and isinstance(right, Expr)) or left == right:
            return False
        if not (left.is_number and right.is_number):
            return False
        left, right = N(left, 30), N(right, 30)
        return bool(abs(left - right) > NEAR * max(abs(left), abs(right)))

    def same_number(left, right):
        """Equal numbers to twelve digits, with the letter i for the imaginary unit, which math-verify takes for a variable."""
        if not (isinstance(left, Expr) and isinstance(right, Expr)):
            return False
        left, right = (
            side.subs({symbol: I for symbol in side.free_symbols if symbol.name == "i"})
            for side in (left, right)
        )
        if left.free_symbols or right.free_symbols:
            return False
        if left.is_rational or right.is_rational or left.is_infinite or right.is_infinite:
            return bool(left == right)  # far() has no say over what math-verify has called different
        left, right = N(left, 30), N(right, 30)
        return bool(abs(left - right) <= 1e-12 * max(abs(left), abs(right), 1e-300))

    verify("\\frac{1}{2}", "0.5")
    return parse_gold, verify


main()
