"""Symbolic equality, decided by math-verify in a process that is killed when it takes too long.

Some 60-character answers keep math-verify busy for minutes and one never returns (Math-Verify issue 65), so a policy
could stop a training run that verifies in its own process. Here an answer may cost `LIMIT_S` seconds of CPU time, and
one that needs more is wrong. CPU time, because a verdict must not depend on what else the machine is doing; a limit
in wall time stands behind it.
"""

import sys
from pathlib import Path

from r1lab.rewards.verify.process import Service

LIMIT_S = 1.0  # of CPU time, per comparison: ordinary ones take 0.2 s at most
GOLD_LIMIT_S = (
    10.0  # of CPU time to read a gold, once: near the limit a parse is a coin toss, so it is far away
)
PATIENCE = 10.0  # wall seconds granted per second of CPU, for a machine that is busy training
LONGEST_CACHE = 100_000  # verdicts


class SymbolicVerifier:
    """math-verify behind a time limit, with a cache. Starts nothing until the first question; safe in threads."""

    def __init__(self, *, limit_s: float = LIMIT_S) -> None:
        self.limit_s = limit_s
        # -P keeps the worker's folder out of the import path.
        worker = Path(__file__).with_name("symbolic_worker.py")
        self.service = Service([sys.executable, "-P", str(worker), str(limit_s), str(GOLD_LIMIT_S)])
        self._verdicts: dict[tuple[str, ...], bool] = {}

    def parses(self, gold: str) -> bool:
        """Whether a gold answer (LaTeX or plain) means anything to math-verify."""
        return self._ask("parses", gold)

    def verify(self, gold: str, answer: str) -> bool:
        """Whether `answer` equals `gold`; False also when that takes over `limit_s` seconds of CPU, or 2 GB."""
        return self._ask("verify", gold, answer)

    def knows(self, gold: str, answer: str) -> bool:
        """Whether `verify` would answer from its cache, at no cost."""
        return ("verify", gold, answer) in self._verdicts

    def _ask(self, *question: str) -> bool:
        verdict = self._verdicts.get(question)
        if verdict is None:
            self.service.start()
            if self.service.greeting["missing"]:
                raise ImportError(
                    "answers that are not plain numbers are checked by math-verify: pip install math-verify"
                )
            cpu_s = GOLD_LIMIT_S if question[0] == "parses" else 2 * self.limit_s
            verdict = self.service.request(question, cpu_s * PATIENCE) == b"true"
            if len(self._verdicts) >= LONGEST_CACHE:
                self._verdicts.clear()
            self._verdicts[question] = verdict
        return verdict


SYMBOLIC = SymbolicVerifier()  # all rewards share one worker and its verdicts; nothing runs yet
