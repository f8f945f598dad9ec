"""The commands that maintain the repository: `python tools/maintain.py COMMAND`. The Makefile calls them."""

import sys

from r1lab.cli import main, run_later

COMMANDS = {
    "course": (
        run_later("course", "main_course"),
        "run every notebook at scale tiny, write build/course/index.html",
    ),
    "notebooks": (run_later("course", "main_notebooks"), "run the committed notebooks again and clean them"),
    "clean": (run_later("course", "main_clean"), "clean notebooks without running them"),
    "base": (
        run_later("tinyworld.build", "main"),
        "problems, tokenizer and base model again from their seed",
    ),
    "bench": (run_later("bench_stages", "main_zero"), "R1-Zero for three seeds, into data/runs/"),
    "bench-stages": (
        run_later("bench_stages", "main"),
        "the later stages and their controls, three seeds",
    ),
    "bench-rewards": (run_later("bench_rewards", "main"), "speed and safety of the rewards"),
    "bench-kernel": (
        run_later("bench_kernel", "main"),
        "time and memory of the GRPO loss against TRL and Liger",
    ),
    "bench-engine": (
        run_later("bench_engine", "main"),
        "time of sampling and of a training step, against TRL",
    ),
    "ship": (run_later("bench_stages", "main_ship"), "the checkpoints of bench-stages into data/models/"),
}

if __name__ == "__main__":
    sys.exit(main(commands=COMMANDS, prog="maintain.py"))
