"""A file of overrides: rows to rescue and rows to drop, whatever the steps say.

YAML (a list of `uid`, `action`, `note`) or CSV with these columns.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from winnow.config.yaml_text import parse_yaml, shown
from winnow.core.errors import ConfigError, did_you_mean
from winnow.core.hashing import digest
from winnow.core.terminal import as_cell, of_cell

Action = Literal["rescue", "drop"]
ACTIONS: tuple[Action, ...] = get_args(Action)
_COLUMNS = ("uid", "action", "note")
_SUFFIXES = (".csv", ".yaml", ".yml")


@dataclass(frozen=True)
class Override:
    """What a person decided about one row, and why."""

    uid: str
    action: Action
    note: str = ""


@dataclass(frozen=True)
class Overrides:
    """The overrides of one file, sorted by uid."""

    rows: tuple[Override, ...] = ()
    path: str | None = None

    def of(self, action: Action) -> list[str]:
        """Return the uids that an action names."""
        return [row.uid for row in self.rows if row.action == action]

    def fingerprint(self, action: Action | None = None) -> str:
        """Return a fingerprint of what is overridden; notes change no decision."""
        chosen = [row for row in self.rows if action in (None, row.action)]
        parts = (f"{row.action} {row.uid}".encode() for row in chosen)
        return digest(*parts).hex() if chosen else ""


def read(path: str | Path) -> Overrides:
    """Read and check a file of overrides; the order of its rows does not matter.

    Raises ConfigError that names file and line (or entry) of what is wrong.
    """
    file = Path(path).expanduser()
    if file.suffix not in _SUFFIXES:
        raise ConfigError(f"overrides: {path}: give a .csv or a .yaml file")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"overrides: {path} cannot be read: {error}") from error
    entries = _of_csv(text, path) if file.suffix == ".csv" else _of_yaml(text, path)
    overrides: dict[str, Override] = {}
    for where, values in entries:
        row = _checked(values, f"overrides: {path}, {where}")
        if row.uid in overrides:
            raise ConfigError(
                f"overrides: {path}, {where}: '{row.uid}' is overridden twice; "
                "leave one of the two"
            )
        overrides[row.uid] = row
    return Overrides(tuple(overrides[uid] for uid in sorted(overrides)), str(path))


def _of_csv(text: str, path: str | Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        _known_columns(reader.fieldnames or (), f"overrides: {path}")
        for values in reader:
            where = f"line {reader.line_num}"
            if None in values:
                raise ConfigError(f"overrides: {path}, {where}: too many fields")
            yield where, {key: of_cell(value or "") for key, value in values.items()}
    except csv.Error as error:
        raise ConfigError(
            f"overrides: {path}, line {reader.line_num}: {error}"
        ) from error


def _of_yaml(text: str, path: str | Path) -> Iterable[tuple[str, Mapping[str, Any]]]:
    try:
        # A uid of digits is a string too, so nothing is turned into numbers.
        values = parse_yaml(text, as_texts=True)
    except ConfigError as error:
        raise ConfigError(f"overrides: {path}: {error}") from error
    if not isinstance(values, list) and values not in (None, ""):
        raise ConfigError(
            f"overrides: {path}: write a list, as in `- {{uid: a1, action: rescue}}`"
        )
    for number, entry in enumerate(values or [], start=1):
        where = f"entry {number}"
        if not isinstance(entry, dict):
            raise ConfigError(f"overrides: {path}, {where}: give uid and action")
        _known_columns(entry, f"overrides: {path}, {where}")
        yield where, entry


def _known_columns(names: Iterable[str], where: str) -> None:
    given = list(names)
    for name in given:
        if name not in _COLUMNS:
            raise ConfigError(
                f"{where}: unknown key '{name}'; {did_you_mean(str(name), _COLUMNS)}"
            )
    for name in ("uid", "action"):
        if name not in given:
            raise ConfigError(f"{where}: '{name}' is missing")


def _checked(values: Mapping[str, Any], where: str) -> Override:
    for name, value in values.items():
        if not isinstance(value, str):
            raise ConfigError(f"{where}: {name} is a text, not {shown(value)}")
    uid, action = values["uid"], values["action"]
    if not uid:
        raise ConfigError(f"{where}: the uid is empty")
    if action not in ACTIONS:
        raise ConfigError(
            f"{where}: unknown action '{action}'; {did_you_mean(action, ACTIONS)}"
        )
    return Override(uid, action, values.get("note", ""))


def as_csv(rows: Iterable[Override]) -> str:
    """Return overrides as CSV that `read` understands."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((as_cell(row.uid), row.action, as_cell(row.note)) for row in rows)
    return out.getvalue()


def as_yaml(rows: Iterable[Override]) -> str:
    """Return overrides as YAML that `read` understands."""
    plain = [
        {name: value for name, value in vars(row).items() if value} for row in rows
    ]
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
