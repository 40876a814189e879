"""Every shipped recipe, from a wheel, on tiny pools, in every precision.

What only a GPU computes by default, float16, torch computes on a CPU as well.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.conftest import TEXT, hex_uid, picture
from tests.datacomp_metadata import settings, write_metadata
from tests.trusted_pool import MODEL_CFG

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

#: Runs the commands of a file, a JSON list of lists, in one process of the wheel.
COMMANDS = """
import json, sys
import winnow
from winnow.cli.main import main
assert winnow.__file__.startswith(sys.argv[2]), winnow.__file__
for line in json.load(open(sys.argv[1])):
    code = main(line)
    if code:
        sys.exit(f"{line}: {code}")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a wheel's contents."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d"]
    subprocess.run([*build, folder], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("datawinnow-*.whl")
    shutil.unpack_archive(wheel, folder / "site", "zip")
    return folder / "site"


@pytest.fixture(scope="module")
def inputs(
    tmp_path_factory: pytest.TempPathFactory,
    picture_table: Callable[..., pa.Table],
    tiny_resnet: str,
) -> Path:
    """Return a folder with what the recipes read: pools, a lake and checkpoints."""
    folder = tmp_path_factory.mktemp("inputs")
    for name in ("data", "texts", "trusted", "photos", "lake"):
        (folder / name).mkdir()
    table = picture_table(40)
    pq.write_table(table, folder / "data/0.parquet")
    pq.write_table(table.select(["uid", "text"]), folder / "texts/0.parquet")
    write_metadata(folder)
    several = pa.table(
        {
            "uid": [hex_uid(row) for row in range(40)],
            "image": [picture(row) for row in range(40)],
            "text": [f"box {row}" for row in range(40)],
            "captions": [[f"box {row}", f"number {row}"] for row in range(40)],
        }
    )
    for name in ("trusted", "photos"):
        pq.write_table(several, folder / name / "0.parquet")
    rows = pa.table({"n": range(60), "m": [str(row) for row in range(60)]})
    pq.write_table(rows, folder / "lake/whole.parquet")
    pq.write_table(rows.slice(5, 30), folder / "lake/part.parquet")
    shutil.copytree(tiny_resnet.removeprefix("local-dir:"), folder / "tiny")
    _save_trunk(folder / "lite0")
    return folder


def _save_trunk(folder: Path) -> None:
    """Save an untrained checkpoint of the tower that `filter_photos` freezes."""
    from winnow.models.torchvision_ops import ensure_torchvision

    ensure_torchvision()
    import open_clip
    import torch
    from safetensors.torch import save_file

    recipe = yaml.safe_load((ROOT / "conf/filter_photos.yaml").read_text())
    vision = {**recipe["model"]["architecture"]["vision_cfg"], "timm_drop": 0.0}
    cfg = {"embed_dim": 256, "vision_cfg": vision, "text_cfg": TEXT}
    torch.manual_seed(0)
    model = open_clip.CLIP(**cfg)
    folder.mkdir()
    described = {"model_cfg": cfg, "preprocess_cfg": recipe["model"]["preprocessing"]}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")


def setting(key: str, value: Any) -> list[str]:
    return ["--set", f"{key}={json.dumps(value)}"]


def sample_run(name: str, inputs: Path, precision: str) -> list[str]:
    if name.startswith("datacomp/"):
        line = ["run", name, *setting("input.path", str(inputs / "metadata"))]
        recipe = yaml.safe_load((ROOT / f"conf/{name}.yaml").read_text())
        for key, value in settings(inputs).items():
            if key.split(".")[0] in recipe:
                line += setting(key, value)
        return line
    with_model = name not in ("text_dedup", "photo_audit")
    pool = "texts" if name == "text_dedup" else "data"
    line = ["run", name, *setting("input.path", str(inputs / pool))]
    if with_model:
        line += setting("model.name", f"local-dir:{inputs}/tiny")
        line += setting("model.pretrained", None)
        line += setting("model.precision", precision)
    return line


def training(name: str, inputs: Path, precision: str) -> list[str]:
    line = ["filter", "train", name, *setting("model.frozen_precision", precision)]
    # float32 and bfloat16 are what a training's own steps compute in.
    if precision == "bfloat16":
        line += setting("optimise.precision", precision)
    columns = {"uid": "uid", "image": "image", "text": "text"}
    pool = inputs / "trusted"
    if name == "filter_photos":
        columns["text"] = "captions"
        pool = inputs / "photos"
        start = [{"part": "visual", "weights": f"local-dir:{inputs}/lite0"}]
        line += setting("model.start", start)
    else:
        line += setting("model.architecture", MODEL_CFG)
    held = {"fraction": 0.25}
    line += setting("data", [{"path": str(pool), "columns": columns, "hold_out": held}])
    small = {"batch_size": 15, "epochs": 1, "eval_every": 1, "threads": 1}
    for key, value in small.items():
        line += setting(f"optimise.{key}", value)
    return line


def commands(site: Path, inputs: Path, out: Path, precision: str) -> list[list[str]]:
    """Return the command line of every recipe that the wheel holds.

    In another precision than their own, of those that compute in one.
    """
    lines = []
    conf = site / "winnow" / "conf"
    for file in sorted(conf.rglob("*.yaml")):
        name = file.relative_to(conf).with_suffix("").as_posix()
        if name.startswith("engine/"):
            continue
        flow = yaml.safe_load(file.read_text()).get("flow", "image_text")
        if flow == "table_lake":
            line = ["run", name, *setting("input.path", str(inputs / "lake"))]
        elif flow == "filter_train":
            line = training(name, inputs, precision)
        else:
            line = sample_run(name, inputs, precision)
        if precision == "auto" or any("precision=" in word for word in line):
            lines.append([*line, "--out", str(out / name), "--json"])
    return lines


@pytest.mark.parametrize(
    "precision",
    [
        *("auto", "bfloat16", "float16"),
        # What most tests compute in.
        pytest.param("float32", marks=pytest.mark.soak),
    ],
)
def test_every_shipped_recipe_runs(
    site: Path, inputs: Path, tmp_path: Path, precision: str
) -> None:
    lines = commands(site, inputs, tmp_path / "out", precision)
    named = {line[1] for line in lines}
    assert named >= {"image_text", "train"}
    assert (precision == "auto") == (named >= {"text_dedup", "table_lake"})
    file = tmp_path / "commands.json"
    file.write_text(json.dumps(lines))
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(file), str(site)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done.stderr
    for line in lines:
        out = Path(line[line.index("--out") + 1])
        assert (out / "manifest.json").is_file(), out
    trained = tmp_path / "out/filter_photos/open_clip_model.safetensors"
    assert trained.is_file()
    cache = tmp_path / "out/filter_photos/cache"
    (features,) = cache.glob("features-*/features.npy")
    assert np.isfinite(np.load(features)).all()
