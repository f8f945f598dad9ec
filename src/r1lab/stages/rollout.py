"""TRL's GRPO trainer samples with `r1lab.engine`, through TRL's hook `rollout_func`."""

import inspect
from typing import Any

import torch

from r1lab import engine
from r1lab.policy import rows_at_once
from r1lab.scale import Scale


def engine_options(scale: Scale, model, args) -> dict[str, Any]:
    """{"rollout_func": ...} for TRL's GRPO trainer, or {} where TRL samples by itself.

    That is where TRL is too old for the hook (1.14), where another engine is asked for (vLLM, Unsloth), where the model may
    be sharded (every scale but tiny), and where `args` ask for something that `engine.generate` does not do.
    """
    from trl import GRPOTrainer

    too_old = "rollout_func" not in inspect.signature(GRPOTrainer.__init__).parameters
    other_engine = args.use_vllm or getattr(args, "use_transformers_continuous_batching", False)
    special = args.top_k or args.min_p or args.repetition_penalty != 1.0 or args.generation_kwargs
    if scale.name != "tiny" or too_old or other_engine or special or engine.why_unsupported(model):
        return {}
    return {"rollout_func": sample_with_engine}


def sample_with_engine(prompts: list, trainer) -> dict[str, list]:
    """What `rollout_func` must return for `prompts`, in which every prompt stands once for each completion of its group.

    Lists of token ids and log-probabilities. TRL uses these log-probabilities only to correct for another engine's
    rounding, and only with vLLM; the loss stays the on-policy one.
    """
    args, model = trainer.args, trainer.accelerator.unwrap_model(trainer.model)
    prompt_ids, _, _ = trainer._tokenize_prompts(prompts)  # the very ids that TRL would have continued
    completions = engine.generate(
        model,
        prompt_ids,
        ends=trainer.eos_token_ids,
        max_new_tokens=args.max_completion_length,
        temperature=args.temperature,
        top_p=args.top_p,
        # From torch's own random numbers, whose state is part of every checkpoint: a run that was killed and resumed
        # samples what it would have sampled.
        seed=int(torch.randint(2**62, ())),
        rows=rows_at_once(model, max(map(len, prompt_ids)) + args.max_completion_length),
    )
    return {
        "prompt_ids": prompt_ids,
        "completion_ids": [completion.ids.tolist() for completion in completions],
        "logprobs": [completion.logprobs.tolist() for completion in completions],
    }
