"""The format: one parser, one writer, and templates that say what they should."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1lab.prompts import TAGS, format_completion, parse_completion, render_prompt

WELL_FORMED = [
    "<think>7+7=14.</think> <answer>14</answer>",
    "\n<think>\n3 < 5, so\nyes\n</think>\n<answer>\nyes\n</answer>\n",
]
MALFORMED = [
    "", "14", "<answer>14</answer>", "<think>7+7=14.</think> 14", "<think></think> <answer>14</answer>",
    "<think>7+7</think> <answer> </answer>", "<think>7+7</think> <answer>14</answer> done",
    "so: <think>7+7</think> <answer>14</answer>", "<think>7+7</think> hm <answer>14</answer>",
    "<answer>14</answer> <think>7+7</think>", "<think>a <answer>1</answer></think> <answer>2</answer>",
    "<think>a</think> <answer>1</answer> <think>b</think> <answer>2</answer>",
]  # fmt: skip


@pytest.mark.parametrize("text", WELL_FORMED + MALFORMED)
def test_the_format_is_strict(text):
    assert parse_completion(text).well_formed == (text in WELL_FORMED)


@pytest.mark.parametrize(
    "text, answer",
    [
        ("<answer>14</answer>", "14"),
        ("<think>a</think> so <answer> 14 </answer> done", "14"),
        ("<think>a <answer>1</answer></think> <answer>2</answer>", "2"),
        ("<answer>1</answer> or <answer>2</answer>", None),
        ("<think><answer>14</answer></think> I do not know", None),
    ],
)
def test_an_answer_is_read_leniently_but_never_guessed(text, answer):
    assert parse_completion(text).answer == answer


plain = st.text(max_size=20).filter(lambda text: text.strip() and not any(tag in text for tag in TAGS))


@given(plain, plain)
def test_what_is_written_is_read_back(think, answer):
    parsed = parse_completion(format_completion(think, answer))
    assert (parsed.well_formed, parsed.think, parsed.answer) == (True, think.strip(), answer.strip())


@given(st.lists(st.sampled_from([*TAGS, "14", " ", "\n", "x"]), max_size=12).map("".join))
def test_any_text_is_parsed(text):
    parsed = parse_completion(text)
    assert parsed.well_formed <= (parsed.think is not None and parsed.answer is not None)


@pytest.mark.parametrize("language", ["en", "id"])
def test_templates(language):
    user = {"role": "user", "content": "2+2?"}
    assert render_prompt("2+2?", template="bare", language=language) == [user]
    system, question = render_prompt("2+2?", template="zero", language=language)
    assert all(tag in system["content"] for tag in TAGS) and question == user
    shots = render_prompt("2+2?", template="few_shot", language=language, examples=[("1+1?", WELL_FORMED[0])])
    assert [message["role"] for message in shots] == ["system", "user", "assistant", "user"]
    with pytest.raises(ValueError, match="few_shot"):
        render_prompt("2+2?", template="zeroo")
    with pytest.raises(ValueError, match="en, id"):
        render_prompt("2+2?", language="fr")
