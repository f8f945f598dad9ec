"""The exercises: solutions pass their own check, empty and wrong answers are told why, learner's copies hold no solution."""

import functools
import re

import nbformat
import pytest
from course import execute, notebook_paths, tags
from exercises import FOLDER, SOLUTION, deeper, learner_copy, skeleton
from notebook_cells import earlier_code, run_exercise

PATHS = notebook_paths()

# What a learner might return by mistake, and what the check must tell: notebook, function, expression, message.
# fmt: off
WRONG = [
    ("00", "any_right", "p * k", "it gives 1.6; expected 0.8704. Hint: What is the chance"),
    ("00", "any_right", "1 - p**k", "it gives 0.6; expected 0.4"),
    ("00", "problems_needed", "4 / width**2", "it gives 16; expected 12"),
    ("00", "problems_needed", "wilson_interval(width)", "it raised TypeError"),
    ("01", "leave_one_out", "rewards - rewards.mean()", "expected [1.33"),
    ("01", "leave_one_out", "rewards.sum()", "Hint: The others are G - 1"),
    ("01", "clip_higher", "ratio * advantage", "it gives 1.5; expected 1.28"),
    ("01", "clip_higher", "ratio.clamp(0.8, 1.28) * advantage", "it gives 0.8; expected 0.5"),
    ("01", "logit_change", "-reward * pi", "expected [-0.1, -0.15, -0.05, 0.45, -0.15]"),
    ("01", "logit_change", "reward * pi", "1 of 3 cases agree"),
    ("01", "grpo_step", "theta + learning_rate * (rewards - rewards.mean())", "it raised RuntimeError"),
    ("01", "grpo_step", "theta + learning_rate * ((rewards - rewards.mean())[:, None] * (torch.eye(len(theta))[sampled] - theta.softmax(0))).mean(0)", "1 of 3 cases agree"),
    ("02", "overlong", "-1.0 if length > max_len else 0.0", "expected -0.05"),
    ("02", "overlong", "(max_len - cache - length) / cache", "it gives 4"),
    ("02", "strict_format", "float('</answer>' in text)", "it gives 1; expected 0"),
    ("02", "strict_format", r"float(bool(re.fullmatch(r'<think>.+</think>\s*<answer>.+</answer>\s*', text, re.DOTALL)))", "8 of 11 cases agree"),
    ("02", "group_length", "[float(c) for c in correct]", "expected [0.5, 0.0, -0.5]"),
    ("02", "group_length", "[0.5 - (n - min(lengths)) / (max(lengths) - min(lengths)) for n in lengths]", "it gives [0.5, 0.0, -0.5]; expected [0.0, 0.0, -0.5]"),
    ("02", "break_even", "a2 / n2 - a1 / n1", "expected 0.02"),
    ("02", "break_even", "(n2 - n1) / (a2 - a1)", "it gives 50"),
    ("03", "completion_mask", "ids != end", "it gives [[True, False, False]]; expected [[True, True, False]]"),
    ("03", "completion_mask", "(ids == end).cumsum(1) <= 1", "3 of 4 cases agree"),
    ("03", "step_loss", "sum(map(sum, micro_batches)) / len(micro_batches)", "expected 1.5"),
    ("03", "step_loss", "step_loss_as_found(micro_batches)", "it gives 2.5; expected 1.75. Hint"),
    ("03", "token_gradient", "-ratio * advantage", "token_gradient(0.5, -1, 0.2, 0.28) it gives 0.5"),
    ("03", "token_gradient", "0.0 if not 1 - low <= ratio <= 1 + high else -ratio * advantage", "token_gradient(0.5, 2, 0.2, 0.28) it gives 0; expected -1"),
    ("03", "grpo_loss_from_logits", "loss_by_hand(token_logp(logits, ids), mask, (rewards - rewards.mean()) / (rewards.std() + 1e-4), old_logp, ref_logp, low, low, beta)", "4 of 5 cases agree. For grpo_loss_from_logits('clip-higher')"),
    ("03", "grpo_loss_from_logits", "(-(token_logp(logits, ids) - old_logp).exp() * ((rewards - rewards.mean()) / (rewards.std() + 1e-4))[:, None] * mask).sum() / mask.sum()", "For grpo_loss_from_logits('later update')"),
    ("04", "chance_mixed", "2 * p * (1 - p)", "chance_mixed(0.5, 8)"),
    ("04", "chance_mixed", "1 - (1 - p) ** size", "it gives 0.75; expected 0.5"),
    ("04", "unbiased_pass_at_k", "1 - (1 - c / n) ** k", "unbiased_pass_at_k(8, 2, 4) it gives 0.6836; expected 0.7857"),
    ("04", "unbiased_pass_at_k", "c / n", "expected 0.7857"),
    ("05", "make_labels", "[-100] * (length - len(completion_ids)) + completion_ids", "expected [-100, -100, 7, 8, -100, -100]"),
    ("05", "make_labels", "(prompt_ids + completion_ids + [-100] * length)[:length]", "it gives [5, 6, 7, 8]"),
    ("05", "packed_rows", "-(-sum(lengths) // size)", "packed_rows([5, 5, 5], 8) it gives 2; expected 3"),
    ("05", "packed_rows", "len(lengths)", "it gives 5; expected 2"),
    ("06", "gated", "correct + 0.5 * well_formed + 0.5 * share", "gated(0, 1, 1) it gives 1; expected 0.5"),
    ("06", "gated", "correct * share", "it gives 1; expected 2"),
    ("06", "lone_winner", "delta", "expected 2.475"),
    ("06", "lone_winner", "(group_size - 1) ** 0.5", "it gives 2.646"),
    ("07", "expected_kept", "min(k * p, cap)", "it gives 1; expected 0.9375"),
    ("07", "expected_kept", "1 - (1 - p) ** k", "it gives 0.9375; expected 2"),
    ("07", "alike", "len(one & other) / max(len(one), len(other))", "it gives 0.5; expected 0.333"),
    ("07", "alike", "len(one & other) / len(one | other)", "it raised ZeroDivisionError"),
    ("08", "best_policy", "[p * math.exp(s / beta) for p, s in zip(reference, scores)]", "expected [0.731"),
    ("08", "best_policy", "[p * math.exp(s / beta) / sum(q * math.exp(t / beta) for q, t in zip(reference, scores)) for p, s in zip(reference, scores)]", "it raised OverflowError"),
    ("08", "pair_loss", "sum(math.log(1 + math.exp(a - b)) for a, b in zip(chosen, rejected)) / len(chosen)", "expected 0.1269"),
    ("08", "pair_loss", "sum(math.log(1 + math.exp(b - a)) for a, b in zip(chosen, rejected))", "expected 1.4"),
    ("09", "mixture_divergence", "beta * float(kl(torch.tensor(p), torch.tensor(q)))", "expected 0.1017"),
    ("09", "mixture_divergence", "sum(a - b for a, b in zip(p, q))", "expected 0.1017"),
    ("09", "kept_shares", "[a * b for a, b in zip(share, solved)]", "expected [0.75"),
    ("09", "kept_shares", "solved", "expected [0.75"),
    ("10", "pass_product", "1 - (1 - c / n) ** k", "pass_product(4, 2, 2) it gives 0.75; expected 0.8333"),
    ("10", "pass_product", "min(1.0, k * c / n)", "it gives 1; expected 0.8333"),
    ("10", "problems_needed", "int(1 / (q - p) ** 2)", "expected 2955"),
    ("10", "problems_needed", "int(np.ceil(p * (1 - p) * (1.96 / (q - p)) ** 2))", "it gives 1537; expected 2955"),
    ("A2", "operations", "3 * 2 * tokens * width * vocabulary", "it gives 24000; expected 32000"),
    ("A2", "operations", "{'naive': 3, 'chunked': 4, 'fused': 3}[way] * 2 * tokens * width * vocabulary", "it gives 24000; expected 16000"),
    ("A2", "fused_clipped", "fused_clipped_reference(h, w, ids, mask, advantages, naive_logp(h, w, ids))", "For fused_clipped(0) it gives"),
    ("A2", "fused_clipped", "fused_clipped_reference(h, w, ids, mask | True, advantages, old_logp)", "0 of 4 cases agree"),
    ("A2", "live_rows", "mask.flatten().nonzero()[:, 0]", "it gives [0, 1, 3]; expected [3]"),
    ("A2", "live_rows", "(mask & (advantages > 0)[:, None]).flatten().nonzero()[:, 0]", "it gives [0, 1]; expected [0, 1, 3]"),
]
# fmt: on


@functools.cache
def exercises(path):
    """A notebook, and function -> (cell of its solution, cell of its check) for every solved exercise."""
    notebook, cells = nbformat.read(path, as_version=4), {}
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    for i in code:
        if SOLUTION in tags(notebook.cells[i]):
            (name,) = re.findall(r"^def (\w+)", notebook.cells[i].source, re.MULTILINE)
            cells[name] = i, next(j for j in code if j > i and "check(" in notebook.cells[j].source)
    return notebook, cells


EXERCISES = [(path, name) for path in PATHS for name in exercises(path)[1]]


@pytest.mark.parametrize(("path", "name"), EXERCISES, ids=lambda value: getattr(value, "stem", value))
def test_a_check_tells_the_solution_from_nothing_and_from_wrong_answers(path, name):
    notebook, cells = exercises(path)
    solution = notebook.cells[cells[name][0]].source
    wrong = [row[2:] for row in WRONG if row[:2] == (path.name[:2], name)]
    assert len(wrong) >= 2
    empty = skeleton(solution)
    answers = [empty.removesuffix("...") + f"return {expression}" for expression, _ in wrong]
    right, nothing, *messages = run_exercise(notebook, *cells[name], [solution, empty, *answers])
    assert re.search(r"(all \d+ cases agree|it is right)\. Well done\.", right)
    assert "not written yet." in nothing
    for message, (_, told) in zip(messages, wrong, strict=True):
        assert "Well done" not in message and told in message and "Hint: " in message, message


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_no_solution_is_left_in_the_copy(path):
    notebook, cells = exercises(path)
    copy = learner_copy(notebook, path.name)
    copied = "\n".join(cell.source for cell in copy.cells)
    assert 2 <= len(cells) <= 4
    for i, _ in cells.values():
        source = notebook.cells[i].source
        assert skeleton(source) in copied and source.partition("\n")[2] not in copied
    for cell in notebook.cells:
        assert cell.cell_type == "code" or SOLUTION not in tags(cell) or cell.source not in copied
    assert not any(cell.get("outputs") for cell in copy.cells)
    assert f"main/notebooks/exercises/{path.name}" in copied and f"(../{path.name})" in copied


@pytest.mark.slow
def test_an_unsolved_copy_runs_to_its_end_and_says_what_is_left():
    copy = nbformat.read(FOLDER / "01_rl_basics.ipynb", as_version=4)
    execute(copy, FOLDER, "01_rl_basics.ipynb")  # raises at the first cell that fails
    printed = "".join(output.get("text", "") for cell in copy.cells for output in cell.get("outputs", []))
    assert printed.count("not written yet.") == 4 and "Well done" not in printed


def test_a_skeleton_keeps_signature_and_docstring_and_nothing_else():
    source = '# @title Solution\ndef f(a,\n      b=1):\n    """What it does."""\n    secret = a\n    return secret\n'
    assert skeleton(source) == 'def f(a,\n      b=1):\n    """What it does."""\n    ...'
    assert skeleton("def f(a):\n    return a") == "def f(a):\n    ..."
    with pytest.raises(ValueError, match="defines no function"):
        skeleton("x = 1")


def test_links_move_one_folder_down_and_links_between_notebooks_stay():
    stay = "[n](01_rl_basics.ipynb#x) [a](A2_loss_kernel.ipynb) [w](https://e.org) [h](#top)"
    assert deeper(f"{stay} ![a](../images/a.svg) <img src='b.png'>") == (
        f"{stay} ![a](../../images/a.svg) <img src='../b.png'>"
    )


def test_only_what_an_exercise_needs_is_run_before_it():
    cells = ["import os, math\nfrom re import sub", "slow = 1 / 0", "x = 2\ny = math.pi"]
    cells.append("def f(slow):\n    return slow")
    assert earlier_code(cells, {"y"}) == ["import os, math", cells[2]]
    assert earlier_code(cells, {"f"}) == [cells[3]]
