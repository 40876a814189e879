"""Where a training's images come from: cached features, or files decoded ahead.

One pass over the pool decodes every image once, so that what cannot be decoded leaves
with its reason before the first step, and batches are known from then on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from winnow.core.run_log import about_row
from winnow.filters.train.augment import augmented
from winnow.filters.train.recipe import Augmentation
from winnow.models.encoder import Encoder
from winnow.models.images import DEFAULT_MAX_PIXELS, ImageRejected, decode_rgb
from winnow.models.preprocess import Preprocessing

#: (row, bytes or None, reason or None) of every image of a pool, each row once.
ImageRows = Iterator[tuple[int, bytes | None, str | None]]
Rejected = dict[int, str]
Tell = Callable[[int], None]

_AT_ONCE = 64


class Images(Protocol):
    """Images by row; safe in threads."""

    def training(
        self, rows: npt.NDArray[np.int64], epoch: int, view: int = 0
    ) -> npt.NDArray[Any]:
        """Return the (changed) images of rows: features, or uint8 pixels.

        view: another number, another change of the same image in the same epoch.
        """
        ...

    def plain(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return the images of rows as they are scored: features, or uint8 pixels."""
        ...


@dataclass(frozen=True)
class FeatureImages:
    """Features of a frozen tower, float32 (n, views, dim)."""

    features: npt.NDArray[np.float32]

    def training(
        self, rows: npt.NDArray[np.int64], epoch: int, view: int = 0
    ) -> npt.NDArray[Any]:
        """Return (rows, dim): another view of each image in each epoch."""
        return np.asarray(self.features[rows, (epoch + view) % self.features.shape[1]])

    def plain(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return (rows, dim) of the unchanged images."""
        return np.asarray(self.features[rows, 0])


@dataclass(frozen=True)
class FileImages:
    """Image files, one behind the other in one mapped file, decoded when asked for."""

    data: npt.NDArray[np.uint8]
    bounds: npt.NDArray[np.int64]
    uids: Sequence[str]
    preprocess: Preprocessing
    augmentation: Augmentation
    seed: int
    max_pixels: int = DEFAULT_MAX_PIXELS

    def training(
        self, rows: npt.NDArray[np.int64], epoch: int, view: int = 0
    ) -> npt.NDArray[Any]:
        """Return (rows, height, width, 3) uint8, changed afresh in each epoch."""
        salt = f"{self.seed}:{epoch}" + (f":{view}" if view else "")
        return np.stack(
            [
                self.preprocess(
                    augmented(self._decoded(r), self.augmentation, self.uids[r], salt)
                )
                for r in rows.tolist()
            ]
        )

    def plain(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return (rows, height, width, 3) uint8 of the unchanged images."""
        return np.stack([self.preprocess(self._decoded(r)) for r in rows.tolist()])

    def _decoded(self, row: int) -> Any:
        start, end = self.bounds[row]
        with about_row(self.uids[row]):
            return decode_rgb(self.data[start:end].tobytes(), self.max_pixels)


@dataclass(frozen=True)
class JoinedImages:
    """Several pools' images as one: row → (which part, row in it)."""

    parts: Sequence[Images]
    part: npt.NDArray[np.int64]
    inner: npt.NDArray[np.int64]

    def training(
        self, rows: npt.NDArray[np.int64], epoch: int, view: int = 0
    ) -> npt.NDArray[Any]:
        """Return the (changed) images of rows, of whichever part."""
        return self._gather(
            rows, lambda images, part_rows: images.training(part_rows, epoch, view)
        )

    def plain(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return the unchanged images of rows, of whichever part."""
        return self._gather(rows, lambda images, part_rows: images.plain(part_rows))

    def _gather(
        self,
        rows: npt.NDArray[np.int64],
        read: Callable[[Images, npt.NDArray[np.int64]], npt.NDArray[Any]],
    ) -> npt.NDArray[Any]:
        out: npt.NDArray[Any] | None = None
        part = self.part[rows]
        for number in np.unique(part):
            in_part = part == number
            part_images = read(self.parts[number], self.inner[rows[in_part]])
            if out is None:
                out = np.empty((len(rows), *part_images.shape[1:]), part_images.dtype)
            out[in_part] = part_images
        assert out is not None
        return out


def frozen_encoder(model: Any, part: str, precision: str, max_pixels: int) -> Encoder:
    """Return an encoder whose `image_features` are those of the frozen part.

    part: `visual` or `visual.trunk`. The model itself is left as it is.
    """
    import copy

    import torch

    from winnow.models.checkpoint import Checkpoint
    from winnow.models.encoder import ModelSpec

    visual = model.visual
    tower = copy.deepcopy(visual.trunk if part == "visual.trunk" else visual).eval()
    tower.preprocess_cfg = visual.preprocess_cfg
    preprocess = Preprocessing.of(visual.preprocess_cfg)
    with torch.inference_mode():
        dim = tower(torch.zeros(1, 3, preprocess.height, preprocess.width)).shape[-1]

    class _ImagesOnly(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # Of the instance: the encoder puts a folded and cast tower in its place,
            # which an attribute of the class would hide.
            self.visual = tower

        def encode_image(self, pixels: Any) -> Any:
            return self.visual(pixels)

    spec = ModelSpec(part, precision=precision, max_pixels=max_pixels)

    def no_tokens(texts: list[str]) -> Any:
        raise NotImplementedError("this encoder has no text tower")

    return Encoder(spec, Checkpoint(_ImagesOnly(), no_tokens, int(dim), Path(part)))


@dataclass(frozen=True)
class Views:
    """Turns image bytes into the pixels of all their views; safe in threads."""

    encoder: Encoder
    uids: Sequence[str]
    how: Augmentation
    seed: int

    def __call__(self, row: int, data: bytes) -> npt.NDArray[np.uint8]:
        """Return (views, height, width, 3) uint8; raises ImageRejected."""
        with about_row(self.uids[row]):
            image = decode_rgb(data, self.encoder.spec.max_pixels)
        changed = [
            augmented(image, self.how, self.uids[row], f"{self.seed}:view{view}")
            for view in range(1, self.how.views)
        ]
        return np.stack([self.encoder.preprocess(i) for i in (image, *changed)])


def write_features(rows: ImageRows, views: Views, folder: Path, tell: Tell) -> Rejected:
    """Write `features.npy` (n, views, dim) float32; return what could not be used.

    Rows that are rejected hold zeros.
    """
    encoder, count = views.encoder, views.how.views
    shape = (len(views.uids), count, encoder.dim)
    out = np.lib.format.open_memmap(
        folder / "features.npy", "w+", dtype=np.float32, shape=shape
    )
    rejected: Rejected = {}
    done = 0
    for chunk in _decoded(rows, views, rejected):
        pixels = np.concatenate([pixels for _, pixels in chunk])
        encoded = encoder.image_features(pixels).reshape(-1, count, encoder.dim)
        for (row, _), vectors in zip(chunk, encoded, strict=True):
            if np.isfinite(vectors).all():
                out[row] = vectors
            else:
                rejected[row] = "vector_not_finite"
        done += len(chunk)
        tell(done)
    out.flush()
    _write_rejected(folder, rejected)
    return rejected


def write_files(
    rows: ImageRows, uids: Sequence[str], folder: Path, max_pixels: int
) -> Rejected:
    """Write `images.bin` and `bounds.npy` (n, 2); return what could not be decoded."""
    bounds = np.zeros((len(uids), 2), np.int64)
    rejected: Rejected = {}

    def checked(row: int, data: bytes) -> bytes:
        with about_row(uids[row]):
            decode_rgb(data, max_pixels)
        return data

    offset = 0
    with (folder / "images.bin").open("wb") as file:
        for chunk in _decoded(rows, checked, rejected):
            for row, data in chunk:
                file.write(data)
                bounds[row] = offset, offset + len(data)
                offset += len(data)
    np.save(folder / "bounds.npy", bounds)
    _write_rejected(folder, rejected)
    return rejected


def read_rejected(folder: Path) -> Rejected:
    """Return what an earlier pass rejected: row → reason."""
    reasons = json.loads((folder / "rejected.json").read_text(encoding="utf-8"))
    return {int(row): reason for row, reason in reasons.items()}


def open_features(folder: Path) -> FeatureImages:
    """Open what `write_features` wrote."""
    return FeatureImages(np.load(folder / "features.npy", mmap_mode="r"))


def open_bytes(
    folder: Path,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Open what `write_files` wrote: the files' bytes, and where each one stands."""
    file = folder / "images.bin"
    empty = not file.stat().st_size
    data = np.zeros(0, np.uint8) if empty else np.memmap(file, np.uint8, "r")
    return data, np.load(folder / "bounds.npy")


def _write_rejected(folder: Path, rejected: Rejected) -> None:
    plain = {str(row): rejected[row] for row in sorted(rejected)}
    (folder / "rejected.json").write_text(json.dumps(plain), encoding="utf-8")


def _decoded(
    rows: ImageRows, decode: Callable[[int, bytes], Any], rejected: Rejected
) -> Iterator[list[tuple[int, Any]]]:
    """Yield (row, decoded) of usable images, some at once; note the reasons of others.

    Threads decode a chunk while nothing else runs: with the model on the same cores,
    decoding beside it would only slow it (see `models.embed`).
    """

    def attempt(item: tuple[int, bytes | None, str | None]) -> tuple[int, Any, str]:
        row, data, reason = item
        try:
            if reason is not None or data is None:
                return row, None, reason or "image_missing"
            return row, decode(row, data), ""
        except ImageRejected as error:
            return row, None, str(error)

    with ThreadPoolExecutor(2, thread_name_prefix="decode") as pool:
        for items in _chunks(rows):
            usable = []
            for row, value, reason in pool.map(attempt, items):
                if reason:
                    rejected[row] = reason
                else:
                    usable.append((row, value))
            if usable:
                yield usable


def _chunks(rows: ImageRows) -> Iterator[list[tuple[int, bytes | None, str | None]]]:
    held = []
    for item in rows:
        held.append(item)
        if len(held) == _AT_ONCE:
            yield held
            held = []
    if held:
        yield held
