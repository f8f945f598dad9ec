"""`make check-docs` finds what is wrong: each kind of mistake is made once, in a document of its own."""

import shutil

import check_docs
import check_talk
import pytest


@pytest.fixture
def document(tmp_path, monkeypatch):
    """Write a document into an empty repository; call it with its text."""
    monkeypatch.setattr(check_docs, "ROOT", tmp_path)
    (tmp_path / "Makefile").write_text("test: venv\n")

    def write(text, name="a.md"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        monkeypatch.setattr(check_docs, "DOCUMENTS", [path])
        return path

    return write


@pytest.mark.parametrize(
    ("check", "wrong", "right"),
    [
        ("links", "[a](b.md)", "`[a](b.md)` [b](https://x.org)"),
        ("links", "# One two\n[a](#two)", "# One two\n[a](#one-two)"),
        ("commands", "`make tests`", "`make test`"),
        ("commands", "python -m r1lab zeros", "python -m r1lab zero"),
        ("voice", "It is 85 % here.", "It is 85% here."),
    ],
)
def test_a_mistake_is_found_and_only_a_mistake(check, wrong, right, document):
    run = getattr(check_docs, f"check_{check}")
    document(wrong)
    assert len(list(run())) == 1
    document(right)
    assert list(run()) == []


@pytest.mark.parametrize(
    ("english", "indonesian"),
    [("# A\n## B", "# A"), ("[a](b.md)", "[a](c.md)"), ("| a |\n| b |", "| a |"), ("- one\n- two", "- satu")],
)
def test_what_one_language_lacks_is_found(english, indonesian, document, monkeypatch):
    one, other = document(english), document(indonesian, "a.id.md")
    monkeypatch.setattr(check_docs, "PAIRS", [(one, other)])
    assert len(list(check_docs.check_languages())) == 1
    other.write_text(english.replace("b.md", "b.id.md"))
    assert list(check_docs.check_languages()) == []


def test_a_table_that_is_not_that_of_the_runs_is_found(monkeypatch):
    monkeypatch.setattr(check_docs.bench_stages, "readme_tables", lambda: {"results": "| of another run |"})
    assert any("README.md: the table 'results'" in fault for fault in check_docs.check_tables())


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("node") and check_talk.CHROMIUM and check_talk.MARP.exists()),
    reason="needs node, Chromium and `make slides` once (it installs marp-cli)",
)
def test_the_browser_finds_what_is_wrong(tmp_path):
    slides = {
        "overflow": "# Too much\n\n" + "\n\n".join(f"line {k}" for k in range(30)),
        "broken image": "# Gone\n\n![a picture that is not there](images/none.svg)",
        "remote request": "# Far\n\n![a picture from elsewhere](https://example.com/x.png)",
        "small text": '# Small\n\n<p class="small">tiny</p>',
        "contrast": '# Faint\n\n<p class="pale">pale</p>',
        "outside": '# Wide\n\n<p class="wide">wide</p>',
    }
    deck = tmp_path / "bad.md"
    style = ".small { font-size: 12px } .pale { color: #cccccc } .wide { width: 1600px }"
    text = f"---\nmarp: true\ntheme: r1lab\n---\n\n<style>{style}</style>\n\n"
    text += "\n\n---\n\n".join(slides.values())
    deck.write_text(text, encoding="utf-8")
    assert set(slides) <= {found["what"] for found in check_talk.look(deck, tmp_path)}
