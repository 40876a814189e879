"""Survivor counts, step by step."""

from __future__ import annotations

from typing import Any

from winnow.reports.run_view import RunView


def survivors(run: RunView) -> list[dict[str, Any]]:
    """Return one row for each step: rows in, kept, dropped, quarantined, cost."""
    return [
        {
            "step": marker.step,
            "rows_in": marker.rows_in,
            "kept": marker.kept,
            "dropped": marker.dropped,
            "quarantined": marker.quarantined,
            "seconds": round(marker.seconds, 3),
            "peak_rss_mb": round(marker.peak_rss_mb, 1),
        }
        for marker in run.markers
    ]


def tell(rows: list[dict[str, Any]]) -> str:
    """Return survivor counts as a table."""
    head = ["step", "rows in", "kept", "dropped", "quarantined", "seconds", "MiB"]
    body = [
        [
            row["step"],
            *(f"{row[name]:,}" for name in ("rows_in", "kept", "dropped")),
            f"{row['quarantined']:,}",
            f"{row['seconds']:.1f}",
            f"{row['peak_rss_mb']:,.0f}",
        ]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in [head, *body]
    ]
    return "\n".join(lines)
