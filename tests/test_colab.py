"""The set-up cell: nothing at home, the right lock on a rented GPU, and plain words when it cannot work."""

import os
import subprocess
import sys
from types import SimpleNamespace

import course
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from r1lab import colab
from r1lab.colab import Gpu

SOURCE = course.SETUP.read_text(encoding="utf-8").rstrip("\n")
NOTEBOOKS = sorted((course.ROOT / "notebooks").glob("*.ipynb"))
T4 = Gpu("Tesla T4", 7.5, 15.0)
L4 = Gpu("NVIDIA L4", 8.9, 22.5)
A100 = Gpu("NVIDIA A100-SXM4-40GB", 8.0, 40.0)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_the_one_set_up_cell_before_any_other_code(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells[0].source == course.setup_source(path.name) and course.SKIP_TAG in course.tags(cells[0]), (
        "run `python tools/maintain.py clean`"
    )
    assert sum(course.CLONE in cell.source for cell in cells) == 1


def test_an_old_set_up_cell_is_replaced_and_nothing_else_changes():
    skipped = {"tags": [course.SKIP_TAG]}
    old = new_code_cell(f"!git clone {course.CLONE}", metadata=skipped)
    other = [
        new_markdown_cell(course.CLONE),
        new_code_cell(course.CLONE),
        new_code_cell("1", metadata=skipped),
    ]
    before = [cell.source for cell in other]
    notebook = course.put_setup(new_notebook(cells=[*other, old]), "04.ipynb")
    assert [cell.source for cell in notebook.cells] == [*before, SOURCE]


def test_a_notebook_for_tiny_only_sets_the_scale_and_leaves_no_choice(monkeypatch, tmp_path):
    monkeypatch.setenv("R1LAB_SCALE", "t4")
    source = course.setup_source("08_alignment.ipynb")
    assert "t4" not in source.partition("STEPS")[0] and source != SOURCE
    asked = run_cell(monkeypatch, tmp_path, source, COLAB_RELEASE_TAG="1")[1]
    assert asked[0][0] == ("tiny",) and os.environ["R1LAB_SCALE"] == "tiny"
    told = [path.stem for path in NOTEBOOKS if "runs at `tiny` only" in path.read_text(encoding="utf-8")]
    assert told == [path.stem for path in NOTEBOOKS if path.stem.startswith(course.TINY_ONLY)]


def run_cell(monkeypatch, tmp_path, source=SOURCE, **environment):
    """Run the cell as a notebook would: what it started, and what it asked of `set_up`."""
    started, asked = [], []
    for name in [n for n in os.environ if n.startswith(("COLAB_", "KAGGLE_"))]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(command, **_):
        started.append(command[:2])
        return SimpleNamespace(stdout="")  # nvidia-smi finds no GPU

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(colab, "set_up", lambda *given, **options: asked.append((given, options)))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    exec(compile(source, "setup_cell.py", "exec"), {})
    return started, asked


def test_at_home_the_cell_does_nothing(monkeypatch, tmp_path):
    assert run_cell(monkeypatch, tmp_path) == ([], [])


def test_at_a_gpu_scale_the_cell_imports_unsloth_before_the_notebook_imports_anything(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "unsloth", None)  # importing it now fails
    monkeypatch.setenv("R1LAB_SCALE", "t4")
    with pytest.raises(ImportError, match="unsloth"):
        run_cell(monkeypatch, tmp_path)


@pytest.mark.parametrize("place", ["COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"])
def test_on_a_rented_machine_it_clones_once_and_hands_the_form_over(monkeypatch, tmp_path, place):
    form = [(("tiny",), {"steps": 0, "resume": False, "use_drive": False})]
    assert run_cell(monkeypatch, tmp_path, **{place: "1"}) == ([["git", "clone"]], form)
    (tmp_path / "r1lab" / "src").mkdir(parents=True)
    assert run_cell(monkeypatch, tmp_path, **{place: "1"}) == ([], form)


@pytest.mark.parametrize(
    ("scale", "gpu", "lock"),
    [
        ("tiny", None, None),
        ("tiny", T4, None),
        ("t4", T4, "colab-t4.txt"),
        ("t4", L4, "colab-a100.txt"),
        ("t4", A100, "colab-a100.txt"),
        ("a100", A100, "colab-a100.txt"),
    ],
)
def test_the_lock_follows_from_scale_and_gpu(monkeypatch, scale, gpu, lock):
    monkeypatch.setattr(colab.sys, "version_info", (3, 13, 1))
    path = colab.choose_lock(scale, gpu)
    assert path is None if lock is None else path.name == lock and path.is_file()


@pytest.mark.parametrize(
    ("scale", "gpu", "said"),
    [
        ("t4", None, "needs a GPU"),
        ("a100", T4, "choose t4"),
        ("a100", L4, "choose t4"),
        ("t4", Gpu("Tesla P100", 6.0, 16.0), "too old"),
        ("cluster", A100, "choose tiny, t4 or a100"),
    ],
)
def test_a_scale_that_does_not_fit_is_one_sentence(monkeypatch, scale, gpu, said):
    monkeypatch.setattr(colab.sys, "version_info", (3, 12, 0))
    with pytest.raises(ValueError, match=said):
        colab.choose_lock(scale, gpu)


def test_a_python_without_a_lock_is_said(monkeypatch):
    monkeypatch.setattr(colab.sys, "version_info", (3, 11, 4))
    with pytest.raises(ValueError, match=r"this is 3\.11.*runtime version"):
        colab.choose_lock("t4", T4)


def test_the_gpu_is_read_from_nvidia_smi(monkeypatch):
    answers = iter(["Tesla T4, 7.5, 15360\nTesla T4, 7.5, 15360\n", "", "no devices were found"])
    monkeypatch.setattr(colab.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=next(answers)))
    assert colab.find_gpu() == T4
    assert colab.find_gpu() is None and colab.find_gpu() is None


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A rented machine with a T4: what is installed on it, what its installer was asked for, and whether that works."""
    state = SimpleNamespace(
        installed={"numpy": "2.1.3", "pyarrow": "18.1.0", "tornado": "6.4", "traitlets": "5.7.1"},
        asked=[],
        code=0,
        says="a\nno route to host\n",
        brings={},
    )

    def run(command, stdout, **_):
        state.asked.append(command)
        changed = {name: found for name, found in state.brings.items() if state.installed.get(name) != found}
        if "--dry-run" in command:
            lines = [f" - {name}=={state.installed[name]}\n + {name}=={changed[name]}\n" for name in changed]
            stdout.write("".join(lines))
        elif "--editable" in command:
            state.installed |= state.brings
        stdout.write(state.says)
        return SimpleNamespace(returncode=state.code)

    monkeypatch.setattr(colab, "_version", lambda name: state.installed.get(name))
    monkeypatch.setattr(colab, "find_gpu", lambda: T4)
    monkeypatch.setattr(colab, "OUTSIDE", {})
    monkeypatch.setattr(colab, "STALE", set())
    monkeypatch.setattr(colab.subprocess, "run", run)
    monkeypatch.setattr(colab.sys, "version_info", (3, 13, 1))
    monkeypatch.chdir(tmp_path)
    for name in (*colab.FORM, "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "before")
        monkeypatch.delenv(name)
    return state


def test_the_lock_is_installed_and_what_the_kernel_has_loaded_stays(machine, capsys):
    colab.set_up("t4", steps=7, resume=True)
    uv, plan, install = machine.asked
    assert uv[-1] == "uv" and install[-2:] == ["--editable", str(course.ROOT)]
    assert [word for word in plan if word != "--dry-run"] == install and "--no-config" in install
    assert {"trl==1.14.2", "vllm==0.11.2", "numpy==2.1.3", "tornado==6.4"} <= set(install)
    assert sum(word.startswith(("numpy==", "tornado==")) for word in install) == 2
    told = {name: os.environ.get(name) for name in colab.FORM}
    assert told == dict(zip(colab.FORM, ("t4", "7", "1", None), strict=True))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    said = capsys.readouterr().out
    assert "requirements/colab-t4.txt" in said and "scale t4 on Tesla T4" in said and "numpy 2.1.3" in said


def test_at_tiny_no_lock_is_installed_and_a_gpu_is_mentioned(machine, capsys):
    colab.set_up("tiny")
    assert not [word for word in machine.asked[-1] if word.startswith(("torch==", "trl=="))]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ and "choose t4 or a100" in capsys.readouterr().out


def test_what_was_set_before_wins_over_the_form(machine, monkeypatch):
    monkeypatch.setenv("R1LAB_STEPS", "3")
    monkeypatch.setattr(colab, "OUTSIDE", {"R1LAB_STEPS": "3", "R1LAB_SCALE": "tiny"})
    colab.set_up("t4", steps=7)
    assert os.environ["R1LAB_STEPS"] == "3" and "vllm==0.11.2" not in machine.asked[-1]


def test_a_restart_is_announced_before_it_is_asked_for_and_the_second_run_passes(
    machine, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "pyarrow", SimpleNamespace())
    machine.brings = {"pyarrow": "26.0.1"}
    for announced in (True, False):  # running the cell again does not unload anything
        with pytest.raises(RuntimeError, match=r"pyarrow had been loaded .* Restart session"):
            colab.set_up("tiny")
        assert ("pyarrow will get a new version" in capsys.readouterr().out) == announced
    colab.STALE.clear()  # as a restarted session
    colab.set_up("tiny")
    assert "will get a new version" not in capsys.readouterr().out


def test_a_package_that_is_not_loaded_changes_without_a_word(machine, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "pyarrow", raising=False)
    machine.brings = {"pyarrow": "26.0.1"}
    colab.set_up("tiny")
    assert "new version" not in capsys.readouterr().out


def test_a_failed_installation_shows_the_end_of_its_log(machine):
    machine.code = 1
    with pytest.raises(RuntimeError, match=r"package index did not answer[\s\S]*no route to host"):
        colab.set_up("tiny")
    machine.says = "No space left on device\n"
    with pytest.raises(RuntimeError, match=r"installation failed;[\s\S]*No space left") as caught:
        colab.set_up("tiny")
    assert "index" not in str(caught.value), "an earlier failure is not told again"


# uv 0.13 and, second, uv 0.9, which wraps its lines in a tree.
CONFLICTS = [
    """error: No solution found when resolving dependencies
  cause: Because nbclient>=0.11.0 depends on traitlets>=5.13 and you require nbclient==0.11.0, we can conclude that you require traitlets>=5.13.
         And because you require traitlets==5.7.1, we can conclude that your requirements are unsatisfiable.
""",
    """  × No solution found when resolving dependencies:
  ╰─▶ Because nbclient>=0.11.0 depends on traitlets>=5.13 and you require
      nbclient==0.11.0, we can conclude that you require traitlets>=5.13.
""",
]


@pytest.mark.parametrize("said", CONFLICTS, ids=["uv 0.13", "uv 0.9"])
def test_a_conflict_names_the_package_and_the_way_out_and_not_the_network(machine, said):
    told = colab.explain_failure(said)
    assert "nbclient>=0.11.0 needs traitlets>=5.13, and this runtime keeps traitlets 5.7.1." in told
    assert "Runtime version 2026.07" in told and "network" not in told and "index" not in told


def test_a_conflict_is_found_before_anything_is_changed(machine, monkeypatch):
    started = colab.subprocess.run

    def run(command, **options):
        machine.code = int("--dry-run" in command)
        return started(command, **options)

    monkeypatch.setattr(colab.subprocess, "run", run)
    machine.says = "No solution found when resolving: Because a==1 depends on b>=2, all is lost.\n"
    with pytest.raises(RuntimeError, match=r"do not fit this runtime.*: a==1 depends on b>=2, all is lost\."):
        colab.set_up("t4")
    assert "--dry-run" in machine.asked[-1]


def test_drive_is_used_only_when_asked_for(machine, monkeypatch, capsys):
    mounted = []
    monkeypatch.setitem(sys.modules, "google", SimpleNamespace())
    monkeypatch.setitem(
        sys.modules, "google.colab", SimpleNamespace(drive=SimpleNamespace(mount=mounted.append))
    )
    colab.set_up("tiny")
    assert not mounted and "R1LAB_OUTPUT" not in os.environ
    colab.set_up("tiny", use_drive=True)
    assert mounted == [colab.DRIVE] and os.environ["R1LAB_OUTPUT"].startswith(colab.DRIVE)
    monkeypatch.setitem(sys.modules, "google.colab", None)
    colab.set_up("tiny", use_drive=True)
    assert "R1LAB_OUTPUT" not in os.environ and "on Kaggle" in capsys.readouterr().out


def test_no_secret_is_read():
    """Neither by name, nor by Colab's and Kaggle's ways to one."""
    text = SOURCE + (course.ROOT / "src" / "r1lab" / "colab.py").read_text(encoding="utf-8")
    for word in ("userdata", "kaggle_secrets", "HF_TOKEN", "getpass", "input("):
        assert word not in text
