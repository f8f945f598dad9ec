"""The rules for chains of thought: the clean-up on completions whose flaws are known, and the check of every step."""

import random
import re
from itertools import product

import pytest

from r1lab.languages import language_share
from r1lab.prompts import format_completion, parse_completion
from r1lab.self_checks import check_outcomes
from r1lab.stages.refine import PHRASES, Refined, refine, steps_hold, translate
from tinyworld.chain import CHECKS, LINKS, OPENERS, ChainWriter, Habits
from tinyworld.corpus import ANSWER_SENTENCE, SO_SENTENCE, write_blurt, write_reasoning
from tinyworld.generators import DOMAINS, LANGUAGES, LEVELS, make_problem


def problems(count, seed=0):
    rng = random.Random(seed)
    return [make_problem(rng, *cell) for cell in product(DOMAINS, LEVELS, LANGUAGES) for _ in range(count)]


def test_a_translation_keeps_the_sense_and_goes_back():
    text = "First number 1 is Ani. Then Budi lies. Next Eko is honest. Wait, check: 2+2=4."
    there = translate(text, "id")
    assert there == "Pertama nomor 1 adalah Ani. Lalu Budi bohong. Kemudian Eko jujur. Tunggu, cek: 2+2=4."
    assert translate(there, "en") == text == translate(text, "en")
    assert all(f"{phrase['en']}." not in translate(f"{phrase['en']}.", "id") for phrase in PHRASES[:4])


def test_whatever_the_world_writes_comes_out_clean_and_still_right():
    rng, messy = random.Random(1), Habits(switch_language=0.5, check_idle=0.1)
    for problem in problems(8):
        text = write_reasoning(rng, problem, messy)
        cleaned = refine(text, problem.language).text
        parsed = parse_completion(cleaned)
        assert parsed.well_formed and parsed.answer == problem.solution, text
        assert language_share(cleaned, problem.language) in (1.0, None), cleaned
        assert steps_hold(problem.prompt, parsed.think, problem.language), cleaned
        assert refine(cleaned, problem.language).text == cleaned  # nothing is left to do
        assert re.findall(r"\d+[-+*/]\d+=\d+", cleaned) == re.findall(r"\d+[-+*/]\d+=\d+", text)


ONE = format_completion("First 3+4=7.", "7")
TWO = format_completion("First 3+4=7. Then 7-2=5.", "5")


@pytest.mark.parametrize(
    "text, cleaned, repair",
    [
        (TWO.replace("Then", "Lalu"), TWO, "language"),
        ("First 3+4=7. Jadi jawabannya 7.", ONE, "tags"),
        (ONE.replace("=7.", "=7. So the answer is 7."), ONE, "filler"),
        (TWO.replace("Then", "Lalu 3+4=7. Then"), TWO, "repeat"),
    ],
)
def test_the_clean_up_says_what_it_did(text, cleaned, repair):
    assert refine(text, "en") == Refined(cleaned, (repair,))


def test_what_can_not_be_mended_comes_back_untouched():
    two_answers = f"{ONE} The answer is 8."
    rng = random.Random(2)
    bare = [write_blurt(rng, problem) for problem in problems(3)]
    for text in (
        "",
        "The answer is 7.",
        "<answer>7</answer>",
        "First 3+4=7.",
        two_answers,
        "<think>.",
        *bare,
    ):
        assert refine(text, "en") == refine(text, "id") == Refined(text, ())
    code = "def f(x): return 9*x+17 if x%2==0 else 5*x+7"
    for language, sentence in product(LANGUAGES, (SO_SENTENCE, ANSWER_SENTENCE)):
        cleaned = refine(f"First 3+4=7. {sentence[language].format(answer=code)}", language)
        assert parse_completion(cleaned.text).answer == code


def test_checks_survive_unless_they_say_the_same_thing_twice():
    repair = "First 19-5=13. Wait, check: 19-5=14. Then 14*2=28."
    confirm = "First 19-5=14. Wait, check: 19-5=14. Then 14*2=28."
    for chain in (repair, confirm):
        cleaned = refine(format_completion(chain, "28"), "id").text
        assert check_outcomes(cleaned) == check_outcomes(chain)
    twice = "First 19-5=14. Wait, check: 19-5=14. Tunggu, cek: 19-5=14. Then 14*2=28."
    assert refine(format_completion(twice, "28"), "en").text == format_completion(confirm, "28")


# ---------------------------------------------------------------------------------------------------- steps
def without_opening(sentence):
    words = (word for group in (OPENERS, LINKS) for some in group.values() for word in some)
    for opening in (*CHECKS.values(), *words):
        sentence = sentence.removeprefix(opening)
    return sentence.strip()


def test_steps_hold_exactly_when_no_slip_was_left_standing():
    rng, slipped = random.Random(3), 0
    for problem in problems(8):
        writer = ChainWriter(problem.language, rng, Habits(slip=0.15, check_after_slip=0.3))
        careful = ChainWriter(problem.language, rng, Habits())
        problem.reason(writer), problem.reason(careful)
        # Of a sentence and its check only the check counts.
        following, check = [*writer.sentences[1:], ""], CHECKS[problem.language]
        pairs = zip(writer.sentences, following, strict=True)
        final = [without_opening(sentence) for sentence, after in pairs if not after.startswith(check)]
        sound = final == [without_opening(sentence) for sentence in careful.sentences]
        assert steps_hold(problem.prompt, writer.text, problem.language) == sound, writer.text
        slipped += not sound
    assert slipped > 15


EGGS = "Joko has 13 eggs. Joko has 4 times as many. Joko keeps one of 4 parts. How many eggs now?"
QUEUE = "Eko is in front. Ani is behind Fitri. Fitri is behind Gita. Gita is behind Eko. Who is number 4?"
LIARS = "Ani is honest. Ani says Budi lies. Budi says Citra is honest. Who lies?"


@pytest.mark.parametrize(
    "prompt, think, sound",
    [
        (EGGS, "First 13*4=52. Then 52/4=13.", True),
        (EGGS, "First 13*4=62. Then 62/4=13.", False),  # the right answer on two wrong steps
        (EGGS, "First 13*4=62. Wait, check: 13*4=52.", True),
        (EGGS, "First 5/0=1.", False),
        (EGGS, f"First {'9' * 5000}+1=2.", False),  # more digits than Python reads
        (QUEUE, "First number 1 is Eko. Then number 2 is Gita. Then number 3 is Fitri.", True),
        (QUEUE, "First number 1 is Eko. Then number 2 is Fitri. Then number 3 is Gita.", False),
        (LIARS, "First Ani is honest. Then Budi lies. Then Citra lies.", True),
        (LIARS, "First Ani is honest. Then Budi lies. Then Citra is honest.", False),
    ],
)
def test_a_wrong_step_is_seen_whatever_the_answer(prompt, think, sound):
    assert steps_hold(prompt, think, "en") == sound
