r"""Where in a completion the answer is: the last `\boxed{}`, what follows "the answer is", the last number of a text."""

import re

from r1lab.rewards.normalise import normalise
from r1lab.rewards.numbers import NUMERAL

LONGEST_ANSWER = 512  # characters

# An answer that says these does not commit to one value (English and Indonesian). Comparisons count where they bound a
# number ("more than 5"), not where they describe things ("5 more apples").
_DOUBT = (
    r"(?:not|cannot|never|doubt|neither|maybe|perhaps|possibly|probably|presumably|hopefully|likely|guess|could|might"
    r"|bukan|tidak|mungkin|barangkali|sepertinya|bisa jadi)(?![A-Za-z])"
)
HEDGES = re.compile(
    rf"(?<![A-Za-z\\])(?:{_DOUBT}"
    r"|(?:or|and|either|between|except|unless|but|at (?:the )?(?:least|most)|(?:less|more|greater|fewer|larger|smaller) than"
    r"|atau|dan|antara|minimal|maksimal|paling|kurang|kecuali|tapi|tetapi|lebih (?:dari|besar|kecil))(?![A-Za-z])"
    r"|(?:under|over|above|below|up to|di atas|di bawah)\s+[$\\]?\d)|n't\b|\d-?ish\b|\?"
    r"|\\(?:neq?|pm|mp|lor|land|lnot|neg|vee|wedge|cup|not)(?![A-Za-z])|!=|\+/-|\+-",
    re.IGNORECASE,
)
_DOUBTS = re.compile(rf"(?<![A-Za-z]){_DOUBT}|n't\b", re.IGNORECASE)
# "About 5" is no answer where 5 is exact, but a fair way to give a gold such as 3.14.
ROUGHLY = re.compile(
    r"(?<![A-Za-z])(?:roughly|approximately|approx\.?|about|around|nearly|almost|close to|circa|sekitar|mendekati|kira-kira"
    r"|hampir|kurang lebih)\s+(?:Rp\.?\s*|[$\\-])?\d",
    re.IGNORECASE,
)
_VERB = re.compile(r"\b(?:is|are|be|equals|adalah|ialah|yaitu|ada|terdapat|jawabannya)\b", re.IGNORECASE)
_INTRODUCTION = re.compile(
    rf"[^\d\\$=({{\[]*(?:{_VERB.pattern}|:)\s*|(?:so|thus|hence|therefore|jadi|maka)\b,?\s*", re.IGNORECASE
)
ANSWER_IS = re.compile(r"\b(?:answer is|jawabannya(?: adalah)?)\b\s*:?", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?]\s")

MOST_BOXES = 50  # looked at, from the end
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_JOINED = re.compile(
    r"[\s$.]*(?:[,;]|\bor\b|\band\b|\batau\b|\bdan\b)?[\s$]*(?:or|and|atau|dan)?[\s$]*(?:[A-Za-z](?:_\{?\w\}?)?\s*=\s*)?",
    re.IGNORECASE,
)
_BARE_BOX = re.compile(r"\\boxed\s+(-?\d[\d.,/]*)")


def last_boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{}`, or None. Boxes that stand in a row (`\boxed{1}, \boxed{2}`) belong together;
    after prose a later box replaces an earlier one, so a policy that corrects itself is read at its last word."""
    text = _BARE_BOX.sub(r"\\boxed{\1}", text)
    boxes: list[tuple[int, int, str]] = []  # start, end, content
    for match in list(_BOX.finditer(text))[-MOST_BOXES:]:
        if boxes and match.start() < boxes[-1][1]:
            continue  # a box in a box: the outer one holds the answer
        end = _closing_brace(text, match.end(), LONGEST_ANSWER + 100)
        if end is not None:
            boxes.append((match.start(), end, text[match.end() : end - 1]))
    if not boxes:
        return None
    contents, start = [boxes[-1][2]], boxes[-1][0]
    for box_start, box_end, content in reversed(boxes[:-1]):
        between = text[box_end:start]
        if len(between) > 20 or not _JOINED.fullmatch(between):
            break
        contents.append(content)
        start = box_start
    return ", ".join(reversed(contents))


def _closing_brace(text: str, start: int, longest: int) -> int | None:
    """Index after the brace that closes the group opened before `start`."""
    depth = 1
    for index in range(start, min(len(text), start + longest)):
        if text[index] in "{}" and text[index - 1] != "\\":
            depth += 1 if text[index] == "{" else -1
            if not depth:
                return index + 1
    return None


_SPOKEN_NUMBER = re.compile(
    rf"(?:(?<![\w)}}\]])-\s*)?(?:\\[dt]?frac\s*\{{\d+\}}\s*\{{\d+\}}|{NUMERAL}(?:\s*/\s*\d+)?)"
)


def spoken_answer(text: str, *, number: bool) -> str:
    """The answer of a completion without tags: its last box, else its last number (if a number is wanted), else the end of its last line."""
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed
    if number:
        numbers = _SPOKEN_NUMBER.findall(text)
        return numbers[-1] if numbers else ""
    last_line = text.strip().rpartition("\n")[2]
    formulas = re.findall(r"\$([^$]+)\$", last_line)
    return formulas[-1] if formulas else ANSWER_IS.split(last_line)[-1]


_STATED = re.compile(
    r"=|:|\b(?:is|are|be|equals|adalah|ialah|yaitu|jawabannya|hasilnya|there(?:fore)?|thus|hence|so|jadi|maka)\b",
    re.IGNORECASE,
)


def stated_answer(text: str, *, lists: bool) -> str:
    """The answer that the last line of a completion states: its end after "is", "=" and the like; all of it where it hedges."""
    last_line = normalise(text.strip().rpartition("\n")[2][-LONGEST_ANSWER:])
    if not lists and HEDGES.search(last_line):
        return last_line
    formulas = re.findall(r"\$([^$]+)\$", last_line)
    return (formulas or _STATED.split(last_line))[-1].lstrip(" ,")


def without_introduction(answer: str) -> str:
    """What an answer says after "the least value is" or "so the answer is"; all of it where that leaves a doubt."""
    if len(stated := ANSWER_IS.split(answer)) == 2 and stated[1].strip():
        before, after = _SENTENCE_END.split(stated[0])[-1], stated[1]
        if not HEDGES.search(before):
            return after
    introduction = _INTRODUCTION.match(answer)
    if not introduction:
        return answer
    verb = _VERB.search(introduction[0])  # before it, "least" and "between" only describe
    subject = verb.start() if verb else 0
    if _DOUBTS.search(introduction[0][:subject]) or HEDGES.search(introduction[0][subject:]):
        return answer
    return answer[introduction.end() :]
