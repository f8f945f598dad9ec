"""Compiles the Triton row kernel for the GPUs of the course, T4, A100 and H100; run by test_rows_triton.py. Needs no GPU."""

from itertools import product

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from r1lab.kernels import rows_triton

SCALARS = {"vocabulary": "i32", "stride": "i32", "gradient_stride": "i32", "ids": "*i64"}
SCALARS |= {"scale": "fp32", "softcap": "fp32", "inverse_t": "fp32"}
GRADIENT = {75: "*fp16", 80: "*bf16", 90: "*bf16"}  # a T4 has no bfloat16


def compile_for(capability: int, kernel, **switches) -> None:
    """Compile one kernel to machine code; Triton raises where it cannot."""
    types = {**SCALARS, "gradient": GRADIENT[capability], **dict.fromkeys(switches, "constexpr")}
    signature = {name: types.get(name, "*fp32") for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=switches)
    done = triton.compile(
        source, target=GPUTarget("cuda", capability, 32), options={"num_warps": rows_triton.WARPS}
    )
    assert done.asm["cubin"]


if __name__ == "__main__":
    for capability, entropy, bias_and_cap in product(GRADIENT, (False, True), (False, True)):
        switches = {"WITH_ENTROPY": entropy, "HAS_BIAS": bias_and_cap, "HAS_SOFTCAP": bias_and_cap}
        for kernel in (rows_triton._score, rows_triton._differentiate):
            compile_for(capability, kernel, **switches, BLOCK=rows_triton.BLOCK)
    print("all kernels compiled")
