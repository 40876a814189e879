"""The rows that a run keeps or drops as Arrow tables, columns named as in `samples`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from winnow.reports.export.kept_rows import REPEATS, KeptRows


def schema_of(rows: KeptRows) -> pa.Schema:
    """Return the columns: uid, what ended a row, the input's, scores."""
    columns = rows.columns
    fields = [pa.field("uid", pa.string())]
    fields += [pa.field(name, kind) for name, kind in rows.ended.items()]
    for field in rows.pool.schema:
        name = _name(rows, field.name)
        if field.name == columns.image:
            fields.append(pa.field(name, pa.binary()))
        elif field.name == columns.text:
            fields.append(pa.field(name, pa.string()))
        elif field.name in columns.others:
            fields.append(field.with_name(name))
    fields += [pa.field(name, kind) for name, kind in columns.scores.items()]
    return pa.schema(fields)


def tables_of(rows: KeptRows, *, repeated: bool = True) -> Iterator[pa.Table]:
    """Yield the rows, a batch at a time, in the order of the input.

    repeated: let a row that was drawn several times stand as often.
    """
    columns = rows.columns
    read = {columns.image: "image", columns.text: "text"}
    read |= {name: f"extra.{name}" for name in columns.others}
    for batch in rows.batches():
        arrays = {"uid": batch["uid"]}
        arrays |= {name: batch[f"ended.{name}"] for name in rows.ended}
        for name in rows.pool.schema.names:
            if name in read:
                arrays[_name(rows, name)] = batch[read[name]]
        arrays |= {name: batch[name] for name in columns.scores}
        table = pa.table(arrays)
        repeats = batch[REPEATS].to_numpy()
        if repeated and (repeats != 1).any():
            table = table.take(np.repeat(np.arange(len(table)), repeats))
        yield table


def _name(rows: KeptRows, column: str) -> str:
    """Return what an input column is called here; what ended a row has its own name."""
    name = rows.name(column)
    return f"input_{name}" if name in rows.ended else name
