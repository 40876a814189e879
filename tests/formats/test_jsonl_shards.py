"""JSON Lines shards: rows by reference, whole lines back, broken ones named."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.core.errors import InputError
from winnow.formats.jsonl_fields import LINE
from winnow.formats.jsonl_shards import JsonLinesFormat
from winnow.formats.pool_formats import format_of
from winnow.formats.reader import Unreadable
from winnow.formats.shard_discovery import (
    find_shards,
    read_footers,
)

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
Winnow = Callable[..., Any]


def write_lines(path: Path, lines: Iterable[bytes], *, ended: bool = True) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b"\n".join(lines) + (b"\n" if ended else b"")
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(content))
    elif path.name.endswith(".zst"):
        with pa.CompressedOutputStream(pa.OSFile(str(path), "wb"), "zstd") as out:
            out.write(content)
    else:
        path.write_bytes(content)
    return str(path)


def read_lines(folder: Path) -> list[bytes]:
    lines: list[bytes] = []
    for file in sorted(folder.iterdir()):
        with pa.input_stream(str(file), compression="detect") as source:
            content = source.read()
        assert content.endswith(b"\n") or not content
        lines += content.split(b"\n")[:-1]
    return lines


def documents(rows: int, seed: int = 0) -> list[bytes]:
    """Objects of several spellings, with nested and missing fields."""
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(rows):
        document = {
            "uid": f"u{i:04d}",
            "text": " ".join(f"w{n}" for n in rng.integers(0, 10**6, 30)) + " ünï",
            "meta": {"n": i, "tags": ["t"] * (i % 3)},
        }
        if i % 4:
            document["score"] = i / 2
        pad = {"indent": None, "separators": (",", ":")} if i % 2 else {}
        lines.append(json.dumps(document, ensure_ascii=i % 3 == 0, **pad).encode())
    return lines


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("ended", [True, False])
def test_rows_come_by_number_with_fields_and_line(
    tmp_path: Path, suffix: str, ended: bool
):
    lines = documents(3000)
    path = write_lines(tmp_path / f"a{suffix}", lines, ended=ended)
    (shard,), schema, _ = read_footers([path])
    assert shard.rows == 3000
    kinds = {field.name: field.type for field in schema}
    assert kinds == {
        LINE: pa.binary(),
        "uid": pa.string(),
        "text": pa.string(),
        "meta": pa.string(),
        "score": pa.float64(),
    }
    rows = np.array([0, 1, 7, 1023, 1024, 2048, 2999])
    columns = ["text", LINE, "score", "meta"]
    parts = [part for _, part in format_of(path).read_rows(path, rows, columns, schema)]
    rows_read = pa.concat_tables(parts)
    wanted = [json.loads(lines[i]) for i in rows]
    assert rows_read["text"].to_pylist() == [d["text"] for d in wanted]
    assert rows_read["score"].to_pylist() == [d.get("score") for d in wanted]
    assert [json.loads(m) for m in rows_read["meta"].to_pylist()] == [
        d["meta"] for d in wanted
    ]
    assert rows_read[LINE].to_pylist() == [lines[i] for i in rows]


def test_broken_lines_cost_their_rows_only(tmp_path: Path):
    lines = documents(40)
    broken = {
        3: b'{"uid": "u", "text"',
        4: b"[1, 2]",
        17: b"nil",
        18: b'{"uid": "x", "text": "\xff"}',
        20: b'{"uid": "x", "text": "\\ud800"}',
        21: b'{"uid": "x", "text": ' + b"[" * 100_000,
        39: b"nonsense",
    }
    for row, line in broken.items():
        lines[row] = line
    path = write_lines(tmp_path / "a.jsonl", lines)
    _, schema, _ = read_footers([path])
    texts: dict[int, str] = {}
    reasons: dict[int, str] = {}
    for position, part in format_of(path).read_rows(
        path, np.arange(40), ["text"], schema
    ):
        if isinstance(part, Unreadable):
            reasons |= {position + i: part.reason for i in range(part.rows)}
        else:
            texts |= dict(enumerate(part["text"].to_pylist(), position))
    assert set(reasons) == set(broken)
    assert set(texts) == set(range(40)) - set(broken)
    assert all(texts[i] == json.loads(lines[i])["text"] for i in texts)
    for row, reason in reasons.items():
        assert reason.startswith(f"broken_line: line {row + 1}: ")
        assert "line 1 column" not in reason
    assert "not a JSON object" in reasons[4]
    assert "text" in reasons[20]
    # Whole lines need no parsing, so a broken line is still to be had.
    ((_, table),) = format_of(path).read_rows(path, np.array([3, 17]), [LINE], schema)
    assert table[LINE].to_pylist() == [broken[3], broken[17]]


def test_what_is_no_string_is_its_json_text(tmp_path: Path):
    lines = [*documents(1200), b'{"text": 5}', b'{"text": ["a", 1]}', b'{"text": null}']
    path = write_lines(tmp_path / "a.jsonl", lines)
    _, schema, _ = read_footers([path])
    ((_, table),) = format_of(path).read_rows(
        path, np.arange(1200, 1203), ["text"], schema
    )
    assert table["text"].to_pylist() == ["5", '["a", 1]', None]


def test_lines_longer_than_a_block(tmp_path: Path):
    long = json.dumps({"uid": "long", "text": "x" * 9_000_000}).encode()
    lines = [b'{"uid":"a","text":"1"}', long, b'{"uid":"b","text":"2"}']
    path = write_lines(tmp_path / "a.jsonl.gz", lines)
    table = pa.concat_tables(
        part for _, part in format_of(path).read_rows(path, np.arange(3), ["text"])
    )
    assert [len(t) for t in table["text"].to_pylist()] == [1, 9_000_000, 1]


def test_shards_may_differ_in_fields_and_types(tmp_path: Path):
    a = write_lines(tmp_path / "a.jsonl", [b'{"uid":"a","n":1,"tags":[]}'])
    b = write_lines(
        tmp_path / "b.jsonl", [b'{"uid":7,"n":1.5,"tags":["x"],"only":null}']
    )
    _, schema, _ = read_footers([a, b])
    assert {f.name: f.type for f in schema if f.name != LINE} == {
        "uid": pa.string(),
        "n": pa.float64(),
        "tags": pa.list_(pa.string()),
        "only": pa.string(),
    }
    columns = ["uid", "n", "tags", "only"]
    rows_read = [
        row
        for path in (a, b)
        for _, part in format_of(path).read_rows(path, np.arange(1), columns, schema)
        for row in part.to_pylist()
    ]
    assert rows_read == [
        {"uid": "a", "n": 1.0, "tags": [], "only": None},
        {"uid": "7", "n": 1.5, "tags": ["x"], "only": None},
    ]


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst"])
def test_a_truncated_shard_is_an_error_or_left_out(tmp_path: Path, suffix: str):
    path = Path(write_lines(tmp_path / f"a{suffix}", documents(5000)))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match="truncated"):
        read_footers([str(path)])
    whole = write_lines(tmp_path / f"b{suffix}", documents(10))
    shards, _, bad = read_footers([str(path), whole], skip_bad=True)
    assert [shard.name for shard in shards] == [f"b{suffix}"]
    assert bad[0][0] == str(path)


def test_formats_do_not_mix(tmp_path: Path):
    write_lines(tmp_path / "a.jsonl", documents(3))
    pq.write_table(pa.table({"uid": ["x"]}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"a\.jsonl is JSON Lines, but .*b\.parquet"):
        find_shards(str(tmp_path))
    (only,) = find_shards(str(tmp_path / "*.jsonl"))
    assert isinstance(format_of(only), JsonLinesFormat)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_kept_lines_are_the_lines_that_came_in(
    winnow: Winnow, tmp_path: Path, suffix: str
):
    lines = documents(300)
    again = json.loads(lines[10])["text"]
    near = again.replace(again.split()[0], "other", 1)
    lines.append(json.dumps({"text": near, "uid": "z-near"}).encode() + b"  \r")
    lines.append(b"{broken")
    lines.append(b'{"uid": "no-text"}')
    for number, start in enumerate(range(0, len(lines), 70)):
        write_lines(tmp_path / "p" / f"{number}{suffix}", lines[start : start + 70])
    columns = {"uid": "uid", "image": None, "text": "text"}
    run = winnow(
        tmp_path / "p",
        tmp_path / "r",
        ["exact", "minhash", "apply"],
        input={"path": str(tmp_path / "p"), "columns": columns},
        exact={"by": ["caption"]},
        apply={"shard_rows": 100},
    )
    kept = run.path / "kept"
    assert [file.name for file in sorted(kept.iterdir())] == [
        f"part-{i:05d}{suffix}" for i in range(4)
    ]
    assert read_lines(kept) == [*lines[:300], lines[302]]
    ledger = run.ledger("minhash")
    assert ledger["z-near"]["kept_twin"] == "u0010"
    assert ledger["no-text"]["reason"] == "no_text"
    (bad,) = run.quarantine()
    assert (bad["source"], bad["row"], bad["step"]) == (f"4{suffix}", 21, "index")
    assert bad["raw"] == {"line": b"{broken"}
    assert bad["reason"].startswith("broken_line: line 22: not JSON")


def test_lines_and_parquet_of_the_same_rows_are_decided_alike(
    winnow: Winnow, tmp_path: Path
):
    lines = documents(200, 1)
    for i in range(0, 200, 9):
        document = json.loads(lines[i])
        document["uid"] += "-copy"
        document["text"] += " tail"
        lines.append(json.dumps(document).encode())
    write_lines(tmp_path / "lines" / "a.jsonl.zst", lines)
    rows = [json.loads(line) for line in lines]
    (tmp_path / "parquet").mkdir()
    table = pa.table({name: [row[name] for row in rows] for name in ("uid", "text")})
    pq.write_table(table, tmp_path / "parquet" / "a.parquet")
    columns = {"uid": "uid", "image": None, "text": "text"}
    ledgers = []
    for kind in ("lines", "parquet"):
        pool = tmp_path / kind
        run = winnow(
            pool,
            tmp_path / f"run-{kind}",
            ["minhash"],
            input={"path": str(pool), "columns": columns},
        )
        ledgers.append(run.ledger("minhash"))
    assert ledgers[0] == ledgers[1]
    assert sum(not row["keep"] for row in ledgers[0].values()) == 23


def test_rows_without_uids_are_named_by_their_content(winnow: Winnow, tmp_path: Path):
    write_lines(tmp_path / "p" / "a.jsonl", [b'{"text":"a b"}', b'{"text":"c d"}'])
    run = winnow(
        tmp_path / "p",
        tmp_path / "r",
        ["minhash", "apply"],
        input={
            "path": str(tmp_path / "p"),
            "columns": {"uid": None, "image": None, "text": "text"},
        },
    )
    assert run.result.kept == 2
    assert all(len(uid) == 32 for uid in run.ledger("minhash"))


def lines_of(folder: Path, content: bytes, name: str = "a.jsonl") -> Path:
    folder.mkdir()
    (folder / name).write_bytes(content)
    return folder


def test_a_field_whose_name_is_no_text_costs_nothing(tmp_path: Path):
    odd = b'{"uid": "u1", "text": "a b", "\\ud800": 1}'
    pool = lines_of(tmp_path / "p", odd + b"\n")
    (shard,), schema, _ = read_footers(find_shards(str(pool)))
    assert schema.names == [LINE, "uid", "text"]
    ((_, table),) = format_of(shard.path).read_rows(
        shard.path, np.arange(1), [LINE, "text"], schema
    )
    assert table.to_pylist() == [{LINE: odd, "text": "a b"}]


def test_blank_lines_are_no_rows(tmp_path: Path):
    content = b"\n".join(
        [b"", b'{"uid": "1"}', b"  \r", b"", b'{"uid": "2"}', b"\t", b""]
    )
    pool = lines_of(tmp_path / "p", content)
    (shard,), schema, _ = read_footers(find_shards(str(pool)))
    assert shard.rows == 2
    ((_, table),) = format_of(shard.path).read_rows(
        shard.path, np.arange(2), ["uid"], schema
    )
    assert table["uid"].to_pylist() == ["1", "2"]


@pytest.mark.parametrize("members", [1, 2])
def test_gzip_may_be_followed_by_zeros_and_by_more_gzip(tmp_path: Path, members: int):
    content = b"".join(gzip.compress(b'{"uid": "%d"}\n' % i) for i in range(members))
    pool = lines_of(tmp_path / "p", content + bytes(700), "a.jsonl.gz")
    (shard,), _, _ = read_footers(find_shards(str(pool)))
    assert shard.rows == members


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "there is no line"),
        (b"\n \n", "there is no line"),
        (b"nonsense\n{\n", "none of the first lines of 2 is a JSON object"),
    ],
)
def test_a_pool_without_an_object_is_told_so(
    tmp_path: Path, content: bytes, message: str
):
    pool = lines_of(tmp_path / "p", content)
    with pytest.raises(InputError, match=message):
        read_footers(find_shards(str(pool)))


def test_a_broken_line_is_named_by_its_number_in_the_file(tmp_path: Path):
    lines = [b'{"text": "x"}', b"", b"{broken", b" \t", b"", b'{"text": 1'] * 700
    path = write_lines(tmp_path / "a.jsonl", lines)
    _, schema, _ = read_footers([path])
    rows = np.arange(3 * 700)
    parts = format_of(path).read_rows(path, rows, ["text"], schema)
    told = [part.reason for _, part in parts if isinstance(part, Unreadable)]
    numbers = [n for n in range(1, len(lines) + 1) if n % 6 in (3, 0)]
    assert [reason.split(": ")[1] for reason in told] == [
        f"line {number:,}" for number in numbers
    ]


def test_no_message_names_the_column_of_whole_lines(winnow: Winnow, tmp_path: Path):
    (tmp_path / "p").mkdir()
    write_lines(tmp_path / "p" / "a.jsonl", documents(3))
    columns = {"uid": "uid", "image": None, "text": "txt"}
    given = {"path": str(tmp_path / "p"), "columns": columns}
    by = {"by": ["caption"]}
    with pytest.raises(InputError, match="no column 'txt'; did you mean 'text'"):
        winnow(
            tmp_path / "p", tmp_path / "r", ["exact", "apply"], input=given, exact=by
        )
    columns["text"] = "?"
    with pytest.raises(InputError) as raised:
        winnow(
            tmp_path / "p", tmp_path / "r", ["exact", "apply"], input=given, exact=by
        )
    assert "known:" in str(raised.value)
    assert "__" not in str(raised.value)
