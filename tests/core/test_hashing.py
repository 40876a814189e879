"""Hashes that decide, beside hashlib asked for one content at a time."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st
from winnow.core.hashing import digest, digests, keys


@given(st.lists(st.binary(max_size=300)))
def test_each_content_is_hashed_alone(contents: list[bytes]) -> None:
    alone = [hashlib.blake2b(one, digest_size=16).digest() for one in contents]
    assert list(digests(contents)) == [digest(one) for one in contents] == alone


@given(st.lists(st.text(max_size=80)), st.text(max_size=16))
def test_keys_are_keyed_hashes_of_each_uid(uids: list[str], salt: str) -> None:
    salt = salt.encode()[:64].decode(errors="ignore")
    for told, uid in zip(keys(uids, salt).tolist(), uids, strict=True):
        alone = hashlib.blake2b(uid.encode(), digest_size=8, key=salt.encode())
        assert told == int.from_bytes(alone.digest(), "little")
