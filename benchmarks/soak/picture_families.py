"""Families of hostile inputs over pictures: a filter, a run, an index, damaged."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

from families import Ground, command_line, one_damaged
from kill_flows import POOLS, filter_train, make_pools, uid_of
from later_flows import run_of


@cache
def _scratch(ground: Ground) -> Path:
    """Pools of pictures, and what is made of them once, below the ground."""
    scratch = ground.folder / "pictures"
    make_pools(scratch)
    command_line(run_of(scratch / "run.yaml", scratch / "run", POOLS["scenes"]))
    build = ["index", "build", str(scratch / "run"), "--vectors", "image"]
    command_line([*build, "--out", str(scratch / "index")])
    command_line(_training(scratch, scratch / "filter"))
    return scratch


def _training(scratch: Path, out: Path) -> list[str]:
    (tiny, *_) = filter_train(scratch / "training")
    return [*tiny.commands[0], "--out", str(out), "-q"]


def filters(rng: random.Random, ground: Ground) -> None:
    """A trained filter with one file changed or gone, judged, trained, scored by."""
    scratch = _scratch(ground)
    copy = ground.scratch() / "filter"
    one_damaged(rng, scratch / "filter", copy)
    pool = str(POOLS["scenes"])
    judge = ["filter", "eval", str(copy), pool, "--json"]
    scored = run_of(copy.with_name("r.yaml"), copy.with_name("run"), POOLS["scenes"])
    command_line(
        rng.choice(
            (
                judge,
                [*judge, "--only", str(copy / "held_out.txt")],
                ["filter", "compare", str(copy), "--pool", pool, "--budget", ".5"],
                [*scored, "--set", f"model.name=local-dir:{copy}"],
                _training(scratch, copy),
            )
        )
    )


def picture_runs(rng: random.Random, ground: Ground) -> None:
    """A run with vectors with one file changed or gone, asked by what reads them."""
    scratch = _scratch(ground)
    copy = ground.scratch() / "run"
    one_damaged(rng, scratch / "run", copy)
    run, out = str(copy), str(copy.with_name("out"))
    command_line(
        rng.choice(
            (
                ["search", run, "--like", uid_of(5), "--all"],
                ["map", run, "-q"],
                ["what-if", run, "--set", "semantic.epsilon=0.2", "-q"],
                ["prove", run, "--held-out", str(POOLS["held"]), "--seeds", "2", "-q"],
                ["export", run, "--to", "clip-retrieval", "--out", out],
                ["export", run, "--to", "webdataset", "--out", out],
                ["index", "build", run, "--vectors", "image", "--out", out],
                ["report", run],
                ["run", f"{run}/config.lock.yaml", "--out", run, "-q"],
            )
        )
    )


def vector_indexes(rng: random.Random, ground: Ground) -> None:
    """An index of vectors with one file changed or gone, asked by every command."""
    scratch = _scratch(ground)
    copy = str(ground.scratch() / "index")
    one_damaged(rng, scratch / "index", Path(copy))
    command_line(
        rng.choice(
            (
                ["near", copy, "--uid", uid_of(5)],
                ["index", "show", copy],
                ["index", "check", copy],
                ["index", "add", copy, str(scratch / "run")],
                ["index", "remove", copy, "--uid", uid_of(3)],
                ["index", "compact", copy],
                ["index", "repair", copy],
            )
        )
    )


PICTURES: dict[str, Callable[[random.Random, Ground], None]] = {
    family.__name__: family for family in (filters, picture_runs, vector_indexes)
}
