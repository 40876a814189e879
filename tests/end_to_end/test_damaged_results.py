"""One damaged file, asked by commands that write: named or made again, all else whole.

Commands that only read are asked in `test_flipped_bytes`; here are those that add to an
index, move tables, hand a run on, or go on with results of their own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from winnow.cli.main import main

from tests.damaged_files import DAMAGES, Commands, Damage, Damaged, believed
from tests.trusted_pool import recipe, trusted_table, write_pool

pytestmark = [pytest.mark.slow, pytest.mark.soak]
Capture = pytest.CaptureFixture[str]
every_damage = pytest.mark.parametrize("damage", sorted(DAMAGES))


def asked(
    damaged: Damaged,
    commands: Callable[[str, Path], Commands],
    damage: Damage,
    capsys: Capture,
) -> None:
    """Ask each of the commands alone, of a copy of its own; see `believed`."""
    faulty: list[Any] = []
    out = damaged.copy.parent / "out"
    for number in range(len(commands(str(damaged.copy), out))):

        def one(copy: str, out: Path, number: int = number) -> Commands:
            return commands(copy, out)[number : number + 1]

        faulty += believed(damaged, one, damage, capsys, 1)
    assert not faulty, "\n".join(map(str, faulty))


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory,
    winnow: Callable[..., Any],
    write_shards: Callable[..., Path],
    planted_table: Callable[..., pa.Table],
) -> Path:
    """Two runs over other rows, with texts and vectors."""
    folder = tmp_path_factory.mktemp("handed_on")
    for seed, name in ((0, "run"), (9, "held")):
        table = planted_table(80, seed=seed)
        texts = [
            f"{seed} " + " ".join(f"w{i + j}" for j in range(9)) for i in range(80)
        ]
        texts_at = table.schema.get_field_index("text")
        table = table.set_column(texts_at, "text", pa.array(texts))
        if seed:
            images = pa.array([f"{seed} {i}".encode() for i in range(80)])
            at_image = table.schema.get_field_index("image")
            table = table.set_column(at_image, "image", images)
        pool = write_shards(folder / f"{name}_pool", table, 50)
        steps = ["embed", "cluster", "semantic", "score", "apply"]
        winnow(pool, folder / name, steps)
    return folder


@every_damage
def test_what_a_run_is_handed_on_to(
    damage: str, runs: Path, tmp_path: Path, capsys: Capture
):
    uid = pq.read_table(runs / "run" / "kept")["uid"][3].as_py()
    held = ["--held-out", str(runs / "held"), "--seeds", "2", "-q", "--json"]

    def commands(run: str, out: Path) -> Commands:
        over = ["--over", "semantic.epsilon=.02,.1"]
        tune = ["tune", run, "--budget", ".4", *over, *held]
        export = ["export", run, "--json", "--out", str(out / "e"), "--to"]
        return [
            [*export, "clip-retrieval"],
            [*export, "webdataset"],
            ["index", "build", run, "--vectors", "image", "--out", str(out / "i")],
            [*tune, "--out", str(out / "t")],
            ["diff", run, str(runs / "held"), "--json"],
            ["search", run, "--like", uid, "--json"],
        ]

    asked(Damaged(runs / "run", tmp_path / "copy"), commands, DAMAGES[damage], capsys)


@pytest.fixture(scope="module")
def indexes(runs: Path) -> Path:
    for kind in ("texts", "vectors"):
        words = ["index", "build", str(runs / "run"), "--out", str(runs / kind)]
        words += ["--vectors", "image"] if kind == "vectors" else []
        assert main(words) == 0
        uid = pq.read_table(runs / "run" / "kept")["uid"][0].as_py()
        assert main(["index", "remove", str(runs / kind), "--uid", uid]) == 0
    return runs


@every_damage
@pytest.mark.parametrize("kind", ["texts", "vectors"])
def test_what_an_index_takes(
    kind: str, damage: str, indexes: Path, tmp_path: Path, capsys: Capture
):
    uids = pq.read_table(indexes / "run" / "kept")["uid"].to_pylist()

    def commands(index: str, out: Path) -> Commands:
        asks = [
            ["near", index, "--uid", uids[4], "--json"],
            ["index", "add", index, str(indexes / "held"), "--json"],
            ["index", "remove", index, "--uid", uids[5], "--json"],
            ["index", "compact", index, "--json"],
        ]
        if kind == "texts":
            asks.append(["communities", index, "--seeds", uids[4], "--json"])
        return asks

    asked(Damaged(indexes / kind, tmp_path / "copy"), commands, DAMAGES[damage], capsys)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake and its scan: `planned`, and `applied`, with what was moved."""
    folder = tmp_path_factory.mktemp("moved")
    lake, cheap = folder / "copy" / "lake", ["--set", "plan.maintenance_per_table=1"]
    lake.mkdir(parents=True)
    rows = pa.table({"id": list(range(90)), "name": [f"n{i % 7}" for i in range(90)]})
    pq.write_table(rows, lake / "whole.parquet")
    pq.write_table(rows, lake / "twin.parquet")
    pq.write_table(rows.slice(10, 30), lake / "part.parquet")
    run = str(folder / "copy" / "run")
    assert main(["lake", "scan", str(lake), "--out", run, *cheap]) == 0
    assert main(["lake", "plan", run]) == 0
    shutil.copytree(folder / "copy", folder / "planned")
    assert main(["lake", "apply", run]) == 0
    shutil.copytree(folder / "copy", folder / "applied")
    shutil.rmtree(folder / "copy")
    return folder


@every_damage
def test_a_lake_that_was_scanned(damage: str, scanned: Path, capsys: Capture):
    def commands(copy: str, out: Path) -> Commands:
        run, lake = f"{copy}/run", f"{copy}/lake"
        return [
            ["lake", "edges", run, "--json"],
            ["lake", "explain", run, "part.parquet", "--json"],
            ["lake", "plan", run, "--json"],
            ["lake", "apply", run, "--dry-run", "--json"],
            ["lake", "scan", lake, "--json", "-q", "--out", run],
            ["steps", run, "--json"],
            ["query", run, "SELECT * FROM derived", "--json"],
            ["report", run, "--out", str(out / "page.html")],
        ]

    damaged = Damaged(scanned / "planned", scanned / "copy", ("lake/",))
    faulty = measured(damaged, commands, damage, capsys)
    assert not faulty, "\n".join(map(str, faulty))


def measured(
    damaged: Damaged,
    commands: Callable[[str, Path], Commands],
    damage: str,
    capsys: Any,
) -> list[Any]:
    """Return what is faulty, but for a scan or plan that did the work again."""
    faulty: list[Any] = []
    for number in range(len(commands("", Path()))):

        def one(copy: str, out: Path, number: int = number) -> Commands:
            return commands(copy, out)[number : number + 1]

        came = believed(damaged, one, DAMAGES[damage], capsys, 1)
        again = commands("", Path())[number][1] in ("scan", "plan")
        # A scan that has lost one of these is one that does not have it as yet.
        later = ("plan.parquet", "edges.parquet", "manifest.json")
        none = [f"run/{name}" for name in later if damage == "lose"]
        faulty += [f for f in came if not (again and f[2] == 0) and f[0] not in none]
    return faulty


@every_damage
def test_tables_are_moved_and_come_back(damage: str, scanned: Path, capsys: Capture):
    """Whatever of a scan is damaged: no table is lost."""
    wanted = {
        path.name: path.read_bytes()
        for path in (scanned / "planned" / "lake").rglob("*.parquet")
    }
    for state, words in (("planned", "apply"), ("applied", "restore")):
        damaged = Damaged(scanned / state, scanned / "copy", ("lake/", "run/trash/"))
        for name in damaged.each(DAMAGES[damage]):
            capsys.readouterr()
            code = main(["lake", words, str(damaged.copy / "run")])
            err = capsys.readouterr().err
            assert "Traceback" not in err, (name, err)
            assert "unexpected" not in err, (name, err)
            # Without its recipe or its edges a folder is no scan.
            no_scan = code == 1 and " makes one" in err
            assert no_scan or code in (0, 2, 3), (name, code, err)
            assert not code or Path(name).name in err or no_scan, (name, err)
            left = {
                path.name.partition("~")[0]: path.read_bytes()
                for path in damaged.copy.rglob("*.parquet")
                if "run" not in path.relative_to(damaged.copy).parts[:1]
                or path.name in wanted
            }
            assert wanted.items() <= left.items(), (state, name)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An analysis of a pool of pictures, and trainings of a filter at two purities."""
    folder = tmp_path_factory.mktemp("results")
    pool = write_pool(folder / "pool", trusted_table(48, captions=1))
    values = recipe(pool, folder / "copy", epochs=1)
    (folder / "train.yaml").write_text(yaml.safe_dump(values))
    assert main(purity(folder, str(folder / "purity"))) == 0
    analysis = str(folder / "looked_at")
    assert main(["analyze", str(pool), "--out", analysis, "-q"]) == 0
    # The copies have the name that it was made under.
    shutil.copytree(analysis, folder / "analysis")
    return folder


def purity(folder: Path, out: str) -> list[str]:
    words = ["filter", "purity", str(folder / "train.yaml"), "--levels", "1,.5"]
    return [*words, "--seeds", "1", "-q", "--json", "--out", out]


@every_damage
def test_trainings_at_purities_go_on(damage: str, results: Path, capsys: Capture):
    damaged = Damaged(results / "purity", results / "copy")
    wanted = json.loads((results / "purity" / "purity.json").read_text())
    for name in damaged.each(DAMAGES[damage]):
        capsys.readouterr()
        code = main(purity(results, str(damaged.copy)))
        err = capsys.readouterr().err
        assert "unexpected" not in err, (name, err)
        assert "Traceback" not in err, (name, err)
        assert code in (0, 2, 3), (name, err)
        assert not code or Path(name).name in err, (name, err)
        if not code:
            now = json.loads((damaged.copy / "purity.json").read_text())
            assert now == wanted, name


@every_damage
def test_an_analysis_given_again(damage: str, results: Path, capsys: Capture):
    pool = str(results / "pool")

    def commands(run: str, out: Path) -> Commands:
        return [
            ["steps", run, "--json"],
            ["query", run, "SELECT * FROM samples ORDER BY ALL", "--json"],
            ["analyze", pool, "-q", "--json", "--out", run],
        ]

    damaged = Damaged(results / "analysis", results / "looked_at")
    asked(damaged, commands, DAMAGES[damage], capsys)
