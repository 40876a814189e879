"""The index: answers of brute force, however it grew, and only under its settings."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from winnow.core.errors import ConfigError, InputError
from winnow.flows.near_index import NamedColumns, add, ask, build
from winnow.indexes.near_index import NearIndex

Winnow = Callable[..., Any]
Write = Callable[..., Path]

#: Long bands of one row: whatever shares a shingle is all but sure to meet.
EAGER = {"bands": 128, "rows": 1}


def jaccard(a: str, b: str, n: int = 5) -> float:
    def cut(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[i : i + n]) for i in range(max(len(words) - n, 0) + 1)}

    return len(cut(a) & cut(b)) / len(cut(a) | cut(b))


def documents(rows: int, seed: int = 0) -> dict[str, str]:
    """Families of up to ten edits, so that every similarity from 0 to 1 occurs."""
    rng = np.random.default_rng(seed)
    texts = {}
    for i in range(rows):
        if i % 10 == 0:
            words = [f"w{n}" for n in rng.integers(0, 10**6, 60)]
        else:
            words = list(words)
            words[int(rng.integers(60))] = f"edit{i}"
        texts[f"u{i:05d}"] = " ".join(words)
    return texts


def table_of(texts: dict[str, str]) -> pa.Table:
    return pa.table({"uid": list(texts), "text": list(texts.values())})


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return documents(400)


@pytest.fixture(scope="module")
def pool(
    tmp_path_factory: pytest.TempPathFactory, write_shards: Write, texts: dict[str, str]
) -> Path:
    return write_shards(tmp_path_factory.mktemp("pool"), table_of(texts), 130, 40)


def answers(index: Path, **question: Any) -> list[tuple[str, float]]:
    return [(row["uid"], row["jaccard"]) for row in ask(index, **question)]


def brute_force(
    texts: dict[str, str], text: str, least: float
) -> list[tuple[str, float]]:
    pairs = [(uid, jaccard(text, other)) for uid, other in texts.items()]
    pairs = [pair for pair in pairs if pair[1] >= least]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def test_answers_are_those_of_brute_force(
    pool: Path, tmp_path: Path, texts: dict[str, str]
):
    counts = build(str(pool), tmp_path / "i", settings=EAGER)
    assert (counts["rows"], counts["added"]) == (400, 400)
    for uid in list(texts)[3::37]:
        expected = brute_force(texts, texts[uid], 0.2)
        assert len(expected) > 5
        assert (
            answers(tmp_path / "i", text=texts[uid], k=99, min_jaccard=0.2) == expected
        )
        others = [pair for pair in expected if pair[0] != uid]
        answered = answers(tmp_path / "i", uid=uid, k=3, min_jaccard=0.2)
        assert answered == others[:3]
    assert answers(tmp_path / "i", text="nothing like it anywhere here") == []
    assert answers(tmp_path / "i", text="  ") == []


def test_pairs_are_found_as_often_as_their_bands_promise(
    tmp_path: Path, write_shards: Write
):
    rng = np.random.default_rng(4)
    texts: dict[str, str] = {}
    for pair in range(1500):
        words = [f"w{n}" for n in rng.integers(0, 10**6, 60)]
        texts[f"a{pair:04d}"] = " ".join(words)
        words[: int(rng.integers(1, 25))] = ["other"]
        texts[f"b{pair:04d}"] = " ".join(words)
    pool = write_shards(tmp_path / "p", table_of(texts), 2000, 500)
    build(str(pool), tmp_path / "i", settings={"bands": 16, "rows": 8})
    hits, chances = 0, []
    for pair in range(1500):
        a, b = f"a{pair:04d}", f"b{pair:04d}"
        similarity = jaccard(texts[a], texts[b])
        chances.append(1 - (1 - similarity**8) ** 16)
        answered = dict(answers(tmp_path / "i", uid=a, min_jaccard=0.01))
        hits += b in answered
        assert answered.get(b, similarity) == similarity
    chance = np.array(chances)
    spread = np.sqrt((chance * (1 - chance)).sum())
    assert abs(hits - chance.sum()) < 4 * spread


def test_appending_gives_the_answers_of_building_at_once(
    pool: Path, tmp_path: Path, texts: dict[str, str]
):
    shards = sorted(str(path) for path in pool.iterdir())
    build(shards[0], tmp_path / "grown", settings=EAGER)
    add(tmp_path / "grown", shards[1:2])
    counts = add(tmp_path / "grown", shards[1:])
    assert (counts["added"], counts["already_there"]) == (400 - 260, 130)
    build(str(pool), tmp_path / "whole", settings=EAGER)
    for uid in list(texts)[::41]:
        question = {"uid": uid, "k": 50, "min_jaccard": 0.1}
        grown = answers(tmp_path / "grown", **question)
        assert grown == answers(tmp_path / "whole", **question) != []


def test_nothing_there_is_hashed_again(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from winnow.steps.sketching import Sketching

    shards = sorted(str(path) for path in pool.iterdir())
    build(shards[0], tmp_path / "i", settings=EAGER)
    sketched: list[int] = []
    digests = Sketching.digests

    def counted(self: Sketching, texts: pa.Array) -> Any:
        sketched.append(len(texts))
        return digests(self, texts)

    monkeypatch.setattr(Sketching, "digests", counted)
    add(tmp_path / "i", shards[1:2])
    assert sum(sketched) == 130


def test_segments_are_mapped_not_read(pool: Path, tmp_path: Path):
    build(str(pool), tmp_path / "i")
    (segment,) = NearIndex(tmp_path / "i").segments
    for array in (segment.digests, segment.rows):
        assert isinstance(array.base, np.memmap)
    before = pa.total_allocated_bytes()
    assert len(segment.table) == 400
    assert pa.total_allocated_bytes() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scheme", "legacy"),
        ("seed", 2),
        ("num_perm", 256),
        ("token_hash", "xxh32"),
        ("ngram", 3),
        ("unit", "char"),
        ("normalise", ["case"]),
    ],
)
def test_other_settings_are_refused(
    pool: Path, tmp_path: Path, winnow: Winnow, name: str, value: Any
):
    build(str(pool), tmp_path / "i", settings=EAGER)
    before = sorted(tmp_path.rglob("*"))
    other = {name: value}
    with pytest.raises(ConfigError, match=name):
        add(tmp_path / "i", [str(pool)], settings=other)
    with pytest.raises(ConfigError, match=name):
        ask(tmp_path / "i", text="a b c", settings=other)
    assert sorted(p for p in tmp_path.rglob("*") if p.name != ".lock") == [
        p for p in before if p.name != ".lock"
    ]
    columns = {"columns": {"uid": "uid", "image": None, "text": "text"}}
    with pytest.raises(ConfigError, match=name):
        winnow(
            pool,
            tmp_path / "r",
            ["minhash"],
            input={"path": str(pool), **columns},
            minhash={**EAGER, **other, "index": str(tmp_path / "i")},
        )


def test_sets_of_a_list_column_many_bands_of_two_rows(
    tmp_path: Path, write_shards: Write
):
    """Neighbours of vertices, as in Chamberlain et al.: low similarities count."""
    rng = np.random.default_rng(0)
    circles = [rng.choice(10**6, 60, replace=False) for _ in range(8)]
    friends = [
        sorted(
            {
                *rng.choice(circles[i % 8], 30, replace=False),
                *rng.integers(0, 10**6, 20),
            }
        )
        for i in range(160)
    ]
    table = pa.table({"vertex": list(range(160)), "friends": friends})
    pool = write_shards(tmp_path / "p", table)
    settings = {"unit": "element", "num_perm": 1000, "bands": 500, "rows": 2}
    columns = NamedColumns(uid="vertex", text="friends")
    build(str(pool), tmp_path / "i", columns=columns, settings=settings)
    sets = [set(row) for row in friends]
    missed = total = 0
    for vertex in range(0, 160, 13):
        answered = dict(
            answers(tmp_path / "i", uid=str(vertex), k=200, min_jaccard=0.1)
        )
        for other in range(160):
            value = len(sets[vertex] & sets[other]) / len(sets[vertex] | sets[other])
            if other != vertex and value >= 0.1:
                total += 1
                missed += str(other) not in answered
                assert answered.get(str(other), value) == value
    # At J = .1, 1 − (1 − .01)⁵⁰⁰ = .993 share a band.
    assert total > 200
    assert missed <= 0.02 * total


def test_a_recipe_drops_what_is_near_something_indexed(
    tmp_path: Path, write_shards: Write, winnow: Winnow
):
    old, new = documents(100, 1), documents(60, 2)
    fresh = {f"new-{uid}": text for uid, text in new.items()}
    edited = {f"copy-{uid}": f"{text} tail" for uid, text in list(old.items())[::10]}
    columns = {"columns": {"uid": "uid", "image": None, "text": "text"}}
    first = write_shards(tmp_path / "old", table_of(old))
    later = write_shards(tmp_path / "new", table_of({**fresh, **edited}))

    def run(pool: Path, name: str, **settings: Any) -> Any:
        steps = ["minhash", "apply"]
        given = {"path": str(pool), **columns}
        return winnow(pool, tmp_path / name, steps, input=given, minhash=settings)

    before = run(first, "first")
    index = str(tmp_path / "i")
    build(str(tmp_path / "first"), index)
    assert NearIndex(tmp_path / "i").rows == len(before.kept("minhash"))
    alone = run(later, "alone")
    grown = run(later, "grown", index=str(tmp_path / "i"))
    ledger = grown.ledger("minhash")
    known = {u for u, r in ledger.items() if r["reason"] == "near_duplicate_in_index"}
    assert known
    assert known <= set(edited)
    for uid in known:
        twin = ledger[uid]["kept_twin"]
        assert twin in before.kept("minhash")
        assert ledger[uid]["score"] == jaccard(edited[uid], old[twin]) >= 0.8
    near_enough = {
        uid
        for uid, text in edited.items()
        if any(jaccard(text, old[o]) >= 0.8 for o in before.kept("minhash"))
    }
    assert known == near_enough
    assert grown.kept("minhash") == alone.kept("minhash") - known
    add(tmp_path / "i", [str(tmp_path / "grown")])
    again = run(later, "again", index=str(tmp_path / "i"))
    assert again.kept("minhash") == grown.kept("minhash")
    renamed = {f"other-{uid}": text for uid, text in {**fresh, **edited}.items()}
    third = run(write_shards(tmp_path / "t", table_of(renamed)), "third", index=index)
    assert not third.kept("minhash")


def test_a_grown_index_makes_the_step_run_again(
    pool: Path, tmp_path: Path, winnow: Winnow, write_shards: Write
):
    old = {f"old-{uid}": text for uid, text in documents(30, 9).items()}
    other = write_shards(tmp_path / "o", table_of(old))
    build(str(other), tmp_path / "i")
    given = {
        "path": str(pool),
        "columns": {"uid": "uid", "image": None, "text": "text"},
    }
    settings = {"index": str(tmp_path / "i")}
    first = winnow(pool, tmp_path / "r", ["minhash"], input=given, minhash=settings)
    again = winnow(pool, tmp_path / "r", ["minhash"], input=given, minhash=settings)
    copies = {f"copy-{uid}": text for uid, text in documents(400).items()}
    add(tmp_path / "i", [str(write_shards(tmp_path / "c", table_of(copies)))])
    grown = winnow(pool, tmp_path / "r", ["minhash"], input=given, minhash=settings)
    assert [run.result.ran for run in (first, again, grown)] == [
        ["index", "minhash"],
        [],
        ["minhash"],
    ]
    assert grown.result.kept == 0


def test_the_guard_holds_for_texts_of_the_index(
    tmp_path: Path, write_shards: Write, winnow: Winnow
):
    old = next(iter(documents(1).values()))
    index = str(tmp_path / "i")
    build(str(write_shards(tmp_path / "old", table_of({"old": old}))), index)
    new = {f"new{i}": f"head {old}" if i == 3 else old for i in range(30)}
    new |= documents(10, 5)
    pool = write_shards(tmp_path / "new", table_of(new))
    given = {
        "path": str(pool),
        "columns": {"uid": "uid", "image": None, "text": "text"},
    }
    settings = {"index": index, "guard_from": 10}

    def run(**more: Any) -> Any:
        given_now = {**settings, **more}
        return winnow(pool, tmp_path / "r", ["minhash"], input=given, minhash=given_now)

    with pytest.raises(InputError, match=r"'old' of the index .* 30 rows, 75.0%") as no:
        run()
    assert "'new3' with a Jaccard similarity of 0.982" in str(no.value)
    assert "'head w" in str(no.value)
    ledger = run(allow_large_clusters=True).ledger("minhash")
    assert {ledger[uid]["kept_twin"] for uid in new if uid.startswith("new")} == {"old"}


def test_an_index_is_not_built_over_something_else(pool: Path, tmp_path: Path):
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        build(str(pool), tmp_path)
    with pytest.raises(ConfigError, match="holds no index"):
        ask(tmp_path, text="x")
    with pytest.raises(InputError, match="titel"):
        build(str(pool), tmp_path / "i", columns=NamedColumns(text="titel"))
    assert not (tmp_path / "i").exists()


@pytest.mark.parametrize("least", [-1.0, 7.0, float("nan")])
def test_a_similarity_is_from_0_to_1(tmp_path: Path, least: float):
    from winnow.flows.near_index import chance

    with pytest.raises(ConfigError, match="from 0 to 1"):
        ask(tmp_path, text="a", min_jaccard=least)
    with pytest.raises(ConfigError, match="from 0 to 1"):
        chance(tmp_path, least)


class Killed(BaseException):
    """Ends a command where it stands."""


def test_a_build_that_was_killed_is_done_by_the_same_command(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    build(str(pool), tmp_path / "whole")

    def killed(*given: Any, **named: Any) -> None:
        raise Killed

    for name in ("add", "begin_addition", "end_addition"):
        with monkeypatch.context() as patch:
            patch.setattr(NearIndex, name, killed)
            with pytest.raises(Killed):
                build(str(pool), tmp_path / "i")
        assert not (tmp_path / "i").exists()
    (tmp_path / "i").mkdir()
    build(str(pool), tmp_path / "i")
    left = tmp_path / "i" / "index.copy.json.tmp"
    left.write_text("half")
    copy = tmp_path / "i" / "index.copy.json"
    copy.write_text("{}")
    add(tmp_path / "i", [str(pool)])
    assert not left.exists()
    assert copy.read_text() == (tmp_path / "i" / "index.json").read_text()
    shutil.rmtree(tmp_path / "i")
    build(str(pool), tmp_path / "i")
    assert NearIndex(tmp_path / "i").version == NearIndex(tmp_path / "whole").version
    assert sorted(p.name for p in tmp_path.iterdir()) == ["i", "whole"]
