"""Both chats: no tag is cut in two, reasoning goes into a fold, and the page answers a question."""

import re
from urllib.request import urlopen

import pytest

from r1lab.chat import LAUNCH, as_messages, begun_tag, join_tags, make_page
from r1lab.prompts import TAGS
from r1lab.scale import get_scale

WHOLE = "<think>First 14*2=28. Then 28+28=56.</think> <answer>56</answer>"


@pytest.mark.parametrize(
    "text, status, contents",
    [
        (WHOLE, "done", ["First 14*2=28. Then 28+28=56.", "56"]),
        ("<think>First 14*2=", "pending", ["First 14*2="]),
        ("The answer is 57.", None, ["The answer is 57."]),  # no tags: shown as it is
        ("Hm. <think>1+1=2.</think> So 2.", "done", ["1+1=2.", "Hm.  So 2."]),
        ("", None, [""]),
    ],
)
def test_the_reasoning_goes_into_a_fold_that_closes_when_it_is_done(text, status, contents):
    messages = as_messages(text)
    assert [message["content"] for message in messages] == contents
    folds = [message["metadata"] for message in messages if "metadata" in message]
    assert folds == ([{"title": "Reasoning", "status": status}] if status else [])


@pytest.mark.parametrize("tag", TAGS)
def test_half_a_tag_waits_for_its_other_half(tag):
    assert [begun_tag("Hm. " + tag[:n]) for n in range(1, len(tag) + 1)] == [*range(1, len(tag)), 0]
    assert begun_tag("2 < 3") == begun_tag("") == 0
    assert [piece for piece in join_tags(iter(f"a{tag}")) if piece] == ["a", tag]
    assert "".join(join_tags(iter(["3 < 5, a <", " b", tag[:3]]))) == "3 < 5, a < b" + tag[:3]


@pytest.mark.slow
def test_the_page_answers_a_question_and_loads_nothing_from_elsewhere():
    gradio = pytest.importorskip("gradio", reason="needs gradio: pip install gradio")
    from gradio_client import Client

    from r1lab.policy import load_policy

    question = "Intan has 14 eggs. Intan has 2 times as many. Intan finds 28. How many eggs now?"
    page = make_page(load_policy("tiny-r1-reason"), get_scale("tiny"), "tiny-r1-reason")
    assert isinstance(page, gradio.ChatInterface)
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, **LAUNCH)
    try:
        assert address.startswith("http://127.0.0.1")
        html = urlopen(address).read().decode()
        assert "tiny-r1-reason" in html and page.analytics_enabled is False
        loaded = re.findall(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["'](https?://[^"']+)""", html)
        assert [url for url in loaded if not url.startswith(address)] == []
        *_, thought, answer = Client(address, verbose=False).predict(question, api_name="/chat")
        assert "14*2=28" in str(thought["content"]) and thought["metadata"]["title"] == "Reasoning"
        assert thought["metadata"]["status"] == "done" and "56" in str(answer["content"])
    finally:
        page.close()
