"""Delta tables for tests whose log says what deltalake itself does not write."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any

Action = dict[str, Any]
#: Digits of Python's base 85, and of that which the log is in.
_RFC1924 = f"{digits}{ascii_uppercase}{ascii_lowercase}!#$%&()*+-;<=>?@^_`{{|}}~"
_Z85 = f"{digits}{ascii_lowercase}{ascii_uppercase}.-:+=^!/*?&<>()[]{{}}@%$#"


def deletion_vector(rows: list[int]) -> Action:
    """Rows, an even number of them, as the log holds them: a Roaring bitmap in Z85."""
    array = struct.pack("<IIHHI", 12346, 1, 0, len(rows) - 1, 16)
    array += struct.pack(f"<{len(rows)}H", *rows)
    whole = struct.pack("<iqi", 1681511377, 1, 0) + array
    text = base64.b85encode(whole).decode().translate(str.maketrans(_RFC1924, _Z85))
    return {
        "storageType": "i",
        "pathOrInlineDv": text,
        "sizeInBytes": len(whole),
        "cardinality": len(rows),
    }


def rewrite(table: Path, change: Callable[[Action], None]) -> None:
    """Change each action of a table's only commit."""
    (commit,) = (table / "_delta_log").glob("*.json")
    actions = [json.loads(line) for line in commit.read_text().splitlines()]
    for action in actions:
        change(action)
    commit.write_text("\n".join(map(json.dumps, actions)) + "\n")


def needs(action: Action, *features: str) -> None:
    """Have a table ask for features of its readers."""
    if "protocol" in action:
        action["protocol"] = {
            "minReaderVersion": 3,
            "minWriterVersion": 7,
            "readerFeatures": list(features),
            "writerFeatures": list(features),
        }


def without_rows(action: Action, rows: tuple[int, ...] = (1, 4)) -> None:
    """Delete rows of each file by a vector."""
    needs(action, "deletionVectors")
    if "add" in action:
        action["add"]["deletionVector"] = deletion_vector(list(rows))


def with_mapped_names(action: Action, names: dict[str, str]) -> None:
    """Have columns that files call by `names` be called by their values."""
    needs(action, "columnMapping")
    if "metaData" in action:
        said = action["metaData"]
        said["configuration"]["delta.columnMapping.mode"] = "name"
        schema = json.loads(said["schemaString"])
        for number, field in enumerate(schema["fields"], 1):
            field["metadata"] = {
                "delta.columnMapping.id": number,
                "delta.columnMapping.physicalName": field["name"],
            }
            field["name"] = names[field["name"]]
        said["partitionColumns"] = [names[n] for n in said["partitionColumns"]]
        said["schemaString"] = json.dumps(schema)
