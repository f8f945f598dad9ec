"""Loading and sampling the shipped model, and what is said when a model is missing or broken."""

import json
import shutil

import pytest
import torch
from helpers import cut

from r1lab import engine
from r1lab.policy import Policy, find_model, load_model, load_policy
from r1lab.prompts import TAGS, format_completion
from r1lab.sampling import end_tokens
from r1lab.scale import DATA, get_scale, output_folder

BASE = DATA / "models" / "tiny-base"
PROMPTS = ["Solve for x: x+2=7", "Hello!", "Solve for x: (x+2)*3-5+1=26"]


@pytest.fixture(scope="module")
def policy():
    return load_policy("tiny-base")


def test_any_text_survives_the_decoding_that_trl_does(policy):
    tokenizer = policy.tokenizer
    for text in (format_completion("First 3+4=7.", "7"), "naïve é 北京 🙂\n\ttab", "f(x)=3*x+1"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode([*ids, tokenizer.eos_token_id], skip_special_tokens=True) == text
    assert [len(tokenizer(tag, add_special_tokens=False)["input_ids"]) for tag in TAGS] == [1] * len(TAGS)
    assert tokenizer.tokenize("2026") == ["2", "0", "2", "6"]
    messages = [{"role": "system", "content": "Think."}, {"role": "user", "content": "2+2?"}]
    assert policy.render(messages) == "Think.\nUser: 2+2?\nAssistant:\n"


# ---------------------------------------------------------------------------------------------------------- sampling
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_samples_belong_to_their_prompts_and_depend_on_the_seed_but_not_on_memory(
    policy, monkeypatch, temperature
):
    settings = {"samples": 2, "temperature": temperature, "max_new_tokens": 12}
    groups = policy.generate(PROMPTS, seed=1, **settings)
    assert [len(group) for group in groups] == [2, 2, 2]
    monkeypatch.setattr("r1lab.policy.rows_at_once", lambda model, tokens: 4)
    assert policy.generate(PROMPTS, seed=1, **settings) == groups
    assert (policy.generate(PROMPTS, seed=2, **settings) == groups) == (temperature == 0)
    if temperature == 0:
        assert policy.generate(PROMPTS[::-1], **settings)[::-1] == groups


def test_an_architecture_the_engine_does_not_know_is_sampled_by_transformers(policy, monkeypatch):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    size = {"vocab_size": len(policy.tokenizer), "n_embd": 16, "n_layer": 1, "n_head": 2}
    config = GPT2Config(**size, bos_token_id=None, eos_token_id=policy.tokenizer.eos_token_id)
    other = Policy(GPT2LMHeadModel(config).train(), policy.tokenizer)
    assert "gpt2" in engine.why_unsupported(other.model)
    prompts, settings = ["Hello!", "What is 3+4?"], {"samples": 9, "temperature": 1.0, "max_new_tokens": 6}
    state = torch.get_rng_state()
    first = other.generate(prompts, seed=1, **settings)
    assert [len(group) for group in first] == [9, 9] and first[0] != first[1]
    assert all(s.tokens == 6 if s.truncated else s.tokens < 6 for group in first for s in group)
    monkeypatch.setattr("r1lab.policy.rows_at_once", lambda model, tokens: 1)
    assert other.generate(prompts, seed=1, **settings) == first != other.generate(prompts, seed=2, **settings)
    assert torch.equal(torch.get_rng_state(), state) and other.model.training


def test_a_completion_that_was_cut_off_says_so(policy):
    (sample,) = policy.generate(PROMPTS[2:], max_new_tokens=1)[0]
    assert sample.truncated and sample.tokens == 1
    (sample,) = policy.generate(["Hello!"], max_new_tokens=60)[0]
    assert not sample.truncated and sample.tokens < 60
    assert policy.generate([]) == []


def test_a_completion_ends_at_whichever_end_comes_first(policy, tmp_path):
    """The generation settings of a copy of the model name a second end of a completion: the full stop."""
    folder = shutil.copytree(BASE, tmp_path / "model")
    settings = json.loads((folder / "generation_config.json").read_text())
    (stop,) = policy.tokenizer(".", add_special_tokens=False)["input_ids"]
    settings["eos_token_id"] = [settings["eos_token_id"], stop]
    (folder / "generation_config.json").write_text(json.dumps(settings))
    whole = policy.generate(PROMPTS, max_new_tokens=60)
    short = load_policy(folder).generate(PROMPTS, max_new_tokens=60)
    for (one,), (other,) in zip(whole, short, strict=True):
        assert other.text == one.text.partition(".")[0] and not other.truncated
        assert other.tokens < one.tokens or "." not in one.text
    assert any("." in one.text for (one,) in whole)


def test_what_closes_a_turn_in_the_chat_template_is_an_end_too():
    """As in Qwen3's base models, whose template closes with a token that neither of the two files need name."""
    model, tokenizer = load_model("tiny-base")
    assert end_tokens(model, tokenizer) == [tokenizer.eos_token_id]
    tokenizer.chat_template = tokenizer.chat_template.replace("eos_token", "pad_token")
    assert end_tokens(model, tokenizer) == sorted([tokenizer.eos_token_id, tokenizer.pad_token_id])


# ------------------------------------------------------------------------------------------------------------- faults
# The second is no name on the hub: the folder is here, without a model.
@pytest.mark.parametrize("name", ["tiny-bass", "tests/zero"])
def test_a_missing_model_names_the_shipped_ones(name):
    with pytest.raises(FileNotFoundError, match="tiny-base"):
        find_model(name)
    assert find_model("Qwen/Qwen3-4B-Base") == "Qwen/Qwen3-4B-Base"


def test_a_corrupt_model_is_one_clear_sentence(tmp_path):
    broken = shutil.copytree(BASE, tmp_path / "broken")
    cut(broken / "model.safetensors")
    with pytest.raises(ValueError, match=r"damaged or incomplete.*restore the folder"):
        load_model(broken)


def test_an_unknown_scale_and_an_unwritable_output_folder_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("R1LAB_SCALE", "huge")
    with pytest.raises(ValueError, match="tiny, t4, a100, cluster"):
        get_scale()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("R1LAB_OUTPUT", str(tmp_path / "file" / "runs"))
    with pytest.raises(PermissionError, match="set R1LAB_OUTPUT"):
        output_folder()
