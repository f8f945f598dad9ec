"""Rules for the tiny world's chains of thought. `refine` rewrites a completion, `steps_hold` checks each of its steps.

In the paper, people and a model rewrote R1-Zero's completions (DeepSeek-AI, 2025, section 2.3.1). The tiny world has so few
sentences that a list of phrases is enough: data/problems/phrases.jsonl, written from the constants that write the corpus.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from r1lab.problems import read_shipped
from r1lab.prompts import ANSWER_CLOSE, ANSWER_OPEN, TAGS, format_completion, parse_completion
from r1lab.self_checks import equation_holds

OTHER = {"en": "id", "id": "en"}
BOOK = read_shipped("problems", "phrases")
# The phrases of chains of thought. The others are those of questions and of final answers.
PHRASES = [row for row in BOOK if row["kind"] in ("opener", "link", "check", "position", "honest", "liar")]
# Patterns of the fields of a phrase. `answer` is lazy: it ends at the first full stop that ends a sentence.
FIELDS = {"k": r"\d+", "a": r"\w+", "b": r"\w+", "answer": r".+?", "verdict": r"\w[\w ]*"}
# Up to a full stop or the end, with more in it than full stops and spaces.
SENTENCE = re.compile(r"[^.]*[^.\s][^.]*(?:\.|$)")
TAG = re.compile("|".join(map(re.escape, TAGS)))
# At most 30 digits, because Python refuses to read numbers of thousands of digits.
SUM = re.compile(r"(\d{1,30})([-+*/])(\d{1,30})=(-?\d{1,30})")


@dataclass(frozen=True)
class Refined:
    """A rewritten completion, and what was repaired: any of "tags", "filler", "repeat", "language"."""

    text: str
    repairs: tuple[str, ...]


def phrases(kind: str, language: str) -> list[str]:
    """The phrases of one kind in one language."""
    return [row[language] for row in BOOK if row["kind"] == kind]


def phrase_pattern(template: str) -> str:
    """A regular expression for a template such as "number {k} is {a}", with a named group for each field."""
    # `split` alternates text and field names.
    parts = re.split(r"\{(\w+)\}", template)
    parts[::2] = map(re.escape, parts[::2])
    parts[1::2] = [f"(?P<{field}>{FIELDS[field]})" for field in parts[1::2]]
    return rf"(?<!\w){''.join(parts)}(?!\w)"


# {language: [(pattern of a phrase in the other language, the phrase in this one)]}
_TRANSLATIONS = {
    language: [(re.compile(phrase_pattern(row[OTHER[language]])), row[language]) for row in PHRASES]
    for language in OTHER
}
# "So the answer is 5." The full stop must end the sentence: an answer may hold others, as code does.
_ANSWER_SENTENCES = [
    re.compile(rf"{phrase_pattern(row[language].rstrip('.'))}(?:\.(?=\s|<|$)|$)")
    for row in BOOK
    if row["kind"] == "answer"
    for language in OTHER
]


def translate(text: str, language: str) -> str:
    """`text` translated into `language` ("en" or "id"), phrase by phrase. Text outside the list of phrases is unchanged."""
    for pattern, phrase in _TRANSLATIONS[language]:
        text = pattern.sub(lambda match, phrase=phrase: phrase.format(**match.groupdict()), text)
    return text


def split_sentences(text: str) -> list[str]:
    """The sentences of a chain of thought, each with its full stop."""
    return [sentence.strip() for sentence in SENTENCE.findall(text)]


def refine(text: str, language: str) -> Refined:
    """A completion rewritten in `language`: well formed, without fillers and repetitions.

    It is unchanged if it cannot be repaired, because it has no chain of thought, no answer, or two different answers.
    """
    # Stage 1: take the chain of thought and the answers apart.
    chain, answers = _take_apart(text)
    sentences = split_sentences(chain)
    if not sentences or len(set(answers)) != 1:
        return Refined(text, ())
    # Stage 2: drop sentences that repeat the one before, then translate the others.
    kept = _drop_repeats(sentences)
    translated = translate(" ".join(kept), language)
    # Stage 3: put chain and answer into their tags.
    repairs = {
        "tags": not parse_completion(text).well_formed,
        "filler": len(answers) > 1,
        "repeat": len(kept) < len(sentences),
        "language": translated != " ".join(kept),
    }
    return Refined(
        format_completion(translated, answers[0]), tuple(name for name, made in repairs.items() if made)
    )


def _take_apart(text: str) -> tuple[str, list[str]]:
    """(chain of thought without tags, answers): the answer in tags first, then those in a sentence of their own."""
    answers = []
    if tagged := parse_completion(text).answer:
        # The block is cut out, so that what stands around it can be read as sentences.
        head, _, tail = text.rpartition(ANSWER_OPEN)
        text, answers = head + tail.partition(ANSWER_CLOSE)[2], [tagged]
    text = TAG.sub(" ", text)
    for pattern in _ANSWER_SENTENCES:
        answers += [match["answer"] for match in pattern.finditer(text)]
        text = pattern.sub("", text)
    return text, answers


def _drop_repeats(sentences: list[str]) -> list[str]:
    """The sentences without those that repeat the one before. A check may repeat a step once."""
    # A check that confirms a step is kept, like one that repairs it. Data in which every check finds an error would teach
    # the model to write a check only before an error.
    kept: list[str] = []
    for sentence in sentences:
        body, is_check = _without_opening(sentence)
        if kept:
            previous, was_check = _without_opening(kept[-1])
            if body == previous and (was_check or not is_check):
                continue
        kept.append(sentence)
    return kept


def _without_opening(sentence: str) -> tuple[str, bool]:
    """(sentence in English without its opening words, whether it is a check)."""
    # In English, because the two sentences that are compared may be in different languages.
    english = translate(sentence, "en")
    (check,) = phrases("check", "en")
    is_check = english.startswith(check)
    for opening in (*phrases("opener", "en"), *phrases("link", "en"), check):
        english = english.removeprefix(opening)
    return english.strip(), is_check


# ------------------------------------------------------------------------------------------------ steps
def steps_hold(prompt: str, think: str, language: str) -> bool:
    """Whether every sum, position and verdict stated in `think` is true. Of two statements about the same, the last counts.

    prompt: the question. language: of both texts.
    """
    # A right answer can follow from wrong steps: 13*4=62, 62/4=13. A reward for the answer accepts it, but as data it
    # would teach the wrong steps.
    return (
        _sums_hold(think)
        and _positions_hold(prompt, think, language)
        and _verdicts_hold(prompt, think, language)
    )


def _find(kind: str, language: str, text: str) -> Iterator[re.Match]:
    """All matches in `text` of the one phrase of this kind."""
    (phrase,) = phrases(kind, language)
    return re.finditer(phrase_pattern(phrase.rstrip(".")), text)


def _sums_hold(think: str) -> bool:
    """Whether every sum has the result that is stated for it."""
    # A later result for the same sum replaces an earlier one in this dictionary: a check may repair a slip.
    results = {(left, sign, right): result for left, sign, right, result in SUM.findall(think)}
    return all(equation_holds(*equation, result) for equation, result in results.items())


def _positions_hold(prompt: str, think: str, language: str) -> bool:
    """Whether each name in a queue is the one that the question puts behind the position before."""
    stated = {int(match["k"]): match["a"] for match in _find("position", language, think)}
    behind = {match["a"]: match["b"] for match in _find("behind", language, prompt)}
    front = next(_find("front", language, prompt), None)
    return all(
        name == (behind.get(stated.get(k - 1)) if k > 1 else front and front["a"])
        for k, name in stated.items()
    )


def _verdicts_hold(prompt: str, think: str, language: str) -> bool:
    """Whether the verdicts honest and liar fit the question: two people share one exactly if the first calls the other honest."""
    verdicts = {word: kind == "honest" for kind in ("honest", "liar") for word in phrases(kind, language)}
    words = "|".join(map(re.escape, verdicts))
    stated = {name: verdicts[word] for name, word in re.findall(rf"(\w+) ({words})\b", think)}
    if not stated:
        return True
    # Case 1: the verdict that the question gives in its first sentence.
    given = re.match(rf"(\w+) ({words})\.", prompt)
    if given and stated.get(given[1]) != verdicts[given[2]]:
        return False
    # Case 2: what one person claims about another.
    claims = [
        (match["a"], match["b"], verdicts.get(match["verdict"])) for match in _find("claim", language, prompt)
    ]
    return all((stated[a] == stated[b]) == claim for a, b, claim in claims if a in stated and b in stated)
