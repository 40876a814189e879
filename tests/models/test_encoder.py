"""Encoders: parity with open_clip, independence of rows, errors before random weights.

The same assertions hold for tiny checkpoints of random weights and, where it is at
hand, for a trained one.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from winnow.core.errors import ConfigError
from winnow.models.encoder import Encoder, ModelSpec, load_encoder

RNG = np.random.default_rng(0)
TEXTS = [
    "a red ball",
    "",
    "Ein Hund",
    "two trees & a house",
    "a red ball",
    "猫",
    "x",
    "y",
]


def pictures(count: int) -> list[Image.Image]:
    sizes = RNG.integers(20, 90, (count, 2))
    return [
        Image.fromarray(RNG.integers(0, 256, (h, w, 3), np.uint8)).resize((w, h))
        for h, w in sizes
    ]


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def by_open_clip(name: str, images: list[Image.Image], texts: list[str]) -> Any:
    import open_clip
    import torch

    model, _, preprocess = open_clip.create_model_and_transforms(name)
    tokens = open_clip.get_tokenizer(name)(texts)
    pixels = torch.stack([preprocess(image) for image in images])
    with torch.inference_mode():
        vectors = (
            model.eval().encode_image(pixels, normalize=True),
            model.encode_text(tokens, normalize=True),
        )
    return [v.numpy() for v in vectors]


def assert_parity(name: str, images: list[Image.Image], texts: list[str]) -> None:
    encoder = load_encoder(ModelSpec(name, precision="float32", batch_size=16))
    pixels = np.stack([encoder.prepare(png(image)) for image in images])
    image_vectors, text_vectors = by_open_clip(name, images, texts)
    assert np.abs(encoder.encode_images(pixels) - image_vectors).max() < 1e-4
    assert np.abs(encoder.encode_texts(texts) - text_vectors).max() < 1e-4


@pytest.mark.parametrize(
    ("tower", "resize_mode"),
    [("vit", "squash"), ("vit", "shortest"), ("vit", "longest"), ("resnet", "squash")],
)
def test_float32_vectors_equal_open_clips(
    save_checkpoint: Callable[..., str], tower: str, resize_mode: str
) -> None:
    name = save_checkpoint(tower, resize_mode=resize_mode, fill_color=99)
    assert_parity(name, pictures(20), TEXTS)


def test_bilinear_models_are_resized_bilinearly(
    save_checkpoint: Callable[..., str],
) -> None:
    assert_parity(save_checkpoint(interpolation="bilinear"), pictures(8), TEXTS)


@pytest.mark.shared
@pytest.mark.parametrize(
    "resize_mode", ["squash", pytest.param("shortest", marks=pytest.mark.slow)]
)
def test_float32_vectors_equal_open_clips_on_real_images(
    shared: Path, tmp_path: Path, resize_mode: str
) -> None:
    for file in (shared / "models/lite0").glob("open_clip_*"):
        shutil.copyfile(file, tmp_path / file.name)
    config = tmp_path / "open_clip_config.json"
    cfg = json.loads(config.read_text())
    cfg["preprocess_cfg"]["resize_mode"] = resize_mode
    config.write_text(json.dumps(cfg))
    rows = pq.read_table(shared / "data/clipart/00000.parquet").slice(0, 16)
    images = [Image.open(io.BytesIO(b)) for b in rows["image"].to_pylist()]
    texts = [text or "" for text in rows["text"].to_pylist()]
    assert_parity(f"local-dir:{tmp_path}", images, texts)


def every_precision(name: str, size: int = 8) -> list[Encoder]:
    specs = [
        ModelSpec(name, precision=precision, batch_size=size)
        for precision in ("float32", "bfloat16")
    ]
    return [load_encoder(spec) for spec in specs]


LITE0 = pytest.param("lite0", marks=pytest.mark.slow)


@pytest.fixture(params=["tiny_vit", "tiny_resnet", LITE0])
def checkpoint(request: pytest.FixtureRequest) -> str:
    if request.param == "lite0":
        return f"local-dir:{request.getfixturevalue('shared')}/models/lite0"
    name: str = request.getfixturevalue(request.param)
    return name


def test_a_vector_does_not_depend_on_position_neighbours_or_padding(
    checkpoint: str,
) -> None:
    order = np.random.default_rng(3).permutation(8)
    for encoder in every_precision(checkpoint):
        side = encoder.preprocess.height
        pixels = RNG.integers(0, 256, (8, side, side, 3), np.uint8)
        images, texts = encoder.encode_images(pixels), encoder.encode_texts(TEXTS)
        assert np.array_equal(encoder.encode_images(pixels[order]), images[order])
        shuffled = encoder.encode_texts([TEXTS[i] for i in order])
        assert np.array_equal(shuffled, texts[order])
        for rows in (1, 3):
            assert np.array_equal(encoder.encode_images(pixels[:rows]), images[:rows])
            assert np.array_equal(encoder.encode_texts(TEXTS[:rows]), texts[:rows])
        many = encoder.encode_images(np.concatenate([pixels, pixels[:3]]))
        assert np.array_equal(many, np.concatenate([images, images[:3]]))


@pytest.mark.slow
def test_the_batch_size_hardly_matters(checkpoint: str) -> None:
    side = every_precision(checkpoint)[0].preprocess.height
    pixels = RNG.integers(0, 256, (8, side, side, 3), np.uint8)
    # bfloat16 has 8 bits of mantissa: kernels for other shapes round elsewhere.
    for (one, other), tolerance in zip(
        zip(
            every_precision(checkpoint, 8), every_precision(checkpoint, 3), strict=True
        ),
        (1e-5, 2e-2),
        strict=True,
    ):
        images = one.encode_images(pixels) - other.encode_images(pixels)
        texts = one.encode_texts(TEXTS) - other.encode_texts(TEXTS)
        assert max(np.abs(images).max(), np.abs(texts).max()) <= tolerance


def test_bfloat16_stays_close_to_float32(checkpoint: str) -> None:
    exact, rounded = every_precision(checkpoint)
    side = exact.preprocess.height
    pixels = RNG.integers(0, 256, (8, side, side, 3), np.uint8)
    cosine = (exact.encode_images(pixels) * rounded.encode_images(pixels)).sum(axis=1)
    assert cosine.min() > 0.98
    cosine = (exact.encode_texts(TEXTS) * rounded.encode_texts(TEXTS)).sum(axis=1)
    assert cosine.min() > 0.999
    assert exact.precision == "float32"
    assert rounded.precision == "bfloat16"


def test_vectors_are_unit_float32(tiny_vit: str) -> None:
    for encoder in every_precision(tiny_vit):
        vectors = encoder.encode_texts(TEXTS)
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(TEXTS), encoder.dim)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_the_tail_of_a_huge_caption_does_not_matter(tiny_vit: str) -> None:
    encoder = load_encoder(ModelSpec(tiny_vit, batch_size=8))
    # Byte pair encoding 10 MB without a blank would outlast any patience.
    huge = encoder.encode_texts(["ab" * 5_000_000])
    assert np.array_equal(huge, encoder.encode_texts(["ab" * 5_000]))
    words = "seven words of English in a row " * 100
    assert np.array_equal(
        encoder.tokenize([words]), encoder._tokenizer([words]).numpy()
    )


def test_remembered_words_are_bounded(
    tiny_vit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("winnow.models.encoder._REMEMBERED_WORDS", 100)
    encoder = load_encoder(ModelSpec(tiny_vit, batch_size=8))
    before = encoder.tokenize(TEXTS)
    for start in range(0, 2000, 50):
        encoder.tokenize(
            [f"word{chr(97 + i % 26)}{i * 'q'}" for i in range(start % 50)]
        )
        encoder.tokenize([f"{chr(97 + start % 26) * (start + 1)}"])
    assert len(encoder._tokenizer.cache) <= 250
    assert np.array_equal(encoder.tokenize(TEXTS), before)


def test_an_encoder_is_loaded_once(tiny_vit: str) -> None:
    spec = ModelSpec(tiny_vit, batch_size=5)
    assert load_encoder(spec) is load_encoder(ModelSpec(tiny_vit, batch_size=5))


def test_the_identity_is_plain_and_complete(tiny_vit: str) -> None:
    identity = load_encoder(ModelSpec(tiny_vit, precision="float32")).identity
    assert json.loads(json.dumps(identity)) == identity
    assert identity["mean"] == [0.5, 0.4, 0.3]
    assert identity["resize_mode"] == "shortest"
    assert identity["image_size"] == [32, 32]
    assert identity["precision"] == "float32"
    assert len(identity["weights_sha256"]) == 64


def test_auto_precision_is_resolved(tiny_vit: str) -> None:
    encoder = load_encoder(ModelSpec(tiny_vit))
    assert encoder.precision in ("float32", "bfloat16", "float16")


def without(folder: str, file: str, tmp_path: Path) -> str:
    shutil.copytree(folder.removeprefix("local-dir:"), tmp_path / "copy")
    (tmp_path / "copy" / file).unlink()
    return f"local-dir:{tmp_path}/copy"


def test_a_folder_without_weights_is_an_error(tiny_vit: str, tmp_path: Path) -> None:
    name = without(tiny_vit, "open_clip_model.safetensors", tmp_path)
    with pytest.raises(ConfigError, match="holds no weights"):
        load_encoder(ModelSpec(name))


def test_a_folder_without_a_config_is_an_error(tiny_vit: str, tmp_path: Path) -> None:
    name = without(tiny_vit, "open_clip_config.json", tmp_path)
    with pytest.raises(ConfigError, match=r"holds no open_clip_config\.json"):
        load_encoder(ModelSpec(name))


def test_weights_of_another_architecture_are_an_error(
    tiny_vit: str, tiny_resnet: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_vit.removeprefix("local-dir:"), copy)
    weights = "open_clip_model.safetensors"
    shutil.copyfile(
        Path(tiny_resnet.removeprefix("local-dir:")) / weights, copy / weights
    )
    with pytest.raises(ConfigError, match="belong to its architecture"):
        load_encoder(ModelSpec(f"local-dir:{copy}"))


def test_pickled_code_is_never_run(tiny_vit: str, tmp_path: Path) -> None:
    import pickle

    name = without(tiny_vit, "open_clip_model.safetensors", tmp_path)
    mark = tmp_path / "run"

    class Hostile:
        def __reduce__(self) -> Any:
            return (Path.touch, (mark,))

    weights = Path(name.removeprefix("local-dir:")) / "open_clip_pytorch_model.bin"
    weights.write_bytes(pickle.dumps({"state_dict": Hostile()}))
    with pytest.raises(ConfigError, match="cannot load"):
        load_encoder(ModelSpec(name))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ModelSpec("local-dir:/nowhere"), "no such folder"),
        (ModelSpec("ViT-B-23", "openai"), "did you mean 'ViT-B-32'"),
        (ModelSpec("ViT-B-32"), "model.pretrained is missing.*openai"),
        (ModelSpec("ViT-B-32", "openia"), "did you mean 'openai'"),
        (ModelSpec("ViT-B-32", "openai", precision="half"), "model.precision: unknown"),
        (ModelSpec("ViT-B-32", "openai", batch_size=0), "at least 1"),
    ],
)
def test_a_spec_that_cannot_work_says_why(spec: ModelSpec, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_encoder(spec)


def test_an_unreachable_hub_names_the_way_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    from winnow.models.torchvision_ops import ensure_torchvision

    ensure_torchvision()
    monkeypatch.setattr("open_clip.download_pretrained", unreachable)
    with pytest.raises(ConfigError, match=r"no route to host; .*local-dir:"):
        load_encoder(ModelSpec("ViT-B-32", "openai"))


@pytest.mark.shared
def test_swapped_captions_lower_the_mean_score_of_true_pairs(shared: Path) -> None:
    spec = ModelSpec(f"local-dir:{shared}/models/lite0", batch_size=32)
    encoder = load_encoder(spec)
    rows = pq.read_table(shared / "data/photos/00000.parquet").slice(0, 32)
    images = encoder.encode_images(
        np.stack([encoder.prepare(b) for b in rows["image"].to_pylist()])
    )
    captions = rows["text"].to_pylist()
    score = (images * encoder.encode_texts(captions)).sum(axis=1).mean()
    captions[3], captions[20] = captions[20], captions[3]
    swapped = (images * encoder.encode_texts(captions)).sum(axis=1).mean()
    assert swapped < score


def test_a_large_jpeg_is_reduced_where_that_is_asked_for(
    save_checkpoint: Callable[..., str],
) -> None:
    name = save_checkpoint("vit")
    exact, reduced = (
        load_encoder(ModelSpec(name, precision="float32", exact_decode=exact))
        for exact in (True, False)
    )
    side = 8 * max(exact.preprocess.height, exact.preprocess.width)
    file = io.BytesIO()
    noise = RNG.integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(noise).save(file, "JPEG", quality=90)
    data = file.getvalue()
    assert (exact.prepare(data) != reduced.prepare(data)).any()
    # What is smaller than twice the model's picture, and what is painted over, is not.
    box = [((0, 0, 1, 1))]
    assert (exact.prepare(data, box) == reduced.prepare(data, box)).all()
    small, large = (
        png(Image.fromarray(noise[:end, :end])) for end in (side // 8, side // 2)
    )
    assert (exact.prepare(small) == reduced.prepare(small)).all()
    # Of other files all pixels are read; resized, they are next to the exact ones.
    levels = exact.prepare(large).astype(int) - reduced.prepare(large)
    assert np.abs(levels).max() <= 3
    assert exact.identity != reduced.identity


@pytest.mark.shared
@pytest.mark.slow
def test_vectors_do_not_depend_on_the_number_of_threads(shared: Path) -> None:
    import torch

    spec = ModelSpec(f"local-dir:{shared}/models/lite0", precision="bfloat16")
    encoder = load_encoder(spec)
    rows = pq.read_table(shared / "data/clipart/00000.parquet").slice(0, 256)
    pixels = np.stack([encoder.prepare(image) for image in rows["image"].to_pylist()])
    before, vectors = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            vectors.append(encoder.encode_images(pixels))
    finally:
        torch.set_num_threads(before)
    assert all(np.array_equal(vectors[0], other) for other in vectors[1:])
