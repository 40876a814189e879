"""Families of hostile inputs; each function plays one case and raises what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import random
import shutil
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from canary import SECRET
from PIL import Image
from pyarrow import csv, feather
from winnow.cli.main import main as command
from winnow.config.any_recipe import read_recipe
from winnow.config.overrides import read as read_overrides
from winnow.config.recipes import shipped
from winnow.core.errors import ConfigError, InputError, QueryError
from winnow.formats.clip_retrieval import map_numbers
from winnow.formats.image_files import read_image
from winnow.formats.reader import SampleReader
from winnow.formats.shard_discovery import find_shards, read_footers
from winnow.models.images import ImageRejected, decode_rgb, pixel_digest
from winnow.pages.closed_sql import ClosedSql

ROWS = 60
PORT, TOKEN = 4321, "t" * 32

_VALUES = """
.inf .nan -1 0 1e400 99999999999999999999999 2024-13-45 !!int "" [ { ] } &a *a null
true '' ~ 0x1f 1_000 \x00 é .. / \u202e [[[[[[]]]]]] {a: {b: {}}} :: :// <<: - ?
!!binary !!set %
"""
_TOKENS = """
SELECT FROM samples ledger steps WHERE uid text = ( ) , * ' " ; -- /* */ PIVOT COPY TO
ATTACH read_csv '/etc/passwd' pg_settings information_schema.tables WITH x AS UNION ALL
GROUP BY ORDER LIMIT 1 NULL :: INTEGER [ ] { } EXPLAIN DESCRIBE SHOW TABLES INSERT INTO
DROP TABLE getenv('HOME') unnest range(10) \x00 é ? $1 1e400 CAST
"""
#: What a setting may say; words of SQL.
VALUES, TOKENS = _VALUES.split(), _TOKENS.split()


class Ground:
    """What cases stand on: files that are whole, a run, a database, an app.

    canaries: files outside, which no case may read or change.
    """

    def __init__(self, folder: Path, canaries: Sequence[Path]) -> None:
        self.folder = folder
        self.canaries = canaries
        self.pool = folder / "pool"
        self.pool.mkdir(parents=True)
        #: A pool whose images may be links out of it.
        self.linked = folder / "linked"
        self.linked.mkdir()
        (self.linked / "link").symlink_to(canaries[0].parent)
        (self.linked / "a.jpg").symlink_to(canaries[0])
        pq.write_table(self.table, self.pool / "a.parquet", row_group_size=20)

    @cached_property
    def table(self) -> pa.Table:
        texts = [f"a caption of row {i % 50} \x1b[31m" for i in range(ROWS)]
        return pa.table({"uid": [f"u{i}" for i in range(ROWS)], "text": texts})

    @cached_property
    def run(self) -> Path:
        recipe = {
            "input": {"path": str(self.pool), "columns": {"image": None}},
            "output": {"path": str(self.folder / "run")},
            "steps": ["exact", "random", "apply"],
            "exact": {"by": ["caption"]},
            "random": {"keep_fraction": 0.5},
        }
        from winnow.api import run

        run(recipe, progress=None)
        return self.folder / "run"

    @cached_property
    def index(self) -> Path:
        out = self.folder / "index"
        command_line(
            ["index", "build", str(self.pool / "a.parquet"), "--out", str(out)]
        )
        return out

    @cached_property
    def lake(self) -> Path:
        """A lake of tables in four formats, two of them parts of others."""
        folder = self.folder / "lake"
        folder.mkdir()
        small = self.table.slice(5, 20)
        pq.write_table(self.table, folder / "whole.parquet")
        csv.write_csv(small, folder / "part.csv")
        rows = self.table.slice(0, 30).to_pylist()
        lines = "\n".join(json.dumps(row) for row in rows)
        (folder / "lines.jsonl").write_text(lines)
        feather.write_feather(self.table.slice(40), folder / "rest.arrow")
        return folder

    @cached_property
    def scan(self) -> Path:
        out = self.folder / "scan"
        command_line(["lake", "scan", str(self.lake), "--out", str(out), "-q"])
        command_line(["lake", "plan", str(out)])
        return out

    @cached_property
    def database(self) -> ClosedSql:
        file = str(self.pool / "a.parquet")
        view = f"CREATE VIEW samples AS FROM read_parquet(['{file}'])"
        return ClosedSql([view], [file])

    @cached_property
    def app(self) -> Any:
        from winnow.app.app import make_app, open_site

        return make_app(open_site(self.run), PORT, TOKEN)

    @cached_property
    def pictures(self) -> list[bytes]:
        noise = np.random.default_rng(0).integers(0, 256, (24, 31, 3), np.uint8)
        whole = Image.fromarray(noise)
        made = []
        for mode, kind in [
            ("RGB", "JPEG"),
            ("RGB", "PNG"),
            ("RGBA", "PNG"),
            ("P", "GIF"),
            ("RGB", "WEBP"),
            ("RGB", "TIFF"),
            ("CMYK", "TIFF"),
            ("I;16", "PNG"),
            ("RGB", "BMP"),
            ("RGB", "JPEG2000"),
            ("L", "PPM"),
        ]:
            file = io.BytesIO()
            (whole.convert("L") if mode == "I;16" else whole).convert(mode).save(
                file, kind
            )
            made.append(file.getvalue())
        return made

    def scratch(self) -> Path:
        """An empty folder of one case."""
        folder = self.folder / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Change, cut, repeat or insert bytes in a few places."""
    raw = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(raw) + 1)
        match rng.randrange(5):
            case 0 if at < len(raw):
                raw[at] = rng.randrange(256)
            case 1 if at < len(raw):
                raw[at] ^= 1 << rng.randrange(8)
            case 2:
                raw[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 3:
                del raw[at : at + rng.randrange(1, 40)]
            case _:
                raw[at:at] = raw[at : at + rng.randrange(1, 40)]
    return bytes(raw[: rng.randrange(len(raw) + 1)] if rng.random() < 0.2 else raw)


def recipes(rng: random.Random, ground: Ground) -> None:
    """A shipped recipe with lines changed, or a setting that says anything."""
    name = rng.choice(sorted(shipped()))
    file = ground.scratch() / "recipe.yaml"
    text = shipped()[name].read_bytes()
    settings = []
    if rng.random() < 0.5:
        text = damaged(rng, text)
    else:
        lines = text.decode().split("\n")
        words = [line.split(":")[0].strip() for line in lines]
        keys = [word for word in words if word.isidentifier()]
        for _ in range(rng.randrange(1, 4)):
            key = ".".join(rng.choices(keys, k=rng.randrange(1, 4)))
            value = " ".join(rng.choices(VALUES, k=rng.randrange(1, 4)))
            settings.append(f"{key}={value * rng.choice((1, 1, 1, 700))}")
    file.write_bytes(text)
    with contextlib.suppress(ConfigError):
        read_recipe(file, settings)


def overrides(rng: random.Random, ground: Ground) -> None:
    """A file of overrides, changed."""
    ending = rng.choice((".csv", ".yaml"))
    whole = b"- uid: a\n  action: drop\n  note: x\n- {uid: b, action: rescue}\n"
    if ending == ".csv":
        whole = b'uid,action,note\na,drop,x\n"b, c",rescue,"two\nlines"\n'
    file = ground.scratch() / f"o{ending}"
    file.write_bytes(damaged(rng, whole))
    with contextlib.suppress(ConfigError):
        read_overrides(file)


def read_all(folder: Path) -> None:
    """Read all rows of a pool; every one has to come out once."""
    try:
        shards, schema, _ = read_footers(find_shards(str(folder)))
    except InputError:
        return
    reader = SampleReader(
        str(folder),
        {shard.name: shard.path for shard in shards},
        text="text" if "text" in schema.names else None,
        schema=schema,
    )
    for shard in shards:
        rows = np.arange(min(shard.rows, 100_000))
        parts = reader.rows(shard.name, rows, schema.names)
        came = sum(getattr(part, "rows", None) or len(part) for _, part in parts)
        if came != len(rows):
            raise AssertionError(f"{len(rows)} rows, and {came} came out")


def parquet(rng: random.Random, ground: Ground) -> None:
    """A Parquet file with bytes changed."""
    data = (ground.pool / "a.parquet").read_bytes()
    folder = ground.scratch()
    (folder / "a.parquet").write_bytes(damaged(rng, data))
    read_all(folder)


def json_lines(rng: random.Random, ground: Ground) -> None:
    """JSON Lines with bytes changed, of mixed types, deep or not UTF-8."""
    values = ["x", 1, 0.5, None, True, [1], ["a"], {"a": 1}, 2**70, float("nan"), "\0"]
    lines = [
        json.dumps({"uid": i, "text": rng.choice(values)}).encode() for i in range(30)
    ]
    if rng.random() < 0.2:
        lines.insert(rng.randrange(30), b"[" * 5000)
    data = b"\n".join(lines)
    folder = ground.scratch()
    (folder / "a.jsonl").write_bytes(damaged(rng, data))
    read_all(folder)


def images(rng: random.Random, ground: Ground) -> None:
    """An image of any format with bytes changed."""
    data = damaged(rng, rng.choice(ground.pictures))
    with contextlib.suppress(ImageRejected):
        if decode_rgb(data, 1_000_000).mode != "RGB":
            raise AssertionError("no RGB image")
    with contextlib.suppress(ImageRejected):
        pixel_digest(data, 1_000_000)


def image_paths(rng: random.Random, ground: Ground) -> None:
    """A name of an image that may lead anywhere."""
    outside = rng.choice(ground.canaries)
    pieces = [
        "..",
        "link",
        "a.jpg",
        "::",
        "://",
        "file://",
        "\0",
        "%2e%2e",
        "/",
        "linked",
    ]
    pieces += [str(ground.folder), str(outside), outside.name, outside.parent.name]
    name = rng.choice(("/", "")).join(rng.choices(pieces, k=rng.randrange(1, 9)))
    data, _ = read_image([str(ground.linked)], str(ground.linked), name)
    if data is not None and SECRET in data:
        raise AssertionError(f"{name!r} read a canary")


def npy(rng: random.Random, ground: Ground) -> None:
    """A NumPy file with bytes changed."""
    file = io.BytesIO()
    np.save(file, np.ones((4, 3), rng.choice(("<f4", ">f8", "<i2", "|O", "<c8"))))
    target = ground.scratch() / "x.npy"
    target.write_bytes(damaged(rng, file.getvalue()))
    with contextlib.suppress(InputError):
        map_numbers(target)


def sql(rng: random.Random, ground: Ground) -> None:
    """A query of random words."""
    outside = str(rng.choice(ground.canaries))
    tokens = [*TOKENS, f"'{outside}'", f"read_text('{outside}')", f'"{outside}"']
    text = " ".join(rng.choices(tokens, k=rng.randrange(1, 14)))
    if rng.random() < 0.3:
        functions = ("read_parquet", "read_text", "read_blob", "glob", "read_json")
        text = f"* FROM {rng.choice(functions)}('{outside}') {text}"
    if rng.random() < 0.6:
        text = f"SELECT {text}"
    with contextlib.suppress(QueryError):
        ground.database.tables_of(text)
        for batch in ground.database.stream(text, (), 5):
            told = repr(batch.to_pydict()).encode()
            if b"root:" in told or SECRET in told:
                raise AssertionError("it read a file that it may not")


def http(rng: random.Random, ground: Ground) -> None:
    """A request to the app, with any path, query and form."""
    paths = ["/", "/row/1", "/row/99", "/picture/1", "/marks", "/overrides.csv", "/x"]
    path = rng.choice(paths)
    if rng.random() < 0.2:
        path += rng.choice(("/../..", "\0", "é", "/-1", "9" * 30, "/%2e%2e", "::"))
    names = ["n", "q", "page", "sql", "step", "sort", "keep", "action", "token", "\0"]
    fields = "&".join(
        f"{quote(rng.choice(names))}={quote(rng.choice(VALUES + TOKENS))}"
        for _ in range(rng.randrange(5))
    )
    status = asyncio.run(_asked(ground.app, rng.choice(("GET", "POST")), path, fields))
    if status >= 500:
        raise AssertionError(f"{path!r}?{fields} is answered by {status}")


async def _asked(app: Any, method: str, path: str, fields: str) -> int:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": quote(path).encode(),
        "root_path": "",
        "query_string": fields.encode() if method == "GET" else b"",
        "headers": [
            (b"host", f"127.0.0.1:{PORT}".encode()),
            (b"cookie", f"winnow_{PORT}={TOKEN}".encode()),
            (b"origin", f"http://127.0.0.1:{PORT}".encode()),
            (b"content-type", b"application/x-www-form-urlencoded"),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", PORT),
    }
    sent: list[dict[str, Any]] = []
    body = fields.encode() if method == "POST" else b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return next(m["status"] for m in sent if m["type"] == "http.response.start")


def one_damaged(rng: random.Random, whole: Path, copy: Path) -> None:
    """Copy a folder, and change one of its files, or remove it."""
    shutil.copytree(whole, copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    file = rng.choice(files)
    if rng.random() < 0.2:
        file.unlink()
    else:
        file.write_bytes(damaged(rng, file.read_bytes()))


def indexes(rng: random.Random, ground: Ground) -> None:
    """An index with one file changed or gone, asked by every command."""
    copy = str(ground.scratch() / "index")
    one_damaged(rng, ground.index, Path(copy))
    text = f"a caption of row {rng.randrange(50)}"
    command_line(
        rng.choice(
            (
                ["near", copy, "--text", text],
                ["index", "show", copy],
                ["index", "check", copy],
                ["index", "add", copy, str(ground.pool / "a.parquet")],
                ["index", "remove", copy, "--uid", "u1"],
                ["index", "compact", copy],
                ["index", "repair", copy],
            )
        )
    )


def lakes(rng: random.Random, ground: Ground) -> None:
    """A lake with one table changed, scanned; the others' edge has to be found."""
    folder = ground.scratch()
    one_damaged(rng, ground.lake, folder / "lake")
    out = str(folder / "scan")
    command_line(["lake", "scan", str(folder / "lake"), "--out", out, "-q"])


def damaged_scans(rng: random.Random, ground: Ground) -> None:
    """A scan with one file changed or gone, asked by every command."""
    copy = str(ground.scratch() / "scan")
    one_damaged(rng, ground.scan, Path(copy))
    command_line(
        rng.choice(
            (
                ["lake", "edges", copy],
                ["lake", "explain", copy, "part.csv"],
                ["lake", "plan", copy],
                ["lake", "apply", copy, "--dry-run"],
                ["lake", "scan", str(ground.lake), "--out", copy, "-q"],
                ["steps", copy],
                ["query", copy, "SELECT * FROM edges, tables"],
                ["report", copy],
            )
        )
    )


def lock_files(rng: random.Random, ground: Ground) -> None:
    """A lock file without its seal, as version 0.1.0 wrote it, changed and read."""
    run = ground.scratch() / "run"
    shutil.copytree(ground.run, run)
    lock = run / "config.lock.yaml"
    body = lock.read_bytes().partition(b"\n")[2]
    lock.write_bytes(damaged(rng, body))
    here, pool = str(run), f"input.path={ground.pool}"
    command_line(
        rng.choice(
            (
                ["plan", str(lock), "--out", f"{here}2", "--set", pool],
                ["query", here, "SELECT count(*) FROM samples"],
                ["export", here, "--to", "uids", "--out", f"{here}.txt"],
                ["what-if", here, "--set", "random.keep_fraction=0.4", "-q"],
                ["diff", here, str(ground.run)],
            )
        )
    )


def damaged_runs(rng: random.Random, ground: Ground) -> None:
    """A run with one file changed or gone, asked by every command."""
    copy = ground.scratch() / "run"
    one_damaged(rng, ground.run, copy)
    asked = rng.choice(
        (
            ["steps", str(copy)],
            ["explain", str(copy), "u1"],
            ["query", str(copy), "SELECT * FROM samples JOIN ledger USING (uid)"],
            ["export", str(copy), "--to", "uids", "--out", str(copy) + ".txt"],
            ["diff", str(copy), str(ground.run)],
            ["report", str(copy)],
            ["run", str(copy / "config.lock.yaml"), "--out", str(copy)],
        )
    )
    command_line(asked)


def command_line(asked: list[str]) -> None:
    """Run a command; it has to end with a known code and without a defect."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = command(asked)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 2
    told = err.getvalue()
    if code not in (0, 1, 2, 3) or "unexpected" in told or "Traceback" in told:
        raise AssertionError(f"{asked}: {code}: {told[-800:]}")


FAMILIES: dict[str, Callable[[random.Random, Ground], None]] = {
    family.__name__: family
    for family in (
        recipes,
        overrides,
        parquet,
        json_lines,
        images,
        image_paths,
        npy,
        sql,
        http,
        damaged_runs,
        indexes,
        lakes,
        damaged_scans,
        lock_files,
    )
}
