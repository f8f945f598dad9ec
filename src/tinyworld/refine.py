"""Clean up a reply of the tiny world by rule: one language, both blocks in their tags, nothing said twice.

The paper had people (and a model) rewrite R1-Zero's outputs until they read well (DeepSeek-AI, 2025, section 2.3.1).
Our world has few enough sentences that a phrase book does it. The phrases come from the files that write them, so a new
one there is known here.
"""

import re
from dataclasses import dataclass

from r1lab.prompts import ANSWER_CLOSE, ANSWER_OPEN, TAGS, format_completion, parse_completion
from tinyworld.chain import CHECKS, LINKS, OPENERS, OTHER
from tinyworld.corpus import ANSWER_SENTENCE, SO_SENTENCE
from tinyworld.generators import PLACE, VERDICT

# The phrase book: the same thing said in each language.
PHRASES = [
    *(
        {"en": en, "id": id_}
        for words in (OPENERS, LINKS)
        for en, id_ in zip(words["en"], words["id"], strict=True)
    ),
    CHECKS,
    PLACE,
    *({language: VERDICT[language][truth] for language in VERDICT} for truth in (True, False)),
]
FIELDS = {"k": r"\d+", "a": r"\w+", "b": r"\w+", "answer": r".+?", "verdict": r"\w[\w ]*"}
SENTENCE = re.compile(r"[^.]*[^.\s][^.]*(?:\.|$)")
TAG = re.compile("|".join(map(re.escape, TAGS)))


@dataclass(frozen=True)
class Refined:
    """A reply after the clean-up, and what was done to it: any of "tags", "filler", "repeat", "language"."""

    text: str
    repairs: tuple[str, ...]


def phrase_pattern(template: str) -> str:
    """A regular expression for a template such as "number {k} is {a}", each field a named group."""
    parts = re.split(r"\{(\w+)\}", template)
    fields = [
        f"(?P<{part}>{FIELDS[part]})" if place % 2 else re.escape(part) for place, part in enumerate(parts)
    ]
    return rf"(?<!\w){''.join(fields)}(?!\w)"


_FOREIGN = {
    language: [(re.compile(phrase_pattern(phrase[OTHER[language]])), phrase[language]) for phrase in PHRASES]
    for language in OTHER
}
_SPOKEN = [
    re.compile(rf"{phrase_pattern(sentence[language].rstrip('.'))}(?:\.(?=\s|<|$)|$)")
    for sentence in (SO_SENTENCE, ANSWER_SENTENCE)
    for language in OTHER
]


def translate(text: str, language: str) -> str:
    """Say `text` in `language` ("en" or "id"), phrase by phrase; what the phrase book lacks stays as it was."""
    for pattern, phrase in _FOREIGN[language]:
        text = pattern.sub(lambda match, phrase=phrase: phrase.format(**match.groupdict()), text)
    return text


def split_sentences(text: str) -> list[str]:
    """The sentences of a chain of thought, each with its full stop."""
    return [sentence.strip() for sentence in SENTENCE.findall(text)]


def refine(text: str, language: str) -> Refined:
    """Rewrite a reply in `language`, well formed, without fillers and repetitions.

    A reply that can not be mended comes back as it was: nothing was reasoned, there is no answer, or there are two.
    """
    chain, answers = _take_apart(text)
    said = split_sentences(chain)
    if not said or len(set(answers)) != 1:
        return Refined(text, ())
    kept = _drop_repeats(said)
    spoken = translate(" ".join(kept), language)
    done = {
        "tags": not parse_completion(text).well_formed,
        "filler": len(answers) > 1,
        "repeat": len(kept) < len(said),
        "language": spoken != " ".join(kept),
    }
    return Refined(format_completion(spoken, answers[0]), tuple(name for name, was in done.items() if was))


def _take_apart(text: str) -> tuple[str, list[str]]:
    """(chain of thought without tags, the answers given): the one in tags, and those in a sentence of their own."""
    answers = []
    if tagged := parse_completion(text).answer:
        head, _, tail = text.rpartition(ANSWER_OPEN)
        text, answers = head + tail.partition(ANSWER_CLOSE)[2], [tagged]
    text = TAG.sub(" ", text)
    for pattern in _SPOKEN:
        answers += [match["answer"] for match in pattern.finditer(text)]
        text = pattern.sub("", text)
    return text, answers


def _drop_repeats(sentences: list[str]) -> list[str]:
    """Leave out a sentence that says again what the one before it said. A check may do so once: it looked again.

    A check that confirms a step is kept as well as one that repairs it: whoever checks can not know before which it
    will be, and data in which every check finds an error would teach that a check is the announcement of one.
    """
    kept: list[str] = []
    for sentence in sentences:
        body, looks_again = _without_opening(sentence)
        if kept:
            before, looked_already = _without_opening(kept[-1])
            if body == before and (looked_already or not looks_again):
                continue
        kept.append(sentence)
    return kept


def _without_opening(sentence: str) -> tuple[str, bool]:
    """(what a sentence says, in English and without its opening word; whether it is a check)."""
    english = translate(sentence, "en")
    check = english.startswith(CHECKS["en"])
    for opening in (*OPENERS["en"], *LINKS["en"], CHECKS["en"]):
        english = english.removeprefix(opening)
    return english.strip(), check
