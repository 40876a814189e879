"""Tars as pools: rows are samples, and what is odd about a tar has a stated outcome.

Judges: WebDataset's own writer and reader, and tarfile.
"""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from winnow.core.errors import InputError
from winnow.formats import tar_index
from winnow.formats.shard_discovery import find_pool, read_footers
from winnow.formats.tar_columns import MEMBERS
from winnow.formats.tar_shards import WebDatasetFormat

from tests.examples import examples
from tests.formats.tars import read, sample, write_tar

#: A picture of one pixel is enough where nothing decodes it.
JPEG = b"\xff\xd8\xff picture"


@pytest.fixture(autouse=True)
def cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("WINNOW_CACHE", str(folder))
    tar_index._index.cache_clear()
    return folder


def test_samples_of_webdatasets_writer_are_rows_with_their_members(tmp_path: Path):
    vector = np.arange(4, dtype=np.float32)
    with webdataset.ShardWriter(str(tmp_path / "%05d.tar"), maxcount=3) as writer:
        for number in range(5):
            writer.write(
                {
                    "__key__": f"set/{number:04d}",
                    "jpg": JPEG + bytes([number]),
                    "txt": f"caption {number}",
                    "cls": number,
                    "npy": vector + number,
                    "json": {"width": number, "tags": ["a"]},
                }
            )
    names = ["__key__", "uid", "image", "text", "cls", "npy", "width", "tags"]
    rows = read(tmp_path, names)
    assert rows == [
        {
            "__key__": f"set/{number:04d}",
            "uid": f"set/{number:04d}",
            "image": JPEG + bytes([number]),
            "text": f"caption {number}",
            "cls": number,
            "npy": (vector + number).tolist(),
            "width": number,
            "tags": ["a"],
        }
        for number in range(5)
    ]


@settings(max_examples=examples(15, 30), deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "f/a", "c.d/a", "é"]),
            st.sampled_from(["jpg", "txt", "seg.png"]),
            st.binary(max_size=600),
        ),
        max_size=12,
    ),
    st.lists(st.integers(0, 11), unique=True),
)
def test_any_order_of_members_gives_the_samples_of_a_plain_reading(
    tmp_path_factory: pytest.TempPathFactory, members, picked
):
    folder = tmp_path_factory.mktemp("any")
    tar_index._index.cache_clear()
    file = write_tar(folder / "0.tar", [(f"{k}.{e}", d) for k, e, d in members])
    wanted: dict[tuple[str, int], list[tuple[str, bytes]]] = {}
    for number, (key, ending, data) in enumerate(members):
        earlier = sum((k, e) == (key, ending) for k, e, _ in members[:number])
        wanted.setdefault((key, earlier), []).append((f"{key}.{ending}", data))
    kind = WebDatasetFormat()
    footer = kind.footer(str(file))
    assert footer.rows == len(wanted)
    rows = np.array(sorted(n for n in picked if n < len(wanted)), np.int64)
    samples = [list(wanted.values())[row] for row in rows]
    parts = [part for _, part in kind.read_rows(str(file), rows, [MEMBERS])]
    got = [row[MEMBERS] for part in parts for row in part.to_pylist()]
    assert got == [[{"name": n, "data": d} for n, d in s] for s in samples]


def test_a_key_that_comes_again_is_a_further_row_of_its_uid(tmp_path: Path):
    twice = [*sample("a", b"1", "one"), *sample("a", b"2", "two")]
    write_tar(tmp_path / "0.tar", twice)
    assert read(tmp_path, ["uid", "text"]) == [
        {"uid": "a", "text": "one"},
        {"uid": "a", "text": "two"},
    ]


def test_what_is_no_sample_is_left_out_as_webdataset_leaves_it_out(tmp_path: Path):
    members = [
        ("README", b"x"),
        ("__meta__", b"x"),
        ("._a.jpg", b"x"),
        *sample("a", JPEG, "t"),
    ]
    file = write_tar(tmp_path / "0.tar", members)
    assert read(tmp_path, ["__key__", "text"]) == [{"__key__": "a", "text": "t"}]
    theirs = list(webdataset.WebDataset(str(file), shardshuffle=False))
    assert [s["__key__"] for s in theirs] == ["a"]


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("a.txt", tarfile.SYMTYPE, "tar_member_not_a_file: a.txt (a link)"),
        ("a.txt", tarfile.LNKTYPE, "tar_member_not_a_file: a.txt (a link)"),
        ("a.txt", tarfile.FIFOTYPE, "tar_member_not_a_file: a.txt (a device"),
        ("../a.txt", tarfile.REGTYPE, "tar_member_outside: ../a.txt"),
        ("/etc/a.txt", tarfile.REGTYPE, "tar_member_outside: /etc/a.txt"),
        ("x/../../a.txt", tarfile.REGTYPE, "tar_member_outside"),
        ("%2e%2e/a.txt", tarfile.REGTYPE, "tar_member_outside"),
    ],
)
def test_links_and_names_that_lead_out_cost_their_row(tmp_path, name, kind, reason):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for member in ("good.txt", name):
            info = tarfile.TarInfo(member)
            info.type = kind if member == name else tarfile.REGTYPE
            info.linkname = "/etc/passwd"
            tar.addfile(info)
    good, bad = read(tmp_path, ["uid", "text"])
    assert good == {"uid": "good", "text": ""}
    assert str(bad).startswith(reason)


@pytest.mark.parametrize("style", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_and_foreign_names_are_read_and_handed_on(tmp_path: Path, style: int):
    key = "f/" + "é" * 90 + "/" + "k" * 150
    write_tar(tmp_path / "0.tar", sample(key, JPEG, "t"), format=style)
    ((row),) = read(tmp_path, ["__key__", MEMBERS])
    assert row["__key__"] == key
    kept = tmp_path / "kept.tar"
    sink = WebDatasetFormat().sink(kept, pa.schema([]))
    sink.write(pa.table({MEMBERS: [row[MEMBERS]]}))
    sink.close()
    (theirs,) = webdataset.WebDataset(str(kept), shardshuffle=False)
    assert (theirs["__key__"], theirs["jpg"], theirs["txt"]) == (key, JPEG, b"t")


@pytest.mark.parametrize("left", [100, 700, 1700, 2000])
def test_a_tar_that_is_cut_off_is_an_error_or_left_out(tmp_path: Path, left: int):
    whole = write_tar(tmp_path / "a.tar", sample("a", b"x" * 1000, "t"))
    (tmp_path / "b.tar").write_bytes(whole.read_bytes()[:left])
    pool = find_pool(str(tmp_path))
    with pytest.raises(InputError, match=r"b\.tar: not a whole tar.*on_bad_shard"):
        read_footers(pool.paths, kind=pool.kind)
    (shard,), _, ((path, _),) = read_footers(pool.paths, kind=pool.kind, skip_bad=True)
    assert (shard.name, path[-5:]) == ("a.tar", "b.tar")


def test_a_tar_without_its_end_marks_is_whole(tmp_path: Path):
    file = write_tar(tmp_path / "a.tar", [("a.txt", b"x" * 512)])
    file.write_bytes(file.read_bytes()[:1024])
    assert read(tmp_path, ["text"]) == [{"text": "x" * 512}]


def test_garbage_between_members_is_no_end(tmp_path: Path):
    file = write_tar(tmp_path / "a.tar", [(f"{n}.txt", b"x" * 512) for n in range(4)])
    data = bytearray(file.read_bytes())
    data[1024:1536] = b"\x55" * 512
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"after 1 members \('0\.txt'\)"):
        read(tmp_path, ["text"])


def test_a_broken_member_costs_its_row_where_it_is_read(tmp_path: Path):
    members = [
        ("a.cls", b"1"),
        ("b.cls", b"one"),
        ("c.cls", b"3"),
        ("a.json", b"{}"),
        ("c.json", b"[1]"),
    ]
    write_tar(tmp_path / "0.tar", members)
    assert [str(row)[:20] for row in read(tmp_path, ["cls"])] == [
        "{'cls': 1}",
        "broken_member: cls: ",
        "{'cls': 3}",
    ]
    assert str(read(tmp_path, ["uid"])[2]).startswith("broken_member: not a JSON")


def test_no_pickle_is_loaded_from_an_array(tmp_path: Path):
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    data = buffer.getvalue()
    write_tar(tmp_path / "0.tar", [("a.npy", data), ("a.txt", b"t")])
    assert read(tmp_path, ["npy"]) == [{"npy": data}]


def test_keys_with_dots_are_named(tmp_path: Path):
    members = [(f"{n}.{n}.jpg", JPEG) for n in range(100)]
    write_tar(tmp_path / "0.tar", members)
    with pytest.raises(InputError, match=r"100 different endings.*without dots"):
        read(tmp_path, ["image"])


@pytest.mark.parametrize("name", ["0.tar.gz", "0.tgz", "0.tar.zst"])
def test_a_compressed_tar_is_refused_in_one_line(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"\x1f\x8b....")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(InputError, match=f"{name} is a compressed tar.*plain .tar"):
            find_pool(str(path))


def test_downloads_that_failed_are_rows_with_their_reason(tmp_path: Path):
    write_tar(tmp_path / "00000.tar", sample("000000000", JPEG, "t", status="ok"))
    about = {
        "key": ["000000000", "000000001"],
        "status": ["success", "failed_to_download"],
        "error_message": [None, "HTTP Error 404: Not Found"],
    }
    pq.write_table(pa.table(about), tmp_path / "00000.parquet")
    (tmp_path / "00000_stats.json").write_text(json.dumps({"count": 2}))
    assert find_pool(str(tmp_path)).kind.name == "webdataset"
    rows = read(tmp_path, ["uid", "text"])
    assert rows == [
        {"uid": "000000000", "text": "t"},
        "not_downloaded: HTTP Error 404: Not Found",
    ]


def test_other_parquet_files_beside_tars_are_a_second_format(tmp_path: Path):
    write_tar(tmp_path / "0.tar", sample("a", JPEG, "t"))
    pq.write_table(pa.table({"uid": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match=r"is WebDataset|is Parquet, but .*WebDataset"):
        find_pool(str(tmp_path))


def test_equal_keys_of_several_tars_stay_apart_in_one_kept_tar(tmp_path: Path):
    sink = WebDatasetFormat().sink(tmp_path / "kept.tar", pa.schema([]))
    for text in ("one", "two", "three"):
        rows = [[{"name": n, "data": d} for n, d in sample("a", JPEG, text)]]
        sink.write(pa.table({MEMBERS: rows}))
    sink.close()
    kept = webdataset.WebDataset(str(tmp_path / "kept.tar"), shardshuffle=False)
    assert [(s["__key__"], s["txt"]) for s in kept] == [
        ("a", b"one"),
        ("2/a", b"two"),
        ("3/a", b"three"),
    ]


def test_the_index_is_made_once_and_not_believed_of_another_tar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = write_tar(tmp_path / "0.tar", sample("a", JPEG, "t"))
    assert read(tmp_path, ["text"]) == [{"text": "t"}]
    made = []
    monkeypatch.setattr(
        tar_index, "_members", lambda path: made.append(path) or iter(())
    )
    tar_index._index.cache_clear()
    assert read(tmp_path, ["text"]) == [{"text": "t"}]
    assert made == []
    write_tar(file, sample("a", JPEG, "longer " * 2000))
    read_footers([str(file)], kind=WebDatasetFormat())
    assert made == [str(file)]


def test_a_damaged_index_is_made_again(tmp_path: Path, cache: Path):
    write_tar(tmp_path / "0.tar", sample("a", JPEG, "t"))
    assert read(tmp_path, ["text"]) == [{"text": "t"}]
    for file in (cache / "tars").iterdir():
        file.write_bytes(b"PAR1 nothing")
    tar_index._index.cache_clear()
    assert read(tmp_path, ["text"]) == [{"text": "t"}]


def test_the_format_goes_to_workers():
    assert isinstance(pickle.loads(pickle.dumps(WebDatasetFormat())), WebDatasetFormat)
