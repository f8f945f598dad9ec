"""Speed of the engine and of `examples/zero_by_hand.py` compared with TRL: writes data/runs/bench-engine.json.

    make bench-engine

Three measurements. The first two are ratios of times measured in turns, the third is seconds of training:
  sampling  64 completions of at most 96 tokens: `model.generate` as TRL calls it, and the engine, in turns
  step      one training step of R1-Zero: TRL's trainer with its own sampling and loss, and zero_by_hand, in turns
  race      zero_by_hand from the base until 75% of the sampled answers to the test problems are right
"""

import argparse
import importlib.util
import os
import statistics
import tempfile
import time
from pathlib import Path

from bench_stages import stamp

from r1lab import engine
from r1lab.evaluation import evaluate
from r1lab.policy import Policy, end_tokens, load_model, set_threads
from r1lab.problems import load_problems
from r1lab.scale import DATA, get_scale

GOAL = 0.75
RACE_STEPS, FIRST_TEST, TEST_EVERY, TEST_SAMPLES = 160, 40, 5, 2


def load_example():
    """The module examples/zero_by_hand.py."""
    path = DATA.parent / "examples" / "zero_by_hand.py"
    spec = importlib.util.spec_from_file_location("zero_by_hand", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain_trl_trainer(output: str, **options):
    """TRL's own trainer with the settings of R1-Zero: its sampling and its loss, none of ours."""
    from transformers import PrinterCallback
    from trl import GRPOTrainer

    from r1lab.stages.config import make_grpo_args
    from r1lab.stages.zero import zero_dataset, zero_rewards

    scale, rewards = get_scale("tiny"), zero_rewards()
    model, tokenizer = load_model(scale.model)
    args = make_grpo_args(
        scale, output, reward_weights=rewards["reward_weights"], save_strategy="no", **options
    )
    trainer = GRPOTrainer(
        model=model,
        processing_class=tokenizer,
        reward_funcs=rewards["reward_funcs"],
        args=args,
        train_dataset=zero_dataset(scale),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def seconds_of(work) -> float:
    """Seconds that one call of `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def compare(trl: list[float], ours: list[float]) -> dict:
    """The seconds of both, the ratio of our median to TRL's, and the ratio of each single turn."""
    ratio = statistics.median(ours) / statistics.median(trl)
    ratios = [round(b / a, 3) for a, b in zip(trl, ours, strict=True)]
    seconds = {"trl": [round(x, 4) for x in trl], "ours": [round(x, 4) for x in ours]}
    return {"ratio": round(ratio, 3), "ratios": ratios, "seconds": seconds}


def bench_sampling(turns: int) -> dict:
    """Seconds to sample eight completions of each of eight prompts, see `compare`. Every turn has other prompts."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = plain_trl_trainer(folder)
    model, tokenizer = trainer.model, trainer.processing_class
    policy, problems, ends = Policy(model, tokenizer), load_problems("train"), end_tokens(model, tokenizer)
    trl, ours = [], []
    for turn in range(turns + 1):
        texts = [policy.render(row["prompt"]) for row in problems[8 * turn : 8 * turn + 8] for _ in range(8)]
        ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
        settings = {"ends": ends, "max_new_tokens": 96, "seed": turn}
        trl.append(seconds_of(lambda ids=ids: trainer._generate_single_turn(ids, None, {}, 8)))
        ours.append(seconds_of(lambda ids=ids, settings=settings: engine.generate(model, ids, **settings)))
    return compare(trl[1:], ours[1:])  # the first turn warms up


def bench_step(turns: int) -> dict:
    """Seconds of a training step, see `compare`. TRL and zero_by_hand each train a model from the base, in turns."""
    from transformers import TrainerCallback

    by_hand = load_example().train(*load_model("tiny-base"), steps=turns + 1)
    trl, ours = [], []

    class InTurns(TrainerCallback):
        def on_step_begin(self, *_, **__):
            self.started = time.perf_counter()

        def on_step_end(self, *_, **__):
            trl.append(time.perf_counter() - self.started)
            ours.append(seconds_of(lambda: next(by_hand)))

    with tempfile.TemporaryDirectory() as folder:
        trainer = plain_trl_trainer(folder, max_steps=turns + 1)
        trainer.add_callback(InTurns())
        trainer.train()
    return compare(trl[1:], ours[1:])


def race(seed: int) -> dict:
    """Seconds of training until GOAL is reached, without the evaluations: {"seed", "steps", "seconds", "curve"}."""
    model, tokenizer = load_model("tiny-base")
    problems, seconds, curve = load_problems("test"), 0.0, []
    steps = load_example().train(model, tokenizer, steps=RACE_STEPS, seed=seed)
    for step in range(1, RACE_STEPS + 1):
        seconds += seconds_of(lambda: next(steps))
        if step < FIRST_TEST or step % TEST_EVERY:
            continue
        settings = {"greedy": False, "samples": TEST_SAMPLES, "ks": (), "max_new_tokens": 192, "seed": step}
        metrics = evaluate(Policy(model, tokenizer), problems, **settings)["overall"]
        accuracy, format_rate = metrics["sampled_accuracy"]["value"], metrics["format_rate"]["value"]
        curve.append(
            {"step": step, "seconds": round(seconds, 1), "accuracy": accuracy, "format": format_rate}
        )
        print(
            f"seed {seed}, step {step}: {accuracy:.1%} right, {format_rate:.0%} well formed, {seconds:.0f} s"
        )
        if accuracy >= GOAL:
            break
    reached = curve[-1]["accuracy"] >= GOAL
    return {"seed": seed, "reached": reached, "steps": step, "seconds": round(seconds, 1), "curve": curve}


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write the JSON file after each part."""
    from r1lab.files import write_json

    parser = argparse.ArgumentParser(description="The engine and zero_by_hand beside TRL.")
    parser.add_argument("--turns", type=int, default=15, help="measurements of sampling and of a step")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="seeds of the race")
    parser.add_argument("--output", type=Path, default=DATA / "runs" / "bench-engine.json")
    options = parser.parse_args(arguments)
    set_threads()
    import torch

    # A second busy program slows down both sides, so the record holds the load of the machine.
    machine = {"cpus": os.cpu_count(), "threads": torch.get_num_threads()}
    record = {**stamp(0, "make bench-engine"), "seeds": options.seeds, **machine, "load": {}}

    def part(name: str, value) -> None:
        record[name] = value
        record["load"][name] = round(os.getloadavg()[0], 1)
        write_json(record, options.output)

    part("sampling", bench_sampling(options.turns))
    print(f"sampling 64 completions: {record['sampling']['ratio']} of TRL's time")
    part("step", bench_step(options.turns))
    print(f"one training step: {record['step']['ratio']} of TRL's time")
    part("race", [])
    for seed in options.seeds:
        part("race", [*record["race"], race(seed)])
        last = record["race"][-1]
        print(f"seed {seed}: {last['curve'][-1]['accuracy']:.1%} after {last['seconds']} s of training")


if __name__ == "__main__":
    main()
