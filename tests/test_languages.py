"""The function-word sets and what they say about short reasoning."""

import time

import pytest

from r1lab.languages import ENGLISH, INDONESIAN, count_function_words, language_share


@pytest.mark.parametrize(
    ("text", "english", "indonesian"),
    [
        ("<think>First 12+7=19. Then 19-5=14.</think> <answer>14</answer>", 1.0, 0.0),
        ("<think>Pertama 12+7=19. Lalu 19-5=14.</think> <answer>14</answer>", 0.0, 1.0),
        ("<think>First 12+7=19. Lalu 19-5=14.</think> <answer>14</answer>", 0.5, 0.5),
        ("First then next after that so the answer is wait check not number behind lies honest", 1.0, 0.0),
        ("Pertama lalu kemudian selanjutnya jadi jawabannya tunggu cek bukan nomor bohong jujur", 0.0, 1.0),
        ("Jadi jawabannya 14.", 0.0, 1.0),
        ("LET'S WAIT, HE SAYS", 1.0, 0.0),
        ("let’s wait", 1.0, 0.0),
        ("She pays $5 and then $6, so the total is $11.", 1.0, 0.0),
    ],
)
def test_share(text, english, indonesian):
    assert language_share(text, "en") == english
    assert language_share(text, "id") == indonesian


NO_EVIDENCE = [
    "", "<think></think><answer>14</answer>", "12+7=19", "Ani, Budi", "x = 4", "$if x and y then z$", "`if x else y`",
    r"\[ x \text{ if } y \]", r"\( \text{and so} ", "```python\nif x:\n    return not y\n```", "```python\nif not closed and",
    "def f(x): return 4*x+1 if x%2==0 else 3", "def f(x):\n    if x:\n        return not x\n",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_EVIDENCE)
def test_no_evidence(text):
    assert language_share(text, "en") is None and language_share(text, "id") is None


def test_a_function_ends_where_its_indentation_ends_and_another_language_is_refused():
    text = "def f(x):\n    return x if x else 1\nJadi jawabannya itu."
    assert count_function_words(text) == {"en": 0, "id": 3}
    assert not ENGLISH & INDONESIAN
    with pytest.raises(ValueError, match="choose one of en, id"):
        language_share(text, "fr")


@pytest.mark.parametrize(
    "piece", ["$", "$$ ", r"\(", r"\[", "`", "```", "def f(", "def f(x):\n ", "<", "\\a", "a'"]
)
def test_hostile_text_costs_linear_time(piece):
    start = time.perf_counter()
    language_share(piece * (40_000 // len(piece)), "en")
    assert time.perf_counter() - start < 1.0
