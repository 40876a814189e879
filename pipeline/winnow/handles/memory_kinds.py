"""The kinds of pool in memory: how their rows are read, and how kept rows come back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from winnow.core.errors import ConfigError, InputError
from winnow.core.extras import require_package

_BATCH_ROWS = 1024

Tables = tuple[pa.Schema, Iterator[pa.Table]]


def _cannot(*_: Any) -> Any:
    raise NotImplementedError


@dataclass(frozen=True)
class Kind:
    """A kind of pool; rows go by `read` and `give`, or by `write` and `load`.

    takes: whether an object is of it, given the names of its classes and their modules.
    read: its schema and its rows as tables. give: what kept rows become again.
    write: rows written as Parquet to a folder, by whoever holds them. load: what the
    files of kept rows become, given a session.
    """

    name: str
    takes: Callable[[Any, set[str]], bool]
    read: Callable[[Any], Tables] = _cannot
    give: Callable[[pa.Schema, Iterator[pa.RecordBatch]], Any] = _cannot
    write: Callable[[Any, Path], None] | None = None
    load: Callable[[Sequence[Path], Any], Any] | None = None


def kind_of(pool: Any) -> Kind:
    """Return the kind of an object; raises ConfigError if it is no pool."""
    classes = {f"{c.__module__.split('.')[0]}.{c.__name__}" for c in type(pool).__mro__}
    for kind in KINDS:
        if kind.takes(pool, classes):
            return kind
    if "datasets.DatasetDict" in classes:
        splits = ", ".join(f"pool['{name}']" for name in pool)
        raise ConfigError(f"pool: a DatasetDict holds several splits; give {splits}")
    raise ConfigError(
        f"pool: a {type(pool).__name__} is no pool; give an Arrow table, a frame of "
        "polars, pandas or Spark, a list of dictionaries or a datasets.Dataset, or "
        "name a folder by input.path"
    )


def _of_table(table: pa.Table) -> Tables:
    batches = table.to_batches(max_chunksize=_BATCH_ROWS)
    return table.schema, (pa.Table.from_batches([batch]) for batch in batches)


def _of_stream(pool: Any) -> Tables:
    reader = pa.RecordBatchReader.from_stream(pool)
    return reader.schema, (
        table
        for batch in reader
        for table in _of_table(pa.Table.from_batches([batch]))[1]
    )


def _of_polars(frame: Any) -> Tables:
    import polars as pl

    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    return _of_table(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))


def _of_pandas(frame: Any) -> Tables:
    try:
        # The index goes with the rows: those that are kept have it still.
        return _of_table(pa.Table.from_pandas(frame, preserve_index=True))
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(f"pool: no table of Arrow holds it: {error}") from error


def _of_rows(rows: Sequence[Any]) -> Tables:
    names: dict[str, None] = {}
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InputError(f"pool[{number}] is a {type(row).__name__}, no dictionary")
        names |= dict.fromkeys(row)
    columns = {}
    for name in names:
        try:
            columns[str(name)] = pa.array([row.get(name) for row in rows])
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"pool: the values of '{name}' have no one type: {error}"
            ) from error
    return _of_table(pa.table(columns))


def _of_dataset(dataset: Any) -> Tables:
    arrow = dataset.with_format("arrow")
    return dataset.features.arrow_schema, arrow.iter(batch_size=_BATCH_ROWS)


def _write_spark(frame: Any, folder: Path) -> None:
    frame.write.mode("overwrite").parquet(folder.resolve().as_uri())


def _as_table(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> pa.Table:
    return pa.Table.from_batches(batches, schema)


def _as_polars(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Any:
    import polars as pl

    return pl.from_arrow(_as_table(schema, batches))


def _as_pandas(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Any:
    return _as_table(schema, batches).to_pandas()


def _as_rows(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Any:
    return _as_table(schema, batches).to_pylist()


#: Folders of mapped files; they go with the process, whatever still maps them.
_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def mapped_dataset(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Any:
    """Return rows as a `datasets.Dataset`, written to a file that is mapped."""
    import datasets

    folder = tempfile.TemporaryDirectory(prefix="winnow-hf-")
    file = Path(folder.name) / "kept.arrow"
    with pa.OSFile(str(file), "wb") as out, pa.ipc.new_stream(out, schema) as sink:
        for batch in batches:
            sink.write_batch(batch)
    _FOLDERS.append(folder)
    return datasets.Dataset.from_file(str(file))


def _load_spark(files: Sequence[Path], spark: Any) -> Any:
    require_package("pyspark", "Run.kept_in_kind")
    from pyspark.sql import SparkSession

    session = spark or SparkSession.getActiveSession()
    if session is None:
        raise ConfigError("kept_in_kind: give the session to read with, spark=")
    return session.read.parquet(*(file.resolve().as_uri() for file in files))


def _is_a(*names: str) -> Callable[[Any, set[str]], bool]:
    return lambda pool, classes: bool(classes & set(names))


KINDS = (
    Kind("datasets", _is_a("datasets.Dataset"), read=_of_dataset, give=mapped_dataset),
    Kind(
        "polars",
        _is_a("polars.DataFrame", "polars.LazyFrame"),
        read=_of_polars,
        give=_as_polars,
    ),
    Kind("pandas", _is_a("pandas.DataFrame"), read=_of_pandas, give=_as_pandas),
    Kind("spark", _is_a("pyspark.DataFrame"), write=_write_spark, load=_load_spark),
    Kind(
        "rows",
        lambda pool, classes: isinstance(pool, list | tuple),
        read=_of_rows,
        give=_as_rows,
    ),
    Kind(
        "arrow",
        lambda pool, classes: hasattr(pool, "__arrow_c_stream__"),
        read=_of_stream,
        give=_as_table,
    ),
)
