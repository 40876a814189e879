"""Who decides otherwise says so: golden decisions of every step, by its version.

After a change of a step's decisions, raise its `version` in `config/own_steps.py` and
record them anew: `WINNOW_RECORD_GOLDEN=1 pytest tests/steps/test_golden_decisions.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.config.step_kinds import STEPS, meant, step_of

from tests.datacomp_metadata import write_wordnet

GOLDEN = Path(__file__).parents[1] / "golden" / "decisions.json"
RECORD = "WINNOW_RECORD_GOLDEN"

#: For each kind that decides: its settings, and the steps that it needs before it.
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "exact": ({"by": ["image_bytes", "caption"]}, []),
    "rules": ({"min_words": 2, "min_side": None, "max_aspect": None}, []),
    "minhash": ({"unit": "char", "ngram": 3, "threshold": 0.6}, []),
    "quality": ({"rules": ["gopher_quality"], "min_words": 3, "max_words": 4}, []),
    "image_quality": ({"low_information": 0.16}, []),
    "perceptual_hash": ({"keeper": ["bytes desc"]}, []),
    "lines": ({"min_chars": 4, "min_texts": 2, "action": "drop"}, []),
    "substring": ({"min_bytes": 12, "action": "drop"}, []),
    "overlap": ({"words": 2}, []),
    "decontaminate": ({"by": ["image_vectors"], "max_distance": 0.3}, ["embed"]),
    "semantic": ({"epsilon": 0.05}, ["embed", "cluster"]),
    "prototypes": ({"keep_fraction": 0.5}, ["embed", "cluster"]),
    "complexity": ({"keep_fraction": 0.5}, ["embed", "cluster"]),
    "score": ({"keep_fraction": 0.5}, ["embed"]),
    "soft_cap": (
        {"total_fraction": 1.0, "temperature": 0.05},
        ["embed", "score"],
    ),
    "random": ({"keep_fraction": 0.5}, []),
    "uniform": ({"keep_fraction": 0.5}, ["embed", "cluster"]),
    "balance": ({"concepts": "ngrams", "min_rows": 4, "limit": 5}, []),
    "hierarchy": ({"levels": [3, 2], "keep_fraction": 0.5}, ["embed", "cluster"]),
    "order": ({"keep_fraction": 0.5}, ["embed", "cluster"]),
    "outliers": ({"keep_fraction": 0.5}, ["embed"]),
    "where": ({"condition": "width > 99 AND text LIKE '%dog%'"}, []),
    "top": ({"column": "width", "keep_fraction": 0.5}, []),
    "target_clusters": ({}, ["embed", "cluster"]),
    "synsets": ({}, []),
    "custom": (
        {
            "function": "winnow_golden_scorer:width",
            "columns": ["width"],
            "threshold": 99,
        },
        [],
    ),
}
#: Files of what is compared with.
AGAINST = {"decontaminate": "eval.npy", "overlap": "eval.jsonl"}
#: Kinds that look at pictures, of which the planted pool has none.
OF_PICTURES = {"image_quality", "perceptual_hash"}
#: Kinds that decide nothing, or what a file says; they have cases of their own.
OTHERS = {"index", "embed", "cluster", "overrides", "apply"}


def digest(rows: Any) -> str:
    text = json.dumps(rows, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def decided(run: Any, step: str) -> list[list[Any]]:
    columns = ("uid", "keep", "reason", "kept_twin")
    rows = sorted(run.ledger(step).values(), key=lambda row: row["uid"])
    assert {
        row["reason"] for row in rows if meant(step, row["reason"]) is None
    } == set()
    return [[row[name] for name in columns] for row in rows]


def partition(run: Any) -> list[int]:
    """Clusters numbered as they are met, so that their own numbers do not count."""
    rows = run.artifact("cluster", "clusters").sort_by("uid")["cluster"].to_pylist()
    seen: dict[int, int] = {}
    return [seen.setdefault(number, len(seen)) for number in rows]


@pytest.fixture(scope="module")
def recorded() -> Iterator[dict[str, Any]]:
    known = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else {}
    yield known
    if os.environ.get(RECORD):
        GOLDEN.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def agrees(recorded: dict[str, Any], kind: str, found: str) -> None:
    version = step_of(kind).version
    if os.environ.get(RECORD):
        recorded[kind] = {"version": version, "decisions": found}
    known = recorded[kind]
    assert known["version"] == version, f"record what version {version} of it decides"
    assert known["decisions"] == found, (
        f"{kind} decides otherwise than its version {version} did: raise the version, "
        "or runs that were made before are taken for what they are not"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("golden")


@pytest.fixture(scope="module")
def pool(
    folder: Path,
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
) -> Path:
    table = planted_table(120)
    np.save(folder / "eval.npy", np.array(table["iv"].to_pylist()[:8], np.float32))
    rows = table.to_pylist()
    items = [json.dumps({"text": row["text"]}) + "\n" for row in rows[:4]]
    (folder / "eval.jsonl").write_text("".join(items))
    rows[5]["iv"] = None
    rows[7]["uid"] = rows[8]["uid"]
    return write_shards(folder / "pool", pa.Table.from_pylist(rows, table.schema), 50)


@pytest.fixture(scope="module")
def pictures(
    folder: Path,
    picture_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
) -> Path:
    return write_shards(folder / "drawn", picture_table(60), 25)


@pytest.fixture(scope="module")
def run_step(
    pool: Path, pictures: Path, folder: Path, winnow: Callable[..., Any]
) -> Iterator[Callable[[str], Any]]:
    """Return of(kind) -> a run that ends with a step of this kind."""

    def of(kind: str) -> Any:
        settings, before = CASES[kind]
        if kind == "target_clusters":
            settings = {"target": str(folder / "eval.npy")}
        if kind == "synsets":
            (folder / "list.txt").write_text("n02084071\n")  # a dog
            wordnet = folder / "wordnet"
            wordnet = wordnet if wordnet.is_dir() else write_wordnet(wordnet)
            settings = {
                "wordnet": str(wordnet),
                "synsets": str(folder / "list.txt"),
            }
        if kind in AGAINST:
            against = [{"name": "eval", "path": str(folder / AGAINST[kind])}]
            settings = {**settings, "against": against}
        drawn = pictures if kind in OF_PICTURES else pool
        return winnow(drawn, folder / kind, [*before, kind], **{kind: settings})

    (folder / "winnow_golden_scorer.py").write_text(
        "def width(batch):\n    return batch['width'].to_numpy()\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield of


def test_every_step_has_golden_decisions():
    assert {*CASES, *OTHERS} == {n for n in STEPS.names() if n in STEPS._own}


@pytest.mark.parametrize("kind", CASES)
def test_decisions(kind: str, run_step: Callable[[str], Any], recorded: dict[str, Any]):
    run = run_step(kind)
    rows = decided(run, kind)
    if kind == "soft_cap":
        rows += run.artifact(kind, "repeats").sort_by("uid").to_pylist()
    agrees(recorded, kind, digest(rows))


def test_what_is_indexed_clustered_overridden_and_kept(
    pool: Path, folder: Path, winnow: Callable[..., Any], recorded: dict[str, Any]
):
    uids = sorted(pq.read_table(pool, columns=["uid"])["uid"].to_pylist())
    given = folder / "given.csv"
    given.write_text(f"uid,action\n{uids[3]},drop\n{uids[4]},rescue\n")
    run = winnow(
        pool,
        folder / "whole",
        ["embed", "cluster", "random", "apply"],
        overrides=str(given),
    )
    samples = run.artifact("index", "samples").sort_by("uid").to_pylist()
    lost = [[row["source"], row["row"], row["reason"]] for row in run.quarantine()]
    agrees(recorded, "index", digest([samples, sorted(map(str, lost))]))
    agrees(recorded, "cluster", digest(partition(run)))
    agrees(recorded, "overrides", digest(decided(run, "overrides")))
    agrees(recorded, "apply", digest(run.output()["uid"].to_pylist()))


def test_vectors_of_a_model(
    tiny_vit: str,
    folder: Path,
    winnow: Callable[..., Any],
    write_shards: Callable[..., Path],
    picture_table: Callable[..., pa.Table],
    recorded: dict[str, Any],
):
    """To two places: below them, processors differ."""
    run = winnow(
        write_shards(folder / "pictures", picture_table(4)),
        folder / "embedded",
        ["embed"],
        embed={"image_column": None, "text_column": None},
        model={"name": tiny_vit, "precision": "float32"},
    )
    vectors = run.artifact("embed", "vectors").sort_by("uid").to_pylist()
    found = [
        [float(x) for x in row[name][:6]]
        for row in vectors
        for name in ("image_vector", "text_vector")
    ]
    version = step_of("embed").version
    if os.environ.get(RECORD):
        rounded = [[round(x, 4) for x in row] for row in found]
        recorded["embed"] = {"version": version, "decisions": rounded}
    assert recorded["embed"]["version"] == version
    np.testing.assert_allclose(found, recorded["embed"]["decisions"], atol=0.01)
