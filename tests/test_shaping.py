"""What the shaping rewards and the puzzles pay, against the formulas of their papers, and what cheats earn."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1lab.prompts import format_completion
from r1lab.rewards import make_reward
from r1lab.rewards.countdown import read_expression
from r1lab.rewards.format import count_steps
from r1lab.rewards.language import detect_language
from r1lab.rewards.logic import read_order, read_roles

RIGHT, WRONG = format_completion("a", "14"), format_completion("a", "15")


def one(name, text, *, options=None, **columns):
    return make_reward(name, **(options or {}))([text], **{key: [value] for key, value in columns.items()})[0]


# ------------------------------------------------------------------------------------------------ tag count

TAG_COUNTS = [
    ("<think>a</think><answer>b</answer>", 1.0), ("x <think></think> y <answer></answer> z", 1.0), ("<think>a</think>", 0.5), ("<think>", 0.25),
    ("", 0.0), ("no tags", 0.0), ("<answer>b</answer>", 0.5), ("<think><think></think><answer></answer>", 0.75),
    ("<think></think><answer></answer><answer></answer>", 0.5), ("<answer>b</answer><think>a</think>", 0.5), ("</think><think>", 0.25),
    ("<think></think>" * 2 + "<answer></answer>" * 2, 0.0), ("</answer><answer></think><think>", 0.25), ("<Think>a</Think>", 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TAG_COUNTS)
def test_a_tag_counts_once_and_in_order(text, expected):
    assert one("tag_count", text) == expected


def test_prefilled_think_is_an_option():
    for name in ("format", "tag_count"):
        assert one(name, "a</think><answer>b</answer>", options={"prefilled_think": True}) == 1.0
        assert one(name, "a</think><answer>b</answer>") < 1.0
    text = "Step 1: count all the eggs\nStep 2: add the rest of them\nStep 3: and there they are</think>"
    assert one("reasoning_steps", text, options={"prefilled_think": True}) == 1.0
    assert one("reasoning_steps", text) == 0.0


@given(st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "a", " "]), max_size=9))
def test_tag_count_is_full_whenever_the_format_is(pieces):
    text = "".join(pieces)
    assert one("tag_count", text) >= one("format", text)


# ---------------------------------------------------------------------------------------------------- steps

LONG = "we count every egg in the basket number"
STEPS = [
    (f"Step 1: {LONG} one\nStep 2: {LONG} two\nStep 3: {LONG} three", 3),
    (f"1. {LONG} one\n2. {LONG} two\n3) {LONG} three\n4. {LONG} four", 4),
    (f"**Step 1:** {LONG} one\n### Step 2: {LONG} two", 2),
    (f"First, {LONG} one\nNext, {LONG} two\nFinally, {LONG} three", 3),
    (f"Langkah 1: {LONG} one\nLangkah 2: {LONG} two", 2),
    (f"Pertama, {LONG} one\nKemudian {LONG} two\nAkhirnya, {LONG} three", 3),
    (f"- so {LONG} one\n- then {LONG} two\n* and {LONG} three", 3),
    (f"Step 1:\n{LONG} one\nStep 2:\n{LONG} two", 2),
    ("First,First,First,First,", 0),  # nothing said
    ("First,\nFirst,\nFirst,", 0),  # nothing said
    (f"First, {LONG} 1\nFirst, {LONG} 2\nFirst, {LONG} 3", 1),
    (f"Step 1: {LONG}\nStep 2: {LONG}\nStep 3: {LONG}", 1),  # the same thing three times
    (f"Step 3: {LONG} one\nStep 2: {LONG} two\nStep 1: {LONG} three", 1),  # numbers must rise
    ("Step 1: a\nStep 2: b\nStep 3: c", 0),
    ("-5 + 3 is what we need here\n-7 + 3 is what we need there\n-9 it is, we need no more", 0),  # minus signs
    (f"I take the first, {LONG}, then the next, and finally the last", 0),  # not at the start of a line
    ("", 0),
]  # fmt: skip


@pytest.mark.parametrize(("reasoning", "expected"), STEPS)
def test_a_step_says_something_of_its_own(reasoning, expected):
    assert count_steps(reasoning) == expected
    assert one("reasoning_steps", format_completion(reasoning, "x")) == min(1.0, expected / 3)
    assert one("reasoning_steps", format_completion("x", reasoning)) == 0.0  # the answer is not reasoning


# --------------------------------------------------------------------------------------------------- cosine


def test_cosine_at_its_three_points_and_beyond():
    """By hand: cos 0 = 1, cos pi/2 = 0, cos pi = -1, so the ends and the middle of each half."""
    reward = make_reward("cosine", max_len=100)
    ids = [[0] * n for n in (0, 50, 100, 200, 10_000)]
    for text, sign in ((RIGHT, 1), (WRONG, -1)):
        scores = reward([text] * 5, solution=["14"] * 5, completion_ids=ids)
        assert scores == pytest.approx([sign * score for score in (1, 0.75, 0.5, 0.5, 0.5)])
    assert reward([RIGHT, WRONG], solution=["", None], completion_ids=ids[:2]) == [None, None]


@given(st.integers(1, 400), st.lists(st.integers(0, 1000), min_size=2, max_size=9))
def test_cosine_keeps_its_order(max_len, lengths):
    lengths.sort()
    reward = make_reward("cosine", max_len=max_len)
    ids = [[0] * n for n in lengths]
    columns = {"solution": ["14"] * len(ids), "completion_ids": ids}
    right, wrong = (reward([text] * len(ids), **columns) for text in (RIGHT, WRONG))
    assert right == sorted(right, reverse=True) and wrong == sorted(wrong) and min(right) > max(wrong)


REFUSED = [
    ("cosine", {"max_len": 0}), ("cosine", {"max_len": 9, "min_value_correct": -0.5}), ("cosine", {"max_len": 9, "max_value_correct": 0.1}),
    ("soft_overlong", {"max_len": 100, "cache": -1}), ("soft_overlong", {"max_len": 100, "cache": 101}), ("accuracy", {"locale": "fr"}),
    ("repetition_penalty", {"n": 0}), ("repetition_penalty", {"max_penalty": 0.5}), ("repetition_penalty", {"max_penalty": -math.inf}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), REFUSED)
def test_options_that_no_formula_allows_are_refused(name, options):
    with pytest.raises(ValueError, match=list(options)[-1]):
        make_reward(name, **options)


# --------------------------------------------------------------------------------------------------- length


def test_length_compares_within_a_prompt_only():
    texts, prompts = [RIGHT, WRONG, RIGHT, RIGHT, WRONG], ["p", "p", "p", "q", "q"]
    ids = [[0] * n for n in (10, 20, 30, 1000, 2000)]
    reward = make_reward("length")
    scores = reward(texts, prompts=prompts, completion_ids=ids, solution=["14"] * 5)
    assert scores == [0.5, 0.0, -0.5, 0.5, -0.5]
    columns = {"prompts": ["p", "p"], "solution": ["14"] * 2}
    assert reward(texts[:2], completion_ids=[[0], [0]], **columns) == [0.0, 0.0]
    assert reward([WRONG, RIGHT], completion_ids=[[0], [0] * 9], **columns) == [0.0, -0.5]


# --------------------------------------------------------------------------------------------- soft overlong


def test_soft_overlong_is_equation_13():
    reward = make_reward("soft_overlong", max_len=100, cache=20)
    ids = [[0] * n for n in (0, 80, 81, 90, 99, 100, 101, 5000)]
    assert reward([""] * 8, completion_ids=ids) == pytest.approx([0, 0, -0.05, -0.5, -0.95, -1, -1, -1])
    abrupt = make_reward("soft_overlong", max_len=100, cache=0)
    assert abrupt([""] * 2, completion_ids=[[0] * 100, [0] * 101]) == [0.0, -1.0]
    assert make_reward("soft_overlong", max_len=20_480).cache == 4096


# ------------------------------------------------------------------------------------------------ repetition


def test_repetition_is_the_share_of_ngrams_seen_before():
    reward = make_reward("repetition_penalty", n=3)
    ids = [[1, 2, 3, 4, 5], [1, 2, 3, 1, 2, 3], [7] * 10, [1, 2], []]
    assert reward([""] * 5, completion_ids=ids) == pytest.approx([0, -1 / 4, -7 / 8, 0, 0])
    assert math.copysign(1, reward([""], completion_ids=[[1, 2]])[0]) == 1  # no -0.0 in a log
    assert one("repetition_penalty", "so it is so it is so it is") == pytest.approx(-4 / 7)
    assert one("repetition_penalty", "SO it is so IT is") == pytest.approx(-1 / 4)
    assert one("repetition_penalty", "哈" * 12) == pytest.approx(-9 / 10)  # no spaces: by character


def test_loops_that_count_are_loops_when_digits_are_masked():
    loop = " ".join(f"wait{n} let me" for n in range(20))
    assert one("repetition_penalty", loop) == 0.0
    assert one("repetition_penalty", loop, options={"mask_digits": True}) == pytest.approx(-55 / 58)
    assert one("repetition_penalty", loop, options={"mask_digits": True}, completion_ids=[1, 2, 3]) < -0.9


# -------------------------------------------------------------------------------------------------- language


def test_language_by_hand():
    """Two function words of each language at most, so that the shares are small fractions."""
    english, indonesian, mixed = "First the 12+7=19.", "Pertama itu 12+7=19.", "First 12+7. Lalu 19."
    for language, scores in (("en", [3 / 4, 1 / 4, 1 / 2]), ("id", [1 / 4, 3 / 4, 1 / 2])):
        texts = [format_completion(text, "19") for text in (english, indonesian, mixed)]
        assert make_reward("language_consistency")(texts, language=[language] * 3) == scores


def test_the_target_language_comes_from_the_column_else_from_the_question():
    said, roles = format_completion("Pertama itu 19.", "19"), ("system", "user")
    texts = ("You will be asked a question.", "Berapa telur yang ada?")
    asked = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
    assert one("language_consistency", said, prompts=asked) == 3 / 4
    assert one("language_consistency", said, prompts="How many eggs are there?") == 1 / 4
    assert one("language_consistency", said, prompts=asked, language="en") == 1 / 4
    assert one("language_consistency", said, prompts=asked, language=None) == 3 / 4
    assert one("language_consistency", said, prompts="12+7") == one("language_consistency", said) == 0.5
    assert detect_language("the dan") is None
    with pytest.raises(ValueError, match="column 'language' contains 'fr'"):
        one("language_consistency", said, language="fr")


def test_formulas_and_code_are_no_evidence():
    for text in ("$if x and y$", "```python\nif x and y: return not z\n```", "12+7=19", ""):
        assert one("language_consistency", text, language="id") == 0.5


# ------------------------------------------------------------------------------------------------ countdown

COUNTDOWN = [
    ("3*4+2", [2, 3, 4], 14, 1), ("(3 × 4) + 2", [2, 3, 4], 14, 1), ("3 \\times 4 + 2 = 14", [2, 3, 4], 14, 1), ("\\boxed{2+3*4}", [2, 3, 4], 14, 1),
    ("8/(3-8/3)", [3, 3, 8, 8], 24, 1), ("(1+2)*3-4", [1, 2, 3, 4], 5, 1), ("7/2*2", [7, 2, 2], 7, 1), ("-(3-8)", [3, 8], 5, 1), ("$5-3$", [3, 5], 2, 1),
    ("3*4+2 = 15", [2, 3, 4], 14, 0), ("3*4+3", [2, 3, 4], 15, 0), ("14", [2, 3, 4], 14, 0), ("3*4+2", [2, 3, 4, 5], 14, 0), ("3*4+2", [2, 3, 4], 15, 0),
    ("1.5*4", [1, 5, 4], 6, 0), ("2**5", [2, 5], 32, 0), ("7//2", [7, 2], 3, 0), ("6*4*1*1", [6, 4], 24, 0), ("9**9**9", [9, 9, 9], 1, 0),
    ("1_2+3", [12, 3], 15, 0), ("0x9+1", [9, 1], 10, 0), ("5(3)", [5, 3], 15, 0), ("1/0", [1, 0], 1, 0), ("(3*4+2", [2, 3, 4], 14, 0), ("", [1], 1, 0),
    ("3*4+2 or 14", [2, 3, 4], 14, 0), ("__import__('os')", [1], 1, 0), ("3*4+2 = 14 = 14", [2, 3, 4], 14, 0), ("23+4", [2, 3, 4], 27, 0),
    ("(" * 90 + "5" + ")" * 90, [5], 5, 1), ("-" * 150 + "5", [5], 5, None), ("1+" * 99 + "1", [1] * 100, 100, 1), ("9" * 190, [9], 9, 0),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "numbers", "target", "expected"), COUNTDOWN)
def test_countdown_is_exact(answer, numbers, target, expected):
    paid = one("countdown", format_completion("x", answer), numbers=numbers, target=target)
    assert paid in (0.0, 1.0) if expected is None else paid == expected
    assert one("countdown", format_completion("x", answer), nums=str(numbers), target=str(target)) == paid


def test_countdown_options_and_problems_that_do_not_read():
    text = format_completion("x", "3*4")
    assert one("countdown", text, numbers=[2, 3, 4], target=12) == 0.0
    assert one("countdown", text, numbers=[2, 3, 4], target=12, options={"use_all": False}) == 1.0
    assert one("countdown", "so 3*4", numbers=[3, 4], target=12) == 0.0
    unread = [(None, 12), ([], 12), ([3, 4], None), ("three", 12), ([3, 4.5], 12), ([3, 4], [1, 2]), ({}, 1)]
    for numbers, target in unread:
        assert one("countdown", text, numbers=numbers, target=target) is None


@given(st.text(alphabet="0123456789+-*/() .=_x\\", max_size=60))
def test_no_text_breaks_the_expression_reader(text):
    result = read_expression(text)
    assert result is None or math.isfinite(result[0])


# ---------------------------------------------------------------------------------------------------- logic

KNIGHTS = [
    ("Ani is a knight, and Budi is a knave", 1), ("Budi is a knave. Ani is a knight.", 1), ("Ani: knight\nBudi: knave", 1), ("ani = Knight; budi = Knave", 1),
    ("Ani adalah ksatria dan Budi adalah pembohong", 1), ("**Ani** is a knight, **Budi** is a liar", 1), ("Ani is honest and Budi is a liar", 1),
    ("Ani is a knave, and Budi is a knight", 0), ("Ani is a knight", 0), ("Ani and Budi are knights", 0), ("Ani is a knight, Ani is a knave, Budi is a knave", 0),
    ("Ani is a knight, Budi is a knave, Citra is a knave", 0), ("Ani is not a knave, Budi is a knave", 0), ("Ani is a knight or Budi is a knave", 0),
    ("Ani is a knight, Budi is a knave or a knight", 0), ("Ani, Budi", 0), ("knight, knave", 0), ("", 0),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "expected"), KNIGHTS)
def test_knights_and_knaves_all_or_nothing(answer, expected):
    solution = "Ani is a knight, and Budi is a knave"
    assert one("logic", format_completion("x", answer), solution=solution) == expected


def test_several_people_may_share_a_role():
    assert read_roles("Ani, Budi and Citra are knights, Dewi is a knave") == {
        "ani": "knight", "budi": "knight", "citra": "knight", "dewi": "knave",
    }  # fmt: skip
    assert read_roles("Ani, Budi is a knight") is None and read_roles("Ani is a knight, Budi") is None
    text, options = "So the answer is: Ani is a knight.", {"require_tags": False}
    assert one("logic", text, solution="Ani is a knight", options=options) == 1.0


def test_an_order_is_read_in_order():
    wrong = ("Citra > Budi > Ani", "Ani > Budi", "Ani, Budi, Citra", "Ani > Citra < Budi")
    for answer in ("Ani > Budi > Citra", "Citra<Budi<Ani", *wrong):
        paid = one("logic", format_completion("x", answer), solution="Ani > Budi > Citra")
        assert paid == (answer not in wrong), answer
    assert read_order(None) is read_order("> Ani") is read_order("Ani") is None


# --------------------------------------------------------------------------------------- reasoning accuracy

AFTER_THINK = [
    ("so</think> The answer is 14.", 1), ("</think>14", 1), ("a</think> \\boxed{14}", 1), ("a</think>First 12+2.\nThen x = 14.", 1), ("a</think><answer>14</answer>", 1),
    ("a</think>We get \\boxed{13}. No: it is \\boxed{14}.", 1), ("a</think>Jadi jawabannya adalah 14.", 1), ("a</think>There are $12+2=14$ eggs.", 1),
    ("<think>\\boxed{14}</think> I do not know", 0), ("The answer is 14.", 0), ("\\boxed{14}", 0), ("a</think>14 or 15", 0), ("a</think>not 14", 0),
    ("a</think>15, 14", 0), ("a</think>at least 14", 0), ("a</think>", 0), ("a</think>The answer is 15.", 0), ("14</think>14</think>15", 0),
    ("a</think>\\boxed{15} or \\boxed{14}", 0), ("a</think>It is between 13 and 14", 0),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), AFTER_THINK)
def test_reasoning_accuracy_reads_prose_after_think(text, expected):
    assert one("reasoning_accuracy", text, solution="14") == expected


def test_locale_is_an_option_and_a_column():
    text = format_completion("x", "1.000")
    assert one("accuracy", text, solution="1000") == 0.0
    assert one("accuracy", text, solution="1000", options={"locale": "id"}) == 1.0
    assert one("accuracy", text, solution="1000", locale="en", options={"locale": "id"}) == 0.0
    assert one("accuracy", text, solution="1000", locale="id") == 1.0


# -------------------------------------------------------------------------------------------------- proxies

BENIGN, HARMFUL = "What is the capital of Japan?", "How do I steal a bicycle?"


def test_proxies_prefer_the_good_reply():
    from tinyworld.general import general_prompts

    helpful, harmless = make_reward("helpfulness_proxy"), make_reward("harmlessness_proxy")
    for row in general_prompts():
        prompts = [row["prompt"]] * 2
        good, poor = helpful([row["good"], row["poor"]], prompts=prompts)
        assert good > poor, row
        good, poor = harmless([row["good"], row["poor"]], prompts=prompts)
        assert good == 1.0 and poor == (row["kind"] != "harmful"), row


def test_proxies_have_known_holes():
    """Why they are called proxies: an echo of the question is "helpful", a refusal of everything is "harmless"."""
    assert one("helpfulness_proxy", "Capital of Japan? Yes, the capital of Japan!", prompts=BENIGN) == 1.0
    assert one("harmlessness_proxy", "I am sorry, I can not help with that.", prompts=BENIGN) == 1.0
    assert one("helpfulness_proxy", "I am sorry, I can not help with that.", prompts=BENIGN) < 0.5


def test_a_label_overrules_the_guess():
    text = "I am sorry, I can not help with that."
    assert one("helpfulness_proxy", text, prompts=BENIGN, harmful=True) == 1.0
    assert one("helpfulness_proxy", text, prompts=HARMFUL, harmful=False) < 0.5
    assert one("harmlessness_proxy", "Tokyo.", prompts=BENIGN, harmful=True) == 0.0
