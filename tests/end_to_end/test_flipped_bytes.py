"""One damaged file of whatever is kept: named by who reads it, or made again.

Bits at offsets drawn at random, length and time as they were; files that are cut, empty
or gone. Who reads everything finds every flip; who reads some of it says so, or answers
as before. Scans, and what a lake remembers: tests/lake has more of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from winnow.cli.main import main

from tests.damaged_files import (
    DAMAGES,
    Commands,
    Damaged,
    answer,
    believed,
    flip,
    left_damaged,
)
from tests.examples import examples
from tests.trusted_pool import recipe, trusted_table, write_pool

pytestmark = pytest.mark.slow
Capture = pytest.CaptureFixture[str]

STEPS = ["exact", "minhash", "embed", "cluster", "semantic", "complexity", "apply"]
VIEWS = [
    "ledger",
    "fates",
    "duplicates",
    "neighbours",
    "members",
    "clusters",
    "steps",
    "quarantine",
]
every_damage = pytest.mark.parametrize(
    "damage",
    [
        pytest.param(name, marks=[pytest.mark.soak] if name != "flip" else [])
        for name in DAMAGES
    ],
)


def hold_answers(
    damaged: Damaged,
    commands: Callable[[str, Path], Commands],
    damage: str,
    capsys: Capture,
) -> None:
    """Require each answer to name the damage, or to be the sound one."""
    faulty = believed(damaged, commands, DAMAGES[damage], capsys, examples(1, 99))
    assert not faulty, "\n".join(map(str, faulty))


@pytest.fixture(scope="module")
def kept_run(
    tmp_path_factory: pytest.TempPathFactory,
    winnow: Callable[..., Any],
    write_shards: Callable[..., Path],
    planted_table: Callable[..., pa.Table],
) -> Path:
    folder = tmp_path_factory.mktemp("flipped")
    table = planted_table(90)
    texts = [
        f"{i // 2} " + " ".join(f"w{i // 2 + j}" for j in range(12)) for i in range(90)
    ]
    column = table.schema.get_field_index("text")
    table = table.set_column(column, "text", pa.array(texts))
    pool = write_shards(folder / "pool", table, 50)
    winnow(pool, folder / "run", STEPS, minhash={"allow_large_clusters": True})
    winnow(pool, folder / "other", ["exact", "apply"])
    held = planted_table(60, seed=9)
    others = pa.array([f"another {row}".encode() for row in range(60)])
    held = held.set_column(held.schema.get_field_index("image"), "image", others)
    pool = write_shards(folder / "held", held, 60)
    winnow(pool, folder / "held_out", ["embed", "apply"])
    return folder


def kept_rows(kept: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]]
    rows = pq.read_table(kept / "run" / "kept").select(["uid", "text"]).to_pylist()
    return rows


def again(kept: Path, run: str) -> list[str]:
    return ["run", str(kept / "run" / "config.lock.yaml"), "-q", "--out", run]


def of_a_run(kept: Path) -> Callable[[str, Path], Commands]:
    uid, held = kept_rows(kept)[7]["uid"], str(kept / "held_out")

    def commands(run: str, out: Path) -> Commands:
        ordered = [
            ["query", run, f"SELECT * FROM {view} ORDER BY ALL", "--json"]
            for view in VIEWS
        ]
        return [
            ["steps", run, "--json"],
            ["explain", run, uid, "--json"],
            *ordered,
            ["query", run, "SELECT * FROM vectors ORDER BY uid", "--json"],
            ["search", run, "--like", uid, "--all", "--json"],
            ["duplicates", run, "--json"],
            ["what-if", run, "--set", "semantic.epsilon=0.1", "--json"],
            ["diff", run, str(kept / "other"), "--json"],
            ["export", run, "--to", "uids", "--out", str(out / "uids.txt"), "--json"],
            ["export", run, "--to", "parquet", "--out", str(out / "p"), "--json"],
            ["index", "build", run, "--out", str(out / "index"), "--json"],
            ["report", run, "--out", str(out / "page.html")],
            ["map", run, "--json"],
            ["prove", run, "--held-out", held, "--seeds", "2", "--json"],
            [*again(kept, str(out / "second")), "--from", run, "--json"],
            again(kept, run),
        ]

    return commands


@every_damage
def test_every_file_of_a_run(
    damage: str, kept_run: Path, tmp_path: Path, capsys: Capture
):
    damaged = Damaged(kept_run / "run", tmp_path / "copy")
    hold_answers(damaged, of_a_run(kept_run), damage, capsys)


def test_a_run_given_again_finds_every_flip(
    kept_run: Path, tmp_path: Path, capsys: Capture
):
    damaged = Damaged(kept_run / "run", tmp_path / "copy")
    faulty = left_damaged(damaged, lambda run: again(kept_run, run), capsys)
    assert not faulty, "\n".join(map(str, faulty))


@pytest.fixture(scope="module")
def indexes(kept_run: Path) -> Path:
    """One of texts, less a row, and one of vectors."""
    run = str(kept_run / "run")
    texts, vectors = str(kept_run / "texts.index"), str(kept_run / "vectors.index")
    assert main(["index", "build", run, "--out", texts]) == 0
    gone = kept_rows(kept_run)[0]["uid"]
    assert main(["index", "remove", texts, "--uid", gone]) == 0
    assert main(["index", "build", run, "--vectors", "image", "--out", vectors]) == 0
    return kept_run


@pytest.mark.parametrize("kind", ["texts", "vectors"])
def test_a_check_of_an_index_finds_every_flip(
    kind: str, indexes: Path, tmp_path: Path, capsys: Capture
):
    damaged = Damaged(indexes / f"{kind}.index", tmp_path / "copy")
    for name in damaged.each(flip):
        code, told = answer(["index", "check", str(damaged.copy)], {}, capsys)
        assert code == 3, (name, told)
        assert Path(name).name in told


@every_damage
@pytest.mark.parametrize("kind", ["texts", "vectors"])
def test_every_file_of_an_index(
    kind: str, damage: str, indexes: Path, tmp_path: Path, capsys: Capture
):
    _, named, asked = kept_rows(indexes)[:3]
    key, steps = {
        "texts": ("minhash", "[minhash,apply]"),
        "vectors": ("semantic", "[embed,cluster,semantic,apply]"),
    }[kind]

    def commands(index: str, out: Path) -> Commands:
        lock = str(indexes / "run" / "config.lock.yaml")
        against = ["--set", f"{key}.index={index}", "--set", f"steps={steps}"]
        asks = [
            ["near", index, "--text", asked["text"], "--json"],
            ["near", index, "--uid", named["uid"], "--json"],
        ]
        return [
            *(asks if kind == "texts" else []),
            ["index", "show", index, "--json"],
            ["index", "check", index, "--json"],
            ["run", lock, *against, "--out", str(out / "run"), "--json", "-q"],
        ]

    damaged = Damaged(indexes / f"{kind}.index", tmp_path / "copy")
    hold_answers(damaged, commands, damage, capsys)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny filter, its pool, its recipe, and one that scores by it."""
    folder = tmp_path_factory.mktemp("trained")
    table = trusted_table(48, captions=1)
    pool = write_pool(folder / "pool", table)
    values = recipe(pool, folder / "filter", epochs=1)
    (folder / "train.yaml").write_text(yaml.safe_dump(values))
    assert main(["filter", "train", str(folder / "train.yaml")]) == 0
    scoring = {
        "input": {"path": str(pool), "columns": {"text": "captions"}},
        "output": {"path": str(folder / "run"), "report": False},
        "model": {"name": f"local-dir:{folder / 'copy'}", "precision": "float32"},
        "steps": ["embed", "score", "apply"],
        "score": {"keep_fraction": 0.5},
    }
    (folder / "score.yaml").write_text(yaml.safe_dump(scoring))
    return folder


def train_again(folder: Path, out: str) -> list[str]:
    return ["filter", "train", str(folder / "train.yaml"), "--json", "--out", out]


@every_damage
def test_every_file_of_a_filter(damage: str, trained: Path, capsys: Capture):
    pool = str(trained / "pool")

    def commands(model: str, out: Path) -> Commands:
        held = f"{model}/held_out.txt"
        judge = ["filter", "eval", model, pool, "--json"]
        return [
            judge,
            [*judge, "--only", held],
            ["filter", "compare", model, "--pool", pool, "--budget", ".5", "--json"],
            ["plan", str(trained / "score.yaml"), "--json"],
            ["run", str(trained / "score.yaml"), "--json", "--out", str(out / "run")],
            train_again(trained, model),
        ]

    hold_answers(
        Damaged(trained / "filter", trained / "copy"), commands, damage, capsys
    )


def test_a_training_given_again_finds_every_flip(trained: Path, capsys: Capture):
    # Of an end that was reached, what led to it is not read any more.
    damaged = Damaged(trained / "filter", trained / "copy", ("state/", "cache/"))
    faulty = left_damaged(damaged, lambda out: train_again(trained, out), capsys)
    assert not faulty, "\n".join(map(str, faulty))


class Stopped(BaseException):
    """Ends a training where it stands."""


def test_a_training_that_goes_on_finds_every_flip(
    trained: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_: Any) -> None:
        raise Stopped

    train = ["filter", "train", str(trained / "train.yaml"), "--out"]
    with monkeypatch.context() as patch:
        patch.setattr("winnow.filters.train.run.export", stop)
        with pytest.raises(Stopped):
            main([*train, str(tmp_path / "whole")])
    weights = "open_clip_model.safetensors"
    wanted = (trained / "filter" / weights).read_bytes()
    # The architecture is written anew at each start.
    damaged = Damaged(tmp_path / "whole", tmp_path / "copy", ("state/architecture/",))
    assert len(damaged.names()) > 8, damaged.names()
    for name in damaged.each(flip):
        capsys.readouterr()
        code = main([*train, str(damaged.copy)])
        told = "".join(capsys.readouterr())
        # The best weights so far are taken from the checkpoint.
        assert Path(name).name in told or name.startswith("state/best."), (name, told)
        if code == 0:
            assert (damaged.copy / weights).read_bytes() == wanted, name
        else:
            assert code == 3, (name, told)
