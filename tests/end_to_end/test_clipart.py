"""Real drawings with real captions through the shipped recipe and a real model."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.config import recipes
from winnow.reports.explain import explain, tell
from winnow.reports.run_view import RunView

from tests.page_numbers import check_numbers

pytestmark = [pytest.mark.shared, pytest.mark.slow]

ROWS = 7_954


def run_recipe(
    shared: Path, pool: str, out: Path, *settings: str, recipe: str = "image_text"
) -> Any:
    model = shared / "models" / "lite0"
    return winnow.run(
        recipes.load(
            recipe,
            [f"input.path={pool}", f"model.name=local-dir:{model}", *settings],
            str(out),
        )
    )


def read_pool(files: list[Path]) -> pa.Table:
    return pa.concat_tables([pq.ParquetFile(file).read() for file in files])


def assert_accounted(run: Any, source: pa.Table) -> None:
    """Kept rows equal the input's; what is kept, dropped or quarantined is all."""
    result = run.result
    rows = source["uid"].to_pylist()
    assert result.rows == len(rows)
    assert result.kept + result.dropped + result.quarantined == len(rows)
    kept = run.output()
    wanted = set(kept["uid"].to_pylist())
    expected = source.filter(pa.array([uid in wanted for uid in rows]))
    assert kept.equals(expected)
    fates = dict.fromkeys(wanted, "kept")
    for marker in result.steps:
        if marker.decides:
            for uid, row in run.ledger(marker.step).items():
                if not row["keep"]:
                    assert uid not in fates
                    fates[uid] = marker.step
    for row in run.quarantine():
        assert row["uid"] not in fates
        fates[row["uid"]] = "quarantined"
    assert set(fates) == set(rows)


def assert_twins(run: Any, epsilon: float) -> None:
    """Every kept_twin was kept at its step, and is as near as the ledger says."""
    table = run.artifact("embed", "vectors")
    places = {uid: number for number, uid in enumerate(table["uid"].to_pylist())}
    flat = table["image_vector"].combine_chunks().flatten().to_numpy()
    vectors = flat.reshape(len(table), -1).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for step in ("exact", "semantic"):
        ledger = run.ledger(step)
        dropped = {uid: row for uid, row in ledger.items() if not row["keep"]}
        assert dropped
        for uid, row in dropped.items():
            assert ledger[row["kept_twin"]]["keep"]
            if step == "semantic":
                cosine = vectors[places[uid]] @ vectors[places[row["kept_twin"]]]
                assert cosine == pytest.approx(row["score"], abs=1e-6)
                assert row["score"] > row["threshold"] == 1 - epsilon


def assert_budgets(run: Any, **fractions: tuple[int, int]) -> None:
    for marker in run.result.steps:
        if marker.step in fractions:
            over, under = fractions[marker.step]
            assert marker.kept == marker.rows_in * over // under


BUDGETS = {"score": (4, 5), "complexity": (3, 5)}


@pytest.fixture(scope="module")
def small_pool(
    shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, pa.Table]:
    """Two shards of 150 drawings, 40 of them stars."""
    folder = tmp_path_factory.mktemp("clipart")
    files = sorted((shared / "data" / "clipart").glob("*.parquet"))
    table = read_pool(files[:2])
    stars = table.filter(pc.equal(table["text"], "gramastar")).slice(0, 40)
    others = table.filter(pc.not_equal(table["text"], "gramastar")).slice(0, 260)
    assert len(stars) == 40
    table = pa.concat_tables([stars, others]).combine_chunks()
    for number in range(2):
        part = table.slice(150 * number, 150)
        pq.write_table(part, folder / f"{number}.parquet", row_group_size=64)
    return folder, table


@pytest.fixture(scope="module")
def small_run(
    shared: Path,
    small_pool: tuple[Path, pa.Table],
    read_run: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    out = tmp_path_factory.mktemp("run") / "r"
    return read_run(out, run_recipe(shared, str(small_pool[0]), out))


def test_three_hundred_drawings(small_run: Any, small_pool: tuple[Path, pa.Table]):
    assert_accounted(small_run, small_pool[1])
    assert_twins(small_run, 0.05)
    assert_budgets(small_run, **BUDGETS)


def test_a_dropped_star_is_explained(small_run: Any, small_pool: tuple[Path, pa.Table]):
    texts = dict(
        zip(*(small_pool[1][c].to_pylist() for c in ("uid", "text")), strict=True)
    )
    ledger = small_run.ledger("semantic")
    stars = [u for u in ledger if texts[u] == "gramastar" and not ledger[u]["keep"]]
    assert stars, "near-identical stars go"
    story = explain(RunView(small_run.path), stars[0])
    assert (story["fate"], story["at_step"]) == ("dropped", "semantic")
    last = story["steps"][-1]
    assert last["reason"] == "semantic_duplicate"
    assert last["score"] > last["threshold"]
    assert texts[last["kept_twin"]] is not None
    said = tell(story)
    for part in (stars[0], last["kept_twin"], "semantic_duplicate", "in cluster"):
        assert part in said


def test_a_second_run_does_nothing(
    shared: Path, small_run: Any, small_pool: tuple[Path, pa.Table]
):
    before = small_run.times()
    again = run_recipe(shared, str(small_pool[0]), small_run.path)
    assert again.ran == []
    assert small_run.times() == before


def test_other_shards_and_another_order_decide_alike(
    shared: Path,
    small_run: Any,
    small_pool: tuple[Path, pa.Table],
    read_run: Callable[..., Any],
    write_shards: Callable[..., Path],
    tmp_path: Path,
):
    order = np.random.default_rng(0).permutation(300)
    pool = write_shards(tmp_path / "p", small_pool[1].take(order), 41, 16)
    result = run_recipe(shared, str(pool), tmp_path / "r")
    assert_same_decisions(read_run(tmp_path / "r", result), small_run)


def assert_same_decisions(one: Any, other: Any) -> None:
    for marker in one.result.steps:
        if marker.decides:
            ours, theirs = (run.ledger_table(marker.step) for run in (one, other))
            assert ours.equals(theirs), marker.step
    kept = [set(run.output()["uid"].to_pylist()) for run in (one, other)]
    assert kept[0] == kept[1]
    subsets = [np.load(run.path / "subset.npy") for run in (one, other)]
    np.testing.assert_array_equal(*subsets)


@pytest.mark.soak
def test_the_whole_collection(
    shared: Path, read_run: Callable[..., Any], tmp_path: Path
):
    pool = shared / "data" / "clipart"
    source = read_pool(sorted(pool.glob("*.parquet")))
    run = read_run(tmp_path / "r", run_recipe(shared, str(pool), tmp_path / "r"))
    assert run.result.rows == ROWS
    assert_accounted(run, source)
    assert_twins(run, 0.05)
    assert_budgets(run, **BUDGETS)
    before = run.times()
    assert run_recipe(shared, str(pool), tmp_path / "r").ran == []
    assert run.times() == before
    # The same rows in one shard and another order.
    order = np.random.default_rng(0).permutation(ROWS)
    (tmp_path / "p").mkdir()
    shuffled = source.take(order)
    pq.write_table(shuffled, tmp_path / "p" / "all.parquet", row_group_size=500)
    other = run_recipe(shared, str(tmp_path / "p"), tmp_path / "other")
    assert_same_decisions(read_run(tmp_path / "other", other), run)


@pytest.mark.parametrize("recipe", ["dbp", "prototypes", "dfn"])
def test_the_other_recipes(
    shared: Path,
    small_pool: tuple[Path, pa.Table],
    read_run: Callable[..., Any],
    tmp_path: Path,
    recipe: str,
):
    folder, table = small_pool
    # Titles are short, and drawings small, for DataComp's filter.
    settings = ["rules.min_words=1", "rules.min_side=64"] if recipe == "dfn" else []
    result = run_recipe(shared, str(folder), tmp_path / "r", *settings, recipe=recipe)
    assert_accounted(read_run(tmp_path / "r", result), table)


def _sampled(small_run: Any) -> list[tuple[str, str | None]]:
    """Return ten dropped rows, of each step in turn, and ten kept: uid, step."""
    gone: dict[str, list[str]] = {}
    for marker in small_run.result.steps:
        if marker.decides:
            ledger = small_run.ledger(marker.step)
            gone[marker.step] = sorted(u for u, r in ledger.items() if not r["keep"])
    turns = zip_longest(*gone.values())
    dropped = [
        (uid, step)
        for turn in turns
        for step, uid in zip(gone, turn, strict=True)
        if uid is not None
    ]
    kept = sorted(small_run.output()["uid"].to_pylist())[::7][:10]
    assert len(dropped[:10]) == len(kept) == 10
    return dropped[:10] + [(uid, None) for uid in kept]


def test_twenty_stories_agree_with_the_artifacts(
    small_run: Any, small_pool: tuple[Path, pa.Table]
):
    """`explain`, number by number, against what NumPy makes of the run's files."""
    view, rows = RunView(small_run.path), small_pool[1].to_pylist()
    places = {row["uid"]: number for number, row in enumerate(rows)}
    stored = _Stored(small_run)
    for uid, last in _sampled(small_run):
        story = explain(view, uid)
        said = tell(story)
        assert (story["fate"], story["at_step"]) == (
            "dropped" if last else "kept",
            last,
        )
        source, row = divmod(places[uid], 150)
        assert (story["source"], story["row"]) == (f"{source}.parquet", row)
        assert f"{uid}: {story['fate']}" in said
        assert f"from {source}.parquet, row {row}" in said
        assert len(story["steps"]) == len(said.splitlines()) - 2
        for entry, line in zip(story["steps"], said.splitlines()[2:], strict=True):
            assert line.split()[0] == entry["step"]
            stored.check(uid, entry, line)


class _Stored:
    """A run's files, as NumPy sees them, to check an explanation against."""

    def __init__(self, run: Any) -> None:
        self._run = run
        self._kinds = {marker.step: marker for marker in run.result.steps}
        table = run.artifact("embed", "vectors")
        self._places = {
            uid: number for number, uid in enumerate(table["uid"].to_pylist())
        }
        self._vectors = {}
        for name in ("image", "text"):
            flat = table[f"{name}_vector"].combine_chunks().flatten().to_numpy()
            matrix = flat.reshape(len(table), -1).astype(np.float64)
            matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
            self._vectors[name] = matrix

    def check(self, uid: str, entry: dict[str, Any], line: str) -> None:
        step = entry["step"]
        if self._kinds[step].kind == "cluster":
            self._check_cluster(uid, entry, line)
            return
        if not self._kinds[step].decides:
            assert entry["fate"] == "passed"
            return
        ledger = self._run.ledger(step)
        row = ledger[uid]
        assert entry["fate"] == ("kept" if row["keep"] else "dropped")
        for name in ("reason", "score", "threshold", "kept_twin"):
            assert entry[name] == row[name]
        assert f"{entry['fate']}: {row['reason']}" in line
        if row["score"] is not None:
            assert f"score {row['score']:.4f}" in line
        if row["score"] is not None and row["threshold"] is not None:
            assert f"against {row['threshold']:.4f}" in line
        if row["kept_twin"]:
            self._check_twin(uid, row, entry, line)
        if step == "score":
            image = self._vectors["image"][self._places[uid]]
            text = self._vectors["text"][self._places[uid]]
            assert row["score"] == pytest.approx(image @ text, abs=1e-6)
            scores = [r["score"] for r in ledger.values()]
            higher = sum(s > row["score"] for s in scores)
            assert entry["higher_scores"] == higher
            assert f"({higher} of {len(scores)} rows score higher)" in line
            assert row["keep"] == (higher < len(scores) * 4 // 5)
        if not row["keep"]:
            assert entry["would_be_kept"]
            assert entry["would_be_kept"] in line

    def _check_twin(
        self, uid: str, row: dict[str, Any], entry: dict[str, Any], line: str
    ) -> None:
        twin, step = row["kept_twin"], entry["step"]
        assert f"its twin {twin} is {entry['twin_fate']}" in line
        fates = [
            f"dropped at {other} ({ledger[twin]['reason']})"
            for other, marker in self._kinds.items()
            if marker.decides and twin in (ledger := self._run.ledger(other))
            if not ledger[twin]["keep"]
        ]
        assert entry["twin_fate"] == (fates[0] if fates else "kept")
        if step == "semantic":
            one, other = (self._places[name] for name in (uid, twin))
            images = self._vectors["image"]
            assert row["score"] == pytest.approx(images[one] @ images[other], abs=1e-6)

    def _check_cluster(self, uid: str, entry: dict[str, Any], line: str) -> None:
        step = entry["step"]
        rows = self._run.artifact(step, "clusters").to_pylist()
        assigned = next(row for row in rows if row["uid"] == uid)
        members = [row for row in rows if row["cluster"] == assigned["cluster"]]
        rank = 1 + sum(row["distance"] > assigned["distance"] for row in members)
        assert entry["cluster"] == assigned["cluster"]
        assert entry["rank_from_farthest"] == rank
        file = self._run.path / "artifacts" / step / "centroids.npy"
        centroids = np.load(file, allow_pickle=False).astype(np.float64)
        similar = centroids @ self._vectors["image"][self._places[uid]]
        assert int(similar.argmax()) == assigned["cluster"]
        assert 1 - similar.max() == pytest.approx(assigned["distance"], abs=1e-6)
        assert f"cluster {assigned['cluster']} with {len(members)} rows" in line
        assert f"distance {assigned['distance']:.4f}" in line
        assert f"number {rank} from the far end" in line


def test_the_page_of_real_drawings(small_run: Any, visit: Callable[..., Any]):
    page = small_run.path / "report.html"
    assert page.stat().st_size < 8_000_000
    assert check_numbers(page.read_text(), small_run.path) > 300
    seen = visit(page, width=360, height=740)
    assert seen.too_wide() == []
    assert seen.serious() == []
    seen.page.locator("#clusters-cluster .map a").first.click()
    seen.page.locator(".cluster:target img").first.wait_for()


def test_the_app_finds_drawings_by_their_captions(small_run: Any):
    from winnow.app.site import Site

    site = Site(small_run.path)
    try:
        kept = site.listing([("fate", "kept")])["cards"][:30]
        ranks = []
        for card in kept:
            pages, after = [], ""
            while after is not None and card["n"] not in pages:
                shown = site.listing([("like", card["caption"]), ("after", after)])
                pages += [other["n"] for other in shown["cards"]]
                after = str(pages[-1]) if shown["later"] else None
            ranks.append(pages.index(card["n"]))
        assert len(kept) == 30
        assert np.median(ranks) < 15  # by chance, the 150th or so
        assert site.picture(kept[0]["n"], large=False)[0] == "image/webp"
    finally:
        site.close()
