"""What filters keep of one pool: exact budgets, agreement, deleted clusters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.core.errors import ConfigError
from winnow.filters.judge.evaluation_set import EvaluationColumns, EvaluationSet
from winnow.filters.judge.selections import (
    RANDOM,
    Choosing,
    FilterSelection,
    Selections,
    agreement,
    best,
    cluster_rates,
    disagreements,
    pool_areas,
    select,
    short_names,
)


def made(scores: list[list[float]], clusters: list[int], budget: int) -> Selections:
    """Return selections of given scores, the last of them by chance."""
    rows = len(clusters)
    uids = [f"u{row:03}" for row in range(rows)]
    data = EvaluationSet(
        "pool",
        None,  # type: ignore[arg-type]
        uids,
        np.arange(rows),
        [(row,) for row in range(rows)],
        [f"caption {row}" for row in range(rows)],
        {},
    )
    names = [*(f"m{i}" for i in range(len(scores) - 1)), RANDOM]
    each = [
        FilterSelection(n, np.array(s), best(np.array(s), uids, budget))
        for n, s in zip(names, scores, strict=True)
    ]
    return Selections(data, np.array(clusters), budget, each)


def test_the_best_are_kept_and_ties_go_to_the_first_uid():
    scores = np.array([1.0, 3.0, 2.0, 2.0, 2.0])
    assert best(scores, list("abcde"), 3).tolist() == [False, True, True, True, False]
    assert best(scores, list("abcde"), 0).sum() == 0
    assert best(scores, list("abcde"), 5).all()


def test_a_cluster_that_a_filter_deletes_is_flagged_first():
    # 40 rows of four clusters; the first filter scores cluster 2 lowest of all.
    clusters = [row % 4 for row in range(40)]
    one = [0.0 if c == 2 else 1.0 + row for row, c in enumerate(clusters)]
    other = [float(row * 7 % 40) for row in range(40)]
    selections = made([one, other, other[::-1]], clusters, 20)
    rates = cluster_rates(selections)
    assert rates[0]["cluster"] == 2
    assert rates[0]["deleted_by"] == ["m0"]
    assert rates[0]["keep_rates"]["m0"] == 0
    assert all(not row["deleted_by"] for row in rates[1:])
    assert sum(row["rows"] for row in rates) == 40
    for name in ("m0", "m1", RANDOM):
        assert sum(r["keep_rates"][name] * r["rows"] for r in rates) == pytest.approx(
            20
        )


def test_a_small_cluster_may_be_gone_by_chance():
    clusters = [0] * 36 + [1] * 4
    scores = [float(40 - row) for row in range(40)]
    assert not any(
        r["deleted_by"] for r in cluster_rates(made([scores] * 2, clusters, 20))
    )


def test_agreement_counts_rows_and_galleries_show_the_widest_gaps():
    rows = list(range(12))
    one = [float(row) for row in rows]
    other = [float(row if row not in (0, 11) else 11 - row) for row in rows]
    selections = made([one, other, one], [0] * 12, 6)
    pair, chance, _ = agreement(selections)
    assert (pair["one"], pair["other"], pair["both"]) == ("m0", "m1", 5)
    assert pair["jaccard"] == 5 / 7
    assert chance["rank_correlation"] is None
    assert 0 < pair["rank_correlation"] < 1
    kept_by_one, kept_by_other = disagreements(selections)
    assert [e["uid"] for e in kept_by_one["examples"]] == ["u011"]
    assert [e["uid"] for e in kept_by_other["examples"]] == ["u000"]
    assert kept_by_one["examples"][0]["caption"] == "caption 11"


def test_half_wrong_captions_are_sorted_out_at_half(
    demo_model: str,
    scenes: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    tmp_path: Path,
):
    table = scenes(120, first=3000)
    texts = table["text"].to_pylist()
    wrong = [*texts[1:60], texts[0], *texts[60:]]
    pool = write_shards(
        tmp_path / "half",
        table.drop_columns(["captions", "text"]).append_column("text", pa.array(wrong)),
    )
    copied = tmp_path / "copy"
    copied.symlink_to(Path(demo_model.removeprefix("local-dir:")))
    models = [demo_model, f"local-dir:{copied}"]
    selections = select(models, str(pool), Choosing(0.5))
    assert selections.budget == 60
    right = set(table["uid"].to_pylist()[60:])
    for selection in selections.filters:
        kept = np.array(selections.data.uids)[selection.keep]
        assert len(kept) == 60
        assert len(right & set(kept.tolist())) >= 54
    assert agreement(selections)[0]["jaccard"] == 1
    random = np.array(selections.data.uids)[selections.control.keep]
    assert 15 < len(right & set(random.tolist())) < 45
    # Half of the right pairs are wrong ones: they rank like those.
    assert 0.6 < pool_areas(selections)[0]["auc_random"] < 0.85
    assert pq.read_table(pool).num_rows == len(selections.data)


@pytest.mark.parametrize(
    ("models", "budget", "error"),
    [
        (["a", "a"], 0.5, "stands there twice"),
        (["a"], 0.0, "above 0"),
        (["a"], 1.5, "above 0"),
    ],
)
def test_what_cannot_be_compared_says_why(
    scene_pool: Path, models: list[str], budget: float, error: str
):
    with pytest.raises(ConfigError, match=error):
        select(models, str(scene_pool), Choosing(budget, EvaluationColumns()))


def test_a_budget_of_no_row_is_refused(demo_model: str, scene_pool: Path):
    with pytest.raises(ConfigError, match="keeps none"):
        select([demo_model], str(scene_pool), Choosing(0.001))


def test_models_go_by_their_last_parts_unless_these_repeat():
    assert short_names(["local-dir:/x/one", "two"]) == ["one", "two"]
    assert short_names(["x/one", "y/one"]) == ["x/one", "y/one"]
    assert short_names(["x/random"]) == ["x/random"]
