"""Whatever data calls a path, nothing outside the folders given is ever named."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.core.inside import OutsideError, is_url, resolve_inside
from winnow.formats.image_files import read_image

SECRET, PICTURE = b"secret", b"picture"

#: What hostile names are made of; FOLDER stands for the folder that holds the pool.
PIECES = [
    "..",
    ".",
    "",
    "/",
    "//",
    "::",
    "://",
    "file://",
    "file:",
    "local://",
    "memory://",
    "http://127.0.0.1:1/",
    "simplecache::",
    "zip://",
    "x",
    "%2e%2e",
    "%252e%252e",
    "%2f",
    "\\",
    "..\\",
    "\0",
    "\n",
    "~",
    "~root",
    "$HOME",
    "*",
    "?",
    "#",
    " ",
    "pool",
    "POOL",
    "pool2",
    "secret.jpg",
    "Secret.JPG",
    "a.jpg",
    "A.jpg",
    unicodedata.normalize("NFC", "é.jpg"),
    unicodedata.normalize("NFD", "é.jpg"),
    "link",
    "link.jpg",
    "loop",
    "up",
    "FOLDER",
    "．．",
    "‥",
    "/etc/passwd",
    "a" * 300,
]
NAMES = st.lists(st.sampled_from(PIECES), max_size=12).map("/".join) | st.lists(
    st.sampled_from(PIECES), max_size=8
).map("".join)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool with links out of it, in a folder with secrets beside it."""
    folder = tmp_path_factory.mktemp("inside")
    pool = folder / "pool"
    (pool / "sub").mkdir(parents=True)
    (folder / "pool2").mkdir()
    for secret in ("secret.jpg", "pool2/a.jpg", "a.jpg"):
        (folder / secret).write_bytes(SECRET)
    for picture in ("a.jpg", "é.jpg", "sub/a.jpg", "sub/x::y.jpg"):
        (pool / picture).write_bytes(PICTURE)
    (pool / "link").symlink_to(folder)
    (pool / "sub" / "link.jpg").symlink_to(folder / "secret.jpg")
    (pool / "loop").symlink_to(pool / "loop")
    (pool / "up").symlink_to(pool / "sub")
    os.mkfifo(pool / "pipe.jpg")
    return pool


@given(name=NAMES)
def test_no_name_reads_anything_outside_the_pool(pool: Path, name: str):
    name = name.replace("FOLDER", str(pool.parent))
    data, reason = read_image([str(pool)], str(pool / "sub"), name)
    assert data in (None, PICTURE)
    assert (data is None) == (reason is not None)
    try:
        target = resolve_inside([str(pool)], str(pool / "sub"), name)
    except ValueError:
        assert data is None
    else:
        assert os.path.realpath(target) == target
        assert Path(target).is_relative_to(pool.resolve())


@given(name=NAMES, scheme=st.sampled_from(["s3://", "memory://", "simplecache::s3://"]))
def test_no_name_leaves_the_folder_of_a_url(name: str, scheme: str):
    root = f"{scheme}bucket/pool"
    try:
        target = resolve_inside([root], f"{root}/sub", name)
    except ValueError:
        return
    assert target.startswith(f"{root}/")
    below = target.removeprefix(scheme)
    for _ in range(3):
        for form in (below, below.replace("\\", "/")):
            assert posixpath.normpath(form).startswith("bucket/pool/")
        below = unquote(below)


@pytest.mark.parametrize(
    "name",
    [
        "{pool}/../../../../../../../../../../etc/passwd::file://x",
        "{pool}/sub/../../secret.jpg::file://x",
        "file://{folder}/secret.jpg",
        "::{folder}/secret.jpg",
        "../../pool2/a.jpg",
        "../link/secret.jpg",
        "../up/../../secret.jpg",
        "link.jpg",
    ],
)
def test_names_that_were_read_once_are_refused(pool: Path, name: str):
    named = name.format(pool=pool, folder=pool.parent)
    data, reason = read_image([str(pool)], str(pool / "sub"), named)
    assert data is None
    assert reason is not None
    assert reason.startswith(("image_path_outside_pool", "image_file_unreadable"))


@pytest.mark.parametrize(
    "name", ["a.jpg", "../a.jpg", "x::y.jpg", "../up/a.jpg", "../sub/./x::y.jpg"]
)
def test_what_lies_in_the_pool_is_read_whatever_it_is_called(pool: Path, name: str):
    read = read_image([str(pool)], str(pool / "sub"), name)
    assert read == (PICTURE, None)


@pytest.mark.parametrize("name", ["../pipe.jpg", "../loop", "..", "a" * 5000, "no.jpg"])
def test_what_is_no_file_is_unreadable_and_nobody_waits_for_it(pool: Path, name: str):
    data, reason = read_image([str(pool)], str(pool / "sub"), name)
    assert data is None
    assert reason is not None
    assert len(reason) < 300


def test_dots_are_those_of_the_file_system(pool: Path):
    # `link` leads to the folder above the pool: `link/..` is two above, not the pool.
    with pytest.raises(OutsideError):
        resolve_inside([str(pool)], str(pool), "link/../pool/a.jpg")


def test_percent_signs_of_a_url_hide_no_dots():
    root = "http://host/pool"
    hidden = quote("../" * 2, safe="").replace(".", "%2e")
    for name in (f"{hidden}x", f"a/{quote(hidden)}{quote(hidden)}x", "..%5c..%5cx"):
        with pytest.raises(OutsideError):
            resolve_inside([root], root, name)
    assert resolve_inside([root], root, "a%20b.jpg") == "http://host/pool/a%20b.jpg"


def test_only_a_scheme_at_the_beginning_makes_a_url():
    assert is_url("s3://b/c")
    assert is_url("simplecache::s3://b/c")
    for path in ("/a/b::c", "/a://b", "a/b", "./x::y", "~/a", "1s3://b"):
        assert not is_url(path)
