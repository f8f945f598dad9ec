"""Loading and sampling the shipped model, and what is said when a model is missing or broken."""

import json
import shutil

import pytest
import torch

from r1lab import engine
from r1lab.policy import Policy, find_model, load_model, load_policy
from r1lab.problems import load_problems, take_balanced
from r1lab.prompts import TAGS, format_completion
from r1lab.sampling import end_tokens
from r1lab.scale import DATA, SCALES, get_scale, output_folder

BASE = DATA / "models" / "tiny-base"
PROMPTS = ["Solve for x: x+2=7", "Hello!", "Solve for x: (x+2)*3-5+1=26"]


@pytest.fixture(scope="module")
def policy():
    return load_policy("tiny-base")


def test_base_is_small_enough_to_ship(policy):
    assert sum(parameter.numel() for parameter in policy.model.parameters()) <= 2_000_000
    assert sum(path.stat().st_size for path in BASE.iterdir()) <= 8_000_000


def test_any_text_survives_the_decoding_that_trl_does(policy):
    tokenizer = policy.tokenizer
    for text in (format_completion("First 3+4=7.", "7"), "naïve é 北京 🙂\n\ttab", "f(x)=3*x+1"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode([*ids, tokenizer.eos_token_id], skip_special_tokens=True) == text
    for tag in TAGS:
        assert len(tokenizer(tag, add_special_tokens=False)["input_ids"]) == 1
        assert tag not in tokenizer.all_special_tokens
    assert tokenizer.tokenize("2026") == ["2", "0", "2", "6"]


def test_chat_template_renders_a_conversation(policy):
    assert policy.render("2+2?") == "User: 2+2?\nAssistant:\n"
    messages = [{"role": "system", "content": "Think."}, {"role": "user", "content": "2+2?"}]
    assert policy.render(messages) == "Think.\nUser: 2+2?\nAssistant:\n"


# ---------------------------------------------------------------------------------------------------------- sampling
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_samples_belong_to_their_prompts_and_depend_on_the_seed_but_not_on_memory(
    policy, monkeypatch, temperature
):
    settings = {"samples": 3, "temperature": temperature, "max_new_tokens": 24}
    groups = policy.generate(PROMPTS, seed=1, **settings)
    assert [len(group) for group in groups] == [3, 3, 3]
    for rows in (1, 4):
        monkeypatch.setattr("r1lab.policy.rows_at_once", lambda model, tokens, rows=rows: rows)
        assert policy.generate(PROMPTS, seed=1, **settings) == groups
    assert (policy.generate(PROMPTS, seed=2, **settings) == groups) == (temperature == 0)
    if temperature == 0:
        assert policy.generate(PROMPTS[::-1], **settings)[::-1] == groups


def test_greedy_decoding_is_what_transformers_generates(policy):
    """Rows leave the batch when they end; that must not change the others."""
    prompts = [row["prompt"] for row in take_balanced(load_problems("test"), 24)]
    prompts += ["Hello!", "How do I hurt a cat?", "First 3+4=7. Then "]
    ours = [group[0].text for group in policy.generate(prompts, max_new_tokens=40)]
    tokenizer = policy.tokenizer
    settings = {"return_tensors": "pt", "padding": True, "add_special_tokens": False}
    inputs = tokenizer([policy.render(p) for p in prompts], **settings)
    inputs.pop("token_type_ids", None)
    output = policy.model.generate(**inputs, max_new_tokens=40, do_sample=False)
    theirs = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    agree = sum(a == b for a, b in zip(ours, theirs, strict=True))
    assert agree >= len(prompts) - 1  # a tie between two tokens may fall the other way in another batch shape


def test_an_architecture_the_engine_does_not_know_is_sampled_by_transformers(policy, monkeypatch):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    end = policy.tokenizer.eos_token_id
    size = {"vocab_size": len(policy.tokenizer), "n_embd": 16, "n_layer": 1, "n_head": 2}
    other = Policy(
        GPT2LMHeadModel(GPT2Config(**size, bos_token_id=None, eos_token_id=end)).train(), policy.tokenizer
    )
    assert "gpt2" in engine.why_unsupported(other.model)
    settings = {"samples": 9, "temperature": 1.0, "max_new_tokens": 6}
    state = torch.get_rng_state()
    first = other.generate(["Hello!", "What is 3+4?"], seed=1, **settings)
    assert [len(group) for group in first] == [9, 9] and first[0] != first[1]
    assert all(s.tokens == 6 if s.truncated else s.tokens < 6 for group in first for s in group)
    monkeypatch.setattr("r1lab.policy.rows_at_once", lambda model, tokens: 1)
    assert other.generate(["Hello!", "What is 3+4?"], seed=1, **settings) == first
    assert other.generate(["Hello!", "What is 3+4?"], seed=2, **settings) != first
    assert torch.equal(torch.get_rng_state(), state) and other.model.training


@pytest.mark.slow
def test_samples_follow_the_probabilities(policy):
    prompt = "Budi is in front. Ani is behind Budi. Citra is behind Ani. Who is number 3?"
    ids = policy.tokenizer(policy.render(prompt), return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        expected = policy.model(input_ids=ids).logits[0, -1].softmax(-1)
    (group,) = policy.generate([prompt], samples=2000, temperature=1.0, max_new_tokens=1)
    texts = [sample.text for sample in group if sample.text]
    first = [ids[0] for ids in policy.tokenizer(texts, add_special_tokens=False)["input_ids"]]
    shares = torch.bincount(torch.tensor(first), minlength=len(expected)) / 2000
    assert (shares - expected).abs().max() < 0.05


def test_a_completion_that_was_cut_off_says_so(policy):
    (sample,) = policy.generate(PROMPTS[2:], max_new_tokens=1)[0]
    assert sample.truncated and sample.tokens == 1
    (sample,) = policy.generate(["Hello!"], max_new_tokens=60)[0]
    assert not sample.truncated and sample.tokens < 60
    assert policy.generate([]) == []


def test_sampling_does_not_disturb_the_caller(policy):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    policy.model.train()
    policy.generate(["Hello!"], temperature=1.0, max_new_tokens=4)
    assert policy.model.training
    assert torch.equal(torch.rand(1), expected)
    policy.model.eval()


def test_a_completion_ends_at_whichever_end_comes_first(policy, tmp_path):
    """The generation settings of a copy of the model name a second end of a completion: the full stop."""
    folder = tmp_path / "model"
    shutil.copytree(BASE, folder)
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
def test_a_missing_model_names_the_shipped_ones():
    # The second is no name on the hub, because there is such a folder, without a model.
    for name in ("tiny-bass", "tests/zero"):
        with pytest.raises(FileNotFoundError, match="tiny-base"):
            find_model(name)
    assert find_model("Qwen/Qwen3-4B-Base") == "Qwen/Qwen3-4B-Base"


def test_a_corrupt_model_is_one_clear_sentence(tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(BASE, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"damaged or incomplete.*restore the folder"):
        load_model(broken)


def test_a_scale_is_known_by_its_name_and_holds_together(monkeypatch):
    monkeypatch.setenv("R1LAB_SCALE", "huge")
    with pytest.raises(ValueError, match="tiny, t4, a100, cluster"):
        get_scale()
    for scale in SCALES.values():
        completions = scale.groups * scale.group_size
        assert completions % (scale.micro_batch or completions) == 0
        assert scale.reason and scale.group_size >= 2
    assert SCALES["t4"].dtype == "float16"


def test_an_unwritable_output_folder_says_what_to_do(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("R1LAB_OUTPUT", str(blocked / "runs"))
    with pytest.raises(PermissionError, match="set R1LAB_OUTPUT"):
        output_folder()
