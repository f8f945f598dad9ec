"""The engine writes what transformers writes, scores it as a full forward pass does, and repeats itself by seed."""

import ast

import pytest
import torch

from r1lab import engine
from r1lab.policy import Policy, load_model
from r1lab.problems import load_problems, take_balanced
from r1lab.scale import DATA

transformers = pytest.importorskip("transformers")
SHIPPED = ("tiny-base", "tiny-zero", "tiny-student")
# What a model may look like: (family, settings)
SHAPES = {
    "llama, tied, one key head": ("Llama", {"num_key_value_heads": 1, "tie_word_embeddings": True}),
    "llama, untied, biased, own head size": (
        "Llama",
        {"attention_bias": True, "mlp_bias": True, "head_dim": 12},
    ),
    "llama, no groups": ("Llama", {"num_key_value_heads": 4}),
    "llama, theta of its own": ("Llama", {"rope_theta": 500.0}),
    "llama 3's frequencies": (
        "Llama",
        {
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            }
        },
    ),
    "linear frequencies": ("Llama", {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
    "yarn": (
        "Llama",
        {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}},
    ),
    "qwen2": ("Qwen2", {}),
    "qwen3, biased": ("Qwen3", {"attention_bias": True, "head_dim": 8}),
}
PROMPTS = [[5, 6, 7], [9], [5, 6, 7], [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], [8, 8]]


def random_model(family="Llama", seed=0, **settings):
    """Weights large enough that the most probable token is clear and texts vary."""
    config = getattr(transformers, f"{family}Config")(
        **{
            "vocab_size": 60,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128,
            "initializer_range": 0.3,
            "tie_word_embeddings": False,
            "eos_token_id": None,
            "bos_token_id": None,
            "pad_token_id": 0,
            **settings,
        }
    )
    torch.manual_seed(seed)
    return getattr(transformers, f"{family}ForCausalLM")(config).eval()


@pytest.fixture(scope="module")
def llama():
    return random_model()


def greedy_of_transformers(model, prompt, ends, limit):
    output = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=limit,
        eos_token_id=ends,
        pad_token_id=0,
    )
    return output[0, len(prompt) :].tolist()


def full_logprobs(model, prompt, completion):
    """Of every completion token, from one forward pass over the whole text."""
    ids = torch.tensor([[*prompt, *completion.ids.tolist()]])
    with torch.no_grad():
        logits = model(ids).logits[0, len(prompt) - 1 : -1].float()
    return logits.log_softmax(-1).gather(-1, completion.ids[:, None])[:, 0]


def same(some, others):
    return len(some) == len(others) and all(
        torch.equal(a.ids, b.ids) and a.truncated == b.truncated for a, b in zip(some, others, strict=True)
    )


def shipped(name, count):
    model, tokenizer = load_model(name)
    policy = Policy(model, tokenizer)
    texts = [policy.render(row["prompt"]) for row in take_balanced(load_problems("test"), count)]
    return model, tokenizer(texts, add_special_tokens=False)["input_ids"]


# --------------------------------------------------------------------------------------- what transformers writes
@pytest.mark.parametrize("name", SHIPPED)
def test_greedy_decoding_of_the_shipped_models_is_that_of_transformers(name):
    model, prompts = shipped(name, 8)
    ends = [model.config.eos_token_id]
    ours = engine.generate(model, prompts, ends=ends, max_new_tokens=48, temperature=0)
    for prompt, completion in zip(prompts, ours, strict=True):
        assert completion.ids.tolist() == greedy_of_transformers(model, prompt, ends, 48)
        assert (full_logprobs(model, prompt, completion) - completion.logprobs).abs().max() <= 1e-4


@pytest.mark.parametrize("shape", SHAPES)
def test_greedy_decoding_of_any_supported_shape_is_that_of_transformers(shape):
    family, settings = SHAPES[shape]
    model, ends = random_model(family, **settings), [11, 23, 42, 57]
    ours = engine.generate(model, PROMPTS, ends=ends, max_new_tokens=40, temperature=0)
    for prompt, completion in zip(PROMPTS, ours, strict=True):
        assert completion.ids.tolist() == greedy_of_transformers(model, prompt, ends, 40)
        assert (full_logprobs(model, prompt, completion) - completion.logprobs).abs().max() <= 1e-4


def test_a_lora_adapter_is_sampled_too(llama):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(random_model(), LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"]))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    how = {"ends": [], "max_new_tokens": 12, "temperature": 0}
    ours = engine.generate(model, PROMPTS, **how)
    assert not same(ours, engine.generate(llama, PROMPTS, **how))
    assert same(ours, engine.generate(model.merge_and_unload(), PROMPTS, **how))


# ------------------------------------------------------------------------------------------------------- sampling
@pytest.mark.parametrize("temperature,top_p", [(1.0, 1.0), (0.7, 1.0), (1.3, 0.8)])
def test_logprobs_are_the_policys_own_whatever_it_is_sampled_with(llama, temperature, top_p):
    how = {"ends": [3, 4], "max_new_tokens": 30, "temperature": temperature, "top_p": top_p}
    for prompt, completion in zip(PROMPTS * 4, engine.generate(llama, PROMPTS * 4, **how), strict=True):
        assert len(completion.logprobs) == len(completion.ids)
        assert (full_logprobs(llama, prompt, completion) - completion.logprobs).abs().max() <= 1e-4


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 20])
def test_the_row_budget_changes_nothing(llama, rows):
    prompts, how = PROMPTS * 4, {"ends": [3, 4, 5], "max_new_tokens": 30, "seed": 7}
    assert same(engine.generate(llama, prompts, rows=rows, **how), engine.generate(llama, prompts, **how))


def test_seeds_repeat_and_differ_and_leave_the_callers_random_numbers_alone(llama):
    how = {"ends": [3], "max_new_tokens": 20}
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = engine.generate(llama, PROMPTS, seed=1, **how)
    assert torch.equal(torch.rand(1), expected)
    assert same(first, engine.generate(llama, PROMPTS, seed=1, **how))
    assert not same(first, engine.generate(llama, PROMPTS, seed=2, **how))
    assert not torch.equal(first[0].ids, first[2].ids), "equal prompts, different samples"


def test_a_longer_limit_only_appends(llama):
    short, long = (
        engine.generate(llama, PROMPTS, ends=[3], max_new_tokens=n, seed=1, temperature=0.9) for n in (6, 30)
    )
    for one, other in zip(short, long, strict=True):
        assert torch.equal(one.ids, other.ids[: len(one.ids)])


@pytest.mark.parametrize("temperature,top_p", [(1.0, 1.0), (0.5, 1.0), (2.0, 1.0), (1.0, 0.6)])
def test_samples_follow_the_probabilities(llama, temperature, top_p):
    count = 20_000
    with torch.no_grad():
        wanted = (llama(torch.tensor([PROMPTS[0]])).logits[0, -1] / temperature).softmax(-1)
    if top_p < 1:
        ranked, order = wanted.sort(descending=True)
        kept = int((ranked.cumsum(0) < top_p).sum()) + 1
        assert 1 < kept < len(wanted)
        wanted[order[kept:]] = 0
        wanted /= wanted.sum()
    drawn = engine.generate(
        llama,
        [PROMPTS[0]] * count,
        ends=[],
        max_new_tokens=1,
        temperature=temperature,
        top_p=top_p,
        rows=count,
    )
    shares = torch.bincount(torch.cat([c.ids for c in drawn]), minlength=len(wanted)) / count
    assert (shares - wanted).abs().max() < 0.02
    assert not shares[wanted == 0].any(), "top-p never samples what it cuts off"


def test_no_random_number_points_outside_the_vocabulary():
    logits = torch.tensor([[0.0, float("-inf"), 0.0, float("-inf")]]).expand(3, 4)
    ids, logprobs = engine.choose(logits, torch.tensor([0.0, 0.51, 1.0 - 2**-24]), 1.0, 1.0)
    assert ids.tolist() == [0, 2, 2] and logprobs.isfinite().all()


# -------------------------------------------------------------------------------------------------- ends and modes
def test_a_completion_is_truncated_unless_its_last_token_is_an_end(llama):
    ends, limit = [3, 4, 5, 6], 8
    completions = engine.generate(llama, PROMPTS * 10, ends=ends, max_new_tokens=limit)
    assert {c.truncated for c in completions} == {True, False}
    for completion in completions:
        ids = completion.ids.tolist()
        assert completion.truncated == (ids[-1] not in ends) and not set(ids[:-1]) & set(ends)
        assert len(ids) == limit if completion.truncated else len(ids) <= limit


def test_an_end_as_the_last_allowed_token_is_an_end(llama):
    (whole,) = engine.generate(llama, [[5, 6, 7]], ends=[], max_new_tokens=5, temperature=0)
    first = whole.ids.tolist().index(whole.ids[-1].item()) + 1
    (ended,) = engine.generate(
        llama, [[5, 6, 7]], ends=[whole.ids[-1].item()], max_new_tokens=first, temperature=0
    )
    assert whole.truncated and not ended.truncated and len(ended.ids) == first


def test_a_training_model_is_sampled_without_dropout_and_goes_on_training(llama):
    model = random_model(attention_dropout=0.5)
    how = {"ends": [3], "max_new_tokens": 20, "seed": 3}
    wanted, threads = engine.generate(model, PROMPTS, **how), torch.get_num_threads()
    model.train()
    assert same(engine.generate(model, PROMPTS, **how), wanted)
    assert model.training and model.model.layers[0].training and torch.get_num_threads() == threads
    # What comes out can go into a loss.
    ids = torch.cat([torch.tensor(PROMPTS[0]), wanted[0].ids])[None]
    model(ids).logits.log_softmax(-1).sum().backward()


def test_bfloat16_runs_and_its_logprobs_are_close(llama):
    model = random_model("Qwen3", head_dim=8, initializer_range=0.1).to(torch.bfloat16)
    completions = engine.generate(model, PROMPTS, ends=[3], max_new_tokens=20)
    for prompt, completion in zip(PROMPTS, completions, strict=True):
        assert completion.logprobs.dtype == torch.float32
        assert (full_logprobs(model, prompt, completion) - completion.logprobs).abs().max() < 0.1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_samples_with_the_same_random_numbers(llama, dtype):
    how = {"ends": [3], "max_new_tokens": 20, "seed": 3}
    model = random_model().to("cuda", dtype)
    ours = engine.generate(model, PROMPTS, **how)
    assert all(c.ids.device.type == "cpu" for c in ours)
    if dtype == torch.float32:
        assert same(ours, engine.generate(llama, PROMPTS, **how))


# ---------------------------------------------------------------------------------------------------------- errors
def test_another_architecture_is_refused_with_its_name():
    config = transformers.GPT2Config(vocab_size=20, n_embd=16, n_layer=1, n_head=2)
    with pytest.raises(ValueError, match=r"type 'gpt2'.*llama, qwen2, qwen3.*model\.generate"):
        engine.generate(transformers.GPT2LMHeadModel(config), [[1]], ends=[], max_new_tokens=2)


def test_frequencies_that_move_and_sliding_windows_are_refused():
    model = random_model(rope_scaling={"rope_type": "dynamic", "factor": 2.0})
    with pytest.raises(ValueError, match="rotary positions are of the type 'dynamic'"):
        engine.generate(model, [[1]], ends=[], max_new_tokens=2)
    model = random_model("Qwen3", use_sliding_window=True, sliding_window=4, max_window_layers=1)
    with pytest.raises(ValueError, match="sliding window"):
        engine.generate(model, [[1]], ends=[], max_new_tokens=2)


def test_an_empty_prompt_and_a_broken_model_are_one_clear_sentence():
    model = random_model()
    with pytest.raises(ValueError, match="a prompt has no tokens"):
        engine.generate(model, [[1], []], ends=[], max_new_tokens=2)
    assert engine.generate(model, [], ends=[], max_new_tokens=2) == []
    torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    with pytest.raises(FloatingPointError, match="probabilities are not numbers"):
        engine.generate(model, [[1]], ends=[], max_new_tokens=2)
    assert not model.training


def test_the_engine_imports_torch_only_and_fits_a_lecture():
    source = (DATA.parent / "src" / "r1lab" / "engine.py").read_text()
    tree = ast.walk(ast.parse(source))
    names = {
        name
        for node in tree
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        )
    }
    assert names <= {"typing", "torch"}
    assert len(source.splitlines()) <= 250
