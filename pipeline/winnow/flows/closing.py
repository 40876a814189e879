"""What a finished run leaves beside its steps: quarantine, statistics, manifest."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.config.lock_file import lock_text
from winnow.config.run import RunConfig
from winnow.config.step_kinds import INDEX
from winnow.core import schemas
from winnow.core.engine import Frame
from winnow.core.integrity import damage, seals, take_check, with_check
from winnow.core.marker import Marker
from winnow.core.run_folder import (
    LOCK_FILE,
    MANIFEST,
    RunFolder,
    replace,
    write_text,
)
from winnow.core.versions import versions
from winnow.flows.pool import Pool
from winnow.flows.session import Session
from winnow.formats.outputs import MAX_FILES, WRITTEN, settle, write_quarantine

#: What a manifest says of the process that wrote it.
_TIMES = ("python", "versions")


def close_run(session: Session) -> None:
    """Write what sums the run up: quarantine, statistics, and last the manifest."""
    folder = session.folder
    _write_quarantine(session)
    _write_steps(session)
    order = folder.file("artifacts") / "order.json"
    # What holds times or places is compared with what it has to say instead.
    sealed = seals(folder.path, [folder.file("quarantine"), order])
    said = _manifest(session.config, session.pool, session.markers)
    manifest = with_check({**said, "files": sealed})
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    write_text(folder.file(MANIFEST), text)


def is_closed(
    folder: RunFolder, config: RunConfig, pool: Pool, markers: Sequence[Marker]
) -> bool:
    """Whether all that sums a run up is there, whole, and says what it would say now.

    Which versions closed the run is not asked.
    """
    lock = lock_text(config)
    try:
        manifest = json.loads(folder.file(MANIFEST).read_text())
        same = folder.file(LOCK_FILE).read_text() == lock
        # Manifests of before there was a checksum are compared alone.
        same = same and (take_check(manifest) or "check" not in manifest)
        sealed = manifest.pop("files")
        same = same and not damage(folder.path, sealed)
        stored = pq.ParquetFile(folder.file("steps.parquet")).read()
        same = same and stored.equals(_steps_table(markers))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False
    wanted = json.loads(json.dumps(_manifest(config, pool, markers)))
    for name in _TIMES:
        manifest.pop(name, None)
        wanted.pop(name, None)
    return same and bool(manifest == wanted)


def _write_quarantine(session: Session) -> None:
    """Write every rejected row with its reason and, where readable, its content."""
    engine, folder = session.engine, session.folder
    work = folder.scratch("quarantine") / "out"
    kernel = partial(
        write_quarantine,
        reader=session.pool.reader,
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
        unreadable = kernel(iter(()), bad_files=bad)
        files = pa.concat_tables([files, pa.Table.from_batches(list(unreadable))])
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
    target = session.folder.file("steps.parquet")
    beside = target.with_name("steps.parquet.tmp")
    pq.write_table(_steps_table(session.markers), beside)
    os.replace(beside, target)


def _steps_table(markers: Sequence[Marker]) -> pa.Table:
    rows = [{n: getattr(marker, n) for n in schemas.STEPS.names} for marker in markers]
    return pa.Table.from_pylist(rows, schemas.STEPS)


def _manifest(
    config: RunConfig, pool: Pool, markers: Sequence[Marker]
) -> dict[str, Any]:
    return {
        "seed": config.seed,
        **versions(),
        "input": {
            "root": pool.root,
            "format": pool.kind.name,
            **({"pinned": pinned} if (pinned := pool.kind.pinned()) else {}),
            "rows": pool.rows,
            "shards": [
                {"name": s.name, "rows": s.rows, "bytes": s.bytes} for s in pool.shards
            ],
            "unreadable_files": [{"path": p, "reason": r} for p, r in pool.bad],
        },
        "steps": {
            marker.step: {"fingerprint": marker.fingerprint, **marker.facts}
            for marker in markers
        },
    }
