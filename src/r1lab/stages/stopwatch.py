"""A clock for trainings that are compared by their seconds. It stops during validation and can end a run."""

import json
import time
from pathlib import Path

from transformers import TrainerCallback

from r1lab.evaluation import evaluate
from r1lab.files import write_json
from r1lab.policy import Policy
from r1lab.problems import load_scale_problems, take_balanced
from r1lab.scale import Scale

# Points of the learning curve besides the one at the start.
POINTS = 6
# Validation problems for one point: few, because a run of a minute should not wait long for its curve.
PROBLEMS = 160


class Stopwatch(TrainerCallback):
    """Counts the seconds of a training, measures its learning curve, and ends it when `budget` seconds are over.

    spent: seconds that count already, such as those of making the data; at the end, all seconds. points: of the curve,
    besides the one at the start; 0 measures none. curve: rows of step, seconds, and greedy and sampled accuracy from 0 to 1.
    With each checkpoint the clock is saved in `folder`, and `resume` goes on from there.
    """

    def __init__(
        self,
        scale: Scale,
        folder: Path,
        *,
        spent: float = 0.0,
        budget: float | None = None,
        points: int = POINTS,
        resume: bool = False,
    ):
        self.scale, self.path = scale, Path(folder) / "watch.json"
        self.spent, self.budget, self.points, self.curve = spent, budget, points, []
        if resume and self.path.is_file():
            saved = json.loads(self.path.read_text(encoding="utf-8"))
            self.spent, self.curve = saved["spent"], saved["curve"]
        self.problems = take_balanced(load_scale_problems(scale, "validation"), PROBLEMS)

    @property
    def seconds(self) -> float:
        """Seconds up to now, while the clock runs."""
        return self.spent + time.perf_counter() - self.started

    def measure(self, step: int, model, tokenizer) -> None:
        """Add a point to the curve."""
        if not self.points:
            return
        # Few samples, because the mean over all problems is all that is needed.
        seconds, began = self.seconds, time.perf_counter()
        report = evaluate(
            Policy(model, tokenizer),
            self.problems,
            samples=2,
            template=self.scale.template,
            max_new_tokens=self.scale.longest_answer,
        )["overall"]
        accuracy = {name: report[f"{name}_accuracy"]["value"] for name in ("greedy", "sampled")}
        self.curve.append({"step": step, "seconds": round(seconds, 1), **accuracy})
        # Moving the start forward takes the validation out of the count.
        self.started += time.perf_counter() - began

    # transformers passes the model and, as `processing_class`, the tokenizer to every event. So no copy is kept here.
    def on_train_begin(self, args, state, control, model=None, processing_class=None, **kwargs):
        self.started = time.perf_counter()
        # A resumed run has its first points already.
        if not self.curve:
            self.measure(state.global_step, model, processing_class)

    def on_step_end(self, args, state, control, model=None, processing_class=None, **kwargs):
        done = state.global_step / state.max_steps
        # A run ends at its last step or at the end of its budget, whichever comes first.
        if self.budget:
            done = max(done, self.seconds / self.budget)
        # The next point is due when its share of the run is over, and the last one at the end.
        if done >= 1 or done * self.points >= len(self.curve):
            self.measure(state.global_step, model, processing_class)
        if done >= 1:
            control.should_training_stop = True

    # Saved at each checkpoint, so that a resumed run has spent what the killed one had spent by then.
    def on_save(self, args, state, control, **kwargs):
        write_json({"spent": self.seconds, "curve": self.curve}, self.path)

    def on_train_end(self, args, state, control, **kwargs):
        self.spent, self.started = self.seconds, time.perf_counter()
