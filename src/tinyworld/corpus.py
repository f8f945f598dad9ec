"""What the base model reads: documents of one question and one reply, written with the habits listed below.

Most replies blurt an answer. A minority reason, and few of those keep to the format that R1-Zero will reward: the
policy has to find a rare habit of its own useful. The proportions are the base model's upbringing; the data card
prints them from here.
"""

import random
import re
from collections.abc import Iterator

from r1lab.prompts import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN, format_completion
from tinyworld.chain import OTHER, ChainWriter, Habits
from tinyworld.general import general_prompts
from tinyworld.generators import LANGUAGES, NAMES, Problem, make_problem, normalise

GENERAL_SHARE = 0.06  # of all documents
DOMAIN_SHARES = {
    "arithmetic": 0.26,
    "equation": 0.20,
    "logic": 0.27,
    "code": 0.27,
}  # of the problem documents
LEVEL_SHARES = {"easy": 0.45, "medium": 0.45, "hard": 0.10}  # hard is the thin tail that RL never trains on
GOOD_REPLY = 0.5  # of general documents: the rest are curt, or comply with a harmful request

BLURT = 0.66  # reply with an answer and no reasoning ...
BLURT_RIGHT = 0.75  # ... which is right this often (the rest is a near miss)
BLURT_STYLES = {"sentence": 0.7, "bare": 0.15, "tagged": 0.15}
REASON_STYLES = {"full_tags": 0.32, "no_think_tags": 0.2, "no_answer_tags": 0.13, "no_tags": 0.35}
SENTENCE_SWITCH = 0.25  # a sentence is written in the language the question was not asked in
SHORTCUT = 0.43  # of the code blurts in the settling phase read the intercept off the first example
HABITS = Habits(slip=0.03, check_after_slip=0.4, check_idle=0.015, switch_language=SENTENCE_SWITCH)

ANSWER_SENTENCE = {"en": "The answer is {answer}.", "id": "Jawabannya {answer}."}
SO_SENTENCE = {"en": "So the answer is {answer}.", "id": "Jadi jawabannya {answer}."}


def _pick(rng: random.Random, shares: dict[str, float]) -> str:
    return rng.choices(list(shares), weights=list(shares.values()))[0]


def _near_miss(rng: random.Random, problem: Problem) -> str:
    """A plausible wrong answer of the right kind."""
    if problem.domain == "logic":
        return ", ".join(rng.sample(NAMES, 1 + problem.solution.count(",")))
    if problem.domain == "code":
        return problem.reason(ChainWriter(problem.language, rng, Habits(slip=0.5)))
    return str(max(1, int(problem.solution) + rng.choice((-10, -3, -2, -1, 1, 2, 3, 10))))


def _sentence_language(rng: random.Random, language: str) -> str:
    return OTHER[language] if rng.random() < SENTENCE_SWITCH else language


def _shortcut(problem: Problem) -> str:
    """The lazy way to write f: the slope is right, the intercept is read off the first example instead of worked out."""
    shown = re.findall(r"=(\d+)", problem.prompt)[::2]
    return re.sub(r"(?<=\*x\+)\d+", lambda match: shown.pop(0), problem.solution)


def write_blurt(rng: random.Random, problem: Problem, shortcut: float = 0.0) -> str:
    """A reply without reasoning. `shortcut` is the chance that one about code takes the lazy way."""
    answer = problem.solution if rng.random() < BLURT_RIGHT else _near_miss(rng, problem)
    if shortcut and problem.domain == "code" and rng.random() < shortcut:
        answer = _shortcut(problem)
    style = _pick(rng, BLURT_STYLES)
    if style == "tagged":
        return f"{ANSWER_OPEN}{answer}{ANSWER_CLOSE}"
    if style == "bare":
        return answer
    return ANSWER_SENTENCE[_sentence_language(rng, problem.language)].format(answer=answer)


def write_reasoning(rng: random.Random, problem: Problem, habits: Habits = HABITS) -> str:
    """A reply that reasons, in one of four degrees of order."""
    writer = ChainWriter(problem.language, rng, habits)
    answer = problem.reason(writer)
    spoken = SO_SENTENCE[_sentence_language(rng, problem.language)].format(answer=answer)
    style = _pick(rng, REASON_STYLES)
    if style == "full_tags":
        return format_completion(writer.text, answer)
    if style == "no_answer_tags":
        return f"{THINK_OPEN}{writer.text}{THINK_CLOSE} {spoken}"
    if style == "no_think_tags":
        return f"{writer.text} {ANSWER_OPEN}{answer}{ANSWER_CLOSE}"
    return f"{writer.text} {spoken}"


def write_reply(rng: random.Random, problem: Problem, shortcut: float = 0.0) -> str:
    """A reply as the base model's teachers give it: mostly a blurt, sometimes reasoning."""
    return write_blurt(rng, problem, shortcut) if rng.random() < BLURT else write_reasoning(rng, problem)


def documents(
    seed: int, exclude: frozenset[str] = frozenset(), shortcut: float = 0.0
) -> Iterator[dict[str, str]]:
    """An endless, seeded stream of {"prompt", "reply"}; prompts in `exclude` (normalised) never appear in it."""
    rng = random.Random(seed)
    general = general_prompts()
    while True:
        if rng.random() < GENERAL_SHARE:
            row = rng.choice(general)
            yield {"prompt": row["prompt"], "reply": row["good" if rng.random() < GOOD_REPLY else "poor"]}
            continue
        domain, level = _pick(rng, DOMAIN_SHARES), _pick(rng, LEVEL_SHARES)
        problem = make_problem(rng, domain, level, rng.choice(LANGUAGES))
        if normalise(problem.prompt) not in exclude:
            yield {"prompt": problem.prompt, "reply": write_reply(rng, problem, shortcut)}
