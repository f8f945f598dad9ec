"""Checks before a GRPO run, in seconds: versions, the grader, tokens and tags, memory and time of a step."""

import os
import platform
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from r1lab.prompts import format_completion, render_prompt
from r1lab.scale import Scale, get_scale

PACKAGES = ("torch", "transformers", "trl", "datasets", "peft", "math-verify", "unsloth", "vllm")
# (healthy, what was checked, the result in words)
Finding = tuple[bool, str, str]


def examine(scale: Scale | None = None) -> Iterator[Finding]:
    """Findings one after another, the cheapest check first. A model that cannot be loaded is a finding, too."""
    scale = scale or get_scale()
    yield from check_environment(scale)
    yield check_grader()
    try:
        yield from check_policy(scale)
    except (OSError, ValueError, ImportError) as error:
        yield False, "policy", str(error)


def check_environment(scale: Scale) -> Iterator[Finding]:
    """Findings about Python, the packages and the scale."""
    python_fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    advice = "" if python_fits else ": r1lab needs 3.11, 3.12 or 3.13"
    yield python_fits, "python", f"{platform.python_version()} on {os.cpu_count()} CPU cores{advice}"
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    broken = versions.get("trl") == "1.15.0"
    advice = " (trl 1.15.0 cannot train on a CPU: install 1.16.0)" if broken else ""
    yield not broken, "packages", ", ".join(f"{name} {number}" for name, number in versions.items()) + advice
    yield True, "scale", f"{scale.name}: {scale.reason}"


def check_grader() -> Finding:
    """The finding whether the accuracy reward gives 1, 0 and 0 to a right, a wrong and a hedged answer."""
    from r1lab.rewards import make_reward

    answers = ("14", "15", "14 or 15")
    completions = [format_completion("7+7", answer) for answer in answers]
    rewards = make_reward("accuracy")(completions, solution=["14"] * 3)
    pairs = ", ".join(f"{answer!r} earns {reward}" for answer, reward in zip(answers, rewards, strict=True))
    return rewards == [1.0, 0.0, 0.0], "grader", f"for the solution 14, {pairs}"


def check_policy(scale: Scale) -> Iterator[Finding]:
    """Findings about the policy's tokens and about the cost of a step."""
    from r1lab.policy import load_policy, set_threads

    set_threads()
    policy = load_policy(scale)
    yield from check_tokens(policy, scale)
    yield from check_step(policy, scale)


def check_tokens(policy, scale: Scale) -> Iterator[Finding]:
    """Findings about the end of the rendered prompt, the tokens that end a completion, and tags after decoding."""
    from r1lab.sampling import end_tokens

    tokenizer = policy.tokenizer
    tail = policy.render(render_prompt("2+2?", template=scale.template))[-30:]
    yield not tail.endswith("<think>"), "template tail", f"the policy continues {tail!r}"
    ends = [f"{tokenizer.decode([end])!r} (id {end})" for end in end_tokens(policy.model, tokenizer)]
    yield bool(ends), "stop token", f"{' or '.join(ends) or 'none'}, padding {tokenizer.pad_token!r}"
    written = format_completion("a", "b")
    ids = tokenizer(written, add_special_tokens=False)["input_ids"]
    decoded = tokenizer.decode(ids, skip_special_tokens=True)
    yield decoded == written, "tags", f"after decoding the rewards see {decoded!r}"


def check_step(policy, scale: Scale) -> Iterator[Finding]:
    """Findings of one step without an update: share of mixed groups and of truncated completions, memory and time."""
    import torch

    from r1lab.problems import load_scale_problems, take_balanced
    from r1lab.rollouts import sample_and_grade

    # Sample and grade one batch as a step would.
    problems = take_balanced(load_scale_problems(scale, "train"), scale.groups)
    settings = {"template": scale.template, "samples": scale.group_size, "require_tags": True}
    settings["max_new_tokens"] = scale.max_completion_tokens
    started = time.time()
    groups = sample_and_grade(policy, problems, **settings)
    sampling = time.time() - started
    rollouts = [rollout for group in groups for rollout in group]
    mixed = sum(len({rollout["correct"] for rollout in group}) > 1 for group in groups)
    message = f"{mixed} of {len(groups)} probe groups hold right and wrong completions (others teach nothing)"
    yield mixed > 0, "group std", message
    cut = sum(rollout["truncated"] for rollout in rollouts) / len(rollouts)
    message = f"{cut:.0%} of {len(rollouts)} probe completions hit {scale.max_completion_tokens} tokens"
    yield cut < 0.25, "truncated", message

    # The largest batch that a step may hold, forward and backward.
    length = scale.max_prompt_tokens + scale.max_completion_tokens
    count = scale.micro_batch or len(rollouts)
    ids = torch.full((count, length), policy.tokenizer.pad_token_id, device=policy.model.device)
    started = time.time()
    logits = policy.model(input_ids=ids, logits_to_keep=scale.max_completion_tokens).logits
    logits.float().logsumexp(-1).mean().backward()
    learning = (time.time() - started) * (len(rollouts) // count)
    policy.model.zero_grad(set_to_none=True)
    message = f"{count} x {length} tokens, forward and backward: {peak_memory()} at the peak"
    yield True, "longest sample", message
    # Most completions are far shorter than the longest, so this is an upper bound.
    minutes = (sampling + learning) * scale.steps / 60
    parts = f"({sampling:.1f} s sampling + {learning:.1f} s learning)"
    yield True, "ETA", f"at most {minutes:.0f} min for {scale.steps} steps {parts}"


def peak_memory() -> str:
    """Peak memory so far: of the GPU if there is one, else of this process."""
    import resource

    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB of GPU memory"
    # Linux counts in KiB, macOS in bytes.
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return f"{kilobytes / 2**20:.1f} GiB of memory"


def main(argv: list[str] | None = None) -> None:
    """Print every finding. Raises ValueError, which the command line turns into exit code 2, if one is unhealthy."""
    unhealthy = []
    for healthy, name, message in examine():
        print(f"{'ok  ' if healthy else 'FIX '} {name:<15} {message}", flush=True)
        if not healthy:
            unhealthy.append(name)
    if unhealthy:
        raise ValueError(f"the doctor found something to fix: {', '.join(unhealthy)}")
