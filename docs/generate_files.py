"""Write docs/files.md: every file that a run leaves, and every column of it.

Columns and types are those of the code's schemas and of SQL's views; what they mean
stands here, and a column without a meaning is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
from winnow.core import schemas
from winnow.core.run_folder import PARTS
from winnow.lake.kernels import tables as lake
from winnow.reports import run_columns

FILES = Path(__file__).with_name("files.md")

#: What a column means, whatever it stands in; `TABLE.COLUMN` where it differs there.
_MEANS = {
    "uid": "the row's name, as in the input or a hash of its content",
    "key": "first 64 bits of the uid's hash: the order in which samples are drawn",
    "source": "the shard that the row is in, below the pool's folder",
    "row": "number of the row in its shard, from 0",
    "step": "name of the step",
    "position": "number of the step in its run, from 0",
    "kind": "kind of the step: `cluster` of `cluster_2`",
    "keep": "whether the step lets the row pass",
    "reason": "why, as [Reasons](reasons.md) explains",
    "score": "what the step measured, if it measures",
    "threshold": "the cut that the score was held against",
    "kept_twin": "uid of the row that stays in its place",
    "rows_in": "rows that entered the step",
    "kept": "of these, rows that passed",
    "dropped": "of these, rows that it decided against",
    "quarantined": "of these, rows that it could not read",
    "seconds": "time that it took",
    "peak_rss_mb": "the most memory that the process held by its end, in MiB",
    "cluster": "number of the row's cluster",
    "cluster_id": "number of the row's cluster",
    "distance": "1 − cosine to the centroid",
    "d_intra": "mean distance of the cluster's rows to its centroid",
    "d_inter": "mean distance of the centroid to its nearest others",
    "complexity": "`d_intra` × `d_inter`",
    "size": "rows of the cluster",
    "clusters.kept": "of these, rows that the run keeps",
    "quota": "rows that the cluster may keep",
    "twin": "the most similar earlier row, whatever became of it",
    "similarity": "cosine, or exact Jaccard similarity, to the twin",
    "language": "ISO 639-1 code by fastText's lid.176, of a sample of the captions",
    "characters": "characters of the caption, of a sample",
    "words": "words of the caption, parted by white space, of a sample",
    "width": "of the image in pixels, of a sample",
    "height": "of the image in pixels, of a sample",
    "count": "how often the row was drawn",
    "image_vector": "unit vector of the image (float16 in the file)",
    "text_vector": "unit vector of the text (float16 in the file)",
    "table": "path of the table below the lake",
    "format": "what reads it",
    "location": "its address",
    "rows": "rows that it has",
    "bytes": "bytes of its files",
    "parts": "files that it is made of",
    "columns": "name, type and family (types that compare) of each column",
    "writer": "program that wrote it, as its footer says",
    "modified": "when its files were last changed",
    "fingerprint": "of its files; null where only footers were read",
    "readable": "whether its rows could be read; null where nobody tried",
    "tables.reason": "why it cannot be read, or what of it only in part",
    "child": "the table that lies in another",
    "parent": "the table that holds it",
    "relation": "duplicate, contained, partial, refuted or incomparable",
    "containment": "share of the child's rows that the parent holds, where counted",
    "stage": "the stage that decided",
    "child_rows": "rows of the child",
    "parent_rows": "rows of the parent",
    "shared_columns": "columns that both have",
    "witness": "JSON of a row that the parent lacks",
    "rebuild_sql": "query that gives the child back",
    "edges.reason": "why the child is contained or is not, in words",
    "refuted_by": "the stage that found that it is not; null where it is",
    "derived.kind": "concatenation, union or renamed",
    "parents": "the tables that hold it together",
    "derived.columns": "JSON of a renamed table's columns, {the parent's: the child's}",
    "derived.reason": "why, in words",
    "edges_in": "pairs that entered the stage",
    "edges_out": "pairs that it left",
    "bytes_read": "bytes that it read",
    "action": "delete or keep",
    "plan.columns": "JSON of a renamed table's columns, {the parent's: the child's}",
    "bytes_saved": "bytes that go",
    "keep_cost": "money per period to keep it, by the plan's prices",
    "rebuild_cost": "money per period to rebuild it when it is asked for",
    "cost_saved": "the difference",
    "rebuild_seconds": "how long its rebuild takes",
    "plan.reason": "why, in words",
}

_PATHS = {
    "kept": "`kept/`: the rows that stay, in the input's format, columns and values",
    "subset.npy": "`subset.npy`: uids of the rows that stay, in DataComp's format "
    "(pairs of unsigned 64-bit numbers, sorted), where uids are 128-bit hex",
    "repeats": "`repeats/`: after `soft_cap`, how often each row was drawn",
    "artifacts": "`artifacts/STEP/`: what a step computed, and its marker `done.json` "
    "(fingerprint, counts, length and checksum of every file)",
    "ledger": "`ledger/step=STEP/`: one row for each sample and deciding step",
    "quarantine": "`quarantine/`: rows that could not be read, each whole",
    "steps.parquet": "`steps.parquet`: one row for each step",
    "report.html": "`report.html`: the run as one page; `analysis.html` of an analysis",
    "config.lock.yaml": "`config.lock.yaml`: the recipe, every default written out; "
    "run it and you get this run",
    "manifest.json": "`manifest.json`: input, seed, versions, model with the sha256 of "
    "its weights; there only while the run is whole",
}

_LAKE = {
    "tables": ("One row for each table that was found.", lake.TABLES),
    "edges": ("One row for each pair whose column names are contained.", lake.EDGES),
    "derived": (
        "Tables that lie in several others, or under other names.",
        lake.DERIVED,
    ),
    "stages": ("How the pairs became fewer, and what that cost.", lake.STAGES),
    "plan": ("One row for each table that takes part in a containment.", lake.PLAN),
}


def files_page() -> str:
    """Return the page of files and columns."""
    listed = [f"- {_PATHS[part]}" for part in PARTS]
    parts = [
        "# Files and columns\n",
        "What a run and a scan leave, column by column. Written by `make docs` from "
        "the code's schemas; a test holds the two together.\n",
        "## A run's folder\n",
        "\n".join(listed) + "\n",
        "Beside them lie `winnow.log` (what was done and what was odd) and, once "
        "somebody marked rows in the app, `ui/overrides.csv`.\n",
        _schema("`ledger/step=STEP/*.parquet`", "decisions", schemas.DECISIONS),
        _schema("`steps.parquet`", "steps", schemas.STEPS),
        _schema("`artifacts/index/samples/*.parquet`", "samples", schemas.SAMPLES),
        _schema("`artifacts/STEP/rejects/*.parquet`", "rejects", schemas.REJECTS),
        _schema("`artifacts/cluster/clusters/*.parquet`", "members", schemas.CLUSTERS),
        "`artifacts/embed/vectors/*.parquet` holds `uid` and, of what was embedded, "
        "`image_vector` and `text_vector`: unit vectors of float16.\n",
        "`quarantine/*.parquet` holds `uid`, `source`, `row`, `reason`, `step`, and "
        "`raw`, the row as it was read.\n",
        "## Views of `winnow query`\n",
        "`samples` has the input's own columns, `uid`, `source` and `row`; `fates` the "
        "columns of the ledger and `fate`: kept, dropped, quarantined or undecided; "
        "`duplicates` has `uid`, `kept_twin` (the row that stands for it in the end), "
        "`twin_fate`, `similarity`, `direct_twin` and, of `minhash`, `band`.\n",
        *(_view(name, columns) for name, columns in _views().items()),
        "## A scan's folder\n",
        *(
            f"{about}\n\n" + _schema(f"`{name}.parquet`", name, schema)
            for name, (about, schema) in _LAKE.items()
        ),
    ]
    return "\n".join(parts)


def _views() -> Mapping[str, Mapping[str, str]]:
    return {
        "ledger": run_columns.LEDGER,
        "steps": run_columns.STEPS,
        "members": run_columns.MEMBERS,
        "clusters": {
            **{"cluster_id": "INTEGER", "size": "BIGINT", "kept": "BIGINT"},
            **{n: k for n, k in run_columns.COMPLEXITY.items() if n != "cluster"},
            "step": "VARCHAR",
        },
        "neighbours": run_columns.NEIGHBOURS,
        "measured": run_columns.MEASURED,
        "repeats": run_columns.REPEATS,
        "vectors": run_columns.VECTORS,
    }


def _schema(title: str, table: str, schema: pa.Schema) -> str:
    rows = [(field.name, str(field.type).split("<")[0]) for field in schema]
    return _table(title, table, rows)


def _view(name: str, columns: Mapping[str, str]) -> str:
    return _table(f"`{name}`", name, columns.items())


def _table(title: str, table: str, rows: Iterable[tuple[str, str]]) -> str:
    lines = [
        f"| `{name}` | {kind} | {_MEANS.get(f'{table}.{name}') or _MEANS[name]} |"
        for name, kind in rows
    ]
    head = [f"### {title}", "", "| column | type | meaning |", "|---|---|---|"]
    return "\n".join([*head, *lines, ""])


if __name__ == "__main__":
    FILES.write_text(files_page(), encoding="utf-8")
    sys.stdout.write(f"{FILES}\n")
