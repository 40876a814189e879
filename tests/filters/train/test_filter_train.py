"""Training a filter from end to end, on pictures of one colour and their names."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import winnow
import yaml
from safetensors.numpy import load_file, save_file
from winnow.cli import main as cli
from winnow.core.errors import ConfigError, InputError, RunError
from winnow.filters.train.recipe import TrainingError
from winnow.models.encoder import ModelSpec, load_encoder

from tests.trusted_pool import MODEL_CFG, recipe, trusted_table, write_pool

ROWS = 96


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return write_pool(tmp_path_factory.mktemp("trusted"), trusted_table(ROWS))


@pytest.fixture(scope="module")
def trained(pool, tmp_path_factory):
    out = tmp_path_factory.mktemp("filters") / "first"
    lines: list[str] = []
    result = winnow.train_filter(
        recipe(pool, out, epochs=12, learning_rate=1e-2), tell=lines.append
    )
    return result, lines


def weights(folder):
    return load_file(Path(folder) / "open_clip_model.safetensors")


def same(one, other):
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    return all(np.array_equal(first[name], second[name]) for name in first)


def manifest(folder):
    return json.loads((Path(folder) / "manifest.json").read_text())


def test_a_filter_learns_what_its_pool_knows(trained):
    result, _ = trained
    assert result.auc > 0.8
    assert result.trained_on == 72
    assert result.held_out == 24


def test_the_checkpoint_scores_as_the_training_said(trained, pool):
    result, _ = trained
    encoder = load_encoder(ModelSpec(result.name, precision="float32"))
    held = set((result.path / "held_out.txt").read_text().split())
    table = pa.concat_tables(pq.read_table(f) for f in sorted(pool.glob("*.parquet")))
    rows = [row for row in table.to_pylist() if row["uid"] in held]
    images = encoder.encode_images(
        np.stack([encoder.prepare(row["image"]) for row in rows])
    )
    texts = encoder.encode_texts([row["captions"][0] for row in rows])
    right = np.einsum("ij,ij->i", images, texts)
    wrong = np.einsum("ij,ij->i", images, np.roll(texts, 1, axis=0))
    assert (right[:, None] > wrong[None, :]).mean() > 0.75


def test_progress_is_told_with_loss_auc_and_the_wait_for_data(trained):
    _, lines = trained
    told = [line for line in lines if line.startswith("step ")]
    assert len(told) == 12
    assert all("AUC" in line and "loss" in line for line in told)
    assert all("waiting for data" in line for line in told)


def test_everything_that_the_weights_depend_on_stands_beside_them(trained):
    result, _ = trained
    record = manifest(result.path)
    assert record["seed"] == 3
    assert record["recipe"]["optimise"]["learning_rate"] == 1e-2
    assert record["result"]["auc"] == result.auc
    assert len(record["weights"]["sha256"]) == 64
    curve = pq.read_table(result.path / "curves.parquet").to_pylist()
    assert max(entry["auc"] for entry in curve) == result.auc
    page = (result.path / "report.html").read_text()
    assert page.count("<svg") == 4
    assert "Held-out AUC" in page
    card = (result.path / "README.md").read_text()
    assert record["weights"]["sha256"] in card


def test_the_same_call_again_trains_nothing(trained, pool):
    result, _ = trained
    before = (result.path / "open_clip_model.safetensors").stat().st_mtime_ns
    state = result.path / "state"
    left = sorted(state.iterdir())
    # What it leaves that is killed while it clears up, or was while it kept weights.
    (state / "step-00000012").mkdir()
    for name in ("step-00000012/progress.json", "best.safetensors", "best.new"):
        (state / name).write_text("{}")
    lines: list[str] = []
    again = winnow.train_filter(
        recipe(pool, result.path, epochs=12, learning_rate=1e-2), tell=lines.append
    )
    assert again == result
    assert sorted(state.iterdir()) == left
    assert lines == [f"{result.path}: trained before"]
    assert (result.path / "open_clip_model.safetensors").stat().st_mtime_ns == before


def test_other_settings_do_not_replace_a_filter(trained, pool):
    result, _ = trained
    with pytest.raises(ConfigError, match="other settings"):
        winnow.train_filter(recipe(pool, result.path, epochs=5))


def test_shards_and_order_of_rows_change_nothing(pool, tmp_path):
    table = trusted_table(ROWS)
    shuffled = table.take(np.random.default_rng(1).permutation(ROWS))
    other = write_pool(tmp_path / "shuffled", shuffled, shards=3)
    for source, out in ((pool, "one"), (other, "two")):
        winnow.train_filter(recipe(source, tmp_path / out, epochs=2))
    assert same(tmp_path / "one", tmp_path / "two")


KILLED = """
import os, signal, sys, yaml
import winnow
from winnow.filters.train import loop

step = loop.Training._step
def dies(self, towers, images, tokens, number, steps):
    if number == 10:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, towers, images, tokens, number, steps)

loop.Training._step = dies
winnow.train_filter(yaml.safe_load(open(sys.argv[1])))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "frozen", "two views"])
def test_killed_and_started_again_it_ends_in_the_same_weights(pool, tmp_path, kind):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    recipes = {}
    for out in (whole, killed):
        weight = 0.3 if kind == "two views" else 0.0
        recipes[out] = recipe(pool, out, micro_batch=6, image_weight=weight)
        recipes[out]["augment"] = {"crop": [0.6, 1.0], "jitter": 0.2, "flip": 0.5}
        if kind == "frozen":
            recipes[out]["model"]["freeze"] = ["visual"]
            recipes[out]["augment"]["views"] = 2
    winnow.train_filter(recipes[whole])
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipes[killed]))
    run = subprocess.run([sys.executable, "-c", KILLED, str(file)], check=False)
    assert run.returncode == -signal.SIGKILL
    assert not (killed / "open_clip_model.safetensors").exists()
    lines: list[str] = []
    winnow.train_filter(recipes[killed], tell=lines.append)
    assert any("going on from step" in line for line in lines)
    assert same(whole, killed)


def test_a_frozen_trunk_keeps_its_weights_and_runs_once(pool, tmp_path):
    architecture = {
        "embed_dim": 16,
        "vision_cfg": {
            "timm_model_name": "resnet10t",
            "timm_pool": "avg",
            "timm_proj": "linear",
            "image_size": 32,
        },
        "text_cfg": MODEL_CFG["text_cfg"],
    }
    wanted = recipe(pool, tmp_path / "base", epochs=1)
    wanted["model"] = {"architecture": architecture}
    base = winnow.train_filter(wanted)
    wanted = recipe(pool, tmp_path / "filter", epochs=2)
    wanted["output"]["cache"] = str(tmp_path / "cache")
    wanted["model"] = {
        "architecture": architecture,
        "start": [{"part": "visual.trunk", "weights": base.name}],
        "freeze": ["visual.trunk"],
        "frozen_precision": "float32",
    }
    lines: list[str] = []
    result = winnow.train_filter(wanted, tell=lines.append)
    assert sum("once" in line for line in lines) == 1
    before, after = weights(base.path), weights(result.path)
    for name in before:
        kept = np.array_equal(before[name], after[name])
        assert kept or not name.startswith("visual.trunk.")
    assert not np.array_equal(
        before["visual.head.proj.weight"], after["visual.head.proj.weight"]
    )
    # Another training over the same images finds the features.
    wanted["output"]["path"] = str(tmp_path / "second")
    wanted["wrong_captions"] = 0.5
    lines.clear()
    winnow.train_filter(wanted, tell=lines.append)
    assert not any("once" in line for line in lines)


def test_weights_of_another_shape_are_named(pool, tmp_path, trained):
    wanted = recipe(pool, tmp_path / "out")
    other = json.loads(json.dumps(MODEL_CFG))
    other["embed_dim"] = 24
    wanted["model"] = {
        "architecture": other,
        "start": [{"part": "all", "weights": trained[0].name}],
    }
    with pytest.raises(ConfigError, match=r"another shape, .* and not"):
        winnow.train_filter(wanted)


def test_missing_weights_are_named(pool, tmp_path):
    save_file(
        {"conv1.weight": np.zeros((2, 2), np.float32)}, tmp_path / "w.safetensors"
    )
    wanted = recipe(pool, tmp_path / "out")
    wanted["model"]["start"] = [
        {"part": "visual", "weights": str(tmp_path / "w.safetensors")}
    ]
    with pytest.raises(ConfigError, match="weights are missing there"):
        winnow.train_filter(wanted)
    wanted["model"]["start"] = [{"weights": f"local-dir:{tmp_path}/nothing"}]
    with pytest.raises(ConfigError, match="no such folder"):
        winnow.train_filter(wanted)


def test_a_loss_that_is_no_number_stops_the_training(pool, tmp_path, monkeypatch):
    from winnow.filters.train import loop

    made = loop.make_loss

    def bad_at_last(kind, world):
        loss, calls = made(kind, world), iter(range(10**6))
        return lambda *found: loss(*found) * (float("nan") if next(calls) >= 7 else 1)

    monkeypatch.setattr(loop, "make_loss", bad_at_last)
    with pytest.raises(TrainingError, match=r"step 8: the loss is nan") as stopped:
        winnow.train_filter(recipe(pool, tmp_path / "out"))
    good = tmp_path / "out" / "state" / "step-00000006"
    assert str(good) in str(stopped.value)
    kept = load_file(good / "model.safetensors")
    assert all(np.isfinite(value).all() for value in kept.values())
    assert not (tmp_path / "out" / "open_clip_model.safetensors").exists()


def test_an_empty_pool_is_an_input_error(tmp_path):
    empty = write_pool(tmp_path / "empty", trusted_table(4).slice(0, 0), shards=1)
    with pytest.raises(InputError, match="0 of 0 rows are left to train on"):
        winnow.train_filter(recipe(empty, tmp_path / "out"))


def test_one_caption_for_each_image_is_enough(tmp_path):
    table = trusted_table(48, captions=1)
    texts = pa.array([each[0] for each in table["captions"].to_pylist()])
    table = table.set_column(2, "captions", texts)
    pool = write_pool(tmp_path / "pool", table)
    result = winnow.train_filter(recipe(pool, tmp_path / "out", epochs=1))
    assert result.trained_on == 36


@pytest.mark.parametrize("freeze", [[], ["visual"]])
def test_images_that_fail_to_decode_are_quarantined_and_counted(tmp_path, freeze):
    table = trusted_table(40)
    images = table["image"].to_pylist()
    images[3], images[7], images[11] = b"no picture", images[7][:60], None
    captions = table["captions"].to_pylist()
    captions[20] = [" ", None]
    table = pa.table({"uid": table["uid"], "image": images, "captions": captions})
    pool = write_pool(tmp_path / "pool", table)
    wanted = recipe(pool, tmp_path / "out", epochs=1)
    wanted["model"]["freeze"] = freeze
    wanted["data"][0]["hold_out"] = {"fraction": 0.0}
    result = winnow.train_filter(wanted)
    assert sum(result.left_out.values()) == 4
    assert result.trained_on + result.held_out == 36
    rows = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    reasons = {row["uid"]: row["reason"] for row in rows}
    assert reasons["s0-0003"].startswith("image_undecodable")
    assert reasons["s0-0007"].startswith("image_")
    assert reasons["s0-0011"] == "image_missing"
    assert reasons["s0-0020"] == "caption_missing"


def test_held_out_uids_and_equal_captions_stay_out_of_the_training(tmp_path):
    table = trusted_table(40)
    captions = table["captions"].to_pylist()
    captions[5] = ["Red  LEFT 9", *captions[5][1:]]
    captions[9] = ["red left 9", *captions[9][1:]]
    table = table.set_column(2, "captions", pa.array(captions))
    pool = write_pool(tmp_path / "pool", table)
    (tmp_path / "held.txt").write_text("s0-0009\ns0-0010\n")
    wanted = recipe(pool, tmp_path / "out", epochs=1)
    wanted["data"][0]["hold_out"] = {"uids": str(tmp_path / "held.txt")}
    result = winnow.train_filter(wanted)
    assert result.held_out == 2
    assert result.trained_on == 37
    assert result.left_out == {"caption_held_out": 1}


def test_a_fraction_holds_out_rows_of_equal_captions_together(tmp_path):
    table = trusted_table(60)
    pairs = [[f"pair {row // 2}"] for row in range(60)]
    table = table.set_column(2, "captions", pa.array(pairs))
    pool = write_pool(tmp_path / "pool", table)
    result = winnow.train_filter(recipe(pool, tmp_path / "out", epochs=1))
    held = set((result.path / "held_out.txt").read_text().split())
    assert len(held) in (14, 15)
    assert all((f"s0-{int(u[3:]) ^ 1:04d}" in held) for u in held)
    assert result.left_out == {}


def test_a_second_stage_starts_from_the_first(pool, tmp_path):
    wanted = recipe(pool, tmp_path / "out", epochs=2)
    wanted["fine_tune"] = {
        "data": wanted["data"],
        "optimise": {**wanted["optimise"], "epochs": 1, "learning_rate": 1e-6},
    }
    result = winnow.train_filter(wanted)
    first, second = weights(result.path / "first_stage"), weights(result.path)
    gaps = [np.abs(first[name] - second[name]).max() for name in first]
    assert 0 < max(gaps) < 1e-4
    assert (
        manifest(result.path)["starts"][0]["sha256"]
        == (manifest(result.path / "first_stage")["weights"]["sha256"])
    )


def test_early_stopping_keeps_the_best_weights(pool, tmp_path):
    result = winnow.train_filter(
        recipe(pool, tmp_path / "out", epochs=60, learning_rate=1e-2, patience=2)
    )
    record = manifest(result.path)["result"]
    assert record["ended"] == "early"
    assert record["steps"] < 60 * 4
    curve = pq.read_table(result.path / "curves.parquet").to_pylist()
    assert [e["auc"] for e in curve if e["step"] == record["best_step"]] == [result.auc]
    assert all(entry["auc"] <= result.auc for entry in curve[-2:])


@pytest.mark.parametrize("loss", ["clip", "siglip"])
def test_bfloat16_and_siglip_train(pool, tmp_path, loss):
    result = winnow.train_filter(
        recipe(pool, tmp_path / loss, loss=loss, precision="bfloat16", epochs=1)
    )
    curve = pq.read_table(result.path / "curves.parquet").to_pylist()
    assert np.isfinite(curve[-1]["loss"])
    assert ("logit_bias" in weights(result.path)) == (loss == "siglip")


def test_the_logit_scale_is_bounded(pool, tmp_path):
    result = winnow.train_filter(
        recipe(pool, tmp_path / "out", epochs=2, max_logit_scale=1.5)
    )
    # It starts at ln(1/0.07) = 2.66.
    assert 1.4 < weights(result.path)["logit_scale"] <= 1.5


def test_the_command_trains_and_tells(pool, tmp_path, capsys):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe(pool, tmp_path / "unused", epochs=1)))
    words = ["--out", str(tmp_path / "out"), "--set", "seed=8", "--json"]
    assert cli.main(["filter", "train", str(file), *words]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["model"] == f"local-dir:{tmp_path / 'out'}"
    assert manifest(tmp_path / "out")["seed"] == 8
    assert "step" not in said.err


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["clip", "siglip"])
def test_two_processes_train_what_one_trains(pool, tmp_path, loss):
    wanted = recipe(pool, tmp_path / "one", loss=loss, epochs=2)
    winnow.train_filter(wanted)
    file = tmp_path / "recipe.yaml"
    wanted["output"]["path"] = str(tmp_path / "two")
    file.write_text(yaml.safe_dump(wanted))
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone",
         "--nproc-per-node", "2", "-m", "winnow", "filter", "train", str(file)],
        check=True, timeout=300,
    )  # fmt: skip
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    moved = {name: np.abs(one[name] - two[name]).max() for name in one}
    assert max(moved.values()) < 1e-4, moved


def test_two_pools_are_measured_apart_and_their_passes_found_again(pool, tmp_path):
    other = write_pool(tmp_path / "other", trusted_table(40, seed=5))
    wanted = recipe(pool, tmp_path / "both", epochs=2, learning_rate=1e-2)
    wanted["model"]["start"] = []
    wanted["model"]["freeze"] = ["visual"]
    wanted["output"]["cache"] = str(tmp_path / "cache")
    wanted["data"] += [{**wanted["data"][0], "path": str(other)}]
    lines: list[str] = []
    result = winnow.train_filter(wanted, tell=lines.append)
    assert result.held_out == 24 + 10
    # A caption that one pool holds out may stand in the other.
    spare = result.left_out.get("caption_held_out", 0)
    assert result.trained_on + spare == 72 + 30
    assert sum("once" in line for line in lines) == 2
    by_pool = manifest(result.path)["result"]["auc_by_pool"]
    assert set(by_pool) == {"0", "1"}
    assert min(by_pool.values()) <= result.auc <= max(by_pool.values())
    lines.clear()
    wanted["data"] = wanted["data"][1:]
    wanted["output"]["path"] = str(tmp_path / "one")
    winnow.train_filter(wanted, tell=lines.append)
    assert not any("once" in line for line in lines)


def test_with_nothing_held_out_the_last_weights_are_kept(pool, tmp_path):
    wanted = recipe(pool, tmp_path / "out", epochs=3, patience=1)
    wanted["data"][0]["hold_out"] = {"fraction": 0}
    result = winnow.train_filter(wanted)
    assert result.trained_on == ROWS
    record = manifest(result.path)["result"]
    assert record["best_step"] == record["steps"] == 18


def test_a_file_of_other_uids_to_hold_out_is_an_error(pool, tmp_path):
    (tmp_path / "held.txt").write_text("nobody\n")
    wanted = recipe(pool, tmp_path / "out")
    wanted["data"][0]["hold_out"] = {"uids": str(tmp_path / "held.txt")}
    with pytest.raises(ConfigError, match="none of the 1 uids"):
        winnow.train_filter(wanted)


def test_two_processes_do_not_train_into_one_folder(pool, tmp_path):
    wanted = recipe(pool, tmp_path / "out", epochs=1)
    state = tmp_path / "out" / "state"
    state.mkdir(parents=True)
    with (state / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another process is training"):
            winnow.train_filter(wanted)
    assert winnow.train_filter(wanted).steps == 4
