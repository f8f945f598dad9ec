"""Whether the steps of a chain hold, not only its end: sums are done again, positions and verdicts compared with the question.

A right answer can stand on a wrong step: 13*4=62, 62/4=13. A verifier of answers pays it; nobody should learn from it.
"""

import re

from tinyworld.chain import OPERATORS
from tinyworld.generators import BEHIND, FRONT, PLACE, SAYS, VERDICT
from tinyworld.refine import phrase_pattern

_SUM = re.compile(
    r"(\d{1,30})([-+*/])(\d{1,30})=(-?\d{1,30})"
)  # Python reads no number of thousands of digits


def steps_hold(prompt: str, think: str, language: str) -> bool:
    """Whether every sum, position and verdict stated in `think` holds. What is stated last counts: a check may repair.

    prompt: the question; language: that of both texts.
    """
    return (
        _sums_are_right(think)
        and _positions_hold(prompt, think, language)
        and _verdicts_hold(prompt, think, language)
    )


def _sums_are_right(think: str) -> bool:
    last = {(left, sign, right): int(stated) for left, sign, right, stated in _SUM.findall(think)}
    return all(_holds(int(left), sign, int(right), stated) for (left, sign, right), stated in last.items())


def _holds(left: int, sign: str, right: int, stated: int) -> bool:
    if sign == "/":
        return right != 0 and left == right * stated
    return OPERATORS[sign](left, right) == stated


def _positions_hold(prompt: str, think: str, language: str) -> bool:
    stated = {int(match["k"]): match["a"] for match in re.finditer(phrase_pattern(PLACE[language]), think)}
    behind = {match["a"]: match["b"] for match in re.finditer(phrase_pattern(BEHIND[language]), prompt)}
    front = re.search(phrase_pattern(FRONT[language]), prompt)
    return all(
        name == (behind.get(stated.get(k - 1)) if k > 1 else front and front["a"])
        for k, name in stated.items()
    )


def _verdicts_hold(prompt: str, think: str, language: str) -> bool:
    truth = {word: verdict for verdict, word in VERDICT[language].items()}
    words = "|".join(map(re.escape, truth))
    stated = {name: truth[word] for name, word in re.findall(rf"(\w+) ({words})\b", think)}
    given = re.match(rf"(\w+) ({words})\.", prompt)  # the one sentence that nobody says
    if not stated:
        return True
    claims = re.finditer(phrase_pattern(SAYS[language].rstrip(".")), prompt)
    told = [(match["a"], match["b"], truth.get(match["verdict"])) for match in claims]
    return (given is None or stated.get(given[1]) == truth[given[2]]) and all(
        (stated[a] == stated[b]) == verdict for a, b, verdict in told if a in stated and b in stated
    )
