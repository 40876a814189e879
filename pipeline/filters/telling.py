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
        found = result["calibration"]
        lines.append(
            f"calibration           error {found['ece']:.3f}, Brier "
            f"{found['brier']:.3f}; even chance at a score of {found['even_at']:.3f}"
        )
    if "domains" in result:
        lines += ["", *_groups("domain", result["domains"], drops=True)]
    for details in result.get("details", {"": result}).values():
        lines += _details(details)
    lines += [_leakage(found) for found in result.get("leakage", [])]
    return "\n".join(lines)


def _details(result: dict[str, Any]) -> list[str]:
    lines = []
    for column, rows in result["by"].items():
        lines += ["", *_groups(column, rows[:20])]
    found = result["caption_groups"]
    if found["groups"]:
        lines += ["", *tell_caption_groups(found)]
    return lines


def tell_caption_groups(found: dict[str, Any]) -> list[str]:
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
        for group in found["groups"]
    ]
    lines = align(rows)
    lines.append(
        f"{found['boilerplate_rows']:,} captions stand more than "
        f"{found['more_than']} times; one of the {found['informative_rows']:,} others "
        f"outranks them with a chance of "
        f"{_share(found['informative_above_boilerplate'])}: {found['verdict']}"
    )
    if found["not_separated"]:
        lines.append(
            f"the score fails to separate {len(found['not_separated'])} of "
            f"{len(found['groups'])} groups ({found['rows_not_separated']:,} rows)"
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


def _leakage(found: dict[str, Any]) -> str:
    asked = (
        f"cosine distance {found['max_distance']:g} or {found['max_bits']} bits of "
        f"{found['train']}"
    )
    if found["clean"]:
        return (
            f"no leakage: no image within {asked} (the nearest: "
            f"{found['nearest_distance']:.3f}, {found['nearest_bits']} bits)"
        )
    return (
        f"LEAKAGE: {found['leaked']:,} of {found['evaluation_images']:,} images lie "
        f"within {asked} ({found['by_vector']:,} by vector, {found['by_hash']:,} by "
        "hash); the figures above flatter the filter"
    )


def align(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return lines of a table: the first and a worded column left, others right."""
    width = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(width) - 1
    words = last if not rows[0][last] else None
    return [
        "  ".join(
            cell.ljust(size) if place in (0, words) else cell.rjust(size)
            for place, (cell, size) in enumerate(zip(row, width, strict=True))
        ).rstrip()
        for row in rows
    ]


def _short(text: str) -> str:
    text = " ".join(text.split()) or "(empty)"
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _share(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"
