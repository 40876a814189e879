"""Runs on stores show the last version, whole, wherever a publication is ended."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow as api
from fsspec.implementations.memory import MemoryFileSystem
from winnow.app.marks import Marks
from winnow.cli.main import main
from winnow.core.errors import ConfigError, RunError
from winnow.stores.copies import local_run, updating
from winnow.stores.run_store import RunStore, RunVersion

URL = "frail://bucket/runs/first"
#: What changes a store.
CHANGES = ("pipe_file", "put_file", "cp_file", "rm_file", "rm")


class Killed(BaseException):
    """The process ends here."""


class FrailStore(MemoryFileSystem):
    """A store in memory, at which a process may be killed before its n-th change."""

    protocol = "frail"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    left: ClassVar[int | None] = None
    log: ClassVar[list[str]] = []
    turn = threading.Lock()

    @classmethod
    def count(cls, name: str, path: Any) -> None:
        with cls.turn:
            cls.log.append(f"{name} {path}")
            if cls.left is not None:
                cls.left -= 1
                if cls.left < 0:
                    raise Killed


def _counted(name: str) -> Callable[..., Any]:
    inner = getattr(MemoryFileSystem, name)

    def changed(self: FrailStore, *given: Any, **named: Any) -> Any:
        target = [path for path in given if isinstance(path, str)][-1]
        FrailStore.count(name, target)
        return inner(self, *given, **named)

    return changed


for _change in CHANGES:
    setattr(FrailStore, _change, _counted(_change))


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FrailStore]:
    fsspec.register_implementation("frail", FrailStore, clobber=True)
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "cache"))
    FrailStore.store.clear()
    FrailStore.pseudo_dirs[:] = [""]
    FrailStore.left = None
    FrailStore.log.clear()
    yield FrailStore()
    FrailStore.left = None


@pytest.fixture
def recipe(tmp_path: Path) -> dict[str, Any]:
    texts = [f"the text number {i % 30} of a pool" for i in range(40)]
    table = pa.table({"uid": [f"{i:02d}" for i in range(40)], "text": texts})
    pq.write_table(table, tmp_path / "pool.parquet")
    return {
        "input": {"path": str(tmp_path / "pool.parquet"), "columns": {"image": None}},
        "output": {"path": URL, "report": False},
        "steps": ["exact", "random", "apply"],
        "exact": {"by": ["caption"]},
        "random": {"keep_count": 20},
    }


def kept(url: str = URL) -> int:
    return len(api.open(url).kept(["text"]).arrow())


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """Let what follows run as on another machine."""
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / name))


def test_a_run_on_a_store_is_the_run_of_a_folder(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = api.run(recipe)
    here = api.run(recipe, {"output.path": str(tmp_path / "here")})
    assert (run.url, run.kept, repr(run).endswith(URL)) == (URL, 20, True)
    elsewhere(monkeypatch, tmp_path, "other")
    with api.open(URL) as there:
        assert there.fates().polars().equals(here.run.fates().polars())
        assert there.config["output"]["path"] == URL
    copy = local_run(URL)
    assert [file.read_bytes() for file in sorted(copy.glob("kept/*"))] == [
        file.read_bytes() for file in sorted(here.path.glob("kept/*"))
    ]
    assert api.run(recipe).ran == []
    assert api.plan(recipe)["steps"][1]["done"]


def test_an_update_elsewhere_takes_over_what_stands_and_copies_within_the_store(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    api.run(recipe)
    elsewhere(monkeypatch, tmp_path, "other")
    FrailStore.log.clear()
    assert api.run(recipe, {"random.keep_count": 7}).ran == ["random", "apply"]
    assert kept() == 7
    sent = [line for line in FrailStore.log if line.startswith("put_file")]
    assert sent
    assert not any("artifacts/exact/" in line for line in sent)
    versions = {
        name.split("/versions/")[1].split("/")[0]
        for name in FrailStore.store
        if "/versions/" in name
    }
    assert len(versions) == 1
    second = api.run(recipe, {"output.path": "frail://bucket/b"}, from_runs=[URL])
    assert second.ran == ["random", "apply"]


@pytest.mark.slow
def test_wherever_a_publication_is_killed_the_old_run_stands_and_the_command_goes_on(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    api.run(recipe)
    saved = {name: file.getvalue() for name, file in FrailStore.store.items()}
    FrailStore.log.clear()
    api.run(recipe, {"random.keep_count": 7})
    log = FrailStore.log
    switch = next(n for n, line in enumerate(log) if line.endswith("/current.json"))
    # The first two ask whether anything can be written; after the switch, removals.
    last = len(FrailStore.log) - 1
    seen = {}
    for kill in sorted({2, 3, switch // 2, switch - 1, switch, switch + 1, last}):
        elsewhere(monkeypatch, tmp_path, f"writer{kill}")
        FrailStore.store.clear()
        FrailStore().pipe(saved)
        FrailStore.left = kill
        with pytest.raises(Killed):
            api.run(recipe, {"random.keep_count": 7})
        FrailStore.left = None
        elsewhere(monkeypatch, tmp_path, f"reader{kill}")
        seen[kill] = kept()
        elsewhere(monkeypatch, tmp_path, f"writer{kill}")
        assert api.run(recipe, {"random.keep_count": 7}).ran == []
        assert kept() == 7
        assert sum(name.endswith("manifest.json") for name in FrailStore.store) == 1
    assert seen == {kill: 20 if kill <= switch else 7 for kill in seen}


def _folder(path: Path, step: str, rows: int) -> Path:
    (path / "kept").mkdir(parents=True)
    (path / "artifacts" / "embed").mkdir(parents=True)
    (path / "artifacts" / "embed" / "vectors").write_bytes(b"the same in both")
    (path / "artifacts" / f"{step}.json").write_text(step)
    for number in range(rows):
        (path / "kept" / f"{number}").write_text(step * 10)
    (path / "manifest.json").write_text(f"{step} {rows}")
    return path


def _read(version: RunVersion, folder: Path) -> dict[str, bytes]:
    store = RunStore(URL)
    for name in version.files:
        store.fetch(version, name, folder / name)
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_at_each_change_of_a_store_one_of_two_versions_stands(tmp_path: Path):
    old, new = _folder(tmp_path / "a", "old", 3), _folder(tmp_path / "b", "new", 2)
    store = RunStore(URL)
    base = store.publish(old, None)
    before = {name: file.getvalue() for name, file in FrailStore.store.items()}
    FrailStore.log.clear()
    version = store.publish(new, base)
    for kill in range(len(FrailStore.log)):
        FrailStore.store.clear()
        FrailStore().pipe(before)
        FrailStore.left = kill
        with pytest.raises(Killed):
            store.publish(new, base)
        FrailStore.left = None
        current = store.current()
        assert current in (base, version)
        assert current is not None
        files = _read(current, tmp_path / f"{kill}")
        assert RunVersion.of(tmp_path / f"{kill}") == current
        assert len(files) == len(current.files)
        store.publish(new, current)
        assert store.current() == version
        _read(version, tmp_path / f"{kill} again")
        paths = [name for name in FrailStore.store if "/versions/" in name]
        assert len(paths) == len(version.files)


def test_a_first_run_that_is_killed_while_it_is_published_is_no_run_yet(
    recipe: dict[str, Any],
):
    FrailStore.left = 9
    with pytest.raises(Killed):
        api.run(recipe)
    FrailStore.left = None
    with pytest.raises(RunError, match="frail://bucket/runs/first holds no run"):
        api.open(URL)
    assert api.run(recipe).ran == []
    assert kept() == 20


def test_who_has_been_overtaken_publishes_nothing(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    api.run(recipe)

    def overtaken() -> None:
        with updating(URL):
            elsewhere(monkeypatch, tmp_path, "other")
            api.run(recipe, {"random.keep_count": 5})

    with pytest.raises(RunError, match="another process has published"):
        overtaken()
    assert kept() == 5
    elsewhere(monkeypatch, tmp_path, "cache")
    assert api.run(recipe, {"random.keep_count": 6}).kept == 6


def test_two_processes_of_a_machine_do_not_write_one_run(recipe: dict[str, Any]):
    with (
        pytest.raises(RunError, match="another process of this machine"),
        updating(URL),
    ):
        api.run(recipe)


def test_what_is_damaged_on_the_store_is_named_and_not_read(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    api.run(recipe)
    name = next(n for n in FrailStore.store if "/kept/" in n)
    whole = FrailStore.store[name].getvalue()
    FrailStore().pipe_file(name, whole[:-1] + b"x")
    elsewhere(monkeypatch, tmp_path, "other")
    with pytest.raises(RunError, match=r"contents of kept/part-00000\.parquet"):
        api.open(URL)
    FrailStore().rm_file(name)
    with pytest.raises(RunError, match="files of the run are gone"):
        api.open(URL)
    current = f"{URL}/current.json"
    with fsspec.open(current) as file:
        said = json.loads(file.read())
    for damaged in (b"{", b"[]", json.dumps({**said, "version": "x"}).encode()):
        FrailStore().pipe_file(current, damaged)
        with pytest.raises(RunError, match=r"current\.json is damaged"):
            api.open(URL)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\..\\x"])
def test_a_version_names_nothing_outside_its_folder(name: str):
    text = RunVersion("id", {name: [1, "0"]}).text()
    with pytest.raises(ValueError, match="it names"):
        RunVersion.parsed(text)


@pytest.mark.slow
def test_commands_read_a_run_by_its_url(
    recipe: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    api.run(recipe)
    for words in (
        ["steps", URL],
        ["explain", URL, "01"],
        ["query", URL, "SELECT count(*) AS n FROM fates"],
        ["diff", URL, URL],
        ["what-if", URL, "--set", "random.keep_count=3"],
        ["export", URL, "--to", "uids", "--out", str(tmp_path / "uids.txt")],
        ["report", URL],
        ["index", "build", URL, "--out", str(tmp_path / "index")],
    ):
        assert main(words) == 0, words
    assert len((tmp_path / "uids.txt").read_text().split()) == 20
    current = RunStore(URL).current()
    assert current is not None
    assert "report.html" in current.files
    assert api.run(recipe).ran == []
    told = capsys.readouterr()
    assert f"A {URL}: 20 kept" in told.out
    assert main(["steps", "frail://bucket/none"]) == 1
    assert "frail://bucket/none holds no run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("http://127.0.0.1:1/run", "a web server takes no files"),
        ("https://host/run", "a web server takes no files"),
        ("simplecache::s3://bucket/run", "chained URLs are read, not written"),
        ("dbfs:/mnt/run", "as it is mounted there: /dbfs/mnt/run"),
        ("s3:/bucket/run", "a URL has two slashes: s3://bucket/run"),
        ("nothing://bucket/run", "cannot be reached: Protocol not known: nothing"),
        ("frail://bucket", "name a folder of the bucket"),
    ],
)
def test_what_cannot_be_written_is_one_line_before_any_work(
    recipe: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    out: str,
    told: str,
):
    monkeypatch.chdir(tmp_path)
    before = {*tmp_path.iterdir()}
    recipe["input"]["path"] = "not-there.parquet"
    with pytest.raises(api.WinnowError, match=told) as error:
        api.run(recipe, {"output.path": out})
    assert len(str(error.value).splitlines()) == 1
    assert {path.name for path in {*tmp_path.iterdir()} - before} <= {"cache"}


def test_a_pool_in_memory_needs_a_folder(recipe: dict[str, Any]):
    rows = [{"uid": "a", "text": "one"}]
    with pytest.raises(ConfigError, match="a pool in memory is written beside its run"):
        api.run({**recipe, "input": {"path": rows}})


def test_marks_lie_beside_the_versions_and_outlive_them(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("starlette")
    api.run(recipe)
    marks = RunStore(URL)
    served: list[Path] = []

    def serve(run: str, port: int, ready: Any, opening: Any) -> None:
        file = Path(run, "ui", "overrides.csv")
        served.append(file)
        if not file.exists():
            Marks(file, written=opening.marked).mark(["01"], "drop", "blurred")

    monkeypatch.setattr("winnow.app.serve.serve", serve)
    assert main(["ui", URL, "--no-browser"]) == 0
    api.run(recipe, {"random.keep_count": 4})
    elsewhere(monkeypatch, tmp_path, "other")
    assert main(["ui", URL, "--no-browser"]) == 0
    assert served[0] != served[1]
    assert served[1].read_text() == served[0].read_text()
    assert "01" in served[1].read_text()
    marks.fetch_beside("ui/none.csv", served[1])
    assert not served[1].exists()
