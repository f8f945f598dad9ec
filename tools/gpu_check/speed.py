"""The kernel's time and memory at the shapes of Qwen3-4B against TRL's way and full logits."""

import functools
import time
from itertools import product
from statistics import median

import bench_kernel as bench
import torch

from r1lab.kernels import fused_grpo_loss, tiles

GIB = 2**30


QWEN3_4B = {"width": 2560, "vocabulary": 151_936}
SHAPES = ((8, 1024), (8, 2048), (16, 4096))  # completions x tokens
REPEATS = 3


def speed(record, device: str) -> None:
    """Time and peak memory of the tuned kernel against TRL's way and full logits, measured in turns."""
    sizes = QWEN3_4B if device == "cuda" else {"width": 64, "vocabulary": 1003}
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    shapes = SHAPES if device == "cuda" else ((8, 16),)
    ceilings(record, device)
    if device == "cuda":
        tune(record, **sizes)
    for completions, length in shapes:
        for trainable, sparse in product((False, True), (False, True)):
            settings = {**sizes, "trainable": trainable, "device": device, "dtype": dtype}
            problem = bench.make_problem(completions, length, **settings)
            if sparse:  # half the groups have advantage 0; nothing is padding
                problem = problem._replace(advantages=bench.make_sparse(problem).advantages)
            case = f"{completions}x{length}, head {'trained' if trainable else 'frozen'}"
            results = compare(problem, device, sparse)
            for name, result in results.items():
                record.add(case=case + ", half silent" * sparse, implementation=name, **result)
            claim_speed(record, case, results, trainable, sparse)


def ceilings(record, device: str) -> None:
    """The speed limits of the GPU: a large copy and a large bfloat16 product, to compare the other figures with."""
    size = 8192 if device == "cuda" else 256
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    block = torch.empty(size * size * 8, device=device, dtype=torch.uint8)
    other = torch.empty_like(block)
    copying = median(seconds_of(lambda: other.copy_(block), device) for _ in range(5))
    multiplying = median(seconds_of(lambda: a @ a, device) for _ in range(5))
    record.add(
        copy_tb_per_s=2 * block.numel() / copying / 1e12,
        bfloat16_tflop_per_s=2 * size**3 / multiplying / 1e12,
    )


def tune(record, width: int, vocabulary: int) -> None:
    """Choose block and warps of the row kernel and the rows of a tile by their time, and use them from here on."""
    tune_row_kernel(record, vocabulary)
    for trainable in (False, True):
        head, times = "trained" if trainable else "frozen", {}
        settings = {"trainable": trainable, "device": "cuda", "dtype": torch.bfloat16}
        problem = bench.make_problem(8, 1024, width, vocabulary, **settings)
        for rows in (256, 384, 512, 768, 1024, 2048):

            def step(p=problem, rows=rows):
                fused_grpo_loss(
                    p.hidden, p.weight, p.ids, p.mask, p.advantages, spec=bench.SPEC, rows_per_chunk=rows
                ).loss.backward()

            timing = timed(step, problem, "cuda")
            times[rows] = timing["seconds"]
            record.add(tuned="rows of a tile", head=head, rows=rows, **timing)
        # The tile is most of the kernel's memory: of those within 3% of the fastest time, the smallest one.
        best = min(rows for rows, seconds in times.items() if seconds <= 1.03 * min(times.values()))
        setattr(tiles, "GPU_ROWS_TRAINED" if trainable else "GPU_ROWS_FROZEN", best)
        record.add(chosen="rows of a tile", head=head, rows=best)


def tune_row_kernel(record, vocabulary: int) -> None:
    """Time every block and number of warps on one tile; the fastest stays set."""
    from r1lab.kernels import rows_triton
    from r1lab.kernels.rows_torch import Head

    head = Head(torch.empty(vocabulary, 1, device="cuda", dtype=torch.bfloat16), None, 1.0, 1.0, None)
    logits = torch.randn(1024, vocabulary, device="cuda") * 3
    ids, c = torch.randint(vocabulary, (1024,), device="cuda"), torch.randn(1024, device="cuda")
    tile, timings = torch.empty_like(logits), []

    def both() -> None:
        scores = rows_triton.score(tile, ids, head, True)
        rows_triton.differentiate(tile, ids, scores, head, c, None)

    for rows_triton.BLOCK, rows_triton.WARPS in product((2048, 4096, 8192), (8, 16, 32)):
        if rows_triton.WARPS * 256 > rows_triton.BLOCK:  # the kernel would take fewer warps than this
            continue
        times = []
        for _ in range(4):  # the first one compiles
            tile.copy_(logits)
            times.append(seconds_of(both, "cuda"))
        timings.append((min(times[1:]), rows_triton.BLOCK, rows_triton.WARPS))
        record.add(
            tuned="row kernel", block=rows_triton.BLOCK, warps=rows_triton.WARPS, seconds=min(times[1:])
        )
    best, rows_triton.BLOCK, rows_triton.WARPS = min(timings)
    record.add(chosen="row kernel", block=rows_triton.BLOCK, warps=rows_triton.WARPS, seconds=best)


def compare(problem, device: str, sparse: bool) -> dict[str, dict]:
    """Median seconds and peak memory of every implementation, two rounds in opposite order; a reason where it failed."""
    ways = dict(bench.IMPLEMENTATIONS)
    ways.pop("liger")  # it needs one more package, and was slower where we measured it
    if sparse:
        ways["fused, silent rows unscored"] = lambda p: (
            fused_grpo_loss(
                p.hidden, p.weight, p.ids, p.mask, p.advantages, spec=bench.SPEC, score_dead_rows=False
            ).loss
        )
    ways[bench.FLOOR] = None
    rounds: dict[str, list[dict]] = {name: [] for name in ways}
    for name in [*ways, *reversed(ways)]:
        run = None
        try:
            if name == bench.FLOOR:
                run = bench.products(problem)
            else:
                run = functools.partial(bench.forward_backward, ways[name], problem)
            timing = timed(run, problem, device)
            if name == bench.FLOOR:
                timing["peak_gib"] = None  # its tile is made before the memory is counted
            rounds[name].append(timing)
        except torch.OutOfMemoryError:
            rounds[name].append({"failed": "out of memory"})
        except Exception as error:  # of any type: those of Triton's compiler are no RuntimeErrors
            rounds[name].append({"failed": f"{type(error).__name__}: {str(error)[:300]}"})
        del run
        clear(problem, device)
    return {name: best_round(timings) for name, timings in rounds.items()}


def best_round(timings: list[dict]) -> dict:
    """Two rounds as one: the median of all times, the larger peak."""
    for one in timings:
        if "failed" in one:
            return one
    seconds = [s for one in timings for s in one["all_seconds"]]
    peaks = [one["peak_gib"] for one in timings if one["peak_gib"] is not None]
    return {"seconds": median(seconds), "peak_gib": max(peaks) if peaks else None, "all_seconds": seconds}


def timed(run, problem, device: str) -> dict:
    """Seconds of `run` after a warm-up, and the memory it needs above what the problem itself holds."""
    clear(problem, device)
    above = torch.cuda.memory_allocated() if device == "cuda" else 0
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(REPEATS + 1):
        problem.hidden.grad = problem.weight.grad = None
        seconds.append(seconds_of(run, device))
    peak = (torch.cuda.max_memory_allocated() - above) / GIB if device == "cuda" else None
    return {
        "seconds": median(seconds[1:]),
        "peak_gib": peak,
        "all_seconds": [round(s, 6) for s in seconds[1:]],
    }


def seconds_of(run, device: str) -> float:
    """Seconds of one call, until the GPU has finished."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def clear(problem, device: str) -> None:
    """Drop gradients and give cached memory back, so that the next implementation starts with the same free memory."""
    problem.hidden.grad = problem.weight.grad = None
    if device == "cuda":
        torch.cuda.empty_cache()


def claim_speed(record, case: str, results: dict, trainable: bool, sparse: bool) -> None:
    """Record whether the kernel met its goals against TRL.

    A frozen head: 0.75 of the time and 0.8 of the peak memory. A trained head: 0.9 of the time. Where half of the groups are
    silent, half of these times.
    """
    theirs = results["trl"]
    ours = results["fused, silent rows unscored" if sparse else "fused"]
    if "failed" in ours or "failed" in theirs:
        record.claim(f"{case}: against TRL", False, str(ours.get("failed") or theirs.get("failed")))
        return
    goal = (0.9 if trainable else 0.75) * (0.5 if sparse else 1)
    ratio = ours["seconds"] / theirs["seconds"]
    label = case + ", half silent" * sparse
    record.claim(f"{label}: at most {goal:g} of TRL's time", ratio <= goal, f"{ratio:.2f}")
    if not trainable and ours["peak_gib"] is not None:
        memory = ours["peak_gib"] / theirs["peak_gib"]
        record.claim(f"{label}: at most 0.8 of TRL's peak memory", memory <= 0.8, f"{memory:.2f}")
