"""An index's life: built from a run or a pool, grown by shards, asked.

What a recipe's `minhash` section means is what the index means by near.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from winnow.config.run import RunConfig, parse
from winnow.config.steps import MinhashConfig, SketchConfig
from winnow.core.errors import ConfigError, InputError, did_you_mean
from winnow.flows.pool import Pool, open_pool
from winnow.formats.reader import SampleReader, single
from winnow.indexes.near_index import NearIndex
from winnow.steps.index import references, uid_strings
from winnow.steps.near_index import add_rows, found_with, near, settings_of
from winnow.steps.sketching import TextColumn, require_text, sketching

_LOCK = "config.lock.yaml"

#: Told how many rows have been read, of how many.
Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Columns:
    """Columns of an index's rows; None: what the run says, or `uid` and `text`."""

    uid: str | None = None
    text: str | None = None


def build(
    source: str,
    out: str | os.PathLike[str],
    *,
    columns: Columns = Columns(),
    settings: Mapping[str, Any] | None = None,
    advance: Advance = lambda done, rows: None,
) -> dict[str, Any]:
    """Build an index over the kept rows of a run, or over all rows of a pool.

    `settings` are those of a `minhash` section; those of the run's recipe otherwise.
    Returns counts. Raises ConfigError or InputError before anything is written if the
    settings or the columns cannot be.
    """
    config, chosen = _opened([source], columns, settings or {})
    pool = open_pool(config)
    minhash = config.section("minhash")
    assert isinstance(minhash, MinhashConfig)
    sketch = sketching(minhash, minhash.threshold)
    column = _text_column(pool, chosen, sketch.unit)
    index = NearIndex.create(out, asdict(sketch), asdict(chosen))
    with index.locked():
        counts = add_rows(index, _blocks(pool, column, chosen, advance))
    return {"index": str(index.path), "rows": index.rows, **counts}


def add(
    path: str | os.PathLike[str],
    sources: Sequence[str],
    *,
    columns: Columns = Columns(),
    settings: Mapping[str, Any] | None = None,
    advance: Advance = lambda done, rows: None,
) -> dict[str, Any]:
    """Append shards, or the kept rows of runs; rows that are there are not touched.

    Raises ConfigError if `settings` differ from the index's.
    """
    index = NearIndex(path)
    refuse_other_settings(index, settings or {})
    own = Columns(index.columns["uid"], index.columns["text"])
    given = Columns(columns.uid or own.uid, columns.text or own.text)
    config, chosen = _opened(sources, given, {})
    pool = open_pool(config)
    column = _text_column(pool, chosen, settings_of(index).unit)
    with index.locked():
        counts = add_rows(index, _blocks(pool, column, chosen, advance))
    return {"index": str(index.path), "rows": index.rows, **counts}


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
    index = NearIndex(path)
    refuse_other_settings(index, settings or {})
    if (text is None) == (uid is None):
        raise ConfigError("near: give a text or a uid, one of them")
    wanted = index.text_of(uid) if uid is not None else text
    assert wanted is not None
    return near(index, wanted, k, min_jaccard, besides=uid)


def chance(path: str | os.PathLike[str], similarity: float) -> float:
    """Return the probability that an index finds a row of this similarity."""
    return found_with(NearIndex(path), similarity)


def refuse_other_settings(index: NearIndex, settings: Mapping[str, Any]) -> None:
    """Raise ConfigError if one of the given settings is not the index's."""
    for name in settings:
        if name not in SketchConfig.model_fields:
            hint = did_you_mean(name, SketchConfig.model_fields)
            raise ConfigError(f"minhash.{name}: no setting of a sketch; {hint}")
    plain = {n: v for n, v in settings.items() if n in index.settings}
    index.require(plain)


def _opened(
    sources: Sequence[str], columns: Columns, settings: Mapping[str, Any]
) -> tuple[RunConfig, Columns]:
    """Return a recipe over the sources, runs replaced by their kept shards."""
    paths: list[str] = []
    own: dict[str, Any] = {}
    for source in sources:
        lock = Path(source) / _LOCK
        if not lock.is_file():
            paths.append(source)
            continue
        own = yaml.safe_load(lock.read_text())
        kept = Path(source) / "kept"
        if not kept.is_dir():
            raise InputError(f"{source}: the run has no kept/; end it with apply")
        paths.append(os.fspath(kept))
    named = own.get("input", {}).get("columns", {"uid": "uid", "text": "text"})
    minhash = {**own.get("minhash", {}), **settings, "index": None}
    chosen = Columns(
        columns.uid or named["uid"],
        columns.text or minhash.get("column") or named["text"],
    )
    recipe = {
        "input": {"path": paths, "columns": {**asdict(chosen), "image": None}},
        "steps": ["minhash"],
        "minhash": {**minhash, "column": None},
        "output": {"path": os.path.join(os.path.abspath(os.sep), "nowhere")},
    }
    return parse(recipe), chosen


def _text_column(pool: Pool, columns: Columns, unit: str) -> TextColumn:
    for column in (columns.uid, columns.text):
        if column is not None and column not in pool.schema.names:
            hint = did_you_mean(column, pool.schema.names)
            raise InputError(f"index: the shards have no column '{column}'; {hint}")
    if columns.text is None:
        raise ConfigError("index: name the column of the texts with --column")
    require_text(pool.schema, columns.text, unit, "index")
    paths = {shard.name: shard.path for shard in pool.shards}
    reader = SampleReader(pool.root, paths, None, columns.text, pool.schema)
    return TextColumn(reader, columns.text, (columns.uid,) if columns.uid else ())


def _blocks(
    pool: Pool, column: TextColumn, columns: Columns, advance: Advance
) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Yield (uid, text); without a uid column, a row is named by its place."""
    done = 0
    for shard in pool.shards:
        row = 0
        for _, text, reason, extra in column.blocks(references(shard.name, shard.rows)):
            names: pa.Array
            if columns.uid:
                names = pa.array(uid_strings(single(extra[columns.uid])), pa.string())
            else:
                places = range(row, row + len(text))
                names = pa.array([f"{shard.name}#{n}" for n in places], pa.string())
            row, done = row + len(text), done + len(text)
            usable = pc.and_(names.is_valid(), reason.is_null())
            yield names.filter(usable), text.filter(usable)
            advance(done, pool.rows)
