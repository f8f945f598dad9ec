"""The base model's making, in miniature: the layout matches the chat template, the loss falls, the seed decides."""

from contextlib import nullcontext
from itertools import islice

import pytest
import torch

from r1lab.policy import load_policy
from tinyworld.corpus import documents
from tinyworld.general import general_prompts
from tinyworld.pretrain import Recipe, Size, batches, encode, has_native_bfloat16, pretrain
from tinyworld.tokenizer import VOCABULARY_SIZE, train_tokenizer

RECIPE = Recipe(documents=1600, batch=16, warmup=10)
SIZE = Size(hidden_size=32, layers=1, heads=2, kv_heads=1, mlp=64, head_dim=16)


def test_documents_are_laid_out_as_the_chat_template_renders_them():
    tokenizer = load_policy("tiny-base").tokenizer
    rows = [*islice(documents(9), 200)]
    rows += [{"prompt": row["prompt"], "reply": row["good"]} for row in general_prompts()]
    for row, (ids, prompt) in zip(rows, encode(tokenizer, rows), strict=True):
        chat = [{"role": "user", "content": row["prompt"]}]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        assert ids[:prompt] == tokenizer(text, add_special_tokens=False)["input_ids"]
        whole = tokenizer(text + row["reply"] + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
        assert ids == whole, "the reply must not be tokenised differently after the prompt"


def test_batches_weigh_the_reply_and_ignore_padding():
    tokenizer = load_policy("tiny-base").tokenizer
    ids, weights = next(batches(tokenizer, documents(9), RECIPE))
    assert ids.shape == weights.shape and ids.shape[0] == RECIPE.batch and ids.shape[1] % 8 == 0
    assert set(weights.unique().tolist()) <= {0.0, float(torch.tensor(RECIPE.prompt_weight)), 1.0}
    assert torch.all(weights[ids == tokenizer.pad_token_id] == 0)
    assert torch.all((ids == tokenizer.eos_token_id).sum(1) == 1)
    assert torch.all(weights[ids == tokenizer.eos_token_id] == 1)


@pytest.mark.slow
def test_pretraining_learns_and_follows_its_seed(tmp_path):
    tokenizer = train_tokenizer(documents(1), 2000)
    assert len(tokenizer) == VOCABULARY_SIZE
    options = {"size": SIZE, "recipe": RECIPE, "log": lambda line: None}
    runs = [pretrain(tokenizer, documents(0), tmp_path / name, **options) for name in ("a", "b")]
    losses = [[row["loss"] for row in run] for run in runs]
    assert losses[0] == losses[1]
    assert losses[0][-1] < 0.85 * losses[0][0]
    assert load_policy(tmp_path / "a").generate(["Hello!"], max_new_tokens=3)


@pytest.mark.parametrize(
    ("machine", "onednn", "bf16", "amx", "native"),
    [
        ("x86_64", False, False, False, False),  # AVX2
        ("x86_64", True, False, False, False),  # AVX-512 that emulates it
        ("x86_64", True, True, False, True),  # AVX-512 BF16
        ("AMD64", True, False, True, True),  # AMX
        ("aarch64", True, False, False, True),
        ("aarch64", False, False, False, False),
    ],
)
def test_bfloat16_is_used_where_the_cpu_has_it(machine, onednn, bf16, amx, native, monkeypatch, tmp_path):
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
    assert has_native_bfloat16() is native
    tokenizer, seen = load_policy("tiny-base").tokenizer, []
    monkeypatch.setattr(torch.nn.functional, "cross_entropy", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(torch, "autocast", lambda *a, enabled, **k: seen.append(enabled) or nullcontext())
    with pytest.raises(ZeroDivisionError):
        pretrain(tokenizer, documents(0), tmp_path, size=SIZE, recipe=RECIPE)
    assert seen == [native]
