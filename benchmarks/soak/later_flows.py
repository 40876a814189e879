"""Scenarios over a finished run of pictures: what looks at it, and what it feeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from kill_flows import MODEL, POOLS, Scenario, made, readers_of, recipe_file, uid_of

_STEPS = ["exact", "embed", "cluster", "semantic", "score", "apply"]


def looks(scratch: Path) -> list[Scenario]:
    """A map, an analysis, a proof, and an index of vectors that grows."""
    work = scratch / "work"
    run, index = work / "run", work / "index"
    first = run_of(scratch / "first.yaml", run, POOLS["scenes"])
    old = made(Scenario("run", work, [first]))
    other, held = scratch / "other", scratch / "held"
    second = run_of(scratch / "other.yaml", other / "run", POOLS["scenes_large"])
    made(Scenario("other", other, [second]))
    apart = run_of(scratch / "held.yaml", held / "run", POOLS["held"])
    made(Scenario("held", held, [apart]))
    build = ["index", "build", str(run), "--vectors", "image", "--out", str(index)]
    indexed = made(Scenario("indexed", work, [build], old))
    grow = [
        ["index", "add", str(index), str(other / "run")],
        ["index", "remove", str(index), "--uid", uid_of(3)],
        ["index", "compact", str(index)],
    ]
    near = ["near", str(index), "--uid", uid_of(5), "--json"]
    proof = ["prove", str(run), "--held-out", str(held / "run"), "--seeds", "2"]
    search = ["search", str(run), "--like", uid_of(5), "--all", "--json"]
    # A search keeps its lists beside the run.
    common: dict[str, Any] = {"before": old, "apart": ("run/search/",)}
    common["readers"] = [*readers_of(run), search]
    analyse = ["analyze", str(POOLS["scenes"]), "--out", str(work / "analysis"), "-q"]
    grown: dict[str, Any] = {
        "before": indexed,
        "readers": [["index", "show", str(index), "--json"], near],
    }
    return [
        Scenario("map", work, [["map", str(run), "-q"]], **common),
        Scenario("analyse", work, [analyse], **common),
        Scenario("prove", work, [[*proof, "--out", str(work / "p"), "-q"]], **common),
        Scenario("build", work, [build], **common),
        Scenario("grow", work, grow, **grown),
    ]


def run_of(file: Path, out: Path, pool: Path) -> list[str]:
    """Return the command that makes a run of a pool of pictures."""
    values = {
        "input": {"path": str(pool)},
        "output": {"path": str(out), "report": False},
        "model": {"name": MODEL, "precision": "float32", "batch_size": 8},
        "steps": _STEPS,
        "cluster": {"k": 4},
        "semantic": {"epsilon": 0.05},
        "score": {"keep_fraction": 0.7},
    }
    return ["run", recipe_file(file, values), "-q"]


def judgements(scratch: Path) -> list[Scenario]:
    """What chooses settings and shares by trainings, judges filters, and searches."""
    work, held = scratch / "work", scratch / "held"
    run, ranked = work / "run", work / "ranked"
    first = run_of(scratch / "first.yaml", run, POOLS["scenes"])
    _write_pairs(scratch / "pairs", 1300, 1)
    _write_pairs(scratch / "held_pairs", 100, 2)
    second = _run_of_pairs(scratch / "ranked.yaml", ranked, scratch / "pairs")
    old = made(Scenario("runs", work, [first, second]))
    apart = run_of(scratch / "held.yaml", held / "run", POOLS["held"])
    made(Scenario("held", held, [apart]))
    judged = ["--seeds", "2", "-q", "--held-out"]
    of_run, of_pairs = str(held / "run"), str(scratch / "held_pairs")
    over = ["--budget", ".5", "--over", "semantic.epsilon=.03,.2"]
    pools = [str(POOLS["scenes"]), str(POOLS["held"])]
    select = ["filter", "compare", MODEL, "--pool", pools[0], "--budget", ".5", "-q"]
    commands = {
        "tune": ["tune", str(run), *over, *judged, of_run, "--out"],
        "budget": ["budget", str(ranked), "--samples-seen", "300", *judged, of_pairs],
        "search": ["search", str(run), "--like", uid_of(5), "--all", "--json"],
        "eval": ["filter", "eval", MODEL, *pools, "-q", "--out"],
        "compare": [*select, "--out"],
    }
    commands["budget"].append("--out")
    return [
        Scenario(
            name,
            work,
            [words if name == "search" else [*words, str(work / name)]],
            before=old,
            readers=readers_of(run),
        )
        for name, words in commands.items()
    ]


def _write_pairs(folder: Path, rows: int, seed: int) -> None:
    """Write pairs with vectors: the caption's is the image's with noise."""
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(rows, 8)).astype(np.float32)
    texts = images + rng.normal(size=images.shape).astype(np.float32)
    table = pa.table(
        {
            "uid": [uid_of(10_000 * seed + row) for row in range(rows)],
            "text": [f"{seed} {row}" for row in range(rows)],
            "iv": pa.array(list(images), pa.list_(pa.float32())),
            "tv": pa.array(list(texts), pa.list_(pa.float32())),
        }
    )
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "0.parquet")


def _run_of_pairs(file: Path, out: Path, pool: Path) -> list[str]:
    values = {
        "input": {"path": str(pool), "columns": {"image": None}},
        "output": {"path": str(out), "report": False},
        "steps": ["embed", "score", "apply"],
        "embed": {"image_column": "iv", "text_column": "tv"},
        "score": {"keep_fraction": 0.3},
    }
    return ["run", recipe_file(file, values), "-q"]
