"""The index on disk: merges, removals, readers and crashes between them, damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from winnow.core.errors import ConfigError
from winnow.flows.near_index import ask, check_index, compact, discard, repair_index
from winnow.indexes import near_index, segmented_index
from winnow.indexes.near_index import NearIndex
from winnow.indexes.segment import DamagedIndex
from winnow.indexes.state import sealed
from winnow.steps.near_index import Addition, add_rows

SETTINGS: dict[str, Any] = {
    "unit": "word",
    "ngram": 3,
    "normalise": ["nfc"],
    "scheme": "affine32",
    "token_hash": "xxh32",
    "num_perm": 16,
    "seed": 1,
    "bands": 16,
    "rows": 1,
}
COLUMNS = {"uid": "uid", "text": "text"}


def document(number: int) -> str:
    """Documents of ten: alike but for one word."""
    words = [f"w{number // 10}-{i}" for i in range(20)]
    words[number % 10] = f"x{number}"
    return " ".join(words)


def grow(index: NearIndex, first: int, count: int) -> dict[str, int]:
    numbers = range(first, first + count)
    uids = pa.array([f"u{n:05d}" for n in numbers], pa.string())
    texts = pa.array([document(n) for n in numbers], pa.large_string())
    with index.locked():
        return add_rows(
            index, Addition((f"month-{first}",), (), True), iter([(uids, texts)])
        )


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """An index of 100 rows in one segment, and 30 in another."""
    index = NearIndex.create(tmp_path / "i", SETTINGS, COLUMNS)
    grow(index, 0, 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_index, "SEGMENT_ROWS", 100)
        grow(index, 100, 30)
    return tmp_path / "i"


def answers(path: Path) -> list[tuple[str, float]]:
    asked = [ask(path, text=document(n), k=20, min_jaccard=0.1) for n in (3, 47, 125)]
    return [(row["uid"], row["jaccard"]) for rows in asked for row in rows]


def test_two_hundred_additions_answer_as_one(tmp_path: Path):
    grown = NearIndex.create(tmp_path / "grown", SETTINGS, COLUMNS)
    for first in range(0, 400, 2):
        grow(grown, first, 2)
        assert len(grown.listed()) == 1
    whole = NearIndex.create(tmp_path / "whole", SETTINGS, COLUMNS)
    grow(whole, 0, 400)
    assert answers(tmp_path / "grown") == answers(tmp_path / "whole") != []
    assert len(list((tmp_path / "grown").glob("segment-*"))) == 1
    assert len(grown.additions) == 200
    assert check_index(tmp_path / "grown") == []


def test_compaction_changes_no_answer_and_no_version(made: Path):
    before, version = answers(made), NearIndex(made).version
    assert len(NearIndex(made).listed()) == 2
    told = compact(made)
    assert (told["segments_before"], told["segments"]) == (2, 1)
    assert answers(made) == before
    assert NearIndex(made).version == version
    assert check_index(made) == []


def test_removed_rows_are_gone_and_may_come_again(made: Path):
    before, version = answers(made), NearIndex(made).version
    gone = [f"u{n:05d}" for n in (3, 45, 47, 121)]
    told = discard(made, [*gone, "nobody"])
    assert (told["removed"], told["unknown"], told["rows"]) == (4, ["nobody"], 126)
    after = [answer for answer in before if answer[0] not in gone]
    assert answers(made) == after
    assert NearIndex(made).version != version
    compact(made)
    assert answers(made) == after
    index = NearIndex(made)
    counts = grow(index, 0, 130)
    assert (counts["added"], counts["already_there"]) == (4, 126)
    assert answers(made) == before
    assert discard(made, [f"u{n:05d}" for n in range(130)])["rows"] == 0
    assert answers(made) == []
    assert grow(NearIndex(made), 0, 5)["added"] == 5


def test_readers_go_on_while_segments_are_merged(made: Path):
    opened, late = NearIndex(made), NearIndex(made)
    expected = [segment.table.column("text").to_pylist() for segment in opened.segments]
    compact(made)
    # Opened before: the old segments. Opened after: the new one, of itself.
    again = [segment.table.column("text").to_pylist() for segment in opened.segments]
    assert again == expected
    assert [segment.size for segment in late.segments] == [130]
    assert len(list(made.glob("segment-*"))) == 1


@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("work", [compact, lambda path: grow(NearIndex(path), 130, 9)])
def test_a_writer_that_is_killed_leaves_a_whole_index(
    made: Path, step: int, work: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
):
    """Killed at its n-th step that changes the disk; the same command goes on."""
    before = answers(made)

    class Killed(BaseException):
        pass

    steps: Iterator[int] = iter(range(99))

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if next(steps) == step:
                raise Killed
            return function(*arguments, **named)

        return call

    with monkeypatch.context() as patch:
        for name in ("write_segment", "write_state", "remove", "merged"):
            function = getattr(segmented_index, name)
            patch.setattr(segmented_index, name, dying(function))
        with suppress(Killed):
            work(made)
    new = [(uid, j) for uid, j in answers(made) if uid >= "u00130"]
    assert [a for a in answers(made) if a not in new] == before
    assert check_index(made) == []
    work(made)
    compact(made)
    assert check_index(made) == []
    assert [a for a in answers(made) if a[0] < "u00130"] == before
    assert len(list(made.glob("segment-*"))) == 1


DAMAGE: dict[str, Callable[[Path], None]] = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-7]),
    "emptied": lambda file: file.write_bytes(b""),
    "flipped": lambda file: file.write_bytes(
        bytes(b ^ 1 if i == 200 else b for i, b in enumerate(file.read_bytes()))
    ),
    "missing": lambda file: file.unlink(),
}


def test_a_source_that_was_added_twice_is_named_once(made: Path):
    grow(NearIndex(made), 0, 100)
    sorted(made.glob("segment-*"))[0].joinpath("texts.arrow").unlink()
    assert repair_index(made)["add_again"] == ["month-0", "month-100"]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    "name", ["index.json", "digests.npy", "rows.npy", "texts.arrow"]
)
def test_damage_is_one_clear_error_and_is_repaired(made: Path, name: str, damage: str):
    before, version = answers(made), NearIndex(made).version
    folder = made if name == "index.json" else sorted(made.glob("segment-*"))[0]
    DAMAGE[damage](folder / name)
    with pytest.raises(DamagedIndex, match="index repair") as error:
        ask(made, text="x y z")
    assert str(folder / name) in str(error.value)
    (told,) = check_index(made)
    assert str(folder / name) in told
    repaired = repair_index(made)
    assert check_index(made) == []
    if name == "texts.arrow":
        assert repaired["lost_rows"] == 100
        assert repaired["set_aside"] == [folder.name]
        assert repaired["add_again"] == ["month-0", "month-100"]
        assert NearIndex(made).rows == 30
        grow(NearIndex(made), 0, 100)
    else:
        assert repaired["lost_rows"] == 0
        assert NearIndex(made).version == version
    assert answers(made) == before


def test_an_index_without_any_state_is_put_together_from_its_segments(made: Path):
    before = answers(made)
    for name in ("index.json", "index.copy.json"):
        (made / name).write_text("{")
    assert repair_index(made)["state"] == "put together from the segments"
    assert answers(made) == before
    for folder in made.glob("segment-*"):
        shutil.rmtree(folder)
    for name in ("index.json", "index.copy.json"):
        (made / name).write_text("[]")
    with pytest.raises(ConfigError, match="build it again"):
        repair_index(made)


def test_lost_removals_are_back_and_said(made: Path):
    compact(made)
    discard(made, ["u00003"])
    (gone,) = made.glob("segment-*/gone-*.npy")
    gone.write_bytes(b"no")
    with pytest.raises(DamagedIndex, match="gone-"):
        answers(made)
    repaired = repair_index(made)
    assert repaired["rebuilt"] == [gone.parent.name]
    assert repaired["removed_rows_back"] == 1
    assert NearIndex(made).rows == 130


def test_a_sound_file_is_read_for_its_checksum_once(
    made: Path, monkeypatch: pytest.MonkeyPatch
):
    from winnow.indexes import checked_files

    answers(made)
    monkeypatch.setattr(
        checked_files, "is_unchanged", lambda file, _: pytest.fail(str(file))
    )
    assert answers(made)
    (made / ".checked.json").write_text(json.dumps("nonsense"))
    with pytest.raises(pytest.fail.Exception):
        answers(made)


def test_additions_written_as_plain_json_are_read_as_before(made: Path):
    before, noted = answers(made), NearIndex(made).additions
    state = json.loads((made / "index.json").read_text())
    plain = {**state, "additions": json.dumps(noted)}
    plain["checksum"] = sealed(plain)
    (made / "index.json").write_text(json.dumps(plain))
    assert answers(made) == before
    assert NearIndex(made).additions == noted
    grow(NearIndex(made), 130, 5)
    assert [NearIndex(made).addition(n) for n in range(2)] == noted
    assert len(NearIndex(made).additions) == 3


def test_what_a_merge_writes_is_what_a_fresh_segment_holds(made: Path, tmp_path: Path):
    compact(made)
    fresh = NearIndex.create(tmp_path / "fresh", SETTINGS, COLUMNS)
    grow(fresh, 0, 130)
    (one,), (other,) = NearIndex(made).segments, fresh.segments
    np.testing.assert_array_equal(one.digests, other.digests)
    np.testing.assert_array_equal(one.rows, other.rows)
    for name in ("uid", "text", "content"):
        assert one.table.column(name).equals(other.table.column(name))
