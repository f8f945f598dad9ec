"""TRL's GRPOTrainer on the kernel of `r1lab.kernels`: the same arguments, loss, metrics and checkpoints."""

import functools
from contextlib import contextmanager

import torch
from transformers.utils import logging
from trl import GRPOTrainer

from r1lab.kernels import LOSSES, GRPOSpec, fused_grpo_loss, linear_logp, step_normalizer

logger = logging.get_logger(__name__)
IMAGES = ("pixel_values", "image_grid_thw", "num_images", "token_type_ids", "mm_token_type_ids")
OWN_SCALES = ("output_multiplier", "lm_head_multiplier", "logits_scaling")  # of logits, each family its own


class KernelGRPOTrainer(GRPOTrainer):
    """`trl.GRPOTrainer` (1.14.2 and 1.16) that never makes the logits of a batch.

    Where the kernel does not cover a setting, TRL's own loss is used and one log line says why.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._reasons_told = set()
        for model in (self.model, self.ref_model):
            if model is not None:
                add_head_hook(model)

    def _compute_loss(self, model, inputs):
        reason = self._not_covered(model, inputs)
        if reason:
            if reason not in self._reasons_told:
                self._reasons_told.add(reason)
                logger.warning(f"using TRL's own loss, not the r1lab kernel: {reason}")
            return super()._compute_loss(model, inputs)
        ids, mask, training = inputs["completion_ids"], inputs["completion_mask"], self.model.training
        spec, accumulation = self._spec(), self.current_gradient_accumulation_steps if training else 1
        normalizer = step_normalizer(
            spec,
            inputs["num_items_in_batch"],
            accumulation_steps=accumulation,
            steps_per_generation=self.args.steps_per_generation if training else 1,
            processes=self.accelerator.num_processes,
        )
        entropy_coef = self.entropy_coef
        if self.use_adaptive_entropy and self._last_world_entropy > self.args.entropy_target:
            entropy_coef = 0.0
        with self.accelerator.autocast():
            out = model(
                input_ids=torch.cat([inputs["prompt_ids"], ids], 1),
                attention_mask=torch.cat([inputs["prompt_mask"], mask], 1),
                r1_head=lambda states, projection, **options: fused_grpo_loss(
                    states[:, -ids.shape[1] - 1 : -1],
                    projection.weight,
                    ids,
                    mask * inputs["tool_mask"] if "tool_mask" in inputs else mask,
                    inputs["advantages"],
                    spec=spec,
                    old_logp=inputs.get("old_per_token_logps"),
                    ref_logp=inputs.get("ref_per_token_logps"),
                    is_ratio=inputs.get("importance_sampling_ratio"),
                    normalizer=normalizer,
                    bias=projection.bias,
                    temperature=self.temperature,
                    entropy_coef=entropy_coef / accumulation,
                    **options,
                ),
            )
        # TRL's own code, fed with the kernel's scores, logs the metrics: their names and meaning are TRL's of any version.
        with torch.no_grad(), self._already_scored(out.logp, out.entropy):
            super()._compute_loss(model, inputs)
        return out.loss

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, compute_entropy=False, **rest
    ):
        """Old and reference log-probabilities: by the same kernel as the loss, so that an unchanged policy has ratio 1."""
        rest_given = any(value is not None and value is not False for value in rest.values())
        if torch.is_grad_enabled() or rest_given or self._not_covered(model, {}):
            return super()._get_per_token_logps_and_entropies(
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size=batch_size,
                compute_entropy=compute_entropy,
                **rest,
            )
        parts = []
        for ids, mask in zip(
            input_ids.split(batch_size or len(input_ids)),
            attention_mask.split(batch_size or len(input_ids)),
            strict=True,
        ):
            with self.accelerator.autocast():
                out = model(
                    input_ids=ids,
                    attention_mask=mask,
                    r1_head=lambda states, projection, ids=ids, mask=mask, **options: linear_logp(
                        states[:, -logits_to_keep - 1 : -1].flatten(0, 1),
                        projection.weight,
                        ids[:, -logits_to_keep:].flatten(),
                        bias=projection.bias,
                        temperature=self.temperature,
                        entropy=compute_entropy,
                        row_mask=mask[:, -logits_to_keep:].flatten(),
                        **options,
                    ),
                )
            parts.append([None if x is None else x.view(len(ids), -1) for x in out])
        logp, entropy = zip(*parts, strict=True)
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
        base = _base_model(self.accelerator.unwrap_model(model))
        head, config = base.get_output_embeddings(), base.config.get_text_config()
        reasons = {
            f"loss_type {self.loss_type!r} is new to it": self.loss_type not in LOSSES,
            "the batch has images": any(inputs.get(name) is not None for name in IMAGES),
            "a mixture of experts adds its own loss": self.aux_loss_enabled,
            "top_entropy_quantile needs the whole batch's entropies first": self.top_entropy_quantile < 1,
            "off_policy_mask_threshold is not built in": self.off_policy_mask_threshold is not None,
            "cast_lm_head_to_fp32 replaces the head (the kernel's logits are float32 without it)": self.args.cast_lm_head_to_fp32,
            "the head is not a plain linear layer": type(head) is not torch.nn.Linear,
            "the head's weight is sharded over devices": hasattr(head.weight, "ds_id")
            or hasattr(head.weight, "full_tensor"),
            "the model scales its logits in a way of its own": any(
                getattr(config, name, None) not in (None, 1) for name in OWN_SCALES
            ),
        }
        return next((reason for reason, applies in reasons.items() if applies), None)

    @contextmanager
    def _already_scored(self, logp, entropy):
        self._get_per_token_logps_and_entropies = lambda *args, **kwargs: (logp, entropy, None)
        try:
            yield
        finally:
            del self._get_per_token_logps_and_entropies


def add_head_hook(model) -> None:
    """Let `model(input_ids, attention_mask, r1_head=f)` return f(last hidden states, output projection, softcap, scale).

    Inside the model's own forward, so that the hooks of DDP and mixed precision fire; without r1_head nothing changes.
    """
    base = _base_model(model)
    config, forward = base.config.get_text_config(), base.forward
    scale = getattr(config, "logit_scale", None)
    options = {
        "softcap": getattr(config, "final_logit_softcapping", None),
        "logit_scale": 1.0 if scale is None else scale,
    }

    @functools.wraps(forward)  # generate() checks its arguments against the signature
    def hooked(*args, r1_head=None, **kwargs):
        if r1_head is None:
            return forward(*args, **kwargs)
        inner = base.base_model(
            input_ids=kwargs["input_ids"], attention_mask=kwargs["attention_mask"], use_cache=False
        )
        return r1_head(inner.last_hidden_state, base.get_output_embeddings(), **options)

    base.forward = hooked


def _base_model(model):
    """The transformers model under LoRA adapters, if there are any."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
