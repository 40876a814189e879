"""Signatures against datasketch 2.0, over texts of every kind."""

from __future__ import annotations

import hashlib
import itertools
from types import SimpleNamespace

import datasketch
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from winnow.algorithms.dedup import minhash
from winnow.algorithms.dedup.text_normalisation import RULES, normalised

from tests.examples import examples

SCHEMES = ("affine32", "legacy", "affine64")
HASHES = ("sha1", "xxh32", "xxh64")
FOX = "the quick brown fox"

# Spaces of every width, marks, emoji with joiners, and letters that fold or compose.
AWKWARD = "aB1 .-\t\n\x1c\x85\xa0\u1680\u2003\u2028\u3000\u0301ßİﬁ①٣日👩‍🚀💡𝒳"
# Signs that stay or go by what stands beside them.
AWKWARD += "-.,:/*!=+#_é­\u200bّ"
TEXT = st.text(st.one_of(st.sampled_from(AWKWARD), st.characters(codec="utf-8")))


#: Those that go together: `code` keeps what `punctuation` drops.
ALL_RULES = tuple(rule for rule in RULES if rule != "code")
SOME_RULES = st.sets(st.sampled_from(RULES)).map(
    lambda rules: rules - {"punctuation"} if "code" in rules else rules
)


def rotated(value: int, bits: int, width: int) -> int:
    value %= 2**width
    return (value << bits | value >> (width - bits)) % 2**width


def xxh32(data: bytes) -> int:
    """XXH32 of seed 0, from the specification's steps."""
    p = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1)
    words = np.frombuffer(data[: len(data) // 4 * 4], "<u4").tolist()
    h = p[4]
    stripes = len(data) // 16
    if stripes:
        state = [p[0] + p[1], p[1], 0, -p[0]]
        for i in range(4 * stripes):
            state[i % 4] = rotated(state[i % 4] + words[i] * p[1], 13, 32) * p[0]
        h = sum(rotated(state[i], r, 32) for i, r in enumerate((1, 7, 12, 18)))
    h += len(data)
    for word in words[4 * stripes :]:
        h = rotated(h + word * p[2], 17, 32) * p[3]
    for byte in data[len(data) // 4 * 4 :]:
        h = rotated(h + byte * p[4], 11, 32) * p[0]
    h %= 2**32
    h = (h ^ h >> 15) * p[1] % 2**32
    h = (h ^ h >> 13) * p[2] % 2**32
    return h ^ h >> 16


def xxh64(data: bytes) -> int:
    """XXH64 of seed 0, from the specification's steps."""
    p = (
        0x9E3779B185EBCA87,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x85EBCA77C2B2AE63,
        0x27D4EB2F165667C5,
    )
    words = np.frombuffer(data[: len(data) // 8 * 8], "<u8").tolist()
    h = p[4]
    stripes = len(data) // 32
    if stripes:
        state = [p[0] + p[1], p[1], 0, -p[0]]
        for i in range(4 * stripes):
            state[i % 4] = rotated(state[i % 4] + words[i] * p[1], 31, 64) * p[0]
        h = sum(rotated(state[i], r, 64) for i, r in enumerate((1, 7, 12, 18)))
        for lane in state:
            h = (h ^ rotated(lane * p[1], 31, 64) * p[0] % 2**64) * p[0] + p[3]
            h %= 2**64
    h += len(data)
    for word in words[4 * stripes :]:
        h = rotated(h ^ rotated(word * p[1], 31, 64) * p[0], 27, 64) * p[0] + p[3]
    rest = data[len(data) // 8 * 8 :]
    if len(rest) >= 4:
        h = rotated(h ^ int.from_bytes(rest[:4], "little") * p[0], 23, 64)
        h = h * p[1] + p[2]
        rest = rest[4:]
    for byte in rest:
        h = rotated(h ^ byte * p[4], 11, 64) * p[0]
    h %= 2**64
    h = (h ^ h >> 33) * p[1] % 2**64
    h = (h ^ h >> 29) * p[2] % 2**64
    return h ^ h >> 32


def shingles(text: str | None, ngram: int, unit: str) -> list[bytes]:
    """The definition, in plain Python."""
    units = (text or "").split() if unit == "word" else list(text or "")
    joint = " " if unit == "word" else ""
    if not units:
        return []
    count = max(len(units) - ngram + 1, 1)
    return [joint.join(units[i : i + ngram]).encode() for i in range(count)]


def by_datasketch(sets, scheme, token_hash, num_perm=128, seed=1):
    hashes = {"sha1": None, "xxh32": xxh32, "xxh64": xxh64}
    function = hashes[token_hash]
    if (scheme, token_hash) == ("affine32", "xxh64"):
        function = lambda data: xxh64(data) & 0xFFFFFFFF  # noqa: E731
    sketches = datasketch.MinHash.bulk(
        sets, num_perm=num_perm, seed=seed, scheme=scheme, hashfunc=function
    )
    return np.array([sketch.hashvalues for sketch in sketches])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_golden_values_of_every_scheme(golden, scheme):
    sketched = minhash.signatures([FOX], ngram=1, scheme=scheme)
    wanted = golden[scheme]
    assert sketched.dtype == wanted["dtype"]
    assert sketched[0, :8].tolist() == wanted["first8"]
    assert hashlib.sha256(sketched.tobytes()).hexdigest() == wanted["sha256_all128_le"]


def test_golden_values_of_other_settings(golden):
    def first(count, text=FOX, **settings):
        return minhash.signatures([text], ngram=1, **settings)[0, :count].tolist()

    assert first(4, token_hash="xxh32") == golden["affine32_xxh32_first4"]
    assert first(16, num_perm=16, seed=42) == golden["affine32_np16_seed42"]
    assert first(4, scheme="legacy", seed=42) == golden["legacy_seed42_first4"]
    assert first(4, "") == golden["empty_affine32"]
    assert first(4, "", scheme="legacy") == golden["empty_legacy"]


def test_golden_values_of_non_ascii_tokens(golden):
    # The golden set holds "naïve café" as one token, which words cannot.
    two = minhash.signatures(["naïve café", "日本語"], ngram=2)
    assert two.min(axis=0)[:4].tolist() == golden["unicode_affine32_first4"]


@pytest.mark.parametrize(
    ("scheme", "token_hash"), list(itertools.product(SCHEMES, HASHES))
)
@settings(max_examples=examples(15, 40), deadline=None)
@given(
    texts=st.lists(st.one_of(TEXT, st.none()), max_size=6),
    ngram=st.integers(1, 7),
    unit=st.sampled_from(["word", "char"]),
    num_perm=st.sampled_from([1, 7, 16, 33, 128]),
    seed=st.integers(0, 2**32 - 1),
)
@example(["", " ", "a", "a b", None, "e\u0301 👩‍🚀"], 2, "word", 128, 1)
@example(["", " ", "a", "ab", None, "e\u0301👩‍🚀"], 2, "char", 128, 1)
def test_any_text_equals_datasketch(
    scheme, token_hash, texts, ngram, unit, num_perm, seed
):
    sketched = minhash.signatures(
        texts,
        num_perm=num_perm,
        seed=seed,
        scheme=scheme,
        token_hash=token_hash,
        ngram=ngram,
        unit=unit,
    )
    sets = [shingles(text, ngram, unit) for text in texts]
    wanted = by_datasketch(sets, scheme, token_hash, num_perm, seed)
    assert sketched.shape == (len(texts), num_perm)
    if texts:
        assert sketched.dtype == wanted.dtype
        np.testing.assert_array_equal(sketched, wanted)


@pytest.mark.parametrize("token_hash", HASHES)
def test_shingles_at_the_borders_of_hash_blocks(token_hash):
    # One-word shingles of 0 … 260 bytes: every border of SHA-1's and xxHash's blocks.
    texts = ["".join(chr(97 + (i * j) % 26) for j in range(i)) for i in range(261)]
    sketched = minhash.signatures(texts, ngram=1, token_hash=token_hash)
    wanted = by_datasketch(
        [[t.encode()] if t else [] for t in texts], "affine32", token_hash
    )
    np.testing.assert_array_equal(sketched, wanted)


@pytest.mark.parametrize("unit", ["word", "char", "auto"])
@settings(max_examples=examples(45, 150), deadline=None)
@given(texts=st.lists(TEXT, max_size=5), rules=SOME_RULES)
@example(["İSTANBUL ﬁn—“Ａ”٣٣ 12\u3000x", "A-b  C"], set(ALL_RULES))
def test_normalisation_equals_normalising_first(unit, texts, rules):
    settings = {"num_perm": 8, "ngram": 2, "unit": unit}
    sketched = minhash.signatures(texts, normalise=rules, **settings)
    first = minhash.signatures([normalised(t, rules) for t in texts], **settings)
    np.testing.assert_array_equal(sketched, first)


def test_what_each_rule_does():
    assert normalised("ﬁ①Å", ["nfkc"]) == "fi1Å"
    assert normalised("Straße İ", ["case"]) == "strasse i\u0307"
    assert normalised("a-b “c”_$1 💡", ["punctuation"]) == "a b  c  $1 💡"
    assert normalised("a<b é!=c", ["code"]) == "a < b é !  = c"
    assert normalised("1٣x²", ["digits"]) == "00x²"
    assert normalised("\u3000a \t\x1c b\xa0", ["whitespace"]) == "a b"
    assert normalised("é ﬁ", ["nfc"]) == "é ﬁ"
    with pytest.raises(ValueError, match="unknown normalisation"):
        normalised("a", ["lower"])
    with pytest.raises(ValueError, match="name one of them"):
        normalised("a", ["code", "punctuation"])


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_arrow_layouts_give_the_same_rows(kind):
    texts = ["zero", None, "one two", "", "日本 three four", "five six seven"]
    wanted = minhash.signatures(texts, ngram=2, num_perm=16)
    column = pa.array(texts, kind)
    chunked = pa.chunked_array([column[:2], column[2:2], column[2:]])
    for rows, start in ((column, 0), (column[3:], 3), (chunked, 0)):
        sketched = minhash.signatures(rows, ngram=2, num_perm=16)
        np.testing.assert_array_equal(sketched, wanted[start:])
    coded = column.cast(pa.string()).dictionary_encode()
    np.testing.assert_array_equal(
        minhash.signatures(coded, ngram=2, num_perm=16), wanted
    )
    empty = minhash.signatures(pa.chunked_array([], pa.string()), scheme="legacy")
    assert (empty.shape, empty.dtype) == ((0, 128), np.uint64)


def test_null_rows_that_own_bytes_are_empty():
    offsets = pa.py_buffer(np.array([0, 3, 6], dtype=np.int32))
    valid = pa.py_buffer(np.array([0b10], dtype=np.uint8))
    column = pa.Array.from_buffers(
        pa.string(), 2, [valid, offsets, pa.py_buffer(b"abcdef")]
    )
    sketched = minhash.signatures(column, num_perm=4)
    np.testing.assert_array_equal(
        sketched, minhash.signatures([None, "def"], num_perm=4)
    )


def test_invalid_utf8_is_hashed_not_refused():
    column = pa.array([b"caf\xe9 a b c d", b"\x80\xff", b"\xe3"]).view(pa.binary())
    for unit, rules in itertools.product(("word", "char"), ((), ALL_RULES)):
        sketched = minhash.signatures(column, unit=unit, normalise=rules, num_perm=4)
        assert not (sketched == 2**32 - 1).all(axis=1).any()


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_change_nothing(threads):
    texts = [f"{i} {i * i} word " * (1 + i % 37) for i in range(3000)]
    settings = {"num_perm": 16, "normalise": ALL_RULES}
    np.testing.assert_array_equal(
        minhash.signatures(texts, threads=threads, **settings),
        minhash.signatures(texts, **settings),
    )
    for sketched, wanted in zip(
        minhash.shingle_sets(texts, threads=threads, normalise=ALL_RULES),
        minhash.shingle_sets(texts, normalise=ALL_RULES),
        strict=True,
    ):
        np.testing.assert_array_equal(sketched, wanted)


@settings(max_examples=examples(20, 60), deadline=None)
@given(st.lists(TEXT, max_size=5), st.sampled_from(["word", "char"]))
def test_shingle_sets_hold_each_hash_once(texts, unit):
    bounds, hashes = minhash.shingle_sets(texts, ngram=2, unit=unit)
    for i, text in enumerate(texts):
        held = hashes[bounds[i] : bounds[i + 1]].tolist()
        assert len(set(held)) == len(held)
        assert set(held) == {xxh64(s) for s in shingles(text, 2, unit)}


def test_datasketch_objects_both_ways():
    texts = [FOX, "the quick brown dog", ""]
    for scheme in SCHEMES:
        ours = minhash.signatures(texts, ngram=1, seed=7, scheme=scheme)
        theirs = minhash.to_datasketch(ours, seed=7, scheme=scheme)
        sketch = datasketch.MinHash(seed=7, scheme=scheme)
        sketch.update_batch([word.encode() for word in FOX.split()])
        assert theirs[0] == sketch
        assert theirs[0].jaccard(theirs[1]) == (ours[0] == ours[1]).mean()
        # They go on as if datasketch had made them.
        theirs[2].update_batch([word.encode() for word in FOX.split()])
        assert theirs[2] == sketch
        again = minhash.from_datasketch([sketch], seed=7, scheme=scheme)
        np.testing.assert_array_equal(again, ours[:1])
        lean = minhash.from_datasketch(
            [datasketch.LeanMinHash(sketch)], seed=7, scheme=scheme
        )
        np.testing.assert_array_equal(lean, again)
    # datasketch before 2.0 knew one scheme, and its sketches do not name it.
    sized = type("Old", (SimpleNamespace,), {"__len__": lambda self: 4})
    old = sized(seed=1, hashvalues=np.arange(4))
    kept = minhash.from_datasketch([old], num_perm=4, scheme="legacy")
    assert kept.tolist() == [[0, 1, 2, 3]]
    with pytest.raises(ValueError, match=r"sketch 0 .* 'legacy'\), not"):
        minhash.from_datasketch([old], num_perm=4)
    with pytest.raises(ValueError, match="sketch 0"):
        minhash.from_datasketch([sketch], seed=8, scheme="affine64")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scheme": "affine16"}, "unknown permutation scheme"),
        ({"num_perm": 0}, "num_perm"),
        ({"token_hash": "md5"}, "unknown token hash"),
        ({"unit": "byte"}, "unknown unit"),
        ({"ngram": 0}, "ngram"),
        ({"threads": 0}, "threads"),
        ({"normalise": ["upper"]}, "unknown normalisation"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        minhash.signatures(["a"], **settings)


def test_a_column_of_numbers_is_refused():
    with pytest.raises(TypeError, match="int64"):
        minhash.signatures(pa.array([1, 2]))


@pytest.mark.slow
@pytest.mark.parametrize(("unit", "token_hash"), [("word", "sha1"), ("char", "xxh32")])
def test_ten_megabytes_of_text(unit, token_hash):
    rng = np.random.default_rng(0)
    words = ["".join(map(chr, rng.integers(97, 900, 6))) for _ in range(5000)]
    text = " ".join(words[i] for i in rng.integers(0, 5000, 1_000_000))
    assert len(text.encode()) > 10_000_000
    text = text if unit == "word" else text[:600_000]
    sketched = minhash.signatures(["a", text, "b"], unit=unit, token_hash=token_hash)
    distinct = list(dict.fromkeys(shingles(text, 5, unit)))
    wanted = by_datasketch([distinct], "affine32", token_hash)
    np.testing.assert_array_equal(sketched[1:2], wanted)


@pytest.mark.shared
@pytest.mark.parametrize(("unit", "token_hash"), [("word", "sha1"), ("char", "sha1")])
def test_real_texts_equal_datasketch(shared, unit, token_hash):
    import pyarrow.parquet as pq

    column = pq.read_table(shared / "data/texts/00000.parquet")["text"][:600]
    sketched = minhash.signatures(column, unit=unit, token_hash=token_hash)
    sets = [shingles(text, 5, unit) for text in column.to_pylist()]
    np.testing.assert_array_equal(sketched, by_datasketch(sets, "affine32", token_hash))


@pytest.mark.parametrize(
    ("scheme", "token_hash"), list(itertools.product(SCHEMES, HASHES))
)
def test_sets_of_a_list_column_equal_datasketch(scheme, token_hash):
    rows = [
        ["a", "日本 x", "a"],
        [],
        None,
        ["b" * 100, None, ""],
        list(map(str, range(99))),
    ]
    wanted = by_datasketch(
        [[e.encode() for e in row or [] if e] for row in rows], scheme, token_hash, 16
    )
    for kind in (pa.list_(pa.string()), pa.large_list(pa.large_string())):
        column = pa.array([["before"], *rows], kind)[1:]
        sketched = minhash.set_signatures(
            column, num_perm=16, scheme=scheme, token_hash=token_hash
        )
        np.testing.assert_array_equal(sketched, wanted)
    numbers = minhash.set_signatures(pa.array([[3, 1, 4], [10**12]]), num_perm=16)
    words = minhash.signatures(["3 1 4", "1000000000000"], num_perm=16, ngram=1)
    np.testing.assert_array_equal(numbers, words)
