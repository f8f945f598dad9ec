"""Five kinds of problem in four domains, two languages and three levels. Each can be reasoned out link by link.

A level is a number of links in the chain of thought: hard needs more of them than anything the RL stage trains on. A
link is a sum, a difference, a product or a quotient of small whole numbers, or one look at a sentence; links do not get
harder with the level. Code is the exception: its hard problems also ask for two lines instead of one.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from tinyworld.chain import OPERATORS, ChainWriter

LANGUAGES = ("en", "id")
LEVELS = ("easy", "medium", "hard")
DOMAINS = {
    "arithmetic": "math",
    "equation": "math",
    "logic": "logic",
    "code": "code",
}  # domain -> its verifier
NAMES = ("Ani", "Budi", "Citra", "Dewi", "Eko", "Fitri", "Gita", "Hadi", "Intan", "Joko")
LARGEST = 99  # no intermediate result of arithmetic and equations is larger


@dataclass(frozen=True)
class Problem:
    """One question, its solution, and `reason`, which makes a writer work it out and returns the answer found."""

    prompt: str
    solution: str
    kind: str
    domain: str
    language: str
    level: str
    reason: Callable[[ChainWriter], str]
    tests: str = ""

    @property
    def verifier(self) -> str:
        return DOMAINS[self.domain]


# ---------------------------------------------------------------------------------------------- arithmetic
ITEMS = {"en": ("eggs", "books", "coins", "cakes", "balls"), "id": ("telur", "buku", "koin", "kue", "bola")}
OWNS = {"en": "{name} has {n} {item}.", "id": "{name} punya {n} {item}."}
EVENTS = {
    "+": {"en": ("buys {n}", "gets {n}", "finds {n}"), "id": ("beli {n}", "dapat {n}", "temukan {n}")},
    "-": {"en": ("loses {n}", "sells {n}", "gives {n}"), "id": ("hilang {n}", "jual {n}", "beri {n}")},
    "*": {"en": ("has {n} times as many",), "id": ("jadi {n} kali",)},
    "/": {"en": ("keeps one of {n} parts",), "id": ("simpan satu dari {n} bagian",)},
}
HOW_MANY = {"en": "How many {item} now?", "id": "Berapa {item} sekarang?"}


def _next_operation(rng: random.Random, value: int, signs: str) -> tuple[str, int]:
    """A sign and a number that keep `value` a whole number between 1 and LARGEST."""
    while True:
        sign = rng.choice(signs)
        number = rng.randint(2, 5) if sign in "*/" else rng.randint(2, 30)
        if sign == "/" and value % number:
            continue
        if 1 <= OPERATORS[sign](value, number) <= LARGEST:
            return sign, number


def make_arithmetic(rng: random.Random, level: str, language: str) -> Problem:
    """A pile that grows and shrinks: 1-2 links (easy), 3-4 (medium), 5-6 (hard)."""
    links = {"easy": (1, 2), "medium": (3, 4), "hard": (5, 6)}[level]
    start = value = rng.randint(5, 40)
    operations = []
    for _ in range(rng.randint(*links)):
        sign, number = _next_operation(rng, value, "++--**/")
        operations.append((sign, number))
        value = OPERATORS[sign](value, number)
    name, item = rng.choice(NAMES), rng.choice(ITEMS[language])
    story = [OWNS[language].format(name=name, n=start, item=item)]
    story += [f"{name} {rng.choice(EVENTS[sign][language]).format(n=number)}." for sign, number in operations]

    def reason(writer: ChainWriter) -> str:
        result = start
        for sign, number in operations:
            result = writer.compute(result, sign, number)
        return str(result)

    prompt = " ".join([*story, HOW_MANY[language].format(item=item)])
    return Problem(prompt, str(value), "arithmetic", "arithmetic", language, level, reason)


# ------------------------------------------------------------------------------------------------ equation
SOLVE = {"en": "Solve for x: {equation}", "id": "Cari nilai x: {equation}"}
INVERSE = {"+": "-", "-": "+", "*": "/"}


def make_equation(rng: random.Random, level: str, language: str) -> Problem:
    """A nested linear equation, undone from the outside in: 1-2 links (easy), 3 (medium), 4-5 (hard)."""
    links = {"easy": (1, 2), "medium": (3, 3), "hard": (4, 5)}[level]
    unknown = value = rng.randint(2, 30)
    left, operations = "x", []
    for _ in range(rng.randint(*links)):
        sign, number = _next_operation(rng, value, "+-*")
        if sign == "*" and operations and operations[-1][0] != "*":
            left = f"({left})"
        left = f"{left}{sign}{number}"
        operations.append((sign, number))
        value = OPERATORS[sign](value, number)
    total = value

    def reason(writer: ChainWriter) -> str:
        result = total
        for sign, number in reversed(operations):
            result = writer.compute(result, INVERSE[sign], number)
        return str(result)

    prompt = SOLVE[language].format(equation=f"{left}={total}")
    return Problem(prompt, str(unknown), "equation", "equation", language, level, reason)


# --------------------------------------------------------------------------------------------------- logic
FRONT = {"en": "{a} is in front.", "id": "{a} paling depan."}
BEHIND = {"en": "{b} is behind {a}.", "id": "{b} di belakang {a}."}
PLACE = {"en": "number {k} is {a}", "id": "nomor {k} adalah {a}"}
WHO_IS = {"en": "Who is number {k}?", "id": "Siapa nomor {k}?"}


def make_ordering(rng: random.Random, level: str, language: str) -> Problem:
    """A queue told out of order: walk 3 places (easy), 4-5 (medium), 6-7 (hard) from its front."""
    positions = rng.randint(*{"easy": (3, 3), "medium": (4, 5), "hard": (6, 7)}[level])
    queue = rng.sample(NAMES, positions + rng.randint(0, 1))
    facts = [FRONT[language].format(a=queue[0])]
    facts += [BEHIND[language].format(a=a, b=b) for a, b in pairwise(queue)]
    rng.shuffle(facts)

    def reason(writer: ChainWriter) -> str:
        last = ""
        for position, name in enumerate(queue[:positions], start=1):
            slips = [other for other in queue if other != name]
            last = writer.conclude(
                name,
                slips,
                lambda stated, k=position: {lang: PLACE[lang].format(k=k, a=stated) for lang in PLACE},
            )
        return last

    prompt = " ".join([*facts, WHO_IS[language].format(k=positions)])
    return Problem(prompt, queue[positions - 1], "ordering", "logic", language, level, reason)


VERDICT = {"en": {True: "is honest", False: "lies"}, "id": {True: "jujur", False: "bohong"}}
SAYS = {"en": "{a} says {b} {verdict}.", "id": "{a} bilang {b} {verdict}."}
WHO_LIES = {"en": "Who lies?", "id": "Siapa yang bohong?"}


def make_truth(rng: random.Random, level: str, language: str) -> Problem:
    """Honest people and liars who speak about each other: 3 people (easy), 4 (medium), 5-6 (hard)."""
    people = rng.sample(NAMES, rng.randint(*{"easy": (3, 3), "medium": (4, 4), "hard": (5, 6)}[level]))
    honest = [True]
    while all(honest):  # somebody must lie, or the question has no answer
        honest = [True, *(rng.random() < 0.5 for _ in people[1:])]
    claims = []
    for speaker in range(len(people) - 1):
        told = honest[speaker + 1] == honest[speaker]  # a liar tells the opposite of what is so
        claims.append(
            SAYS[language].format(a=people[speaker], b=people[speaker + 1], verdict=VERDICT[language][told])
        )
    rng.shuffle(claims)

    def reason(writer: ChainWriter) -> str:
        liars, flipped = [], False
        for index, (name, truth) in enumerate(zip(people, honest, strict=True)):
            believed = truth != flipped
            stated = writer.conclude(
                believed,
                [not believed] if index else [],
                lambda verdict, name=name: {lang: f"{name} {VERDICT[lang][verdict]}" for lang in VERDICT},
            )
            flipped = stated != truth  # a wrong verdict turns everything that hangs on it around
            if not stated:
                liars.append(name)
        return ", ".join(liars) or "-"

    start = f"{people[0]} {VERDICT[language][True]}."
    prompt = " ".join([start, *claims, WHO_LIES[language]])
    solution = ", ".join(name for name, truth in zip(people, honest, strict=True) if not truth)
    return Problem(prompt, solution, "truth", "logic", language, level, reason)


# ---------------------------------------------------------------------------------------------------- code
WRITE_LINE = {"en": "Write the line f: {examples}.", "id": "Tulis garis f: {examples}."}
WRITE_PARITY = {
    "en": "Write f, even and odd lines: {examples}.",
    "id": "Tulis f, garis genap dan ganjil: {examples}.",
}


def _line(rng: random.Random) -> tuple[int, int]:
    return rng.randint(2, 9), rng.randint(1, 20)


def _source(lines: list[tuple[int, int]]) -> str:
    pieces = [f"{slope}*x+{intercept}" for slope, intercept in lines]
    body = pieces[0] if len(pieces) == 1 else f"{pieces[0]} if x%2==0 else {pieces[1]}"
    return f"def f(x): return {body}"


def make_code(rng: random.Random, level: str, language: str) -> Problem:
    """Write f from examples: one line from neighbouring points (easy, 3 links), from points apart (medium, 5 links),
    or one line for even and one for odd x (hard, 8 links). Other points of the same f are the hidden tests."""
    pieces = [_line(rng)]
    if level == "hard":
        pieces.append(_line(rng))
    if level == "easy":
        first = rng.randint(1, 8)
        points = [(first, first + 1)]
    elif level == "medium":
        first = rng.randint(1, 6)
        points = [(first, first + rng.randint(2, 4))]
    else:
        points = [(first, first + 2) for first in (rng.choice((2, 4, 6)), rng.choice((1, 3, 5, 7)))]

    def value(x: int) -> int:
        slope, intercept = pieces[x % len(pieces)]
        return slope * x + intercept

    def reason(writer: ChainWriter) -> str:
        found = []
        for low, high in points:
            slope = writer.compute(value(high), "-", value(low))
            if level == "medium":
                slope = writer.compute(slope, "/", writer.compute(high, "-", low) or 1)
            elif level == "hard":
                slope = writer.compute(slope, "/", 2)
            found.append((slope, writer.compute(value(low), "-", writer.compute(slope, "*", low))))
        return _source(found)

    shown = [x for pair in points for x in pair]
    hidden = [x for x in range(12) if x not in shown]
    cases = [[[x], value(x)] for x in sorted(rng.sample(hidden, 4))]
    tests = json.dumps({"function": "f", "cases": cases}, separators=(",", ":"))
    question = WRITE_PARITY if level == "hard" else WRITE_LINE
    prompt = question[language].format(examples=", ".join(f"f({x})={value(x)}" for x in shown))
    return Problem(prompt, _source(pieces), "code", "code", language, level, reason, tests)


MAKERS = {
    "arithmetic": (make_arithmetic,),
    "equation": (make_equation,),
    "logic": (make_ordering, make_truth),
    "code": (make_code,),
}


def make_problem(rng: random.Random, domain: str, level: str, language: str) -> Problem:
    """A fresh problem of a domain, level and language; the same state of `rng` gives the same problem."""
    return rng.choice(MAKERS[domain])(rng, level, language)


def normalise(prompt: str) -> str:
    """The form in which two prompts count as the same text."""
    return " ".join(prompt.lower().split())
