"""The commands `index`, `near` and `duplicates`, as a user types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from winnow.cli.main import main

Capture = pytest.CaptureFixture[str]
Write = Callable[..., Path]


def words(first: int, count: int = 40) -> str:
    return " ".join(f"w{i}" for i in range(first, first + count))


@pytest.fixture
def pool(tmp_path: Path, write_shards: Write) -> Path:
    texts = [words(0), words(0) + " tail", words(0) + " other end", words(900), ""]
    uids = ["a", "b", "c", "d", "e"]
    return write_shards(tmp_path / "pool", pa.table({"uid": uids, "text": texts}))


def winnow(capsys: Capture, *arguments: str) -> Any:
    code = main([*arguments, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def near_rows(capsys: Capture, index: str, *how: str) -> list[dict[str, Any]]:
    """Return the rows that `near --json` finds; beside them stands what it may miss."""
    told = winnow(capsys, "near", index, *how)
    assert 0 <= told["found_share"] <= 1
    rows: list[dict[str, Any]] = told["rows"]
    return rows


def test_build_add_and_ask(
    pool: Path, tmp_path: Path, write_shards: Write, capsys: Capture
):
    index = str(tmp_path / "index")
    built = winnow(capsys, "index", "build", str(pool), "--out", index)
    assert (built["added"], built["without_text"]) == (4, 1)
    answers = near_rows(capsys, index, "--text", words(0), "--k", "2")
    assert [(row["uid"], round(row["jaccard"], 3)) for row in answers] == [
        ("a", 1.0),
        ("b", 0.973),
    ]
    assert answers[0]["text"] == words(0)
    assert answers[0]["probability"] == 1.0
    near = near_rows(capsys, index, "--uid", "b", "--min-jaccard", "0.94")
    assert [(row["asked"], row["uid"]) for row in near] == [("b", "a")]
    both = near_rows(capsys, index, "--uid", "a", "--uid", "b", "--k", "1")
    assert [(row["asked"], row["uid"]) for row in both] == [("a", "b"), ("b", "a")]
    more = write_shards(
        tmp_path / "more", pa.table({"name": ["z", "a"], "body": [words(7), "x"]})
    )
    columns = ("--uid", "name", "--column", "body")
    added = winnow(capsys, "index", "add", index, str(more), *columns)
    assert (added["added"], added["same_name_other_text"], added["rows"]) == (2, 1, 6)
    again = winnow(capsys, "index", "add", index, str(more), *columns)
    assert (again["added"], again["already_there"], again["rows"]) == (0, 2, 6)
    assert near_rows(capsys, index, "--text", words(7))[0]["uid"] == "z"


def test_an_answer_says_what_its_bands_miss(
    pool: Path, tmp_path: Path, capsys: Capture
):
    index = str(tmp_path / "index")
    winnow(capsys, "index", "build", str(pool), "--out", index)
    assert main(["near", index, "--text", "no such words", "--min-jaccard", "0.6"]) == 0
    # 1 − (1 − 0.6⁸)¹⁶
    assert capsys.readouterr().out == (
        "nothing of at least 0.6\n"
        "(this index finds 24% of the rows of a similarity of 0.6)\n"
    )
    assert main(["near", index, "--text", words(0), "--min-jaccard", "0.9"]) == 0
    assert capsys.readouterr().out.count("\n") == 3


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["near", "INDEX", "--text", "x", "--set", "seed=7"], 2, "seed=1, not 7"),
        (["index", "add", "INDEX", "POOL", "--set", "seed=7"], 2, "seed=1, not 7"),
        (["near", "INDEX", "--text", "x", "--set", "sed=7"], 2, "did you mean 'seed'"),
        (["near", "INDEX", "--uid", "nobody"], 3, "no uid 'nobody'"),
        (["near", "POOL", "--text", "x"], 2, "holds no index"),
        (
            ["index", "build", "POOL", "--out", "INDEX", "--set", "seed=7"],
            2,
            "not empty",
        ),
        (["index", "add", "INDEX", "NOTHING"], 3, "NOTHING"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(
    pool: Path, tmp_path: Path, capsys: Capture, arguments: list, code: int, said: str
):
    index = str(tmp_path / "index")
    winnow(capsys, "index", "build", str(pool), "--out", index)
    named = {"INDEX": index, "POOL": str(pool)}
    assert main([named.get(word, word) for word in arguments]) == code
    assert said in capsys.readouterr().err


def test_the_largest_clusters_are_told(pool: Path, tmp_path: Path, capsys: Capture):
    from winnow import api

    run = str(tmp_path / "run")
    columns = {"uid": "uid", "image": None, "text": "text"}
    api.run(
        {
            "input": {"path": str(pool), "columns": columns},
            "output": {"path": run},
            "steps": ["minhash"],
        }
    )
    (step,) = winnow(capsys, "duplicates", run)
    (cluster,) = step["largest"]
    assert (step["step"], step["rows_dropped"], step["clusters"]) == ("minhash", 2, 1)
    assert (cluster["keeper"], cluster["size"]) == ("a", 3)
    assert cluster["dropped"] == ["b", "c"]
    assert cluster["least_similar"] == "c"
    assert cluster["least_similarity"] == 36 / 38
    assert (cluster["keeper_text"], cluster["least_similar_text"]) == (
        words(0),
        words(0) + " other end",
    )
    assert main(["duplicates", run]) == 0
    told = capsys.readouterr().out
    assert "3 rows (near_duplicate_text), of which a stayed" in told
    assert "other end (c)" not in told  # texts are cut to one line
    assert main(["duplicates", run, "--step", "exact"]) == 1


@pytest.mark.shared
def test_clip_art_has_1375_captions_that_are_one_text(
    shared: Path, tmp_path: Path, capsys: Capture
):
    from winnow import api

    run = str(tmp_path / "run")
    result = api.run(
        {
            "input": {"path": str(shared / "data" / "clipart")},
            "output": {"path": run},
            "steps": ["minhash"],
        }
    )
    (step,) = winnow(capsys, "duplicates", run, "--top", "1")
    (cluster,) = step["largest"]
    assert (cluster["size"], cluster["keeper_text"]) == (1375, "gramastar")
    assert (cluster["least_similarity"], len(cluster["dropped"])) == (1.0, 1374)
    assert cluster["keeper"] < min(cluster["dropped"])
    assert step["rows_dropped"] == result.dropped
    assert main(["duplicates", run, "--top", "1"]) == 0
    told = capsys.readouterr().out
    assert "1,375 rows" in told
    assert cluster["keeper"] in told
    assert "gramastar" in told


def test_the_upkeep_of_an_index(pool: Path, tmp_path: Path, capsys: Capture):
    index = str(tmp_path / "index")
    winnow(capsys, "index", "build", str(pool), "--out", index)
    gone = tmp_path / "gone"
    gone.write_text("b\nnobody\n")
    told = winnow(capsys, "index", "remove", index, "--uid", "a", "--uids", str(gone))
    assert (told["removed"], told["unknown"], told["rows"]) == (2, ["nobody"], 2)
    near = near_rows(capsys, index, "--text", words(0))
    assert [row["uid"] for row in near] == ["c"]
    assert near[0]["source"] == str(pool)
    assert winnow(capsys, "index", "compact", index)["segments"] == 1
    told = winnow(capsys, "index", "show", index)
    assert told["additions"] == [{"sources": [str(pool)], "named": True, "rows": 4}]
    assert winnow(capsys, "index", "check", index) == {"damaged": []}
    (digests,) = Path(index).glob("segment-*/digests.npy")
    digests.write_bytes(digests.read_bytes()[:-8])
    assert main(["index", "check", index]) == 3
    assert str(digests) in capsys.readouterr().err
    assert main(["near", index, "--text", words(0)]) == 3
    assert "index repair" in capsys.readouterr().err
    assert main(["index", "repair", index]) == 0
    assert "digests made again" in capsys.readouterr().out
    assert near_rows(capsys, index, "--text", words(0)) == near
    assert main(["index", "remove", index]) == 2
