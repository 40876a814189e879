"""Scores of every kind as steps: alone, mixed, against targets, of changed samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from winnow.core.errors import ConfigError, InputError

from tests.vectors import unit_rows

Winnow = Callable[..., Any]
Write = Callable[..., Path]

ALL = {"keep_fraction": 1.0}
MIX = [
    {"method": "alignment", "weight": 2.0},
    {"method": "neg_clip_loss", "weight": 0.5, "batch": 40, "repeats": 2},
]


def scores(run: Any, column: str = "score") -> dict[str, float]:
    table = run.artifact("score", "scores")
    names = table["uid"].to_pylist()
    return dict(zip(names, table[column].to_pylist(), strict=True))


def vectors(run: Any, modality: str) -> dict[str, np.ndarray]:
    rows = run.artifact("embed", "vectors").to_pylist()
    return {r["uid"]: np.asarray(r[f"{modality}_vector"], np.float64) for r in rows}


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("targets")
    matrix = np.random.default_rng(5).normal(size=(30, 16)).astype(np.float32)
    np.save(folder / "t.npy", matrix)
    table = pa.table({"v": pa.array(list(matrix), pa.list_(pa.float32()))})
    pq.write_table(table, folder / "t.parquet")
    return {"npy": folder / "t.npy", "parquet": folder / "t.parquet"}


@pytest.mark.parametrize("p", ["inf", "abs_inf", 2])
def test_norm_sim_of_a_matrix_and_of_a_column_are_its_formula(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, targets: dict[str, Path], p: Any
):
    given = [
        str(targets["npy"]),
        {"path": str(targets["parquet"]), "vectors": "v", "uid": None},
    ]
    runs = [
        winnow(
            planted_pool,
            tmp_path / str(i),
            ["embed", "score"],
            score={"method": "norm_sim", "target": target, "p": p, **ALL},
        )
        for i, target in enumerate(given)
    ]
    assert runs[0].ledger("score") == runs[1].ledger("score")
    goal = unit_rows(np.load(targets["npy"]).astype(np.float16).astype(np.float64))
    for uid, score in scores(runs[0]).items():
        cosines = goal @ unit_rows(vectors(runs[0], "image")[uid])
        order = np.inf if p == "abs_inf" else 2
        expected = cosines.max() if p == "inf" else np.linalg.norm(cosines, order)
        assert score == pytest.approx(expected, abs=1e-2 if p == 2 else 2e-3)


def test_another_target_scores_again(
    winnow: Winnow, planted_pool: Path, tmp_path: Path
):
    file = tmp_path / "t.npy"
    np.save(file, np.eye(16)[:1])
    given = {"method": "norm_sim", "target": str(file), **ALL}
    out = tmp_path / "run"
    first = winnow(planted_pool, out, ["embed", "score"], score=given)
    before = scores(first)
    assert winnow(planted_pool, out, ["embed", "score"], score=given).result.ran == []
    np.save(file, np.eye(16)[1:3])
    again = winnow(planted_pool, out, ["embed", "score"], score=given)
    assert again.result.ran == ["score"]
    assert scores(again) != before


@pytest.mark.parametrize(
    ("write", "error"),
    [
        (lambda p: None, "no shard at|no Parquet file|not a whole NumPy"),
        (lambda p: np.save(p, np.ones((2, 5))), "vector_length"),
        (lambda p: np.save(p, np.zeros((2, 16))), "vector_zero"),
        (lambda p: np.save(p, np.ones(3)), "no matrix"),
        (lambda p: p.write_bytes(b"x"), "not a whole NumPy"),
    ],
)
def test_targets_that_cannot_be_used_say_why(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, write: Any, error: str
):
    file = tmp_path / "t.npy"
    write(file)
    given = {"method": "norm_sim", "target": str(file), **ALL}
    with pytest.raises(InputError, match=error):
        winnow(planted_pool, tmp_path / "run", ["embed", "score"], score=given)


def normal(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def to_range(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / np.ptp(values)


@pytest.mark.parametrize(
    ("normalise", "scale"),
    [("standard", normal), ("range", to_range), ("none", lambda v: v)],
)
def test_a_mixture_is_the_weighted_sum_of_its_terms(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, normalise: str, scale: Any
):
    run = winnow(
        planted_pool,
        tmp_path / "r",
        ["embed", "score"],
        score={"terms": MIX, "normalise": normalise, "keep_fraction": 0.3},
    )
    mixed = scores(run)
    parts = [
        weight * scale(np.array([scores(run, name)[uid] for uid in mixed]))
        for name, weight in (("alignment", 2.0), ("neg_clip_loss", 0.5))
    ]
    np.testing.assert_allclose(list(mixed.values()), sum(parts), atol=1e-9)
    ranked = sorted(mixed, key=lambda uid: (-mixed[uid], uid))
    assert run.kept("score") == set(ranked[:60])


def test_a_mixture_does_not_depend_on_shards_and_order(
    winnow: Winnow,
    write_shards: Write,
    planted_table: Callable[..., pa.Table],
    tmp_path: Path,
):
    table = planted_table()
    order = np.random.default_rng(0).permutation(len(table))
    one = write_shards(tmp_path / "one", table, 70)
    other = write_shards(tmp_path / "other", table.take(pa.array(order)), 33)
    runs = [
        winnow(
            pool,
            tmp_path / f"run-{pool.name}",
            ["embed", "score"],
            score={"terms": MIX, "keep_fraction": 0.5},
        )
        for pool in (one, other)
    ]
    assert scores(runs[0]) == scores(runs[1])
    assert runs[0].ledger("score") == runs[1].ledger("score")


@pytest.mark.parametrize(
    ("section", "error"),
    [
        ({"terms": MIX, "method": "neg_clip_loss"}, "method belongs into one of"),
        ({"terms": [MIX[0], MIX[0]]}, "two terms are called 'alignment'"),
        ({"terms": [{"method": "alignment", "name": "score"}]}, "cannot be called"),
        ({"terms": [{"method": "norm_sim"}]}, "target goes with norm_sim and vas"),
        ({"target": "x.npy"}, "target goes with norm_sim and vas"),
        ({"method": "alignmnt"}, "alignment"),
    ],
)
def test_faulty_mixtures_are_refused(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, section: Any, error: str
):
    with pytest.raises(ConfigError, match=error):
        winnow(
            planted_pool, tmp_path / "r", ["embed", "score"], score={**ALL, **section}
        )


@pytest.fixture(scope="module")
def numbered(
    write_shards: Write,
    picture_table: Callable[..., pa.Table],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    table = picture_table(24)
    text = [f"photo {i} of a ca{i % 3}t, ２０２４" for i in range(24)]
    table = table.set_column(2, "text", pa.array(text))
    return write_shards(tmp_path_factory.mktemp("numbered"), table, 10)


def test_mirrored_and_digitless_scores_are_those_of_changed_samples(
    winnow: Winnow, numbered: Path, tiny_vit: str, tmp_path: Path
):
    import io

    from PIL import Image, ImageOps

    def mirrored(data: bytes) -> bytes:
        buffer = io.BytesIO()
        ImageOps.mirror(Image.open(io.BytesIO(data))).save(buffer, "PNG")
        return buffer.getvalue()

    model = {"name": tiny_vit, "precision": "float32"}
    terms = [
        {"method": m}
        for m in ("alignment", "alignment_mirrored", "alignment_no_digits")
    ]
    run = winnow(
        numbered,
        tmp_path / "run",
        ["score"],
        score={"terms": terms, "model": model, **ALL},
    )
    table = pa.concat_tables(
        pq.read_table(f) for f in sorted(numbered.glob("*.parquet"))
    )
    flipped = [mirrored(data.as_py()) for data in table["image"]]
    bare = ["photo  of a cat, " for _ in range(len(table))]
    for column, values, method in (
        ("image", flipped, "alignment_mirrored"),
        ("text", bare, "alignment_no_digits"),
    ):
        column_number = table.schema.get_field_index(column)
        pool = tmp_path / method
        pool.mkdir()
        changed = table.set_column(column_number, column, pa.array(values))
        pq.write_table(changed, pool / "0.parquet")
        alone = winnow(
            pool, tmp_path / f"alone-{method}", ["score"], score={"model": model, **ALL}
        )
        expected = scores(alone)
        for uid, score in scores(run, method).items():
            # A JPEG's pixels, mirrored before or after it is resized.
            assert score == pytest.approx(expected[uid], abs=2e-3)
    assert scores(run, "alignment_mirrored") != scores(run, "alignment")
    stored = {p.name for p in (run.path / "artifacts" / "score").iterdir()}
    assert {"vectors", "vectors_mirrored", "vectors_no_digits", "scores"} <= stored


def test_another_cut_takes_over_the_vectors_of_changed_samples(
    winnow: Winnow, numbered: Path, tiny_vit: str, tmp_path: Path
):
    given = {"method": "alignment_mirrored", "keep_fraction": 0.5}
    model = {"name": tiny_vit}
    out = tmp_path / "run"
    first = winnow(
        numbered,
        out,
        ["embed", "score"],
        embed={"image_column": None, "text_column": None},
        model=model,
        score=given,
    )
    before = first.artifact("score", "vectors_mirrored").sort_by("uid")
    half = first.kept("score")
    again = winnow(
        numbered,
        out,
        ["embed", "score"],
        embed={"image_column": None, "text_column": None},
        model=model,
        score={**given, "keep_fraction": 0.25},
    )
    assert len(half) == 12
    assert again.result.ran == ["score"]
    assert len(again.kept("score")) == 6
    assert again.artifact("score", "vectors_mirrored").sort_by("uid") == before
    assert again.kept("score") < half


def test_changed_samples_need_the_model_of_the_vectors(
    winnow: Winnow, planted_pool: Path, tiny_vit: str, tmp_path: Path
):
    with pytest.raises(ConfigError, match=r"alignment_mirrored embeds by .*24 numbers"):
        winnow(
            planted_pool,
            tmp_path / "r",
            ["embed", "score"],
            model={"name": tiny_vit},
            score={"method": "alignment_mirrored", **ALL},
        )


def test_norm_sim_against_a_pool_of_images(
    winnow: Winnow,
    numbered: Path,
    tiny_vit: str,
    picture_table: Callable[..., pa.Table],
    tmp_path: Path,
):
    goal = picture_table(7, 3).append_column("broken", pa.array([b"no image"] * 7))
    (tmp_path / "goal").mkdir()
    pq.write_table(goal, tmp_path / "goal" / "0.parquet")
    plain = {"image_column": None, "text_column": None}
    run = winnow(
        numbered,
        tmp_path / "run",
        ["embed", "score"],
        embed=plain,
        model={"name": tiny_vit},
        score={"method": "norm_sim", "target": str(tmp_path / "goal"), **ALL},
    )
    # The pool holds the target's pictures, and each is its own nearest target.
    table = pa.concat_tables(
        pq.read_table(f) for f in sorted(numbered.glob("*.parquet"))
    )
    known = set(goal["image"].to_pylist())
    for uid, image in zip(
        table["uid"].to_pylist(), table["image"].to_pylist(), strict=True
    ):
        if image in known:
            assert scores(run)[uid] == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(InputError, match=r"no usable vector.*undecodable"):
        winnow(
            numbered,
            tmp_path / "bad",
            ["embed", "score"],
            embed=plain,
            model={"name": tiny_vit},
            score={
                "method": "norm_sim",
                "target": {"path": str(tmp_path / "goal"), "image": "broken"},
                **ALL,
            },
        )


def test_vas_is_the_variance_in_the_images_direction(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, targets: dict[str, Path]
):
    given = {"method": "vas", "target": str(targets["npy"]), **ALL}
    run = winnow(planted_pool, tmp_path / "run", ["embed", "score"], score=given)
    goal = unit_rows(np.load(targets["npy"]).astype(np.float16).astype(np.float64))
    covariance = goal.T @ goal / len(goal)
    images = vectors(run, "image")
    for uid, score in scores(run).items():
        image = unit_rows(images[uid])
        assert score == pytest.approx(image @ covariance @ image, abs=2e-3)


@pytest.mark.parametrize("rounds", [1, 4])
def test_vas_d_drops_in_rounds_what_varies_least(
    winnow: Winnow, planted_pool: Path, tmp_path: Path, rounds: int
):
    given = {"method": "vas_d", "options": {"rounds": rounds}, "keep_fraction": 0.3}
    run = winnow(planted_pool, tmp_path / "run", ["embed", "score"], score=given)
    images = vectors(run, "image")
    uids = sorted(images)
    unit = unit_rows(np.array([images[uid] for uid in uids]))
    left, rows = list(range(len(uids))), len(uids)
    budget = len(run.kept("score"))
    for number in range(rounds):
        covariance = unit[left].T @ unit[left] / len(left)
        values = np.einsum("ij,jk,ik->i", unit, covariance, unit)
        size = rows - (rows - budget) * (number + 1) // rounds
        left = sorted(left, key=lambda i: (-values[i], uids[i]))[:size]
    assert run.kept("score") == {uids[i] for i in left}


def test_vas_d_needs_a_budget(winnow: Winnow, planted_pool: Path, tmp_path: Path):
    given = {"method": "vas_d", "threshold": 0.5, "keep_fraction": None}
    with pytest.raises(ConfigError, match="leads to a budget"):
        winnow(planted_pool, tmp_path / "run", ["embed", "score"], score=given)
