"""A policy that reads a script, for tests of whatever samples."""

from dataclasses import dataclass


@dataclass
class Sample:
    text: str
    tokens: int
    truncated: bool


class ScriptedPolicy:
    """Returns for each question what the script says: {question: (greedy text, [sampled texts])}.

    Tokens are words, and a "~" marks a text as truncated. `calls` holds the prompts and settings of every call.
    """

    def __init__(self, script):
        self.script, self.calls = script, []

    def generate(self, prompts, **settings):
        self.calls.append((prompts, settings))
        groups = []
        for prompt in prompts:
            greedy, sampled = self.script[prompt[-1]["content"]]
            texts = sampled[: settings["samples"]] if settings["temperature"] else [greedy]
            groups.append([Sample(text, len(text.split()), "~" in text) for text in texts])
        return groups
