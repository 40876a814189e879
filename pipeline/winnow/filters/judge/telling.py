"""Figures of filters as plain text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

_WIDEST = 44


def tell_evaluation(result: dict[str, Any]) -> str:
    """Return the figures of an evaluation for a terminal."""
    other = result["text_to_image"]
    lines = [
        f"{result['n']:,} images, {result['pairs']:,} right pairs",
        f"right above wrong     random captions {_share(result['auc_random'])}"
        f"   hard ones {_share(result['auc_hard'])}"
        f" (same cluster {_share(result['auc_same_cluster'])},"
        f" a word changed {_share(result['auc_swapped'])})",
        f"precision at k        {_share(result['precision_at_k'])} of the best"
        f" {result['k']:,} with random captions,"
        f" {_share(result['precision_at_k_hard'])} with hard ones",
        "recall at 1, 5, 10    "
        + "image to caption "
        + ", ".join(_share(result[f"recall_at_{k}"]) for k in (1, 5, 10))
        + "; caption to image "
        + ", ".join(_share(other[f"recall_at_{k}"]) for k in (1, 5, 10)),
    ]
    if result.get("calibration"):
        fit = result["calibration"]
        lines.append(
            f"calibration           error {fit['ece']:.3f}, Brier "
            f"{fit['brier']:.3f}; even chance at a score of {fit['even_at']:.3f}"
        )
    if "domains" in result:
        lines += ["", *_groups("domain", result["domains"], drops=True)]
    for details in result.get("details", {"": result}).values():
        lines += _details(details)
    lines += [_leakage(check) for check in result.get("leakage", [])]
    return "\n".join(lines)


def _details(result: dict[str, Any]) -> list[str]:
    lines = []
    for column, rows in result["by"].items():
        lines += ["", *_groups(column, rows[:20])]
    boilerplate = result["caption_groups"]
    if boilerplate["groups"]:
        lines += ["", *tell_caption_groups(boilerplate)]
    return lines


def tell_caption_groups(result: dict[str, Any]) -> list[str]:
    """Return where repeated captions land, as lines."""
    rows = [("repeated caption", "rows", "median place", "informative above", "")]
    rows += [
        (
            _short(group["caption"]),
            f"{group['rows']:,}",
            _share(group["median_place"]),
            _share(group["informative_above"]),
            group["verdict"],
        )
        for group in result["groups"]
    ]
    lines = align(rows)
    lines.append(
        f"{result['boilerplate_rows']:,} captions stand more than "
        f"{result['more_than']} times; one of the {result['informative_rows']:,} "
        f"others outranks them with a chance of "
        f"{_share(result['informative_above_boilerplate'])}: {result['verdict']}"
    )
    if result["not_separated"]:
        lines.append(
            f"the score fails to separate {len(result['not_separated'])} of "
            f"{len(result['groups'])} groups ({result['rows_not_separated']:,} rows)"
        )
    return lines


def _groups(
    title: str, rows: Sequence[dict[str, Any]], *, drops: bool = False
) -> list[str]:
    head = (title, "images", "random", "hard")
    table: list[tuple[str, ...]] = [(*head, "drop", "drop (hard)") if drops else head]
    for row in rows:
        images = row["images"] if "images" in row else row["n"]
        cells: tuple[str, ...] = (
            _short(row["group"]),
            f"{images:,}",
            _share(row["auc_random"]),
            _share(row["auc_hard"]),
        )
        if drops:
            both = (_share(row["drop_auc_random"]), _share(row["drop_auc_hard"]))
            cells = (*cells, *both)
        table.append(cells)
    return align(table)


def _leakage(check: dict[str, Any]) -> str:
    asked = (
        f"cosine distance {check['max_distance']:g} or {check['max_bits']} bits of "
        f"{check['train']}"
    )
    if check["clean"]:
        return (
            f"no leakage: no image within {asked} (the nearest: "
            f"{check['nearest_distance']:.3f}, {check['nearest_bits']} bits)"
        )
    return (
        f"LEAKAGE: {check['leaked']:,} of {check['evaluation_images']:,} images lie "
        f"within {asked} ({check['by_vector']:,} by vector, {check['by_hash']:,} by "
        "hash); the figures above flatter the filter"
    )


def align(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return lines of a table: the first and a worded column left, others right."""
    width = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(width) - 1
    words = last if not rows[0][last] else None
    return [
        "  ".join(
            cell.ljust(size) if cell_number in (0, words) else cell.rjust(size)
            for cell_number, (cell, size) in enumerate(zip(row, width, strict=True))
        ).rstrip()
        for row in rows
    ]


def _short(text: str) -> str:
    text = " ".join(text.split()) or "(empty)"
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _share(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def tell_comparison(result: dict[str, Any]) -> str:
    """Return a comparison of filters for a terminal."""
    lines = [
        f"{result['rows']:,} rows of {result['pool']}; each filter keeps "
        f"{result['kept']:,}",
        "",
    ]
    head = ("filter", "right above random", "above hard", "clusters deleted")
    table: list[tuple[str, ...]] = [head]
    table += [
        (
            _short(model["model"]),
            _share(model["auc_random"]),
            _share(model["auc_hard"]),
            f"{len(model['deletes'])}",
        )
        for model in result["models"]
    ]
    lines += align(table)
    lines += ["", *_agreement(result["agreement"])]
    for row in result["clusters"]:
        if row["deleted_by"]:
            lines.append(
                f"{', '.join(row['deleted_by'])} deletes cluster {row['cluster']} "
                f"({row['rows']:,} rows): {_short('; '.join(row['examples']))}"
            )
    for part in result.get("domains", []):
        title = f"domain ({part['model']})"
        lines += ["", *_groups(title, part["domains"], drops=True)]
    if "downstream" in result:
        lines += ["", *_downstream(result["downstream"])]
    return "\n".join(lines)


def _agreement(rows: Sequence[dict[str, Any]]) -> list[str]:
    head = ("selections", "kept by both", "Jaccard", "rank correlation")
    table: list[tuple[str, ...]] = [head]
    table += [
        (
            f"{_short(row['one'])} and {_short(row['other'])}",
            f"{row['both']:,}",
            _share(row["jaccard"]),
            _share(row["rank_correlation"]),
        )
        for row in rows
    ]
    return align(table)


def _downstream(study: dict[str, Any]) -> list[str]:
    lines = [
        f"the same model trained on each selection of {study['rows']:,} rows, "
        f"{study['seeds']} seeds, scored on {study['held_out_images']:,} images held "
        "out",
    ]
    head = ("trained on", "AUC", "recall at 1", "at 5", "at 10")
    table: list[tuple[str, ...]] = [head]
    table += [(_short(row["selection"]), *_means(row)) for row in study["selections"]]
    lines += align(table)
    for row in study["against_random"]:
        gap = row["recall_at_5"]
        verdict = "better than" if gap["better"] else "not surely better than"
        lines.append(
            f"{row['selection']}: {verdict} random; recall at 5 {gap['mean']:+.3f} "
            f"[{gap['low']:+.3f}, {gap['high']:+.3f}]; AUC "
            f"{row['auc_random']['mean']:+.3f} [{row['auc_random']['low']:+.3f}, "
            f"{row['auc_random']['high']:+.3f}]"
        )
    return lines


def _means(row: dict[str, Any]) -> tuple[str, ...]:
    names = ("auc_random", "recall_at_1", "recall_at_5", "recall_at_10")
    return tuple(_share(row[name]["mean"]) for name in names)
