"""How much GPU memory does GRPO need? A formula from the shape of the model, and the table of cluster/README.md.

    python tools/sizing.py

Bytes are counted, nothing is measured. What allocators, communication buffers and fragmentation add, the formula does not
know.
"""

from dataclasses import dataclass

GIB = 2**30
ROWS, PROMPT, COMPLETION = 4, 256, 3072  # one forward pass of scale `cluster`
GPUS = (1, 2, 4, 8, 16)
CARD, SPARE = 80, 0.1  # GB of one GPU, and the share of it left for what is not counted


@dataclass(frozen=True)
class Shape:
    """What decides the size of a Qwen2.5 or Qwen3 model; the fields are those of its config.json."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    intermediate_size: int
    vocab_size: int = 151_936
    head_dim: int = 128
    tie_word_embeddings: bool = False
    qwen3: bool = False  # norms on queries and keys, where Qwen2.5 has biases on queries, keys and values


SHAPES = {
    "Qwen2.5-1.5B": Shape(1536, 28, 12, 2, 8960, tie_word_embeddings=True),
    "Qwen3-4B": Shape(2560, 36, 32, 8, 9728, tie_word_embeddings=True, qwen3=True),
    "Qwen2.5-7B": Shape(3584, 28, 28, 4, 18_944, vocab_size=152_064),
    "Qwen3-32B": Shape(5120, 64, 64, 8, 25_600, qwen3=True),
}


def layer_parameters(s: Shape) -> int:
    """Parameters of one layer."""
    queries, keys = s.num_attention_heads * s.head_dim, s.num_key_value_heads * s.head_dim
    attention = s.hidden_size * (2 * queries + 2 * keys)
    attention += 2 * s.head_dim if s.qwen3 else queries + 2 * keys
    return attention + 3 * s.hidden_size * s.intermediate_size + 2 * s.hidden_size


def parameters(s: Shape) -> int:
    """Parameters of the whole model."""
    tables = s.vocab_size * s.hidden_size * (1 if s.tie_word_embeddings else 2)
    return tables + s.num_hidden_layers * layer_parameters(s) + s.hidden_size


def lora_parameters(s: Shape, rank: int = 32) -> int:
    """Parameters of LoRA adapters on all seven matrices of every layer."""
    queries, keys = s.num_attention_heads * s.head_dim, s.num_key_value_heads * s.head_dim
    sides = (
        2 * (s.hidden_size + queries) + 2 * (s.hidden_size + keys) + 3 * (s.hidden_size + s.intermediate_size)
    )
    return rank * s.num_hidden_layers * sides


def states(s: Shape, gpus: int) -> float:
    """GiB of weights, gradients and Adam's states on each GPU: 16 bytes a parameter (Rajbhandari et al., 2020).

    ZeRO-3: 2 for the bfloat16 weight, 2 for its gradient, 4 for the float32 weight, 8 for Adam. FSDP2: 4 + 4 + 8.
    """
    return 16 * parameters(s) / gpus / GIB


def one_pass(s: Shape, rows: int = ROWS, prompt: int = PROMPT, completion: int = COMPLETION) -> float:
    """GiB that one forward and backward pass takes on top, however many GPUs there are.

    The gathered bfloat16 weights of the largest piece (embedding or layer) and of the next one; with gradient
    checkpointing the input of every layer in bfloat16; the logits of the completions and their gradient in float32,
    because a sharded head is outside our kernel.
    """
    piece = max(layer_parameters(s), s.vocab_size * s.hidden_size)
    inputs = rows * (prompt + completion) * s.hidden_size * s.num_hidden_layers
    return (2 * 2 * piece + 2 * inputs + 8 * rows * completion * s.vocab_size) / GIB


def lora(s: Shape, rank: int = 32) -> float:
    """GiB of the states of LoRA training on one GPU: bfloat16 weights, 16 bytes for each adapter parameter."""
    return (2 * parameters(s) + 16 * lora_parameters(s, rank)) / GIB


def gpus_needed(s: Shape) -> int | None:
    """The smallest entry of GPUS with which the counted memory leaves SPARE of each CARD free, or None."""
    room = CARD * 1e9 / GIB * (1 - SPARE)
    return next((gpus for gpus in GPUS if states(s, gpus) + one_pass(s) <= room), None)


def table() -> str:
    """The Markdown table: GiB on each GPU."""
    head = [
        "model",
        "parameters",
        *(f"states, {n} GPU{'s' * (n > 1)}" for n in GPUS),
        "one pass",
        f"{CARD} GB GPUs",
    ]
    head += ["vLLM's weights", "LoRA, 1 GPU"]
    lines = [head, ["---"] * len(head)]
    for name, s in SHAPES.items():
        sizes = [*(states(s, n) for n in GPUS), one_pass(s)]
        rest = [str(gpus_needed(s) or f"over {GPUS[-1]}"), f"{2 * parameters(s) / GIB:.0f}", f"{lora(s):.0f}"]
        lines.append([name, f"{parameters(s):,}", *(f"{size:.0f}" for size in sizes), *rest])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    print(table())
