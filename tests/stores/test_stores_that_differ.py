"""Runs on stores that make no folders, rename and copy nothing, and list late.

A store in memory behind the names of Google's and Azure's, which are not installed
here: what their emulators said of the real libraries is in docs/measurements.md.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow as api
from fsspec.implementations.memory import MemoryFileSystem


class LateStore(MemoryFileSystem):
    """Lists what was there when it was listed last; an object is there at once."""

    cachable = False
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    listed: ClassVar[dict[str, int]] = {}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.partition("://")[2].strip("/") if "://" in path else path

    def unstrip_protocol(self, name: str) -> str:
        return f"{self.protocol}://{name.lstrip('/')}"

    def find(self, path: str, **more: Any) -> dict[str, Any]:
        before, now = dict(self.listed), {k: v.size for k, v in self.store.items()}
        self.listed.clear()
        self.listed.update(now)
        root = self._strip_protocol(path).rstrip("/") + "/"
        listed = {n: {"size": s} for n, s in before.items() if n.startswith(root)}
        return listed if more.get("detail") else sorted(listed)  # type: ignore[return-value]

    def ls(self, path: str, detail: bool = True, **more: Any) -> Any:
        root = self._strip_protocol(path).rstrip("/") + "/"
        names = self.find(path)
        if not names:
            raise FileNotFoundError(path)
        return sorted({root + name[len(root) :].split("/")[0] for name in names})

    def rm(self, path: str, recursive: bool = False, **_: Any) -> None:
        below = [n for n in self.store if n == path or n.startswith(f"{path}/")]
        if not below:
            raise FileNotFoundError(path)
        for name in below:
            del self.store[name]

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def _refused(self, *_: Any, **__: Any) -> NoReturn:
        raise PermissionError("this store does not do so")

    makedirs = mkdir = mv = cp_file = _refused


class Gcs(LateStore):
    protocol = "gs"


class Azure(LateStore):
    protocol = "az"


@pytest.mark.parametrize("kind", [Gcs, Azure])
def test_a_run_is_published_taken_over_and_read(
    kind: type[LateStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    known = importlib.import_module("fsspec.registry")._registry
    monkeypatch.setitem(known, kind.protocol, kind)
    monkeypatch.setattr(LateStore, "store", {})
    monkeypatch.setattr(LateStore, "listed", {})
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "cache"))
    texts = [f"the text number {i % 30} of a pool" for i in range(40)]
    table = pa.table({"uid": [f"{i:02d}" for i in range(40)], "text": texts})
    file = tmp_path / "0.parquet"
    pq.write_table(table, file)
    url = f"{kind.protocol}://bucket"
    store = kind()
    store.pipe_file("/bucket/pool/0.parquet", file.read_bytes())
    recipe: dict[str, Any] = {
        "input": {"path": f"{url}/pool/0.parquet", "columns": {"image": None}},
        "output": {"path": f"{url}/run", "report": False},
        "steps": ["exact", "random", "apply"],
        "exact": {"by": ["caption"]},
        "random": {"keep_count": 20},
    }
    assert api.run(recipe).kept == 20
    again = api.run({**recipe, "random": {"keep_count": 7}})
    assert (again.kept, again.ran) == (7, ["random", "apply"])
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path / "reader"))
    run = api.open(f"{url}/run")
    assert len(run.kept(["text"]).arrow()) == 7
    rows = run.query("SELECT count(*) AS n FROM samples").to_pylist()
    assert rows == [{"n": 40}]
    # Once what was listed late is seen, versions that count no more are gone.
    api.run({**recipe, "random": {"keep_count": 5}})
    versions = {n.split("/")[4] for n in store.store if "/run/versions/" in n}
    assert 1 <= len(versions) <= 2
