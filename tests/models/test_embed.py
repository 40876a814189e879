"""Streams of samples to streams of vectors: every row once, in order, bounded."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from winnow.core.errors import InputError
from winnow.core.vectors import to_matrix
from winnow.models.decode_ahead import DecodeAhead
from winnow.models.embed import embed_batches, output_schema
from winnow.models.encoder import Encoder, ModelSpec, load_encoder

ROWS = 23


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 30, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


IMAGES = [png(seed) for seed in range(ROWS)]
TEXTS = [f"picture number {row}" for row in range(ROWS)]


def table(images: list[Any] = IMAGES, texts: list[Any] = TEXTS) -> pa.Table:
    return pa.table(
        {
            "uid": [f"u{row}" for row in range(len(images))],
            "image": pa.array(images, pa.binary()),
            "text": pa.array(texts, pa.string()),
        }
    )


def embed(rows: pa.Table, spec: ModelSpec, chunk: int = 7, **options: Any) -> pa.Table:
    batches = iter(rows.to_batches(max_chunksize=chunk))
    return pa.Table.from_batches(embed_batches(batches, spec=spec, **options))


@pytest.fixture
def spec(tiny_vit: str) -> ModelSpec:
    return ModelSpec(tiny_vit, precision="float32", batch_size=4)


@pytest.mark.parametrize("chunk", [1, 5, 23])
@pytest.mark.parametrize("threads", [1, 3])
def test_vectors_do_not_depend_on_how_rows_arrive(
    spec: ModelSpec, chunk: int, threads: int
) -> None:
    embedded = embed(table(), spec, chunk, threads=threads)
    encoder = load_encoder(spec)
    assert embedded["uid"].to_pylist() == [f"u{row}" for row in range(ROWS)]
    assert embedded["reason"].null_count == ROWS
    expected = {
        "image_vector": encoder.encode_images(
            np.stack([encoder.prepare(image) for image in IMAGES])
        ),
        "text_vector": encoder.encode_texts(TEXTS),
    }
    for name, vectors in expected.items():
        assert np.array_equal(to_matrix(embedded[name]), vectors.astype(np.float16))


def test_the_order_of_rows_does_not_matter(spec: ModelSpec) -> None:
    order = np.random.default_rng(0).permutation(ROWS)
    shuffled = embed(table().take(order), spec).sort_by("uid")
    assert shuffled.equals(embed(table(), spec).sort_by("uid"))


def test_rows_that_cannot_be_used_say_why_and_disturb_nobody(spec: ModelSpec) -> None:
    images: list[Any] = list(IMAGES)
    texts: list[Any] = list(TEXTS)
    images[2], images[5], images[6] = b"no image", None, b""
    images[8:12] = [None] * 4  # a whole chunk
    texts[5], texts[13], texts[14] = None, None, ""
    images[22] = IMAGES[22][:-200]
    embedded = embed(table(images, texts), spec)
    reasons = {
        row: reason
        for row, reason in enumerate(embedded["reason"].to_pylist())
        if reason
    }
    assert reasons == {
        2: "image_undecodable: text, no picture",
        5: "image_missing",
        6: "image_empty",
        **dict.fromkeys(range(8, 12), "image_missing"),
        13: "caption_missing",
        22: "image_truncated",
    }
    whole = embed(table(), spec)
    for name in ("image_vector", "text_vector"):
        valid = embedded[name].is_valid().to_numpy()
        assert np.array_equal(np.flatnonzero(~valid), sorted(reasons))
        same = [row for row in range(ROWS) if valid[row]]
        same.remove(14)  # an empty caption is a caption of its own
        assert embedded[name].take(same).equals(whole[name].take(same))


@pytest.mark.parametrize("modality", ["image", "text"])
def test_one_modality_needs_only_its_own_column(spec: ModelSpec, modality: str) -> None:
    rows = table().select(["uid", modality])
    embedded = embed(rows, spec, modalities=(modality,))
    assert embedded.column_names == ["uid", f"{modality}_vector", "reason"]
    whole = embed(table(), spec)
    assert embedded.equals(whole.select(embedded.column_names))


def test_other_columns_and_large_types_are_welcome(spec: ModelSpec) -> None:
    rows = table().append_column("other", pa.array(range(ROWS)))
    large = rows.cast(
        pa.schema(
            [
                ("uid", pa.large_string()),
                ("image", pa.large_binary()),
                ("text", pa.large_string()),
                ("other", pa.int64()),
            ]
        )
    )
    assert embed(large, spec).equals(embed(table(), spec))


def test_the_schema_is_the_stated_one(spec: ModelSpec) -> None:
    embedded = embed(table(), spec)
    assert embedded.schema == output_schema(24)
    assert embedded.schema.field("image_vector").type == pa.list_(pa.float16(), 24)
    assert [f.nullable for f in embedded.schema] == [False, True, True, True]


def test_no_rows_give_no_batches(spec: ModelSpec) -> None:
    assert list(embed_batches(iter([]), spec=spec)) == []
    empty = iter(table().slice(0, 0).to_batches())
    assert list(embed_batches(empty, spec=spec)) == []


def test_a_missing_column_is_named(spec: ModelSpec) -> None:
    with pytest.raises(InputError, match="no column image; it has uid, text"):
        embed(table().select(["uid", "text"]), spec)


@pytest.mark.parametrize("broken", [np.nan, np.inf, 0.0])
def test_vectors_without_a_direction_are_reported(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, broken: float
) -> None:
    def damaged(self: Encoder, pixels: Any) -> Any:
        vectors = np.full((len(pixels), self.dim), self.dim**-0.5, np.float32)
        vectors[-1] = broken
        return vectors

    monkeypatch.setattr(Encoder, "encode_images", damaged)
    embedded = embed(table(), spec)
    last = [3, 7, 11, 15, 19, 22]
    assert embedded["reason"].to_pylist() == [
        "vector_not_finite" if row in last else None for row in range(ROWS)
    ]
    for name in ("image_vector", "text_vector"):
        valid = embedded[name].is_valid().to_numpy()
        assert np.array_equal(np.flatnonzero(~valid), last)


def test_reading_stays_a_bounded_number_of_rows_ahead(spec: ModelSpec) -> None:
    read = 0

    def source() -> Iterator[pa.RecordBatch]:
        nonlocal read
        for batch in table().to_batches(max_chunksize=1) * 4:
            read += len(batch)
            yield batch

    written = 0
    for batch in embed_batches(source(), spec=spec, threads=2):
        written += len(batch)
        assert read - written <= 4 * 4
    assert written == read == 4 * ROWS


@pytest.mark.parametrize("threads", [1, 16])
def test_as_many_rows_are_held_for_one_thread_as_for_sixteen(
    spec: ModelSpec, threads: int
) -> None:
    read = written = most = 0

    def source() -> Iterator[pa.RecordBatch]:
        nonlocal read, most
        for batch in table().to_batches(max_chunksize=1) * 8:
            read += len(batch)
            most = max(most, read - written)
            yield batch

    for batch in embed_batches(source(), spec=spec, threads=threads):
        written += len(batch)
    assert written == 8 * ROWS
    assert most <= 4 * 4


def test_threads_share_the_pictures_of_one_batch(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody gets past this before another thread is at a picture of the same batch.
    both = threading.Barrier(2, timeout=30)
    prepare = Encoder.prepare

    def together(self: Encoder, data: bytes, boxes: Any = ()) -> Any:
        both.wait()
        return prepare(self, data, boxes)

    monkeypatch.setattr(Encoder, "prepare", together)
    four = table().slice(0, 4)
    assert embed(four, spec, threads=2)["reason"].null_count == 4


def test_no_picture_is_begun_while_threads_rest(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = Encoder.prepare
    begun = threading.Event()

    def noted(self: Encoder, data: bytes, boxes: Any = ()) -> Any:
        begun.set()
        return prepare(self, data, boxes)

    monkeypatch.setattr(Encoder, "prepare", noted)
    decoders = DecodeAhead(load_encoder(spec), threads=2, mirrored=False)
    try:
        with decoders.resting():
            batch = decoders.begin(table().slice(0, 4))
            assert not begun.wait(0.2)
        assert batch.ready().reasons == [None] * 4
        assert begun.is_set()
    finally:
        decoders.close()


def decoding_threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith("decode")}


def test_closing_early_leaves_no_threads(spec: ModelSpec) -> None:
    before = decoding_threads()
    vectors = embed_batches(iter(table().to_batches() * 100), spec=spec, threads=2)
    next(vectors)
    # The second thread starts only once the first has more than it can do.
    assert len(decoding_threads() - before) in {1, 2}
    vectors.close()
    assert not decoding_threads() - before


def test_errors_of_the_source_and_of_threads_come_through(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = decoding_threads()

    def source() -> Iterator[pa.RecordBatch]:
        yield from table().to_batches()
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(embed_batches(source(), spec=spec))

    def defect(self: Encoder, data: bytes, masked: Any) -> Any:
        raise MemoryError("in a thread")

    monkeypatch.setattr(Encoder, "prepare", defect)
    with pytest.raises(MemoryError, match="in a thread"):
        embed(table(), spec)
    assert not decoding_threads() - before


def test_long_captions_pass(spec: ModelSpec) -> None:
    texts = ["x" * 100_000, "many words " * 10_000, *TEXTS[2:]]
    embedded = embed(table(IMAGES, texts), spec)
    assert embedded["reason"].null_count == ROWS
