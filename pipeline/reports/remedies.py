"""Which setting would have kept a dropped row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from pipeline.reports.run_view import RunView
from pipeline.store.run_folder import Marker

Entry = dict[str, Any]


def remedy(run: RunView, marker: Marker, entry: Entry) -> str | None:
    """Return the change of a setting that keeps this row, other things equal."""
    find = _REMEDIES.get(marker.kind)
    return find(run, marker, entry) if find else None


def _exact(run: RunView, marker: Marker, entry: Entry) -> str:
    criterion = entry["reason"].removeprefix("duplicate_")
    return f"'{criterion}' taken out of {marker.step}.by"


_RULES = {
    "too_few_words": "min_words",
    "too_few_chars": "min_chars",
    "too_many_words": "max_words",
    "too_many_chars": "max_chars",
    "too_small": "min_side",
    "too_elongated": "max_aspect",
}


def _rules(run: RunView, marker: Marker, entry: Entry) -> str:
    setting = _RULES.get(entry["reason"])
    if setting is None:
        return f"{marker.step}.languages widened"
    at = "at most" if setting.startswith("min") else "at least"
    return f"{marker.step}.{setting} {at} {entry['score']:g}"


def _semantic(run: RunView, marker: Marker, entry: Entry) -> str:
    # A similarity of exactly 1 − ε is kept.
    epsilon = max(0.0, 1.0 - entry["score"])
    if epsilon == 0.0:
        return f"{marker.step} taken out: the two are identical to the model"
    return f"{marker.step}.epsilon at most {epsilon:.6f}"


def _best(run: RunView, marker: Marker, entry: Entry) -> str | None:
    settings = run.config[marker.step]
    if entry["score"] is None:
        return None
    options = []
    if settings.get("threshold") is not None:
        options.append(f"{marker.step}.threshold at or beyond {entry['score']:.6f}")
    if settings.get("keep_fraction") is not None or settings.get("keep_count"):
        options.append(f"a budget of {_place(run, marker, entry)} rows")
    return " and ".join(options) or None


def _place(run: RunView, marker: Marker, entry: Entry) -> int:
    """Return the row's place in the order (score, uid) of its step, from 1."""
    settings = run.config[marker.step]
    high_first = marker.kind == "score" or settings.get("keep_high", False)
    score = pl.col("score")
    better = score > entry["score"] if high_first else score < entry["score"]
    tied = (score == entry["score"]) & (pl.col("uid") <= entry["uid"])
    found = run.ledger(marker.step).select((better | tied).sum()).collect().item()
    return int(found)


def _quota(run: RunView, marker: Marker, entry: Entry) -> str | None:
    """Return the quota that the row's cluster would need."""
    steps = [m.step for m in run.markers]
    before = steps[: steps.index(marker.step)]
    clustered = [
        m.step for m in run.markers if m.kind == "cluster" and m.step in before
    ]
    clusters = run.artifact(clustered[-1], "clusters").select("uid", "cluster")
    members = run.ledger(marker.step).join(clusters, on="uid")
    own = members.filter(pl.col("uid") == entry["uid"]).collect()
    if own.is_empty():
        return None
    easy = run.config[marker.step].get("keep") == "easy" or marker.kind == "uniform"
    score = pl.col("score")
    better = score < entry["score"] if easy else score > entry["score"]
    tied = (score == entry["score"]) & (pl.col("uid") <= entry["uid"])
    mine = members.filter(pl.col("cluster") == own["cluster"][0])
    place, kept = (
        mine.select((better | tied).sum(), pl.col("keep").sum()).collect().row(0)
    )
    return (
        f"a budget that gives its cluster {place} rows instead of {kept} (it is number "
        f"{place} there)"
    )


_REMEDIES: dict[str, Callable[[RunView, Marker, Entry], str | None]] = {
    "exact": _exact,
    "rules": _rules,
    "semantic": _semantic,
    "score": _best,
    "custom": _best,
    "prototypes": _best,
    "random": _best,
    "complexity": _quota,
    "uniform": _quota,
}
