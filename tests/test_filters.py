"""The filters of sampled completions: each one on hand-made chains, near-duplicates, the cap, and the counts."""

import pytest

from r1lab.prompts import format_completion
from r1lab.scale import SCALES
from r1lab.stages import filters, reject
from r1lab.stages.filters import acceptance, apply_filters, funnel, likeness, statements

TESTS = reject.quality_filters(SCALES["tiny"])


def row(completion, **changes):
    """A rollout that is right and short unless `changes` say otherwise."""
    question = {"id": "a", "prompt": "Ani has 12 eggs. Ani buys 7. How many eggs now?", "level": "easy"}
    graded = {"language": "en", "tokens": 20, "truncated": False, "correct": True}
    return {**question, **graded, "completion": completion, **changes}


def chain(text, answer="19"):
    return format_completion(text, answer)


@pytest.mark.parametrize(
    ("rollout", "reason"),
    [
        (row(chain("First 12+7=19.")), ""),
        (row(chain("Pertama 12+7=19."), language="id"), ""),
        (row(chain("12+7=19.")), ""),  # no function word: no evidence of mixing
        (row(chain("First 12+7=19. Wait, check: 12+7=19.")), ""),  # one check is no repetition
        (row(chain("First 12+7=19."), tokens=97), "over-long"),
        (row(chain("First 12+7=19."), truncated=True), "over-long"),
        (row("First 12+7=19. So the answer is 19."), "malformed"),
        (row(chain("First 12+7=18.", "18"), correct=False), "wrong answer"),
        (row(chain("First 12+7=19. Then 19*1=19. Then 19*1=19.")), "repeats itself"),
        (row(chain("First 12+7=19. Lalu 19*1=19.")), "mixes languages"),
        (row(chain("Pertama 12+7=19.")), "mixes languages"),
        # The first reason is the one that is named.
        (row("19", correct=False, tokens=97), "over-long"),
        (row("19", correct=False), "malformed"),
    ],
)
def test_a_rollout_is_rejected_for_the_first_thing_that_is_wrong(rollout, reason):
    assert filters.why_rejected(rollout, TESTS) == reason


def test_likeness_is_about_what_is_stated_and_not_how_it_is_linked():
    one = chain("First 12+7=19. Then 19-5=14.")
    assert statements(one) == {"12+7=19", "19-5=14"}
    assert likeness(one, chain("Pertama 12+7=19. Wait, check: 12+7=19. Lalu 19-5=14.")) == 1.0
    assert likeness(one, chain("First 12+7=18. Wait, check: 12+7=19. Then 19-5=14.")) == 2 / 3
    assert likeness(one, chain("First 7-5=2. Then 12+2=14.")) == 0.0 and likeness("", "") == 1.0
    names = "First number 1 is Ani. Next number 2 is Tom."
    assert statements(names) == {"number 1 is ani", "number 2 is tom"}


def test_near_duplicates_are_dropped_within_a_prompt_only():
    texts = ["First 12+7=19. Then 19-5=14.", "First 12+7=19. Next 19-5=14.", "First 7-5=2. Then 2+12=14."]
    pool = [row(chain(text, "14")) for text in texts] + [row(chain(texts[0], "14"), prompt="b")]
    marked = apply_filters(pool, TESTS)
    assert [r["rejected"] for r in marked] == ["", "near-duplicate", "", ""]
    assert [{**r, "rejected": None} for r in marked] == [{**r, "rejected": None} for r in pool]


@pytest.mark.parametrize("cap, last", [(1, ["over the cap", "over the cap"]), (2, ["", "over the cap"])])
def test_the_cap_counts_kept_rollouts_only(cap, last):
    good = map(chain, ("First 1+1=2.", "Then 20*20=400. Next 3+3=6.", "100-81=19."))
    texts = ["bad", *good, "bad"]
    reasons = [r["rejected"] for r in apply_filters(map(row, texts), TESTS, cap=cap)]
    assert reasons == ["malformed", "", *last, "malformed"]


def test_the_counts_add_up():
    pool = [row(chain("First 12+7=19.")), row(chain("Next 12+7=19.")), row("19"), row("19", level="hard")]
    marked = apply_filters(pool, TESTS)
    assert list(funnel(marked, TESTS).values()) == [4, 4, 2, 2, 2, 2, 1]
    easy, hard = (acceptance(marked, "level")[level] for level in ("easy", "hard"))
    assert easy == {"samples": 3, "passed": 2, "kept": 1, "rejected": {"near-duplicate": 1, "malformed": 1}}
    assert hard == {"samples": 1, "passed": 0, "kept": 0, "rejected": {"malformed": 1}}
    assert [r["completion"] for r in filters.keep(marked)] == [pool[0]["completion"]]
