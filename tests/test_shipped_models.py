"""The shipped models load under every transformers that an environment of the course installs, with the same logits."""

import json
import shutil
import sys

import locks
import pytest
import torch
from helpers import ROOT, run_python

from r1lab.policy import load_model, save_tokenizer
from r1lab.scale import DATA

MODELS = sorted(path for path in (DATA / "models").iterdir() if (path / "config.json").is_file())
# These three are what reads a checkpoint; everything else comes from this environment.
READERS = ("transformers", "tokenizers", "huggingface-hub")


def locked_readers():
    """The versions of READERS in every lock: transformers version -> requirements for the installer."""
    found = {}
    for environment in locks.ENVIRONMENTS:
        lines = locks.pins(environment.lock.read_text(encoding="utf-8"))
        pins = dict(line.partition(" ;")[0].split("==") for line in lines)
        found[pins["transformers"]] = [f"{name}=={pins[name]}" for name in READERS]
    return found


def install(version, requirements):
    """The folder with READERS in the versions of a lock, installed once; skips the test where that cannot be done."""
    folder, note = ROOT / "build" / "guards" / version, json.dumps(requirements)
    if (folder / "guard.json").is_file() and (folder / "guard.json").read_text() == note:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    options = ("--quiet", "--no-config", "--no-deps", "--python", sys.executable, "--target", folder)
    done = run_python("-m", "uv", "pip", "install", *options, *requirements)
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


def read_models(output, *first_on_path):
    """What READ found about MODELS, read in a process of its own."""
    done = run_python("-c", READ, output, *MODELS, path=first_on_path)
    assert not done.returncode, done.stderr[-2000:]
    return torch.load(output)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return read_models(tmp_path_factory.mktemp("reference") / "read.pt")["replies"]


@pytest.mark.slow
@pytest.mark.parametrize("version", sorted(locked_readers()))
def test_every_shipped_model_gives_the_same_logits_under_each_locked_transformers(
    version, reference, tmp_path
):
    found = read_models(tmp_path / "read.pt", install(version, locked_readers()[version]))
    assert found["version"] == version and len(found["replies"]) == len(MODELS) > 0
    for folder, reply in found["replies"].items():
        wanted = reference[folder]
        assert reply["text"] == wanted["text"] and sorted(reply["inputs"]) == sorted(wanted["inputs"])
        assert torch.equal(reply["ids"], wanted["ids"]), folder
        torch.testing.assert_close(reply["logits"], wanted["logits"], atol=1e-5, rtol=0)


def test_a_tokenizer_is_saved_under_the_name_that_every_transformers_knows(tmp_path):
    save_tokenizer(load_model("tiny-base")[1], tmp_path)
    for folder in (*MODELS, tmp_path):
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        assert config["tokenizer_class"] == "PreTrainedTokenizerFast", "save it with policy.save_tokenizer"
        assert config["model_input_names"] == ["input_ids", "attention_mask"]
