"""Both chats: no tag is cut in two, reasoning goes into a fold, and the page answers a question in a real browser."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from r1lab.chat import LAUNCH, as_messages, begun_tag, join_tags, make_page
from r1lab.cli import main
from r1lab.prompts import TAGS
from r1lab.scale import get_scale

WHOLE = "<think>First 14*2=28. Then 28+28=56.</think> <answer>56</answer>"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


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


def test_without_gradio_the_remedy_is_said(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["chat", "tiny-base", "--page"]) == 2
    assert "pip install gradio" in capsys.readouterr().err


class Browser:
    """A headless Chromium over its own debugging protocol: enough to open a page, run a script and take a picture."""

    def __init__(self, folder: Path):
        import websocket

        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
        arguments += ["--remote-allow-origins=*", f"--user-data-dir={folder}", "--window-size=1000,900"]
        self.process = subprocess.Popen([CHROMIUM, *arguments, "about:blank"], stderr=subprocess.DEVNULL)
        port = wait_for(lambda: (folder / "DevToolsActivePort").read_text().split()[0])
        pages = wait_for(lambda: json.load(urlopen(f"http://127.0.0.1:{port}/json/list")))
        address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        self.socket, self.calls, self.requested = websocket.create_connection(address, timeout=120), 0, []
        self.call("Network.enable")

    def call(self, method: str, **parameters) -> dict:
        self.calls += 1
        self.socket.send(json.dumps({"id": self.calls, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("method") == "Network.requestWillBeSent":
                self.requested.append(message["params"]["request"]["url"])
            if message.get("id") == self.calls:
                return message["result"]

    def run(self, script: str):
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def close(self):
        self.socket.close()
        self.process.kill()
        self.process.wait()


def wait_for(look, limit=120.0):
    """What `look()` gives once it gives something and raises nothing."""
    end = time.monotonic() + limit
    while True:
        try:
            if found := look():
                return found
        except (OSError, IndexError, StopIteration):
            pass
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)


# Whether a text can be seen: it is there, and nothing around it is folded to no height.
SHOWS = """(() => {
  const holders = [...document.querySelectorAll('.message, .message *')].filter(e => e.textContent.includes('%s'));
  if (!holders.length) return null;
  for (let e = holders.at(-1); e; e = e.parentElement)
    if (getComputedStyle(e).display !== 'inline' && e.clientHeight === 0) return false;
  return holders.at(-1).checkVisibility();
})()"""


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium or Chrome")
def test_a_question_is_answered_in_a_real_browser(tmp_path):
    pytest.importorskip("gradio", reason="needs gradio: pip install gradio")
    pytest.importorskip("websocket")
    from r1lab.policy import load_policy

    question = "Intan has 14 eggs. Intan has 2 times as many. Intan finds 28. How many eggs now?"
    page = make_page(load_policy("tiny-r1-reason"), get_scale("tiny"), "tiny-r1-reason")
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, **LAUNCH)
    browser = Browser(tmp_path / "profile")
    try:
        browser.call("Page.navigate", url=address)
        ready = "document.querySelector('textarea') && document.readyState === 'complete'"
        wait_for(lambda: browser.run(ready))
        browser.run("document.querySelector('textarea').focus()")
        browser.call("Input.insertText", text=question)
        enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, **enter)
        wait_for(lambda: "Reasoning" in browser.run("document.body.innerText"))
        last = "[...document.querySelectorAll('.bot, .message')].at(-1).innerText"
        wait_for(lambda: browser.run(last).endswith("56"))
        seen = browser.run("document.body.innerText")
        assert question in seen and "tiny-r1-reason" in seen
        assert browser.run(SHOWS % "14*2=28") is False, "the reasoning is not folded"
        fold = "[...document.querySelectorAll('*')].find(e => e.textContent.trim() === 'Reasoning')"
        browser.run(f"{fold}.click()")
        wait_for(lambda: browser.run(SHOWS % "14*2=28"))
        elsewhere = [url for url in browser.requested if not url.startswith((address, "data:", "blob:"))]
        assert elsewhere == []
    finally:
        browser.close()
        page.close()
