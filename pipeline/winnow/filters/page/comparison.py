"""The page of `winnow filter compare`, from its plain figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from winnow.filters.page.pages import (
    PagePart,
    PlainTable,
    group_table,
    picture,
    share,
    words,
    write,
)

Row = Mapping[str, Any]

_CLUSTERS = 60


def write_comparison(
    folder: Path, result: Row, images: Mapping[str, bytes | None]
) -> Path:
    """Write a comparison as FOLDER/report.html; images: encoded, by uid."""
    names = [model["model"] for model in result["models"]]
    parts = [_models(result), _clusters(result, names)]
    if "domains" in result:
        parts.append(_domains(result["domains"]))
    if "downstream" in result:
        parts.append(_downstream(result["downstream"]))
    parts.append(_galleries(result["disagreements"], images))
    about = (
        f"{result['rows']:,} rows of {result['pool']}; each keeps {result['kept']:,}"
    )
    return write(folder, f"{' and '.join(names)} compared", about, parts)


def _models(result: Row) -> PagePart:
    part = PagePart("filters", "Filters")
    rows = [
        [
            words(model["model"]),
            share(model["auc_random"]),
            share(model["auc_hard"]),
            f"{len(model['deletes'])}",
        ]
        for model in result["models"]
    ]
    head = ["filter", "right above random", "above hard", "clusters deleted"]
    part.tables.append(PlainTable("On the pool's own captions", head, rows))
    rows = [
        [
            f"{words(row['one'], 40)} and {words(row['other'], 40)}",
            f"{row['both']:,}",
            share(row["jaccard"]),
            share(row["rank_correlation"]),
        ]
        for row in result["agreement"]
    ]
    head = ["selections", "kept by both", "Jaccard", "rank correlation"]
    part.tables.append(PlainTable("Agreement", head, rows))
    return part


def _clusters(result: Row, names: Sequence[str]) -> PagePart:
    part = PagePart("clusters", "Kept by cluster")
    part.notes.append(
        "Marked: a filter keeps less than a tenth of the cluster's share of the "
        "budget, which is to say that it deletes the concept."
    )
    shown = result["clusters"][:_CLUSTERS]
    rows = [
        [
            f"{row['cluster']}: {words('; '.join(row['examples']))}",
            f"{row['rows']:,}",
            *(share(row["keep_rates"][name]) for name in (*names, "random")),
            words(", ".join(row["deleted_by"])) if row["deleted_by"] else "",
        ]
        for row in shown
    ]
    head = ["cluster", "rows", *names, "random", "deleted by"]
    marked = frozenset(i for i, row in enumerate(shown) if row["deleted_by"])
    last = frozenset({0, len(head) - 1})
    title = "Keep rates, the most unequal first"
    part.tables.append(PlainTable(title, head, rows, marked, last))
    return part


def _domains(domains: Sequence[Row]) -> PagePart:
    part = PagePart("domains", "By domain")
    part.notes.append("The drop is the distance to the filter's own best domain.")
    for row in domains:
        part.tables.append(group_table(row["model"], row["domains"], drops=True))
    return part


def _downstream(trained: Row) -> PagePart:
    part = PagePart("downstream", "What the selections train")
    part.notes.append(
        f"The same model by the same recipe on each selection of {trained['rows']:,} "
        f"rows, {trained['seeds']} seeds, scored on "
        f"{trained['held_out_images']:,} held-out "
        f"images. {trained['method']}."
    )
    metrics = ("auc_random", "recall_at_1", "recall_at_5", "recall_at_10")
    rows = [
        [
            words(row["selection"]),
            f"{row['trained_on']:,}",
            f"{row['steps']:,}",
            *(_interval(row[name]) for name in metrics),
        ]
        for row in trained["selections"]
    ]
    head = ["selection", "rows", "steps", "AUC", "R@1", "R@5", "R@10"]
    part.tables.append(PlainTable("Held-out figures", head, rows))
    rows = [
        [
            words(row["selection"]),
            *(_interval(row[name]) for name in metrics),
        ]
        for row in trained["against_random"]
    ]
    head = ["less random", "AUC", "R@1", "R@5", "R@10"]
    part.tables.append(PlainTable("Differences to the random selection", head, rows))
    return part


def _interval(span: Row) -> str:
    return f"{share(span['mean'])} [{share(span['low'])}, {share(span['high'])}]"


def _galleries(parts: Sequence[Row], images: Mapping[str, bytes | None]) -> PagePart:
    part = PagePart("galleries", "What one keeps and another drops")
    part.notes.append("The rows whose places in the two rankings differ most.")
    for clash in parts:
        title = (
            f"Kept by {clash['kept_by']}, dropped by {clash['dropped_by']}: "
            f"{clash['rows']:,} rows"
        )
        samples = [
            (
                picture(row["uid"], row["caption"], images.get(row["uid"])),
                f"{row['place_kept']:.0%} against {row['place_dropped']:.0%} of the "
                "way to the top",
            )
            for row in clash["examples"]
        ]
        part.galleries.append((title, samples))
    return part
