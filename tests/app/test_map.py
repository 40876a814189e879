"""The app's map: bytes, colours, what is chosen on it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from winnow.app.selections import inside, read_polygon
from winnow.core.errors import QueryError

from tests.app.maps import plant_map


@pytest.fixture(scope="module")
def places(app_run: Any, app: Any) -> Iterator[dict[str, tuple[float, float]]]:
    yield plant_map(Path(app_run.path))
    for file in Path(app_run.path, "map").iterdir():
        file.unlink()


def _rows(site: Any) -> list[dict[str, Any]]:
    asked = "SELECT n, uid, fate, step FROM rows ORDER BY n"
    rows: list[dict[str, Any]] = site.rows.ask(asked)
    return rows


def test_places_and_colours_are_those_of_the_rows(app: Any, site: Any, places: Any):
    rows = _rows(site)
    points = np.frombuffer(app.ask("/map/points").body, "<f4").reshape(-1, 2)
    assert len(points) == len(rows)
    for row, point in zip(rows, points, strict=True):
        known = row["step"] != "index" and row["uid"] in places
        assert np.isfinite(point).all() == known
        assert not known or tuple(point) == places[row["uid"]]
    page = app.ask("/map")
    codes = np.frombuffer(app.ask("/map/codes?by=fate").body, np.uint8)
    legend = site.map().coloured("fate", _all(site), {}).legend
    by_code = {entry.code: entry.label for entry in legend}
    for row, point, code in zip(rows, points, codes, strict=True):
        placed = np.isfinite(point).all()
        assert by_code.get(int(code)) == (row["fate"] if placed else None)
    for entry in legend:
        assert not entry.rows or f'fill="{entry.colour}"' in page.text
        assert entry.rows == (codes == entry.code).sum()


def _all(site: Any) -> Any:
    from winnow.app.filters import asked

    return asked([], site.index)


@pytest.mark.parametrize("by", ["score", "cluster.cluster", "input.quality", "reason"])
def test_every_kind_of_column_colours_each_row_by_its_value(
    app: Any, site: Any, places: Any, by: str
):
    coloured = site.map().coloured(by, _all(site), {})
    codes = np.frombuffer(app.ask(f"/map/codes?by={by}").body, np.uint8)
    assert (codes == coloured.codes).all()
    asked = f'SELECT n, "{by}" AS value FROM rows'
    values = {row["n"]: row["value"] for row in site.rows.ask(asked)}
    colours: dict[int, set[Any]] = {}
    for n, code in enumerate(codes):
        if code != 255:
            colours.setdefault(int(code), set()).add(values[n])
    known = sorted(
        (sorted(v) for v in colours.values() if None not in v), key=lambda v: v[0]
    )
    # No value has two colours; numbers of one colour lie side by side.
    assert all(a[-1] < b[0] for a, b in itertools.pairwise(known))
    assert all(v == {None} for v in colours.values() if None in v)


def test_only_a_lists_rows_are_coloured(app: Any, site: Any, places: Any):
    codes = np.frombuffer(app.ask("/map/codes?by=step&fate=kept").body, np.uint8)
    for row, code in zip(_rows(site), codes, strict=True):
        assert code == 255 or row["fate"] == "kept"
    assert (codes != 255).any()


def test_rows_chosen_on_the_map_are_a_list_like_any_other(
    app: Any, site: Any, places: Any
):
    inner = {u for u, (x, y) in places.items() if 2 < x < 6 and 1 < y < 5}
    form = {"points": "2.5,1.5 5.5,1.5 5.5,4.5 2.5,4.5", "list": "fate=kept"}
    answer = app.ask("/selections", "POST", urlencode(form))
    assert answer.status == 303
    address = answer.headers["location"]
    assert "fate=kept" in address
    kept = {r["uid"] for r in _rows(site) if r["fate"] == "kept"}
    listed = app.ask(address.replace("/?", "/uids.txt?")).text.split()
    assert set(listed) == inner & kept
    assert f"{len(listed):,} row" in app.ask(address).text
    # It is the same list again when the app is opened again, and a map's colours.
    codes = np.frombuffer(
        app.ask(address.replace("/?", "/map/codes?by=fate&")).body, np.uint8
    )
    assert (codes != 255).sum() == len(listed)


@pytest.mark.parametrize(
    "points", ["", "1,2", "1,2 3,4", "a,b c,d e,f", "nan,1 2,2 3,3", "1,2,3 4,5 6,7"]
)
def test_what_is_no_polygon_is_refused(app: Any, places: Any, points: str):
    answer = app.ask("/selections", "POST", urlencode({"points": points}))
    assert answer.status == 400
    assert "a selection" in answer.text


def test_wrong_questions_are_told(app: Any, places: Any):
    for path in ("/map?by=nothing", "/map/codes?by=%22", "/?sel=abc", "/brief?n=x"):
        assert app.ask(path).status == 400
    assert app.ask("/map.png").headers["content-type"] == "image/png"
    assert "<script>alert" not in app.ask("/map?by=input.quality").text


@given(
    st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=12)
)
def test_inside_is_the_even_odd_rule(corners: list[tuple[int, int]]):
    polygon = [(float(x), float(y)) for x, y in corners]
    # Off the corners' lines, where the rule has no ties.
    grid = np.arange(-9.5, 10, 0.5).astype(np.float32) + np.float32(0.003)
    x, y = (part.ravel() for part in np.meshgrid(grid, grid + np.float32(0.0007)))
    mask = inside(x, y, polygon)
    step = np.random.default_rng(len(corners)).integers(len(x), size=60)
    for i in step:
        assert mask[i] == _crossings(float(x[i]), float(y[i]), polygon)
    assert not inside(np.array([np.nan], "f4"), np.array([0], "f4"), polygon).any()


def _crossings(x: float, y: float, polygon: list[tuple[float, float]]) -> bool:
    odd = False
    for i, (x0, y0) in enumerate(polygon):
        x1, y1 = polygon[i - 1]
        if (y0 > y) != (y1 > y) and x < (x1 - x0) * (y - y0) / (y1 - y0) + x0:
            odd = not odd
    return odd


def test_a_polygon_has_at_least_three_corners():
    assert read_polygon("0,0 1,0\n0,1") == [(0, 0), (1, 0), (0, 1)]
    with pytest.raises(QueryError):
        read_polygon("0,0 1,0")
