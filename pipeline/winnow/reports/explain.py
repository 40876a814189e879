"""The whole story of one row: each step, its score against the cut, its twin's fate.

`explain` gathers plain values; `tell` turns them into sentences.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from winnow.config.step_kinds import INDEX, OVERRIDES, meant, shown
from winnow.core.errors import InputError
from winnow.core.marker import Marker
from winnow.reports.remedies import remedy
from winnow.reports.run_view import RunView

#: Uids that a hint names.
_NEAR = 3


def explain(run: RunView, uid: str) -> dict[str, Any]:
    """Return the story of a row: fate, place in the input, and one entry per step.

    The fate is kept, dropped or quarantined; undecided if the run is not finished and
    no step has ended the row so far.

    Raises InputError if the run has no such uid.
    """
    origin = _place(run, uid)
    fate, last = ("kept" if run.finished else "undecided"), None
    story: list[dict[str, Any]] = []
    for marker in run.markers:
        entry = _chapter(run, marker, uid)
        story.append(entry)
        if entry["fate"] in ("dropped", "quarantined"):
            fate, last = entry["fate"], marker.step
            break
    return {"uid": uid, "fate": fate, "at_step": last, **origin, "steps": story}


def _place(run: RunView, uid: str) -> dict[str, Any]:
    for name in ("samples", "rejected"):
        if not run.has_artifact(INDEX, name):
            continue
        row = _row(run.artifact(INDEX, name), uid)
        if row is not None:
            return {"source": row["source"], "row": row["row"]}
    near = _beginning(run, uid)
    hint = f"did you mean {near}?" if near else "uids are those of the input"
    raise InputError(f"this run has no row '{uid}'; {hint}")


def _beginning(run: RunView, uid: str) -> str:
    """Return the first uids that begin so, in words."""
    samples = run.artifact(INDEX, "samples").select("uid")
    alike = samples.filter(pl.col("uid").str.starts_with(uid)) if uid else None
    if alike is None:
        return ""
    uids = alike.sort("uid").head(_NEAR).collect()["uid"].to_list()
    return " or ".join(f"'{one}'" for one in uids)


def _row(frame: pl.LazyFrame, uid: str) -> dict[str, Any] | None:
    rows = frame.filter(pl.col("uid") == uid).collect().to_dicts()
    return rows[0] if rows else None


def _chapter(run: RunView, marker: Marker, uid: str) -> dict[str, Any]:
    """Return what one step made of the row."""
    entry: dict[str, Any] = {"step": marker.step, "fate": "passed"}
    if marker.quarantined:
        rejected = _row(run.rejects(marker.step), uid)
        if rejected is not None:
            entry |= {"fate": "quarantined", "reason": rejected["reason"]}
            return {**entry, "meaning": meant(marker.kind, rejected["reason"])}
    if "clusters" in marker.provides:
        return {**entry, **_cluster(run, marker.step, uid)}
    if not marker.decides:
        return entry
    decision = _row(run.ledger(marker.step), uid)
    if decision is None:
        return {**entry, "fate": "unknown"}
    keep = decision.pop("keep")
    entry |= {**decision, "fate": "kept" if keep else "dropped"}
    entry["meaning"] = meant(marker.kind, decision["reason"])
    if decision["reason"].startswith("override_"):
        entry |= _override(run, marker, uid)
    entry |= _standing(run, marker, decision)
    if decision["kept_twin"] is not None:
        where = shown(marker.kind).twins
        entry["twin_fate"] = (
            _fate_after(run, decision["kept_twin"]) if where == "in the run" else where
        )
    if decision["reason"] == "unique_among_kept":
        stored = _row(run.artifact(marker.step, "neighbours"), uid)
        if stored is not None:
            names = {"nearest_earlier": "twin", "nearest_similarity": "similarity"}
            entry |= {name: stored[column] for name, column in names.items()}
    if run.has_artifact(marker.step, "duplicates"):
        stored = _row(run.artifact(marker.step, "duplicates"), uid)
        entry |= {"shared_band": stored["band"]} if stored else {}
    if not keep:
        entry["would_be_kept"] = remedy(run, marker, {**entry, "uid": uid})
    return entry


def _cluster(run: RunView, step: str, uid: str) -> dict[str, Any]:
    clusters = run.artifact(step, "clusters")
    member = _row(clusters, uid)
    if member is None:
        return {}
    members = clusters.filter(pl.col("cluster") == member["cluster"]).select(
        size=pl.len(), farther=(pl.col("distance") > member["distance"]).sum()
    )
    size, farther = members.collect().row(0)
    return {
        "cluster": member["cluster"],
        "distance": member["distance"],
        "cluster_size": size,
        "rank_from_farthest": farther + 1,
    }


def _standing(run: RunView, marker: Marker, decision: dict[str, Any]) -> dict[str, Any]:
    """Return the row's rank among all rows that this step decided."""
    if decision["score"] is None or not shown(marker.kind).ranked:
        return {}
    better = run.ledger(marker.step).select(
        higher=(pl.col("score") > decision["score"]).sum(),
        lower=(pl.col("score") < decision["score"]).sum(),
        rows=pl.col("score").len(),
    )
    higher, lower, rows = better.collect().row(0)
    return {"higher_scores": higher, "lower_scores": lower, "scored_rows": rows}


def _override(run: RunView, marker: Marker, uid: str) -> dict[str, Any]:
    """Return what the step itself decided, and the note of whoever knew better."""
    facts: dict[str, Any] = {}
    if run.has_artifact(marker.step, "rescued"):
        undone = _row(run.artifact(marker.step, "rescued"), uid)
        if undone is not None:
            undone["twin"] = undone.pop("kept_twin")
            facts["without_override"] = {
                name: undone[name] for name in ("reason", "score", "threshold", "twin")
            }
    if marker.kind == OVERRIDES:
        given = _row(run.artifact(marker.step, "given"), uid)
        facts["note"] = given["note"] if given else ""
    return facts


def _fate_after(run: RunView, twin: str) -> str:
    """Return what finally became of a twin, which survived the step that names it."""
    for marker in run.markers:
        if marker.quarantined and _row(run.rejects(marker.step), twin):
            return f"quarantined at {marker.step}"
        if not marker.decides:
            continue
        decision = _row(run.ledger(marker.step), twin)
        if decision is not None and not decision["keep"]:
            return f"dropped at {marker.step} ({decision['reason']})"
    return "kept"


def tell(story: dict[str, Any]) -> str:
    """Return the story as text."""
    where = f" at {story['at_step']}" if story["at_step"] else ""
    lines = [
        f"{story['uid']}: {story['fate']}{where}",
        f"  from {story['source']}, row {story['row']}",
    ]
    lines += [f"  {step:<12} {sentence}" for step, sentence in sentences(story)]
    return "\n".join(lines)


def sentences(story: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what each step said of the row, in words."""
    return [(entry["step"], _sentence(entry)) for entry in story["steps"]]


def _why(entry: dict[str, Any]) -> str:
    text = f"{entry['fate']}: {entry.get('reason', 'no decision on record')}"
    if entry["fate"] == "kept" or not entry.get("meaning"):
        return text
    meaning = str(entry["meaning"]).rstrip(".")
    return f"{text} ({meaning[0].lower()}{meaning[1:]})"


def _sentence(entry: dict[str, Any]) -> str:
    if "cluster" in entry:
        return (
            f"in cluster {entry['cluster']} with {entry['cluster_size']} rows; "
            f"distance {entry['distance']:.4f} from its centroid, number "
            f"{entry['rank_from_farthest']} from the far end"
        )
    if entry["fate"] == "passed":
        return "passed"
    text = _why(entry)
    if entry.get("score") is not None:
        text += f"; score {entry['score']:.4f}"
        if entry.get("threshold") is not None:
            text += f" against {entry['threshold']:.4f}"
    if "higher_scores" in entry:
        text += (
            f" ({entry['higher_scores']} of {entry['scored_rows']} rows score higher)"
        )
    if entry.get("nearest_earlier"):
        text += (
            f"; the nearest earlier row, {entry['nearest_earlier']} "
            f"({entry['nearest_similarity']:.4f}), had itself gone"
        )
    if entry.get("kept_twin"):
        text += f"; its twin {entry['kept_twin']} is {entry['twin_fate']}"
    if entry.get("shared_band") is not None:
        text += f"; they share band {entry['shared_band']}"
    if "without_override" in entry:
        text += f"; {entry['without_override']['reason']} without it"
        if entry["without_override"]["twin"]:
            text += f", with the twin {entry['without_override']['twin']}"
    if entry.get("note"):
        text += f"; note: {entry['note']}"
    if entry.get("would_be_kept"):
        text += f"; would be kept with {entry['would_be_kept']}"
    return text
