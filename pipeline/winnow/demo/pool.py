"""A pool of captioned scenes in Parquet shards, with known defects planted in it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.core.errors import ConfigError
from winnow.core.hashing import digest
from winnow.demo.captions import describe, plain_name, reword
from winnow.demo.copies import copy, decode
from winnow.demo.drawing import jpeg, render
from winnow.demo.scenes import Scene, compose, generator, jitter

#: Planted defect → share of the rows. The rest is good data.
DEFECTS: dict[str, float] = {
    # The same sample again, byte by byte.
    "exact_copy": 0.03,
    # The same picture in another file, with another true caption.
    "reencoded_copy": 0.04,
    "resized_copy": 0.03,
    "cropped_copy": 0.04,
    # The scene rendered anew with shapes moved by a pixel, the caption by a word.
    "near_copy": 0.04,
    # Another scene's caption, with no shape in common.
    "mismatched_caption": 0.06,
    # One text that a site repeats under all of its images.
    "boilerplate_caption": 0.04,
    # One or two words.
    "short_caption": 0.02,
    # Sides below 48 pixels.
    "tiny_image": 0.015,
    # More than four times as wide as high, or the reverse.
    "extreme_aspect": 0.015,
    "truncated_file": 0.01,
    "random_bytes": 0.005,
    "empty_file": 0.005,
}
#: Defects that repeat a good row; `original` of the truth names it.
COPIES = (
    "exact_copy",
    "reencoded_copy",
    "resized_copy",
    "cropped_copy",
    "near_copy",
)
BOILERPLATE = (
    "click to enlarge",
    "stock photo 12345",
    "image not available in your region",
    "Part of the Riverside collection",
)
SOURCES = ("atlas", "gallery", "journal", "market", "scrapbook")

SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("text", pa.string()),
        ("image", pa.binary()),
        ("concept", pa.string()),
        ("source", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)
TRUTH = pa.schema(
    [
        ("uid", pa.string()),
        # Null for good data.
        ("defect", pa.string()),
        ("original", pa.string()),
        ("concept", pa.string()),
    ]
)


@dataclass(slots=True)
class _Sample:
    uid: str
    scene: Scene
    text: str
    image: bytes
    size: tuple[int, int]
    source: str
    defect: str | None = None
    original: str | None = None


def make_pool(
    folder: str | Path, *, rows: int = 3000, seed: int = 0, shards: int = 4
) -> pa.Table:
    """Write `folder`/shards/*.parquet and `folder`/truth.parquet; return the truth.

    The same arguments write the same samples. The truth has one row per sample, in
    the order of the shards: uid, defect (a key of DEFECTS, or null), original (uid of
    the good row that a copy repeats, or null), concept.
    """
    if rows < 200:
        raise ConfigError(f"a pool needs at least 200 rows to hold defects, not {rows}")
    samples = list(_samples(rows, seed))
    generator("order", seed).shuffle(samples)
    target = Path(folder) / "shards"
    target.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        part = samples[rows * shard // shards : rows * (shard + 1) // shards]
        pq.write_table(_shard(part), target / f"{shard:05d}.parquet")
    truth = pa.Table.from_pylist(
        [
            {
                "uid": s.uid,
                "defect": s.defect,
                "original": s.original,
                "concept": s.scene.concept,
            }
            for s in samples
        ],
        TRUTH,
    )
    pq.write_table(truth, Path(folder) / "truth.parquet")
    return truth


def defect_counts(rows: int) -> dict[str, int]:
    """Return how many rows of each defect a pool of `rows` rows holds."""
    return {defect: round(share * rows) for defect, share in DEFECTS.items()}


def _shard(samples: list[_Sample]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "uid": s.uid,
                "text": s.text,
                "image": s.image,
                "concept": s.scene.concept,
                "source": s.source,
                "width": s.size[0],
                "height": s.size[1],
            }
            for s in samples
        ],
        SCHEMA,
    )


def _samples(rows: int, seed: int) -> Iterator[_Sample]:
    counts = defect_counts(rows)
    good = [_good(seed, index) for index in range(rows - sum(counts.values()))]
    yield from good
    index = len(good)
    for defect, count in counts.items():
        for _ in range(count):
            rng = generator("defect", seed, index)
            if defect in COPIES:
                yield _copied(rng.choice(good), defect, _uid(seed, index), rng)
            else:
                yield _spoiled(_good(seed, index), defect, rng)
            index += 1


def _uid(seed: int, index: int) -> str:
    return digest(f"demo/{seed}/{index}".encode()).hex()


def _good(seed: int, index: int) -> _Sample:
    rng = generator("sample", seed, index)
    scene = compose(seed, index)
    # A few captions that say no more than they must, as in real pools.
    plain = len(scene.shapes) == 1 and rng.random() < 0.15
    image = render(scene)
    return _Sample(
        uid=_uid(seed, index),
        scene=scene,
        text=plain_name(scene) if plain else describe(scene, rng),
        image=jpeg(image, rng.randint(84, 94)),
        size=image.size,
        source=rng.choice(SOURCES),
    )


def _copied(good: _Sample, defect: str, uid: str, rng: random.Random) -> _Sample:
    text = describe(good.scene, rng)
    match defect:
        case "exact_copy":
            text, image = good.text, good.image
        case "reencoded_copy":
            image = copy(good.image, "reencoded", rng)
        case "resized_copy":
            image = copy(good.image, "resized", rng)
        case "cropped_copy":
            image = copy(good.image, "cropped", rng)
        case _:
            text = reword(good.text, rng)
            image = jpeg(render(jitter(good.scene, rng)))
    size = decode(image).size
    source = rng.choice(SOURCES)
    return _Sample(uid, good.scene, text, image, size, source, defect, good.uid)


def _spoiled(sample: _Sample, defect: str, rng: random.Random) -> _Sample:
    sample.defect = defect
    match defect:
        case "mismatched_caption":
            sample.text = describe(_unlike(sample.scene, rng), rng)
        case "boilerplate_caption":
            sample.text = rng.choice(BOILERPLATE)
        case "short_caption":
            shape = sample.scene.shapes[0]
            sample.text = rng.choice((shape.kind, f"{shape.colour} {shape.kind}"))
        case "tiny_image":
            side = rng.randint(16, 44)
            _reshape(sample, (side, side))
        case "extreme_aspect":
            long, short = rng.randint(420, 520), rng.randint(80, 96)
            _reshape(sample, (long, short) if rng.random() < 0.5 else (short, long))
        case "truncated_file":
            # Half a file: the header is whole, the picture is not.
            sample.image = sample.image[
                : int(len(sample.image) * rng.uniform(0.4, 0.7))
            ]
        case "random_bytes":
            sample.image = rng.randbytes(len(sample.image))
        case _:
            sample.image = b""
    return sample


def _reshape(sample: _Sample, size: tuple[int, int]) -> None:
    sample.image = jpeg(decode(sample.image).resize(size))
    sample.size = size


def _unlike(scene: Scene, rng: random.Random) -> Scene:
    """Return a scene that shares no coloured shape with this one, nor its ground."""
    while True:
        other = compose(0, rng.getrandbits(40))
        alike = other.parts() & scene.parts()
        if not alike and other.ground.colour != scene.ground.colour:
            return other
