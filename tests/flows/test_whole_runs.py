"""A run is one whole thing: nothing is lost, mixed, believed or redone in vain."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.cli.main import main
from winnow.config.recipes import load
from winnow.config.run import parse
from winnow.core.errors import ConfigError, InputError, RunError
from winnow.core.run_folder import RunFolder
from winnow.flows import execution, fingerprints
from winnow.flows.plan import plan, tell

Winnow = Callable[..., Any]
Write = Callable[..., Path]

STEPS = ["exact", "embed", "cluster", "semantic", "apply"]
#: Contents that hold times.
MEASURED = ("done.json", "steps.parquet", "winnow.log")


class Killed(BaseException):
    """Ends a run where it stands."""


def results(run: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(run)): file.read_bytes()
        for file in sorted(run.rglob("*"))
        if file.is_file() and file.name not in (*MEASURED, ".lock", "manifest.json")
    }


def shown(run: Path) -> dict[str, bytes]:
    """What a run shows: all of it but an update that is under way."""
    return {n: d for n, d in results(run).items() if not n.startswith(".next/")}


@contextmanager
def killed_at(step: str) -> Iterator[None]:
    """Kill a run as it begins a step."""
    original = execution.Execution.run

    def stopped(self: Any, planned: Any, prints: Any) -> Any:
        if planned.name == step:
            raise Killed
        return original(self, planned, prints)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution.Execution, "run", stopped)
        yield


@pytest.fixture
def pool(
    planted_table: Callable[..., pa.Table], write_shards: Write, tmp_path: Path
) -> Path:
    return write_shards(tmp_path / "pool", planted_table(80), 30)


@pytest.fixture
def first(winnow: Winnow, pool: Path, tmp_path: Path) -> Any:
    return winnow(pool, tmp_path / "run", STEPS)


def test_another_recipe_in_the_folder_of_a_run_is_refused_with_what_differs(
    winnow: Winnow, first: Any, pool: Path, vector_recipe: Callable[..., dict]
):
    import winnow as library

    before = first.files()
    with pytest.raises(
        RunError, match=r"another recipe: it has .*semantic.*, this one minhash inst"
    ):
        winnow(pool, first.path, ["exact", "minhash", "apply"])
    assert first.files() == before
    other = vector_recipe(pool, first.path, ["exact", "minhash", "apply"])
    other["minhash"] = {"ngram": 1, "allow_large_clusters": True}
    library.run(other, replace=True)
    assert {m.step for m in RunFolder(first.path).markers()} == {
        "index",
        "exact",
        "minhash",
        "apply",
    }


def test_another_input_in_the_folder_of_a_run_is_refused(
    winnow: Winnow,
    first: Any,
    planted_table: Callable[..., pa.Table],
    write_shards: Write,
    tmp_path: Path,
):
    before = first.files()
    other = write_shards(tmp_path / "other", planted_table(70, seed=3), 35)
    with pytest.raises(RunError, match=r"a run over another input.*--replace"):
        winnow(other, first.path, STEPS)
    assert first.files() == before


def test_a_folder_with_a_scan_of_a_lake_is_refused(
    winnow: Winnow, pool: Path, tmp_path: Path
):
    (tmp_path / "scan").mkdir()
    for name in ("edges.parquet", "config.lock.yaml"):
        (tmp_path / "scan" / name).write_text("")
    with pytest.raises(RunError, match="holds a scan of a lake"):
        winnow(pool, tmp_path / "scan", STEPS)


def test_a_scan_is_not_replaced_since_its_trash_may_hold_tables(
    vector_recipe: Any, pool: Path, tmp_path: Path
):
    from winnow import api

    (tmp_path / "scan").mkdir()
    for name in ("edges.parquet", "config.lock.yaml"):
        (tmp_path / "scan" / name).write_text("")
    recipe = vector_recipe(pool, tmp_path / "scan", STEPS)
    with pytest.raises(RunError, match="--replace does not remove"):
        api.run(recipe, replace=True)


def test_a_scan_of_a_lake_is_refused_where_a_run_is(first: Any, pool: Path):
    import winnow as library

    before = first.files()
    with pytest.raises(RunError, match="holds a run of samples"):
        library.scan(pool, first.path)
    assert first.files() == before


def test_an_update_that_is_stopped_leaves_the_old_run_whole_and_says_so(
    winnow: Winnow,
    first: Any,
    pool: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    before = results(first.path)
    changed = {"semantic": {"epsilon": 0.4}}
    with pytest.raises(Killed), killed_at("apply"):
        winnow(pool, first.path, STEPS, **changed)
    assert shown(first.path) == before
    run = str(first.path)
    assert main(["steps", run]) == 0
    told = capsys.readouterr()
    assert "an update" in told.err
    assert f"was stopped at step {len(STEPS) + 1} of {len(STEPS) + 1}" in told.err
    with RunFolder(run).locked():
        assert main(["steps", run]) == 0
    assert "is under way, at step" in capsys.readouterr().err
    assert "to come: apply" in told.err
    kept = next(m.kept for m in first.result.steps if m.step == "apply")
    assert f"{kept:,}" in told.out.splitlines()[-1]
    assert main(["export", run, "--to", "uids", "--out", str(tmp_path / "u.npy")]) == 0
    counted = "SELECT count(*) AS n FROM fates WHERE fate = 'kept'"
    assert main(["query", run, counted, "--json"]) == 0
    assert f'"n": {kept}' in capsys.readouterr().out
    again = winnow(pool, first.path, STEPS, **changed)
    assert again.result.ran == ["apply"], "semantic stood in the update already"
    fresh = winnow(pool, tmp_path / "fresh", STEPS, **changed)
    assert {n: d for n, d in results(first.path).items() if "lock" not in n} == {
        n: d for n, d in results(fresh.path).items() if "lock" not in n
    }
    assert not (first.path / ".next").exists()


def test_what_both_share_is_on_the_disk_once(winnow: Winnow, first: Any, pool: Path):
    with pytest.raises(Killed), killed_at("semantic"):
        winnow(pool, first.path, STEPS, semantic={"epsilon": 0.4})
    shared = 0
    for file in (first.path / ".next" / "artifacts" / "embed").rglob("*.parquet"):
        twin = first.path / file.relative_to(first.path / ".next")
        assert file.stat().st_ino == twin.stat().st_ino
        shared += 1
    assert shared


def test_an_unfinished_run_shows_no_steps_of_the_recipe_before(
    winnow: Winnow,
    pool: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    out = tmp_path / "run"
    with pytest.raises(Killed), killed_at("apply"):
        winnow(pool, out, STEPS)
    with pytest.raises(Killed), killed_at("semantic"):
        winnow(pool, out, STEPS, semantic={"epsilon": 0.4})
    assert [m.step for m in RunFolder(out).markers()] == [
        "index",
        "exact",
        "embed",
        "cluster",
    ]
    assert main(["steps", str(out)]) == 0
    assert "not finished" in (said := capsys.readouterr().err)
    assert "to come: semantic, apply" in said
    index = str(tmp_path / "index")
    assert main(["index", "build", str(out), "--out", index]) == 1
    assert "is not finished" in capsys.readouterr().err
    back = winnow(pool, out, STEPS, semantic={"epsilon": 0.02})
    fresh = winnow(pool, tmp_path / "fresh", STEPS, semantic={"epsilon": 0.02})
    assert back.ledger("semantic") == fresh.ledger("semantic")


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Uids in the order in which they are embedded."""
    import winnow.steps.embed as step

    uids: list[str] = []
    original = step.embed_batches

    def counted(batches: Iterator[pa.RecordBatch], **how: Any) -> Iterator[Any]:
        for batch in original(batches, **how):
            uids.extend(batch.column("uid").to_pylist())
            yield batch

    monkeypatch.setattr(step, "embed_batches", counted)
    return uids


PICTURES = ["exact", "embed", "score", "apply"]


def pictures(tiny_vit: str) -> dict[str, Any]:
    return {
        "embed": {"image_column": None, "text_column": None},
        "model": {"name": tiny_vit, "precision": "float32"},
    }


def test_a_copy_of_a_recipe_elsewhere_embeds_nothing_again(
    winnow: Winnow,
    picture_table: Callable[..., pa.Table],
    write_shards: Write,
    embedded: list[str],
    tiny_vit: str,
    vector_recipe: Callable[..., dict],
    tmp_path: Path,
):
    import winnow as library

    pool = write_shards(tmp_path / "p", picture_table(24), 12)
    one = winnow(pool, tmp_path / "one", PICTURES, **pictures(tiny_vit))
    assert embedded
    embedded.clear()
    lock = one.path / "config.lock.yaml"
    review = library.run(
        lock, {"output.path": str(tmp_path / "two"), "score.keep_fraction": 0.5}
    )
    assert review.ran == ["score", "apply"]
    recipe = vector_recipe(pool, tmp_path / "three", PICTURES, **pictures(tiny_vit))
    entries = plan(parse(recipe), [one.path])
    assert {e["step"]: e["taken_from"] for e in entries["steps"]}["embed"] == str(
        one.path
    )
    assert f"taken over from {one.path}" in tell(entries)
    assert library.run(recipe, from_runs=[tmp_path / "two", one.path]).ran == []
    assert not embedded
    assert results(one.path).keys() == results(tmp_path / "three").keys()


def test_a_pool_that_grew_or_moved_embeds_its_new_samples_alone(
    winnow: Winnow,
    picture_table: Callable[..., pa.Table],
    write_shards: Write,
    embedded: list[str],
    tiny_vit: str,
    tmp_path: Path,
):
    table = picture_table(36)
    pool = write_shards(tmp_path / "p", table.slice(0, 24), 12)
    given = pictures(tiny_vit)
    winnow(pool, tmp_path / "r", PICTURES, **given)
    write_shards(pool, table, 12)
    embedded.clear()
    grown = winnow(pool, tmp_path / "r", PICTURES, **given)
    assert set(embedded) <= set(table["uid"].to_pylist()[24:])
    fresh = winnow(pool, tmp_path / "fresh", PICTURES, **given)
    for name in ("vectors", "contents"):
        ours, theirs = (
            r.artifact("embed", name).sort_by("uid") for r in (grown, fresh)
        )
        assert ours.equals(theirs), "a vector depends on its sample alone"
    assert grown.ledger("score") == fresh.ledger("score")


def test_from_names_a_run(
    pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], first: Any
):
    lock = str(first.path / "config.lock.yaml")
    words = [
        "run",
        lock,
        "--out",
        str(tmp_path / "x"),
        "--from",
        str(tmp_path),
        "--json",
    ]
    assert main(words) == 2
    assert "there is no run in that folder" in capsys.readouterr().err
    words[-2] = str(first.path)
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["ran"] == []


def test_a_version_of_a_library_voids_what_it_computes_and_nothing_else(
    first: Any, monkeypatch: pytest.MonkeyPatch
):
    from winnow.core import versions

    recipe = load(first.path / "config.lock.yaml")
    before = {e["step"] for e in plan(recipe)["steps"] if e["done"]}
    assert before == {"index", *STEPS}
    known = versions._version
    for package, other in (
        ("polars", before),
        ("faiss-cpu", {"index", "exact", "embed"}),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(
                versions, "_version", lambda n, p=package: "9" if n == p else known(n)
            )
            assert {e["step"] for e in plan(recipe)["steps"] if e["done"]} == other


def test_the_version_of_a_step_voids_it_and_what_follows(
    first: Any, monkeypatch: pytest.MonkeyPatch
):
    from dataclasses import replace

    from winnow.config import (
        step_kinds as registry,
    )

    recipe = load(first.path / "config.lock.yaml")
    semantic = registry.step_of("semantic")
    newer = {**registry.STEPS._own, "semantic": replace(semantic, version=99)}
    monkeypatch.setattr(registry.STEPS, "_own", newer)
    done = {e["step"] for e in plan(recipe)["steps"] if e["done"]}
    assert done == {"index", "exact", "embed", "cluster"}


def test_the_source_as_such_is_in_no_fingerprint(first: Any, tmp_path: Path):
    """A copy of the library with a comment in every file knows the run as finished."""
    import subprocess
    import sys

    package = Path(winnow.__file__).parent
    shutil.copytree(
        package, tmp_path / "winnow", ignore=shutil.ignore_patterns("__pycache__")
    )
    for file in (tmp_path / "winnow").rglob("*.py"):
        file.write_text(file.read_text() + "\n# Another comment.\n")
    # Recipes lie beside the package in a checkout.
    code = (
        "import json, winnow; from winnow.flows.plan import plan; "
        "from winnow.config.recipes import load; import sys; "
        "print([e['done'] for e in plan(load(sys.argv[1]))['steps']])"
    )
    lock = first.path / "config.lock.yaml"
    done = subprocess.run(
        [sys.executable, "-c", code, os.fspath(lock)],
        env={**os.environ, "PYTHONPATH": os.fspath(tmp_path), "NUMBA_DISABLE_JIT": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str([True] * 6), done.stderr


def replaced(file: Path) -> None:
    """Give a shard other contents of the same rows."""
    table = pq.ParquetFile(file).read()
    others = ["another caption"] * len(table)
    place = table.schema.get_field_index("text")
    pq.write_table(table.set_column(place, "text", pa.array(others)), file)


@pytest.mark.parametrize("finished", [False, True])
def test_a_shard_replaced_on_the_way_stops_the_run_with_its_name(
    winnow: Winnow,
    pool: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    finished: bool,
):
    out, changed = tmp_path / "run", {"semantic": {"epsilon": 0.4}}
    if finished:
        winnow(pool, out, STEPS)
    before = shown(out)
    original = execution.Execution.run

    def disturbed(self: Any, planned: Any, prints: Any) -> Any:
        marker = original(self, planned, prints)
        if planned.name == "semantic":
            replaced(pool / "00001.parquet")
        return marker

    with monkeypatch.context() as patch:
        patch.setattr(execution.Execution, "run", disturbed)
        with pytest.raises(InputError, match=r"00001\.parquet has changed"):
            winnow(pool, out, STEPS, **changed)
    assert not (out / ".next" / "kept").exists()
    if finished:
        assert shown(out) == before
    else:
        assert not (out / "kept").exists()
    again = winnow(pool, out, STEPS, **changed)
    fresh = winnow(pool, tmp_path / "fresh", STEPS, **changed)
    assert again.output().equals(fresh.output())


def test_a_shard_replaced_while_it_is_copied_leaves_nothing_kept(
    winnow: Winnow, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    original = execution.Execution.run

    def disturbed(self: Any, planned: Any, prints: Any) -> Any:
        marker = original(self, planned, prints)
        if planned.name == "apply":
            replaced(pool / "00000.parquet")
        return marker

    monkeypatch.setattr(execution.Execution, "run", disturbed)
    with pytest.raises(InputError, match=r"00000\.parquet has changed"):
        winnow(pool, tmp_path / "run", STEPS)
    assert not (tmp_path / "run" / "kept").exists()
    assert not RunFolder(tmp_path / "run").finished


@pytest.mark.parametrize(
    ("lost", "made"),
    [
        ("kept", ["apply"]),
        ("ledger/step=semantic", ["semantic"]),
        ("artifacts/embed/vectors", ["embed"]),
        ("artifacts/cluster/centroids.npy", ["cluster"]),
        ("artifacts/cluster", ["cluster"]),
        ("quarantine", []),
        ("config.lock.yaml", []),
    ],
)
def test_what_was_deleted_is_made_again(
    winnow: Winnow, first: Any, pool: Path, lost: str, made: list[str]
):
    before = results(first.path)
    path = first.path / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert winnow(pool, first.path, STEPS).result.ran == made
    assert results(first.path) == before


def flipped(file: Path) -> None:
    """Change one byte in the middle of a file, its length and time as they were."""
    state = file.stat()
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize(
    ("damaged", "made"),
    [
        ("artifacts/embed/vectors/part-00000.parquet", ["embed"]),
        ("ledger/step=exact/part-00000.parquet", ["exact"]),
        ("artifacts/cluster/done.json", ["cluster"]),
        ("artifacts/order.json", []),
        ("manifest.json", []),
        ("config.lock.yaml", []),
        ("steps.parquet", []),
    ],
)
def test_a_flipped_byte_is_not_believed(
    winnow: Winnow, first: Any, pool: Path, damaged: str, made: list[str]
):
    before = results(first.path)
    flipped(first.path / damaged)
    assert winnow(pool, first.path, STEPS).result.ran == made
    assert results(first.path) == before


def test_swapped_decisions_are_named_by_whoever_reads_them(
    first: Any, capsys: pytest.CaptureFixture[str]
):
    file = first.path / "ledger" / "step=semantic" / "part-00000.parquet"
    table = pq.ParquetFile(file).read()
    keep = table["keep"].to_pylist()
    one, other = keep.index(True), keep.index(False)
    keep[one], keep[other] = False, True
    place = table.schema.get_field_index("keep")
    pq.write_table(table.set_column(place, table.schema.field("keep"), [keep]), file)
    uid = table["uid"][one].as_py()
    run = str(first.path)
    for words in (
        ["explain", run, uid],
        ["query", run, "SELECT count(*) FROM ledger"],
        ["diff", run, run],
        ["report", run],
    ):
        assert main(words) == 3, words
        assert "step=semantic" in capsys.readouterr().err, words


def test_images_named_by_path_are_part_of_the_pool(
    winnow: Winnow, make_picture: Callable[..., bytes], tmp_path: Path
):
    pool = tmp_path / "pool"
    pool.mkdir()
    for number in range(6):
        (pool / f"{number}.jpg").write_bytes(make_picture(number))
    (pool / "0.jsonl").write_text(
        "".join(
            json.dumps({"uid": f"r{n}", "image": f"{n}.jpg", "text": f"a text {n}"})
            + "\n"
            for n in range(6)
        )
    )
    steps, by = ["exact", "apply"], {"exact": {"by": ["image_pixels"]}}
    run = winnow(pool, tmp_path / "run", steps, **by)
    assert winnow(pool, run.path, steps, **by).result.ran == []
    shutil.copyfile(pool / "0.jpg", pool / "1.jpg")
    changed = winnow(pool, run.path, steps, **by)
    assert changed.result.ran == ["exact", "apply"]
    assert changed.result.kept == 5
    # What reads no image does not depend on them.
    texts = {"exact": {"by": ["caption"]}}
    other = winnow(pool, tmp_path / "texts", steps, **texts)
    (pool / "2.jpg").unlink()
    assert winnow(pool, other.path, steps, **texts).result.ran == []


def test_an_image_file_replaced_on_the_way_stops_the_run_with_its_name(
    winnow: Winnow,
    make_picture: Callable[..., bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    pool = tmp_path / "pool"
    pool.mkdir()
    for number in range(3):
        (pool / f"{number}.jpg").write_bytes(make_picture(number))
    rows = {"uid": ["a", "b", "c"], "image": [f"{n}.jpg" for n in range(3)]}
    pq.write_table(pa.table({**rows, "text": ["x y z"] * 3}), pool / "0.parquet")
    original = execution.Execution.run

    def disturbed(self: Any, planned: Any, prints: Any) -> Any:
        marker = original(self, planned, prints)
        if planned.name == "exact":
            (pool / "1.jpg").write_bytes(make_picture(99))
        return marker

    monkeypatch.setattr(execution.Execution, "run", disturbed)
    with pytest.raises(InputError, match=r"1\.jpg \(an image of 0\.parquet\)"):
        winnow(pool, tmp_path / "run", ["exact", "apply"])
    assert not (tmp_path / "run" / "kept").exists()


def test_a_run_given_to_take_from_has_to_be_one(tmp_path: Path, first: Any):
    from winnow.flows.taking_over import runs_to_take_from

    with pytest.raises(ConfigError, match="no run in that folder"):
        runs_to_take_from("x", [tmp_path])
    assert runs_to_take_from(first.path / "config.lock.yaml") == (first.path,)
    assert fingerprints.Prints("a").reuse == ""


def test_nothing_is_taken_over_that_is_damaged(
    first: Any, pool: Path, tmp_path: Path, vector_recipe: Callable[..., dict]
):
    import winnow as library

    flipped(first.path / "artifacts" / "cluster" / "centroids.npy")
    recipe = vector_recipe(pool, tmp_path / "two", STEPS)
    assert library.run(recipe, from_runs=[first.path]).ran == ["cluster"]


def test_kept_rows_that_were_deleted_are_missed_by_whoever_reads(
    first: Any, capsys: pytest.CaptureFixture[str]
):
    shutil.rmtree(first.path / "kept")
    assert main(["steps", str(first.path)]) == 0
    told = capsys.readouterr().err
    assert "is gone; the same `winnow run` writes the kept rows again" in told
