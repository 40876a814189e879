"""Columns that are equal by value and not in type, notation, metadata or bits."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow import api
from winnow.config.recipes import load_lake
from winnow.lake.apply import apply_plan, restore
from winnow.lake.plan import plan_lake

INSTANTS = [dt.datetime(2024, 1, 1, 1), dt.datetime(2024, 1, 2, 2), None]
SPANS = [dt.timedelta(seconds=1), dt.timedelta(days=2), None]
TEXTS = pa.array(["a", "b", None])
BYTES = [b"ab", b"cd", None]
POINT = b"\x01\x01\x00\x00\x00" + b"\x00" * 16


class Geometry(pa.ExtensionType):
    """What pyarrow writes as Parquet's own GEOMETRY."""

    def __init__(self, crs: str = "") -> None:
        self.crs = crs
        super().__init__(pa.binary(), "geoarrow.wkb")

    def __arrow_ext_serialize__(self) -> bytes:
        return self.crs.encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: Any, written: bytes) -> Geometry:
        return cls(written.decode())


@pytest.fixture
def geometry() -> Iterator[None]:
    pa.register_extension_type(Geometry())
    yield
    pa.unregister_extension_type("geoarrow.wkb")


class Pair(NamedTuple):
    """Two columns, and what a scan says of the first in the second and back."""

    one: pa.Array
    other: pa.Array
    told: str = ""
    back: str = ""
    #: Which may go as it is had back in its own types: the one, the other, both.
    may_go: str = ""


def stamp(unit: str, zone: str | None = None) -> pa.Array:
    return pa.array(INSTANTS, pa.timestamp(unit, zone))


def span(unit: str) -> pa.Array:
    return pa.array(SPANS, pa.duration(unit))


def kind(one: str, other: str) -> tuple[str, str]:
    return f"type {one} → {other}", f"type {other} → {one}"


HALF, FLOAT = (pa.array([0.5, 1.5], k) for k in (pa.float16(), pa.float32()))
FIXED, FREE = pa.array(BYTES, pa.binary(2)), pa.array(BYTES)
IDS = pa.ExtensionArray.from_storage(
    pa.uuid(), pa.array([bytes(range(16)), b"\xff" * 16, None], pa.binary(16))
)
DOCUMENTS = pa.ExtensionArray.from_storage(
    pa.json_(), pa.array(['{"a": 1.0}', " [ ]", None])
)
# Booleans beside UUIDs come from DuckDB as numbers of eight bits.
NESTED = pa.StructArray.from_arrays(
    [IDS, pa.array([True, False, None]), pa.array([[True], [None], None])],
    ["id", "told", "all"],
)
DICTIONARY = "dictionary<values=string, indices=int32, ordered=0>"
PARIS = "timestamp[us, tz=Europe/Paris]"
IN_PARQUET = {
    "half": Pair(HALF, FLOAT, *kind("halffloat", "float"), "other"),
    "halves": Pair(HALF, HALF),
    "floats": Pair(FLOAT, FLOAT, may_go="both"),
    "milli": Pair(
        stamp("ms"), stamp("us"), *kind("timestamp[ms]", "timestamp[us]"), "other"
    ),
    "millis": Pair(stamp("ms"), stamp("ms")),
    "zone": Pair(
        stamp("us", "UTC"),
        stamp("us", "Europe/Paris"),
        *kind("timestamp[us, tz=UTC]", PARIS),
        "one",
    ),
    "zones": Pair(stamp("us", "Europe/Paris"), stamp("us", "Europe/Paris")),
    "span": Pair(span("s"), span("us"), *kind("duration[s]", "duration[us]")),
    "spans": Pair(span("us"), span("us")),
    "words": Pair(
        TEXTS.dictionary_encode(), TEXTS, *kind(DICTIONARY, "string"), "other"
    ),
    "fixed": Pair(FIXED, FREE, *kind("fixed_size_binary[2]", "binary"), "other"),
    "list": Pair(
        pa.array([[0.5]], pa.list_(pa.float32())),
        pa.array([[0.5]]),
        *kind("list<element: float>", "list<element: double>"),
    ),
    "uuid": Pair(
        IDS, IDS.storage, *kind("extension<arrow.uuid>", "fixed_size_binary[16]")
    ),
    "uuids": Pair(IDS, IDS, may_go="both"),
    "json": Pair(
        DOCUMENTS, DOCUMENTS.storage, *kind("extension<arrow.json>", "string")
    ),
    "jsons": Pair(DOCUMENTS, DOCUMENTS, may_go="both"),
    "nested": Pair(NESTED, NESTED, may_go="both"),
    "minus": Pair(pa.array([-0.0, 1.0]), pa.array([0.0, 1.0])),
}


def scanned(lake: Path) -> tuple[str, dict[tuple[str, str], str]]:
    """The run, and what each pair's edge says besides the number of rows."""
    run = lake.parent / "run"
    overrides = [f"input.path={json.dumps(str(lake))}", "plan.maintenance_per_table=1"]
    assert api.scan(load_lake("table_lake", overrides, str(run))).reasons == {}
    edges = pq.read_table(run / "edges.parquet").to_pylist()
    assert {edge["relation"] for edge in edges} == {"duplicate"}
    told = {}
    for edge in edges:
        first, _, rest = edge["reason"].partition("; ")
        assert first.startswith("all ")
        told[edge["child"], edge["parent"]] = rest
    return str(run), told


def gone(planned: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["table"]: row for row in planned["plan"] if row["action"] == "delete"}


def contents(lake: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in lake.iterdir()}


@pytest.mark.slow
def test_each_type_that_a_query_does_not_give_back_is_said_and_stays(
    tmp_path: Path,
) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    for name, pair in IN_PARQUET.items():
        for side, column in (("one", pair.one), ("other", pair.other)):
            pq.write_table(pa.table({name: column}), lake / f"{name}.{side}.parquet")
    run, told = scanned(lake)
    assert len(told) == 2 * len(IN_PARQUET)
    for name, pair in IN_PARQUET.items():
        one, other = f"{name}.one.parquet", f"{name}.other.parquet"
        begin = f"column {name} is equal by value, "
        assert told[one, other] == (begin + pair.told if pair.told else "")
        assert told[other, one] == (begin + pair.back if pair.back else "")
    deleted = gone(plan_lake(run))
    for name, pair in IN_PARQUET.items():
        sides = {s for s in ("one", "other") if f"{name}.{s}.parquet" in deleted}
        assert len(sides) == bool(pair.may_go), name
        assert pair.may_go == "both" or sides == {pair.may_go} - {""}, name
    for table, row in deleted.items():
        stored = pq.read_table(lake / table)
        duckdb.sql(f"COPY ({row['rebuild_sql']}) TO '{tmp_path}/given.parquet'")
        given = pq.read_table(tmp_path / "given.parquet")
        # DuckDB's name of the zone is that of the session.
        types = str(given.schema.types).replace("Etc/UTC", "UTC")
        assert types == str(stored.schema.types)
        assert given.to_pylist() == stored.to_pylist()
    before = contents(lake)
    assert set(apply_plan(run)["moved"]) == set(deleted)
    restore(run)
    assert contents(lake) == before


def test_a_notation_that_would_be_lost_is_said_and_stays(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    texts = {
        "a.one.csv": "a\n3.10\n3.9\n",
        "a.two.csv": "a\n3.1\n3.9\n",
        "b.one.csv": "b\n3.10\n3.9\n",
        "c.one.csv": "c\n3.5\n1e-07\n",
        "e.one.jsonl": '{"e": 3.10}\n{"e": 1e-7}\n',
        "g.one.jsonl": '{"g": 3.50}\n',
        "g.two.jsonl": '{"g": 3.5}\n',
    }
    for name, text in texts.items():
        (lake / name).write_text(text)
    columns: dict[str, dict[str, Any]] = {
        "b": {"b": [3.1, 3.9]},
        "c": {"c": [3.5, 1e-7]},
        "e": {"e": [3.1, 1e-7]},
    }
    for name, values in columns.items():
        pq.write_table(pa.table(values), lake / f"{name}.two.parquet")
    run, told = scanned(lake)
    differs = {
        pair[0]: rest.partition("notation differs: ")[2]
        for pair, rest in told.items()
        if rest
    }
    assert differs == {
        "a.one.csv": "3.10, 3.1",
        "a.two.csv": "3.1, 3.10",
        "b.one.csv": "3.10, 3.1",
        "e.one.jsonl": "3.10, 3.1",
        "g.one.jsonl": "3.50, 3.5",
    }
    planned = plan_lake(run, ["plan.protected=['*.two.parquet']"])
    assert set(gone(planned)) == {"c.one.csv", "g.two.jsonl"}
    why = {row["table"]: row["reason"] for row in planned["plan"]}
    for name in differs.keys() - {"g.one.jsonl"}:
        assert "notation differs" in why[name]
        assert "plan.types=relaxed" in why[name]


def test_metadata_of_a_column_that_its_parent_lacks_is_said_and_stays(
    tmp_path: Path, geometry: None
) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()

    def wkb(crs: str) -> pa.Array:
        kind = Geometry(json.dumps({"crs": crs}))
        return pa.ExtensionArray.from_storage(kind, pa.array([POINT]))

    def write(name: str, column: pa.Array, **said: Any) -> None:
        field = pa.field(name[0], column.type, metadata=said.get("field"))
        schema = pa.schema([field], metadata=said.get("file"))
        table = pa.table([column], schema=schema)
        pq.write_table(table, lake / f"{name}.parquet", store_schema=name[0] != "p")

    def geo(crs: str) -> dict[str, str]:
        column = {"encoding": "WKB", "geometry_types": [], "crs": crs}
        return {"geo": json.dumps({"primary_column": "g", "columns": {"g": column}})}

    write("p.one", wkb("EPSG:3857"))  # Parquet's own type
    write("p.two", wkb("EPSG:5070"))
    write("g.one", pa.array([POINT]), file=geo("EPSG:4326"))  # GeoParquet
    write("g.two", pa.array([POINT]), file=geo("EPSG:3857"))
    write("u.one", TEXTS, field={"unit": "m", "PARQUET:field_id": "1"})
    write("u.two", TEXTS, field={"unit": "ft"})
    write("n.one", TEXTS, field={"unit": "m"})
    write("n.two", TEXTS)
    write("s.one", TEXTS, field={"unit": "m", "PARQUET:field_id": "1"})
    write("s.two", TEXTS, field={"unit": "m"})
    run, told = scanned(lake)
    assert {pair[0].removesuffix(".parquet"): rest for pair, rest in told.items()} == {
        "p.one": "column p is equal by value, its logical type differs: "
        "Geometry(crs=EPSG:3857) → Geometry(crs=EPSG:5070)",
        "p.two": "column p is equal by value, its logical type differs: "
        "Geometry(crs=EPSG:5070) → Geometry(crs=EPSG:3857)",
        "g.one": "column g is equal by value, its crs differs: EPSG:4326 → EPSG:3857",
        "g.two": "column g is equal by value, its crs differs: EPSG:3857 → EPSG:4326",
        "u.one": "column u is equal by value, its unit differs: m → ft",
        "u.two": "column u is equal by value, its unit differs: ft → m",
        "n.one": "column n is equal by value, its unit differs: m → none",
        "n.two": "",
        "s.one": "",
        "s.two": "",
    }
    deleted = {name.removesuffix(".parquet") for name in gone(plan_lake(run))}
    assert deleted - {"s.one"} in ({"n.two"}, {"n.two", "s.two"})
    assert len(deleted) == 2
