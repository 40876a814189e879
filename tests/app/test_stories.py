"""A row's story, its twins, its picture, and what is near it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from winnow.app.thumbnails import Thumbnails, small
from winnow.core.errors import QueryError
from winnow.reports.explain import explain, tell
from winnow.reports.run_view import RunView

WHOLE = ["exact", "embed", "cluster", "semantic", "score", "apply"]


def test_a_story_tells_what_explain_tells(site: Any, app_run: Any):
    view = RunView(app_run.path)
    for row in site.rows.ask("SELECT n, uid, step FROM rows"):
        if row["step"] == "index":
            continue
        told = site.stories.of(row["n"])["steps"]
        lines = tell(explain(view, row["uid"])).splitlines()[2:]
        assert [f"  {step:<12} {text}" for step, text in told] == lines
        if row["n"] > 25:
            break


def test_a_story_leads_to_the_twin_and_back(site: Any, app: Any):
    rows = site.rows.ask("SELECT n, uid, kept_twin FROM rows WHERE kept_twin <> ''")
    assert len(rows) > 10
    for row in rows[:10]:
        story = site.stories.of(row["n"])
        chain = [twin["uid"] for twin in story["chain"]]
        assert chain[0] == row["kept_twin"]
        last = site.rows.by_uid([chain[-1]])[chain[-1]]
        assert last["kept_twin"] is None
        twin = site.stories.of(story["chain"][0]["n"])
        assert row["uid"] in {gone["uid"] for gone in twin["gone"]}
        shown = app.ask(f"/row/{row['n']}").text
        assert f'href="/row/{story["chain"][0]["n"]}"' in shown


def test_hostile_text_is_text_on_every_page(site: Any, app: Any):
    (row,) = site.rows.ask("SELECT n FROM rows WHERE caption LIKE '%alert(7)%'")
    for path in ("/?q=alert(7)", f"/row/{row['n']}"):
        page = app.ask(path).text
        assert "&lt;script&gt;alert(7)" in page
        assert "<script>alert" not in page
        assert "<b>files" not in page
        assert "<i>" not in page
    echoed = app.page(("q", '"><script>alert(1)</script>')).text
    assert "<script>alert" not in echoed
    refused = app.page(("sort", "<script>alert(1)</script>"))
    assert refused.status == 400
    assert "<script>alert" not in refused.text


def test_pictures_are_drawn_here_whatever_the_input_holds(site: Any, app: Any):
    kinds = {}
    for row in site.rows.ask("SELECT n, uid FROM rows WHERE n < 20"):
        answer = app.ask(f"/picture/{row['n']}")
        assert answer.status == 200
        kinds[row["n"]] = answer.headers["content-type"]
        if kinds[row["n"]] == "image/webp":
            image = Image.open(io.BytesIO(answer.body))
            assert image.format == "WEBP"
            assert max(image.size) <= 220
        else:
            assert "image_undecodable" in answer.text
            assert "<script" not in answer.text
    assert [n for n, kind in kinds.items() if kind == "image/svg+xml"] == [2]


def test_a_picture_of_too_many_pixels_is_not_decoded():
    out = io.BytesIO()
    Image.new("1", (8_000, 8_000)).save(out, "PNG")
    kind, body = small(out.getvalue(), 100)
    assert kind == "image/svg+xml"
    assert b"image_too_large" in body
    assert small(None, 100)[0] == "image/svg+xml"


@pytest.mark.parametrize("kept", [None, 600], ids=["roomy", "bounded"])
def test_pictures_that_are_kept_are_bounded_and_read_once(
    make_picture: Callable[..., bytes], kept: int | None
):
    asked: list[Any] = []

    def read(places: list[Any]) -> list[bytes | None]:
        asked.extend(places)
        return [make_picture(row) for _, row in places]

    pictures = Thumbnails(read) if kept is None else Thumbnails(read, kept=kept)
    pictures.prepare([("a", n) for n in range(8)])
    pictures.prepare([("a", n) for n in range(8)])
    first = [pictures.picture(("a", n)) for n in range(8)]
    assert pictures.kept_bytes <= (kept or 2**20)
    assert len({body for _, body in first}) == 8
    assert pictures.picture(("a", 7)) == first[7]
    assert pictures.picture(("a", 0)) == first[0]
    pictures.close()
    assert asked[:8] == [("a", n) for n in range(8)]
    # What was given up for lack of room is read again.
    assert (len(asked) == 8) == (kept is None)


def test_pictures_that_cannot_be_read_say_why():
    from winnow.core.errors import InputError

    def read(places: list[Any]) -> list[bytes | None]:
        raise InputError("the shard <a> is gone")

    pictures = Thumbnails(read)
    kind, body = pictures.picture(("a", 1))
    pictures.close()
    assert kind == "image/svg+xml"
    assert b"&lt;a&gt;" in body


def test_near_rows_are_those_of_the_largest_cosine(site: Any, app: Any, app_run: Any):
    vectors = app_run.artifact("embed", "vectors")
    matrix = np.array(vectors["image_vector"].to_pylist(), np.float64)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    uids = np.array(vectors["uid"].to_pylist())
    (row,) = site.rows.ask("SELECT n, uid FROM rows WHERE uid = ?", [str(uids[9])])
    page = site.listing([("near", str(row["n"]))])
    wanted = matrix @ matrix[9]
    expected = sorted(-wanted)
    similarities = [-card["similarity"] for card in page["cards"]]
    assert np.allclose(similarities, expected[: len(similarities)], atol=1e-12)
    assert page["cards"][0]["uid"] == row["uid"]
    assert page["total"] == len(uids)
    assert app.page(("near", str(row["n"])), ("fate", "kept")).status == 200


@pytest.mark.parametrize("by_lists", [False, True])
def test_lists_are_those_of_search(
    site: Any, app_run: Any, by_lists: bool, monkeypatch: pytest.MonkeyPatch
):
    from winnow import Run
    from winnow.app import nearest
    from winnow.steps import nearest_vectors

    if by_lists:  # A larger run, of which the app lists the nearest that pass.
        monkeypatch.setattr(nearest_vectors, "EXACT_ROWS", 100)
        monkeypatch.setattr(nearest_vectors, "EXACT_PASSING", 10)
        monkeypatch.setattr(nearest, "MOST", 12)
    row = site.rows.ask("SELECT n, uid FROM rows WHERE fate = 'kept'")[3]
    fields = [("near", str(row["n"])), ("fate", "kept")]
    shown = site.listing(fields)
    assert shown["most"] == (12 if by_lists else None)
    itself, *cards = shown["cards"]
    assert itself["uid"] == row["uid"]
    told = Run(app_run.path).search(like=row["uid"], k=len(cards)).to_pylist()
    assert [(c["uid"], c["similarity"]) for c in cards] == [
        (r["uid"], r["cosine"]) for r in told
    ]
    assert len(cards) == 11 if by_lists else len(cards) > 20


def test_a_run_with_ready_made_vectors_says_that_no_text_can_be_searched(app: Any):
    assert "ready-made" in app.page().text
    answer = app.page(("like", "a cat"))
    assert answer.status == 400
    assert "ready-made" in answer.text


def test_a_text_finds_pictures_by_the_runs_own_model(
    tmp_path: Path,
    picture_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    winnow: Callable[..., Any],
    tiny_vit: str,
    serve_run: Callable[..., Any],
):
    from winnow.models.encoder import ModelSpec, load_encoder

    pool = write_shards(tmp_path / "pool", picture_table(60))
    run = winnow(
        pool,
        tmp_path / "run",
        WHOLE,
        embed={"image_column": None, "text_column": None},
        model={"name": tiny_vit, "pretrained": None, "precision": "float32"},
        cluster={"k": 2},
    )
    client = serve_run(run.path)
    page = client.ask(f"/?like={quote('a red house')}").text
    listed = re.findall(r'title="([0-9a-f]{32})".*?', page)
    shown = list(dict.fromkeys(listed))
    similarities = [float(s) for s in re.findall(r"<p>similarity (-?[\d.]+)", page)]

    spec = ModelSpec(name=tiny_vit, precision="float32", batch_size=1)
    query = load_encoder(spec).encode_texts(["a red house"])[0].astype(np.float64)
    vectors = run.artifact("embed", "vectors")
    wanted = np.array(vectors["image_vector"].to_pylist(), np.float64) @ query
    by_uid = dict(zip(vectors["uid"].to_pylist(), wanted, strict=True))
    assert len(shown) == 48
    assert np.allclose([by_uid[uid] for uid in shown], similarities, atol=1e-4)
    assert similarities == sorted(similarities, reverse=True)
    assert min(similarities) >= sorted(wanted)[-48] - 1e-4
    later = re.search(r'rel="next" href="/\?([^"]+)"', page)
    assert later
    rest = client.ask("/?" + later[1].replace("&amp;", "&")).text
    assert not set(re.findall(r'title="([0-9a-f]{32})"', rest)) & set(shown)


def test_another_model_than_the_runs_is_refused(site: Any):
    from winnow.app.filters import asked
    from winnow.app.nearest import Nearest
    from winnow.models.query_vectors import QueryModel
    from winnow.search.searched_vectors import SearchedVectors

    class OtherModel(QueryModel):
        def of_text(self, text: str) -> Any:
            return np.ones(3, np.float32)

    vectors = SearchedVectors(site.view)
    vectors.model = OtherModel({}, {"weights_sha256": ""})
    other = Nearest(site.rows, vectors, [])
    with pytest.raises(QueryError, match="gives 3 numbers"):
        other.similar(asked([("like", "a cat")], site.index), {})


def test_stories_go_through_the_list_that_they_were_chosen_from(site: Any, app: Any):
    fields = [("fate", "dropped"), ("sort", "score"), ("dir", "desc")]
    numbers = [row["n"] for row in site.listing(fields)["page"].rows]
    assert len(numbers) > 5
    walked = [numbers[0]]
    while len(walked) < len(numbers):
        story = site.stories.of(walked[-1], fields)
        assert story["earlier"] == (walked[-2] if len(walked) > 1 else None)
        walked.append(story["later"])
    assert walked == numbers
    page = app.ask(f"/row/{numbers[1]}?fate=dropped&sort=score&dir=desc").text
    assert f'rel="prev" href="/row/{numbers[0]}?fate=dropped&amp;sort=score' in page
    assert f'rel="next" href="/row/{numbers[2]}?' in page
    assert app.ask(f"/row/{numbers[1]}?sort=nothing").status == 400


def test_the_words_that_differ_from_the_twins_are_marked(site: Any, app: Any):
    rows = site.rows.ask("SELECT n, caption, kept_twin FROM rows WHERE kept_twin <> ''")
    marked = 0
    for row in rows[:20]:
        twin = site.rows.by_uid([row["kept_twin"]])[row["kept_twin"]]
        difference = site.stories.of(row["n"])["difference"]
        rows_words = "".join(text for what, text in difference if what != "kept")
        its = "".join(text for what, text in difference if what != "dropped")
        if row["caption"] != twin["caption"] and None not in (
            row["caption"],
            twin["caption"],
        ):
            assert (rows_words, its) == (row["caption"], twin["caption"])
            marked += 1
        else:
            assert difference == []
    assert marked > 0


def test_groups_are_those_that_a_count_finds(site: Any, app: Any):
    rows = site.rows.ask("SELECT kept_twin FROM rows WHERE kept_twin IS NOT NULL")
    counted: dict[str, int] = {}
    for row in rows:
        counted[row["kept_twin"]] = counted.get(row["kept_twin"], 0) + 1
    largest = sorted(counted.items(), key=lambda group: (-group[1], group[0]))[:60]
    groups = site.groups()["groups"]
    assert [(group["uid"], group["copies"]) for group in groups] == largest
    page = app.ask("/groups").text
    assert page.count("went for it</a>") == len(largest)
    assert "<script>alert" not in page


def test_uids_of_a_list_are_those_of_all_its_pages(site: Any, app: Any):
    every = app.ask("/uids.txt").text.splitlines()
    assert sorted(every) == sorted(
        r["uid"] for r in site.rows.ask("SELECT uid FROM rows")
    )
    fields = [("fate", "dropped"), ("sort", "score"), ("dir", "desc")]
    first = [row["uid"] for row in site.listing(fields)["page"].rows]
    answer = app.ask("/uids.txt?fate=dropped&sort=score&dir=desc")
    assert answer.text.splitlines()[: len(first)] == first
    assert "attachment" in answer.headers["content-disposition"]
    assert app.ask("/uids.txt?fate=dropped&sort=nothing").status == 400
