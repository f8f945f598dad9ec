"""TRL's GRPOTrainer with the kernel of `r1lab.kernels`: the same arguments, loss, metrics and checkpoints.

A trainer's forward pass ends with the head, which makes the logits. `add_head_hook` lets a caller replace the head by the
kernel, for the loss and for the log-probabilities of the old policy and of the reference model.
"""

import functools
from contextlib import contextmanager

import torch
from transformers.utils import logging
from trl import GRPOTrainer

from r1lab.engine import base_model
from r1lab.kernels import LOSSES, GRPOSpec, fused_grpo_loss, linear_logp, step_normalizer

logger = logging.get_logger(__name__)
# The keys of a batch of a vision model besides its text.
IMAGES = ("pixel_values", "image_grid_thw", "num_images", "token_type_ids", "mm_token_type_ids")
# Settings by which some model families scale their logits, each in its own place. The kernel knows `logit_scale` only.
OWN_SCALES = ("output_multiplier", "lm_head_multiplier", "logits_scaling")


class KernelGRPOTrainer(GRPOTrainer):
    """`trl.GRPOTrainer` (1.14.2 and 1.16) that never makes the logits of a batch.

    Where the kernel does not cover a setting, TRL's own loss is used and one log line gives the reason.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._logged_reasons = set()
        # The reference model needs the hook too. Under LoRA there is none: it is the policy without its adapters.
        for model in (self.model, self.ref_model):
            if model is not None:
                add_head_hook(model)

    def _compute_loss(self, model, inputs):
        reason = self._not_covered(model, inputs)
        if reason:
            if reason not in self._logged_reasons:
                self._logged_reasons.add(reason)
                logger.warning(f"using TRL's own loss, not the r1lab kernel: {reason}")
            return super()._compute_loss(model, inputs)

        # Stage 1: which loss, and what its sum over tokens is divided by. In evaluation nothing is accumulated.
        spec, training = self._spec(), self.model.training
        accumulation = self.current_gradient_accumulation_steps if training else 1
        normalizer = step_normalizer(
            spec,
            inputs["num_items_in_batch"],
            accumulation_steps=accumulation,
            steps_per_generation=self.args.steps_per_generation if training else 1,
            processes=self.accelerator.num_processes,
        )
        entropy_coef = self.entropy_coef
        # The adaptive entropy bonus is off while the policy's entropy is above its target.
        if self.use_adaptive_entropy and self._last_world_entropy > self.args.entropy_target:
            entropy_coef = 0.0

        # Stage 2: the forward pass, with the kernel instead of the head.
        ids, mask = inputs["completion_ids"], inputs["completion_mask"]

        def kernel(states, head):
            return fused_grpo_loss(
                # The state at a token predicts the next one, so the completion's states begin one token early.
                states[:, -ids.shape[1] - 1 : -1],
                ids=ids,
                # The output of a tool is part of the text, but the policy did not sample it.
                mask=mask * inputs["tool_mask"] if "tool_mask" in inputs else mask,
                advantages=inputs["advantages"],
                spec=spec,
                old_logp=inputs.get("old_per_token_logps"),
                ref_logp=inputs.get("ref_per_token_logps"),
                is_ratio=inputs.get("importance_sampling_ratio"),
                normalizer=normalizer,
                temperature=self.temperature,
                # TRL divides the bonus as it divides the loss.
                entropy_coef=entropy_coef / accumulation,
                **head,
            )

        input_ids = torch.cat([inputs["prompt_ids"], ids], 1)
        attention_mask = torch.cat([inputs["prompt_mask"], mask], 1)
        with self.accelerator.autocast():
            out = model(input_ids=input_ids, attention_mask=attention_mask, kernel=kernel)

        # Stage 3: TRL's own code, fed with the kernel's scores, logs the metrics. So their names and meaning are those of
        # any version of TRL.
        with torch.no_grad(), self._already_scored(out.logp, out.entropy):
            super()._compute_loss(model, inputs)
        return out.loss

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, compute_entropy=False, **rest
    ):
        """(log-probabilities, entropies or None, None) of the old policy or the reference, by the same kernel as the loss."""
        # TRL's own code where a gradient, images or a loss of experts is wanted. Otherwise the kernel, so that an unchanged
        # policy has exactly the ratio 1.
        rest_given = any(value is not None and value is not False for value in rest.values())
        if torch.is_grad_enabled() or rest_given or self._not_covered(model, {}):
            settings = {"batch_size": batch_size, "compute_entropy": compute_entropy, **rest}
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, **settings
            )
        # In passes of `batch_size` rows, because without gradients only the hidden states of one pass are in memory.
        parts, rows = [], batch_size or len(input_ids)
        for ids, mask in zip(input_ids.split(rows), attention_mask.split(rows), strict=True):

            def kernel(states, head, ids=ids, mask=mask):
                return linear_logp(
                    states[:, -logits_to_keep - 1 : -1].flatten(0, 1),
                    ids=ids[:, -logits_to_keep:].flatten(),
                    row_mask=mask[:, -logits_to_keep:].flatten(),
                    temperature=self.temperature,
                    entropy=compute_entropy,
                    **head,
                )

            with self.accelerator.autocast():
                out = model(input_ids=ids, attention_mask=mask, kernel=kernel)
            parts.append([None if x is None else x.view(len(ids), -1) for x in out])
        logp, entropy = zip(*parts, strict=True)
        # The last of the three is the loss of a mixture of experts, which is left to TRL.
        return torch.cat(logp), torch.cat(entropy) if compute_entropy else None, None

    def _spec(self) -> GRPOSpec:
        args = self.args
        return GRPOSpec(
            loss_type=self.loss_type,
            level=self.importance_sampling_level,
            epsilon_low=self.epsilon_low,
            epsilon_high=self.epsilon_high,
            delta=args.delta,
            beta=self.beta,
            bias_correct_kl=args.use_bias_correction_kl,
            sapo_temperatures=(args.sapo_temperature_pos, args.sapo_temperature_neg),
            vespo_k=(args.vespo_k_pos, args.vespo_k_neg),
            vespo_lambda=(args.vespo_lambda_pos, args.vespo_lambda_neg),
            max_completion_length=self.max_completion_length,
        )

    def _not_covered(self, model, inputs) -> str | None:
        """Why TRL's own loss must be used, or None."""
        base = base_model(self.accelerator.unwrap_model(model))
        head, config = base.get_output_embeddings(), base.config.get_text_config()
        # ZeRO-3 marks a weight with the first attribute, FSDP2 with the second.
        sharded = hasattr(head.weight, "ds_id") or hasattr(head.weight, "full_tensor")
        own_scale = any(getattr(config, name, None) not in (None, 1) for name in OWN_SCALES)
        # The first reason that applies is logged, so each is a sentence a user can act on.
        reasons = {
            f"loss_type {self.loss_type!r} is new to it": self.loss_type not in LOSSES,
            "the batch has images": any(inputs.get(name) is not None for name in IMAGES),
            "a mixture of experts adds its own loss": self.aux_loss_enabled,
            "top_entropy_quantile needs the whole batch's entropies first": self.top_entropy_quantile < 1,
            "off_policy_mask_threshold is not built in": self.off_policy_mask_threshold is not None,
            "cast_lm_head_to_fp32 replaces the head": self.args.cast_lm_head_to_fp32,
            "the head is not a plain linear layer": type(head) is not torch.nn.Linear,
            "the head's weight is sharded over devices": sharded,
            "the model scales its logits in a way of its own": own_scale,
        }
        return next((reason for reason, applies in reasons.items() if applies), None)

    @contextmanager
    def _already_scored(self, logp, entropy):
        """Inside, TRL's code gets these scores instead of a forward pass."""
        self._get_per_token_logps_and_entropies = lambda *args, **kwargs: (logp, entropy, None)
        try:
            yield
        finally:
            del self._get_per_token_logps_and_entropies


def add_head_hook(model) -> None:
    """Let `model(input_ids, attention_mask, kernel=f)` return f(last hidden states, head), where `head` is a dictionary with
    the arguments weight, bias, softcap and logit_scale of `fused_grpo_loss`.

    Inside the model's own forward, so that the hooks of DDP and mixed precision fire; without `kernel` nothing changes.
    """
    base = base_model(model)
    config, forward = base.config.get_text_config(), base.forward
    scale = getattr(config, "logit_scale", None)

    # generate() checks its arguments against the signature, so the hooked function must show the original one.
    @functools.wraps(forward)
    def hooked(*args, kernel=None, **kwargs):
        if kernel is None:
            return forward(*args, **kwargs)
        # Only the layers: the head is what the kernel computes. No cache, since nothing is generated.
        inner = base.base_model(
            input_ids=kwargs["input_ids"], attention_mask=kwargs["attention_mask"], use_cache=False
        )
        projection = base.get_output_embeddings()
        softcap = getattr(config, "final_logit_softcapping", None)
        head = {"weight": projection.weight, "bias": projection.bias, "softcap": softcap}
        return kernel(inner.last_hidden_state, {**head, "logit_scale": 1.0 if scale is None else scale})

    base.forward = hooked
