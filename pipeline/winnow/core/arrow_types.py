"""What Arrow types hold, whatever their width."""

from __future__ import annotations

from uuid import UUID

import pyarrow as pa


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds UTF-8 text."""
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
    )


def is_uuid(kind: pa.DataType) -> bool:
    """Whether a column of this type holds UUIDs, as Arrow's extension has them."""
    return getattr(kind, "extension_name", "") == "arrow.uuid"


def uuid_texts(column: pa.Array) -> list[str | None]:
    """Return UUIDs as text, with their dashes."""
    raw = column.storage.to_pylist()
    return [None if value is None else str(UUID(bytes=value)) for value in raw]
