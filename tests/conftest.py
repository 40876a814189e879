"""Fixtures that the whole suite shares: real inputs, small pools, runs over them."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings

from tests.examples import draw_all, examples

# Tests import torch before the product can ask for this: the threads of two processes
# on two cores would wait for one another in busy loops.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# They compute with it before the product can ask for this, too: sums that do not depend
# on the number of threads (`leave_out_tile_kernels`).
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16")


def pytest_configure(config: pytest.Config) -> None:
    """Draw all examples of property tests where soak tests run, too."""
    # For a file that is named, pytest collects its folder anew, and for files named
    # after it no longer finds the fixtures of folders below: these come first.
    config.args.sort()
    chosen = config.option.markexpr
    if "not slow" not in chosen and "not soak" not in chosen:
        draw_all()
    # How long an example takes says how busy the machine is.
    settings.register_profile(
        "winnow",
        deadline=None,
        max_examples=examples(30, 100),
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("winnow")


#: Fixtures of pages: `chromium`, `browser`, `visit`; of a cluster: `java`,
#: `make_cluster`, `spark_cluster`.
pytest_plugins = ("tests.browser", "tests.cluster")

#: Fixtures that start a cluster: their tests run in one process, one after another.
CLUSTERS = {"make_cluster", "spark_cluster"}

DIM = 16
WORDS = ["red", "blue", "cat", "dog", "house", "tree", "sun", "moon"]


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process, and those of clusters in another.

    Theirs come first: they are the longest of what one process does alone. They are
    slow, and soak tests are, too, so that `-m "not slow"` leaves all of them out.
    """
    for item in items:
        if item.get_closest_marker("soak") or _on_cluster(item):
            item.add_marker(pytest.mark.slow)
        group = "cluster" if _on_cluster(item) else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: not _on_cluster(item))


def pytest_collection_finish() -> None:
    """Leave what has been collected out of every later collection of garbage.

    The tests and the modules that they import stay to the end, and are most of what a
    process holds: looking through them took half a second each time.
    """
    gc.freeze()


def _on_cluster(item: pytest.Item) -> bool:
    fixtures = CLUSTERS.intersection(getattr(item, "fixturenames", ()))
    return bool(fixtures) or item.get_closest_marker("cluster") is not None


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real inputs beside the checkout, or skip."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("WINNOW_SHARED", beside))
    if not (folder / "data").is_dir():
        pytest.skip(f"no data in {folder}; set WINNOW_SHARED to the folder of inputs")
    return folder


def hex_uid(number: int) -> str:
    return hashlib.md5(str(number).encode()).hexdigest()


def _planted_vectors(rows: int, rng: np.random.Generator) -> np.ndarray:
    """Six blobs of unequal size and width; every fifth row almost repeats another."""
    centres = rng.normal(size=(6, DIM))
    blob = rng.choice(6, rows, p=[0.35, 0.25, 0.15, 0.1, 0.1, 0.05])
    width = np.array([0.15, 0.3, 0.2, 0.5, 0.1, 0.4])[blob][:, None]
    vectors = centres[blob] + width * rng.normal(size=(rows, DIM))
    for row in range(5, rows, 5):
        noise = 0.02 * rng.normal(size=DIM)
        vectors[row] = vectors[int(rng.integers(row))] + noise
    return vectors.astype(np.float32)


@pytest.fixture(scope="session")
def planted_table() -> Callable[..., pa.Table]:
    """Return make(rows, seed): rows with ready-made vectors and planted duplicates.

    Columns: uid (32 hex), text, image (bytes that are no picture), iv and tv (vectors),
    width, height, and `extra`, a nested column that must travel through untouched.
    """

    def make(rows: int = 200, seed: int = 0) -> pa.Table:
        rng = np.random.default_rng(seed)
        image = _planted_vectors(rows, rng)
        mismatch = rng.uniform(0.1, 3.0, size=(rows, 1))
        text = image + mismatch * rng.normal(size=image.shape).astype(np.float32)
        contents = [f"picture {i - i % 7 if i % 7 == 1 else i}" for i in range(rows)]
        captions = [
            " ".join(rng.choice(WORDS, int(rng.integers(1, 6)))) for _ in range(rows)
        ]
        return pa.table(
            {
                "uid": [hex_uid(i) for i in range(rows)],
                "text": captions,
                "image": [content.encode() for content in contents],
                "iv": pa.array(list(image), pa.list_(pa.float32())),
                "tv": pa.array(list(text.astype(np.float32)), pa.list_(pa.float32())),
                "width": rng.integers(20, 400, rows),
                "height": rng.integers(20, 400, rows),
                "extra": [{"n": i, "tags": ["t"] * (i % 3)} for i in range(rows)],
            }
        )

    return make


@pytest.fixture(scope="session")
def write_shards() -> Callable[..., Path]:
    """Return write(folder, table, shard_rows, group_rows) -> folder of shards."""

    def write(
        folder: Path, table: pa.Table, shard_rows: int = 70, group_rows: int = 32
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for number, start in enumerate(range(0, max(len(table), 1), shard_rows)):
            pq.write_table(
                table.slice(start, shard_rows),
                folder / f"{number:05d}.parquet",
                row_group_size=group_rows,
            )
        return folder

    return write


@dataclass
class Finished:
    """A run and what it left, read back without Winnow."""

    path: Path
    result: Any

    def ledger(self, step: str) -> dict[str, dict[str, Any]]:
        table = self.ledger_table(step)
        return {row["uid"]: row for row in table.to_pylist()}

    def ledger_table(self, step: str) -> pa.Table:
        return _read(self.path / "ledger" / f"step={step}")

    def kept(self, step: str) -> set[str]:
        return {uid for uid, row in self.ledger(step).items() if row["keep"]}

    def output(self) -> pa.Table:
        return _read(self.path / "kept")

    def quarantine(self) -> list[dict[str, Any]]:
        return _read(self.path / "quarantine").to_pylist()

    def artifact(self, step: str, name: str) -> pa.Table:
        return _read(self.path / "artifacts" / step / name)

    def files(self) -> dict[str, bytes]:
        """Contents of all files of the run but lock and log, by relative path."""
        return {
            str(file.relative_to(self.path)): file.read_bytes()
            for file in sorted(self.path.rglob("*"))
            if file.is_file() and file.name not in (".lock", "winnow.log")
        }

    def times(self) -> dict[str, int]:
        """When each file and folder was last changed."""
        return {
            str(file.relative_to(self.path)): file.stat().st_mtime_ns
            for file in sorted(self.path.rglob("*"))
            if file.name not in (".lock", "winnow.log")
        }


def _read(folder: Path) -> pa.Table:
    files = sorted(folder.glob("*.parquet"))
    assert files, f"nothing in {folder}"
    return pa.concat_tables([pq.ParquetFile(file).read() for file in files])


@pytest.fixture(scope="session")
def read_run() -> Callable[..., Finished]:
    """Return read(path, result=None) -> Finished."""
    return lambda path, result=None: Finished(Path(path), result)


#: Sections of a recipe over ready-made vectors; tests override what they are about.
SECTIONS: dict[str, Any] = {
    "embed": {"image_column": "iv", "text_column": "tv"},
    "cluster": {"k": 5},
    "semantic": {"epsilon": 0.02},
    "rules": {"min_words": 2, "min_side": None, "max_aspect": None},
    "score": {"keep_fraction": 0.8},
    "complexity": {"keep_fraction": 0.5},
    "prototypes": {"keep_fraction": 0.5},
    "random": {"keep_fraction": 0.5},
    "uniform": {"keep_fraction": 0.5},
    "apply": {"shard_rows": 50},
}


@pytest.fixture(scope="session")
def vector_recipe() -> Callable[..., dict[str, Any]]:
    """Return make(pool, out, steps, **sections) -> a recipe as a mapping."""

    def make(
        pool: Path | str, out: Path, steps: Sequence[str], **sections: Any
    ) -> dict[str, Any]:
        recipe: dict[str, Any] = {
            "input": {"path": str(pool)},
            "output": {"path": str(out), "report": False},
            "steps": list(steps),
        }
        for step in steps:
            if step in SECTIONS:
                recipe[step] = SECTIONS[step]
        for name, values in sections.items():
            given = recipe.get(name)
            both = isinstance(given, dict) and isinstance(values, dict)
            recipe[name] = {**given, **values} if both else values
        return recipe

    return make


@pytest.fixture(scope="session")
def winnow(
    vector_recipe: Callable[..., dict[str, Any]],
) -> Callable[..., Finished]:
    """Return run(pool, out, steps, **sections) -> Finished."""
    import winnow

    def run(
        pool: Path | str, out: Path, steps: Sequence[str], **sections: Any
    ) -> Finished:
        result = winnow.run(vector_recipe(pool, out, steps, **sections))
        return Finished(Path(out), result)

    return run


@pytest.fixture(scope="session")
def planted_pool(
    tmp_path_factory: pytest.TempPathFactory,
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
) -> Path:
    """Return a pool of 200 rows with ready-made vectors in three shards."""
    return write_shards(tmp_path_factory.mktemp("planted"), planted_table())


def picture(number: int, side: int = 48, kind: str = "JPEG") -> bytes:
    """Return an encoded image of a few coloured boxes, another for each number."""
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(number)
    image = Image.new("RGB", (side, side + number % 5), tuple(rng.integers(0, 255, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        x, y = (int(v) for v in rng.integers(0, side - 12, 2))
        draw.rectangle((x, y, x + 12, y + 12), fill=tuple(rng.integers(0, 255, 3)))
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def make_picture() -> Callable[..., bytes]:
    return picture


@pytest.fixture(scope="session")
def picture_table(make_picture: Callable[..., bytes]) -> Callable[..., pa.Table]:
    """Return make(rows, seed): uid, url, text and JPEG images; every tenth repeats."""

    def make(rows: int = 60, seed: int = 0) -> pa.Table:
        rng = np.random.default_rng(seed)
        numbers = [i - 10 if i >= 10 and i % 10 == 3 else i for i in range(rows)]
        return pa.table(
            {
                "uid": [hex_uid(1000 + i) for i in range(rows)],
                "url": [f"https://example.org/{i}" for i in range(rows)],
                "text": [" ".join(rng.choice(WORDS, 4)) for _ in range(rows)],
                "image": [make_picture(number) for number in numbers],
            }
        )

    return make


VISION: dict[str, dict[str, Any]] = {
    "vit": {"layers": 2, "width": 32, "patch_size": 8, "head_width": 16},
    # A residual network has batch norms, which a transformer has not.
    "resnet": {"layers": [1, 1, 1, 1], "width": 16, "head_width": 64},
    # Sums of so many terms are what kernels of matrix tiles are used for.
    "wide": {"layers": 2, "width": 512, "patch_size": 8, "head_width": 64},
}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
PREPROCESS = {
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.3, 0.4],
    "interpolation": "bicubic",
}

Save = Callable[..., str]


@pytest.fixture(scope="session")
def save_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Save:
    """Return save(tower="vit", **preprocess) -> "local-dir:FOLDER"."""

    def save(tower: str = "vit", **preprocess: Any) -> str:
        from winnow.models.torchvision_ops import ensure_torchvision

        ensure_torchvision()
        import open_clip
        import torch
        from safetensors.torch import save_file

        cfg = {
            "embed_dim": 24,
            "vision_cfg": {"image_size": 32, **VISION[tower]},
            "text_cfg": TEXT,
        }
        torch.manual_seed(1)
        model = open_clip.CLIP(**cfg)
        for name, buffer in model.named_buffers():
            if "running" in name:  # as if trained: neither 0 nor 1
                buffer.uniform_(0.5, 2.0)
        folder: Path = tmp_path_factory.mktemp("checkpoint")
        (folder / "open_clip_config.json").write_text(
            json.dumps(
                {"model_cfg": cfg, "preprocess_cfg": {**PREPROCESS, **preprocess}}
            )
        )
        state = {name: value.contiguous() for name, value in model.state_dict().items()}
        save_file(state, folder / "open_clip_model.safetensors")
        return f"local-dir:{folder}"

    return save


@pytest.fixture(scope="session")
def tiny_vit(save_checkpoint: Save) -> str:
    return save_checkpoint("vit", resize_mode="shortest")


@pytest.fixture(scope="session")
def tiny_resnet(save_checkpoint: Save) -> str:
    return save_checkpoint("resnet", resize_mode="squash")
