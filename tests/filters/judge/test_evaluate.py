"""Held-out figures of the packaged model on scenes, against plain definitions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.core.errors import ConfigError, InputError
from winnow.demo.copies import copy
from winnow.demo.scenes import generator
from winnow.filters.judge.evaluate import Evaluation, evaluate
from winnow.filters.judge.evaluation_set import EvaluationColumns, model_of
from winnow.filters.judge.leakage import Distances
from winnow.models.encoder import load_encoder

from tests.conftest import hex_uid

Write = Callable[..., Path]

KEYS = {
    "auc_random",
    "auc_hard",
    "precision_at_k",
    "recall_at_1",
    "recall_at_5",
    "recall_at_10",
    "n",
}


@pytest.fixture(scope="module")
def judged(demo_model: str, scene_pool: Path) -> Any:
    how = Evaluation(columns=EvaluationColumns(by=("kind",)))
    result, (one,) = evaluate(demo_model, [str(scene_pool)], how)
    return result, one


@pytest.fixture(scope="module")
def similarities(demo_model: str, scene_pool: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return cosines of all images to all captions, and which are right."""
    table = pq.read_table(scene_pool).sort_by("uid")
    encoder = load_encoder(model_of(demo_model))
    pixels = np.stack([encoder.prepare(d) for d in table["image"].to_pylist()])
    several = table["captions"].to_pylist()
    texts = list(dict.fromkeys(text for said in several for text in said))
    right = np.array([[text in said for text in texts] for said in several])
    images = encoder.encode_images(pixels).astype(np.float16).astype(float)
    captions = encoder.encode_texts(texts).astype(np.float16).astype(float)
    return images @ captions.T, right


def test_recall_is_the_share_of_images_with_a_right_caption_among_the_best(
    judged: Any, similarities: Any
):
    table, right = similarities
    for k in (1, 5, 10):
        best = np.argsort(-table, axis=1)[:, :k]
        hit = np.take_along_axis(right, best, axis=1).any(axis=1).mean()
        assert judged[0][f"recall_at_{k}"] == pytest.approx(hit, abs=1e-12)
        best = np.argsort(-table, axis=0)[:k]
        hit = np.take_along_axis(right, best, axis=0).any(axis=0).mean()
        recall = judged[0]["text_to_image"][f"recall_at_{k}"]
        assert recall == pytest.approx(hit, abs=1e-12)


def test_areas_agree_with_those_over_all_wrong_pairs(judged: Any, similarities: Any):
    table, right = similarities
    wins = (table[right][:, None] > table[~right][None]).mean()
    result = judged[0]
    # One wrong caption for each right one is a sample of all of them.
    assert result["auc_random"] == pytest.approx(wins, abs=0.03)
    assert result["auc_random"] > 0.9 > result["auc_hard"] > 0.5
    assert result["auc_same_cluster"] < result["auc_random"]
    assert result["n"] == 90
    assert result["pairs"] == right.sum()
    assert result["precision_at_k"] > 0.85


def test_scores_are_cosines_and_wrong_captions_are_wrong(
    judged: Any, similarities: Any
):
    _, one = judged
    table, right = similarities
    pairs = one.pairs
    scale = np.linalg.norm  # float16 vectors are not quite unit
    assert scale(one.images.astype(float), axis=1) == pytest.approx(1, abs=1e-3)
    cosines = table[pairs.rows, pairs.texts]
    np.testing.assert_allclose(pairs.right, cosines, atol=2e-3)
    assert right[pairs.rows, pairs.texts].all()
    captions = [set(one.data.captions[row]) for row in pairs.rows.tolist()]
    for row, text, changed in zip(
        pairs.rows.tolist(), pairs.texts.tolist(), pairs.changed, strict=True
    ):
        if changed is not None:
            assert changed != one.data.texts[text]
            assert changed not in {one.data.texts[t] for t in captions[row]}
    assert sum(changed is not None for changed in pairs.changed) > 150


def test_groups_and_clusters_add_up_to_the_whole(judged: Any):
    result, one = judged
    for rows in (result["clusters"], result["by"]["kind"]):
        assert sum(row["images"] for row in rows) == 90
        assert sum(row["pairs"] for row in rows) == result["pairs"]
        assert sum(sum(row["bars"]) for row in rows) == result["pairs"]
        for row in rows:
            assert len(row["bars"]) + 1 == len(result["bar_edges"])
    assert {row["group"] for row in result["by"]["kind"]} == {"even", "odd"}
    assert len(result["clusters"]) > 1
    for kind, count in (("right", len(one.pairs.right)), ("hard", len(one.pairs.hard))):
        assert sum(bar[kind] for bar in result["histogram"]) == count


def test_a_filter_that_ranks_well_can_be_calibrated(judged: Any):
    figures = judged[0]["calibration"]
    assert figures["slope"] > 0
    assert 0 <= figures["ece"] < 0.15
    assert figures["brier"] < 0.2
    rows = sum(part["rows"] for part in figures["bins"])
    assert rows == 2 * judged[0]["pairs"]


def test_order_and_shards_change_nothing(
    judged: Any, demo_model: str, scene_pool: Path, write_shards: Write, tmp_path: Path
):
    table = pq.read_table(scene_pool)
    order = np.random.default_rng(0).permutation(len(table))
    other = write_shards(tmp_path / "scenes", table.take(pa.array(order)), 23)
    result, _ = evaluate(
        demo_model, [str(other)], Evaluation(columns=EvaluationColumns(by=("kind",)))
    )
    first, again = (
        json.dumps({k: v for k, v in figures.items() if k != "data"})
        for figures in (judged[0], result)
    )
    assert again == first


def test_training_images_and_their_copies_are_leaks(
    demo_model: str,
    scenes: Callable[..., pa.Table],
    scene_pool: Path,
    write_shards: Write,
    tmp_path: Path,
):
    fresh = scenes(40, first=1000)
    images = pq.read_table(scene_pool).sort_by("uid")
    planted = [
        copy(data, "reencoded", generator("leak", i))
        for i, data in enumerate(images["image"].to_pylist()[:6])
    ]
    train = pa.table(
        {
            "uid": [*fresh["uid"].to_pylist(), *(f"leak-{i}" for i in range(6))],
            "image": [*fresh["image"].to_pylist(), *planted],
        }
    )
    leaky = write_shards(tmp_path / "leaky", train)
    clean = write_shards(tmp_path / "clean", fresh)
    # Scenes are of a few shapes: the packaged model's distances are small.
    how = Evaluation(train=(str(leaky), str(clean)), distances=Distances(0.002, 2))
    result, _ = evaluate(demo_model, [str(scene_pool)], how)
    figures, none = result["leakage"]
    uids = images["uid"].to_pylist()
    assert {item["uid"] for item in figures["items"]} >= set(uids[:6])
    for item in figures["items"]:
        if item["uid"] in uids[:6]:
            expected = f"leak-{uids.index(item['uid'])}"
            assert expected in (item["train_by_vector"], item["train_by_hash"])
    assert not figures["clean"]
    assert none["leaked"] == figures["leaked"] - 6
    assert none["train_images"] == 40
    assert 0 < figures["nearest_distance"] + 1e-9 < figures["median_distance"]


def boilerplate(table: pa.Table) -> pa.Table:
    texts = table["text"].to_pylist()
    for row in range(0, 60, 2):
        texts[row] = f"Part of the Icon Collection (Wed Aug {row})"
    for row in range(1, 60, 4):
        # True of many scenes: no score can tell it from an informative caption.
        texts[row] = "a shape on a plain background"
    kept = table.drop_columns(["captions", "text"])
    return kept.append_column("text", pa.array(texts))


def test_repeated_captions_are_grouped_and_placed(
    demo_model: str,
    scenes: Callable[..., pa.Table],
    write_shards: Write,
    tmp_path: Path,
):
    pool = write_shards(tmp_path / "noisy", boilerplate(scenes(90)))
    result, (one,) = evaluate(demo_model, [str(pool)], Evaluation(repeats=10))
    figures = result["caption_groups"]
    icons, shapes = figures["groups"]
    assert icons["caption"] == "part of the icon collection (wed aug #)"
    assert (icons["rows"], shapes["rows"]) == (30, 15)
    assert figures["boilerplate_rows"] == 45
    assert figures["informative_rows"] == 45
    texts = [one.data.texts[t] for t in one.pairs.texts.tolist()]
    icon = np.array([text.startswith("Part") for text in texts])
    other = np.array([text.startswith("a shape on") for text in texts]) | icon
    good, bad = one.pairs.right[~other], one.pairs.right[icon]
    wins = (good[:, None] > bad[None]).mean() + (good[:, None] == bad[None]).mean() / 2
    assert icons["informative_above"] == pytest.approx(wins)
    lower = (one.pairs.right[:, None] > one.pairs.right[None]).mean(axis=1)
    assert icons["median_place"] == pytest.approx(np.median(lower[icon]), abs=0.02)
    assert icons["verdict"] == "separated"
    listed = [g["caption"] for g in figures["groups"] if g["informative_above"] < 0.65]
    assert figures["not_separated"] == listed


def test_domains_are_judged_apart_and_the_drop_is_stated(
    demo_model: str,
    scenes: Callable[..., pa.Table],
    scene_pool: Path,
    write_shards: Write,
    tmp_path: Path,
):
    table = scenes(40, first=2000)
    texts = table["text"].to_pylist()
    shuffled = table.drop_columns(["text", "captions"]).append_column(
        "text", pa.array([*texts[7:], *texts[:7]])
    )
    wrong = write_shards(tmp_path / "shuffled", shuffled)
    result, _ = evaluate(demo_model, [str(scene_pool), str(wrong)])
    good, bad = result["domains"]
    assert (good["group"], bad["group"]) == ("scenes", "shuffled")
    assert good["drop_auc_random"] == 0
    assert bad["drop_auc_random"] == good["auc_random"] - bad["auc_random"] > 0.3
    assert result["n"] == good["n"] + bad["n"] == 130
    hits = (90 * good["recall_at_5"] + 40 * bad["recall_at_5"]) / 130
    assert result["recall_at_5"] == pytest.approx(hits)
    assert bad["auc_random"] < result["auc_random"] < good["auc_random"]


def test_rows_that_cannot_be_used_are_counted(
    demo_model: str,
    scenes: Callable[..., pa.Table],
    write_shards: Write,
    tmp_path: Path,
):
    rows = scenes(30).to_pylist()
    rows[3]["image"] = b"x"
    rows[4]["image"] = None
    rows[5]["captions"] = [None]
    rows[6]["captions"] = [None, "a red circle"]
    pool = write_shards(tmp_path / "p", pa.Table.from_pylist(rows, scenes(1).schema))
    result, _ = evaluate(demo_model, [str(pool)])
    assert result["n"] == 27
    assert result["unusable"] == {
        "caption_missing": 1,
        "image_missing": 1,
        "image_undecodable": 1,
    }


@pytest.mark.parametrize(
    ("model", "how", "kind", "error"),
    [
        ("local-dir:nowhere", Evaluation(), ConfigError, "no such folder"),
        ("ViT-B-99@x", Evaluation(), ConfigError, "unknown architecture"),
        (
            None,
            Evaluation(columns=EvaluationColumns(text="txt")),
            InputError,
            "no column 'txt'",
        ),
        (
            None,
            Evaluation(columns=EvaluationColumns(by=("knd",))),
            InputError,
            "did you mean 'kind'",
        ),
        (
            None,
            Evaluation(columns=EvaluationColumns(uid="id")),
            InputError,
            "no column 'id'",
        ),
        (
            None,
            Evaluation(only=frozenset({"nobody"})),
            InputError,
            "of the 1 that were",
        ),
    ],
)
def test_what_cannot_be_judged_says_why(
    demo_model: str,
    scene_pool: Path,
    model: str | None,
    how: Evaluation,
    kind: type[Exception],
    error: str,
):
    with pytest.raises(kind, match=error):
        evaluate(model or demo_model, [str(scene_pool)], how)


def test_the_command_prints_json_and_text(
    demo_model: str,
    scene_pool: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    from winnow.cli.main import main

    only = tmp_path / "only.txt"
    only.write_text("\n".join(hex_uid(i) for i in range(50)))
    shared = ["filter", "eval", demo_model.removeprefix("local-dir:"), str(scene_pool)]
    out = tmp_path / "out"
    rest = ["--only", str(only), "--out", str(out), "--by", "kind"]
    assert main([*shared, *rest, "--json"]) == 0
    told = capsys.readouterr()
    figures = json.loads(told.out)
    assert set(figures) >= KEYS
    assert figures["n"] == 50
    assert told.err == ""
    assert json.loads((out / "eval.json").read_text()) == figures
    assert main([*shared, *rest]) == 0
    text = capsys.readouterr().out
    assert f"random captions {figures['auc_random']:.3f}" in text
    assert "odd" in text
    assert main([*shared, "--only", str(tmp_path / "none")]) == 3
    assert "none" in capsys.readouterr().err


def test_one_image_alone_has_nothing_to_be_compared_with(
    demo_model: str,
    scenes: Callable[..., pa.Table],
    write_shards: Write,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    from winnow.cli.main import main

    pool = write_shards(tmp_path / "one", scenes(1))
    command = ["filter", "eval", demo_model, str(pool), "--out", str(tmp_path / "o")]
    assert main([*command, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (
        figures["auc_random"]
        is figures["precision_at_k"]
        is figures["calibration"]
        is None
    )
    assert figures["recall_at_1"] == 1
    assert figures["pairs_without"]["random"] == figures["pairs"] == 2
    assert main(command) == 0
    assert "random captions –" in capsys.readouterr().out
