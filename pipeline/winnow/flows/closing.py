"""What a finished run leaves beside its steps: quarantine, statistics, manifest."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.config.registry import INDEX
from winnow.core import schemas
from winnow.core.code_version import versions
from winnow.core.engine import Frame
from winnow.core.run_folder import remove, replace, write_text
from winnow.formats.outputs import MAX_FILES, WRITTEN, settle, write_quarantine

if TYPE_CHECKING:
    from winnow.flows.runner import Session


def close_run(session: Session) -> None:
    """Write what sums the run up, unless it all stands and nothing has changed.

    The manifest goes first and comes back last: while it stands, so do the others.
    """
    folder = session.folder
    manifest = json.dumps(_manifest(session), indent=1, sort_keys=True) + "\n"
    file = folder.file("manifest.json")
    others = (folder.file("quarantine"), folder.file("steps.parquet"))
    stands = file.is_file() and file.read_text() == manifest
    if stands and not session.ran and all(other.exists() for other in others):
        return
    remove(file)
    _write_quarantine(session)
    _write_steps(session)
    write_text(file, manifest)


def _write_quarantine(session: Session) -> None:
    """Write every rejected row with its reason and, where readable, its content."""
    engine, folder = session.engine, session.folder
    work = folder.scratch("quarantine") / "out"
    kernel = partial(
        write_quarantine,
        reader=session.reader,
        schema=session.pool.schema,
        folder=os.fspath(work),
    )
    references = [
        _references(session, marker.step)
        for marker in session.markers
        if marker.quarantined
    ]
    empty = engine.from_table(_REFERENCES.empty_table())
    frame = engine.union([empty, *references])
    written = engine.map_batches(frame, kernel, WRITTEN, order_by=("source", "row"))
    files = engine.collect(written, MAX_FILES)
    engine.clear()
    bad = tuple(session.pool.bad)
    if bad or not len(files):
        own = kernel(iter(()), bad_files=bad)
        files = pa.concat_tables([files, pa.Table.from_batches(list(own))])
    settle(work, files)
    replace(work, folder.file("quarantine"))


_REFERENCES = pa.schema(
    [
        ("uid", pa.string()),
        ("source", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("step", pa.string()),
    ]
)


def _references(session: Session, step: str) -> Frame:
    engine = session.engine
    rejects = engine.scan(os.fspath(session.folder.artifacts(step) / "rejects"))
    places = session.artifacts["rejected" if step == INDEX else "samples"]
    places_frame = engine.scan(os.fspath(places), ["uid", "source", "row"])
    joined = engine.join(rejects, places_frame, "uid", "inner")
    return engine.map_batches(joined, partial(name_step, step=step), _REFERENCES)


def name_step(
    batches: Iterator[pa.RecordBatch], *, step: str
) -> Iterator[pa.RecordBatch]:
    """Append the step that rejected the rows."""
    for batch in batches:
        named = batch.append_column("step", pa.array([step] * len(batch), pa.string()))
        yield named.select(_REFERENCES.names)


def _write_steps(session: Session) -> None:
    rows = [
        {name: getattr(marker, name) for name in schemas.STEPS.names}
        for marker in session.markers
    ]
    target = session.folder.file("steps.parquet")
    beside = target.with_name("steps.parquet.tmp")
    pq.write_table(pa.Table.from_pylist(rows, schemas.STEPS), beside)
    os.replace(beside, target)


def _manifest(session: Session) -> dict[str, Any]:
    config, pool = session.config, session.pool
    return {
        "seed": config.seed,
        **versions(),
        "input": {
            "root": pool.root,
            "rows": pool.rows,
            "shards": [
                {"name": s.name, "rows": s.rows, "bytes": s.bytes} for s in pool.shards
            ],
            "unreadable_files": [{"path": p, "reason": r} for p, r in pool.bad],
        },
        "steps": {
            marker.step: {"fingerprint": marker.fingerprint, **marker.facts}
            for marker in session.markers
        },
    }
