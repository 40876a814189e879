"""What is done with a whole list: files of its rows, tags, names; marks taken back."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pyarrow.parquet as pq
import pytest

LIST = "fate=dropped&sort=uid&dir=desc"


def _post(app: Any, path: str, **form: Any) -> Any:
    return app.ask(path, "POST", urlencode(form))


def test_every_file_of_a_list_holds_its_rows_in_its_order(app: Any, site: Any):
    uids = app.ask(f"/uids.txt?{LIST}").text.split()
    assert len(uids) > 20
    files = {k: app.ask(f"/rows.{k}?{LIST}").body for k in ("csv", "json", "parquet")}
    lines = list(csv.DictReader(io.StringIO(files["csv"].decode())))
    rows = json.loads(files["json"])
    table = pq.read_table(io.BytesIO(files["parquet"]))
    assert [line["uid"] for line in lines] == uids
    assert [row["uid"] for row in rows] == uids
    assert table["uid"].to_pylist() == uids
    captions = {r["uid"]: r["caption"] for r in site.rows.ask("FROM rows")}
    assert [row["caption"] for row in rows] == [captions[uid] for uid in uids]
    assert table["caption"].to_pylist() == [captions[uid] for uid in uids]
    assert table.schema.names == [c.name for c in site.index.columns]


def test_a_tar_holds_pictures_and_captions_as_webdataset_reads_them(
    app: Any, site: Any, tmp_path: Path
):
    import webdataset

    uids = app.ask(f"/uids.txt?{LIST}").text.split()
    file = tmp_path / "rows.tar"
    file.write_bytes(app.ask(f"/rows.tar?{LIST}").body)
    with tarfile.open(file) as tar:
        names = tar.getnames()
    assert len(names) == len(set(names)) == 3 * len(uids)
    samples = list(webdataset.WebDataset(str(file), shardshuffle=False))
    assert [json.loads(s["json"])["uid"] for s in samples] == uids
    rows = {r["uid"]: r for r in site.rows.ask("FROM rows")}
    for sample, uid in zip(samples, uids, strict=True):
        assert sample["txt"].decode() == (rows[uid]["caption"] or "")
        picture = site._images([(rows[uid]["source"], rows[uid]["row"])])[0]
        assert picture in (sample.get("png"), sample.get("jpg"), sample.get("bin"))
    assert app.ask("/rows.exe").status == 404
    assert app.ask("/rows.csv?sort=nothing").status == 400
    assert app.ask("/rows.json?fate=nothing").text.strip() == "[]"


def test_a_tag_is_a_list_and_goes_with_its_last_row(app: Any):
    uids = app.ask(f"/uids.txt?{LIST}").text.split()
    tagged = _post(app, "/tags", tag="  to <look> at ", list=LIST)
    assert tagged.headers["location"] == "/?tag=to+%3Clook%3E+at"
    again = app.ask("/uids.txt?tag=to+%3Clook%3E+at&sort=uid&dir=desc").text.split()
    assert again == uids
    page = app.ask("/").text
    assert f"to &lt;look&gt; at ({len(uids)})" in page
    assert "<look>" not in page
    row = app.ask("/rows.json?sort=uid").text
    n = _number(app, json.loads(row)[0]["uid"])
    assert _post(app, "/tags", tag="mine", n=n).headers["location"].startswith("/row/")
    assert ">mine</a>" in app.ask(f"/row/{n}").text
    _post(app, "/tags", tag="mine", n=n, action="take")
    assert ">mine</a>" not in app.ask(f"/row/{n}").text
    assert app.ask("/?tag=mine").status == 400
    for wrong in ({"tag": " "}, {"tag": "x" * 81}, {"tag": "a", "n": "x"}):
        assert _post(app, "/tags", **wrong).status == 400


def _number(app: Any, uid: str) -> int:
    asked = urlencode([("col", "uid"), ("op", "is"), ("val", uid)])
    text = app.ask(f"/?{asked}").text
    return int(text.split('href="/row/')[1].split("?")[0])


def test_a_list_is_kept_by_a_name_until_it_is_forgotten(app: Any):
    _post(app, "/views", name="gone <b>", list=LIST + "&after=5")
    page = app.ask("/").text
    assert 'href="/?fate=dropped&amp;sort=uid&amp;dir=desc">gone &lt;b&gt;</a>' in page
    _post(app, "/views", name="gone <b>", action="forget")
    assert "gone" not in app.ask("/").text.split("<main")[1].split("<form class")[0]
    assert _post(app, "/views", name="", list="").status == 400
    assert _post(app, "/views", name="x", list="sort=nothing").status == 400


def test_marks_are_taken_back_one_change_after_the_other(app: Any, site: Any):
    while "Undo the last" in app.ask("/").text:  # what other tests marked
        _post(app, "/undo")
    kept = site.rows.ask("SELECT n, uid FROM rows WHERE fate = 'kept' LIMIT 3")
    numbers, uids = [r["n"] for r in kept], [r["uid"] for r in kept]
    before = site.marks.actions()
    app.mark(numbers[:2], "drop")
    app.mark(numbers[1:], "rescue")
    app.mark(numbers[:1], "clear")
    states = []
    for _ in range(3):
        assert _post(app, "/undo").status == 303
        states.append([site.marks.actions().get(uid) for uid in uids])
    assert states == [
        ["drop", "rescue", "rescue"],
        ["drop", "drop", None],
        [before.get(uid) for uid in uids],
    ]
    assert "Undo the last" not in app.ask("/").text
    told = app.ask(_post(app, "/undo").headers["location"]).text
    assert "Nothing is left to undo." in told


@pytest.mark.parametrize("file", ["tags.csv", "views.json", "selections.json"])
def test_what_another_program_wrote_is_no_fault_of_the_pages(
    app: Any, app_run: Any, file: str
):
    stored = Path(app_run.path, "ui", file)
    before = stored.read_bytes() if stored.is_file() else None
    stored.write_bytes(b"uid,tag\nno row,what\n,,,\n[1, 2")
    assert app.ask("/").status == 200
    stored.unlink() if before is None else stored.write_bytes(before)
