"""An index's life: built from a run or a pool, grown by shards, asked.

What a recipe's `minhash` section means is what the index means by near.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.lock_file import read_lock
from winnow.config.run import RunConfig, parse
from winnow.config.steps import MinhashConfig, SketchConfig
from winnow.core.errors import ConfigError, InputError, RunError, did_you_mean
from winnow.core.inside import is_url
from winnow.core.run_folder import RunFolder
from winnow.core.run_log import EVENTS, logged
from winnow.core.saved_files import read_manifest
from winnow.core.versions import versions
from winnow.flows.pool import Pool, open_pool
from winnow.formats.column_names import column_hint
from winnow.formats.reader import SampleReader, single
from winnow.indexes.near_index import NearIndex
from winnow.indexes.opened import open_any
from winnow.indexes.repair import check, repair
from winnow.indexes.segmented_index import SegmentedIndex
from winnow.steps.index import references, uid_strings
from winnow.steps.near_index import (
    Addition,
    add_rows,
    content_name,
    found_with,
    near,
    settings_of,
    shard_key,
    sorted_digests,
)
from winnow.steps.sketching import Sketching, TextColumn, require_text, sketching
from winnow.stores.copies import run_or_pool

_LOCK = "config.lock.yaml"
#: The column that names rows where nothing is said; a pool may lack it.
_UID = "uid"

#: Told how many rows have been read, of how many.
Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class NamedColumns:
    """Columns of an index's rows; None: what the run says, or `uid` and `text`."""

    uid: str | None = None
    text: str | None = None


def build(
    source: str,
    out: str | os.PathLike[str],
    *,
    columns: NamedColumns = NamedColumns(),
    settings: Mapping[str, Any] | None = None,
    advance: Advance = lambda done, rows: None,
) -> dict[str, Any]:
    """Build an index over the kept rows of a run, or over all rows of a pool.

    `settings` are those of a `minhash` section; those of the run's recipe otherwise.
    Given again for the same rows it changes nothing, and `built_before` says so.
    Returns counts. Raises ConfigError or InputError before anything is written if the
    settings or the columns cannot be, ConfigError if `out` holds anything else.
    """
    opened = _opened([source], columns, settings or {})
    sketch = opened.sketching
    column = _text_column(opened, sketch.unit)
    named = asdict(opened.columns)
    with NearIndex.built(out, asdict(sketch), named, opened.sources) as index:
        counts = _added(index, opened, column, "add", advance)
    return as_built(index, counts, out)


def as_built(
    index: SegmentedIndex[Any], counts: Mapping[str, Any], out: str | os.PathLike[str]
) -> dict[str, Any]:
    """Return the counts of an index that was built; rows that it had were there."""
    told = {**counts, "index": str(Path(out)), "built_before": index.was_there}
    if index.was_there:
        told["already_there"] += told["added"]
        told |= {n: 0 for n in told if n == "added" or n.startswith("same_name")}
    return told


def told_before(counts: Mapping[str, Any]) -> str:
    """Return as text that an index was built before."""
    return (
        f"{counts['index']} was built of the same rows before and holds "
        f"{counts['rows']:,}; nothing is changed"
    )


def add(
    path: str | os.PathLike[str],
    sources: Sequence[str],
    *,
    columns: NamedColumns = NamedColumns(),
    settings: Mapping[str, Any] | None = None,
    same_name: Literal["add", "error"] = "add",
    advance: Advance = lambda done, rows: None,
) -> dict[str, Any]:
    """Append shards, or the kept rows of runs; rows that are there are not touched.

    A row is there if one of the same name and the same text is. A name that the index
    has with another text makes a second row of that name, or is an error:
    `same_name`. Raises ConfigError if `settings` differ from the index's.
    """
    index = NearIndex(path)
    refuse_other_settings(index, settings or {})
    given = NamedColumns(
        columns.uid or index.columns["uid"], columns.text or index.columns["text"]
    )
    opened = _opened(sources, given, {})
    column = _text_column(opened, settings_of(index).unit)
    return _added(index, opened, column, same_name, advance)


def _added(
    index: NearIndex,
    opened: _Opened,
    column: TextColumn,
    same_name: Literal["add", "error"],
    advance: Advance,
) -> dict[str, Any]:
    addition = Addition(
        opened.sources, opened.shards, opened.columns.uid is not None, same_name
    )
    with index.locked(), logged(index.path):
        EVENTS.info("add %s, %s", opened.sources, versions())
        counts = add_rows(index, addition, _blocks(opened, column, advance))
        EVENTS.info("%s", counts)
    named = sum(counts[n] for n in ("added", "already_there", "without_text"))
    # Rows without a name, or whose text cannot be read.
    counts["unusable"] = opened.pool.rows - named
    return {"index": str(index.path), "rows": index.rows, **counts}


def discard(path: str | os.PathLike[str], uids: Sequence[str]) -> dict[str, Any]:
    """Remove rows of any index by their names; return how many there were."""
    index = open_any(path)
    with index.locked(), logged(index.path):
        known = index.known(pa.array(uids, pa.large_string()))
        removed = index.discard(pa.array(uids, pa.large_string()))
        EVENTS.info("remove: %d of %d uids, %d rows", len(known), len(uids), removed)
    unknown = [uid for uid in uids if uid not in known]
    return {
        "index": str(index.path),
        "rows": index.rows,
        "removed": removed,
        "unknown": unknown,
    }


def compact(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Merge segments and leave out removed rows; return how many segments there are."""
    index = open_any(path)
    with index.locked():
        before = len(index.listed())
        index.compact()
    return {
        "index": str(index.path),
        "rows": index.rows,
        "segments": len(index.listed()),
        "segments_before": before,
    }


def check_index(path: str | os.PathLike[str]) -> list[str]:
    """Return a message for everything that is damaged; every byte is read."""
    return [str(error) for error in check(path)]


def repair_index(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Make again what can be made; see `winnow.indexes.repair.repair`."""

    def digests(values: dict[str, Any], rows: pa.RecordBatch) -> tuple[Any, ...]:
        return sorted_digests(values, rows.column("text"))

    return repair(path, digests)


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what an index holds, and what went into it in order."""
    index = open_any(path)
    return {
        "index": str(index.path),
        "rows": index.rows,
        "segments": len(index.listed()),
        "settings": index.settings,
        "columns": index.columns,
        "additions": [
            {name: a[name] for name in ("sources", "named", "rows")}
            for a in index.additions
        ],
    }


def ask(
    path: str | os.PathLike[str],
    *,
    text: str | None = None,
    uid: str | None = None,
    k: int = 10,
    min_jaccard: float = 0.5,
    settings: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Return what is near a text, or near an indexed row (which is left out).

    See `winnow.steps.near_index.near`. Raises ConfigError if `settings` differ from
    the index's, InputError for a uid that it does not have.
    """
    _require_share(min_jaccard)
    index = NearIndex(path)
    refuse_other_settings(index, settings or {})
    if (text is None) == (uid is None):
        raise ConfigError("near: give a text or a uid, one of them")
    if text is not None:
        return near(index, text, k, min_jaccard)
    assert uid is not None
    segment, row = index.row_of(uid)
    asked = segment.table.column("text")[row].as_py()
    return near(index, asked, k, min_jaccard, besides=(segment.name, row))


def chance(path: str | os.PathLike[str], similarity: float) -> float:
    """Return the probability that an index finds a row of this similarity.

    Raises ConfigError for a similarity that is not from 0 to 1.
    """
    _require_share(similarity)
    return found_with(NearIndex(path), similarity)


def _require_share(similarity: float) -> None:
    if not 0 <= similarity <= 1:
        raise ConfigError(f"min_jaccard: a similarity is from 0 to 1, not {similarity}")


def refuse_other_settings(index: NearIndex, settings: Mapping[str, Any]) -> None:
    """Raise ConfigError if one of the given settings is not the index's."""
    for name in settings:
        if name not in SketchConfig.model_fields:
            hint = did_you_mean(name, SketchConfig.model_fields)
            raise ConfigError(f"minhash.{name}: no setting of a sketch; {hint}")
    plain = {n: v for n, v in settings.items() if n in index.settings}
    index.require(plain)


@dataclass(frozen=True)
class _Opened:
    """What an index is built from: a pool, its columns, and what is noted of it."""

    pool: Pool
    columns: NamedColumns
    sketching: Sketching
    sources: tuple[str, ...]
    shards: tuple[str, ...]


def _opened(
    sources: Sequence[str], columns: NamedColumns, settings: Mapping[str, Any]
) -> _Opened:
    """Open the sources as one pool, runs replaced by their kept shards."""
    paths: list[str] = []
    shards: list[str] = []
    of_run: dict[str, Any] = {}
    for named_source in sources:
        source = run_or_pool(named_source)
        lock = Path(source) / _LOCK
        if not lock.is_file():
            paths.append(source)
            continue
        folder = RunFolder(source)
        _require_finished(folder)
        of_run = read_lock(Path(source))
        kept = folder.file("kept")
        if not kept.is_dir():
            raise InputError(f"{source}: the run has no kept/; end it with apply")
        paths.append(os.fspath(kept))
        shards += _shards_of_run(Path(source))
    named = of_run.get("input", {}).get("columns", {"uid": _UID, "text": "text"})
    minhash = {**of_run.get("minhash", {}), **settings, "index": None}
    text = columns.text or minhash.get("column") or named["text"]
    uid = columns.uid or named["uid"]
    config = _config(paths, NamedColumns(uid, text), minhash)
    pool = open_pool(config)
    if not of_run and columns.uid is None and _UID not in pool.schema.names:
        # Nothing names the rows of this pool but what they hold.
        uid = None
    shards += [shard_key(s.name, s.rows, s.bytes) for s in pool.shards]
    section = config.section("minhash")
    assert isinstance(section, MinhashConfig)
    return _Opened(
        pool,
        NamedColumns(uid, text),
        sketching(section, section.threshold),
        tuple(s if is_url(s) else os.path.abspath(s) for s in sources),
        tuple(dict.fromkeys(shards)),
    )


def _config(
    paths: Sequence[str], columns: NamedColumns, minhash: Mapping[str, Any]
) -> RunConfig:
    """Return a run of `minhash` alone over the paths; it is read, never run."""
    named = {"uid": columns.uid, "text": columns.text, "image": None}
    return parse(
        {
            "input": {"path": list(paths), "columns": named},
            "steps": ["minhash"],
            "minhash": {**minhash, "column": None},
            "output": {"path": os.path.join(os.path.abspath(os.sep), "nowhere")},
        }
    )


def _require_finished(folder: RunFolder) -> None:
    """Raise RunError unless a run is finished and what it keeps is as written."""
    markers = folder.markers()
    if not folder.finished:
        raise RunError(
            f"{folder.path} is not finished; the same `winnow run` goes on, and then "
            "its rows may be indexed"
        )
    folder.require_whole(markers[-1], "kept/")


def _shards_of_run(run: Path) -> list[str]:
    """Return the keys of the shards that a run read."""
    try:
        shards = read_manifest(run / "manifest.json")["input"]["shards"]
        return [shard_key(s["name"], s["rows"], s["bytes"]) for s in shards]
    except (KeyError, TypeError):
        return []


def _text_column(opened: _Opened, unit: str) -> TextColumn:
    pool, columns = opened.pool, opened.columns
    if columns.text is None:
        raise ConfigError("index: name the column of the texts with --column")
    for column in (columns.uid, columns.text):
        if column is not None and column not in pool.schema.names:
            if not pool.rows:
                raise InputError(
                    f"index: the pool has no row, and so no column '{column}'"
                )
            hint = column_hint(column, pool.schema)
            raise InputError(f"index: the shards have no column '{column}'; {hint}")
    require_text(pool.schema, columns.text, unit, "index")
    paths = {shard.name: shard.path for shard in pool.shards}
    reader = SampleReader(
        pool.root, paths, None, columns.text, pool.schema, kind=pool.kind
    )
    return TextColumn(reader, columns.text, (columns.uid,) if columns.uid else ())


def _blocks(
    opened: _Opened, column: TextColumn, advance: Advance
) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Yield (uid, text); without a uid column, a row is named by its content."""
    uid, done = opened.columns.uid, 0
    for shard in opened.pool.shards:
        for _, text, reason, extra in column.blocks(references(shard.name, shard.rows)):
            done += len(text)
            usable = reason.is_null()
            names: pa.Array
            if uid:
                names = pa.array(uid_strings(single(extra[uid])), pa.string())
                usable = pc.and_(usable, names.is_valid())
                names = names.filter(usable)
            else:
                names = pa.array(
                    [content_name(t or "") for t in text.filter(usable).to_pylist()],
                    pa.string(),
                )
            yield names, text.filter(usable)
            advance(done, opened.pool.rows)
