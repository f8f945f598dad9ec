"""The example that is the whole of R1-Zero: its step is TRL's step, and it trains."""

import importlib.util
from dataclasses import replace

import pytest
import torch

from r1lab.policy import Policy, find_model, load_model, load_policy
from r1lab.scale import DATA, SCALES
from r1lab.stages.config import make_grpo_args
from r1lab.stages.zero import make_zero_trainer, zero_rewards

# AdamW's first step divides each gradient by its own size. With the default of 1e-8 the result for gradients of 1e-10 would
# depend on how float32 rounds them; this way both sides take the step of the same formula.
EPSILON = 1e-6
START = "tiny-zero"  # it is right now and then, so that a few short completions have different rewards
PATH = DATA.parent / "examples" / "zero_by_hand.py"


@pytest.fixture(scope="module")
def by_hand():
    spec = importlib.util.spec_from_file_location("zero_by_hand", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_settings_are_those_of_the_stage(by_hand):
    scale, args, rewards = SCALES["tiny"], make_grpo_args(SCALES["tiny"], "unused"), zero_rewards()
    assert (scale.groups, scale.group_size) == (by_hand.GROUPS, by_hand.GROUP_SIZE)
    assert (args.max_completion_length, args.learning_rate) == (by_hand.MAX_NEW_TOKENS, by_hand.LEARNING_RATE)
    assert (args.max_grad_norm, args.warmup_steps) == (by_hand.MAX_GRADIENT_NORM, by_hand.WARMUP_STEPS)
    weights = {
        f.__name__: w for f, w in zip(rewards["reward_funcs"], rewards["reward_weights"], strict=True) if w
    }
    assert weights.pop("countdown"), "no problem of the tiny world is one"
    assert weights == by_hand.WEIGHTS


@pytest.fixture(scope="module")
def trl_step(tmp_path_factory):
    """One step of TRL's trainer from START: (trainer after it, prompts, completions, their rows, advantages)."""
    seen, folder = [], tmp_path_factory.mktemp("trl")
    settings = {"max_steps": 1, "warmup_steps": 0, "save_strategy": "no", "seed": 3, "adam_epsilon": EPSILON}
    scale = replace(SCALES["tiny"], groups=4, max_completion_tokens=64)
    trainer = make_zero_trainer(scale, folder, model=find_model(START), **settings)
    score = trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda rows: seen.extend((rows, score(rows))) or seen[1]
    trainer.train()
    rows, batch = seen

    def without_padding(name):
        pairs = zip(batch[f"{name}_ids"], batch[f"{name}_mask"], strict=True)
        return [ids[mask.bool()] for ids, mask in pairs]

    prompts = [ids.tolist() for ids in without_padding("prompt")]
    return trainer, prompts, without_padding("completion"), rows, batch["advantages"]


def test_rewards_and_advantages_are_trls(by_hand, trl_step):
    trainer, _, completions, rows, advantages = trl_step
    tokenizer = trainer.processing_class
    rewards = by_hand.grade(tokenizer.batch_decode(completions, skip_special_tokens=True), rows)
    assert rewards.unique().numel() > 1
    assert torch.allclose(by_hand.compare_with_group(rewards), advantages, atol=1e-6)


def test_one_step_is_trls_step(by_hand, trl_step):
    trainer, prompts, completions, _, advantages = trl_step
    model, _ = load_model(START)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=by_hand.LEARNING_RATE, weight_decay=0.0, eps=EPSILON)
    by_hand.learn(model, optimizer, prompts, completions, advantages)
    moved = 0.0
    for (name, mine), other in zip(model.named_parameters(), trainer.model.parameters(), strict=True):
        assert (mine - other).abs().max() <= 1e-5, name
        moved = max(moved, (mine - before[name]).abs().max().item())
    assert moved > 1e-4
    groups = advantages.view(-1, by_hand.GROUP_SIZE)
    assert 0 < int(groups.any(1).sum()) < len(groups), "some groups were skipped, some were not"


def test_its_log_probabilities_are_those_of_each_completion_alone(by_hand):
    model, tokenizer = load_model("tiny-zero")
    text = Policy(model, tokenizer).render("Solve for x: x+2=7")
    prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    completions = [torch.arange(start, start + n) for start, n in ((30, 7), (50, 1), (99, 12))]
    ours = by_hand.log_probabilities(model, prompt, completions)
    alone = []
    for completion in completions:
        ids = torch.cat([torch.tensor(prompt), completion])[None]
        logits = model(ids).logits[0, len(prompt) - 1 : -1]
        alone.append(logits.log_softmax(-1).gather(-1, completion[:, None])[:, 0])
    assert torch.allclose(ours, torch.cat(alone), atol=1e-4)


def test_a_run_prints_saves_and_repeats(by_hand, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(by_hand, "accuracy", lambda model, tokenizer: 0.5)
    monkeypatch.setattr(by_hand, "GROUPS", 2)
    monkeypatch.setattr(by_hand, "MAX_NEW_TOKENS", 64)
    monkeypatch.setattr(by_hand, "load_model", lambda name: load_model(START))
    for folder in ("one", "other"):
        by_hand.main(["--steps", "2", "--seed", "1", "--output", str(tmp_path / folder)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "before: 50% of the sampled answers are right"
    assert lines[1].startswith("step   2: mean reward")
    one, other = (tmp_path / folder / "model.safetensors" for folder in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()
    trained = load_policy(tmp_path / "one")
    assert not torch.equal(trained.model.lm_head.weight, load_model(START)[0].lm_head.weight)
