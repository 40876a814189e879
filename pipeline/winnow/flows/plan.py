"""What a recipe would do: steps, reads and writes, rows, time, disk. Runs nothing."""

from __future__ import annotations

import math
from typing import Any

from winnow.config.registry import APPLY, INDEX
from winnow.config.run import RunConfig
from winnow.core.run_folder import RunFolder
from winnow.flows import fingerprints
from winnow.flows.image_text import Planned, check_columns, ordered_steps
from winnow.flows.overrides import overrides_of
from winnow.flows.pool import Pool, open_pool


def plan(config: RunConfig) -> dict[str, Any]:
    """Return the checked steps with estimates; upper bounds where rows are unknown.

    Raises ConfigError or InputError like `run`.
    """
    steps = ordered_steps(config)
    pool = open_pool(config)
    check_columns(config, pool.schema, steps)
    folder = RunFolder(config.output.path)
    overrides = overrides_of(steps)
    rows, entries = pool.rows, []
    upstream = source = fingerprints.of_input(config, pool.shards)
    done_so_far = True
    for step in steps:
        upstream = fingerprints.of_step(step, config, upstream)
        wanted = fingerprints.overridden(step, upstream, overrides)
        marker = folder.marker(step.name)
        done_so_far = (
            done_so_far and marker is not None and marker.fingerprint == wanted
        )
        entries.append(_entry(step, config, pool, rows, done=done_so_far))
        rows = marker.kept if done_so_far and marker else _after(step, rows, pool.rows)
    return {
        "input": {"root": pool.root, "shards": len(pool.shards), "rows": pool.rows},
        "input_fingerprint": source,
        "output": config.output.path,
        "steps": entries,
        "seconds": sum(entry["seconds"] for entry in entries),
        "bytes": sum(entry["bytes"] for entry in entries),
    }


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
    step: Planned, config: RunConfig, pool: Pool, rows: int, *, done: bool
) -> dict[str, Any]:
    return {
        "step": step.name,
        "rows_at_most": rows,
        "reads": _reads(step, config),
        "writes": _writes(step),
        "done": done,
        "seconds": 0.0 if done else round(rows / _rate(step), 1),
        "bytes": 0 if done else _bytes(step, pool, rows),
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


def tell(found: dict[str, Any]) -> str:
    """Return the plan as text."""
    pool = found["input"]
    lines = [
        f"{pool['rows']:,} rows in {pool['shards']} shards below {pool['root']}",
        f"to {found['output']}",
    ]
    for entry in found["steps"]:
        state = "done" if entry["done"] else f"about {entry['seconds']:,.1f} s"
        lines.append(
            f"  {entry['step']:<14} at most {entry['rows_at_most']:,} rows, {state}; "
            f"reads {', '.join(entry['reads']) or 'decisions'}; "
            f"writes {', '.join(entry['writes'])}"
        )
    lines.append(
        f"estimate: {found['seconds']:,.0f} s on two cores, "
        f"{found['bytes'] / 2**20:,.0f} MiB of disk"
    )
    return "\n".join(lines)
