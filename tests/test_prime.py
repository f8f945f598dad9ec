"""Before R1-Zero on a GPU: the tags are taught in seconds, and only problems with a mixed group are kept."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from r1lab.policy import load_policy
from r1lab.problems import load_problems, read_shipped, take_balanced
from r1lab.prompts import format_completion, parse_completion
from r1lab.rollouts import sample_completions
from r1lab.sampling import Sample
from r1lab.scale import DATA, SCALES
from r1lab.stages import prime
from r1lab.stages.prime import keep_teachable, pass_rates, prime_format

TINY = replace(SCALES["tiny"], model=str(DATA / "models" / "tiny-base"))


@pytest.mark.slow
def test_a_few_worked_solutions_teach_the_form(tmp_path, monkeypatch):
    # Rows as the hub's adapters make them: a question and a reasoned completion in our tags.
    worked, calls = read_shipped("problems", "few_shot"), []
    monkeypatch.setattr(prime, "hub_rows", lambda *given: calls.append(given) or (worked, {}))
    folder = prime_format(TINY, tmp_path / "primed", learning_rate=1e-3)
    assert calls == [(TINY, TINY.model, prime.ROWS)]
    problems = [problem for problem in load_problems("test") if problem["language"] == "en"][:60]

    def formed(name):
        rollouts = sample_completions(load_policy(name), problems)
        return sum(parse_completion(rollout["completion"]).well_formed for (rollout,) in rollouts)

    assert formed("tiny-base") < 15 and formed(folder) > 40
    assert prime_format(TINY, tmp_path / "primed") == folder and len(calls) == 1, "done once"


class Scripted:
    """Gives each problem so many right completions of four; `stops_after` so many calls it is interrupted."""

    def __init__(self, right, stops_after=99):
        self.right, self.calls, self.stops_after = right, [], stops_after

    def generate(self, prompts, *, samples, temperature, max_new_tokens, seed):
        assert (samples, temperature, max_new_tokens) == (4, 1.0, TINY.max_completion_tokens)
        if len(self.calls) == self.stops_after:
            raise KeyboardInterrupt
        self.calls.append((len(prompts), seed))
        numbers = [int(prompt[-1]["content"].split("+")[1].rstrip("?")) for prompt in prompts]
        answers = [[str(n if k < self.right[n] else -1) for k in range(samples)] for n in numbers]
        return [[Sample(format_completion("x", a), 3, False) for a in group] for group in answers]


def sums(count):
    return [{"id": f"p{n}", "prompt": f"0+{n}?", "solution": str(n), "language": "en"} for n in range(count)]


def test_rates_are_saved_chunk_by_chunk_and_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(prime, "CHUNK", 2)
    right, file = [4, 1, 3, 0, 3], tmp_path / "rates.json"
    policy = Scripted(right, stops_after=2)
    with pytest.raises(KeyboardInterrupt):
        pass_rates(policy, sums(5), TINY, file=file)
    assert json.loads(file.read_text()) == {"p0": 1.0, "p1": 0.25, "p2": 0.75, "p3": 0.0}
    again = Scripted([*right, 2])
    assert pass_rates(again, sums(5), TINY, file=file) == [1.0, 0.25, 0.75, 0.0, 0.75]
    # The same chunk with the same seed as without the interruption.
    whole = Scripted(right)
    pass_rates(whole, sums(5), TINY, file=tmp_path / "whole.json")
    assert policy.calls + again.calls == whole.calls
    assert len({seed for _, seed in whole.calls}) == 3, "each chunk has its own"
    assert (tmp_path / "whole.json").read_bytes() == file.read_bytes()
    # A longer list measures only what is new.
    assert pass_rates(again, sums(6), TINY, file=file)[-1] == 0.5
    assert [count for count, _ in again.calls] == [1, 1]


def test_problems_with_a_mixed_group_are_kept_in_a_fixed_random_order():
    problems, rates = sums(40), [n % 5 / 4 for n in range(40)]
    kept = keep_teachable(problems, rates)
    order = [problems.index(problem) for problem in kept]
    assert sorted(order) == [n for n in range(40) if 0 < rates[n] < 1] != order
    assert kept == keep_teachable(problems, rates)
    narrow = keep_teachable(problems, rates, low=0.25, high=0.75)
    assert {rates[problems.index(problem)] for problem in narrow} == {0.5}
    with pytest.raises(ValueError, match=r"none of 40 problems has a pass rate between 0\.8 and 1"):
        keep_teachable(problems, rates, low=0.8)


@pytest.mark.slow
def test_the_tiny_base_has_mixed_groups_in_more_than_one_domain():
    problems = take_balanced(load_problems("train"), 24)
    kept = keep_teachable(problems, pass_rates(load_policy("tiny-base"), problems, TINY, samples=8))
    assert 6 <= len(kept) < 24 and len(Counter(row["domain"] for row in kept)) > 1
