"""Near-duplicate text through the step, against brute force and networkx."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse
from winnow.core.errors import ConfigError, InputError

Winnow = Callable[..., Any]
Write = Callable[..., Path]
TEXT_ONLY = {"columns": {"uid": "uid", "image": None, "text": "text"}}


def shingles(text: str, n: int = 5) -> frozenset[str]:
    words = text.split()
    if not words:
        return frozenset()
    return frozenset(
        " ".join(words[i : i + n]) for i in range(max(len(words) - n, 0) + 1)
    )


def jaccard(a: str, b: str) -> float:
    one, other = shingles(a), shingles(b)
    return len(one & other) / len(one | other)


def corpus(rows: int, seed: int, edits: float = 0.3) -> pa.Table:
    """Documents of 100 words, a share of them edits of others, and a few odd ones."""
    rng = np.random.default_rng(seed)
    texts: list[str | None] = []
    for i in range(rows):
        if i > 5 and rng.random() < edits:
            words = (texts[int(rng.integers(i))] or "x").split()
            for _ in range(int(rng.integers(0, 3))):
                words[int(rng.integers(len(words)))] = f"w{rng.integers(10**6)}"
            texts.append(" ".join(words))
        else:
            texts.append(" ".join(f"w{n}" for n in rng.integers(0, 10**6, 100)))
    order = rng.permutation(rows)
    return pa.table(
        {
            "uid": [f"u{i:05d}" for i in order],
            "text": texts,
            "crawl": [f"crawl-{i % 3}" for i in range(rows)],
            "quality": rng.integers(0, 4, rows),
        }
    )


def minhash(winnow: Winnow, pool: Path, out: Path, **settings: Any) -> Any:
    steps = ["minhash", "apply"]
    return winnow(
        pool, out, steps, input={"path": str(pool), **TEXT_ONLY}, minhash=settings
    )


def texts_of(table: pa.Table) -> dict[str, str]:
    return dict(zip(table["uid"].to_pylist(), table["text"].to_pylist(), strict=True))


def dropped(run: Any) -> dict[str, tuple[str, float]]:
    ledger = run.ledger("minhash").items()
    return {u: (r["kept_twin"], r["score"]) for u, r in ledger if not r["keep"]}


@pytest.mark.parametrize("seed", range(2))
def test_every_dropped_row_is_near_a_kept_one_and_says_how_near(
    winnow: Winnow, write_shards: Write, tmp_path: Path, seed: int
):
    table = corpus(300, seed)
    pool = write_shards(tmp_path / "p", table, 90, 17)
    run = minhash(winnow, pool, tmp_path / "r")
    texts, ledger = texts_of(table), run.ledger("minhash")
    gone = dropped(run)
    assert gone
    for uid, (twin, score) in gone.items():
        assert ledger[twin]["keep"]
        assert twin < uid
        assert score == jaccard(texts[uid], texts[twin]) >= 0.8
        assert (ledger[uid]["reason"], ledger[uid]["threshold"]) == (
            "near_duplicate_text",
            0.8,
        )
    stored = run.artifact("minhash", "duplicates").to_pylist()
    assert {r["uid"]: (r["kept_twin"], r["similarity"]) for r in stored} == gone
    assert all(r["band"] is None or 0 <= r["band"] < 16 for r in stored)
    assert any(r["band"] is not None for r in stored)
    assert set(run.output()["uid"].to_pylist()) == set(ledger) - set(gone)


@pytest.mark.parametrize("shards", [(1, None), (7, 3), (200, 9)])
def test_shards_and_order_of_rows_change_nothing(
    winnow: Winnow,
    write_shards: Write,
    tmp_path: Path,
    shards: tuple[int, int | None],
):
    table = corpus(400, 3)
    count, seed = shards
    whole = write_shards(tmp_path / "whole", table, 1000, 1000)
    expected = minhash(winnow, whole, tmp_path / "a").ledger_table("minhash")
    shuffled = table
    if seed is not None:
        shuffled = table.take(np.random.default_rng(seed).permutation(len(table)))
    pool = write_shards(tmp_path / "p", shuffled, -(-len(table) // count), 5)
    assert len(list(pool.iterdir())) == count
    ledger = minhash(winnow, pool, tmp_path / "b").ledger_table("minhash")
    assert ledger.equals(expected)


def test_a_chain_loses_no_row_to_a_keeper_below_the_threshold(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    words = [f"w{i}" for i in range(60)]
    b = list(words)
    b[2], c = "x", None
    c = list(b)
    c[-3] = "y"
    chain = [" ".join(part) for part in (words, b, c)]
    low, far = jaccard(chain[0], chain[1]), jaccard(chain[0], chain[2])
    threshold = (low + far) / 2
    assert jaccard(chain[1], chain[2]) > threshold > far
    pool = write_shards(
        tmp_path / "p", pa.table({"uid": ["a", "b", "c"], "text": chain})
    )
    settings = {"threshold": threshold, "bands": 64, "rows": 2}
    direct = minhash(winnow, pool, tmp_path / "r", **settings)
    assert dropped(direct) == {"b": ("a", low)}
    chained = minhash(winnow, pool, tmp_path / "c", mode="components", **settings)
    assert dropped(chained) == {"b": ("a", low), "c": ("a", far)}


@pytest.mark.parametrize("mode", ["representatives", "components"])
def test_buckets_and_components_are_the_same_where_the_rows_are(
    winnow: Winnow, write_shards: Write, tmp_path: Path, mode: str
):
    pool = write_shards(tmp_path / "pool", corpus(300, 5))
    sketch = {"mode": mode, "threshold": 0.6, "min_shingles": 3, "keeper": "length"}
    how: dict[str, Any] = {"input": TEXT_ONLY, "minhash": sketch}
    one = winnow(pool, tmp_path / "driver", ["minhash"], **how)
    for rows in (0, 40):
        engine = {"driver_rows": rows}
        other = winnow(pool, tmp_path / f"{rows}", ["minhash"], engine=engine, **how)
        assert other.ledger_table("minhash").equals(one.ledger_table("minhash"))
        for name in ("duplicates", "duplicate_clusters", "pairs"):
            table = other.artifact("minhash", name)
            assert table.equals(one.artifact("minhash", name))
    assert 30 < len(one.ledger("minhash")) - len(one.kept("minhash")) < 200


def test_components_are_those_of_the_verified_pairs(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    table = corpus(400, 5, edits=0.6)
    pool = write_shards(tmp_path / "p", table)
    run = minhash(winnow, pool, tmp_path / "r", mode="components", threshold=0.7)
    uids = run.artifact("minhash", "rows")["uid"].to_pylist()
    pairs = run.artifact("minhash", "pairs").to_pylist()
    graph = nx.Graph()
    graph.add_nodes_from(uids)
    graph.add_edges_from(
        (uids[p["member"]], uids[p["keeper"]]) for p in pairs if p["jaccard"] >= 0.7
    )
    expected = {
        uid: min(component)
        for component in nx.connected_components(graph)
        for uid in component
        if uid != min(component)
    }
    assert {uid: twin for uid, (twin, _) in dropped(run).items()} == expected
    assert len(expected) > 100


def test_a_raised_threshold_reads_no_text_and_decides_like_a_fresh_run(
    winnow: Winnow,
    write_shards: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    from winnow.algorithms.dedup import minhash as kernels

    pool = write_shards(tmp_path / "p", corpus(400, 7, edits=0.6))
    first = dropped(minhash(winnow, pool, tmp_path / "r", threshold=0.8))
    fresh = minhash(winnow, pool, tmp_path / "fresh", threshold=0.93)

    def refuse(*args: Any, **options: Any) -> Any:
        raise AssertionError("texts were sketched again")

    monkeypatch.setattr(kernels, "signatures", refuse)
    again = minhash(winnow, pool, tmp_path / "r", threshold=0.93)
    assert again.result.ran == ["minhash", "apply"]
    assert again.ledger_table("minhash").equals(fresh.ledger_table("minhash"))
    assert len(dropped(again)) < len(first)
    facts, anew = (
        {m.step: m.facts for m in run.result.steps}["minhash"] for run in (again, fresh)
    )
    assert (facts["sketches_reused"], anew["sketches_reused"]) == (True, False)
    assert facts["pairs_compared"] < anew["pairs_compared"] / 2


def test_empty_and_short_texts(winnow: Winnow, write_shards: Write, tmp_path: Path):
    texts = [None, "", "  \n", "one", "one", "two words", "two  words", "Two words"]
    uids = [f"u{i}" for i in range(len(texts))]
    pool = write_shards(tmp_path / "p", pa.table({"uid": uids, "text": texts}))
    run = minhash(winnow, pool, tmp_path / "r")
    ledger = run.ledger("minhash")
    assert [ledger[u]["reason"] for u in uids[:3]] == ["no_text"] * 3
    assert dropped(run) == {"u4": ("u3", 1.0), "u6": ("u5", 1.0)}
    folded = minhash(winnow, pool, tmp_path / "f", normalise=["case"])
    assert dropped(folded)["u7"] == ("u5", 1.0)
    least = minhash(winnow, pool, tmp_path / "l", min_shingles=2)
    assert not dropped(least)
    assert least.ledger("minhash")["u3"]["reason"] == "too_few_shingles"


def test_text_that_is_not_utf8_is_quarantined(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    raw = pa.array([b"fine text here", b"\xff\xfe broken"], pa.binary())
    column = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    pool = write_shards(tmp_path / "p", pa.table({"uid": ["a", "b"], "text": column}))
    run = minhash(winnow, pool, tmp_path / "r")
    assert run.kept("minhash") == {"a"}
    assert run.artifact("minhash", "rejects").to_pylist() == [
        {"uid": "b", "reason": "text_not_utf8"}
    ]


@pytest.mark.parametrize(
    ("settings", "stays"),
    [
        ({}, "a"),
        ({"keeper": "length"}, "b"),
        ({"keeper": "quality"}, "c"),
        ({"keeper": "quality", "keeper_descending": True}, "b"),
    ],
)
def test_the_keeper_is_the_first_by_the_stated_order(
    winnow: Winnow, write_shards: Write, tmp_path: Path, settings: dict, stays: str
):
    words = " ".join(f"w{i}" for i in range(50))
    table = pa.table(
        {
            "uid": ["a", "b", "c", "d"],
            "text": [words, f"{words} longer", words, words],
            "quality": [5, 9, 1, None],
        }
    )
    pool = write_shards(tmp_path / "p", table)
    run = minhash(winnow, pool, tmp_path / "r", **settings)
    assert run.kept("minhash") == {stays}


@pytest.mark.parametrize(
    "settings",
    [
        {"unit": "char", "token_hash": "xxh64", "scheme": "affine64"},
        {"unit": "char", "ngram": 3, "token_hash": "xxh32"},
        {"ngram": 2, "token_hash": "xxh32", "scheme": "legacy", "seed": 9},
        {"num_perm": 256, "weights": [0.1, 0.9]},
    ],
    ids=str,
)
def test_other_sketches_are_proven_just_the_same(
    winnow: Winnow, write_shards: Write, tmp_path: Path, settings: dict
):
    table = corpus(200, 17)
    pool = write_shards(tmp_path / "p", table)
    run = minhash(winnow, pool, tmp_path / "r", **settings)
    n, texts = settings.get("ngram", 5), texts_of(table)

    def cut(text: str) -> frozenset[str]:
        if settings.get("unit") != "char":
            return shingles(text, n)
        return frozenset(text[i : i + n] for i in range(max(len(text) - n, 0) + 1))

    gone = dropped(run)
    assert len(gone) > 20
    for uid, (twin, score) in gone.items():
        one, other = cut(texts[uid]), cut(texts[twin])
        assert score == len(one & other) / len(one | other) >= 0.8
        assert twin in run.kept("minhash")


def test_a_keeper_column_needs_an_order(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    table = pa.table({"uid": ["a"], "text": ["x"], "rank": [[1, 2]]})
    pool = write_shards(tmp_path / "p", table)
    with pytest.raises(InputError, match="'rank' holds list"):
        minhash(winnow, pool, tmp_path / "r", keeper="rank")


def test_pairs_of_all_thresholds_are_remembered(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    pool = write_shards(tmp_path / "p", corpus(300, 13, edits=0.6))
    ledgers, compared = [], []
    for threshold in (0.8, 0.95, 0.8, 0.95):
        run = minhash(winnow, pool, tmp_path / "r", threshold=threshold)
        ledgers.append(run.ledger_table("minhash"))
        facts = {m.step: m.facts for m in run.result.steps}["minhash"]
        compared.append(facts["pairs_compared"])
    assert compared[0] > compared[1] > 0
    assert compared[2:] == [0, 0]
    assert ledgers[0].equals(ledgers[2])
    assert ledgers[1].equals(ledgers[3])


def test_steps_after_it_find_the_clusters_of_the_step_before_it(
    winnow: Winnow,
    write_shards: Write,
    planted_table: Callable[..., pa.Table],
    tmp_path: Path,
):
    pool = write_shards(tmp_path / "p", planted_table())
    steps = ["embed", "cluster", "minhash", "semantic"]
    run = winnow(pool, tmp_path / "r", steps, minhash={"max_share": 1.0})
    captions = dict(zip(*planted_table().select(["uid", "text"]).columns, strict=True))
    captions = {str(uid): str(text) for uid, text in captions.items()}
    first: dict[str, str] = {}
    for uid in sorted(captions):
        first.setdefault(captions[uid], uid)
    assert run.kept("minhash") == set(first.values())
    assert set(run.ledger("semantic")) == set(first.values())


def test_words_may_be_the_elements_of_a_list_column(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    near = list(range(20))
    lists = [near, near[::-1], [*near[:-1], 99], [3, 4], [], None]
    table = pa.table({"uid": list("abcdef"), "friends": lists, "text": ["x"] * 6})
    pool = write_shards(tmp_path / "p", table)
    settings = {"column": "friends", "unit": "element", "bands": 64, "rows": 2}
    run = minhash(winnow, pool, tmp_path / "r", **settings)
    assert dropped(run) == {"b": ("a", 1.0), "c": ("a", 19 / 21)}
    assert run.ledger("minhash")["e"]["reason"] == "no_text"
    with pytest.raises(InputError, match="element"):
        minhash(winnow, pool, tmp_path / "s", column="friends")


def guarded(write_shards: Write, folder: Path) -> Path:
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(60)]
    texts, sources = [], []
    for i in range(30):
        copy = list(words)
        if i:
            copy[int(rng.integers(60))] = f"edit{i}"
        texts.append(" ".join(copy))
        sources.append("forum")
    texts += [" ".join(f"v{n}" for n in rng.integers(0, 10**6, 40)) for _ in range(70)]
    sources += ["books"] * 70
    uids = [f"u{i:03d}" for i in range(100)]
    table = pa.table({"uid": uids, "text": texts, "crawl": sources})
    return write_shards(folder, table)


def test_a_cluster_that_takes_too_much_of_a_source_stops_the_run(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    pool = guarded(write_shards, tmp_path / "p")
    settings = {"guard_from": 10, "max_share": 0.5}
    whole = minhash(winnow, pool, tmp_path / "w", **settings)
    lost = dropped(whole)
    assert len(lost) > 20
    assert {twin for twin, _ in lost.values()} == {"u000"}
    with pytest.raises(InputError) as stopped:
        minhash(winnow, pool, tmp_path / "r", source="crawl", **settings)
    message = str(stopped.value)
    least = min(lost, key=lambda uid: (lost[uid][1], uid))
    assert f"cluster of {len(lost) + 1} " in message
    assert f"{len(lost) / 30:.1%} of the source 'forum'" in message
    assert f"'{least}'" in message
    assert f"{lost[least][1]:.3f}" in message
    assert message.count("w10 w11 w12") == 2
    assert "allow_large_clusters" in message
    allowed = minhash(
        winnow,
        pool,
        tmp_path / "r",
        source="crawl",
        allow_large_clusters=True,
        **settings,
    )
    assert dropped(allowed) == lost


def test_without_verification_a_shared_band_is_enough(
    winnow: Winnow, write_shards: Write, tmp_path: Path
):
    table = corpus(300, 11, edits=0.6)
    pool = write_shards(tmp_path / "p", table)
    loose = {"bands": 64, "rows": 2}
    proven = dropped(minhash(winnow, pool, tmp_path / "v", **loose))
    run = minhash(winnow, pool, tmp_path / "r", verify=False, **loose)
    assert set(proven) < set(dropped(run))
    ledger = run.ledger("minhash")
    assert {ledger[uid]["reason"] for uid in dropped(run)} == {"shared_band_unverified"}
    assert {score for _, score in dropped(run).values()} == {None}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"bands": 5}, "rows"),
        ({"bands": 100, "rows": 5}, "num_perm"),
        ({"weights": [0.5, 0.6]}, "sum to 1"),
        ({"threshold": 0.0}, "threshold"),
        ({"keeper_descending": True}, "keeper column"),
        ({"recall": 0.9999, "num_perm": 2}, "recall"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    winnow: Winnow, planned_pool: Path, tmp_path: Path, settings: dict, named: str
):
    with pytest.raises(ConfigError, match=named):
        minhash(winnow, planned_pool, tmp_path / "r", **settings)


@pytest.fixture(scope="module")
def planned_pool(tmp_path_factory: pytest.TempPathFactory, write_shards: Write) -> Path:
    return write_shards(tmp_path_factory.mktemp("pool"), corpus(20, 0))


@pytest.mark.shared
def test_real_docstrings_against_brute_force(
    winnow: Winnow, shared: Path, tmp_path: Path
):
    pool = shared / "data" / "texts"
    run = minhash(winnow, pool, tmp_path / "r")
    texts = texts_of(pq.read_table(pool))
    names = sorted(texts)
    near = brute_force_pairs([texts[name] for name in names], 0.8)
    partners: dict[str, set[str]] = {}
    for a, b in near:
        partners.setdefault(names[a], set()).add(names[b])
        partners.setdefault(names[b], set()).add(names[a])
    gone = dropped(run)
    wrong = [uid for uid, (twin, _) in gone.items() if twin not in partners[uid]]
    assert wrong == []
    alive = run.kept("minhash")
    left = [uid for uid in alive if partners.get(uid, set()) & alive]
    # What greedy representatives by uid would drop, given every true pair.
    expected = 0
    kept: set[str] = set()
    for name in names:
        if partners.get(name, set()) & kept:
            expected += 1
        else:
            kept.add(name)
    assert len(gone) / expected >= 0.96, (len(gone), expected, len(left))
    removed_pairs = {frozenset((uid, twin)) for uid, (twin, _) in gone.items()}
    assert len(removed_pairs) == len(gone)


def brute_force_pairs(texts: list[str], threshold: float) -> list[tuple[int, int]]:
    vocabulary: dict[str, int] = {}
    rows, columns = [], []
    for row, text in enumerate(texts):
        for piece in shingles(text):
            rows.append(row)
            columns.append(vocabulary.setdefault(piece, len(vocabulary)))
    ones = np.ones(len(rows), np.int32)
    shape = (len(texts), len(vocabulary))
    matrix = scipy.sparse.csr_matrix((ones, (rows, columns)), shape)
    sizes = np.diff(matrix.indptr)
    shared = scipy.sparse.triu(matrix @ matrix.T, k=1).tocoo()
    union = sizes[shared.row] + sizes[shared.col] - shared.data
    close = shared.data / union >= threshold
    return list(
        zip(shared.row[close].tolist(), shared.col[close].tolist(), strict=True)
    )


@pytest.mark.parametrize("words", [30, 90])
def test_a_shared_template_removes_nothing(
    winnow: Winnow, write_shards: Write, tmp_path: Path, words: int
):
    rng = np.random.default_rng(1)
    template = [f"t{i}" for i in range(words)]
    tokens = rng.integers(0, 10**8, (100_000, 25))
    texts = [
        " ".join(itertools.chain(template, (f"n{n}" for n in row))) for row in tokens
    ]
    uids = [f"u{i:06d}" for i in range(len(texts))]
    pool = write_shards(
        tmp_path / "p", pa.table({"uid": uids, "text": texts}), 50_000, 10_000
    )
    run = minhash(winnow, pool, tmp_path / "r")
    assert dropped(run) == {}
    # A pair for each row and band, though with 90 words (J = .63) millions share one.
    assert run.artifact("minhash", "pairs").num_rows <= 16 * len(texts)
