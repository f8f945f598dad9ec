r"""Where in a completion the answer is: the last `\boxed{}`, what follows "the answer is", the end of the last sentence."""

import re

from r1lab.rewards.answers.normalise import FUNCTIONS, mark_currency, normalise, read_words

LONGEST_ANSWER = 512  # characters

# ------------------------------------------------------------------------------- words that take an answer back

# An answer that says these does not commit to one value (English and Indonesian). Comparisons count where they bound a
# number ("more than 5"), not where they describe things ("5 more apples").
_DOUBT = (
    r"(?:not|cannot|never|doubt|neither|maybe|perhaps|possibly|probably|presumably|hopefully|likely|guess|could|might"
    r"|bukan|tidak|mungkin|barangkali|sepertinya|bisa jadi)(?![A-Za-z])"
)
DOUBTS = re.compile(rf"(?<![A-Za-z]){_DOUBT}|n't\b|或|不", re.IGNORECASE)
HEDGES = re.compile(
    rf"(?<![A-Za-z\\])(?:{_DOUBT}"
    r"|(?:or|and|either|between|except|unless|but|at (?:the )?(?:least|most)|(?:less|more|greater|fewer|larger|smaller) than"
    r"|e\.g\.|for example|such as|any (?:number|value)|misalnya|atau|dan|antara|minimal|maksimal|paling|kurang|kecuali|tapi|tetapi|lebih (?:dari|besar|kecil))(?![A-Za-z])"
    r"|(?:under|over|above|below|up to|di atas|di bawah)\s+(?:USD |[$\\])?\d)|n't\b|\d-?ish\b|\?|[或不约]|至少|至多|大概"
    r"|\\(?:neq?|pm|mp|lor|land|lnot|neg|vee|wedge|cup|not)(?![A-Za-z])|!=|\+/-|\+-",
    re.IGNORECASE,
)
# Words behind a number that call it wrong or move it: "5 is wrong", "5 too low", "5 lebih".
RETRACTED = re.compile(
    r"\b(?:wrong|incorrect|false|untrue|invalid|nope|nah|unsure|uncertain|mistaken?|error|upwards?|downwards?|doubtful|unlikely|impossible"
    r"|kidding|joking|exceeded|rejected|refuted|questionable|dubious|salah|keliru|ngawur|ragu|kelebihan)\b|\d no\b"
    r"|\d (?!exactly|only|precisely|daily|weekly|monthly|yearly|hourly)\w+ly\s*$"
    r"|\bish\b|\btoo (?:low|high|small|large|big|little|few|many|much)\b|\b(?:i|we) (?:think|believe|suppose|assume)\s*$"
    r"|\d (?:lebih|or (?:so|more|less)|plus|and (?:up|more|counting)|minimum|maximum|max|ke atas|ke bawah)\s*$|\bgive or take\b",
    re.IGNORECASE,
)
_ABOUT = "roughly|approximately|approx\\.?|about|around|nearly|almost|close to|circa|sekitar|mendekati|kira-kira|hampir|kurang lebih"
# "About 5" is no answer where 5 is exact, but a fair way to give a gold such as 3.14.
APPROXIMATE = re.compile(
    rf"(?<![A-Za-z])(?:{_ABOUT})\s+(?:USD |Rp\.?\s*|[$\\-])?\d|\d\s*(?:{_ABOUT})\s*$", re.IGNORECASE
)

# ------------------------------------------------------------------------------------------------- boxes

MOST_BOXES = 50  # looked at, from the end
# Both commands that draw a box.
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BARE_BOX = re.compile(r"\\boxed\s+(-?\d[\d.,/]*)")
LONGEST_JOINT = 60  # characters between two boxes that belong together
# Spaces and math delimiters between two boxes.
_LAYOUT = re.compile(r"\\(?:text|mbox|mathrm)\s*\{([^{}]*)\}|\\[()\[\],;:! ]|\\q?quad(?![A-Za-z])|[$~.\s]")
# What may stand between boxes that belong together: a comma, a word, the name of the next value.
_JOINT = re.compile(
    r"\s*[,;]?\s*(?:(?P<list>(?:and|dan|&)(?!/))|(?P<hedge>(?:and/or|or|atau|/|\||\\lor|\\vee)(?: (?:perhaps|maybe|possibly|mungkin))?))?\s*(?:[A-Za-z](?:_\{?\w\}?)?\s*=\s*)?",
    re.IGNORECASE,
)


def last_boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{}`, or None.

    Boxes that stand in a row (`\boxed{1} \text{ and } \boxed{2}`) are one list, joined by "or" one hedge; after prose a
    later box replaces an earlier one, so that a policy that corrects itself is read at its last box.
    """
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
    start, _, content = boxes[-1]
    for box_start, box_end, earlier in reversed(boxes[:-1]):
        between = text[box_end:start]
        joint = _JOINT.fullmatch(" ".join(_LAYOUT.sub(lambda match: f" {match[1] or ''} ", between).split()))
        if len(between) > LONGEST_JOINT or not joint:
            break
        content = f"{earlier} or {content}" if joint["hedge"] else f"{earlier}, {content}"
        start = box_start
    return content


def _closing_brace(text: str, start: int, longest: int) -> int | None:
    """Index after the brace that closes the group opened before `start`."""
    depth = 1
    for index in range(start, min(len(text), start + longest)):
        if text[index] in "{}" and text[index - 1] != "\\":
            depth += 1 if text[index] == "{" else -1
            if not depth:
                return index + 1
    return None


# -------------------------------------------------------------------------------------------- statements

# The sentence that announces an answer, in three languages.
ANSWER_IS = re.compile(r"\b(?:answer is|jawabannya(?: adalah)?)\b\s*:?|答案[是为]?\s*:?", re.IGNORECASE)
# Verbs behind which a value is stated.
_VERB = re.compile(
    r"\b(?:is|are|be|equals|get|have|adalah|ialah|yaitu|ada|terdapat|jawabannya)\b", re.IGNORECASE
)
_INTRODUCTION = re.compile(
    rf"[^\d\\$=({{\[]*(?:{_VERB.pattern}|:(?![^:=]*[:=][^:]*:))\s*|(?:so|thus|hence|therefore|jadi|maka)\b,?\s*",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?]\s")
# What may follow an answer without changing it. "I hope it is correct" ends every example of a well-known prompt
# (Lewkowycz et al., 2022).
_COMMENT = re.compile(
    r"(?:[.!]\s+I hope (?:it|this) is correct|,\s*(?:altogether|in total|in all|total|overall|combined|together|exactly|to be exact|which is (?:the|our|my) (?:final )?answer"
    r"|semuanya|seluruhnya|totalnya|tepatnya|(?:where |with |for )?[a-z]\s*\\in\s*\\mathbb\{[A-Z]\}))[.!\s]*$",
    re.IGNORECASE,
)
_FORMULA = re.compile(r"\$([^$]+)\$")
_UNIT_AFTER = re.compile(
    r"\s*(?:\\?[A-Za-z%]{1,12}(?:\s*\^\s*\{?\d\}?)?(?:\s*/\s*[A-Za-z]+)?|(?:square|cubic) [a-z]+)"
)


def statement(answer: str) -> str:
    """What a normalised answer states: the 5 of "so the answer is 5" and of "Thus, it is $5$". All of it where a doubt is left."""
    answer = _without_introduction(_COMMENT.sub("", answer))
    answer = _COMMENT.sub("", answer)
    formulas = list(_FORMULA.finditer(answer))
    if len(formulas) != 1 or HEDGES.search(_FORMULA.sub(" 1 ", answer)) or RETRACTED.search(answer):
        return answer
    # A single formula in a sentence is its answer, with a unit that may follow.
    before, after = answer[: formulas[0].start()], answer[formulas[0].end() :]
    if re.search(r"[\d=<>\\]", before + after):
        return answer
    return formulas[0][1] + (after if _UNIT_AFTER.fullmatch(after) else "")


def _without_introduction(answer: str) -> str:
    if len(stated := ANSWER_IS.split(answer)) == 2 and stated[1].strip():
        before, after = _SENTENCE_END.split(stated[0])[-1], stated[1]
        if not HEDGES.search(before):
            return after
    introduction = _INTRODUCTION.match(answer)
    if not introduction:
        return answer
    verb = _VERB.search(introduction[0])  # before it, "least" and "between" only describe
    subject = verb.start() if verb else 0
    if DOUBTS.search(introduction[0][:subject]) or HEDGES.search(introduction[0][subject:]):
        return answer
    return answer[introduction.end() :]


# --------------------------------------------------------------------------------- answers without tags

# A model without an end token goes on with a question of its own.
_NEXT_QUESTION = re.compile(r"\n[ \t]*(?:Question|Q|Problem|Soal|Pertanyaan)\s*\d*\s*:", re.IGNORECASE)
_NUMERAL = r"(?:\d+(?:[.,]\d+)*|[.,]\d+)"
_GROUP = r"(?:\{[^{}]*\}|\[[^\[\]]*\])"
_COMMAND = rf"\\(?!times|cdot|div|le|ge|ne|approx|ldots)[A-Za-z]+{_GROUP}*"
_PAREN = r"(?<!\\)\((?:[^()A-Za-z\\]|\\[a-z]+|[A-Za-z](?![A-Za-z]))+\)"  # without words
# What a formula begins with: a numeral, a command, a letter, (9+1), \log 7. A letter in front of a word is an article.
_HEAD = (
    rf"(?:\\(?:{FUNCTIONS})\s*)?(?:(?:USD |IDR ?|Rp\.? ?)?{_NUMERAL}(?: \d+/\d+)?"
    rf"|{_COMMAND}|(?<![A-Za-z\\])[A-Za-z](?![A-Za-z]| [a-z]{{2}})|{_PAREN})"
)
# What may follow directly and changes the value: 10^2, 3\sqrt{2}, 3x, 3(4+5), 5 cm^2, 5%, 5!.
_TAIL = rf"(?:\s*[\^_]\s*(?:{_GROUP}|-?[\w.]+)|\s?{_COMMAND}|[A-Za-z]+|{_PAREN}|\s[a-z]{{1,6}}\s?\^\s?\{{?\d\}}?|%|!(?=\S))*"
_SIGN = r"\s*(?:[-+*/]|\\(?:times|cdot|div|approx)(?![A-Za-z])|(?<=\d)(?::(?!00)| : )(?=\d))\s*"
# A formula begins neither in a word (R2D2) or number nor behind a plus or a power whose left side is not readable.
_START = r"(?:(?<![\w)}\]])-\s*)?(?:(?=[\\(])|(?<![A-Za-z\d+^])(?<!\d[.,])(?<!\+ ))"
# The longest formula from here on. The atomic group is for speed: a run is never read again in a shorter way.
_RUN = re.compile(rf"(?>{_START}{_HEAD}{_TAIL}(?:{_SIGN}-?{_HEAD}{_TAIL})*)")
_VALUE = re.compile(r"[\d{]")  # a lone letter is no value
# The number behind the last equals sign of a text, and the rest.
_RESULT = re.compile(rf"=\s*({_RUN.pattern})[^=]*$")
_TWO_RESULTS = re.compile(r"=[^=]*\b(?:or|atau)\b[^=]*=", re.IGNORECASE)
_STATED = re.compile(
    r"=|(?<!\d)(?<!\d ):|\b(?:is|are|be|equals|adalah|ialah|yaitu|jawabannya|hasilnya|there(?:fore)?|thus|hence|so|jadi|maka)\b",
    re.IGNORECASE,
)


def spoken_answer(text: str, *, number: bool) -> str:
    """The answer of a completion without tags: its last box, what follows "answer is", else its end.

    number: the gold is one, so that the end is the last number with all that belongs to it; else it is the last formula
    of the last line. What a model writes behind the next "Question:" answers another one.
    """
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed
    text = _NEXT_QUESTION.split(text)[0].strip()
    if "####" in text:
        return text.rpartition("####")[2].strip().partition("\n")[0]
    if number:
        # A completion that is a formula and nothing else. `normalise` would drop its dollar signs.
        if whole := re.fullmatch(r"\$([^$]+)\$\.?", text):
            return whole[1]
        # An announcement is looked for in all of it, because some models go on and on after it.
        stated = ANSWER_IS.split(text)
        text, announced = normalise(text[-2 * LONGEST_ANSWER :]), normalise(stated[-1][: 2 * LONGEST_ANSWER])
        sentences = [sentence for sentence in _SENTENCE_END.split(text) if re.search(r"\d", sentence)]
        # The announced answer first, then the last sentence with a number, then anything.
        candidates = [_SENTENCE_END.split(announced)[0]] if len(stated) > 1 else []
        for part in [*candidates, *sentences[-1:], text]:
            # "x = 3 or x = 7" gives two answers.
            if _TWO_RESULTS.search(part):
                return part
            # In a formula such as $x^2$ or $2\pi+7$ the last number is not the answer, unless a number follows the formula.
            formulas = list(_FORMULA.finditer(part))
            if (
                formulas
                and "=" not in (formula := formulas[-1][1])
                and not re.search(r"\d", part[formulas[-1].end() :])
            ):
                return formula
            if (result := _RESULT.search(part)) and _VALUE.search(result[1]):
                return result[1]
            if runs := [run for run in _RUN.findall(part) if _VALUE.search(run)]:
                return runs[-1]
        return text if read_words(text) is not None else ""
    last_line = mark_currency(text.rpartition("\n")[2][-2 * LONGEST_ANSWER :])
    formulas = _FORMULA.findall(last_line)
    return formulas[-1] if formulas else ANSWER_IS.split(last_line)[-1]


def stated_answer(text: str, *, number: bool, several: bool) -> str:
    """The answer that the last line of a completion states: its end after "is", "=" and the like; all of it where it hedges."""
    last_line = normalise(text.strip().rpartition("\n")[2][-LONGEST_ANSWER:])
    result = _RESULT.search(last_line) if number else None
    if (
        result
        and _VALUE.search(result[1])
        and not DOUBTS.search(last_line)
        and not re.search(r"\b(?:or|atau)\b|\\pm", result[0])
    ):
        return result[1]
    if not several and HEDGES.search(last_line):
        return last_line
    formulas = _FORMULA.findall(last_line)
    return (formulas or _STATED.split(last_line))[-1].lstrip(" ,")
