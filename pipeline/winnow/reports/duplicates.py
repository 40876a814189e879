"""The largest clusters of duplicates: what stayed, what went for it, how alike.

Any step that names a kept twin has clusters; `minhash` also knows the least similar
row of each and both texts' beginnings.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from winnow.core.errors import RunError
from winnow.core.marker import Marker
from winnow.reports.run_view import RunView

# Rows of a cluster that the text report names; JSON has them all.
_NAMED = 5


def duplicates(run: RunView, step: str | None, top: int) -> list[dict[str, Any]]:
    """Return, for each step with duplicates, its totals and largest clusters.

    Raises RunError if the run has no such step, or it decides nothing.
    """
    if step is not None and step not in {m.step for m in run.markers if m.decides}:
        steps = ", ".join(m.step for m in run.markers if m.decides)
        raise RunError(f"the run has no deciding step '{step}'; it has {steps}")
    wanted = [m for m in run.markers if m.decides and step in (None, m.step)]
    clustered = (_of_step(run, marker, top) for marker in wanted)
    return [entry for entry in clustered if entry["rows_dropped"] or step is not None]


def _of_step(run: RunView, marker: Marker, top: int) -> dict[str, Any]:
    gone = run.ledger(marker.step).filter(
        ~pl.col("keep") & pl.col("kept_twin").is_not_null()
    )
    clusters = (
        gone.group_by("kept_twin")
        .agg(
            size=pl.len() + 1,
            least=pl.col("score").min(),
            reasons=pl.col("reason").unique().sort(),
        )
        .sort(["size", "kept_twin"], descending=[True, False])
        .collect(engine="streaming")
    )
    largest = [
        {
            "keeper": row["kept_twin"],
            "size": row["size"],
            "least_similarity": row["least"],
            "reasons": row["reasons"],
            "dropped": _members(gone, row["kept_twin"]),
            **_texts(run, marker, row["kept_twin"]),
        }
        for row in clusters.head(top).to_dicts()
    ]
    return {
        "step": marker.step,
        "rows_dropped": int(clusters["size"].sum()) - len(clusters),
        "clusters": len(clusters),
        "largest": largest,
    }


def _members(gone: pl.LazyFrame, keeper: str) -> list[str]:
    rows = gone.filter(pl.col("kept_twin") == keeper).select("uid").sort("uid")
    uids: list[str] = rows.collect()["uid"].to_list()
    return uids


def _texts(run: RunView, marker: Marker, keeper: str) -> dict[str, Any]:
    """Return what `minhash` has stored about one of its largest clusters."""
    if not run.has_artifact(marker.step, "duplicate_clusters"):
        return {}
    stored = run.artifact(marker.step, "duplicate_clusters")
    rows = stored.filter(pl.col("keeper") == keeper).collect().to_dicts()
    if not rows:
        return {}
    names = ("least_similar", "keeper_text", "least_similar_text")
    return {name: rows[0][name] for name in names}


def tell(steps: list[dict[str, Any]]) -> str:
    """Return the clusters as text."""
    if not steps:
        return "no duplicates"
    lines = []
    for entry in steps:
        lines.append(
            f"{entry['step']}: {entry['rows_dropped']:,} rows dropped in "
            f"{entry['clusters']:,} clusters"
        )
        lines += [line for cluster in entry["largest"] for line in _told(cluster)]
    return "\n".join(lines)


def _told(cluster: dict[str, Any]) -> list[str]:
    dropped = cluster["dropped"]
    more = f" and {len(dropped) - _NAMED:,} more" if len(dropped) > _NAMED else ""
    least = cluster["least_similarity"]
    alike = "" if least is None else f", all at least {least:.4f} alike to it"
    lines = [
        f"  {cluster['size']:,} rows ({', '.join(cluster['reasons'])}), of which "
        f"{cluster['keeper']} stayed{alike}",
        f"    dropped: {', '.join(dropped[:_NAMED])}{more}",
    ]
    if "keeper_text" in cluster:
        lines.append(f"    stayed:        {_line(cluster['keeper_text'])}")
        if cluster["least_similar_text"] != cluster["keeper_text"]:
            lines.append(
                f"    least similar: {_line(cluster['least_similar_text'])} "
                f"({cluster['least_similar']})"
            )
    return lines


def _line(text: str) -> str:
    return " ".join(text.split())[:100]
