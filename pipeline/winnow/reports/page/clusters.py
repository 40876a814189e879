"""Clusters on a map, what each lost, and complexity against quota."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.core.errors import RunError
from winnow.core.sql_text import literal
from winnow.pages.answers import Answer, Section, share
from winnow.pages.drawing import draw
from winnow.reports.page.charts import quotas
from winnow.reports.page.context import PageSource
from winnow.reports.page.pictures import Picture
from winnow.reports.run_view import RunView

#: Clusters on a map, and samples shown of each.
_SHOWN, _EXAMPLES = 80, 6
#: The map, in pixels, and how often marks that overlap are moved.
_WIDTH, _HEIGHT, _ROUNDS = 980, 560, 200
#: Classes of the share that a cluster keeps.
_RATES = 5
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
        **_map(source, run, step, table),
        "quotas": _quotas(table),
        **_examples(source, step, table),
    }


def _map(source: PageSource, run: RunView, step: str, table: Answer) -> Section:
    file = run.folder.artifacts(step) / "centroids.npy"
    if not file.is_file():
        raise RunError(f"{file} is gone; run the recipe again")
    centroids = np.load(file, allow_pickle=False)
    ids = table.column("cluster_id")
    places, explained = plane(centroids, ids)
    sides = _sides(np.asarray(table.column("size"), np.float64))
    corners = moved_apart(places, sides) - sides[:, None] / 2
    shown = _nearest(source, step, ids)
    marks = [
        {
            "cluster": row["cluster_id"],
            "x": round(float(x), 1),
            "y": round(float(y), 1),
            "side": round(float(side), 1),
            "rate": min(int(row["keep_rate"] * _RATES), _RATES - 1),
            "picture": shown.get(row["cluster_id"]),
            "description": f"cluster {row['cluster_id']}: "
            f"{row['size']:,} row{'' if row['size'] == 1 else 's'}, "
            f"{share(row['keep_rate'])} kept",
        }
        for (x, y), side, row in zip(corners, sides, table.rows, strict=True)
    ]
    bounds = [share(step / _RATES) for step in range(_RATES + 1)]
    return {
        "marks": marks,
        "width": _WIDTH,
        "height": _HEIGHT,
        "rates": list(pairwise(bounds)),
        "explained": share(explained),
    }


def _sides(sizes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the sides of the marks: areas grow with rows, and all have room."""
    sides = np.sqrt(sizes / sizes.max()) * 90
    room = np.sqrt(0.3 * _WIDTH * _HEIGHT / max((sides**2).sum(), 1.0))
    return np.asarray(np.maximum(sides * min(room, 1.0), 26.0))


def moved_apart(
    places: npt.NDArray[np.float64], sides: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the middles of squares on the map, (n, 2), none far under another.

    places: where they should lie, (n, 2), in any unit. sides: of the squares, (n,), in
    the map's.
    """
    low, spread = places.min(axis=0), np.ptp(places, axis=0)
    box: npt.NDArray[np.float64] = np.array([_WIDTH, _HEIGHT], np.float64)
    half = sides[:, None] / 2
    scaled = (places - low) / np.where(spread > 0, spread, 1.0)
    middles: npt.NDArray[np.float64] = half + scaled * (box - 2 * half)
    reach = (sides[:, None] + sides[None, :]) / 2 + 2
    # Of two at one place the later goes down and to the right.
    order = np.arange(len(sides))
    nudge = 1e-3 * np.sign(np.subtract.outer(order, order))[:, :, None]
    for _ in range(_ROUNDS):
        apart = middles[:, None, :] - middles[None, :, :] + nudge
        over = np.clip(reach[:, :, None] - np.abs(apart), 0, None)
        overlap = over.min(axis=2, keepdims=True)
        # Two marks are moved along the axis on which they overlap less.
        along = np.arange(2) == over.argmin(axis=2)[:, :, None]
        push = np.where(along, overlap * np.sign(apart), 0).sum(axis=1) / 2
        middles = np.clip(middles + 0.6 * push, half, box - half)
    return middles


def _nearest(source: PageSource, step: str, ids: list[int]) -> dict[int, Picture]:
    """Return the row nearest to each centroid, by cluster."""
    answer = source.ask(
        "SELECT cluster_id, uid FROM members "
        f"WHERE step = {literal(step)} AND cluster_id IN ({', '.join(map(str, ids))}) "
        "QUALIFY row_number() OVER (PARTITION BY cluster_id ORDER BY distance, uid) = 1"
    )
    pictures = source.want(answer)
    return dict(zip(answer.column("cluster_id"), pictures, strict=True))


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
        # Drawn before they are joined, of which only these few rows are held.
        "SELECT m.cluster_id, m.uid, f.fate, f.step, m.distance FROM ("
        f"FROM members WHERE step = {literal(step)} AND cluster_id IN ({shown}) "
        "QUALIFY row_number() OVER (PARTITION BY cluster_id "
        f"ORDER BY md5(uid), uid) <= {_EXAMPLES}) m JOIN fates f USING (uid) "
        "ORDER BY m.cluster_id, f.fate DESC, m.distance, m.uid"
    )
    of: dict[int, list[tuple[int, Any]]] = {}
    for position, row in enumerate(answer.rows):
        picture = source.pictures.want(row["uid"])
        of.setdefault(row["cluster_id"], []).append((position, picture))
    return {"examples": answer, "examples_of": of}
