"""The cosine of captions and images whose masked parts are painted over."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from winnow.core.errors import ConfigError, InputError
from winnow.core.run_folder import RunFolder

from tests.models.test_masks import plainly_painted

Winnow = Callable[..., Any]
Write = Callable[..., Path]

ALL = {"keep_fraction": 1.0}
SCORE = {"method": "alignment_masked", "masks": "boxes", **ALL}
FLOATS = pa.list_(pa.list_(pa.float64()))
#: Of the rows 0 to 11; the pictures are 48 pixels wide and 48 to 52 high.
MASKS: list[Any] = [
    None,
    [],
    [[4, 6, 40, 18]],
    [[10.5, 3, 20.25, 9], [15, 5, 30, 30]],
    [[-9, -9, 12, 500]],
    [[300, 0, 310, 9]],
    [[0, 0, 48, 60]],
    [[7, 7, 7, 20]],
    [[1, 2, 3]],
    [[9, 2, 3, 8]],
    [[0, 0, float("nan"), 4]],
    [[30, 30, 44, 47]],
]
BAD = {8, 9, 10}
PAINTED = {2, 3, 4, 6, 11}


@pytest.fixture(scope="module")
def table(picture_table: Callable[..., pa.Table]) -> pa.Table:
    rows = picture_table(24)
    return rows.append_column("boxes", pa.array(MASKS * 2, FLOATS))


@pytest.fixture(scope="module")
def pool(
    write_shards: Write, table: pa.Table, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return write_shards(tmp_path_factory.mktemp("masked"), table, 10)


@pytest.fixture(scope="module")
def score(
    winnow: Winnow, tiny_vit: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Return run(pool, *folder, **sections): masked scores by the tiny model."""

    def run(pool: Path, out: Path | None = None, **sections: Any) -> Any:
        model = {"name": tiny_vit, "precision": "float32"}
        plain = {"image_column": None, "text_column": None}
        given = {"embed": plain, "model": model, "score": SCORE, **sections}
        folder = out or tmp_path_factory.mktemp("run") / "out"
        return winnow(pool, folder, ["embed", "score"], **given)

    return run


@pytest.fixture(scope="module")
def masked(score: Callable[..., Any], pool: Path) -> Any:
    return score(pool)


def scores(run: Any, column: str = "score") -> dict[str, float]:
    rows = run.artifact("score", "scores").to_pylist()
    return {row["uid"]: row[column] for row in rows}


def by_hand(data: bytes, masks: list[Any] | None) -> bytes:
    """Return the picture as PNG, painted pixel by pixel."""
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    width, height = pixels.shape[1], pixels.shape[0]
    boxes = [
        (int(np.floor(a)), int(np.floor(b)), int(np.ceil(c)), int(np.ceil(d)))
        for a, b, c, d in sorted(masks or [])
        if a < min(c, width) and b < min(d, height)
    ]
    buffer = io.BytesIO()
    Image.fromarray(plainly_painted(pixels, boxes)).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_score_is_the_cosine_to_the_picture_painted_over(
    score: Callable[..., Any], masked: Any, pool: Path, table: pa.Table, tmp_path: Path
):
    rows = table.to_pylist()
    usable = [row for i, row in enumerate(rows) if i % 12 not in BAD]
    for row in usable:
        row["image"] = by_hand(row["image"], row["boxes"])
    (tmp_path / "painted").mkdir()
    by_hands = pa.Table.from_pylist(usable, table.schema)
    pq.write_table(by_hands, tmp_path / "painted" / "0.parquet")
    expected = scores(score(tmp_path / "painted", score={"method": "alignment", **ALL}))
    plain = scores(score(pool, score={"method": "alignment", **ALL}))
    measured = scores(masked)
    assert {uid for uid, value in measured.items() if value is None} == {
        row["uid"] for i, row in enumerate(rows) if i % 12 in BAD
    }
    assert {uid: v for uid, v in measured.items() if v is not None} == expected
    changed = {uid for uid in expected if expected[uid] != plain[uid]}
    painted = {row["uid"] for i, row in enumerate(rows) if i % 12 in PAINTED}
    # A picture that becomes one colour may still look like its caption as before.
    assert changed <= painted
    assert len(changed) > len(painted) / 2


def test_malformed_masks_are_counted_with_their_reason(masked: Any):
    marker = RunFolder(masked.path).marker("score")
    assert marker is not None
    facts = marker.facts
    assert facts["not_scored"] == 6
    assert facts["without_vector"] == {"masks_malformed": 6}
    dropped = [row for row in masked.ledger("score").values() if not row["keep"]]
    assert len(dropped) == 6
    assert {row["reason"] for row in dropped} == {"score_nan"}


def test_polygons_and_json_are_boxes_too(
    score: Callable[..., Any], masked: Any, table: pa.Table, tmp_path: Path
):
    def corners(box: list[float]) -> list[list[float]]:
        left, top, right, bottom = box
        return [[left, top], [right, top], [right, bottom], [left, bottom]]

    sound = [row for i, row in enumerate(table.to_pylist()) if i % 12 not in BAD]
    polygons = [[corners(box) for box in row["boxes"] or []] for row in sound]
    texts = [
        None if row["boxes"] is None else json.dumps(row["boxes"]) for row in sound
    ]
    rows = pa.Table.from_pylist(sound, table.schema).drop_columns(["boxes"])
    for name, column in (("polygons", pa.array(polygons)), ("json", pa.array(texts))):
        folder = tmp_path / name
        folder.mkdir()
        pq.write_table(rows.append_column("boxes", column), folder / "0.parquet")
        run = scores(score(folder))
        assert run == {uid: v for uid, v in scores(masked).items() if uid in run}
        assert len(run) == len(sound)


def test_other_masks_are_embedded_anew_and_equal_ones_are_not(
    score: Callable[..., Any], table: pa.Table, tmp_path: Path
):
    column = table["boxes"].to_pylist()
    other = pa.array([[[2, 2, 30, 30]] if i == 5 else m for i, m in enumerate(column)])
    folder, out = tmp_path / "pool", tmp_path / "run"
    folder.mkdir()
    both = table.append_column("others", other.cast(FLOATS))
    pq.write_table(both, folder / "0.parquet")
    first = score(folder, out)
    stored = first.artifact("score", "vectors_masked").sort_by("uid")
    again = score(folder, out, score={**SCORE, "keep_fraction": 0.5})
    assert again.result.ran == ["score"]
    assert again.artifact("score", "vectors_masked").sort_by("uid") == stored
    before, fifth = scores(again), table["uid"][5].as_py()
    after = scores(score(folder, out, score={**SCORE, "masks": "others"}))
    assert {uid for uid in after if after[uid] != before[uid]} == {fifth}
    # The same column with other boxes: pictures of equal bytes do not share vectors.
    changed = table.set_column(4, "boxes", other.cast(FLOATS))
    pq.write_table(changed, folder / "0.parquet")
    assert scores(score(folder, out)) == after


def test_the_masked_score_is_a_term_of_a_mixture(
    score: Callable[..., Any], masked: Any, pool: Path
):
    terms = [{"method": "alignment"}, {"method": "alignment_masked", "masks": "boxes"}]
    run = score(pool, score={"terms": terms, "normalise": "none", **ALL})
    alone, plain = scores(masked), scores(run, "alignment")
    for uid, value in scores(run).items():
        assert scores(run, "alignment_masked")[uid] == alone[uid]
        whole = None if alone[uid] is None else plain[uid] + alone[uid]
        assert value == (whole if whole is None else pytest.approx(whole, abs=1e-12))


@pytest.mark.parametrize(
    ("section", "error"),
    [
        ({"method": "alignment_masked"}, "masks goes with alignment_masked"),
        ({"method": "alignment", "masks": "boxes"}, "masks goes with alignment_masked"),
        ({"method": "alignment_masked", "masks": "box"}, "no column 'box'.*boxes"),
        ({"method": "alignment_masked", "masks": "image"}, "holds binary, not boxes"),
        (
            {
                "terms": [
                    {"method": "alignment_masked", "masks": name, "name": name}
                    for name in ("boxes", "text")
                ]
            },
            "the masks are of two columns",
        ),
    ],
)
def test_masks_that_cannot_be_used_are_refused(
    score: Callable[..., Any], pool: Path, section: Any, error: str
):
    with pytest.raises((ConfigError, InputError), match=error):
        score(pool, score={**section, **ALL})


@pytest.mark.slow
def test_spark_scores_masked_pictures_alike(
    score: Callable[..., Any], masked: Any, pool: Path
):
    run = score(pool, engine={"name": "spark", "partitions": 2})
    assert scores(run) == scores(masked)
    assert run.ledger("score") == masked.ledger("score")
