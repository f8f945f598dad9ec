"""python -m r1lab doctor | course | chat | eval | zero ... distill | bench ... | base | notebooks | clean"""

import argparse
import os
import sys
from functools import partial

HELP = """usage: python -m r1lab COMMAND [options]      (each takes --help)

  doctor      is this machine ready, and what will a run cost?
  course      run every notebook at scale tiny and write build/course/index.html
  zero        R1-Zero: GRPO on the base model           (--output --seed --steps --resume)
  cold_start  SFT of the base on cleaned chains         (the stages take the same options,
  reason      GRPO with language consistency             and where to find the models
  reject      rejection sampling, second SFT             they start from: --help)
  align       all-scenario RL with a reward model
  distill     the aligned model into a small student
  eval        accuracy of a checkpoint with intervals    (MODEL --benchmark --samples --output --before)
  chat        talk to a checkpoint, terminal or browser  (MODEL --temperature --page)
  bench       R1-Zero for three seeds, into data/runs/
  bench-stages   the later stages and their controls for three seeds, into data/runs/
  ship        the bench's checkpoints into data/models/
  bench-rewards   speed and safety of the rewards, into data/runs/
  bench-kernel   time and memory of the GRPO loss against TRL and Liger
  base        make problems, tokenizer and base model again from their seed
  notebooks   re-run and clean the committed notebooks
  clean       clean notebooks without running them

The dial is the environment variable R1LAB_SCALE, for a stage also --scale: tiny (default), t4, a100, cluster.
An error is one sentence; --debug (or R1LAB_DEBUG=1) shows the whole traceback."""


TRAINED = {
    "zero": "R1-Zero: GRPO on the base model with verifiable rewards.",
    "cold_start": "Cold start: SFT of the base on cleaned chains of thought.",
    "reason": "Reasoning RL: GRPO from the cold start, paid for one language too.",
    "reject": "Rejection sampling from the reasoning model, then a second SFT of the base.",
    "align": "All-scenario RL: rules for reasoning, a reward model for the rest.",
    "distill": "Distillation of the aligned model into a small student.",
}


def main_stage(stage: str, argv: list[str]) -> None:
    """Train one stage from the terminal."""
    from r1lab.scale import SCALES, get_scale, output_folder

    dial = argparse.ArgumentParser(add_help=False)
    dial.add_argument("--scale", choices=SCALES, help="instead of R1LAB_SCALE")
    chosen = dial.parse_known_args(argv)[0].scale
    if chosen:  # before the stages are imported, which look at it
        os.environ["R1LAB_SCALE"] = chosen
    from r1lab.stages.checkpoints import STAGES
    from r1lab.stages.folder import own_folder

    parser = argparse.ArgumentParser(prog=f"r1lab {stage}", description=TRAINED[stage], parents=[dial])
    parser.add_argument(
        "--output", help=f"folder for checkpoints, metrics and the model (default build/runs/{stage})"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="optimizer steps (default: the stage's)")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last complete checkpoint in the folder"
    )
    for need in STAGES[stage].needs:
        parser.add_argument(
            f"--{need.replace('_', '-')}",
            dest=need,
            metavar="FOLDER",
            help=f"{STAGES[need].title} to start from",
        )
    if stage in ("reject", "align"):
        parser.add_argument(
            "--general",
            metavar="FOLDER",
            help="your general prompts, instead of R1LAB_GENERAL (format: data/general/README.md)",
        )
    options = parser.parse_args(argv)
    if getattr(options, "general", None):
        os.environ["R1LAB_GENERAL"] = options.general
    scale = get_scale()
    output = options.output or output_folder() / stage
    folders = {need: getattr(options, need) for need in STAGES[stage].needs if getattr(options, need)}
    first = int(os.environ.get("RANK", "0")) == 0  # of the processes that torchrun or accelerate started
    if first:
        print(f"scale {scale.name}: {scale.reason}")
    from importlib import import_module

    from r1lab.view import progress_line

    steps = {"max_steps": options.steps} if options.steps else {}
    with own_folder(output):  # from the first moment, and until the model is saved
        run = getattr(import_module(f"r1lab.stages.{stage}"), f"train_{stage}")(
            scale,
            output,
            folders=folders,
            seed=options.seed,
            resume=options.resume,
            show=progress_line(),
            **steps,
        )
    if first:
        print(f"\ntrained in {run['seconds']:.0f} s; model, checkpoints and metrics.json are in {output}")
    _leave_together()


def _leave_together() -> None:
    """End one of several processes without Python's own way out, on which gloo's threads often abort ("terminate called
    without an active exception") although all is saved."""
    import torch.distributed as processes

    if processes.is_initialized():
        processes.barrier()  # the first process is still writing
        processes.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def main_eval(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="r1lab eval", description="Evaluate a checkpoint on held-out problems."
    )
    parser.add_argument("model", help="a shipped model (tiny-base), or a folder")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument(
        "--samples", type=int, default=8, help="samples a problem at temperature 1 (64 for pass@64)"
    )
    parser.add_argument("--limit", type=int, help="only so many problems, balanced")
    parser.add_argument(
        "--benchmark",
        help="instead of the scale's problems: gsm8k, math_500, humaneval or logic (files in data/benchmarks, or the hub)",
    )
    parser.add_argument(
        "--before",
        metavar="REPORT",
        help="compare with this report of an earlier --output, problem by problem",
    )
    parser.add_argument("--output", help="write the whole report here as JSON")
    options = parser.parse_args(argv)
    from r1lab.evaluation import compare, evaluate, load_report, save_report, table
    from r1lab.policy import load_policy, set_threads
    from r1lab.problems import load_scale_problems, take_balanced
    from r1lab.scale import get_scale

    set_threads()
    scale = get_scale()
    before = load_report(options.before) if options.before else None
    if options.benchmark:
        from r1lab.problems.hub import load_benchmark

        problems, dropped = load_benchmark(options.benchmark, limit=options.limit)
        print(f"{options.benchmark}: {len(problems)} problems, left out: {dict(dropped) or 'none'}")
    else:
        problems = load_scale_problems(scale, options.split)
        problems = take_balanced(problems, options.limit or len(problems))
    policy = load_policy(options.model)
    report = evaluate(
        policy,
        problems,
        samples=options.samples,
        template=scale.template,
        max_new_tokens=scale.longest_answer,
        label=options.model,
    )
    print(table({options.model: report}))
    most = max((k for k in report["ks"] if k > 1), default=None)
    if most:
        print(table({options.model: report}, columns=(f"maj@{most}", f"pass@{most}", "truncated_rate")))
    for metric in ("greedy_accuracy", "sampled_accuracy") if before else ():
        gain = compare(before, report, metric)
        print(
            f"{metric}: {100 * gain['difference']:+.1f} points [{100 * gain['low']:.1f}, {100 * gain['high']:.1f}] "
            f"against {options.before} ({gain['test']}, p = {gain['p']:.1g})"
        )
    if options.output:
        save_report(report, options.output)
        print(f"report written to {options.output}")


def _forward(module: str, function: str):
    def run(argv: list[str]) -> int | None:
        from importlib import import_module

        return getattr(import_module(module), function)(argv)

    return run


COMMANDS = {
    "doctor": _forward("r1lab.doctor", "main"),
    "course": _forward("r1lab.course", "main_course"),
    "notebooks": _forward("r1lab.course", "main_notebooks"),
    "clean": _forward("r1lab.course", "main_clean"),
    "chat": _forward("r1lab.chat", "main"),
    "bench": _forward("r1lab.bench", "main"),
    "bench-rewards": _forward("r1lab.rewards.bench", "main"),
    "bench-kernel": _forward("r1lab.kernels.bench", "main"),
    "base": _forward("r1lab.tiny.build", "main"),
    "bench-stages": _forward("r1lab.bench", "main_stages"),
    "ship": _forward("r1lab.bench", "main_ship"),
    **{stage: partial(main_stage, stage) for stage in TRAINED},
    "eval": main_eval,
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; an error the user can fix is one sentence on stderr and exit code 2, with --debug its traceback."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv or os.environ.get("R1LAB_DEBUG", "") not in ("", "0")
    argv = [word for word in argv if word != "--debug"]
    if not argv or argv[0] in ("-h", "--help"):
        print(HELP)
        return 0
    if argv[0] not in COMMANDS:
        print(f"r1lab: unknown command {argv[0]!r}; choose one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        return COMMANDS[argv[0]](argv[1:]) or 0
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        if debug:
            raise
        print(f"r1lab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nr1lab: stopped; checkpoints are kept, `--resume` goes on from the last one", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
