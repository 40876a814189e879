"""Hashes that decide: the same on every machine, engine and Python process.

BLAKE2b (RFC 7693) with a truncated digest; no engine's own `hash()` decides anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

DIGEST_BYTES = 16


def digest(*parts: bytes) -> bytes:
    """Return the 128-bit digest of `parts`, each framed by its length."""
    if len(parts) == 1:
        return hashlib.blake2b(parts[0], digest_size=DIGEST_BYTES).digest()
    state = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()


def keys(uids: Iterable[str], salt: str = "") -> npt.NDArray[np.uint64]:
    """Return a uniform 64-bit key for each uid; another `salt` gives another order."""
    blake, salted = hashlib.blake2b, salt.encode()
    joined = b"".join(
        blake(uid.encode(), digest_size=8, key=salted).digest() for uid in uids
    )
    return np.frombuffer(joined, dtype="<u8").astype(np.uint64, copy=False)


def fingerprint(text: str) -> str:
    """Return a short hexadecimal fingerprint of `text`."""
    return digest(text.encode()).hex()
