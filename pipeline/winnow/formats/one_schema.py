"""One schema for shards that differ, and rows of each as that schema has them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from winnow.core.errors import InputError


def promoted(schema: pa.Schema, first: str, other: pa.Schema, path: str) -> pa.Schema:
    """Return a schema that takes the rows of both shards.

    A column that one lacks, or has as nulls alone, is null there; of two widths of
    numbers, or of text or bytes, the wider one holds. Raises InputError for types of
    which neither holds the other's values.
    """
    try:
        return pa.unify_schemas([schema, other], promote_options="permissive")
    except pa.ArrowException as error:
        raise InputError(
            f"{path}: {_problem(schema, other)}, against {first}: no type holds both "
            f"({str(error)[:120]}). Rewrite that shard or leave it out of input.path"
        ) from error


def _problem(schema: pa.Schema, other: pa.Schema) -> str:
    differ = [
        f"{name} is {other.field(name).type}, not {schema.field(name).type}"
        for name in schema.names
        if name in other.names and other.field(name).type != schema.field(name).type
    ]
    return ", ".join(differ) or "its columns differ"


def without_views(schema: pa.Schema) -> pa.Schema:
    """Return the columns with text and bytes as Arrow's kernels take them.

    Views hold the same values, and no file differs by them; few kernels know them.
    """
    fields = [field.with_type(_without_views(field.type)) for field in schema]
    return pa.schema(fields, schema.metadata)


def _without_views(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_without_views(kind.value_type)))
    if pa.types.is_large_list(kind):
        inner = kind.value_field.with_type(_without_views(kind.value_type))
        return pa.large_list(inner)
    if pa.types.is_struct(kind):
        return pa.struct([f.with_type(_without_views(f.type)) for f in kind])
    return kind


def present(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the columns that a shard has, of those that are asked for."""
    known = set(names)
    return [name for name in columns if name in known]


def aligned(
    table: pa.Table, columns: Sequence[str], schema: pa.Schema | None, rows: int
) -> pa.Table:
    """Return a shard's rows with the columns of the pool: nulls for those it lacks.

    table: what the shard has of `columns`; rows: how many they are, whatever it has.
    """
    if schema is None:
        return table
    arrays = []
    for name in columns:
        kind = schema.field(name).type
        if name not in table.column_names:
            arrays.append(pa.nulls(rows, kind))
        elif table.schema.field(name).type == kind:
            arrays.append(table.column(name))
        else:
            arrays.append(table.column(name).cast(kind))
    return pa.table(arrays, schema=pa.schema([schema.field(name) for name in columns]))
