"""The set-up cell: nothing at home, the right lock on a rented GPU, and plain words when it cannot work."""

import os
import subprocess
import sys
from types import SimpleNamespace

import course
import notebook_setup
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebook_setup import choose_lock, set_up

from r1lab import unsloth_first
from r1lab.unsloth_first import Gpu

SOURCE = course.SETUP.read_text(encoding="utf-8").rstrip("\n")
T4 = Gpu("Tesla T4", 7.5, 15.0)
L4 = Gpu("NVIDIA L4", 8.9, 22.5)
A100 = Gpu("NVIDIA A100-SXM4-40GB", 8.0, 40.0)


# ----------------------------------------------------------------------------------------------------------- the cell


def test_an_old_set_up_cell_is_replaced_and_nothing_else_changes():
    skipped = {"tags": [course.SKIP_TAG]}
    old = new_code_cell(f"!git clone {course.CLONE}", metadata=skipped)
    other = [
        new_markdown_cell(course.CLONE),
        new_code_cell(course.CLONE),
        new_code_cell("1", metadata=skipped),
    ]
    notebook = course.put_setup(new_notebook(cells=[*other, old]), "04.ipynb")
    assert [cell.source for cell in notebook.cells] == [course.CLONE, course.CLONE, "1", SOURCE]


@pytest.fixture
def run_cell(monkeypatch, tmp_path):
    """Run the cell as a notebook would, with these environment variables: what it starts, and the calls of `set_up`."""
    for name in [n for n in os.environ if n.startswith(("COLAB_", "KAGGLE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    commands, calls = [], []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command[:2]))
    monkeypatch.setattr(notebook_setup, "set_up", lambda *given, **named: calls.append((given, named)))

    def run_cell(source=SOURCE, **environment):
        commands.clear(), calls.clear()
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        exec(compile(source, "setup_cell.py", "exec"), {})
        return list(commands), list(calls)

    return run_cell


@pytest.mark.parametrize("variable", ["COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"])
def test_on_a_rented_machine_it_clones_once_and_hands_the_form_over(run_cell, tmp_path, variable):
    assert run_cell() == ([], []), "at home it does nothing"
    form = [(("tiny",), {"steps": 0, "resume": False, "use_drive": False})]
    assert run_cell(**{variable: "1"}) == ([["git", "clone"]], form)
    (tmp_path / "r1lab" / "src").mkdir(parents=True)
    assert run_cell(**{variable: "1"}) == ([], form)


def test_the_set_up_needs_no_package_before_it_has_installed_them():
    program = "import sys; sys.path[:0] = ['src', 'tools']; import notebook_setup; print(notebook_setup.ROOT)"
    command = [sys.executable, "-I", "-S", "-c", program]  # no installed package can be imported
    assert subprocess.check_output(command, cwd=course.ROOT, text=True).strip() == str(course.ROOT)


def test_a_notebook_for_tiny_only_sets_the_scale_and_leaves_no_choice(run_cell, monkeypatch):
    monkeypatch.setenv("R1LAB_SCALE", "t4")
    source = course.setup_source("08_alignment.ipynb")
    assert "t4" not in source.partition("STEPS")[0] and source != SOURCE
    assert (
        run_cell(source, COLAB_RELEASE_TAG="1")[1][0][0] == ("tiny",) and os.environ["R1LAB_SCALE"] == "tiny"
    )


def test_at_a_gpu_scale_the_cell_imports_unsloth_before_the_notebook_imports_anything(run_cell, monkeypatch):
    monkeypatch.setitem(sys.modules, "unsloth", None)  # importing it now fails
    monkeypatch.setattr(unsloth_first, "find_gpu", lambda: None)
    with pytest.raises(ImportError, match="unsloth"):
        run_cell(R1LAB_SCALE="t4")


# ----------------------------------------------------------------------------------------------------------- the lock
@pytest.mark.parametrize(
    "scale, gpu, lock",
    [
        ("tiny", T4, None),
        ("t4", T4, "colab-t4.txt"),
        ("t4", L4, "colab-a100.txt"),
        ("a100", A100, "colab-a100.txt"),
    ],
)
def test_the_lock_follows_from_scale_and_gpu(monkeypatch, scale, gpu, lock):
    monkeypatch.setattr(sys, "version_info", (3, 13, 1))
    path = choose_lock(scale, gpu)
    assert path is None if lock is None else path.name == lock and path.is_file()


@pytest.mark.parametrize(
    "scale, gpu, python, message",
    [
        ("t4", None, (3, 12, 0), "needs a GPU"),
        ("a100", L4, (3, 12, 0), "choose t4"),
        ("t4", Gpu("Tesla P100", 6.0, 16.0), (3, 12, 0), "too old"),
        ("cluster", A100, (3, 12, 0), "choose tiny, t4 or a100"),
        ("t4", T4, (3, 11, 4), r"this is 3\.11.*runtime version"),
    ],
)
def test_a_scale_that_does_not_fit_is_one_sentence(monkeypatch, scale, gpu, python, message):
    monkeypatch.setattr(sys, "version_info", python)
    with pytest.raises(ValueError, match=message):
        choose_lock(scale, gpu)


def test_the_gpu_is_read_from_nvidia_smi(monkeypatch):
    answers = iter(["Tesla T4, 7.5, 15360\nTesla T4, 7.5, 15360\n", "", "no devices were found"])
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=next(answers)))
    assert [unsloth_first.find_gpu() for _ in range(3)] == [T4, None, None]


# --------------------------------------------------------------------------------------------------- the installation
@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A rented machine with a T4: what is installed on it, the commands its installer gets, what it writes and returns."""
    state = SimpleNamespace(
        installed={"numpy": "2.1.3", "pyarrow": "18.1.0", "tornado": "6.4", "traitlets": "5.7.1"},
        commands=[],
        code=lambda command: 0,
        output="a\nno route to host\n",
        new={},  # what an installation replaces
    )

    def run(command, stdout, **_):
        state.commands.append(command)
        if "--dry-run" in command:
            for name, number in state.new.items():
                if number != (old := state.installed.get(name)):
                    stdout.write(f" - {name}=={old}\n + {name}=={number}\n")
        elif "--editable" in command:
            state.installed |= state.new
        stdout.write(state.output)
        return SimpleNamespace(returncode=state.code(command))

    monkeypatch.setattr(notebook_setup, "_version", state.installed.get)
    monkeypatch.setattr(notebook_setup, "find_gpu", lambda: T4)
    monkeypatch.setattr(notebook_setup, "SET_BEFORE", {})
    monkeypatch.setattr(notebook_setup, "STALE", set())
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "version_info", (3, 13, 1))
    monkeypatch.chdir(tmp_path)
    for name in (*notebook_setup.FORM, "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "before")
        monkeypatch.delenv(name)
    return state


def test_the_lock_is_installed_and_what_the_kernel_has_loaded_stays(machine, monkeypatch, capsys):
    set_up("tiny")
    assert not [word for word in machine.commands[-1] if word.startswith(("torch==", "trl=="))]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ and "choose t4 or a100" in capsys.readouterr().out
    machine.commands.clear()
    set_up("t4", steps=7, resume=True)
    uv, plan, install = machine.commands
    assert uv[-1] == "uv" and install[-2:] == ["--editable", str(course.ROOT)]
    assert [word for word in plan if word != "--dry-run"] == install and "--no-config" in install
    assert {"trl==1.14.2", "vllm==0.11.2", "numpy==2.1.3", "tornado==6.4"} <= set(install)
    assert sum(word.startswith(("numpy==", "tornado==")) for word in install) == 2
    assert [os.environ.get(name) for name in notebook_setup.FORM] == ["t4", "7", "1", None]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0" and "numpy 2.1.3" in capsys.readouterr().out
    # What was set before the cell ran wins over the form.
    monkeypatch.setenv("R1LAB_STEPS", "3")
    monkeypatch.setattr(notebook_setup, "SET_BEFORE", {"R1LAB_STEPS": "3", "R1LAB_SCALE": "tiny"})
    set_up("t4", steps=7)
    assert os.environ["R1LAB_STEPS"] == "3" and "vllm==0.11.2" not in machine.commands[-1]


def test_a_restart_is_announced_before_it_is_needed_and_the_second_run_passes(machine, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", SimpleNamespace())
    machine.new = {"pyarrow": "26.0.1"}
    for announced in (True, False):  # running the cell again does not unload anything
        with pytest.raises(RuntimeError, match=r"pyarrow had been loaded .* Restart session"):
            set_up("tiny")
        assert ("pyarrow will get a new version" in capsys.readouterr().out) == announced
    notebook_setup.STALE.clear()  # as a restarted session
    set_up("tiny")
    monkeypatch.delitem(sys.modules, "pyarrow")  # not loaded: it changes without a word
    machine.new = {"pyarrow": "27.0.0"}
    set_up("tiny")
    assert "new version" not in capsys.readouterr().out


def test_a_failed_installation_shows_the_end_of_its_log(machine):
    machine.code = lambda command: 1
    with pytest.raises(RuntimeError, match=r"package index did not answer[\s\S]*no route to host"):
        set_up("tiny")
    machine.output = "No space left on device\n"
    with pytest.raises(RuntimeError, match=r"installation failed;[\s\S]*No space left") as caught:
        set_up("tiny")
    assert "index" not in str(caught.value), "an earlier failure is not told again"


def test_a_conflict_is_found_before_anything_is_changed_and_named_without_the_network(machine):
    output = "Because nbclient>=0.11.0 depends on traitlets>=5.13 and you require{}nbclient==0.11.0, all is lost.\n"
    for wrapped in (" ", "\n      "):  # uv 0.13 and uv 0.9
        message = notebook_setup.explain_failure(
            "  × No solution found when resolving\n" + output.format(wrapped)
        )
        assert "nbclient>=0.11.0 needs traitlets>=5.13, and this runtime keeps traitlets 5.7.1." in message
        assert "Runtime version 2026.07" in message and "network" not in message and "index" not in message
    machine.code = lambda command: int("--dry-run" in command)
    machine.output = "No solution found when resolving: Because a==1 depends on b>=2, all is lost.\n"
    with pytest.raises(RuntimeError, match=r"do not fit this runtime.*: a==1 depends on b>=2, all is lost\."):
        set_up("t4")
    assert "--dry-run" in machine.commands[-1]


def test_drive_is_used_only_when_asked_for(machine, monkeypatch, capsys):
    mounted = []
    drive = SimpleNamespace(drive=SimpleNamespace(mount=mounted.append))
    monkeypatch.setitem(sys.modules, "google", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "google.colab", drive)
    set_up("tiny")
    assert not mounted and "R1LAB_OUTPUT" not in os.environ
    set_up("tiny", use_drive=True)
    assert mounted == [notebook_setup.DRIVE] and os.environ["R1LAB_OUTPUT"].startswith(notebook_setup.DRIVE)
    monkeypatch.setitem(sys.modules, "google.colab", None)
    set_up("tiny", use_drive=True)
    assert "R1LAB_OUTPUT" not in os.environ and "on Kaggle" in capsys.readouterr().out


def test_no_secret_is_read():
    """Neither by name, nor by Colab's and Kaggle's ways to one."""
    text = SOURCE + (course.ROOT / "tools" / "notebook_setup.py").read_text(encoding="utf-8")
    for word in ("userdata", "kaggle_secrets", "HF_TOKEN", "getpass", "input("):
        assert word not in text
