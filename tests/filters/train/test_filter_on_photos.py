"""Filters on real photographs: what training promises, and what a selection holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.config.recipes import find, read
from winnow.core.hashing import keys

from tests.trusted_pool import write_pool

pytestmark = [pytest.mark.shared, pytest.mark.soak]


def photos_recipe(shared: Path, folder: Path, **optimise: Any) -> dict[str, Any]:
    """The shipped recipe, on the photographs, from the shared checkpoint."""
    wanted = read(find("filter_photos"))
    wanted["data"][0]["path"] = str(shared / "data/photos")
    wanted["model"]["start"][0]["weights"] = f"local-dir:{shared}/models/lite0"
    wanted["optimise"] |= {"threads": 1, **optimise}
    wanted["output"] = {"path": str(folder / "filter"), "cache": str(folder / "cache")}
    return wanted


@pytest.fixture(scope="module")
def trained(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    return winnow.train_filter(photos_recipe(shared, folder)), folder


def test_a_scratch_text_tower_on_a_frozen_trunk_tells_captions_apart(trained):
    result, _ = trained
    assert result.trained_on + sum(result.left_out.values()) == 4500
    assert result.held_out == 1500
    assert result.auc >= 0.955  # .963 measured; .95 asked


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shuffled_captions_end_at_chance(trained, shared, seed):
    _, folder = trained
    wanted = photos_recipe(shared, folder, epochs=6)
    wanted |= {"wrong_captions": 1.0, "seed": seed}
    wanted["output"]["path"] = str(folder / f"control{seed}")
    assert winnow.train_filter(wanted).last_auc == pytest.approx(0.5, abs=0.03)


@pytest.fixture(scope="module")
def half_wrong(trained, shared, tmp_path_factory):
    """Return the photographs held out, half with others' captions, and which."""
    result, _ = trained
    held = set((result.path / "held_out.txt").read_text().split())
    shards = sorted((shared / "data/photos").glob("*.parquet"))
    table = pa.concat_tables(pq.read_table(shard) for shard in shards)
    table = table.filter(pa.array([uid in held for uid in table["uid"].to_pylist()]))
    uids, texts = table["uid"].to_pylist(), table["text"].to_pylist()
    order = np.argsort(keys(uids, "wrong half"))[: len(uids) // 2]
    wrong = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
    mixed = [texts[wrong.get(row, row)] for row in range(len(uids))]
    folder = tmp_path_factory.mktemp("half")
    pool = write_pool(
        folder / "pool",
        pa.table({"uid": uids, "image": table["image"], "text": mixed}),
    )
    return pool, folder / "run", {uids[row] for row in wrong}


@pytest.mark.parametrize(
    ("score", "least"),
    [
        # .897 measured by the cosine, .901 with the mirrored image's as well, .912 less
        # what a pair shares with others.
        ({"method": "alignment"}, 0.885),
        ({"terms": [{"method": "alignment"}, {"method": "alignment_mirrored"}]}, 0.89),
        ({"method": "neg_clip_loss"}, 0.90),
    ],
    ids=["alignment", "both ways round", "neg_clip_loss"],
)
def test_half_of_a_pool_with_half_wrong_captions_is_right(
    trained, half_wrong, score, least
):
    result, _ = trained
    pool, folder, wrong = half_wrong
    run = winnow.run(
        {
            "input": {"path": str(pool)},
            "model": {"name": result.name},
            "output": {"path": str(folder), "report": False},
            "steps": ["embed", "score", "apply"],
            "score": {"keep_fraction": 0.5, **score},
        }
    )
    kept = pq.read_table(run.path / "kept")["uid"].to_pylist()
    assert len(kept) == 750
    assert len(set(kept) - wrong) / len(kept) >= least
