"""A run on Spark is one whole thing as well: what is stopped, changed or damaged."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
from winnow.cli.main import main
from winnow.core.errors import InputError
from winnow.flows import execution
from winnow.reports.losses import tell_losses

from tests.parity.comparison import assert_same

pytestmark = pytest.mark.slow
Recipe = dict[str, Any]
STEPS = ["exact", "embed", "top", "apply"]


class Killed(BaseException):
    """Ends a run where it stands."""


@pytest.fixture(scope="module")
def make(
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    vector_recipe: Callable[..., Recipe],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Recipe]:
    """Return make(keep) -> a recipe on Spark, always of the same pool and folder."""
    folder = tmp_path_factory.mktemp("whole")
    pool = write_shards(folder / "pool", planted_table(80), 40)

    def of(keep: float) -> Recipe:
        top = {"column": "height", "keep_fraction": keep}
        recipe = vector_recipe(pool, folder / "run", STEPS, top=top)
        return {**recipe, "engine": {"name": "spark", "partitions": 2}}

    return of


def shown(run: Path) -> dict[str, bytes]:
    """Everything a run shows, but for an update, and logs."""
    return {
        str(file.relative_to(run)): file.read_bytes()
        for file in sorted(run.rglob("*"))
        if file.is_file()
        and file.name not in (".lock", "winnow.log")
        and ".next" not in file.parts
        and ".work" not in file.parts
    }


def disturb(patch: pytest.MonkeyPatch, step: str, what: Callable[[], None]) -> None:
    """Do something once a step has run."""
    original = execution.Execution.run

    def disturbed(self: Any, planned: Any, prints: Any) -> Any:
        marker = original(self, planned, prints)
        if planned.name == step:
            what()
        return marker

    patch.setattr(execution.Execution, "run", disturbed)


def kill() -> None:
    raise Killed


def test_what_is_stopped_changed_or_damaged(
    make: Callable[..., Recipe],
    spark: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    recipe = make(0.9)
    run, pool = (Path(recipe[name]["path"]) for name in ("output", "input"))
    winnow.run(recipe, spark=spark)
    before = shown(run)
    with monkeypatch.context() as patch:
        disturb(patch, "top", kill)
        with pytest.raises(Killed):
            winnow.run(make(0.5), spark=spark)
    assert shown(run) == before, "an update that was stopped shows"
    assert main(["steps", str(run)]) == 0
    told = capsys.readouterr()
    assert "update" in told.out + told.err

    def replace_shard() -> None:
        file = pool / "00001.parquet"
        table = pq.read_table(file)
        pq.write_table(table.take(list(reversed(range(len(table))))), file)

    shard = (pool / "00001.parquet").read_bytes()
    with monkeypatch.context() as patch:
        disturb(patch, "top", replace_shard)
        with pytest.raises(InputError, match=r"00001\.parquet has changed"):
            winnow.run(make(0.6), spark=spark)
    assert shown(run) == before, "rows that no step judged are kept"
    (pool / "00001.parquet").write_bytes(shard)

    ledger = sorted((run / "ledger" / "step=top").iterdir())[0]
    state, data = ledger.stat(), bytearray(ledger.read_bytes())
    data[len(data) // 2] ^= 1
    ledger.write_bytes(data)
    os.utime(ledger, ns=(state.st_atime_ns, state.st_mtime_ns))
    again = winnow.run(recipe, spark=spark)
    assert "top" in again.ran, "a damaged ledger is believed"
    local = {**recipe, "engine": {"name": "local"}}
    local["output"] = {**recipe["output"], "path": str(tmp_path / "local")}
    winnow.run(local)
    assert_same(tmp_path / "local", run)


def test_losses_stop_a_run_or_are_said(spark: Any, tmp_path: Path):
    (tmp_path / "pool").mkdir()
    table = pa.table({"uid": ["a"] * 9 + ["b"], "text": ["one two"] + ["a b c"] * 9})
    pq.write_table(table, tmp_path / "pool" / "a.parquet")
    recipe: Recipe = {
        "input": {"path": str(tmp_path / "pool"), "columns": {"image": None}},
        "output": {"path": str(tmp_path / "run"), "report": False},
        "steps": ["rules", "apply"],
        "rules": {"min_side": None, "max_aspect": None, "min_words": 3},
        "engine": {"name": "spark", "partitions": 2},
    }
    with pytest.raises(InputError, match=r"8 of 10 rows .*8 duplicate_uid") as refused:
        winnow.run(recipe, spark=spark)
    assert refused.value.exit_code == 3
    recipe["input"]["max_quarantined"] = 0.8
    result = winnow.run(recipe, spark=spark)
    assert result.quarantined == 8
    assert "8 rows are in quarantine: 8 duplicate_uid" in tell_losses(result.path)


def test_what_if_and_prove_start_no_spark(
    make: Callable[..., Recipe],
    spark: Any,
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    vector_recipe: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    recipe = make(0.9)
    run = recipe["output"]["path"]
    winnow.run(recipe, spark=spark)
    table = planted_table(40, seed=5)
    others = pa.array([f"another {row}".encode() for row in range(40)])
    table = table.set_column(table.schema.get_field_index("image"), "image", others)
    held = write_shards(tmp_path / "held", table)
    apart = vector_recipe(held, tmp_path / "apart", ["embed", "apply"])
    winnow.run(apart)

    def started(*_: Any) -> None:
        raise AssertionError("Spark is started")

    monkeypatch.setattr("winnow.engines.spark.engine.SparkEngine", started)
    capsys.readouterr()
    tried = ["what-if", run, "--set", "top.keep_fraction=0.5", "--json"]
    assert main(tried) == 0
    told = json.loads(capsys.readouterr().out)
    local = {**make(0.5), "engine": {"name": "local"}}
    local["output"] = {**recipe["output"], "path": str(tmp_path / "half")}
    assert told["kept"]["b"] == winnow.run(local).kept
    proof = ["prove", run, "--held-out", str(tmp_path / "apart"), "--seeds", "2"]
    assert main([*proof, "--json"]) == 0
