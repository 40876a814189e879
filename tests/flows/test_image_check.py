"""Images named by path, known by what is in them where a recipe asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.core.errors import InputError
from winnow.flows import execution

Recipe = dict[str, Any]
NEVER_CHANGED = 1_700_000_000


@pytest.fixture
def pool(make_picture: Callable[..., bytes], tmp_path: Path) -> Path:
    """Four pictures named by a shard; of 0.jpg and 1.jpg the files are equally long."""
    folder = tmp_path / "pool"
    folder.mkdir()
    contents = [make_picture(number) for number in (0, 1, 2, 3)]
    longest = max(map(len, contents))
    for number, data in enumerate(contents):
        write(folder / f"{number}.jpg", data.ljust(longest, b"\0"))
    names = [f"{number}.jpg" for number in range(4)]
    rows = {"uid": list("abcd"), "image": names, "text": ["x y z"] * 4}
    pq.write_table(pa.table(rows), folder / "0.parquet")
    return folder


def write(file: Path, data: bytes) -> None:
    """Write a file with the time that it always has."""
    file.write_bytes(data)
    os.utime(file, (NEVER_CHANGED, NEVER_CHANGED))


def recipe(pool: Path, out: Path, check: str = "content", **engine: Any) -> Recipe:
    return {
        "input": {"path": str(pool), "image_check": check},
        "output": {"path": str(out), "report": False},
        "engine": engine or {"name": "local"},
        "steps": ["exact", "apply"],
        "exact": {"by": ["image_pixels"]},
    }


def require_contents_decide(given: Recipe, pool: Path, **how: Any) -> None:
    assert winnow.run(given, **how).kept == 4
    os.utime(pool / "3.jpg")
    assert winnow.run(given, **how).ran == [], "a time says nothing of what is in it"
    write(pool / "1.jpg", (pool / "0.jpg").read_bytes())
    again = winnow.run(given, **how)
    assert (again.ran, again.kept) == (["exact", "apply"], 3)


def test_contents_decide_and_times_do_not(pool: Path, tmp_path: Path):
    require_contents_decide(recipe(pool, tmp_path / "run"), pool)


@pytest.mark.slow
def test_contents_decide_on_spark(pool: Path, tmp_path: Path, spark: Any):
    given = recipe(pool, tmp_path / "run", name="spark", partitions=2)
    require_contents_decide(given, pool, spark=spark)


def test_by_size_and_time_alone_such_a_change_is_not_seen(pool: Path, tmp_path: Path):
    given = recipe(pool, tmp_path / "run", "size")
    winnow.run(given)
    write(pool / "1.jpg", (pool / "0.jpg").read_bytes())
    assert winnow.run(given).ran == []
    os.utime(pool / "3.jpg")
    assert winnow.run(given).ran == ["exact", "apply"]


def test_contents_replaced_on_the_way_stop_the_run(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    original = execution.Execution.run

    def disturbed(self: Any, planned: Any, prints: Any) -> Any:
        marker = original(self, planned, prints)
        if planned.name == "exact":
            write(pool / "1.jpg", (pool / "2.jpg").read_bytes())
        return marker

    monkeypatch.setattr(execution.Execution, "run", disturbed)
    with pytest.raises(InputError, match=r"1\.jpg \(an image of 0\.parquet\)"):
        winnow.run(recipe(pool, tmp_path / "run"))
    assert not (tmp_path / "run" / "kept").exists()


def test_a_pipe_among_the_images_is_not_waited_for(pool: Path, tmp_path: Path):
    (pool / "3.jpg").unlink()
    os.mkfifo(pool / "3.jpg")
    result = winnow.run(recipe(pool, tmp_path / "run"))
    assert (result.kept, result.quarantined) == (3, 1)
