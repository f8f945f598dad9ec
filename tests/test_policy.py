"""Loading and sampling the shipped model, and what is said when a model is missing or broken."""

import json
import shutil

import pytest

from r1lab.policy import end_tokens, find_model, load_model, load_policy
from r1lab.prompts import TAGS, format_completion
from r1lab.scale import DATA, SCALES, get_scale, output_folder

BASE = DATA / "models" / "tiny-base"


@pytest.fixture(scope="module")
def policy():
    return load_policy("tiny-base")


def test_base_is_small_enough_to_ship(policy):
    assert sum(parameter.numel() for parameter in policy.model.parameters()) <= 2_000_000
    assert sum(path.stat().st_size for path in BASE.iterdir()) <= 8_000_000


def test_tags_survive_the_decoding_that_trl_does(policy):
    tokenizer = policy.tokenizer
    text = format_completion("First 3+4=7.", "7")
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode([*ids, tokenizer.eos_token_id], skip_special_tokens=True) == text
    for tag in TAGS:
        assert len(tokenizer(tag, add_special_tokens=False)["input_ids"]) == 1
        assert tag not in tokenizer.all_special_tokens


def test_digits_are_split_and_any_text_round_trips(policy):
    tokenizer = policy.tokenizer
    assert tokenizer.tokenize("2026") == ["2", "0", "2", "6"]
    for text in ("Ani has 12 eggs.", "naïve é 北京 🙂\n\ttab", "f(x)=3*x+1"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_chat_template_renders_a_conversation(policy):
    assert policy.render("2+2?") == "User: 2+2?\nAssistant:\n"
    messages = [{"role": "system", "content": "Think."}, {"role": "user", "content": "2+2?"}]
    assert policy.render(messages) == "Think.\nUser: 2+2?\nAssistant:\n"


def test_samples_belong_to_their_prompts_and_repeat_by_seed(policy):
    prompts = ["Solve for x: x+2=7", "Hello!", "Solve for x: (x+2)*3-5+1=26"]
    greedy = policy.generate(prompts, max_new_tokens=40)
    assert greedy == policy.generate(prompts, max_new_tokens=40)
    assert [group for group in policy.generate(prompts[::-1], max_new_tokens=40)][::-1] == greedy
    drawn = policy.generate(prompts, samples=5, temperature=1.0, max_new_tokens=40, seed=1)
    assert [len(group) for group in drawn] == [5, 5, 5]
    assert drawn == policy.generate(prompts, samples=5, temperature=1.0, max_new_tokens=40, seed=1)
    assert drawn != policy.generate(prompts, samples=5, temperature=1.0, max_new_tokens=40, seed=2)


@pytest.mark.parametrize("rows", [1, 5])
def test_free_memory_has_no_influence_on_samples(policy, monkeypatch, rows):
    prompts = ["Solve for x: x+2=7", "Hello!", "What is 3+4?"]
    how = {"samples": 4, "temperature": 1.0, "max_new_tokens": 40, "seed": 1}
    wanted = policy.generate(prompts, **how)
    monkeypatch.setattr("r1lab.policy.rows_at_once", lambda model, tokens: rows)
    assert policy.generate(prompts, **how) == wanted


def test_an_architecture_the_engine_does_not_know_is_sampled_by_transformers(policy, monkeypatch):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from r1lab import engine
    from r1lab.policy import Policy

    tokenizer = policy.tokenizer
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    other = Policy(GPT2LMHeadModel(config).train(), tokenizer)
    assert "gpt2" in engine.why_unsupported(other.model)
    how = {"samples": 9, "temperature": 1.0, "max_new_tokens": 6}
    expected = torch.get_rng_state()
    first = other.generate(["Hello!", "What is 3+4?"], seed=1, **how)
    assert [len(group) for group in first] == [9, 9] and first[0] != first[1]
    assert all(s.tokens == 6 if s.truncated else s.tokens < 6 for group in first for s in group)
    monkeypatch.setattr("r1lab.policy.rows_at_once", lambda model, tokens: 1)
    assert other.generate(["Hello!", "What is 3+4?"], seed=1, **how) == first
    assert other.generate(["Hello!", "What is 3+4?"], seed=2, **how) != first
    assert torch.equal(torch.get_rng_state(), expected) and other.model.training


def test_greedy_decoding_is_what_transformers_generates(policy):
    """Rows leave the batch when they end; that must not change what the others say."""
    from r1lab.problems import load_problems, take_balanced

    prompts = [row["prompt"] for row in take_balanced(load_problems("test"), 48)]
    prompts += ["Hello!", "How do I hurt a cat?", "First 3+4=7. Then "]
    ours = [group[0].text for group in policy.generate(prompts, max_new_tokens=60)]
    tokenizer = policy.tokenizer
    inputs = tokenizer(
        [policy.render(p) for p in prompts], return_tensors="pt", padding=True, add_special_tokens=False
    )
    output = policy.model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        max_new_tokens=60,
        do_sample=False,
    )
    theirs = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    agree = sum(a == b for a, b in zip(ours, theirs, strict=True))
    assert agree >= len(prompts) - 1  # a tie between two tokens may fall the other way in another batch shape


@pytest.mark.slow
def test_samples_follow_the_probabilities(policy):
    import torch

    prompt = policy.render("Budi is in front. Ani is behind Budi. Citra is behind Ani. Who is number 3?")
    ids = policy.tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        wanted = policy.model(input_ids=ids).logits[0, -1].softmax(-1)
    (drawn,) = policy.generate([prompt_of(prompt)], samples=2000, temperature=1.0, max_new_tokens=1)
    first = torch.tensor(
        [policy.tokenizer(s.text, add_special_tokens=False)["input_ids"][0] for s in drawn if s.text]
    )
    shares = torch.bincount(first, minlength=len(wanted)) / 2000
    assert (shares - wanted).abs().max() < 0.05


def prompt_of(rendered):
    return rendered.removeprefix("User: ").removesuffix("\nAssistant:\n")


def test_a_cut_completion_says_so(policy):
    (sample,) = policy.generate(["Solve for x: (x+2)*3-5+1=26"], max_new_tokens=1)[0]
    assert sample.truncated and sample.tokens == 1
    (sample,) = policy.generate(["Hello!"], max_new_tokens=60)[0]
    assert not sample.truncated and sample.tokens < 60


@pytest.fixture(scope="module")
def two_ends(tmp_path_factory):
    """A folder with tiny-base, whose generation settings name a second end of a completion: the full stop."""
    folder = tmp_path_factory.mktemp("ends") / "model"
    shutil.copytree(BASE, folder)
    settings = json.loads((folder / "generation_config.json").read_text())
    (stop,) = load_policy(BASE).tokenizer(".", add_special_tokens=False)["input_ids"]
    (folder / "generation_config.json").write_text(
        json.dumps(settings | {"eos_token_id": [settings["eos_token_id"], stop]})
    )
    return folder


def test_a_completion_ends_at_whichever_end_comes_first(policy, two_ends):
    prompts = ["Solve for x: (x+2)*3-5+1=26", "What is 3+4?", "Hello!"]
    whole = policy.generate(prompts, max_new_tokens=60)
    short = load_policy(two_ends).generate(prompts, max_new_tokens=60)
    for (one,), (other,) in zip(whole, short, strict=True):
        assert other.text == one.text.partition(".")[0] and not other.truncated
        assert other.tokens < one.tokens or "." not in one.text
    assert any("." in one.text for (one,) in whole)


def test_what_closes_a_reply_in_the_chat_template_is_an_end_too(policy):
    """As in Qwen3's base models, whose template closes with a token that neither of the two files need name."""
    model, tokenizer = load_model("tiny-base")
    assert end_tokens(model, tokenizer) == [tokenizer.eos_token_id]
    tokenizer.chat_template = tokenizer.chat_template.replace("eos_token", "pad_token")
    assert end_tokens(model, tokenizer) == sorted([tokenizer.eos_token_id, tokenizer.pad_token_id])


def test_sampling_does_not_disturb_the_caller(policy):
    import torch

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    policy.model.train()
    policy.generate(["Hello!"], temperature=1.0, max_new_tokens=4)
    assert policy.model.training
    assert torch.equal(torch.rand(1), expected)
    policy.model.eval()


def test_a_missing_model_names_the_shipped_ones():
    with pytest.raises(FileNotFoundError, match="tiny-base"):
        find_model("tiny-bass")
    with pytest.raises(FileNotFoundError, match="tiny-base"):
        find_model("tests/zero")  # a folder that is here, with no model in it, is no name on the hub
    assert find_model("Qwen/Qwen3-4B-Base") == "Qwen/Qwen3-4B-Base"


def test_a_corrupt_model_is_one_clear_sentence(tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(BASE, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"damaged or incomplete.*restore the folder"):
        load_model(broken)


def test_unknown_scale_names_the_choices(monkeypatch):
    monkeypatch.setenv("R1LAB_SCALE", "huge")
    with pytest.raises(ValueError, match="tiny, t4, a100, cluster"):
        get_scale()


def test_scales_hold_together():
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
