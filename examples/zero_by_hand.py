"""R1-Zero by hand: trains a small language model to reason from rewards alone. The whole training loop is in this file.

    python examples/zero_by_hand.py --seed 0 --output build/by-hand

The base model was pretrained on problems with and without worked solutions. It often answers at once, often wrongly. This
training shows it no solutions. The model samples eight completions of each problem, and a program grades them. One step then
makes those with the higher rewards more probable. After about a hundred steps the model reasons before it answers. Of r1lab
it uses four things: the problems, the sampler (engine.py), the rewards, and the measure of accuracy.
"""

import argparse
import random
import time

import torch

from r1lab import engine
from r1lab.evaluation import evaluate
from r1lab.policy import Policy, end_tokens, load_model, set_threads
from r1lab.problems import load_problems
from r1lab.rewards import reward_set

GROUPS, GROUP_SIZE = 8, 8  # a step samples 8 completions for each of 8 problems
MAX_NEW_TOKENS, MAX_GRADIENT_NORM = 96, 1.0
LEARNING_RATE, WARMUP_STEPS = 4e-4, 5
# One reward for each kind of answer, and 0.5 for the format, so that format alone earns less than a right answer.
WEIGHTS = {"accuracy": 1.0, "logic": 1.0, "code": 1.0, "format": 0.5}
# Without this, "12+7" would count as the answer 19: the model could copy the question and still get the reward.
REWARDS = reward_set(WEIGHTS, accuracy={"require_simplified": True})


def train(model, tokenizer, *, steps: int, seed: int = 0):
    """Train `model` in place and yield after each step: mean reward, mean tokens, and groups with different rewards."""
    problems = load_problems("train")
    random.Random(seed).shuffle(problems)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    policy, ends = Policy(model, tokenizer), end_tokens(model, tokenizer)
    for step in range(steps):
        # Stage 1: sample a group of completions for each problem, at temperature 1. At any other temperature the samples
        # would come from a different distribution than the one whose log-probabilities we compute in stage 4.
        batch = [problems[(step * GROUPS + i) % len(problems)] for i in range(GROUPS)]
        rows = [problem for problem in batch for _ in range(GROUP_SIZE)]
        texts = [policy.render(row["prompt"]) for row in rows]
        prompts = tokenizer(texts, add_special_tokens=False)["input_ids"]
        # Every step needs new random numbers, so the seed of the sampling changes with the step.
        settings = {"ends": ends, "max_new_tokens": MAX_NEW_TOKENS, "seed": 1_000_000 * seed + step}
        completions = [completion.ids for completion in engine.generate(model, prompts, **settings)]

        # Stage 2: grade the text of each completion.
        rewards = grade(tokenizer.batch_decode(completions, skip_special_tokens=True), rows)

        # Stages 3 to 5. The learning rate starts low, because AdamW has not seen yet how large the gradients usually are.
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1.0, (step + 1) / WARMUP_STEPS)
        advantages = compare_with_group(rewards)
        learn(model, optimizer, prompts, completions, advantages)
        tokens = sum(map(len, completions)) / len(completions)
        mixed = int(advantages.view(-1, GROUP_SIZE).any(1).sum())
        yield {"step": step + 1, "reward": rewards.mean().item(), "tokens": tokens, "mixed": mixed}


def grade(texts: list[str], rows: list[dict]) -> torch.Tensor:
    """Reward of each completion: 1 for a right answer plus 0.5 for the format."""
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    rewards = torch.zeros(len(texts))
    for reward, weight in zip(REWARDS["reward_funcs"], REWARDS["reward_weights"], strict=True):
        scores = reward(completions=texts, **columns)
        # A reward function returns None for a problem that it does not grade.
        rewards += weight * torch.tensor([score or 0.0 for score in scores])
    return rewards


def compare_with_group(rewards: torch.Tensor) -> torch.Tensor:
    """Advantage of each completion: how much better its reward is than its group's mean, in standard deviations."""
    # Stage 3: subtract the group's mean. Otherwise an easy problem would make all its completions more probable.
    groups = rewards.view(-1, GROUP_SIZE)
    return ((groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-4)).flatten()


def learn(model, optimizer, prompts, completions, advantages) -> None:
    """One optimizer step: makes completions with a positive advantage more probable, and with a negative one less."""
    tokens = sum(map(len, completions))
    for start in range(0, len(completions), GROUP_SIZE):
        group = slice(start, start + GROUP_SIZE)
        # If all rewards of a group are equal, its advantages and its gradient are 0, so it is skipped. Its tokens still
        # count in the mean over all tokens of the step, as in the DAPO loss of Yu et al. (2025).
        if not advantages[group].any():
            continue
        # Stage 4: the loss. Each log-probability is weighted by the advantage of its completion, so its gradient makes
        # the tokens of better completions more probable. This is the policy gradient (REINFORCE: Williams, 1992). PPO's
        # ratio and clipping would change nothing here, because each batch is used for one step only.
        weights = advantages[group].repeat_interleave(torch.tensor([len(ids) for ids in completions[group]]))
        loss = -(weights * log_probabilities(model, prompts[start], completions[group])).sum() / tokens
        loss.backward()  # adds to the gradients of the earlier groups
    # Stage 5: update the weights. The gradient norm is at most 1, so that one unlucky batch cannot ruin the policy.
    torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
    optimizer.step()
    optimizer.zero_grad()


def log_probabilities(model, prompt: list[int], completions: list[torch.Tensor]) -> torch.Tensor:
    """Log-probability of every token of the completions of one prompt, one completion after the other: [tokens]."""
    # They form one sequence: prompt, completion 1, completion 2, ... So the prompt is computed once, nothing is padded.
    # For a prompt "p q" and the completions "a b" and "c": ids p q a b c, owners 0 0 1 1 2, positions 0 1 2 3 2.
    lengths, start = torch.tensor([len(ids) for ids in completions]), len(prompt)
    ids = torch.cat([torch.tensor(prompt), *completions])
    owner = torch.arange(1, len(completions) + 1).repeat_interleave(lengths)
    owner = torch.cat([torch.zeros(start, dtype=torch.long), owner])  # 0 is the prompt
    # A token attends to earlier tokens of the prompt and of its own completion only. So every completion is read as if
    # it directly followed the prompt, and its positions start at the end of the prompt.
    mask = ((owner == 0) | (owner == owner[:, None])).tril()
    positions = torch.cat([torch.arange(start), *(torch.arange(start, start + n) for n in lengths.tolist())])
    inputs = {"attention_mask": mask[None, None], "position_ids": positions[None]}
    states = model.model(ids[None], **inputs).last_hidden_state
    # The state at a token predicts the next one. The end of the prompt predicts the first token of every completion, and
    # every later token is predicted by the one before it: in the example q predicts a and c, and a predicts b.
    indices = torch.arange(start, len(ids)) - 1
    indices[lengths.cumsum(0) - lengths] = start - 1
    states = states[0].index_select(0, indices)  # states[0, indices] would add gradients in no fixed order
    return model.lm_head(states).log_softmax(-1).gather(-1, ids[start:, None])[:, 0]


def accuracy(model, tokenizer) -> float:
    """Share of right answers, from 0 to 1, among four completions of each validation problem. No step trains on these."""
    settings = {"greedy": False, "samples": 4, "ks": (), "max_new_tokens": 2 * MAX_NEW_TOKENS}
    report = evaluate(Policy(model, tokenizer), load_problems("validation"), **settings)
    return report["overall"]["sampled_accuracy"]["value"]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train R1-Zero by hand.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=130)
    parser.add_argument("--output", help="folder for the model, which transformers can load")
    options = parser.parse_args(arguments)
    set_threads()
    model, tokenizer = load_model("tiny-base")
    print(f"before: {accuracy(model, tokenizer):.0%} of the sampled answers are right")
    started = time.monotonic()
    for row in train(model, tokenizer, steps=options.steps, seed=options.seed):
        if row["step"] % 10 == 0 or row["step"] == options.steps:
            line = "step {step:3}: mean reward {reward:.2f}, {tokens:2.0f} tokens a completion, {mixed} groups mixed"
            print(f"{line.format(**row)}, {time.monotonic() - started:.0f} s")
    print(f"after:  {accuracy(model, tokenizer):.0%} of the sampled answers are right")
    if options.output:
        model.save_pretrained(options.output)
        tokenizer.save_pretrained(options.output)


if __name__ == "__main__":
    main()
