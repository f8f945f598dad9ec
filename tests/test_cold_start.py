"""Cold start: the clean-up on replies whose flaws are known, the filters one by one, and a short SFT on the result."""

import json
import random
import re
from dataclasses import replace
from itertools import product

import pytest

from r1lab.languages import language_share
from r1lab.problems import load_problems, take_balanced
from r1lab.prompts import format_completion, parse_completion
from r1lab.rewards import grade_many
from r1lab.scale import DATA, SCALES
from r1lab.self_checks import check_outcomes
from r1lab.stages import cold_start, drafts
from r1lab.stages.checkpoints import find_stage
from tinyworld.chain import CHECKS, LINKS, OPENERS, ChainWriter, Habits
from tinyworld.corpus import ANSWER_SENTENCE, SO_SENTENCE, write_blurt, write_reasoning
from tinyworld.generators import DOMAINS, LANGUAGES, LEVELS, PLACE, VERDICT, make_problem
from tinyworld.refine import PHRASES, refine, split_sentences, translate
from tinyworld.steps import steps_hold

MESSY = Habits(switch_language=0.5, check_idle=0.1)
SMALL = replace(SCALES["tiny"], max_completion_tokens=64)


def problems(count, seed=0):
    rng = random.Random(seed)
    return [make_problem(rng, *cell) for cell in product(DOMAINS, LEVELS, LANGUAGES) for _ in range(count)]


# ------------------------------------------------------------------------------------------------- clean-up
def test_the_phrase_book_holds_every_phrase_of_the_world():
    for language in LANGUAGES:
        said = {phrase[language] for phrase in PHRASES}
        assert said >= {*OPENERS[language], *LINKS[language], CHECKS[language], PLACE[language]}
        assert said >= set(VERDICT[language].values())


def test_a_translation_keeps_the_sense_and_goes_back():
    text = "First number 1 is Ani. Then Budi lies. Next Eko is honest. Wait, check: 2+2=4."
    there = translate(text, "id")
    assert there == "Pertama nomor 1 adalah Ani. Lalu Budi bohong. Kemudian Eko jujur. Tunggu, cek: 2+2=4."
    assert translate(there, "en") == text
    assert translate(text, "en") == text


def test_whatever_the_world_writes_comes_out_clean_and_still_right():
    rng = random.Random(1)
    for problem in problems(12):
        reply = write_reasoning(rng, problem, MESSY)
        cleaned = refine(reply, problem.language).text
        parsed = parse_completion(cleaned)
        assert parsed.well_formed and parsed.answer == problem.solution, reply
        assert language_share(cleaned, problem.language) in (1.0, None), cleaned
        assert steps_hold(problem.prompt, parsed.think, problem.language), cleaned
        assert refine(cleaned, problem.language).text == cleaned  # nothing is left to do
        assert re.findall(r"\d+[-+*/]\d+=\d+", cleaned) == re.findall(r"\d+[-+*/]\d+=\d+", reply)


def test_the_clean_up_says_what_it_did():
    mixed = refine("<think>First 3+4=7. Lalu 7-2=5.</think> <answer>5</answer>", "en")
    assert mixed.text == format_completion("First 3+4=7. Then 7-2=5.", "5")
    assert mixed.repairs == ("language",)
    untagged = refine("First 3+4=7. Jadi jawabannya 7.", "en")
    assert (untagged.text, untagged.repairs) == (format_completion("First 3+4=7.", "7"), ("tags",))
    filler = refine("<think>First 3+4=7. So the answer is 7.</think> <answer>7</answer>", "en")
    assert (filler.text, filler.repairs) == (format_completion("First 3+4=7.", "7"), ("filler",))
    again = refine(format_completion("First 3+4=7. Lalu 3+4=7. Then 7-2=5.", "5"), "en")
    assert (again.text, again.repairs) == (format_completion("First 3+4=7. Then 7-2=5.", "5"), ("repeat",))


@pytest.mark.parametrize("language", LANGUAGES)
def test_code_in_an_answer_is_left_alone(language):
    code = "def f(x): return 9*x+17 if x%2==0 else 5*x+7"
    for sentence in (SO_SENTENCE, ANSWER_SENTENCE):
        cleaned = refine(f"First 3+4=7. {sentence[language].format(answer=code)}", language)
        assert parse_completion(cleaned.text).answer == code


def test_what_can_not_be_mended_comes_back_untouched():
    two_answers = "<think>First 3+4=7.</think> <answer>7</answer> The answer is 8."
    for reply in ("", "The answer is 7.", "7", "<answer>7</answer>", "First 3+4=7.", two_answers, "<think>."):
        assert refine(reply, "en") == type(refine(reply, "en"))(reply, ())
    rng = random.Random(2)
    for problem in problems(3):
        reply = write_blurt(rng, problem)
        assert refine(reply, problem.language).text == reply


def test_checks_survive_unless_they_say_the_same_thing_twice():
    repair = "First 19-5=13. Wait, check: 19-5=14. Then 14*2=28."
    confirm = "First 19-5=14. Wait, check: 19-5=14. Then 14*2=28."
    for chain in (repair, confirm):
        cleaned = refine(format_completion(chain, "28"), "id").text
        assert check_outcomes(cleaned) == check_outcomes(chain)
    twice = "First 19-5=14. Wait, check: 19-5=14. Tunggu, cek: 19-5=14. Then 14*2=28."
    assert refine(format_completion(twice, "28"), "en").text == format_completion(confirm, "28")


# ---------------------------------------------------------------------------------------------------- steps
def test_steps_hold_exactly_when_no_slip_was_left_standing():
    rng, slipped = random.Random(3), 0
    for problem in problems(12):
        writer, careful = (
            ChainWriter(problem.language, rng, habits)
            for habits in (Habits(slip=0.15, check_after_slip=0.3), Habits())
        )
        problem.reason(writer), problem.reason(careful)
        repaired = [
            sentence
            for place, sentence in enumerate(writer.sentences)
            if not writer.sentences[place + 1 : place + 2]
            or not writer.sentences[place + 1].startswith(CHECKS[problem.language])
        ]
        last_words = [body(sentence) for sentence in repaired]
        sound = last_words == [body(sentence) for sentence in careful.sentences]
        assert steps_hold(problem.prompt, writer.text, problem.language) == sound, writer.text
        slipped += not sound
    assert slipped > 20


def body(sentence):
    openings = [
        *CHECKS.values(),
        *(word for words in (OPENERS, LINKS) for said in words.values() for word in said),
    ]
    for opening in openings:
        sentence = sentence.removeprefix(opening)
    return sentence.strip()


def test_a_right_answer_on_a_wrong_step_is_not_kept():
    question = "Joko has 13 eggs. Joko has 4 times as many. Joko keeps one of 4 parts. How many eggs now?"
    assert steps_hold(question, "First 13*4=52. Then 52/4=13.", "en")
    assert not steps_hold(question, "First 13*4=62. Then 62/4=13.", "en")
    assert not steps_hold(question, "First 5/0=1.", "en")
    assert not steps_hold(question, f"First {'9' * 5000}+1=2.", "en")
    queue = "Eko is in front. Ani is behind Fitri. Fitri is behind Gita. Gita is behind Eko. Who is number 4?"
    assert steps_hold(queue, "First number 1 is Eko. Then number 2 is Gita. Then number 3 is Fitri.", "en")
    assert not steps_hold(
        queue, "First number 1 is Eko. Then number 2 is Fitri. Then number 3 is Gita.", "en"
    )
    assert split_sentences(queue)[-1] == "Who is number 4?"


# -------------------------------------------------------------------------------------------------- filters
def row(completion, **changes):
    base = {"prompt": "Solve for x: x+4=7", "solution": "3", "language": "en", "verifier": "math"}
    return {**base, "completion": completion, "truncated": False, **changes}


def test_each_filter_takes_out_what_its_name_says():
    good = format_completion("First 7-4=3.", "3")
    rows = [
        row(good),
        row(good),  # twice
        row(good.replace("3</answer>", "4</answer>")),  # wrong
        row("First 7-4=3. The answer is 3."),  # no tags
        row(good.replace("First", "Pertama")),  # the other language
        row(format_completion("First 7-4=2.", "3")),  # a step that does not hold
        row(format_completion("First 7-4=3. Then 3-0=3.", "3"), truncated=True),
    ]
    kept, left = drafts.keep_good(rows)
    assert left == {
        "replies": 7, "right": 6, "well formed": 5, "one language": 4, "steps hold": 3, "not over-long": 2, "different": 1,
    }  # fmt: skip
    assert kept == rows[:1]
    cleaned, left = drafts.keep_good(drafts.clean_up(rows))
    assert left["one language"] == 6 and left["steps hold"] == 5  # the clean-up mends form, not sense
    assert [r["completion"] for r in cleaned] == [good]


def test_a_problem_gives_two_replies_at_most():
    replies = [row(format_completion(f"First 7-4=3. Then {n}+0={n}.", "3")) for n in range(5)]
    assert drafts.drop_duplicates(replies + replies) == replies[:2]


def test_few_shot_examples_are_right_and_of_the_same_kind():
    for problem in take_balanced(load_problems("train"), 8):
        for question, completion in drafts.worked_examples(problem, random.Random(0)):
            parsed = parse_completion(completion)
            assert parsed.well_formed and steps_hold(question, parsed.think, problem["language"])
            assert language_share(completion, problem["language"]) in (1.0, None)


# ---------------------------------------------------------------------------------------------------- stage
class Zero:
    """A stand-in for R1-Zero: right replies in both languages at once, some of them without tags."""

    def generate(self, prompts, *, samples, seed, **_):
        from r1lab.policy import Sample

        rng, bank = random.Random(seed), {r["prompt"]: r for r in load_problems("train")}
        replies = []
        for prompt in prompts:
            asked = bank[prompt[-1]["content"]]
            think = rng.choice(("First 1+1=2. Lalu 2+1=3.", "Pertama 1+1=2. Then 2+1=3."))
            said = format_completion(think, asked["solution"])
            replies.append([Sample(said, 9, False), Sample("The answer is 0.", 4, False)][:samples])
        return replies


@pytest.fixture
def parents(monkeypatch, tmp_path):
    """Stand-ins for both parents; every way asks few problems."""
    monkeypatch.setattr(cold_start, "load_policy", lambda path: Zero())
    few = {way: (parent, template, 24) for way, (parent, template, _) in cold_start.WAYS.items()}
    monkeypatch.setattr(cold_start, "WAYS", few)
    zero = tmp_path / "zero"
    zero.mkdir()
    (zero / "config.json").write_text("{}")
    (zero / "stage.json").write_text('{"stage": "zero"}')
    return {"zero": zero, "base": DATA / "models" / "tiny-base"}


def test_the_data_are_right_in_one_language_and_counted(parents):
    rows, facts = cold_start.build_cold_start(SMALL, parents, seed=1)
    bank = {problem["id"]: problem for problem in load_problems("train")}
    asked = [bank[r["id"]] for r in rows]
    assert len(rows) == facts["rows"] == sum(facts["domains"].values()) >= 20
    assert all(grade_many([r["completion"] for r in rows], asked, require_tags=True))
    assert all(language_share(r["completion"], r["language"]) == 1.0 for r in rows)
    left = facts["ways"]["refined R1-Zero"]
    assert left["drafts"]["one language"] == 0 and left["cleaned"]["one language"] == left["drafts"]["right"]
    assert facts["repairs"]["refined R1-Zero"] == {"language": left["cleaned"]["different"]}
    assert cold_start.build_cold_start(SMALL, parents, seed=1)[0] == rows
    assert cold_start.build_cold_start(SMALL, parents, seed=2)[0] != rows


def test_the_control_is_not_cleaned(parents):
    rows, facts = cold_start.build_cold_start(SMALL, parents, clean=False)
    assert list(facts["ways"]) == ["refined R1-Zero"]
    assert rows and all(0 < language_share(r["completion"], r["language"]) < 1 for r in rows)


def test_a_few_steps_of_sft_and_a_checkpoint_the_next_stage_accepts(parents, tmp_path, monkeypatch):
    output = tmp_path / "cold_start"
    run = cold_start.ARMS["cold_start"](SMALL, output, folders=parents, max_steps=2, save_steps=1)
    assert [r["step"] for r in run["history"] if "loss" in r] == [1, 2]
    assert find_stage(SMALL, "cold_start", output) == str(output)
    rows = [json.loads(line) for line in (output / "data" / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == run["facts"]["rows"] and "different" in (output / "data" / "README.md").read_text()
    # Resumed, it neither asks again nor starts over.
    monkeypatch.setattr(cold_start, "build_cold_start", None)
    run = cold_start.ARMS["cold_start"](
        SMALL, output, folders=parents, resume=True, max_steps=3, save_steps=1
    )
    assert [r["step"] for r in run["history"] if "loss" in r] == [1, 2, 3]


def test_half_written_data_are_made_again(tmp_path):
    facts = {"rows": 1, "drawn_by": {"seed": 0}}
    cold_start.save_data([{"id": "a"}], facts, tmp_path)
    assert cold_start.load_data(tmp_path, {"seed": 0}) == ([{"id": "a"}], facts)
    assert cold_start.load_data(tmp_path, {"seed": 1}) is None  # another run's data
    (tmp_path / "facts.json").unlink()
    assert cold_start.load_data(tmp_path, {"seed": 0}) is None


def test_the_loss_is_on_the_completion_only(tmp_path):
    from trl import SFTTrainer

    from r1lab.stages.config import make_sft_args
    from r1lab.stages.grpo import load_trainable
    from r1lab.stages.sft import sft_dataset

    reply = format_completion("First 7-4=3.", "3")
    data = sft_dataset([row(reply)], tokenizer := load_trainable(SMALL)[1], SMALL.template)
    model, _ = load_trainable(SMALL)
    args = make_sft_args(SMALL, tmp_path)
    trainer = SFTTrainer(model=model, processing_class=tokenizer, args=args, train_dataset=data)
    batch = next(iter(trainer.get_train_dataloader()))
    learned = batch["labels"][batch["labels"] != -100]
    assert tokenizer.decode(learned) == reply + tokenizer.eos_token


def test_without_r1_zero_it_says_which_command_makes_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="r1lab zero"):
        cold_start.train_cold_start(SMALL, tmp_path / "out", folders={"zero": tmp_path / "none"})
