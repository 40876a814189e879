"""Scenarios over a finished run of pictures: what looks at it, and what it feeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
