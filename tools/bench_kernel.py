"""`make bench-kernel`: time and memory of the GRPO loss on a CPU, forward and backward, against the ways others compute it.

Every implementation lives in a process of its own, so that what one leaves in memory is not counted as another's. They
take turns, repetition by repetition, so that a slow minute of the machine hits them all: read the ratios, not the seconds.
All of them get the same numbers and must return the same loss and gradients. On a GPU, `make gpu-check` measures the kernel.
"""

import argparse
import os
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from r1lab.files import write_json
from r1lab.kernels import GRPOSpec, fused_grpo_loss, grpo_loss
from r1lab.kernels.measure import GROUP, Problem, make_problem, measure, memory_now
from r1lab.scale import DATA

SPEC = GRPOSpec("dapo")  # on-policy, no KL term: what TRL does by default
SHARES = (1.0, 0.875, 0.625, 0.5)  # lengths of a sparse group's completions: 75% of the tokens are real
SIZES = {"completions": 8, "length": 512, "width": 512, "vocabulary": 32_000}
CASES = {  # name: (head is trained, padding and silent groups)
    "trainable head": (True, False),
    "frozen head": (False, False),
    "half dead, 25 % padding": (True, True),
}
PACKAGES = ("torch", "trl", "liger_kernel", "triton")


# ---------------------------------------------------------------------------------------------- implementations
def make_sparse(p: Problem) -> Problem:
    """The problem with advantage 0 in every second group, and padding on a quarter of the positions."""
    completions, length = p.ids.shape
    lengths = length * torch.tensor(SHARES, device=p.ids.device).repeat(completions // GROUP)
    mask = (torch.arange(length, device=p.ids.device) < lengths[:, None]).float()
    advantages = p.advantages.view(-1, GROUP).clone()
    advantages[::2] = 0
    return p._replace(mask=mask, advantages=advantages.flatten())


def forward_backward(implementation: Callable[[Problem], Tensor], p: Problem) -> Tensor:
    """One loss and its gradients, in `p.hidden.grad` and `p.weight.grad`; the loss is returned."""
    p.hidden.grad = p.weight.grad = None
    loss = implementation(p)
    loss.backward()
    return loss.detach()


def full_logits(p: Problem) -> Tensor:
    """The whole [B, T, V] tensor, as textbooks write it; the entropy, a metric, without gradient and in pieces."""
    logp = torch.log_softmax(torch.nn.functional.linear(p.hidden, p.weight).float(), -1)
    with torch.no_grad():
        for rows in logp.flatten(0, 1).split(128):
            (rows.exp() * rows).sum(-1)
    return grpo_loss(logp.gather(-1, p.ids[..., None])[..., 0], p.mask, p.advantages, SPEC)


def trl_chunked(p: Problem) -> Tensor:
    """As TRL 1.16 scores completions. Without Triton it scores padding too, as its trainer does there."""
    from trl.kernels.chunked_logprob import ChunkedLogProbFunction, _use_triton
    from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE as columns

    def score(hidden, ids):
        outputs = ("log_probs", "entropy")
        return ChunkedLogProbFunction.apply(hidden, p.weight, None, ids, 1.0, columns, None, 1.0, outputs)[0]

    real = p.mask != 0
    if _use_triton(p.hidden.device):
        logp = torch.zeros_like(p.mask).masked_scatter(real, score(p.hidden[real], p.ids[real]))
    else:
        logp = score(p.hidden.flatten(0, 1), p.ids.flatten()).view(p.mask.shape)
    return grpo_loss(logp, p.mask, p.advantages, SPEC)


def liger(p: Problem) -> Tensor:
    """Liger's fused linear GRPO loss, with TRL's constants."""
    from liger_kernel.chunked_loss.grpo_loss import LigerFusedLinearGRPOLoss

    loss = LigerFusedLinearGRPOLoss(
        beta=0.0, compiled=p.hidden.is_cuda, use_ref_model=False, chunk_size=1, loss_type="dapo"
    )
    return loss(p.hidden, p.weight, p.ids, p.mask, p.advantages, num_items_in_batch=p.mask.sum())[0]


def fused(p: Problem) -> Tensor:
    """This project's kernel."""
    return fused_grpo_loss(p.hidden, p.weight, p.ids, p.mask, p.advantages, spec=SPEC).loss


IMPLEMENTATIONS: dict[str, Callable[[Problem], Tensor]] = {
    "fused": fused,
    "liger": liger,
    "trl": trl_chunked,
    "full logits": full_logits,
}
FLOOR = "matrix products"  # the floor: no exponentials, no loss


def products(p: Problem) -> Callable[[], None]:
    """The matrix products that no exact method can do without: 3 of them, or 2 where the head is frozen."""
    h, w = p.hidden.detach().flatten(0, 1), p.weight.detach()
    z, dh, dw = h.new_zeros(len(h), len(w)), torch.zeros_like(h), torch.zeros_like(w)

    def run() -> None:
        torch.mm(h, w.t(), out=z)
        torch.mm(z, w, out=dh)
        if p.weight.requires_grad:
            torch.mm(z.t(), h, out=dw)

    return run


# ------------------------------------------------------------------------------------------------- measuring
_worker: dict = {}  # what a worker process keeps between two calls


def _prepare(name: str, sizes: dict, trainable: bool, sparse: bool, threads: int) -> str:
    """Build the problem in a worker, run a short one to load libraries, then the real one; a reason if it cannot run."""
    torch.set_num_threads(threads)
    problem = make_problem(**sizes, trainable=trainable)
    problem = make_sparse(problem) if sparse else problem
    short = problem._replace(
        hidden=problem.hidden.detach()[:, :4].clone().requires_grad_(),
        ids=problem.ids[:, :4].contiguous(),
        mask=problem.mask[:, :4].contiguous(),
    )
    try:
        if name == FLOOR:
            run = products(problem)
        else:
            forward_backward(IMPLEMENTATIONS[name], short)
            problem.weight.grad = None

            def run() -> Tensor:
                return forward_backward(IMPLEMENTATIONS[name], problem)

        # Memory is counted from here, before the first run: what one run leaves to the next is needed too.
        _worker.update(problem=problem, above=memory_now(), run=run)
        run()
    except ImportError as error:
        return f"not installed: {error.name or error}"
    return ""


def _once() -> tuple[float, float | None]:
    """One timed repetition in a worker, starting without gradients."""
    problem = _worker["problem"]
    problem.hidden.grad = problem.weight.grad = None

    def run() -> None:
        _worker["result"] = _worker["run"]()

    return measure(run, _worker["above"])


def _answer() -> dict[str, float]:
    """What the last repetition computed: the loss, and length and a random projection of each gradient."""
    problem = _worker["problem"]
    answer = {"loss": float(_worker["result"])}
    for name, x in (("hidden", problem.hidden.grad), ("weight", problem.weight.grad)):
        if x is not None:
            sign = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(x.device).sign_()
            answer[f"{name} norm"] = float(x.double().norm())
            answer[f"{name} projection"] = float((x.double() * sign).sum())
    return answer


def run_case(sizes: dict, trainable: bool, sparse: bool, *, repeat: int, threads: int) -> dict[str, dict]:
    """Measure every implementation on one problem, in turns: {name: seconds, peak_mb, ...} or {name: note}.

    sizes: as in SIZES; repeat: timed repetitions after a warm-up. Raises AssertionError when two implementations disagree.
    """
    results: dict[str, dict] = {}
    with ExitStack() as stack:
        workers = {}
        for name in (*IMPLEMENTATIONS, FLOOR):
            worker = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            note = worker.submit(_prepare, name, sizes, trainable, sparse, threads).result()
            results[name] = {"note": note} if note else {"seconds": [], "peak_mb": []}
            if note:
                worker.shutdown()
            else:
                workers[name] = worker
        for _ in range(repeat):
            for name, worker in workers.items():
                seconds, peak = worker.submit(_once).result()
                results[name]["seconds"].append(round(seconds, 6))
                results[name]["peak_mb"].append(None if peak is None else round(peak, 1))
        for name, worker in workers.items():
            if name != FLOOR:
                results[name]["answer"] = worker.submit(_answer).result()
            result, peaks = results[name], [x for x in results[name]["peak_mb"] if x is not None]
            result.update(median_seconds=median(result["seconds"]), peak_mb=max(peaks) if peaks else None)
    check_answers(results, 1e-5)
    return results


def check_answers(results: dict[str, dict], tolerance: float) -> None:
    """Raise AssertionError unless all implementations computed the same loss and gradients, relative to `tolerance`."""
    answers = {name: result["answer"] for name, result in results.items() if "answer" in result}
    ours = answers["fused"]
    for name, answer in answers.items():
        for key, value in answer.items():
            size = max(abs(ours[key]), ours.get(key.replace("projection", "norm"), 0), 1e-2)
            if abs(value - ours[key]) > tolerance * size:
                raise AssertionError(f"{name} and fused disagree on the {key}: {value:.8g}, {ours[key]:.8g}")


# ---------------------------------------------------------------------------------------------------- the command
def table(record: dict) -> str:
    """Markdown: medians, peaks, and both as multiples of what this project's kernel needs."""
    lines = ["| case | implementation | seconds | peak MB | fused / it, time | fused / it, peak |", "|---|---|---|---|---|---|"]  # fmt: skip
    for case in record["cases"]:
        ours = case["results"]["fused"]
        for name, result in case["results"].items():
            if "note" in result:
                lines.append(f"| {case['name']} | {name} | {result['note']} | | | |")
                continue
            speed = f"{ours['median_seconds'] / result['median_seconds']:.2f}"
            counted = name != FLOOR and result["peak_mb"] and ours["peak_mb"]
            peak = f"{result['peak_mb']:.0f}" if counted else ""
            room = f"{ours['peak_mb'] / result['peak_mb']:.3f}" if counted else ""
            lines.append(
                f"| {case['name']} | {name} | {result['median_seconds']:.3f} | {peak} | {speed} | {room} |"
            )
    return "\n".join(lines)


def machine(threads: int) -> dict:
    """Where and with what the figures were measured."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    python, today = platform.python_version(), date.today().isoformat()
    return {
        "date": today,
        "python": python,
        "packages": packages,
        "cores": os.cpu_count(),
        "threads": threads,
    }


def main(argv: list[str]) -> None:
    """`python tools/maintain.py bench-kernel`: measures every case, writes one JSON file, prints the table."""
    parser = argparse.ArgumentParser(prog="maintain.py bench-kernel", description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5, help="timed repetitions after the warm-up")
    parser.add_argument("--output", type=Path, default=DATA / "runs" / "bench-kernel.json")
    options = parser.parse_args(argv)
    threads = int(os.environ.get("OMP_NUM_THREADS", "2"))
    record = {**machine(threads), "command": "make bench-kernel", "repeat": options.repeat, "cases": []}
    for name, (trainable, sparse) in CASES.items():
        print(f"{name}: {SIZES} ...", flush=True)
        results = run_case(SIZES, trainable, sparse, repeat=options.repeat, threads=threads)
        record["cases"].append({"name": name, **SIZES, "dtype": "torch.float32", "results": results})
        write_json(record, options.output)
    print(table(record))
    print(f"written to {options.output}")
