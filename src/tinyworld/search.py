"""The domain `search`: which two of four numbers make the target, by adding or multiplying them?

    Use two of the numbers 4, 9, 3 and 6 to make 27.

    4+9=13 low
    4*9=36 high
    4+3=7 low
    4*3=12 low
    4+6=10 low
    4*6=24 low
    9+3=12 low
    9*3=27 fits

The reasoning tries the combinations in a fixed order, one line each, and compares each result with the target. So the next line
follows from the lines before it, and a model of a million parameters can learn to write it. What the base does not do is carry
on: after every line that does not fit, the writers of its corpus give up more often than not, and answer with their last try.
The answer is right if the search went on until a line fitted, so accuracy depends on how long the policy thinks.

The verifier is `countdown` with use_all=False: any expression that makes the target counts.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from r1lab.prompts import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN, format_completion

LANGUAGES = ("en", "id")
COUNT = 4  # numbers in a problem
SMALLEST, LARGEST = 2, 12  # the numbers of the multiplication tables: 121 sums and 121 products to learn
SIGNS = "+*"  # tried in this order for every pair
DEPTHS = COUNT * (COUNT - 1) // 2 * len(SIGNS)  # 12 lines: six pairs with two signs each
# A problem's depth is the number of the first line that fits, from 0. Levels are thirds of the search.
LEVELS = {"easy": range(0, 4), "medium": range(4, 8), "hard": range(8, DEPTHS)}
SPLIT_SETS = {"test": 50, "validation": 20}  # sets of four numbers; the other 260 of all 330 are for training

QUESTION = {
    "en": "Use two of the numbers {a}, {b}, {c} and {d} to make {target}.",
    "id": "Pakai dua dari angka {a}, {b}, {c} dan {d} agar hasilnya {target}.",
}
TRIED = {"en": "I tried:", "id": "Sudah kucoba:"}
VERDICT = {"en": ("low", "fits", "high"), "id": ("kurang", "pas", "lebih")}
ANSWER = {"en": "The answer is {answer}.", "id": "Jawabannya {answer}."}
SO = {"en": "So the answer is {answer}.", "id": "Jadi jawabannya {answer}."}

# Above one half, so that greedy decoding gives up after the first line. Much higher, and no completion of a group of 16
# searches far enough to show RL that searching pays.
GIVE_UP = 0.58  # chance to stop after a line that does not fit; the same at every line
BLURT = 0.6  # of the documents that ask a question from its start: an answer without reasoning
# In these the question lists the lines already tried. They teach how to go on from any line; without them the base would read
# a twelfth line once in 14,000 chains of thought and could not write it.
CONTINUED = 0.5  # of all documents
# The same at every line of every document. Where it differs, the base learns to guess the verdict from the kind of document
# instead of comparing two numbers. The corpus's problems are mostly easy; the problems of the splits are not.
FITS = 0.4
BLURT_STYLES = {"sentence": 0.7, "bare": 0.15, "tagged": 0.15}
REASON_STYLES = {"full_tags": 0.4, "no_think_tags": 0.2, "no_answer_tags": 0.1, "no_tags": 0.3}

Numbers = tuple[int, ...]


@dataclass(frozen=True)
class Try:
    """One combination of two numbers."""

    left: int
    sign: str
    right: int

    @property
    def expression(self) -> str:
        return f"{self.left}{self.sign}{self.right}"

    @property
    def value(self) -> int:
        return self.left + self.right if self.sign == "+" else self.left * self.right


@dataclass(frozen=True)
class Search:
    """One problem. `numbers` are in the order of the question, which is the order in which the pairs are tried."""

    numbers: Numbers
    target: int
    language: str

    @cached_property
    def tries(self) -> list[Try]:
        """All combinations, in the order in which the reasoning tries them."""
        return all_tries(self.numbers)

    @cached_property
    def depth(self) -> int:
        """Number of the first line that fits, from 0."""
        return [one.value for one in self.tries].index(self.target)

    @property
    def level(self) -> str:
        return next(level for level, depths in LEVELS.items() if self.depth in depths)

    @property
    def solution(self) -> str:
        return self.tries[self.depth].expression

    @property
    def prompt(self) -> str:
        names = dict(zip("abcd", self.numbers, strict=True))
        return QUESTION[self.language].format(**names, target=self.target)

    @property
    def canonical(self) -> Numbers:
        """What a twin shares: the four numbers, whatever their order, the target and the language."""
        return tuple(sorted(self.numbers))

    def line(self, k: int) -> str:
        """Line `k` of the reasoning, from 0: a combination, its value, and how it compares with the target."""
        one = self.tries[k]
        compared = (one.value > self.target) - (one.value < self.target)
        return f"{one.expression}={one.value} {VERDICT[self.language][compared + 1]}"

    def lines(self, start: int, stop: int) -> str:
        """Lines `start` to `stop - 1`, as they stand in the reasoning."""
        return "\n".join(self.line(k) for k in range(start, stop))

    def row(self, name: str) -> dict:
        """The problem as it is written down. `numbers` and `target` are what the verifier reads."""
        return {
            "id": name,
            "prompt": self.prompt,
            "solution": self.solution,
            "domain": "search",
            "kind": "search",
            "language": self.language,
            "level": self.level,
            "verifier": "countdown",
            "numbers": list(self.numbers),
            "target": self.target,
            "depth": self.depth,
        }


def all_tries(numbers: Sequence[int]) -> list[Try]:
    """Every pair in the order of the question, added and then multiplied."""
    return [Try(left, sign, right) for left, right in combinations(numbers, 2) for sign in SIGNS]


def split_sets(seed: int = 0) -> dict[str, list[Numbers]]:
    """The sets of four numbers of each split. No two splits share a set, so no problem has a twin in another split."""
    sets = list(combinations(range(SMALLEST, LARGEST + 1), COUNT))
    random.Random(seed).shuffle(sets)
    splits, start = {}, 0
    for split, count in SPLIT_SETS.items():
        splits[split], start = sets[start : start + count], start + count
    return {**splits, "train": sets[start:]}


def make_search(rng: random.Random, sets: Sequence[Numbers], language: str, depth: int) -> Search:
    """A fresh problem with one of `sets` in random order, whose first fitting line is number `depth`."""
    while True:
        chosen = rng.choice(sets)
        problem = Search(tuple(rng.sample(chosen, COUNT)), 0, language)
        problem = Search(problem.numbers, problem.tries[depth].value, language)
        # An earlier line may make the same target, and a target that is one of the numbers would need no search.
        if problem.depth == depth and problem.target not in problem.numbers:
            return problem


def make_problems(split: str, count: int, seed: int = 0) -> list[Search]:
    """`count` different problems of a split: every language and depth equally often."""
    rng, sets = random.Random(f"{split} {seed}"), split_sets()[split]
    kinds = [(language, depth) for depth in range(DEPTHS) for language in LANGUAGES]
    problems: dict[Search, None] = {}
    while len(problems) < count:
        problems[make_search(rng, sets, *kinds[len(problems) % len(kinds)])] = None
    return list(problems)


def _pick(rng: random.Random, shares: dict[str, float]) -> str:
    return rng.choices(list(shares), weights=list(shares.values()))[0]


def _first(rng: random.Random, chance: float, start: int, last: int) -> int:
    """The first line from `start` on at which something of this chance happens; `last` at the latest."""
    while start < last and rng.random() >= chance:
        start += 1
    return start


def write_blurt(rng: random.Random, problem: Search) -> str:
    """An answer without reasoning: one of the first combinations, as if the writer had given up there in their head.

    It does not depend on the target. A uniform guess would be right once in twelve times, and then 64 samples would solve
    nearly every problem by luck.
    """
    answer = problem.tries[_first(rng, GIVE_UP, 0, DEPTHS - 1)].expression
    style = _pick(rng, BLURT_STYLES)
    if style == "tagged":
        return f"{ANSWER_OPEN}{answer}{ANSWER_CLOSE}"
    return answer if style == "bare" else ANSWER[problem.language].format(answer=answer)


def write_reasoning(rng: random.Random, problem: Search, start: int = 0) -> str:
    """A search from line `start` until a line fits or the writer gives up. The answer is the last line tried."""
    last = _first(rng, GIVE_UP, start, problem.depth)
    lines, answer = problem.lines(start, last + 1), problem.tries[last].expression
    spoken = SO[problem.language].format(answer=answer)
    style = _pick(rng, REASON_STYLES)
    if style == "full_tags":
        return format_completion(lines, answer)
    if style == "no_answer_tags":
        return f"{THINK_OPEN}{lines}{THINK_CLOSE} {spoken}"
    if style == "no_think_tags":
        return f"{lines}\n{ANSWER_OPEN}{answer}{ANSWER_CLOSE}"
    return f"{lines}\n{spoken}"


def write_document(rng: random.Random, sets: Sequence[Numbers]) -> dict[str, str]:
    """A question and a reply: from the start of the search, or from a line further down."""
    start = rng.randint(1, DEPTHS - 1) if rng.random() < CONTINUED else 0
    problem = make_search(rng, sets, rng.choice(LANGUAGES), _first(rng, FITS, start, DEPTHS - 1))
    if start:
        prompt = f"{problem.prompt} {TRIED[problem.language]}\n{problem.lines(0, start)}"
        return {"prompt": prompt, "reply": write_reasoning(rng, problem, start)}
    write = write_blurt if rng.random() < BLURT else write_reasoning
    return {"prompt": problem.prompt, "reply": write(rng, problem)}


def documents(seed: int) -> Iterator[dict[str, str]]:
    """An endless, seeded stream of {"prompt", "reply"} about the numbers of the training split."""
    rng, sets = random.Random(seed), split_sets()["train"]
    while True:
        yield write_document(rng, sets)
