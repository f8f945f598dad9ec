"""Before R1-Zero on a GPU: the tags are taught in seconds, and only problems with a mixed group are kept."""

import json
import random
from collections import Counter
from dataclasses import replace

import pytest

from r1lab.policy import Sample, load_policy
from r1lab.problems import load_problems, take_balanced
from r1lab.prompts import format_completion, parse_completion, render_prompt
from r1lab.scale import DATA, SCALES
from r1lab.stages import prime
from r1lab.stages.prime import keep_teachable, pass_rates, prime_format
from tinyworld.chain import ChainWriter
from tinyworld.generators import make_problem

TINY = replace(SCALES["tiny"], model=str(DATA / "models" / "tiny-base"))


def worked(count):
    """Rows as the hub's adapters make them: question and reasoned reply in our tags."""
    rng, rows = random.Random(0), []
    for _ in range(count):
        problem = make_problem(rng, "arithmetic", "easy", "en")
        writer = ChainWriter("en", rng)
        answer = problem.reason(writer)
        reply = format_completion(writer.text, answer)
        rows.append({"prompt": problem.prompt, "completion": reply, "language": "en"})
    return rows


@pytest.mark.slow
def test_a_few_worked_solutions_teach_the_form(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(prime, "hub_rows", lambda *given: asked.append(given) or (worked(32), {}))
    folder = prime_format(TINY, tmp_path / "primed", learning_rate=1e-3)
    assert asked == [(TINY, TINY.model, prime.ROWS)]
    prompts = [
        render_prompt(p["prompt"], template="bare") for p in load_problems("test") if p["language"] == "en"
    ][:60]
    formed = [
        sum(
            parse_completion(s.text).well_formed
            for (s,) in load_policy(name).generate(prompts, temperature=1.0)
        )
        for name in ("tiny-base", folder)
    ]
    assert formed[0] < 15 and formed[1] > 40, formed
    assert prime_format(TINY, tmp_path / "primed") == folder and len(asked) == 1, "done once"


class Scripted:
    """Says for each problem so many right answers of four."""

    def __init__(self, right):
        self.right, self.asked = right, []

    def generate(self, prompts, *, samples, temperature, max_new_tokens, seed):
        assert (samples, temperature, max_new_tokens) == (4, 1.0, TINY.max_completion_tokens)
        self.asked.append(len(prompts))
        replies = []
        for prompt in prompts:
            n = int(prompt[-1]["content"].split("+")[1].rstrip("?"))
            replies.append(
                [
                    Sample(format_completion("x", str(n if k < self.right[n] else -1)), 3, False)
                    for k in range(samples)
                ]
            )
        return replies


def sums(count):
    return [{"id": f"p{n}", "prompt": f"0+{n}?", "solution": str(n), "language": "en"} for n in range(count)]


def test_problems_with_a_mixed_group_are_kept_the_easy_ones_first(tmp_path):
    policy, problems, file = Scripted([4, 1, 3, 0, 3]), sums(5), tmp_path / "rates.json"
    rates = pass_rates(policy, problems, TINY, file=file)
    assert rates == [1.0, 0.25, 0.75, 0.0, 0.75]
    assert [row["id"] for row in keep_teachable(problems, rates)] == ["p2", "p4", "p1"]
    assert [row["id"] for row in keep_teachable(problems, rates, low=0.25, high=0.8)] == ["p2", "p4"]
    with pytest.raises(ValueError, match=r"none of 5 problems has a pass rate between 0\.8 and 1"):
        keep_teachable(problems, rates, low=0.8)
    assert json.loads(file.read_text()) == {f"p{n}": rate for n, rate in enumerate(rates)}
    policy.right.append(2)
    assert pass_rates(policy, sums(6), TINY, file=file) == [*rates, 0.5]
    assert policy.asked == [5, 1], "what was measured is not measured again"


def test_the_tiny_base_has_mixed_groups_in_more_than_one_domain():
    problems = take_balanced(load_problems("train"), 24)
    kept = keep_teachable(problems, pass_rates(load_policy("tiny-base"), problems, TINY, samples=8))
    assert 6 <= len(kept) < 24 and len(Counter(row["domain"] for row in kept)) > 1
