"""What a recipe would do: steps, reads and writes, rows, time, disk. Runs nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from winnow.config.run import RunConfig
from winnow.config.step_kinds import APPLY, INDEX
from winnow.core.inside import is_url
from winnow.core.marker import Marker
from winnow.core.run_folder import RunFolder
from winnow.core.words import number_of
from winnow.flows.fingerprints import of_input
from winnow.flows.image_text import Planned
from winnow.flows.other_run import refusal
from winnow.flows.pool import Pool
from winnow.flows.runner import Recipe
from winnow.flows.taking_over import Sources
from winnow.stores.copies import fetched, work_folder


def plan(config: RunConfig, sources: Sequence[Path] = ()) -> dict[str, Any]:
    """Return the checked steps with estimates; upper bounds where rows are unknown.

    sources: folders of runs, of which equal steps would be taken over.

    Raises ConfigError or InputError like `run`.
    """
    recipe = Recipe.of(config)
    pool, folder = recipe.pool, RunFolder(_standing(config.output.path))
    given = [RunFolder(source) for source in sources]
    known = Sources([folder.next, folder, folder.stale, *given])
    rows, entries = pool.rows, []
    for step, wanted in zip(recipe.steps, recipe.prints, strict=True):
        there = known.find(step.name, wanted.step)
        entries.append(_entry(step, recipe, rows, there, folder))
        rows = there[1].kept if there else _after(step, rows, pool.rows)
    source = of_input(config, pool.shards)
    first = recipe.prints[0].step
    return {
        "input": {"root": pool.root, "shards": len(pool.shards), "rows": pool.rows},
        "input_fingerprint": source,
        "output": config.output.path,
        "doubts": recipe.doubts,
        "refused": refusal(folder, config, pool, first),
        "steps": entries,
        "seconds": sum(entry["seconds"] for entry in entries),
        "bytes": sum(entry["bytes"] for entry in entries),
    }


def _standing(output: str) -> Path:
    """Return the folder that says which steps stand; of a URL, of a copy."""
    if not is_url(output):
        return Path(output)
    return fetched(output) or work_folder(output)


def _after(step: Planned, rows: int, pool_rows: int) -> int:
    """Return the most rows that can leave a step."""
    fraction = getattr(step.config, "keep_fraction", None)
    count = getattr(step.config, "keep_count", None)
    if fraction is not None:
        base: int = pool_rows if step.config.of == "pool" else rows
        # Rounded up: the exact budget is a decimal product, not a binary one.
        return min(rows, math.ceil(base * float(fraction)))
    return rows if count is None else min(rows, int(count))


def _entry(
    step: Planned,
    recipe: Recipe,
    rows: int,
    there: tuple[RunFolder, Marker] | None,
    folder: RunFolder,
) -> dict[str, Any]:
    config, done = recipe.config, there is not None
    elsewhere = there is not None and there[0].path not in (
        folder.path,
        folder.next.path,
    )
    return {
        "step": step.name,
        "rows_at_most": rows,
        "reads": _reads(step, config),
        "writes": _writes(step),
        "done": done,
        "taken_from": str(there[0].path) if there and elsewhere else None,
        "seconds": 0.0 if done else round(rows / _rate(step), 1),
        "bytes": 0 if done else _bytes(step, recipe.pool, rows),
    }


def _rate(step: Planned) -> int:
    return step.contract.rate or step.step.rate


def _reads(step: Planned, config: RunConfig) -> list[str]:
    columns = config.input.columns
    names = {"image": columns.image, "text": columns.text}
    reads = [f"input.{names[m]}" for m in sorted(step.contract.modalities)]
    reads += [f"input.{column}" for column in step.contract.columns]
    if step.name == INDEX and columns.uid:
        reads.append(f"input.{columns.uid}")
    if step.kind == APPLY:
        reads.append("input: all columns of surviving rows")
    return reads + [name.replace("_", " ") for name in sorted(step.contract.needs)]


def _writes(step: Planned) -> list[str]:
    writes = [f"artifacts/{step.name}/"]
    if step.contract.decides:
        writes.append(f"ledger/step={step.name}/")
    if step.kind == APPLY:
        writes += ["kept/", "subset.npy"]
    return writes


def _bytes(step: Planned, pool: Pool, rows: int) -> int:
    if step.kind == APPLY:
        whole = sum(shard.bytes for shard in pool.shards)
        return whole * rows // max(pool.rows, 1)
    return rows * step.contract.row_bytes


def tell(planned: dict[str, Any]) -> str:
    """Return the plan as text."""
    pool = planned["input"]
    lines = [
        f"{number_of(pool['rows'], 'row')} in {number_of(pool['shards'], 'shard')} "
        f"below {pool['root']}",
        f"to {planned['output']}",
    ]
    for entry in planned["steps"]:
        state = "done" if entry["done"] else f"about {entry['seconds']:,.1f} s"
        if entry["taken_from"]:
            state = f"taken over from {entry['taken_from']}"
        lines.append(
            f"  {entry['step']:<14} at most {number_of(entry['rows_at_most'], 'row')}, "
            f"{state}; "
            f"reads {', '.join(entry['reads']) or 'decisions'}; "
            f"writes {', '.join(entry['writes'])}"
        )
    lines.append(
        f"estimate: {planned['seconds']:,.0f} s on two cores, "
        f"{planned['bytes'] / 2**20:,.0f} MiB of disk"
    )
    lines += planned["doubts"]
    if planned["refused"]:
        lines.append(f"`winnow run` would refuse this: {planned['refused']}")
    return "\n".join(lines)
