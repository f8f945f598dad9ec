"""The command line: `python -m r1lab COMMAND`, or `r1lab COMMAND` where the package is installed."""

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module

from r1lab.recipe import STAGES, TRAINED


def main_stage(stage: str, argv: list[str]) -> None:
    """`r1lab STAGE`: train one stage."""
    from r1lab.scale import SCALES, get_scale, output_folder

    parser = argparse.ArgumentParser(
        prog=f"r1lab {stage}", description=f"Train {STAGES[stage].about or stage}."
    )
    parser.add_argument("--scale", choices=SCALES, help="instead of R1LAB_SCALE")
    parser.add_argument(
        "--output", help=f"folder for checkpoints, metrics and the model (default build/runs/{stage})"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="optimizer steps (default: the stage's)")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last complete checkpoint in the folder"
    )
    for need in STAGES[stage].needs:
        flag, start = f"--{need.replace('_', '-')}", f"{STAGES[need].title} to start from"
        parser.add_argument(flag, dest=need, metavar="FOLDER", help=start)
    if STAGES[stage].general:
        parser.add_argument(
            "--general",
            metavar="FOLDER",
            help="your general prompts, instead of R1LAB_GENERAL (format: data/general/README.md)",
        )
    options = parser.parse_args(argv)
    # Both are set before the stages are imported, because at some scales Unsloth must be imported before TRL.
    if options.scale:
        os.environ["R1LAB_SCALE"] = options.scale
    if getattr(options, "general", None):
        os.environ["R1LAB_GENERAL"] = options.general
    from r1lab.stages.runner import train_stage
    from r1lab.view import progress_line

    scale, output = get_scale(), options.output or output_folder() / stage
    # Of the processes that torchrun or accelerate started, only the first one prints.
    first = int(os.environ.get("RANK", "0")) == 0
    if first:
        print(f"scale {scale.name}: {scale.reason}")
    run = train_stage(
        stage,
        scale,
        output,
        folders={need: getattr(options, need) for need in STAGES[stage].needs if getattr(options, need)},
        seed=options.seed,
        resume=options.resume,
        show=progress_line(),
        **({"max_steps": options.steps} if options.steps else {}),
    )
    if first:
        print(f"\ntrained in {run['seconds']:.0f} s; model, checkpoints and metrics.json are in {output}")
    _leave_together()


def _leave_together() -> None:
    """End this process if it is one of several, after all of them have finished."""
    import torch.distributed as processes

    if processes.is_initialized():
        # The first process is still writing.
        processes.barrier()
        processes.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        # At Python's own exit, gloo's threads often abort ("terminate called without an active exception") although
        # everything is saved.
        os._exit(0)


def main_eval(argv: list[str]) -> None:
    """`r1lab eval`: evaluate a checkpoint and print its table."""
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
        print(f"{options.benchmark}: {len(problems)} problems, skipped: {dict(dropped) or 'none'}")
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


def run_later(module: str, function: str) -> Callable:
    """`function` of `module` as a command. The import happens when it runs, because imports would slow down `--help`."""
    return lambda argv: getattr(import_module(module), function)(argv)


# Name of a command -> (function that runs it with its arguments, line in the help).
COMMANDS = {
    "doctor": (run_later("r1lab.doctor", "main"), "is this machine ready, and what will a run cost?"),
    **{stage: (partial(main_stage, stage), STAGES[stage].about) for stage in TRAINED},
    "eval": (main_eval, "accuracy of a checkpoint with intervals"),
    "chat": (run_later("r1lab.chat", "main"), "talk to a checkpoint, in the terminal or in a browser"),
}
EPILOG = """The dial is the environment variable R1LAB_SCALE, for a stage also --scale: tiny (default), t4, a100, cluster.
An error is one sentence; --debug (or R1LAB_DEBUG=1) shows the whole traceback."""


def main(argv: list[str] | None = None, commands=None, prog: str = "r1lab") -> int:
    """The exit code of one command: 2 for an error that the user can fix, which is one sentence on stderr.

    With --debug such an error shows its traceback. commands: a table like COMMANDS, which is the default.
    """
    commands = COMMANDS if commands is None else commands
    layout = {"epilog": EPILOG, "formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser(
        prog=prog, usage=f"{prog} COMMAND [options]   (each takes --help)", **layout
    )
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    names = parser.add_subparsers(title="commands", dest="command", metavar="")
    for name, (_, about) in commands.items():
        names.add_parser(name, help=about, add_help=False)
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv or os.environ.get("R1LAB_DEBUG", "") not in ("", "0")
    argv = [word for word in argv if word != "--debug"]
    if not argv:
        parser.print_help()
        return 0
    try:
        command = parser.parse_args(argv[:1]).command
        return commands[command][0](argv[1:]) or 0
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        if debug:
            raise
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"\n{prog}: stopped; checkpoints are kept, `--resume` goes on from the last one", file=sys.stderr
        )
        return 130
