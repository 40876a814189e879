"""A proof as plain text."""

from __future__ import annotations

import json
from typing import Any

from winnow.filters.judge.telling import align
from winnow.filters.prove.verdict import words_of


def tell_proof(result: dict[str, Any]) -> str:
    """Return a proof for a terminal: a table for each run, its verdict last."""
    lines = [
        f"{result['proxy']}; {result['seeds']} seeds, judged on "
        f"{result['held_out_rows']:,} rows held out"
    ]
    lines += leak_lines(result)
    for run in result["runs"]:
        names = list(run["against_random"])
        head: tuple[str, ...] = (run["run"], "rows", *map(words_of, names))
        table = [head]
        table += [
            (arm["trained_on"], f"{arm['rows']:,}", *(_value(arm[n]) for n in names))
            for arm in run["arms"]
        ]
        for key, title in (
            ("against_random", "kept less random"),
            ("against_whole", "kept less whole pool"),
        ):
            table.append((title, "", *(_gap(run[key][name]) for name in names)))
        lines += ["", *align(table), f"({run['steps']:,} steps each)"]
    return "\n".join([*lines, "", *(run["verdict"] for run in result["runs"])])


def leak_lines(result: dict[str, Any]) -> list[str]:
    """Say which held-out rows were left out, and which are suspicious."""
    lines = []
    leaks = result["leaks"]
    if leaks["rows"]:
        lines.append(
            f"{leaks['rows']:,} held-out rows stand in the pool with the very same "
            f"content and were left out, among them {leaks['examples'][0]}"
        )
    if result["near_copies"]:
        lines.append(
            f"{result['near_copies']:,} held-out rows have a row of the pool at a "
            "cosine of .99 or more; they stay, and may flatter every selection"
        )
    return lines


def _value(span: dict[str, Any]) -> str:
    return f"{span['mean']:.4f}"


def _gap(span: dict[str, Any]) -> str:
    return f"{span['mean']:+.4f} [{span['low']:+.4f}, {span['high']:+.4f}]"


def tell_tuning(result: dict[str, Any]) -> str:
    """Return what was tried, and what is recommended, for a terminal."""
    metric = result["metric"]
    head: tuple[str, ...] = ("settings", words_of(metric), "trainings")
    table = [head]
    table += [
        (_settings(row["set"]), f"{row[metric]:.4f}", str(row["trainings"]))
        for row in result["candidates"]
    ]
    lines = [
        f"{len(result['candidates'])} candidates of {result['budget']:,} rows, chosen "
        f"on {result['chose_on']:,} held-out rows; {result['proxy']}",
        *align(table),
    ]
    lines += [
        f"left out: {_settings(row['set'])}, as {row['why']}"
        for row in result["left_out"]
    ]
    lines += ["", f"recommended: {_settings(result['chosen'])}"]
    if "against_given" in result:
        gap = _gap(result["against_given"][metric])
        lines.append(f"less the recipe as it was, {words_of(metric)}: {gap}")
    return "\n".join(
        [*lines, f"judged on {result['judged_on']:,} others: {result['verdict']}"]
    )


def _settings(settings: list[str]) -> str:
    return " ".join(settings) or "(the recipe as it is)"


def tell_spending(result: dict[str, Any]) -> str:
    """Return what rows of each rank teach, and which share to keep, for a terminal."""
    metric = words_of(result["metric"])
    head = ("rank", *(f"{p:g}" for p in result["passes"]), "utility", "half-life")
    table: list[tuple[str, ...]] = [head]
    count = len(result["buckets"])
    for number, bucket in enumerate(result["buckets"]):
        name = f"{number / count:.0%} to {(number + 1) / count:.0%}"
        cells = [f"{error:.4f}" for error in bucket["errors"]]
        spans = [_short(bucket[key]) for key in ("utility", "half_life")]
        table.append((name, *cells, *spans))
    lines = [
        f"{result['rows']:,} rows that reach {result['step']}, best first; "
        f"{result['trained_rows']:,} of each part trained on; {result['proxy']}",
        *leak_lines(result),
        "",
        f"1 − {metric} on {result['held_out_rows']:,} rows held out, by passes over "
        "the part; how fast it falls; passes after which a row teaches half",
        *align(table),
        "",
    ]
    return "\n".join([*lines, *map(_share_line, result["recommended"])])


def _short(span: dict[str, Any]) -> str:
    return f"{span['value']:.2f} [{span['low']:.2f}, {span['high']:.2f}]"


def _share_line(row: dict[str, Any]) -> str:
    beyond = "; beyond what was measured" if row["beyond_measured"] else ""
    share = f"{row['keep_fraction']:.3g} [{row['low']:.3g}, {row['high']:.3g}]"
    return (
        f"{row['samples_seen']:,} samples seen: keep_fraction {share}, "
        f"{row['passes']:.3g} passes{beyond}"
    )


def tell_weighing(result: dict[str, Any]) -> str:
    """Return learned weights, what their mixture trains, and a recipe's piece."""
    metric = result["metric"]
    weights: list[tuple[str, ...]] = [("score", "weight", "± over seeds", "given")]
    for term in result["terms"]:
        given = "" if term["given"] is None else f"{term['given']:g}"
        weights.append(
            (term["name"], f"{term['weight']:.3f}", f"{term['spread']:.3f}", given)
        )
    means = {arm["trained_on"]: arm[metric] for arm in result["arms"]}
    kept: list[tuple[str, ...]] = [
        ("kept by", words_of(metric), "other rows", "learned less this"),
        (result["arms"][0]["trained_on"], _value(result["arms"][0][metric]), "", ""),
    ]
    for other in result["against"]:
        value = _value(means[other["selection"]])
        share = f"{other['rows_differ']:.1%}"
        kept.append((other["selection"], value, share, _gap(other[metric])))
    return "\n".join(
        [
            f"weights learned on {result['learned_on']:,} held-out pairs, "
            f"{result['seeds']} seeds; scores scaled by normalise: standard",
            *leak_lines(result),
            *align(weights),
            "",
            f"{result['budget']:,} of {result['rows']:,} rows kept; {result['proxy']}; "
            f"judged on {result['judged_on']:,} other pairs",
            *align(kept),
            "",
            *_piece(result["recipe"]),
            "",
            result["verdict"],
        ]
    )


def _piece(recipe: dict[str, Any]) -> list[str]:
    """Return a part of a recipe as YAML, a term on each line."""
    ((name, section),) = recipe.items()
    lines = [f"{name}:", "  terms:"]
    lines += [f"    - {json.dumps(term)}" for term in section["terms"]]
    others = {key: value for key, value in section.items() if key != "terms"}
    return [*lines, *(f"  {key}: {json.dumps(v)}" for key, v in others.items())]
