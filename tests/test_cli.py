"""The command line: every command starts, and mistakes are one sentence with exit code 2."""

import json
import os
import subprocess
import sys

import pytest
from maintain import COMMANDS as MAINTAIN

from r1lab.chat import BOLD, DIM, PLAIN, colour
from r1lab.cli import COMMANDS, main


@pytest.mark.parametrize(
    "arguments", ["doctor", "zero", "eval tiny-base", "chat", "bench", "eval tiny-bass --limit 4"]
)
def test_a_mistake_is_one_sentence_with_exit_code_2(arguments, capsys, monkeypatch):
    if "tiny-bass" not in arguments:
        monkeypatch.setenv("R1LAB_SCALE", "huge")
    assert main(arguments.split(), {**COMMANDS, **MAINTAIN}) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("r1lab: ") and "\n" not in error


def test_an_unknown_command_and_the_help_name_every_command(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["dokter"])
    error = capsys.readouterr().err
    assert all(command in error for command in COMMANDS)
    for commands in (COMMANDS, MAINTAIN):
        assert main([], commands) == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert all(command in printed and about in printed for command, (_, about) in commands.items())


def test_a_stage_takes_the_scale_and_general_prompts_as_options(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("R1LAB_SCALE", "tiny")
    monkeypatch.setenv("R1LAB_OUTPUT", str(tmp_path))
    assert main(["cold_start", "--scale", "cluster"]) == 2
    assert "no R1-Zero checkpoint" in capsys.readouterr().err, "at scale tiny one is shipped"
    monkeypatch.setenv("R1LAB_GENERAL", "elsewhere")
    seen = []
    train_stage = lambda *_, **__: seen.append(os.environ["R1LAB_GENERAL"]) or {"seconds": 0.0}  # noqa: E731
    monkeypatch.setattr("r1lab.stages.runner.train_stage", train_stage)
    assert main(["align", "--scale", "tiny", "--general", str(tmp_path)]) == 0 and seen == [str(tmp_path)]


@pytest.mark.parametrize("debug", [["--debug"], []])
def test_debug_shows_the_whole_traceback(debug, monkeypatch, capsys):
    def fail(argv):
        assert argv == ["x"]
        raise ValueError("inner")

    monkeypatch.setitem(COMMANDS, "doctor", (fail, ""))
    if not debug:
        assert main(["doctor", "x"]) == 2, "one sentence, as ever"
        monkeypatch.setenv("R1LAB_DEBUG", "1")
    with pytest.raises(ValueError, match="inner"):
        main(["doctor", *debug, "x"])


def test_a_bench_of_an_unknown_variant_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    import bench_stages as bench

    monkeypatch.setattr(bench, "fill_readme", lambda *_: pytest.fail("it wrote into README"))
    monkeypatch.setattr(bench, "measure", lambda *_: pytest.fail("it trained"))
    arguments = ["bench-stages", "--seeds", "0", "--stages", "reject", "--variants", "reject", "typo"]
    for more in ([], ["--output", str(tmp_path)]):
        assert main([*arguments, *more], MAINTAIN) == 2
        known = "choose from reject, reject-random, reject-reasoning"
        assert f"typo is no variant of reject: {known}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["ship", "--stages", "typo"], MAINTAIN)
    assert "invalid choice: 'typo'" in capsys.readouterr().err


def test_any_checkpoint_is_evaluated_on_a_benchmark_and_compared_in_pairs(tmp_path, monkeypatch, capsys):
    rows = [{"question": f"Solve for x: x+{n}=9", "answer": f"So.\n#### {9 - n}"} for n in range(2, 5)]
    rows.append({"question": "What is 3+4?", "answer": "no mark"})
    (tmp_path / "gsm8k_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv("R1LAB_REAL_DATA", str(tmp_path))
    options = ["--benchmark", "gsm8k", "--samples", "4"]
    assert main(["eval", "tiny-base", *options, "--output", str(tmp_path / "base.json")]) == 0
    printed = capsys.readouterr().out
    assert "gsm8k: 3 problems, skipped: {'blank': 1}" in printed and "maj@4" in printed
    assert main(["eval", "tiny-zero", *options, "--before", str(tmp_path / "base.json")]) == 0
    printed = capsys.readouterr().out
    assert "sampled_accuracy: +" in printed and "paired bootstrap" in printed and "exact McNemar" in printed
    few = ["--benchmark", "logic", "--samples", "1", "--limit", "1"]
    assert main(["eval", "tiny-zero", *few, "--before", str(tmp_path / "base.json")]) == 2
    assert "different problems" in capsys.readouterr().err
    assert main(["eval", "tiny-zero", "--benchmark", "gsm9k"]) == 2
    assert "choose one of gsm8k, math_500, humaneval, logic" in capsys.readouterr().err


@pytest.mark.slow
def test_doctor_finds_the_tiny_scale_healthy(capsys, monkeypatch):
    monkeypatch.setenv("R1LAB_SCALE", "tiny")
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "ok   group std" in printed and "ok   ETA" in printed and "FIX" not in printed


@pytest.mark.slow
def test_chat_answers_a_piped_question():
    command = [sys.executable, "-m", "r1lab", "chat", "tiny-base"]
    run = subprocess.run(command, input="Hello!\n\n", capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and len(run.stdout.splitlines()) >= 2, run.stderr


def test_colour_dims_the_reasoning_even_when_tags_arrive_in_pieces():
    text = "<think>7+7=14.</think> <answer>14</answer>"
    whole = "".join(colour(iter([text])))
    assert whole == f"{DIM}<think>7+7=14.</think>{PLAIN} {BOLD}14{PLAIN}{PLAIN}"
    assert "".join(colour(iter(text))) == whole
    assert "".join(colour(iter(["3 < 5, ", "a <", " b"]))) == f"3 < 5, a < b{PLAIN}"
