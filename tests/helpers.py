"""What several test files share: a small scale, stand-ins for a finished stage and a policy, files cut off, Python on its own."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from r1lab.sampling import Sample
from r1lab.scale import DATA, SCALES

ROOT = Path(__file__).parents[1]
SMALL = replace(SCALES["tiny"], groups=2, group_size=4, max_completion_tokens=48)


def run_python(*words, cwd=ROOT, path=(), before=(), **environment) -> subprocess.CompletedProcess:
    """`python words` in a process of its own that finds the packages, the tools and the tests, and `path` first.

    before: the command that starts it, such as `unshare`.
    """
    folders = [*map(str, path), *(str(ROOT / name) for name in ("src", "tools", "tests"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), **environment}
    command = [*before, sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)


def stand_in(folder: Path, stage: str) -> Path:
    """A folder that passes for the checkpoint of a stage: the base model with that stage's record."""
    folder.mkdir()
    for path in (DATA / "models" / "tiny-base").iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "stage.json").write_text(json.dumps({"stage": stage}))
    return folder


def cut(path: Path) -> None:
    """Leave the first half of a file, as a crash or a full disk does."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def steps_of(history: list[dict]) -> list[int]:
    """The steps of the rows that log a reward."""
    return [row["step"] for row in history if "reward" in row]


class ScriptedPolicy:
    """A policy that returns for each question what the script says: {question: (greedy text, [sampled texts])}.

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
