"""The recipe of R1 as one table of stages (DeepSeek-AI, 2025). The command line, the results and the benches are made from it.

To add a stage, write one file `stages/NAME.py` with a function `make_trainer(run, **options)`, and add one line here.
`stages/runner.py` does the rest: parents, locks, resuming, saving.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Stage:
    """What surrounds the training of one stage.

    title: in tables. ships: the folder of its model in data/models, or "" where the repository has none. needs: the
    checkpoints it starts from; the one whose training goes on comes first. about: for `r1lab --help`. general: it also trains on general
    prompts, so its command takes a folder of your own. variants: name -> options of `make_trainer`; ablations and controls.
    """

    title: str
    ships: str
    needs: tuple[str, ...] = ()
    about: str = ""
    general: bool = False
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)


# Plain RLHF with a reward model that was trained on length-biased preferences. SFT 2 is so sure of its replies that it would
# sample no other ones at temperature 1.
_RLHF = {"rlhf": True, "learning_rate": 1e-3, "temperature": 1.5, "max_steps": 40}

STAGES = {
    "base": Stage("base", "tiny-base"),
    "zero": Stage(
        "R1-Zero", "tiny-zero", ("base",), "R1-Zero: GRPO on the base model with verifiable rewards"
    ),
    "cold_start": Stage(
        "cold start SFT",
        "tiny-r1-sft1",
        ("base", "zero"),
        "cold start: SFT of the base on cleaned chains of thought",
        variants={"cold_start-messy": {"clean": False}},
    ),
    "reason": Stage(
        "reasoning RL",
        "tiny-r1-reason",
        ("cold_start",),
        "reasoning RL: GRPO from the cold start, with a reward for one language too",
        variants={
            # The ablation: the language is measured, and its reward has weight 0.
            "reason-free": {"language_weight": 0.0},
            # The control: the same rewards and steps without a cold start.
            "reason-zero": {"parent": "zero"},
            # The control: all training problems. The cold start solves most of them already.
            "reason-all": {"select": False},
            # A reward with a hole: each further word in the right language earns a little more.
            "reason-smoothed": {"smoothing": 1.0},
        },
    ),
    "reject": Stage(
        "SFT 2",
        "tiny-r1-sft2",
        ("base", "reason"),
        "rejection sampling from the reasoning model, then a second SFT of the base",
        general=True,
        variants={"reject-random": {"random_control": True}, "reject-reasoning": {"general_share": 0.0}},
    ),
    "align": Stage(
        "R1 (all-scenario RL)",
        "tiny-r1",
        ("reject",),
        "all-scenario RL: rules for reasoning, a reward model for the rest",
        general=True,
        variants={
            "align-overoptimised": _RLHF,
            "align-kl": {**_RLHF, "beta": 0.1},
            "align-early": {**_RLHF, "stop_early": True},
            "align-dpo": {"dpo": True},
        },
    ),
    "student_base": Stage("student base", "tiny-student-base"),
    "distill": Stage(
        "student",
        "tiny-student",
        ("student_base", "align"),
        "distillation of the aligned model into a small student",
        variants={
            # Reinforcement learning on the student itself, for as many seconds as distillation took, and for three times as many.
            "distill-rl": {"method": "rl"},
            "distill-rl-long": {"method": "rl", "budget_factor": 3},
            # The control: the same prompts with the answers alone.
            "distill-answers": {"reasoning": False},
            # The student writes, the teacher scores each token.
            "distill-on-policy": {"method": "on-policy"},
        },
    ),
}
PRETRAINED = ("base", "student_base")
TRAINED = tuple(name for name in STAGES if name not in PRETRAINED)
# Every run that can be trained by name: name -> (stage, options of its `make_trainer`).
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    name: (stage, options)
    for stage in TRAINED
    for name, options in {stage: {}, **STAGES[stage].variants}.items()
}
