"""Columns of text files and folder names, read as what is written there.

Types of CSV, JSON lines and Hive keys are inferred, file by file: zip codes of one file
are text, `02139` among them, and those of a slice of it are numbers. Two such columns
are compared by value where both have values, and else by their text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from winnow.lake.files import json_lines
from winnow.lake.kernels.families import comparable
from winnow.lake.kernels.tables import Column, Family, Part, Table

#: How a column is to be read: `text` as written, `json` as JSON in which a string has
#: its quotes. By column name.
Forms = Mapping[str, str]


def forms(
    child: Table, parent: Table, matched: Mapping[str, str]
) -> tuple[Forms, Forms] | None:
    """Return which columns of each to read as text so that all can be compared.

    matched: the parent's column for each compared column of the child. None if some
    cannot be compared in any form.
    """
    chosen: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for child_name, held in matched.items():
        columns = child.column(child_name), parent.column(held)
        mixed = [_is_mixed(child, child_name), _is_mixed(parent, held)]
        if any(mixed) and not all(mixed) and _both_json(child, parent):
            side = mixed.index(False)
            if columns[side].family is not Family.NULL:
                chosen[side][columns[side].name] = "json"
            continue
        if comparable(columns[0].family, columns[1].family):
            continue
        texts = [column.family is Family.TEXT for column in columns]
        side = texts.index(False)
        table = (child, parent)[side]
        if not any(texts) or not has_text(table, columns[side]):
            return None
        chosen[side][columns[side].name] = "text"
    return chosen


def all_as_text(table: Table) -> Forms:
    """Return the form of a CSV table in which every column is what is written."""
    held = (c for c in table.columns if c.family not in (Family.TEXT, Family.NULL))
    return {column.name: "text" for column in held}


def is_csv(table: Table) -> bool:
    """Whether a table is a CSV file."""
    return table.format == "csv"


def is_json(table: Table) -> bool:
    """Whether a table is a file of JSON objects."""
    return table.format in ("jsonl", "json")


def may_have_text(table: Table) -> bool:
    """Whether some column of a table is inferred from text."""
    inferred = table.format == "csv" or is_json(table)
    return inferred or any(part.constants for part in table.parts)


def has_text(table: Table, column: Column) -> bool:
    """Whether a column's type is inferred from a text that can be read instead."""
    if table.format == "csv":
        return True
    if is_json(table):
        return column.family in (Family.NUMBER, Family.BOOLEAN)
    return table.format == "parquet_folder" and all(
        column.name in dict(part.constants) for part in table.parts
    )


def as_text(table: Table, chosen: Forms) -> Table:
    """Return the table with some columns in another form."""
    if not chosen:
        return table
    return replace(
        table,
        parts=tuple(_part(part, chosen) for part in table.parts),
        columns=tuple(
            Column(c.name, pa.string(), Family.TEXT) if c.name in chosen else c
            for c in table.columns
        ),
        forms=tuple(sorted(chosen.items())),
    )


def _part(part: Part, chosen: Forms) -> Part:
    constants = tuple(
        (name, _text(value) if name in chosen else value)
        for name, value in part.constants
    )
    told = dict(part.dialect)
    if "structure" in told:
        structure = json.loads(told["structure"])
        for path in json_lines.paths(structure):
            form = chosen.get(".".join(path))
            if form is not None:
                kind = "JSON" if form == "json" else "VARCHAR"
                structure = json_lines.with_leaf(structure, path, kind)
        told["structure"] = json.dumps(structure, ensure_ascii=False)
    return replace(part, constants=constants, dialect=tuple(told.items()))


def _text(value: pa.Scalar) -> pa.Scalar:
    plain = value.as_py()
    # A date is written as ISO 8601 has it, which is what `str` gives.
    return pa.scalar(None if plain is None else str(plain), pa.string())


def _both_json(child: Table, parent: Table) -> bool:
    return is_json(child) and is_json(parent)


def _is_mixed(table: Table, name: str) -> bool:
    """Whether a column is text that holds JSON, its values being of several types."""
    if not is_json(table) or not table.parts:
        return False
    structure = json.loads(dict(table.parts[0].dialect)["structure"])
    for path in json_lines.paths(structure):
        if ".".join(path) == name:
            for key in path:
                structure = structure[key]
            return bool(structure == "JSON")
    return False
