"""Exact duplicates: equal bytes, or captions that are equal but for their form."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from itertools import pairwise, tee

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.core.hashing import DIGEST_BYTES, digests

DIGEST = pa.binary(DIGEST_BYTES)

_SPACE = ord(" ")
#: Lower case, and a space for each of ASCII's white space: what `str.lower` and
#: `str.split` take for it.
_PLAIN = bytes(
    _SPACE if chr(code).isspace() else ord(chr(code).lower()) for code in range(128)
) + bytes(range(128, 256))


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
    chunks = captions.chunks if isinstance(captions, pa.ChunkedArray) else [captions]
    forms = [form for chunk in chunks for form in _normalised_captions(chunk)]
    return _digests(forms)


def _normalised_captions(captions: pa.Array) -> list[bytes]:
    """Return what `normalise_caption` makes of each caption, as UTF-8; null: nothing.

    Captions in ASCII are done at once, with the bytes of all of them in a row.
    """
    texts = pc.fill_null(captions.cast(pa.large_string()), "")
    forms = _ascii_forms(texts)
    for row in np.flatnonzero(~pc.string_is_ascii(texts).to_numpy(False)).tolist():
        forms[row] = normalise_caption(texts[row].as_py()).encode()
    return forms


def _ascii_forms(texts: pa.LargeStringArray) -> list[bytes]:
    """Return each text in lower case with single spaces; right for ASCII alone."""
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return [b""] * len(texts)
    bounds = np.frombuffer(offsets, np.int64)[texts.offset :][: len(texts) + 1]
    raw = memoryview(data)[int(bounds[0]) : int(bounds[-1])]
    plain = np.frombuffer(bytes(raw).translate(_PLAIN), np.uint8)
    bounds = bounds - bounds[0]
    spare = _spare_spaces(plain, bounds)
    bounds = bounds - np.searchsorted(np.flatnonzero(spare), bounds)
    left = plain[~spare].tobytes()
    return [left[start:end].rstrip(b" ") for start, end in pairwise(bounds.tolist())]


def _spare_spaces(
    plain: npt.NDArray[np.uint8], bounds: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Return which bytes are spaces after a space, or first in their text."""
    space: npt.NDArray[np.bool_] = plain == _SPACE
    spare = space.copy()
    spare[1:] &= space[:-1]
    first = bounds[:-1][np.diff(bounds) > 0]
    spare[first] = space[first]
    return spare


def bytes_digests(contents: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the 128-bit digest of each binary value, as binary(16); null if empty."""
    # One after the other: images are large.
    return _digests(scalar.as_py() or b"" for scalar in contents)


def _digests(contents: Iterable[bytes]) -> pa.Array:
    """Return a digest of each that is not empty, and null for the others."""
    hashed, same = tee(contents)
    pairs = zip(digests(hashed), same, strict=True)
    return pa.array([told if content else None for told, content in pairs], DIGEST)
