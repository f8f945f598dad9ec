"""The doctor: everything that silently ruins a GRPO run, checked in seconds before the run starts."""

import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from r1lab.prompts import format_completion, render_prompt
from r1lab.scale import Scale, get_scale

PACKAGES = ("torch", "transformers", "trl", "datasets", "peft", "math-verify", "unsloth", "vllm")
Finding = tuple[bool, str, str]  # healthy, what was looked at, what was found


def examine(scale: Scale | None = None) -> Iterator[Finding]:
    """Yield one finding after another, cheapest first. A probe that fails is a finding, not an exception."""
    scale = scale or get_scale()
    yield from check_environment(scale)
    yield check_grader()
    try:
        yield from check_policy(scale)
    except (OSError, ValueError, ImportError) as error:
        yield False, "policy", str(error)


def check_environment(scale: Scale) -> Iterator[Finding]:
    """Python, packages and the scale with its reason."""
    python_fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    advice = "" if python_fits else ": r1lab needs 3.11, 3.12 or 3.13"
    yield python_fits, "python", f"{platform.python_version()} on {os.cpu_count()} CPU cores{advice}"
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    broken = found.get("trl") == "1.15.0"
    listing = ", ".join(f"{package} {number}" for package, number in found.items())
    yield (
        not broken,
        "packages",
        listing + (" (trl 1.15.0 cannot train on a CPU: install 1.16.0)" if broken else ""),
    )
    yield True, "scale", f"{scale.name}: {scale.reason}"


def check_grader() -> Finding:
    """Right, wrong and hedged answers must get 1, 0 and 0 from the accuracy reward."""
    from r1lab.rewards import make_reward

    answers = ("14", "15", "14 or 15")
    completions = [format_completion("7+7", answer) for answer in answers]
    paid = make_reward("accuracy")(completions, solution=["14"] * 3)
    said = ", ".join(f"{answer!r} earns {reward}" for answer, reward in zip(answers, paid, strict=True))
    return paid == [1.0, 0.0, 0.0], "grader", f"for the solution 14, {said}"


def check_policy(scale: Scale) -> Iterator[Finding]:
    """Template tail, stop token, reward spread in a probe batch, the longest sample's memory, and the ETA."""
    import torch

    from r1lab.policy import end_tokens, load_policy, set_threads
    from r1lab.problems import load_scale_problems, take_balanced
    from r1lab.rewards import grade_many

    set_threads()
    policy = load_policy(scale)
    tokenizer = policy.tokenizer
    rendered = policy.render(render_prompt("2+2?", template=scale.template))
    tail = rendered[-30:]
    yield not tail.endswith("<think>"), "template tail", f"the policy continues {tail!r}"
    ends = [f"{tokenizer.decode([end])!r} (id {end})" for end in end_tokens(policy.model, tokenizer)]
    yield (bool(ends), "stop token", f"{' or '.join(ends) or 'none'}, padding {tokenizer.pad_token!r}")
    tags = tokenizer.decode(
        tokenizer(format_completion("a", "b"), add_special_tokens=False)["input_ids"],
        skip_special_tokens=True,
    )
    yield tags == format_completion("a", "b"), "tags", f"after decoding the rewards see {tags!r}"

    problems = take_balanced(load_scale_problems(scale, "train"), scale.groups)
    prompts = [render_prompt(p["prompt"], template=scale.template, language=p["language"]) for p in problems]
    started = time.time()
    drawn = policy.generate(
        prompts, samples=scale.group_size, temperature=1.0, max_new_tokens=scale.max_completion_tokens
    )
    sampling = time.time() - started
    rows = [problem for problem in problems for _ in range(scale.group_size)]
    graded = iter(grade_many([s.text for group in drawn for s in group], rows, require_tags=True))
    spread = [statistics.pstdev([float(next(graded)) for _ in group]) for group in drawn]
    alive = sum(value > 0 for value in spread)
    cut = sum(s.truncated for group in drawn for s in group) / len(rows)
    yield (
        alive > 0,
        "group std",
        f"{alive} of {len(spread)} probe groups hold right and wrong completions (others teach nothing)",
    )
    yield (
        cut < 0.25,
        "truncated",
        f"{cut:.0%} of {len(rows)} probe completions hit {scale.max_completion_tokens} tokens",
    )

    length = scale.max_prompt_tokens + scale.max_completion_tokens
    rows_at_once = scale.micro_batch or scale.groups * scale.group_size
    ids = torch.full((rows_at_once, length), tokenizer.pad_token_id, device=policy.model.device)
    started = time.time()
    policy.model(input_ids=ids, logits_to_keep=scale.max_completion_tokens).logits.float().logsumexp(
        -1
    ).mean().backward()
    learning = (time.time() - started) * (scale.groups * scale.group_size // rows_at_once)
    policy.model.zero_grad(set_to_none=True)
    yield (
        True,
        "longest sample",
        f"{rows_at_once} x {length} tokens, forward and backward: {peak_memory()} at the peak",
    )
    # Most completions are far shorter than the longest, so this is an upper bound.
    minutes = (sampling + learning) * scale.steps / 60
    yield (
        True,
        "ETA",
        f"at most {minutes:.0f} min for {scale.steps} steps ({sampling:.1f} s sampling + {learning:.1f} s learning)",
    )


def peak_memory() -> str:
    """Peak memory so far: of the GPU if there is one, else of this process."""
    import resource

    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB of GPU memory"
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return f"{kilobytes / 2**20:.1f} GiB of memory"


def main(argv: list[str] | None = None) -> None:
    """Print every finding. Raises ValueError, which the command line turns into exit code 2, if one is unhealthy."""
    sick = []
    for healthy, name, found in examine():
        print(f"{'ok  ' if healthy else 'FIX '} {name:<15} {found}", flush=True)
        if not healthy:
            sick.append(name)
    if sick:
        raise ValueError(f"the doctor found something to fix: {', '.join(sick)}")
