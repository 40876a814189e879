"""Kernels are compiled one way, kept where that can be, renewed when they change."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "pipeline" / "winnow"

#: Two kernels of two files: one calls the other and has a number of a third's.
SOURCES = {
    "called.py": """
from winnow.numeric.compiled import compiled
@compiled
def added(x):
    return x + 1
""",
    "constants.py": "SCALE = 10\n",
    "kernels.py": """
from winnow.extra import constants
from winnow.extra.called import added
from winnow.numeric.compiled import compiled
SCALE = constants.SCALE
@compiled
def scaled(x):
    return SCALE * added(x)
""",
}
RUN = """
from winnow.extra.kernels import scaled
print(scaled(4), sum(scaled.stats.cache_hits.values()))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a folder with a copy of the package's ground and two kernels."""
    site = tmp_path / "site"
    for room in ("core", "numeric"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE / room, site / "winnow" / room, ignore=ignored)
    (site / "winnow" / "__init__.py").touch()
    extra = site / "winnow" / "extra"
    extra.mkdir()
    (extra / "__init__.py").touch()
    for name, source in SOURCES.items():
        (extra / name).write_text(source)
    return site


def run(site: Path, code: str = RUN, **environment: str) -> list[str]:
    """Return what the code prints, in a process that knows no cache folder."""
    known = {"XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "PYTHONDONTWRITEBYTECODE"}
    env = {name: value for name, value in os.environ.items() if name not in known}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**env, "PYTHONPATH": str(site), **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_machine_code_is_kept_and_renewed_with_whatever_it_is_made_from(package: Path):
    assert run(package) == ["50", "0"]
    assert run(package) == ["50", "1"]
    extra = package / "winnow/extra"
    edit(extra / "called.py", "x + 1", "x + 2")
    assert run(package) == ["60", "0"]
    edit(extra / "constants.py", "10", "100")
    assert run(package) == ["600", "0"]
    edit(extra / "kernels.py", "SCALE * added", "2 * SCALE * added")
    assert run(package) == ["1200", "0"]
    assert run(package) == ["1200", "1"]
    # What was stale has been written over: one index and one code file each.
    kept = extra / "__pycache__"
    assert len(list(kept.glob("kernels.scaled*.nbc"))) <= 2
    for file in kept.glob("*.nbc"):  # a disk was full
        file.write_bytes(file.read_bytes()[:20])
    assert run(package)[0] == "1200"


def test_an_index_of_types_that_are_gone_makes_room(package: Path):
    """A kernel over a named tuple whose class was renamed since it was kept."""
    extra = package / "winnow/extra"
    source = """
from typing import NamedTuple
from winnow.numeric.compiled import compiled
class Old(NamedTuple):
    x: int
@compiled
def doubled(row):
    return 2 * row.x
"""
    (extra / "rows.py").write_text(source)
    code = """
from winnow.extra import rows
print(rows.doubled(rows.NAME(4)), sum(rows.doubled.stats.cache_hits.values()))
"""
    assert run(package, code.replace("NAME", "Old")) == ["8", "0"]
    edit(extra / "rows.py", "Old", "New")
    assert run(package, code.replace("NAME", "New")) == ["8", "0"]
    assert run(package, code.replace("NAME", "New")) == ["8", "1"]


def test_what_is_kept_runs_without_a_compiler(package: Path):
    """Loading all that Numba can compile takes longer than most kernels run."""
    told = RUN + "import sys; print('numba.np.linalg' in sys.modules)"
    assert run(package, told) == ["50", "0", "True"]
    assert run(package, told) == ["50", "1", "False"]
    # A kernel that is not kept is compiled beside one that is.
    other = "from winnow.extra.called import added; print(added(1.5))"
    assert run(package, RUN + other) == ["50", "1", "2.5"]


#: The kernels of near-duplicate texts, from texts to the decision.
TEXTS = """
import sys
import pyarrow as pa
from winnow.algorithms.dedup import banding, minhash
from winnow.algorithms.dedup.jaccard import text_similarity
from winnow.algorithms.dedup.verification import decide
texts = pa.array(["a b c d e f g", "a b c d e f g", "noch ein Text, länger"])
settings = {"ngram": 5, "unit": "auto", "threads": 1}
sketches = minhash.signatures(texts, num_perm=128, **settings)
digests = banding.band_digests(sketches, 16, 8)
buckets = banding.buckets(digests, ~minhash.is_empty(sketches), 1)
verdict = decide(buckets, 3, text_similarity(texts, **settings), 0.8)
print(*verdict.keeper, "scipy.linalg" in sys.modules)
"""


@pytest.mark.slow
def test_near_duplicates_are_told_without_a_compiler():
    """No kernel of theirs calls what Numba keeps beside its linear algebra."""
    run(PACKAGE.parent, TEXTS)
    assert run(PACKAGE.parent, TEXTS) == ["0", "0", "2", "False"]


def archived(site: Path, file: Path) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for source in sorted(site.rglob("*.py")):
            archive.write(source, source.relative_to(site))
    return file


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_without_a_place_for_machine_code_kernels_run(
    package: Path, tmp_path: Path, kind: str
):
    """A container's user may have no home, and a package that others installed."""
    if kind == "archive":
        site = archived(package, tmp_path / "winnow-0f.zip")
    else:
        site = package
        for folder in (site / "winnow/extra", site / "winnow/numeric"):
            (folder / "__pycache__").touch()  # nobody, root included, writes below
    nowhere = tmp_path / "file"
    nowhere.touch()
    assert run(site, HOME=str(nowhere / "home")) == ["50", "0"]
    home = tmp_path / "home"
    assert run(site, HOME=str(home)) == ["50", "0"]
    assert run(site, HOME=str(home)) == ["50", "1"]


def test_an_archive_is_known_by_its_name(package: Path, tmp_path: Path):
    home = str(tmp_path / "home")
    for folder, hits in (("one", "0"), ("two", "1")):
        (tmp_path / folder).mkdir()
        site = archived(package, tmp_path / folder / "winnow-0f.zip")
        assert run(site, HOME=home) == ["50", hits]


REST = "from winnow.extra.kernels import scaled; print(scaled(4))"


@pytest.mark.parametrize("switch", ["WINNOW_PLAIN_KERNELS", "NUMBA_DISABLE_JIT"])
def test_a_switch_takes_the_kept_code_out_of_play(package: Path, switch: str):
    assert run(package, REST, **{switch: "1"}) == ["50"]
    assert not list(package.rglob("*.nbi"))


#: Signatures, similarities, duplicates and row hashes, as one digest.
DECISIONS = """
import hashlib
import numpy as np, pyarrow as pa
from winnow.algorithms.dedup import minhash, semantic
from winnow.lake.kernels.row_hash import hash_rows
from winnow.lake.kernels.canonical import hash_values
from winnow.lake.kernels.tables import Family
rng = np.random.default_rng(0)
texts = [" ".join(rng.choice(list("abcdefgh"), 9)) for _ in range(40)]
vectors = rng.normal(size=(80, 12)).astype(np.float32)
neighbours = semantic.best_earlier(vectors)
chosen = semantic.select(vectors, neighbours, 0.4)
column = hash_values(pa.array(texts), Family.TEXT)
parts = [
    minhash.signatures(pa.array(texts), num_perm=16, ngram=2),
    neighbours.similarity, neighbours.twin, chosen.keep, *hash_rows([column, column]),
]
print(hashlib.sha256(b"".join(np.asarray(p).tobytes() for p in parts)).hexdigest())
"""


@pytest.mark.slow
def test_kept_and_plain_kernels_decide_alike():
    site = PACKAGE.parent
    kept = run(site, DECISIONS)
    assert run(site, DECISIONS, WINNOW_PLAIN_KERNELS="1") == kept


def test_every_kernel_is_compiled_by_the_one_decorator():
    module = PACKAGE / "numeric" / "compiled.py"
    for file in PACKAGE.rglob("*.py"):
        if file != module:
            assert not re.search(r"\bn?jit\b\(|@n?jit\b", file.read_text()), file
