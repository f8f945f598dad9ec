"""The exercises: solved ones pass their own check, empty and wrong ones are told why, learner's copies hold no solution."""

import functools
import re

import nbformat
import pytest
from course import execute, notebook_paths, tags, to_text
from exercises import FOLDER, SOLUTION, deeper, learner_copy, skeleton
from notebook_cells import earlier_code, run_cells

PATHS = notebook_paths()
HEADING = re.compile(r"\*\*Exercise \d+: [^*]+\*\* \((easy|medium|hard), \d+ minutes( of \w+)?\)")

# Wrong answers that a learner might give, and what the message must name: (notebook, function) -> [(source, said)].
WRONG = {
    ("00", "any_right"): [
        ("def any_right(p, k):\n    return p * k", "it gives 1.6; expected 0.8704. Hint: What is the chance"),
        ("def any_right(p, k):\n    return 1 - p**k", "it gives 0.6; expected 0.4"),
    ],
    ("00", "problems_needed"): [
        ("def problems_needed(width):\n    return 4 / width**2", "it gives 16; expected 12"),
        ("def problems_needed(width):\n    return wilson_interval(width)", "it raised TypeError"),
    ],
    ("01", "leave_one_out"): [
        ("def leave_one_out(rewards):\n    return rewards - rewards.mean()", "expected [1.33"),
        ("def leave_one_out(rewards):\n    return rewards.sum()", "Hint: The others are G - 1"),
    ],
    ("01", "clip_higher"): [
        ("def clip_higher(ratio, advantage):\n    return ratio * advantage", "it gives 1.5; expected 1.28"),
        (
            "def clip_higher(ratio, advantage):\n    return ratio.clamp(0.8, 1.28) * advantage",
            "it gives 0.8; expected 0.5",
        ),
    ],
    ("01", "hack"): [
        ('def hack():\n    return "The answer is 14."', "'grader': 1.0"),
        ('def hack():\n    return "The answer is 99."', "'10 or more': False"),
    ],
    ("02", "overlong"): [
        (
            "def overlong(length, max_len, cache):\n    return -1.0 if length > max_len else 0.0",
            "expected -0.05",
        ),
        (
            "def overlong(length, max_len, cache):\n    return (max_len - cache - length) / cache",
            "it gives 4",
        ),
    ],
    ("02", "strict_format"): [
        ("def strict_format(text):\n    return float('</answer>' in text)", "it gives 1; expected 0"),
        (
            "def strict_format(text):\n    return float(bool(re.fullmatch("
            "r'<think>.+</think>\\s*<answer>.+</answer>\\s*', text, re.DOTALL)))",
            "8 of 11 cases agree",
        ),
    ],
    ("02", "group_length"): [
        (
            "def group_length(lengths, correct):\n    return [float(c) for c in correct]",
            "expected [0.5, 0.0, -0.5]",
        ),
        (
            "def group_length(lengths, correct):\n    low, high = min(lengths), max(lengths)\n"
            "    return [0.5 - (n - low) / (high - low) for n in lengths]",
            "it gives [0.5, 0.0, -0.5]; expected [0.0, 0.0, -0.5]",
        ),
    ],
    ("02", "break_even"): [
        ("def break_even(a1, n1, a2, n2):\n    return a2 / n2 - a1 / n1", "expected 0.02"),
        ("def break_even(a1, n1, a2, n2):\n    return (n2 - n1) / (a2 - a1)", "it gives 50"),
    ],
    ("03", "group_advantages"): [
        (
            "def group_advantages(rewards, size):\n    mean = sum(rewards) / len(rewards)\n"
            "    return [r - mean for r in rewards]",
            "expected",
        ),
        ("def group_advantages(rewards, size):\n    return rewards[:size]", "expected"),
    ],
    ("03", "objective_of"): [
        (
            "def objective_of(ratio, advantage, low, high, delta):\n"
            "    return min(ratio, max(1 - low, min(ratio, 1 + high))) * advantage",
            "objective_of(0.5, -1, 0.2, 0.28, 3) it gives -0.5; expected -0.8",
        ),
        (
            "def objective_of(ratio, advantage, low, high, delta):\n"
            "    return min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)",
            "6 of 7 cases agree",
        ),
    ],
    ("03", "step_loss"): [
        (
            "def step_loss(micro_batches):\n    return sum(map(sum, micro_batches)) / len(micro_batches)",
            "expected 1.5",
        ),
        ("step_loss = step_loss_as_found", "it gives 2.5; expected 1.75. Hint"),
    ],
    ("04", "chance_mixed"): [
        ("def chance_mixed(p, size):\n    return 2 * p * (1 - p)", "chance_mixed(0.5, 8)"),
        ("def chance_mixed(p, size):\n    return 1 - (1 - p) ** size", "it gives 0.75; expected 0.5"),
    ],
    ("04", "unbiased_pass_at_k"): [
        (
            "def unbiased_pass_at_k(n, c, k):\n    return 1 - (1 - c / n) ** k",
            "unbiased_pass_at_k(8, 2, 4) it gives 0.6836; expected 0.7857",
        ),
        ("def unbiased_pass_at_k(n, c, k):\n    return c / n", "expected 0.7857"),
    ],
    ("05", "make_labels"): [
        (
            "def make_labels(prompt_ids, completion_ids, length):\n"
            "    return [-100] * (length - len(completion_ids)) + completion_ids",
            "expected [-100, -100, 7, 8, -100, -100]",
        ),
        (
            "def make_labels(prompt_ids, completion_ids, length):\n"
            "    return (prompt_ids + completion_ids + [-100] * length)[:length]",
            "it gives [5, 6, 7, 8]",
        ),
    ],
    ("05", "packed_rows"): [
        (
            "def packed_rows(lengths, size):\n    return -(-sum(lengths) // size)",
            "packed_rows([5, 5, 5], 8) it gives 2; expected 3",
        ),
        ("def packed_rows(lengths, size):\n    return len(lengths)", "it gives 5; expected 2"),
    ],
    ("06", "gated"): [
        (
            "def gated(correct, well_formed, share):\n    return correct + 0.5 * well_formed + 0.5 * share",
            "gated(0, 1, 1) it gives 1; expected 0.5",
        ),
        ("def gated(correct, well_formed, share):\n    return correct * share", "it gives 1; expected 2"),
    ],
    ("06", "lone_winner"): [
        ("def lone_winner(group_size, delta):\n    return delta", "expected 2.475"),
        ("def lone_winner(group_size, delta):\n    return (group_size - 1) ** 0.5", "it gives 2.646"),
    ],
    ("07", "expected_kept"): [
        ("def expected_kept(p, k, cap):\n    return min(k * p, cap)", "it gives 1; expected 0.9375"),
        ("def expected_kept(p, k, cap):\n    return 1 - (1 - p) ** k", "it gives 0.9375; expected 2"),
    ],
    ("07", "alike"): [
        (
            "def alike(one, other):\n    return len(one & other) / max(len(one), len(other))",
            "it gives 0.5; expected 0.333",
        ),
        (
            "def alike(one, other):\n    return len(one & other) / len(one | other)",
            "it raised ZeroDivisionError",
        ),
    ],
    ("08", "best_policy"): [
        (
            "def best_policy(reference, scores, beta):\n    return [p * math.exp(s / beta) for p, s in zip(reference, scores)]",
            "expected [0.731",
        ),
        (
            "def best_policy(reference, scores, beta):\n    weights = [p * math.exp(s / beta) for p, s in zip(reference, scores)]\n"
            "    return [weight / sum(weights) for weight in weights]",
            "it raised OverflowError",
        ),
    ],
    ("08", "pair_loss"): [
        (
            "def pair_loss(chosen, rejected):\n    return sum(math.log(1 + math.exp(a - b)) for a, b in zip(chosen, rejected)) / len(chosen)",
            "expected 0.1269",
        ),
        (
            "def pair_loss(chosen, rejected):\n    return sum(math.log(1 + math.exp(b - a)) for a, b in zip(chosen, rejected))",
            "expected 1.4",
        ),
    ],
    ("09", "mixture_divergence"): [
        (
            "def mixture_divergence(p, q, beta):\n    return beta * float(kl(torch.tensor(p), torch.tensor(q)))",
            "expected 0.1017",
        ),
        (
            "def mixture_divergence(p, q, beta):\n    return sum(a - b for a, b in zip(p, q))",
            "expected 0.1017",
        ),
    ],
    ("09", "kept_shares"): [
        (
            "def kept_shares(share, solved):\n    return [a * b for a, b in zip(share, solved)]",
            "expected [0.75",
        ),
        ("def kept_shares(share, solved):\n    return solved", "expected [0.75"),
    ],
    ("10", "pass_product"): [
        (
            "def pass_product(n, c, k):\n    return 1 - (1 - c / n) ** k",
            "pass_product(4, 2, 2) it gives 0.75; expected 0.8333",
        ),
        ("def pass_product(n, c, k):\n    return min(1.0, k * c / n)", "it gives 1; expected 0.8333"),
    ],
    ("10", "problems_needed"): [
        ("def problems_needed(p, q):\n    return int(1 / (q - p) ** 2)", "expected 2955"),
        (
            "def problems_needed(p, q):\n    return int(np.ceil(p * (1 - p) * (1.96 / (q - p)) ** 2))",
            "it gives 1537; expected 2955",
        ),
    ],
}


def read(path):
    return nbformat.read(path, as_version=4)


@functools.cache
def exercises(path):
    """(function, cell of its solution, cell of its check) for every solved exercise of a notebook."""
    notebook, found = read(path), []
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and SOLUTION in tags(cell):
            (name,) = re.findall(r"^def (\w+)", cell.source, re.MULTILINE)
            checks = (
                j
                for j, later in enumerate(notebook.cells)
                if j > i and later.cell_type == "code" and "check(" in later.source
            )
            found.append((name, i, next(checks)))
    return notebook, found


EXERCISES = [(path, name) for path in PATHS for name, _, _ in exercises(path)[1]]
each_exercise = pytest.mark.parametrize(
    ("path", "name"), EXERCISES, ids=lambda value: getattr(value, "stem", value)
)


def answer(path, name, source=None):
    """What the check of one exercise says when its solution cell holds `source` (None: as it is)."""
    notebook, found = exercises(path)
    solved, checked = next((i, j) for function, i, j in found if function == name)
    replaced = {} if source is None else {solved: source}
    return run_cells(notebook, [solved, checked], replaced)[checked]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_two_to_four_exercises_with_difficulty_minutes_and_a_check(path):
    notebook, found = exercises(path)
    headings = [
        match.group()
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for match in HEADING.finditer(cell.source)
    ]
    assert 2 <= len(headings) <= 4, headings
    assert len(found) >= 2
    assert not re.search(
        r"^def \w+\(.*\n +\.\.\.", "\n".join(c.source for c in notebook.cells), re.MULTILINE
    ), "an exercise of the old form: no solution in it"


@each_exercise
def test_the_solution_passes_its_own_check(path, name):
    assert re.search(r"(all \d+ cases agree|it is right)\. Well done\.", answer(path, name))


@each_exercise
def test_an_empty_exercise_is_said_to_be_empty(path, name):
    notebook, found = exercises(path)
    (source,) = [skeleton(notebook.cells[i].source) for function, i, _ in found if function == name]
    assert "not written yet." in answer(path, name, source)


@each_exercise
def test_wrong_answers_are_told_what_was_expected(path, name):
    wrong = WRONG[path.name[:2], name]
    assert len(wrong) >= 2
    for source, said in wrong:
        message = answer(path, name, source)
        assert "Well done" not in message and said in message and "Hint: " in message, message


# --- the learner's copies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_committed_copy_is_the_one_that_make_exercises_makes(path):
    copy = FOLDER / path.name
    assert copy.is_file() and copy.read_text(encoding="utf-8") == to_text(
        learner_copy(read(path), path.name)
    ), f"{path.name} changed, its learner's copy did not: run `make exercises`"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_no_solution_is_left_in_the_copy(path):
    notebook, found = exercises(path)
    copied = "\n".join(cell.source for cell in learner_copy(notebook, path.name).cells)
    for _, i, _ in found:
        source = notebook.cells[i].source
        assert skeleton(source) in copied and source.partition("\n")[2] not in copied
    for cell in notebook.cells:
        if SOLUTION in tags(cell) and cell.cell_type == "markdown":
            assert cell.source not in copied
    assert all(not cell.get("outputs") for cell in learner_copy(notebook, path.name).cells)
    assert f"main/notebooks/exercises/{path.name}" in copied and f"(../{path.name})" in copied


@pytest.mark.slow
def test_an_unsolved_copy_runs_to_its_end_and_says_what_is_left():
    copy = read(FOLDER / "01_rl_basics.ipynb")
    execute(copy, FOLDER, "01_rl_basics.ipynb")  # raises at the first cell that fails
    said = "".join(output.get("text", "") for cell in copy.cells for output in cell.get("outputs", []))
    assert said.count("not written yet.") == 3 and "Well done" not in said


def test_a_skeleton_keeps_signature_and_docstring_and_nothing_else():
    source = '# @title Solution\ndef f(a,\n      b=1):\n    """What it does."""\n    secret = a\n    return secret\n'
    assert skeleton(source) == 'def f(a,\n      b=1):\n    """What it does."""\n    ...'
    assert skeleton("def f(a):\n    return a") == "def f(a):\n    ..."
    with pytest.raises(ValueError, match="defines no function"):
        skeleton("x = 1")


def test_links_move_one_folder_down_and_links_between_notebooks_stay():
    said = "![a](../images/a.svg) [n](01_rl_basics.ipynb#x) [d](drafts/08.ipynb) [w](https://e.org) [h](#top) <img src='b.png'>"
    assert deeper(said) == (
        "![a](../../images/a.svg) [n](01_rl_basics.ipynb#x) [d](../drafts/08.ipynb) [w](https://e.org) [h](#top) "
        "<img src='../b.png'>"
    )


def test_only_what_an_exercise_needs_is_run_before_it():
    cells = [
        "import os, math\nfrom re import sub",
        "slow = 1 / 0",
        "x = 2\ny = math.pi",
        "def f(slow):\n    return slow",
    ]
    assert earlier_code(cells, {"y"}) == ["import os, math", cells[2]]
    assert earlier_code(cells, {"f"}) == [cells[3]]
