"""The shipped models load under every transformers that an environment of the course installs, with the same logits."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import locks
import pytest

from r1lab.policy import load_model, save_tokenizer
from r1lab.scale import DATA

MODELS = sorted(path for path in (DATA / "models").iterdir() if (path / "config.json").is_file())
GUARDS = Path(__file__).parents[1] / "build" / "guards"
# These three are what reads a checkpoint; everything else comes from this environment.
READERS = ("transformers", "tokenizers", "huggingface-hub")


def locked_readers():
    """The versions of READERS in every lock: transformers version -> requirements for the installer."""
    readers = {}
    for environment in locks.ENVIRONMENTS:
        lines = locks.pins(environment.lock.read_text(encoding="utf-8"))
        pins = dict(line.partition(" ;")[0].split("==") for line in lines)
        readers[pins["transformers"]] = [f"{name}=={pins[name]}" for name in READERS]
    return readers


def install(version, requirements):
    """The folder with READERS in the versions of a lock, installed once; skips the test where that cannot be done."""
    folder = GUARDS / version
    note = json.dumps(requirements)
    if (folder / "guard.json").is_file() and (folder / "guard.json").read_text() == note:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-config", "--no-deps"]
    command += ["--python", sys.executable, "--target", str(folder), *requirements]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs uv and a package index to install transformers {version}: {done.stderr[-300:]}")
    (folder / "guard.json").write_text(note)  # last, so a folder without it was cut off
    return folder


# Run here for the reference and under each locked version: one greedy reply and the logits of its tokens.
READ = """
import json, sys
import torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.manual_seed(0)
replies = {}
for folder in sys.argv[2:]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()
    prompts = ["What is 17+25? <think>", "Berapa 3*4?"]
    chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
    texts = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in chats]
    inputs = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        ids = model.generate(**inputs, max_new_tokens=12, do_sample=False)
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    replies[folder] = {"ids": ids, "text": tokenizer.batch_decode(ids), "logits": logits, "inputs": dict(inputs)}
torch.save({"version": transformers.__version__, "replies": replies}, sys.argv[1])
"""


def read_models(output, first_on_path=None):
    """What READ found about MODELS, read in a process of its own."""
    import torch

    path = [str(first_on_path)] if first_on_path else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    command = [sys.executable, "-c", READ, str(output), *map(str, MODELS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-2000:]
    return torch.load(output)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return read_models(tmp_path_factory.mktemp("reference") / "read.pt")["replies"]


@pytest.mark.slow
@pytest.mark.parametrize("version", sorted(locked_readers()))
def test_every_shipped_model_gives_the_same_logits_under_the_transformers_of_a_lock(
    version, reference, tmp_path
):
    import torch

    result = read_models(tmp_path / "read.pt", install(version, locked_readers()[version]))
    assert result["version"] == version and len(result["replies"]) == len(MODELS) > 0
    for folder, reply in result["replies"].items():
        wanted = reference[folder]
        assert reply["text"] == wanted["text"] and sorted(reply["inputs"]) == sorted(wanted["inputs"])
        assert torch.equal(reply["ids"], wanted["ids"]), folder
        torch.testing.assert_close(reply["logits"], wanted["logits"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("folder", MODELS, ids=lambda path: path.name)
def test_a_shipped_tokenizer_has_the_name_that_every_transformers_knows(folder):
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast", "save it with policy.save_tokenizer"
    assert config["model_input_names"] == ["input_ids", "attention_mask"]


def test_a_tokenizer_that_is_loaded_and_saved_again_keeps_that_name(tmp_path):
    _, tokenizer = load_model("tiny-base")
    save_tokenizer(tokenizer, tmp_path)
    shipped = json.loads((DATA / "models" / "tiny-base" / "tokenizer_config.json").read_text("utf-8"))
    saved = json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))
    loading = {"is_local", "local_files_only"}  # transformers adds how a tokenizer was loaded
    assert {name: saved[name] for name in saved if name not in loading} == shipped
