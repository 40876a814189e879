"""A run's folder: whose it is, who may write, when an artifact is whole."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from winnow.core import run_folder
from winnow.core.errors import ConfigError, RunError
from winnow.core.integrity import seals
from winnow.core.marker import Marker
from winnow.core.run_folder import RunFolder, replace, write_text


def marker(step: str, **values: object) -> Marker:
    given = {"kind": step, "fingerprint": "f", "reuse_key": "", "decides": True}
    return Marker(step, **given | {"rows_in": 9, "kept": 5, "quarantined": 1} | values)


def commit(run: RunFolder, step: str, **values: object) -> None:
    work = run.scratch(step) / "out"
    work.mkdir(parents=True)
    (work / "data").write_text(step)
    run.commit(work, marker(step, **values))


def test_a_marker_reads_back_as_it_was_written(tmp_path: Path):
    run = RunFolder(tmp_path)
    commit(run, "rules", facts={"a": [1, 2]}, artifacts={"x": "y"}, seconds=1.25)
    assert run.marker("rules") == marker(
        "rules", facts={"a": [1, 2]}, artifacts={"x": "y"}, seconds=1.25
    )
    assert run.marker("rules").dropped == 3
    assert run.marker("other") is None


def test_markers_come_in_the_order_of_the_run_and_others_are_forgotten(tmp_path: Path):
    run = RunFolder(tmp_path)
    prints = dict.fromkeys(("a", "b", "c"), "f")
    run.begin(["b", "a", "c"], prints)
    for step in ("a", "b", "c"):
        commit(run, step)
        run.ledger(step).mkdir(parents=True)
    assert [m.step for m in run.markers()] == ["b", "a", "c"]
    run.begin(["c", "a"], {"c": "f", "a": "f"})
    assert [m.step for m in run.markers()] == ["c", "a"]
    assert not run.artifacts("b").exists()
    assert not run.ledger("b").exists()
    assert (run.artifacts("a") / "data").read_text() == "a"
    run.begin(["c", "a"], {"c": "f", "a": "other"})
    assert [m.step for m in run.markers()] == ["c"]
    # What is no longer of the run may still be taken over in part.
    assert {m.step for m in run.stale.standing()} == {"a", "b"}


def finished(path: Path, text: str) -> RunFolder:
    run = RunFolder(path)
    run.begin(["a"], {})
    commit(run, "a")
    (run.artifacts("a") / "data").write_text(text)
    write_text(run.file("kept"), text)
    write_text(run.file("manifest.json"), text)
    return run


class Killed(BaseException):
    pass


def test_an_update_takes_the_place_of_a_run_whole_wherever_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Whoever opens the run sees one of the two, and never a part of each."""
    renames: list[int] = []
    whole = os.replace

    def stopped(source: object, target: object) -> None:
        renames.append(1)
        if len(renames) == moment:
            raise Killed
        whole(source, target)

    for moment in range(1, 30):
        run = finished(tmp_path / f"run-{moment}", "old")
        write_text(run.file("subset.npy"), "of the old run alone")
        (run.path / "ui").mkdir()
        finished(run.next.path, "new")
        renames.clear()
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            patch.setattr(run_folder.os, "replace", stopped)
            run.publish()
        assert [m.step for m in run.markers()] == ["a"]
        seen = {
            run.file("kept").read_text(),
            run.file("manifest.json").read_text(),
            (run.artifacts("a") / "data").read_text(),
        }
        assert seen == ({"new"} if moment > 1 else {"old"})
        assert run.file("subset.npy").exists() == (moment == 1)
        assert (run.path / "ui").is_dir()
    assert len(renames) < moment, "not every rename was stopped at"
    assert not run.next.path.exists()


def test_files_that_are_not_as_they_were_written_are_named(tmp_path: Path):
    run = RunFolder(tmp_path)
    run.begin(["a"], {})
    run.artifacts("a").mkdir()
    for name in ("one", "two"):
        (run.artifacts("a") / name).write_bytes(bytes(100))
    sealed = marker("a", files=seals(run.path, [run.artifacts("a")]))
    run.require_whole(sealed)
    with open(run.artifacts("a") / "two", "r+b") as file:
        file.seek(50)
        file.write(b"x")
    run.require_whole(sealed, "artifacts/a/one")
    with pytest.raises(RunError, match=r"contents of .*two are not"):
        run.require_whole(sealed)
    assert not run.damage(sealed, contents=False)
    (run.artifacts("a") / "two").write_bytes(bytes(99))
    with pytest.raises(RunError, match="two has 99 bytes instead of 100"):
        run.require_whole(sealed)
    (run.artifacts("a") / "two").unlink()
    with pytest.raises(RunError, match=r"two is gone.*makes a again"):
        run.require_whole(sealed)


def test_a_damaged_list_of_steps_says_so(tmp_path: Path):
    run = finished(tmp_path, "x")
    (tmp_path / "artifacts" / "order.json").write_bytes(b"\xff[")
    with pytest.raises(RunError, match=r"order\.json is damaged"):
        run.markers()


def test_a_folder_that_holds_no_run_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(RunError, match=r"holds no run; `winnow run RECIPE --out"):
        RunFolder(tmp_path / "none").markers()


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="not empty"), RunFolder(tmp_path).locked():
        pass
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder_for_a_run(tmp_path: Path):
    (tmp_path / "run").write_text("")
    with (
        pytest.raises(ConfigError, match="is a file"),
        RunFolder(tmp_path / "run").locked(),
    ):
        pass


def test_an_empty_folder_and_a_run_are_welcome(tmp_path: Path):
    for _ in range(2):
        with RunFolder(tmp_path).locked():
            pass


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path):
    code = (
        "import sys; from winnow.core.run_folder import RunFolder\n"
        "with RunFolder(sys.argv[1]).locked(): print('in', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "in\n"
    with (
        pytest.raises(RunError, match="another process is writing"),
        RunFolder(tmp_path).locked(),
    ):
        pass
    other.kill()
    other.communicate()
    with RunFolder(tmp_path).locked():
        pass


def test_replacing_a_folder_leaves_nothing_of_the_old_one(tmp_path: Path):
    for name, inside in (("new", "b"), ("final", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / inside).write_text(name)
    replace(tmp_path / "new", tmp_path / "final")
    assert [f.name for f in (tmp_path / "final").iterdir()] == ["b"]
    assert not (tmp_path / "new").exists()


def test_a_file_with_the_same_text_is_not_written_again(tmp_path: Path):
    file = tmp_path / "a.json"
    write_text(file, "one")
    before = file.stat().st_mtime_ns
    write_text(file, "one")
    assert file.stat().st_mtime_ns == before
    write_text(file, "two")
    assert file.read_text() == "two"


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"step": "a"}', '{"new": 1}'])
def test_a_marker_of_another_version_or_damaged_is_none(tmp_path: Path, text: str):
    run = RunFolder(tmp_path)
    commit(run, "rules")
    (run.artifacts("rules") / "done.json").write_text(text)
    assert run.marker("rules") is None


def test_a_run_may_lie_below_the_home_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert RunFolder("~/runs/a").path == tmp_path / "runs" / "a"
