"""Counts self-checks in completions, such as "Wait, check: 19-5=14.", and their outcomes."""

import re
from collections import Counter
from collections.abc import Iterable

# What a reasoning model writes when it stops to check a step, in English and Indonesian.
SELF_CHECK = re.compile(
    r"""
      \b(?:wait|hold\ on|hmm+|on\ second\ thought|tunggu|sebentar)(?:\ (?:dulu|a\ (?:second|moment)))?\s*[,.:;!…—-]
      (?:\ ?(?:check|cek)\ ?:)?
    | \b(?:let\ me|let\ us|let's|i\ (?:should|will|must)|i'll|to)\ (?:double[\ -]?|re-?)?(?:check|verify|examine)\b
    | \b(?:double[\ -]?|re-?)(?:check|verify|examine|calculate)(?:ed|ing)?\b
    | \b(?:check|verification|cek|verifikasi|pengecekan)\ ?:
    | \b(?:mari|coba|saya|kita)\ (?:saya\ |kita\ )?(?:cek|periksa|verifikasi)\b
    | \b(?:cek|periksa|memeriksa|hitung|menghitung|ulangi)(?:lah)?\ (?:lagi|ulang|kembali)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)

# At most 30 digits, because Python refuses to read numbers of thousands of digits.
EQUATION = r"(\d{1,30}[-+*/]\d{1,30}=-?\d{1,30})"
CHECKED_EQUATION = re.compile(rf"{EQUATION}\.\s+(?:Wait, check|Tunggu, cek):\s*{EQUATION}")
# Not the end of a longer sum or of a negative number: `equation_holds` knows two numbers without a sign.
FIRST_EQUATION = re.compile(rf"(?<![-\d]){EQUATION}")
# (right before the check, right after it) -> what the check did
OUTCOMES = {
    (False, True): "repaired",
    (True, True): "confirmed",
    (True, False): "spoiled",
    (False, False): "missed",
}


def has_self_check(text: str) -> bool:
    """Whether a completion contains a phrase such as "Wait, check: ..." or "Tunggu, cek: ...", whatever the check finds."""
    return SELF_CHECK.search(text) is not None


def check_outcomes(text: str) -> dict[str, int]:
    """What the arithmetic self-checks of a completion did: {"repaired", "confirmed", "spoiled", "missed"}.

    Reads an equation followed by a check, as in "19-5=13. Wait, check: 19-5=14." (repaired: wrong, then right).
    A check that comes out wrong spoiled a right equation or missed a wrong one. Checks of anything else are not counted.
    """
    counts = dict.fromkeys(OUTCOMES.values(), 0)
    for first, second in CHECKED_EQUATION.findall(text):
        counts[OUTCOMES[_is_true(first), _is_true(second)]] += 1
    return counts


def count_checks(texts: Iterable[str]) -> dict[str, int]:
    """Self-checks of many completions, and how much there was to repair.

    "completions" and those "with_check"; the "sums" (equations as first stated, before any check) and the wrong ones
    among them, "slips"; and what the arithmetic checks did, see `check_outcomes`.
    """
    counts = Counter(completions=0, with_check=0, sums=0, slips=0)
    for text in texts:
        first = FIRST_EQUATION.findall(CHECKED_EQUATION.sub(r"\1", text))
        slips = sum(not _is_true(equation) for equation in first)
        counts.update(completions=1, with_check=has_self_check(text), sums=len(first), slips=slips)
        counts.update(check_outcomes(text))
    return dict(counts)


def _is_true(equation: str) -> bool:
    return equation_holds(*re.fullmatch(r"(\d+)([-+*/])(\d+)=(-?\d+)", equation).groups())


def equation_holds(left: str, sign: str, right: str, result: str) -> bool:
    """Whether `left` `sign` `right` is `result`, all whole numbers; sign is one of + - * /. Division by 0 is false."""
    left, right, result = int(left), int(right), int(result)
    # Only exact quotients are whole numbers, so a division is checked by multiplying.
    if sign == "/":
        return right != 0 and left == right * result
    return result == {"+": left + right, "-": left - right, "*": left * right}[sign]
