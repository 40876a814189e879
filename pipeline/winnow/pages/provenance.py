"""What a run was made with: settings, versions, input, model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from winnow.config.lock_file import LOCK_FILE, read_lock
from winnow.core.saved_files import read_manifest
from winnow.core.words import number_of
from winnow.pages.answers import Section, plain, size


def provenance(folder: Path) -> Section:
    """Return the settings as text, and the manifest's facts as (name, value) rows.

    Raises DamagedError for either of the two that is not what was written.
    """
    lock, manifest = folder / LOCK_FILE, folder / "manifest.json"
    recorded = read_manifest(manifest) if manifest.is_file() else {}
    there = bool(recorded) or lock.is_file()
    if there:
        read_lock(folder)
    return {
        "settings": lock.read_text(encoding="utf-8") if there else "",
        "facts": _facts(recorded),
        "finished": bool(recorded),
    }


def _facts(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    facts = []
    pool = manifest.get("input")
    if isinstance(pool, dict):
        shards = pool.get("shards", [])
        total = sum(shard.get("bytes") or 0 for shard in shards)
        facts.append(
            (
                "input",
                f"{pool.get('root')}, {number_of(len(shards), 'shard')}, {size(total)}",
            )
        )
        facts += [
            ("could not be read", f"{bad['path']}: {bad['reason']}")
            for bad in pool.get("unreadable_files", [])[:20]
        ]
    facts += [
        (name, str(manifest[name]))
        for name in ("lake", "seed", "python")
        if name in manifest
    ]
    for name, number in sorted((manifest.get("versions") or {}).items()):
        facts.append((name, str(number)))
    steps = manifest.get("steps")
    for step, values in (steps if isinstance(steps, dict) else {}).items():
        if line := _line(values):
            facts.append((f"step {step}", line))
    return facts


def _line(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {_text(value)}"
        for name, value in values.items()
        # It says nothing to people; the manifest has it.
        if name != "fingerprint"
    )


def _text(value: Any) -> str:
    """Return a recorded value as people write it."""
    match value:
        case dict():
            return f"({_line(value)})"
        case list() | tuple():
            return f"[{', '.join(map(_text, value))}]"
        case bool():
            return "yes" if value else "no"
        case None:
            return "none"
    return plain(value)
