"""Sampling with `r1lab.engine` inside TRL's GRPO trainer, through TRL's hook `rollout_func`."""

import inspect
from typing import Any

import torch

from r1lab import engine
from r1lab.policy import rows_at_once
from r1lab.scale import Scale


def engine_options(scale: Scale, model, args) -> dict[str, Any]:
    """{"rollout_func": `sample_with_engine`} for TRL's GRPO trainer, or {} where TRL samples by itself.

    TRL samples by itself in four cases. TRL 1.14 has no such hook. vLLM and Unsloth are engines of their own. At every scale
    but tiny the model may be sharded. And `args` may ask for something that `engine.generate` does not do.
    """
    from trl import GRPOTrainer

    too_old = "rollout_func" not in inspect.signature(GRPOTrainer.__init__).parameters
    other_engine = args.use_vllm or getattr(args, "use_transformers_continuous_batching", False)
    # `engine.generate` knows temperature and top-p only.
    special = args.top_k or args.min_p or args.repetition_penalty != 1.0 or args.generation_kwargs
    if scale.name != "tiny" or too_old or other_engine or special or engine.why_unsupported(model):
        return {}
    return {"rollout_func": sample_with_engine}


def sample_with_engine(prompts: list, trainer) -> dict[str, list]:
    """Token ids of the prompts and of one completion each, with log-probabilities, as `rollout_func` must return them.

    prompts: each one repeated for every completion of its group. With vLLM, TRL uses the log-probabilities to correct for
    vLLM's rounding. Here it does not use them, and the loss is on-policy.
    """
    args, model = trainer.args, trainer.accelerator.unwrap_model(trainer.model)
    # Stage 1: the ids that TRL itself would continue.
    prompt_ids, _, _ = trainer._tokenize_prompts(prompts)
    # Stage 2: one completion for each prompt.
    completions = engine.generate(
        model,
        prompt_ids,
        ends=trainer.eos_token_ids,
        max_new_tokens=args.max_completion_length,
        temperature=args.temperature,
        top_p=args.top_p,
        # Every checkpoint holds the state of torch's random numbers. So a run that was killed and resumed samples the
        # same completions as one that was not.
        seed=int(torch.randint(2**62, ())),
        rows=rows_at_once(model, max(map(len, prompt_ids)) + args.max_completion_length),
    )
    return {
        "prompt_ids": prompt_ids,
        "completion_ids": [completion.ids.tolist() for completion in completions],
        "logprobs": [completion.logprobs.tolist() for completion in completions],
    }
