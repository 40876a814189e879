"""Clusters on a map, what each lost, and complexity against quota."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.core.errors import RunError
from winnow.core.sql_text import literal
from winnow.pages.answers import Answer, Section, share
from winnow.pages.drawing import NARROW, WIDE, draw, draw_links
from winnow.reports.page.charts import cluster_map, quotas
from winnow.reports.page.context import PageSource
from winnow.reports.run_view import RunView

#: Clusters on a map, and samples shown of each.
_SHOWN, _EXAMPLES = 120, 6
# The map of the fewest rows may leave out small clusters; the table says how many.


def clusters(source: PageSource, run: RunView) -> list[Section]:
    """Return one section for each clustering of the run."""
    steps = source.ask(
        "SELECT c.step, count(*) AS clusters, sum(c.size)::BIGINT AS rows, "
        "sum(c.kept)::BIGINT AS kept, min(c.size) AS smallest, max(c.size) AS largest "
        "FROM clusters c JOIN steps s USING (step) GROUP BY c.step, s.position "
        "ORDER BY s.position"
    )
    return [_clustering(source, run, steps, row) for row in range(len(steps))]


def _clustering(
    source: PageSource, run: RunView, steps: Answer, number: int
) -> Section:
    step = steps.rows[number]["step"]
    table = source.ask(
        "SELECT cluster_id, size, kept, kept / size AS keep_rate, d_intra, d_inter, "
        f"complexity, quota FROM clusters WHERE step = {literal(step)} "
        f"ORDER BY size DESC, cluster_id LIMIT {_SHOWN}"
    )
    return {
        "id": f"clusters-{step}",
        "step": step,
        "steps": steps,
        "row": number,
        "table": table,
        "has_quota": any(row["quota"] is not None for row in table.rows),
        **_map(run, step, table),
        "quotas": _quotas(table),
        **_examples(source, step, table),
    }


def _map(run: RunView, step: str, table: Answer) -> Section:
    file = run.folder.artifacts(step) / "centroids.npy"
    if not file.is_file():
        raise RunError(f"{file} is gone; run the recipe again")
    centroids = np.load(file, allow_pickle=False)
    ids = table.column("cluster_id")
    places, explained = plane(centroids, ids)
    rows = [
        {
            "x": float(x),
            "y": float(y),
            "size": row["size"],
            "keep_rate": row["keep_rate"],
            "href": f"#{step}-{row['cluster_id']}",
            "description": f"cluster {row['cluster_id']}: {row['size']:,} rows, "
            f"{share(row['keep_rate'])} kept",
        }
        for (x, y), row in zip(places, table.rows, strict=True)
    ]
    label = f"Map of the clusters of {step}; each circle leads to its samples"
    return {
        "wide": draw_links(cluster_map(rows, WIDE), label),
        "narrow": draw_links(cluster_map(rows, NARROW), label),
        "explained": share(explained),
    }


def plane(
    centroids: npt.NDArray[Any], ids: list[int]
) -> tuple[npt.NDArray[np.float64], float]:
    """Return centroids (k, d) of `ids` on their two principal axes, and what they hold.

    Places are (len(ids), 2); the second value is the share of the variance that the
    plane shows. Each axis points to where its largest loading is positive, so that the
    same centroids always give the same map.
    """
    points = np.asarray(centroids, np.float64)[ids]
    centred = points - points.mean(axis=0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    largest = np.abs(axes).argmax(axis=1)
    signs = np.sign(axes[np.arange(len(axes)), largest])
    flat = centred @ (axes * signs[:, None]).T
    if flat.shape[1] < 2:
        flat = np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
    total = float((values**2).sum())
    return flat, float((values[:2] ** 2).sum() / total) if total else 1.0


def _quotas(table: Answer) -> Section | None:
    rows = [
        {
            "complexity": row["complexity"],
            "quota": row["quota"],
            "size": row["size"],
            "full": "keeps all it has"
            if row["quota"] >= row["size"]
            else "keeps a part",
        }
        for row in table.rows
        if row["quota"] is not None
    ]
    if not rows:
        return None
    label = "Complexity of each cluster against the rows that it may keep"
    return {"chart": draw(quotas(rows), label)}


def _examples(source: PageSource, step: str, table: Answer) -> Section:
    shown = ", ".join(str(number) for number in table.column("cluster_id"))
    answer = source.ask(
        "SELECT m.cluster_id, m.uid, f.fate, f.step, m.distance "
        "FROM members m JOIN fates f USING (uid) "
        f"WHERE m.step = {literal(step)} AND m.cluster_id IN ({shown}) "
        "QUALIFY row_number() OVER (PARTITION BY m.cluster_id "
        f"ORDER BY md5(m.uid), m.uid) <= {_EXAMPLES} "
        "ORDER BY m.cluster_id, f.fate DESC, m.distance, m.uid"
    )
    of: dict[int, list[tuple[int, Any]]] = {}
    for position, row in enumerate(answer.rows):
        picture = source.pictures.want(row["uid"])
        of.setdefault(row["cluster_id"], []).append((position, picture))
    return {"examples": answer, "examples_of": of}
