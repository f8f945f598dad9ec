"""The engine samples what transformers samples, scores it as a full forward pass does, and repeats itself by seed."""

import pytest
import torch

from r1lab import engine
from r1lab.policy import Policy, load_model
from r1lab.problems import load_problems, take_balanced

transformers = pytest.importorskip("transformers")
ENDS = [11, 23, 42, 57]
# What a model may look like: (family, settings)
SHAPES = {
    "llama, tied, one key head": ("Llama", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "llama, biased, own head size": ("Llama", {"attention_bias": True, "mlp_bias": True, "head_dim": 12}),
    "llama, no groups, own theta": ("Llama", {"num_key_value_heads": 4, "rope_theta": 500.0}),
    "llama 3's frequencies": (
        "Llama",
        {"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                          "original_max_position_embeddings": 16}},
    ),
    "linear frequencies": ("Llama", {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
    "yarn": ("Llama", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}}),
    "qwen2": ("Qwen2", {}),
    "qwen3, biased": ("Qwen3", {"attention_bias": True, "head_dim": 8}),
}  # fmt: skip
PROMPTS = [[5, 6, 7], [9], [5, 6, 7], [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]]


def random_model(family="Llama", **settings):
    """Weights large enough that the most probable token is clear and texts vary."""
    sizes = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
    ends = {"eos_token_id": None, "bos_token_id": None, "pad_token_id": 0}
    config = {**sizes, **ends, "initializer_range": 0.3, "tie_word_embeddings": False, **settings}
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**config)
    return getattr(transformers, f"{family}ForCausalLM")(config).eval()


@pytest.fixture(scope="module")
def llama():
    return random_model()


def sample(model, prompts=PROMPTS, **settings):
    return engine.generate(model, prompts, **{"ends": [3], "max_new_tokens": 20, **settings})


def same(some, others):
    pairs = zip(some, others, strict=True)
    return all(torch.equal(a.ids, b.ids) and a.truncated == b.truncated for a, b in pairs)


def logprob_error(model, prompt, completion):
    """The largest difference from one forward pass over the whole text."""
    assert len(completion.logprobs) == len(completion.ids) and completion.logprobs.dtype == torch.float32
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *completion.ids.tolist()]])).logits[0, len(prompt) - 1 : -1]
    wanted = logits.float().log_softmax(-1).gather(-1, completion.ids[:, None])[:, 0]
    return (wanted - completion.logprobs).abs().max()


def check_greedy(model, prompts, ends, limit):
    """Token by token what transformers decodes, and the log-probabilities of a full forward pass."""
    ours = sample(model, prompts, ends=ends, max_new_tokens=limit, temperature=0)
    settings = {"do_sample": False, "max_new_tokens": limit, "eos_token_id": ends, "pad_token_id": 0}
    for prompt, completion in zip(prompts, ours, strict=True):
        ids = torch.tensor([prompt])
        theirs = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)[0, len(prompt) :]
        assert completion.ids.tolist() == theirs.tolist()
        assert logprob_error(model, prompt, completion) <= 1e-4


# ------------------------------------------------------------------------------------- what transformers decodes
@pytest.mark.parametrize("name", ["tiny-zero", "tiny-student"])
def test_greedy_decoding_of_the_shipped_models_is_that_of_transformers(name):
    model, tokenizer = load_model(name)
    policy = Policy(model, tokenizer)
    texts = [policy.render(row["prompt"]) for row in take_balanced(load_problems("test"), 3)]
    prompts = tokenizer(texts, add_special_tokens=False)["input_ids"]
    check_greedy(model, prompts, [model.config.eos_token_id], 24)


@pytest.mark.parametrize("shape", SHAPES)
def test_greedy_decoding_of_any_supported_shape_is_that_of_transformers(shape):
    family, settings = SHAPES[shape]
    check_greedy(random_model(family, **settings), PROMPTS[1:], ENDS, 24)


def test_a_lora_adapter_is_sampled_too(llama):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(random_model(), LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"]))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    ours = sample(model, temperature=0)
    assert not same(ours, sample(llama, temperature=0))
    assert same(ours, sample(model.merge_and_unload(), temperature=0))


# ------------------------------------------------------------------------------------------------------- sampling
@pytest.mark.parametrize("temperature,top_p", [(1.0, 1.0), (0.7, 1.0), (1.3, 0.8)])
def test_logprobs_are_the_policys_own_whatever_it_is_sampled_with(llama, temperature, top_p):
    completions = sample(llama, temperature=temperature, top_p=top_p)
    assert all(logprob_error(llama, *pair) <= 1e-4 for pair in zip(PROMPTS, completions, strict=True))


@pytest.mark.parametrize("rows", [1, 7])
def test_the_row_budget_changes_nothing(llama, rows):
    settings = {"ends": ENDS, "seed": 7, "max_new_tokens": 12}
    assert same(sample(llama, PROMPTS * 3, rows=rows, **settings), sample(llama, PROMPTS * 3, **settings))


def test_seeds_repeat_and_differ_and_leave_the_callers_random_numbers_alone(llama):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = sample(llama, seed=1)
    assert torch.equal(torch.rand(1), expected)
    assert same(first, sample(llama, seed=1)) and not same(first, sample(llama, seed=2))
    assert not torch.equal(first[0].ids, first[2].ids), "equal prompts, different samples"
    longer = sample(llama, seed=1, max_new_tokens=30)
    assert all(torch.equal(a.ids, b.ids[: len(a.ids)]) for a, b in zip(first, longer, strict=True))


@pytest.mark.parametrize("temperature,top_p", [(1.0, 1.0), (0.5, 1.0), (2.0, 1.0), (1.0, 0.6)])
def test_samples_follow_the_probabilities(temperature, top_p):
    count, order = 40_000, torch.randperm(12, generator=torch.Generator().manual_seed(0))
    logits = torch.linspace(-2, 2, 12)[order]
    wanted = (logits / temperature).softmax(-1)
    if top_p < 1:
        ranked, order = wanted.sort(descending=True)
        wanted[order[int((ranked.cumsum(0) < top_p).sum()) + 1 :]] = 0
        wanted /= wanted.sum()
    randoms = torch.rand(count, generator=torch.Generator().manual_seed(1))
    ids, _ = engine.choose(logits.expand(count, -1), randoms, temperature, top_p)
    shares = torch.bincount(ids, minlength=12) / count
    assert (shares - wanted).abs().max() < 0.01
    assert not shares[wanted == 0].any(), "top-p never samples what it cuts off"


def test_a_low_temperature_and_a_small_top_p_are_greedy(llama):
    greedy = sample(llama, temperature=0)
    assert same(sample(llama, temperature=0.001), greedy) and same(sample(llama, top_p=1e-6), greedy)
    assert not same(sample(llama), greedy)


def test_no_random_number_points_outside_the_vocabulary():
    logits = torch.tensor([[0.0, float("-inf"), 0.0, float("-inf")]]).expand(3, 4)
    ids, logprobs = engine.choose(logits, torch.tensor([0.0, 0.51, 1.0 - 2**-24]), 1.0, 1.0)
    assert ids.tolist() == [0, 2, 2] and logprobs.isfinite().all()


# -------------------------------------------------------------------------------------------------- ends and modes
def test_a_completion_is_truncated_unless_its_last_token_is_an_end(llama):
    ends, limit = [3, 4, 5, 6], 8
    completions = sample(llama, PROMPTS * 10, ends=ends, max_new_tokens=limit)
    assert {c.truncated for c in completions} == {True, False}
    for completion in completions:
        ids = completion.ids.tolist()
        assert completion.truncated == (ids[-1] not in ends) and not set(ids[:-1]) & set(ends)
        assert len(ids) == limit if completion.truncated else len(ids) <= limit
    # An end as the last allowed token is an end.
    (whole,) = sample(llama, PROMPTS[:1], ends=[], max_new_tokens=5, temperature=0)
    last = whole.ids[-1].item()
    first = whole.ids.tolist().index(last) + 1
    (ended,) = sample(llama, PROMPTS[:1], ends=[last], max_new_tokens=first, temperature=0)
    assert whole.truncated and not ended.truncated and len(ended.ids) == first


def test_a_training_model_is_sampled_without_dropout_and_goes_on_training():
    model = random_model(attention_dropout=0.5)
    wanted, threads = sample(model, seed=3), torch.get_num_threads()
    model.train()
    assert same(sample(model, seed=3), wanted)
    assert model.training and model.model.layers[0].training and torch.get_num_threads() == threads
    # What comes out can go into a loss.
    ids = torch.cat([torch.tensor(PROMPTS[0]), wanted[0].ids])[None]
    model(ids).logits.log_softmax(-1).sum().backward()


def test_bfloat16_runs_and_its_logprobs_are_close():
    model = random_model("Qwen3", head_dim=8, initializer_range=0.1).to(torch.bfloat16)
    assert all(logprob_error(model, *pair) < 0.1 for pair in zip(PROMPTS, sample(model), strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_samples_with_the_same_random_numbers(llama, dtype):
    ours = sample(random_model().to("cuda", dtype), seed=3)
    assert all(c.ids.device.type == "cpu" for c in ours)
    assert dtype == torch.bfloat16 or same(ours, sample(llama, seed=3))


# ---------------------------------------------------------------------------------------------------------- errors
DYNAMIC = {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}
REFUSED = {
    r"type 'gpt2'.*llama, qwen2, qwen3.*model\.generate": ("GPT2", {"n_embd": 16, "n_layer": 1, "n_head": 2}),
    "rotary positions are of the type 'dynamic'": ("Llama", DYNAMIC),
    "sliding window": ("Qwen3", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_model_that_it_cannot_sample_is_refused_with_the_reason(reason):
    family, settings = REFUSED[reason]
    if family == "GPT2":
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=20, **settings))
    else:
        model = random_model(family, **settings)
    with pytest.raises(ValueError, match=reason):
        sample(model, [[1]])


def test_an_empty_prompt_and_a_broken_model_are_one_clear_sentence():
    model = random_model()
    with pytest.raises(ValueError, match="a prompt has no tokens"):
        sample(model, [[1], []])
    assert sample(model, []) == []
    torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    with pytest.raises(FloatingPointError, match="probabilities are not numbers"):
        sample(model, [[1]])
    assert not model.training
