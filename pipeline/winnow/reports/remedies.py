"""Which setting would have kept a dropped row."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from winnow.config.step_kinds import shown
from winnow.core.extensions import load_part
from winnow.core.marker import Marker
from winnow.reports.run_view import RunView

Entry = dict[str, Any]


def remedy(run: RunView, marker: Marker, entry: Entry) -> str | None:
    """Return the change of a setting that keeps this row, other things equal."""
    part = shown(marker.kind).remedy
    if part is None:
        return None
    words: str | None = load_part(part)(run, marker, entry)
    return words


def exact(run: RunView, marker: Marker, entry: Entry) -> str:
    """Return which criterion to take out."""
    criterion = entry["reason"].removeprefix("duplicate_")
    given = run.config[marker.step]["by"]
    # Images of equal bytes have equal pixels too.
    implied = ["image_pixels"] if criterion == "image_bytes" else []
    out = [name for name in given if name in (criterion, *implied)]
    if len(out) == len(given):
        return f"{marker.step} taken out of steps"
    names = " and ".join(f"'{name}'" for name in out)
    return f"{names} taken out of {marker.step}.by"


_RULES = {
    "too_few_words": "min_words",
    "too_few_chars": "min_chars",
    "too_many_words": "max_words",
    "too_many_chars": "max_chars",
    "too_small": "min_side",
    "too_elongated": "max_aspect",
}


def rules(run: RunView, marker: Marker, entry: Entry) -> str | None:
    """Return the bound that lets the row through."""
    if entry["reason"] == "other_language":
        return f"{marker.step}.languages widened"
    setting = _RULES.get(entry["reason"])
    if setting is None:
        return None
    bound = _at_most if setting.startswith("min") else _at_least
    return f"{marker.step}.{setting} {bound(entry['score'])}"


def where(run: RunView, marker: Marker, entry: Entry) -> str:
    """Return that the condition has to become another."""
    answer = entry["reason"].removeprefix("where_")
    return f"a {marker.step}.condition that is not {answer} for it"


def decontaminate(run: RunView, marker: Marker, entry: Entry) -> str:
    """Return what every criterion that the row meets would have to become."""
    removed = run.artifact(marker.step, "removed").filter(pl.col("uid") == entry["uid"])
    changes = []
    for hit in removed.collect().to_dicts():
        match hit["criterion"]:
            case "image_vectors" if hit["similarity"] < 1.0:
                below = _floor(1.0 - hit["similarity"])
                changes.append(f"{marker.step}.max_distance {_at_most(below)}")
            case "perceptual_hash" if hit["similarity"] < 1.0:
                bits = round(64 * (1.0 - hit["similarity"]))
                changes.append(f"{marker.step}.max_bits at most {bits - 1}")
            case criterion:
                changes.append(f"'{criterion}' taken out of {marker.step}.by")
    return " and ".join(changes)


def semantic(run: RunView, marker: Marker, entry: Entry) -> str | None:
    """Return the largest epsilon that keeps the row."""
    if run.config[marker.step]["semantics"] == "components":
        # A chain of later rows may link it to an earlier one at any epsilon.
        return None
    # A smaller epsilon keeps rows that are nearer than the twin of today; none is
    # nearer than the most similar earlier row, and exactly 1 − ε is kept.
    stored = run.artifact(marker.step, "neighbours").filter(
        pl.col("uid") == entry["uid"]
    )
    similarity = stored.collect()["similarity"]
    if not len(similarity):
        return _beside_index(marker, entry)
    epsilon = _floor(1.0 - similarity.item())
    if epsilon <= 0.0:
        return f"{marker.step} taken out: the two are identical to the model"
    return f"{marker.step}.epsilon {_at_most(epsilon)}"


def _beside_index(marker: Marker, entry: Entry) -> str:
    """Return the largest epsilon at which the index leaves the row in the run."""
    epsilon = _floor(1.0 - entry["score"])
    if epsilon <= 0.0:
        return f"{marker.step}.index taken out: the two are identical to the model"
    # Its neighbours in the run were not looked for, since the index came first.
    unless = "unless an earlier row of this run is as near"
    return f"{marker.step}.epsilon {_at_most(epsilon)}, {unless}"


def minhash(run: RunView, marker: Marker, entry: Entry) -> str | None:
    """Return the smallest threshold that keeps the row."""
    settings = run.config[marker.step]
    if not settings["verify"]:
        return f"{marker.step}.verify=true, unless the two prove to be alike"
    if settings["mode"] == "components":
        # A chain of other rows may link it to an earlier one at any threshold.
        return None
    most = entry["score"]
    if run.has_artifact(marker.step, "pairs"):
        most = max(most, _most_similar(run, marker, entry["uid"]))
    if most >= 1.0:
        return f"{marker.step} taken out: the two have the same shingles"
    return f"{marker.step}.threshold above {-_floor(-most):.12g}"


def _most_similar(run: RunView, marker: Marker, uid: str) -> float:
    """Return a row's largest similarity to a preferred row, of the pairs compared."""
    rows = run.artifact(marker.step, "rows").select("uid").with_row_index("member")
    member = rows.filter(pl.col("uid") == uid).select(pl.col("member").cast(pl.UInt32))
    pairs = run.artifact(marker.step, "pairs").select("member", "jaccard")
    similarity = pairs.join(member, on="member").select(pl.col("jaccard").max())
    return float(similarity.collect().item() or 0.0)


def best(run: RunView, marker: Marker, entry: Entry) -> str | None:
    """Return the threshold, the budget or both that reach the row."""
    settings, score = run.config[marker.step], entry["score"]
    if score is None:
        return None
    options = []
    threshold, budget = settings.get("threshold"), marker.facts.get("budget")
    high = _high_first(marker, settings)
    if threshold is not None and (score < threshold if high else score > threshold):
        bound = _at_most if high else _at_least
        options.append(f"{marker.step}.threshold {bound(score)}")
    needed = _budget(run, marker, entry)
    if budget is not None and needed > budget:
        options.append(f"a budget of {needed} rows")
    return " and ".join(options) or None


def _high_first(marker: Marker, settings: dict[str, Any]) -> bool:
    """Whether a step keeps high scores."""
    if "keep_high" in settings:
        return bool(settings["keep_high"])
    if "keep" in settings:
        return bool(settings["keep"] != "easy")
    return shown(marker.kind).high_first


def _budget(run: RunView, marker: Marker, entry: Entry) -> int:
    """Return the least budget that reaches the row: its place in (score, uid)."""
    score = pl.col("score")
    if _high_first(marker, run.config[marker.step]):
        better = score > entry["score"]
    else:
        better = score < entry["score"]
    ledger = run.ledger(marker.step)
    if run.config[marker.step].get("ties") == "keep":
        # One row more than the budget sets the score that is enough.
        return int(ledger.select(better.sum()).collect().item())
    tied = (score == entry["score"]) & (pl.col("uid") <= entry["uid"])
    return int(ledger.select((better | tied).sum()).collect().item())


def soft_cap(run: RunView, marker: Marker, entry: Entry) -> str | None:
    """Return draws that reach every row; those that only reach this one are unknown.

    The race's times are not stored, and a row's chance of a draw depends on all others.
    """
    if entry["score"] is None:
        return None
    rows = run.ledger(marker.step).select(pl.col("score").count()).collect().item()
    step = marker.step
    relative = run.config[step].get("total_fraction") is not None
    instead = f" instead of {step}.total_fraction" if relative else ""
    return f"{step}.penalty=.inf and {step}.total={rows}{instead}: each row once"


def overrides(run: RunView, marker: Marker, entry: Entry) -> str:
    """Return whose entry to take out."""
    return f"its entry taken out of {marker.facts.get('file')}"


def _floor(value: float) -> float:
    return math.floor(value * 1e6) / 1e6


def _at_most(value: float) -> str:
    return f"at most {_floor(value):.12g}"


def _at_least(value: float) -> str:
    return f"at least {-_floor(-value):.12g}"
