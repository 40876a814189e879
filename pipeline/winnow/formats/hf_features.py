"""Features of Hugging Face's `datasets`, as they stand in the metadata of a schema."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

_KEY = b"huggingface"


def hf_features(schema: pa.Schema) -> dict[str, Any]:
    """Return the features by column; none where the metadata name none, or is broken.

    `datasets` writes them into every file: `{"info": {"features": {…}}}`.
    """
    try:
        features = json.loads((schema.metadata or {})[_KEY])["info"]["features"]
        return {name: features[name] for name in schema.names if name in features}
    except (KeyError, TypeError, ValueError):
        return {}
