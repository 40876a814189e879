"""Exact duplicates: equal bytes, or captions that are equal but for their form."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa

from winnow.core.hashing import DIGEST_BYTES, digest

DIGEST = pa.binary(DIGEST_BYTES)


def normalise_caption(text: str) -> str:
    """Return `text` in the form in which captions are compared.

    Compatibility characters, case and the kind and amount of white space make no
    difference: Unicode's compatibility caseless match (Unicode 16, §3.13.5, D146, with
    a composed result), then single spaces. Normalising twice changes nothing more.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFD", text).casefold()
    folded = unicodedata.normalize("NFKD", folded).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def caption_digests(captions: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the 128-bit digest of each normalised caption, as binary(16).

    Null where the caption is null or has nothing but white space: such a row is no
    one's duplicate.
    """
    return _digests(captions.to_pylist(), lambda text: normalise_caption(text).encode())


def bytes_digests(contents: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the 128-bit digest of each binary value, as binary(16); null if empty."""
    # One after the other: images are large.
    return _digests((scalar.as_py() for scalar in contents), lambda content: content)


def _digests(values: Iterable[Any], content_of: Callable[[Any], bytes]) -> pa.Array:
    digests: list[bytes | None] = []
    for value in values:
        content = content_of(value) if value is not None else b""
        digests.append(digest(content) if content else None)
    return pa.array(digests, DIGEST)
