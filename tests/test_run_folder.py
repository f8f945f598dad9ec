"""What a run keeps in its folder: the data that an interrupted run need not make again."""

import json

import pytest

from r1lab.stages.run_folder import load_or_make


@pytest.mark.parametrize(
    ("resume", "seed", "expected"), [(True, 0, "first"), (True, 1, "second"), (False, 0, "second")]
)
def test_only_a_resumed_run_with_the_same_settings_reads_what_was_kept(tmp_path, resume, seed, expected):
    path = tmp_path / "new" / "data.json"
    assert load_or_make(path, {"seed": 0, "sizes": (1, 2)}, lambda: "first", resume=True) == "first"
    assert load_or_make(path, {"seed": seed, "sizes": (1, 2)}, lambda: "second", resume=resume) == expected


def test_data_are_the_same_whether_they_were_made_or_read(tmp_path):
    data = {"rows": [("a\ud800", 1)], "counts": {2: 0.5}}
    made = load_or_make(tmp_path / "data.json", {}, lambda: data, resume=False)
    assert made == load_or_make(tmp_path / "data.json", {}, lambda: 1 / 0, resume=True)
    assert made == json.loads(json.dumps(data))


def test_a_run_killed_while_it_makes_data_leaves_none(tmp_path):
    path = tmp_path / "data.json"
    load_or_make(path, {}, lambda: "of another run", resume=False)
    with pytest.raises(KeyboardInterrupt):
        load_or_make(path, {}, lambda: (_ for _ in ()).throw(KeyboardInterrupt), resume=False)
    assert list(tmp_path.iterdir()) == []
