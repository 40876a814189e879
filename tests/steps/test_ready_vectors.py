"""Vectors that exist already: list columns and clip-retrieval's files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.core.errors import ConfigError, InputError

Winnow = Callable[..., Any]
Write = Callable[..., Path]
NAN = float("nan")


def unit(vector: list[float]) -> np.ndarray:
    dense = np.asarray(vector, np.float64)
    return (dense / np.linalg.norm(dense)).astype(np.float16)


def embed(winnow: Winnow, pool: Path, out: Path, **settings: Any) -> Any:
    given = {"modalities": ["image"], "image_column": "iv", "text_column": None}
    # Most of what is tried here is faulty on purpose.
    lenient = {"max_quarantined": 1.0}
    return winnow(pool, out, ["embed"], embed={**given, **settings}, input=lenient)


def vectors(run: Any, name: str = "image_vector") -> dict[str, np.ndarray]:
    table = run.artifact("embed", "vectors")
    return {row["uid"]: np.asarray(row[name], np.float16) for row in table.to_pylist()}


FAULTY = [
    ("good", [3.0, 4.0], None),
    ("null", None, "vector_missing"),
    ("zero", [0.0, 0.0], "vector_zero"),
    ("nan", [NAN, 1.0], "vector_not_finite"),
    ("inf", [float("inf"), 1.0], "vector_not_finite"),
    ("hole", [None, 1.0], "vector_not_finite"),
    ("long", [1.0, 2.0, 3.0], "vector_length"),
    ("empty", [], "vector_length"),
    ("tiny", [1e-30, -1e-30], None),
    ("huge", [1e30, 1e30], None),
]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float32()),
        pa.list_(pa.float64()),
        pa.large_list(pa.float64()),
        pa.list_(pa.field("element", pa.float32())),
    ],
    ids=str,
)
def test_faulty_vectors_are_quarantined_and_good_ones_have_unit_length(
    winnow: Winnow, write_shards: Write, tmp_path: Path, kind: pa.DataType
):
    uids, values, reasons = zip(*FAULTY, strict=True)
    table = pa.table({"uid": uids, "iv": pa.array(values, kind)})
    run = embed(winnow, write_shards(tmp_path / "p", table, 4, 3), tmp_path / "r")
    expected = {u: r for u, r in zip(uids, reasons, strict=True) if r}
    assert {row["uid"]: row["reason"] for row in run.quarantine()} == expected
    given = dict(zip(uids, values, strict=True))
    for uid, vector in vectors(run).items():
        np.testing.assert_array_equal(vector, unit(given[uid]))
    assert run.result.quarantined == len(expected)


@pytest.mark.parametrize(
    "inner", [pa.float16(), pa.float32(), pa.int32(), pa.float64()]
)
def test_fixed_size_lists_of_any_number(
    winnow: Winnow, write_shards: Write, tmp_path: Path, inner: pa.DataType
):
    table = pa.table(
        {
            "uid": ["a", "b", "c"],
            "iv": pa.array([[1, 2, 2], None, [0, 0, 0]], pa.list_(inner, 3)),
        }
    )
    run = embed(winnow, write_shards(tmp_path / "p", table), tmp_path / "r")
    np.testing.assert_array_equal(vectors(run)["a"], unit([1, 2, 2]))
    assert {row["uid"]: row["reason"] for row in run.quarantine()} == {
        "b": "vector_missing",
        "c": "vector_zero",
    }


def test_image_and_text_vectors_must_have_one_length(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    table = pa.table({"uid": ["a"], "iv": [[1.0, 2.0]], "tv": [[1.0, 2.0, 3.0]]})
    pool = write_shards(tmp_path / "p", table)
    with pytest.raises(ConfigError, match=r"embed.*'iv'.*2.*'tv'.*3"):
        winnow(pool, tmp_path / "r", ["embed"])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array(["x"]), "holds string, not vectors"),
        (pa.array([["x"]]), "not vectors"),
        (pa.array([None], pa.list_(pa.float32())), "no vector at all"),
    ],
    ids=["string", "list of strings", "nulls"],
)
def test_a_column_that_holds_no_vectors_is_named(
    winnow: Winnow, write_shards: Write, tmp_path: Path, column: pa.Array, message: str
):
    pool = write_shards(tmp_path / "p", pa.table({"uid": ["a"], "iv": column}))
    with pytest.raises((ConfigError, InputError), match=message):
        embed(winnow, pool, tmp_path / "r")


def test_a_missing_vector_column_names_the_nearest(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    pool = write_shards(tmp_path / "p", pa.table({"uid": ["a"], "img_vec": [[1.0]]}))
    with pytest.raises(InputError, match=r"no column 'img_vek'.*'img_vec'"):
        embed(winnow, pool, tmp_path / "r", image_column="img_vek")
    assert not (tmp_path / "r").exists()


@pytest.fixture
def layout(tmp_path: Path) -> Callable[..., Path]:
    """Return make(vectors by uid, parts): a folder in clip-retrieval's layout."""

    def make(given: dict[str, list[float]], parts: int = 2, **extra: Any) -> Path:
        folder = tmp_path / "clip"
        for name in ("img_emb", "text_emb", "metadata"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        uids = list(given)
        for part in range(parts):
            chosen = uids[part::parts]
            matrix = np.array([given[uid] for uid in chosen], np.float16)
            np.save(folder / "img_emb" / f"img_emb_{part}.npy", matrix)
            np.save(folder / "text_emb" / f"text_emb_{part}.npy", -matrix)
            table = pa.table({"uid": chosen, "caption": [""] * len(chosen)})
            pq.write_table(table, folder / "metadata" / f"metadata_{part}.parquet")
        return folder

    return make


UIDS = [f"u{i}" for i in range(9)]


@pytest.fixture
def pool(write_shards: Write, tmp_path: Path) -> Path:
    return write_shards(tmp_path / "p", pa.table({"uid": UIDS}), 4)


def from_layout(
    winnow: Winnow, pool: Path, out: Path, folder: Path, **more: Any
) -> Any:
    settings = {
        "image_column": None,
        "text_column": None,
        "clip_retrieval": str(folder),
    }
    return winnow(pool, out, ["embed"], embed={**settings, **more})


def test_clip_retrieval_vectors_are_joined_by_uid(
    winnow: Winnow, pool: Path, layout: Callable[..., Path], tmp_path: Path
):
    rng = np.random.default_rng(0)
    given = {uid: rng.normal(size=4).tolist() for uid in [*UIDS[::-1][1:], "stranger"]}
    run = from_layout(winnow, pool, tmp_path / "r", layout(given))
    image, text = vectors(run), vectors(run, "text_vector")
    assert set(image) == set(UIDS[:-1])
    for uid in image:
        expected = unit(np.asarray(given[uid], np.float16))
        np.testing.assert_array_equal(image[uid], expected)
        np.testing.assert_array_equal(text[uid], -expected)
    (row,) = run.quarantine()
    assert (row["uid"], row["reason"]) == ("u8", "vector_missing")


def test_vectors_of_one_modality_suffice(
    winnow: Winnow, pool: Path, layout: Callable[..., Path], tmp_path: Path
):
    folder = layout({uid: [1.0, float(i)] for i, uid in enumerate(UIDS)})
    (folder / "text_emb" / "text_emb_0.npy").unlink()
    run = from_layout(winnow, pool, tmp_path / "r", folder, modalities=["image"])
    assert len(vectors(run)) == 9


def test_other_vectors_in_the_folder_are_noticed(
    winnow: Winnow, pool: Path, layout: Callable[..., Path], tmp_path: Path
):
    folder = layout({uid: [1.0, 0.0] for uid in UIDS})
    from_layout(winnow, pool, tmp_path / "r", folder)
    again = from_layout(winnow, pool, tmp_path / "r", folder)
    assert again.result.ran == []
    layout({uid: [0.0, 1.0] for uid in UIDS}, parts=3)
    changed = from_layout(winnow, pool, tmp_path / "r", folder)
    assert changed.result.ran == ["embed"]
    assert vectors(changed)["u0"].tolist() == [0.0, 1.0]


def test_a_uid_stored_twice_is_an_error(
    winnow: Winnow, pool: Path, layout: Callable[..., Path], tmp_path: Path
):
    folder = layout({uid: [1.0, 0.0] for uid in UIDS})
    copy = folder / "metadata" / "metadata_0.parquet"
    table = pq.ParquetFile(copy).read()
    twice = table.set_column(0, "uid", pa.array(["u0"] * len(table)))
    pq.write_table(twice, copy)
    with pytest.raises(InputError, match=r"'u0'.*twice|u0.*several"):
        from_layout(winnow, pool, tmp_path / "r", folder)


def no_metadata(folder: Path) -> str:
    for file in (folder / "metadata").iterdir():
        file.unlink()
    return "no metadata/metadata_N.parquet"


def no_vectors(folder: Path) -> str:
    (folder / "img_emb" / "img_emb_1.npy").unlink()
    return r"img_emb_1\.npy is missing"


def other_rows(folder: Path) -> str:
    np.save(folder / "img_emb" / "img_emb_1.npy", np.ones((2, 2), np.float16))
    return r"img_emb_1\.npy: \(2, 2\) vectors for 4 rows"


def other_length(folder: Path) -> str:
    np.save(folder / "img_emb" / "img_emb_1.npy", np.ones((4, 3), np.float16))
    return "differ in length|several lengths"


def other_length_of_a_part(folder: Path) -> str:
    for name in ("img_emb", "text_emb"):
        np.save(folder / name / f"{name}_1.npy", np.ones((4, 3), np.float16))
    return "several lengths"


def pickled(folder: Path) -> str:
    objects = np.array([{}, {}, {}, {}], object)
    np.save(folder / "img_emb" / "img_emb_1.npy", objects, allow_pickle=True)
    return r"img_emb_1\.npy"


def truncated(folder: Path) -> str:
    file = folder / "img_emb" / "img_emb_1.npy"
    file.write_bytes(file.read_bytes()[:-4])
    return r"img_emb_1\.npy"


def no_numbers(folder: Path) -> str:
    np.save(folder / "img_emb" / "img_emb_1.npy", np.full((4, 2), "x"))
    return r"img_emb_1\.npy"


def broken_metadata(folder: Path) -> str:
    (folder / "metadata" / "metadata_1.parquet").write_bytes(b"PAR1")
    return r"metadata_1\.parquet"


def no_uid(folder: Path) -> str:
    table = pa.table({"key": [0] * 4})
    pq.write_table(table, folder / "metadata" / "metadata_1.parquet")
    return "no column 'uid'"


@pytest.mark.parametrize(
    "spoil",
    [
        no_metadata,
        no_vectors,
        other_rows,
        other_length,
        other_length_of_a_part,
        pickled,
        truncated,
        no_numbers,
        broken_metadata,
        no_uid,
    ],
)
def test_a_spoilt_layout_is_an_input_error_that_names_the_file(
    winnow: Winnow,
    pool: Path,
    layout: Callable[..., Path],
    tmp_path: Path,
    spoil: Callable[[Path], str],
):
    folder = layout({uid: [1.0, 0.5] for uid in UIDS})
    with pytest.raises(InputError, match=spoil(folder)):
        from_layout(winnow, pool, tmp_path / "r", folder)
