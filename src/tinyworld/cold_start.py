"""What the cold start needs of the tiny world, as rows for data/problems: the phrases of its chains, and worked examples."""

import random

from r1lab.prompts import format_completion
from tinyworld.chain import CHECKS, LINKS, OPENERS, ChainWriter, Habits
from tinyworld.corpus import ANSWER_SENTENCE, SO_SENTENCE
from tinyworld.generators import BEHIND, DOMAINS, FRONT, LANGUAGES, PLACE, SAYS, VERDICT
from tinyworld.splits import fresh_problems

# Of every domain and language. A few-shot prompt holds two of them.
EXAMPLES = 8
# An example reasons step by step and verifies about every other step.
HABITS = Habits(check_idle=0.5)


def phrase_rows() -> list[dict[str, str]]:
    """The same thing said in each language: {"kind", "en", "id"}. They are the very constants that write the corpus."""
    lists = {"opener": OPENERS, "link": LINKS}
    phrases = [
        (kind, {"en": en, "id": id_}) for kind in lists for en, id_ in zip(*lists[kind].values(), strict=True)
    ]
    phrases += [("check", CHECKS), ("position", PLACE)]
    for kind, truth in (("honest", True), ("liar", False)):
        phrases.append((kind, {language: VERDICT[language][truth] for language in LANGUAGES}))
    phrases += [("answer", SO_SENTENCE), ("answer", ANSWER_SENTENCE)]
    phrases += [("front", FRONT), ("behind", BEHIND), ("claim", SAYS)]
    return [{"kind": kind, **phrase} for kind, phrase in phrases]


def example_rows(seed: int, exclude: frozenset[str]) -> list[dict[str, str]]:
    """EXAMPLES easy problems of each domain and language, solved: {"domain", "language", "prompt", "completion"}.

    Their prompts differ from each other and from those in `exclude` (normalised).
    """
    rng, seen, rows = random.Random(seed), set(exclude), []
    for domain in DOMAINS:
        for language in LANGUAGES:
            for problem in fresh_problems(rng, seen, domain, "easy", language, EXAMPLES):
                writer = ChainWriter(language, rng, HABITS)
                answer = problem.reason(writer)
                completion = format_completion(writer.text, answer)
                row = {"domain": domain, "language": language, "prompt": problem.prompt}
                rows.append({**row, "completion": completion})
    return rows
