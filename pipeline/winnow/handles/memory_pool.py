"""A pool that is in memory: written once, by content, beside the run that reads it.

A run decides over shards, whatever they were made from: a frame is written as Parquet
to `RUN/.pool/DIGEST`, and rows that the run keeps come back as what was given. Equal
rows give equal files of equal names and times, so that runs over them, in whatever
folder, know each other's work.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.config.any_recipe import read_recipe
from winnow.config.run import RunConfig
from winnow.config.settings import as_overrides
from winnow.core.errors import ConfigError, RunError
from winnow.core.inside import is_url
from winnow.core.run_folder import LOCK_FILE, MEMORY_POOL, RunFolder, remove
from winnow.formats.outputs import ShardSize, ShardWriter
from winnow.formats.pool_formats import PARQUET
from winnow.handles.memory_kinds import KINDS, Kind, kind_of

_SHARD = ShardSize(rows=200_000, bytes=256 * 2**20)
#: Beside the shards, hidden from whoever looks for them: the kind of what was given.
_KIND = ".kind.json"
_PATH = "input.path"


@dataclass(frozen=True)
class MemoryPool:
    """Samples that stand in a recipe where a path would; `recipe` has them no longer.

    settings: changes to the recipe, without the samples.
    """

    samples: Any
    recipe: Any
    settings: Mapping[str, Any]

    @property
    def spark(self) -> Any:
        """The session of a frame of Spark; None for all else."""
        return getattr(self.samples, "sparkSession", None)

    @contextmanager
    def written(self) -> Iterator[dict[str, Any]]:
        """Write the samples into the run's folder; yield settings that name them.

        Pools of earlier runs in that folder go once the body has come to its end; the
        new one goes if the body was refused before a run relied on it. Raises
        ConfigError for what is no pool, InputError for rows that no table of Arrow
        holds, RunError if the folder is in use or holds something else.
        """
        kind = kind_of(self.samples)
        named = {**self.settings, _PATH: MEMORY_POOL}
        config = read_recipe(self.recipe, as_overrides(named))
        if not isinstance(config, RunConfig):
            raise ConfigError("input.path: a recipe of samples alone takes a frame")
        if is_url(config.output.path):
            raise ConfigError(
                f"{config.output.path}: a pool in memory is written beside its run, in "
                "a folder of this machine: name one, or write the pool to the store "
                "and name it by input.path"
            )
        folder = RunFolder(config.output.path)
        with folder.locked():
            shards, is_new = _write(kind, self.samples, folder.file(MEMORY_POOL))
        try:
            yield {**named, _PATH: os.fspath(shards)}
        except BaseException:
            if is_new and not _is_named(folder, shards):
                remove(shards)
            raise
        for other in shards.parent.iterdir():
            if other != shards:
                remove(other)


def pool_in_memory(
    recipe: Any, settings: Mapping[str, Any] | None
) -> MemoryPool | None:
    """Return the samples that stand where `input.path` would; None if a path does."""
    changed, theirs = _without(dict(settings or {}))
    values, ours = (
        _without(dict(recipe)) if isinstance(recipe, dict) else (recipe, None)
    )
    given = theirs if theirs is not None else ours
    if given is None or _is_path(given):
        return None
    return MemoryPool(given, values, changed)


def _without(values: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return settings without `input.path`, dotted or in its section, and its value."""
    given = values.pop(_PATH, None)
    section = values.get("input")
    if isinstance(section, Mapping) and "path" in section:
        rest = dict(section)
        inner = rest.pop("path")
        values["input"], given = rest, inner if given is None else given
    return values, given


def _is_path(value: Any) -> bool:
    several = isinstance(value, list | tuple)
    items = value if several else [value]
    return all(isinstance(item, str | os.PathLike) for item in items)


def _write(kind: Kind, pool: Any, parent: Path) -> tuple[Path, bool]:
    beside = parent / ".written"
    remove(beside)
    beside.mkdir(parents=True)
    if kind.write is not None:
        kind.write(pool, beside)
    else:
        schema, tables = kind.read(pool)
        writer = ShardWriter(beside, PARQUET, ".parquet", schema, _SHARD)
        for table in tables:
            writer.add(table)
        writer.close()
    name = _settle(beside)
    (beside / _KIND).write_text(json.dumps({"kind": kind.name}))
    final = parent / name
    if final.is_dir():
        # A pool of this content may be another kind's: the last one given counts.
        os.replace(beside / _KIND, final / _KIND)
        remove(beside)
        return final, False
    os.replace(beside, final)
    return final, True


def _settle(folder: Path) -> str:
    """Name shards in order, give each the time of its content; return the digest."""
    digests = []
    for other in sorted(folder.iterdir()):
        if not other.name.endswith(".parquet"):
            remove(other)
    for number, file in enumerate(sorted(folder.iterdir())):
        with file.open("rb") as data:
            digest = hashlib.file_digest(data, "blake2b").hexdigest()
        digests.append(digest)
        # A shard is known by size and time: files of one content have one time.
        os.utime(file, (int(digest[:8], 16),) * 2)
        file.rename(folder / f"part-{number:05d}.parquet")
    return hashlib.blake2b("".join(digests).encode(), digest_size=16).hexdigest()


def _is_named(folder: RunFolder, shards: Path) -> bool:
    """Whether a run, begun or finished, in the folder reads these shards."""
    locks = (folder.file(LOCK_FILE), folder.next.file(LOCK_FILE))
    return any(lock.is_file() and shards.name in lock.read_text() for lock in locks)


def kept_in_kind(run: Path, spark: Any = None) -> Any:
    """Return a finished run's kept rows as its pool was given."""
    folder = RunFolder(run)
    files = sorted(folder.file("kept").glob("*.parquet"))
    kinds = list(folder.file(MEMORY_POOL).glob(f"*/{_KIND}"))
    if not kinds:
        raise ConfigError(
            f"{run}: its pool was no frame in memory; kept/ holds the rows as files"
        )
    if not (folder.finished and files):
        raise RunError(f"{run} is not finished, or has no `apply` that keeps rows")
    name = json.loads(kinds[0].read_text())["kind"]
    kind = next(kind for kind in KINDS if kind.name == name)
    if kind.load is not None:
        return kind.load(files, spark)
    schema = pq.read_schema(files[0])
    return kind.give(schema, _batches(files))


def _batches(files: list[Path]) -> Iterator[pa.RecordBatch]:
    for file in files:
        with pq.ParquetFile(file) as opened:
            yield from opened.iter_batches(batch_size=1024)
