"""What is not a pool, named as what it is, with the way in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

from winnow.core.errors import InputError

#: Of a file's beginning, what tells tars (at byte 257) and all else from another.
HEAD_BYTES = 512

_UNPACK = "unpack it first: a pool's files are read where they lie, row by row"
_CONVERT = "write it as Parquet or JSON Lines first"

#: What a file begins with; what it is; the way in.
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"ORC", "an ORC file", _CONVERT),
    (b"Obj\x01", "an Avro file", _CONVERT),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _CONVERT),
    (b"SQLite format 3\x00", "an SQLite database", _CONVERT),
    (b"\x93NUMPY", "a NumPy array", "vectors go beside a pool: embed.image_column"),
    (b"\xff\xd8\xff", "one JPEG image", "name the folder that it lies in"),
    (b"\x89PNG\r\n\x1a\n", "one PNG image", "name the folder that it lies in"),
    (b"%PDF", "a PDF document", _CONVERT),
    (b"\x1f\x8b", "a gzip file", "name it .jsonl.gz if it holds JSON Lines"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "name it .jsonl.zst if it holds JSON Lines"),
    (b"BZh", "a bzip2 file", _UNPACK),
    (b"\xfd7zXZ\x00", "an xz file", _UNPACK),
)
_TAR = (257, b"ustar")
#: Tars of which no member can be read without all before it.
PACKED_TARS = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
PACKED_TAR = (
    "a compressed tar, whose members cannot be read one by one",
    "decompress it to a plain .tar (its images are compressed as they are)",
)

#: What a name ends in, for files whose beginning says nothing.
_ENDINGS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    ((".csv", ".tsv", ".psv"), "a table of text", _CONVERT),
    ((".json",), "JSON", "write one object per line, as .jsonl"),
    ((".txt", ".text"), "a text file", "write one object per line, as .jsonl"),
    ((".xlsx", ".xls", ".ods"), "a spreadsheet", _CONVERT),
    ((".tfrecord", ".tfrecords"), "a TFRecord file", _CONVERT),
    ((".mds",), "a shard of MosaicML's streaming", _CONVERT),
    ((".beton",), "a file of FFCV", _CONVERT),
    ((".lance",), "a Lance data set", _CONVERT),
    ((".mp4", ".webm", ".mkv", ".avi", ".mov"), "a video", "pools hold images"),
    ((".pkl", ".pickle", ".pt", ".pth"), "a pickle, which is never loaded", _CONVERT),
)


def refuse_file(path: str, head: bytes, formats: str) -> InputError:
    """Return the error for a file that is none of the `formats`, by what it is."""
    what, way = _named(path.lower(), head)
    return InputError(
        f"input.path: {path} is {what}, no shard of a pool; {way}. Pools are {formats}"
    )


def refuse_folder(folder: str, files: Sequence[str], formats: str) -> InputError:
    """Return the error for a folder without a shard, by what it holds."""
    endings = Counter(_ending(file) for file in files)
    told = ", ".join(f"{count:,} {ending}" for ending, count in endings.most_common(4))
    holds = f" ({folder} holds {told})" if told else ""
    return InputError(
        f"input.path: no shard at '{folder}'{holds}; give a folder that holds some, a "
        f"glob, a file, or a list of them: {formats}"
    )


def _named(path: str, head: bytes) -> tuple[str, str]:
    """Return what a file is, and the way in."""
    if path.endswith(PACKED_TARS):
        return PACKED_TAR
    where, mark = _TAR
    if head[where : where + len(mark)] == mark:
        return "a tar", "name it .tar"
    if not head:
        return "an empty file", "leave it out"
    begins = ((w, way) for magic, w, way in _MAGIC if head.startswith(magic))
    ends = ((w, way) for endings, w, way in _ENDINGS if path.endswith(endings))
    known = next(chain(begins, ends), None)
    if known is not None:
        return known
    if b"\x00" not in head and head.lstrip().startswith(b"{"):
        return "text that begins as JSON", "name it .jsonl if a line is an object"
    return "of no known kind", _CONVERT


def _ending(file: str) -> str:
    name = file.rpartition("/")[2]
    stem, dot, ending = name.rpartition(".")
    return f".{ending.lower()}" if stem and dot else "without an ending"


def head_of(fs: Any, file: str) -> bytes:
    """Return a file's beginning; b'' if it cannot be read."""
    try:
        with fs.open(file, "rb") as source:
            return bytes(source.read(HEAD_BYTES))
    except OSError:
        return b""
