"""Pages of judged and compared filters, from their plain figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from winnow.filters.page.charts import reliability, score_histogram, score_strips
from winnow.pages.drawing import draw
from winnow.pages.page import render, write_page
from winnow.reports.page.pictures import Picture, fill

Row = Mapping[str, Any]

_STRIPS = 30
_TEXT = 80


@dataclass(frozen=True)
class PlainTable:
    """A table of words and numbers as they are shown; the first column is words."""

    caption: str
    head: list[str]
    rows: list[list[str]]
    #: Rows that stand out, by number.
    marked: frozenset[int] = frozenset()
    #: EvaluationColumns of words, by number.
    words: frozenset[int] = frozenset({0})


@dataclass
class PagePart:
    """One section of a page."""

    id: str
    title: str
    notes: list[str] = field(default_factory=list)
    charts: list[Markup] = field(default_factory=list)
    tables: list[PlainTable] = field(default_factory=list)
    #: Titles with the samples below them, and what is said of each sample.
    galleries: list[tuple[str, list[tuple[Picture, str]]]] = field(default_factory=list)


def write_evaluation(folder: Path, result: Row) -> Path:
    """Write the figures of `winnow filter eval` as FOLDER/report.html."""
    parts = [_figures_part(result)]
    if "domains" in result:
        parts.append(_domains_part(result["domains"]))
    for name, details in result.get("details", {"": result}).items():
        parts += _detail_parts(name, details)
    if "leakage" in result:
        parts.append(_leakage_part(result["leakage"]))
    title = f"What {result['model']} can tell apart"
    return write(
        folder, title, f"{result['n']:,} images, {result['pairs']:,} pairs", parts
    )


def write(folder: Path, title: str, about: str, parts: Sequence[PagePart]) -> Path:
    """Write parts of a page as FOLDER/report.html."""
    target = folder / "report.html"
    page = render(
        "winnow.filters.page",
        "filters.html.j2",
        title=title,
        about=about,
        parts=list(parts),
    )
    write_page(target, page)
    return target


def _figures_part(result: Row) -> PagePart:
    other = result["text_to_image"]
    rows = [
        ["right above a random caption", share(result["auc_random"])],
        ["right above a hard caption", share(result["auc_hard"])],
        ["… of another image of the cluster", share(result["auc_same_cluster"])],
        ["… its own with a word changed", share(result["auc_swapped"])],
        [f"precision of the best {result['k']:,}", share(result["precision_at_k"])],
        ["… against hard captions", share(result["precision_at_k_hard"])],
        *(
            [f"image to caption, recall at {k}", share(result[f"recall_at_{k}"])]
            for k in (1, 5, 10)
        ),
        *(
            [f"caption to image, recall at {k}", share(other[f"recall_at_{k}"])]
            for k in (1, 5, 10)
        ),
    ]
    part = PagePart("figures", "Figures")
    part.tables.append(PlainTable("Held-out figures", ["figure", "value"], rows))
    label = "Histogram of the scores of right pairs, random and hard wrong ones"
    part.charts.append(draw(score_histogram(result["histogram"]), label))
    return part


def _domains_part(domains: Sequence[Row]) -> PagePart:
    part = PagePart("domains", "By domain")
    part.notes.append(
        "The drop is the distance to the best domain: a filter is only as good as the "
        "pool that it was trained on."
    )
    part.tables.append(group_table("Domains", domains, drops=True))
    return part


def group_table(
    caption: str, rows: Sequence[Row], *, drops: bool = False
) -> PlainTable:
    """Return areas by group or domain, with drops where they are there."""
    head = ["group", "images", "random", "hard"]
    head += ["drop, random", "drop, hard"] if drops else []
    shown = []
    for row in rows:
        cells = [
            words(row["group"]),
            f"{row.get('images', row.get('n')):,}",
            share(row["auc_random"]),
            share(row["auc_hard"]),
        ]
        if drops:
            cells += [share(row["drop_auc_random"]), share(row["drop_auc_hard"])]
        shown.append(cells)
    return PlainTable(caption, head, shown)


def _detail_parts(name: str, result: Row) -> list[PagePart]:
    of, mark = (f" of {name}", f"-{name}") if name else ("", "")
    parts = [_groups_part(result["caption_groups"], of, mark)]
    if result["calibration"]:
        parts.append(_calibration_part(result["calibration"], of, mark))
    parts.append(_clusters_part(result, of, mark))
    for column, rows in result["by"].items():
        part = PagePart(f"by-{column}{mark}", f"By {column}{of}")
        part.charts.append(_strips(rows, result["bar_edges"], f"Scores by {column}"))
        part.tables.append(group_table(f"Values of {column}", rows))
        parts.append(part)
    return [part for part in parts if part.tables or part.notes]


def _strips(rows: Sequence[Row], edges: Sequence[float], label: str) -> Markup:
    shown = [
        {"label": words(row["group"], 24), "bars": row["bars"]}
        for row in rows[:_STRIPS]
    ]
    return draw(score_strips(shown, edges), label)


def _calibration_part(result: Row, of: str, mark: str) -> PagePart:
    part = PagePart(f"calibration{mark}", f"Calibration{of}")
    part.notes.append(
        "A logistic fit of the score, fitted on one half of the images and measured on "
        "the other, says how likely a pair is right when half of all are: expected "
        f"error {share(result['ece'])}, Brier score {share(result['brier'])}; an even "
        f"chance lies at a score of {share(result['even_at'])}."
    )
    label = "Predicted chances against shares that are right"
    part.charts.append(draw(reliability(result["bins"]), label))
    rows = [
        [
            f"{bar['low']:.1f} to {bar['high']:.1f}",
            f"{bar['rows']:,}",
            share(bar["predicted"]),
            share(bar["observed"]),
        ]
        for bar in result["bins"]
    ]
    head = ["chance", "pairs", "predicted", "observed"]
    part.tables.append(PlainTable("Reliability", head, rows))
    return part


def _clusters_part(result: Row, of: str, mark: str) -> PagePart:
    part = PagePart(f"clusters{mark}", f"By cluster of the images{of}")
    rows = [
        {**row, "group": f"{row['group']}: {words('; '.join(row['examples']))}"}
        for row in result["clusters"]
    ]
    part.charts.append(
        _strips(result["clusters"], result["bar_edges"], "Scores by cluster")
    )
    part.tables.append(group_table("Clusters, the largest first", rows))
    return part


def _groups_part(split: Row, of: str, mark: str) -> PagePart:
    part = PagePart(f"captions{mark}", f"Captions that repeat{of}")
    if not split["groups"]:
        return part
    part.notes.append(
        f"{split['boilerplate_rows']:,} captions stand more than {split['more_than']} "
        f"times (digits alike). One of the {split['informative_rows']:,} others "
        "outranks one of them with a chance of "
        f"{share(split['informative_above_boilerplate'])}: {split['verdict']}."
    )
    if split["not_separated"]:
        part.notes.append(
            f"The score fails to separate {len(split['not_separated'])} of "
            f"{len(split['groups'])} groups ({split['rows_not_separated']:,} rows) "
            "from informative captions; they are marked."
        )
    marked = frozenset(
        line + 1
        for line, group in enumerate(split["groups"])
        if group["caption"] in split["not_separated"]
    )
    head = ["caption", "rows", "median place", "in best 15 %", "in best 30 %",
            "in best 50 %", "informative above", "verdict"]  # fmt: skip
    part.tables.append(
        PlainTable("Where they land", head, _landings(split), marked, frozenset({0, 7}))
    )
    return part


def _landings(result: Row) -> list[list[str]]:
    """Return where informative captions land, and then those of each group."""
    count, landed = result["informative_rows"], result["informative"]
    informative = _landing("(informative captions)", count, landed, "", "")
    groups = [
        _landing(
            g["caption"], g["rows"], g, share(g["informative_above"]), g["verdict"]
        )
        for g in result["groups"]
    ]
    return [informative, *groups]


def _landing(name: str, rows: int, landing: Row, above: str, verdict: str) -> list[str]:
    best = [share(value) for value in landing["among_best"].values()] or ["–"] * 3
    return [
        words(name),
        f"{rows:,}",
        share(landing["median_place"]),
        *best,
        above,
        verdict,
    ]


def _leakage_part(checks: Sequence[Row]) -> PagePart:
    part = PagePart("leakage", "Leakage")
    rows = [
        [
            words(check["train"]),
            f"{check['train_images']:,}",
            f"{check['evaluation_images']:,}",
            f"{check['leaked']:,}",
            f"{check['nearest_distance']:.3f}",
            f"{check['nearest_bits']}",
        ]
        for check in checks
    ]
    first = checks[0]
    part.notes.append(
        f"Images within a cosine distance of {first['max_distance']:g}, or "
        f"{first['max_bits']} bits of their perceptual hashes, of a training image."
    )
    head = ["training data", "its images", "images", "leaked", "nearest", "bits"]
    marked = frozenset(i for i, check in enumerate(checks) if not check["clean"])
    part.tables.append(PlainTable("Checks", head, rows, marked))
    items = [
        [item["uid"], item["train_by_vector"], f"{item['distance']:.3f}",
         item["train_by_hash"], str(item["bits"])]
        for check in checks
        for item in check["items"]
    ]  # fmt: skip
    if items:
        head = ["image", "training image by vector", "distance", "by hash", "bits"]
        part.tables.append(PlainTable("Leaked images", head, items))
    return part


def words(text: str, most: int = _TEXT) -> str:
    """Return a caption on one line, cut to `most` characters."""
    line = " ".join(str(text).split()) or "(empty)"
    return line if len(line) <= most else line[: most - 1] + "…"


def share(value: float | None) -> str:
    """Return a share or score to three digits."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def picture(uid: str, caption: str, image: bytes | None) -> Picture:
    """Return a sample with its thumbnail."""
    sample = Picture(uid, caption)
    fill(sample, image)
    return sample
