"""Curves of a training run, figures of an evaluation, and completions as pages."""

from r1lab.view.curves import TrainingPlot, plot_runs, plot_training
from r1lab.view.kernels import plot_kernel_bench
from r1lab.view.progress import progress_line
from r1lab.view.reports import plot_by_group, plot_pass_at_k
from r1lab.view.rewards import plot_distributions, plot_lines, plot_proxy_and_truth
from r1lab.view.traces import show_traces
