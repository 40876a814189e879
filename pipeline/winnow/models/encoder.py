"""An open_clip model as two functions: images to vectors, texts to vectors."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.core.errors import ConfigError, did_you_mean
from winnow.core.extras import require
from winnow.core.progress import in_between
from winnow.core.versions import releases
from winnow.models.allocator import keep_freed_memory
from winnow.models.checkpoint import Checkpoint, load_checkpoint, sha256
from winnow.models.folding import fold_batch_norms
from winnow.models.images import BACKGROUND, DEFAULT_MAX_PIXELS, decode_rgb
from winnow.models.masks import PixelBox, painted_over
from winnow.models.openvino_runtime import LIBRARIES, OpenVinoTowers
from winnow.models.preprocess import Pixels, Preprocessing

PRECISIONS = ("auto", "float32", "bfloat16", "float16")

Vectors = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]

# A token of English is about 4 characters long; of 16 characters per token, only the
# part that the model would cut off anyway is lost, unless a caption opens with a
# screenful of blanks. Without the cut, byte pair encoding takes time quadratic in the
# length of a word, and one caption of 100 kB without blanks takes minutes.
CHARACTERS_PER_TOKEN = 16

# open_clip's tokenizer remembers every word it has seen, for ever.
_REMEMBERED_WORDS = 200_000

#: oneDNN's own: the newest instructions that it may use.
_ONEDNN_ISA = "ONEDNN_MAX_CPU_ISA"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model, and how to run it.

    name: an open_clip architecture, `local-dir:PATH` or `hf-hub:REPO`.
    pretrained: a tag or a file of weights; only for an architecture.
    precision: auto, float32, bfloat16 or float16. `auto` is float16 on a GPU,
      bfloat16 on CPUs that compute in it, else float32.
    batch_size: rows of every forward pass; the last one is padded.
    max_pixels: larger images are refused before they are decoded.
    background: colour behind transparent images, or `drop`; see `decode_rgb`.
    exact_decode: False: a JPEG with more than twice the pixels that the model takes,
      across and down, may be decoded at a half, a quarter or an eighth of its size, and
      any picture be resized by torch; see `Preprocessing`.
    runtime: auto, torch or openvino. `auto` is torch, so that what a recipe gives does
      not depend on what is installed.
    """

    name: str
    pretrained: str | None = None
    precision: str = "auto"
    batch_size: int = 64
    max_pixels: int = DEFAULT_MAX_PIXELS
    background: str = BACKGROUND
    exact_decode: bool = True
    runtime: str = "auto"
    #: State of the model's local files; with another one it is loaded again.
    files: str = ""


@lru_cache(maxsize=2)
def load_encoder(spec: ModelSpec) -> Encoder:
    """Return the encoder of `spec`, loaded once per process.

    Raises ConfigError (see `load_checkpoint`), also for an unknown precision or a
    batch size below 1.
    """
    if spec.precision not in PRECISIONS:
        hint = did_you_mean(spec.precision, PRECISIONS)
        raise ConfigError(f"model.precision: unknown '{spec.precision}'; {hint}")
    if spec.batch_size < 1:
        raise ConfigError(
            f"model.batch_size: must be at least 1, not {spec.batch_size}"
        )
    require("images", f"model {spec.name}")
    with in_between("loading the model"):
        let_idle_threads_sleep()
        keep_freed_memory()
        leave_out_tile_kernels()
        return Encoder(spec, load_checkpoint(spec.name, spec.pretrained))


class Encoder:
    """A model on its device; methods may be called from any one thread at a time.

    Every forward pass has the same shape, `spec.batch_size` rows, and rows do not
    interact, so a vector depends on its own sample alone: not on its neighbours, its
    position or how many rows came with it.
    """

    def __init__(self, spec: ModelSpec, checkpoint: Checkpoint) -> None:
        import torch

        self.spec = spec
        by_openvino = spec.runtime == "openvino"
        on_gpu = torch.cuda.is_available() and not by_openvino
        self.device = "cuda" if on_gpu else "cpu"
        self.precision = _resolve(spec.precision, self.device)
        self.dim = checkpoint.dim
        self.preprocess = Preprocessing.of(checkpoint.model.visual.preprocess_cfg)
        self.context_length = int(getattr(checkpoint.tokenizer, "context_length", 77))
        self._weights = checkpoint.weights
        self._tokenizer = checkpoint.tokenizer
        self._tokenizing = threading.Lock()
        self._dtype = getattr(torch, "float32" if by_openvino else self.precision)
        model = checkpoint.model
        size = (self.preprocess.height, self.preprocess.width)
        model.visual = fold_batch_norms(model.visual, *size)
        self._model = _cast(model, self._dtype).to(
            self.device, memory_format=torch.channels_last
        )
        self._scale, self._offset = self._pixel_scaling()
        self._towers: OpenVinoTowers | None = None
        if by_openvino:
            self._towers = OpenVinoTowers.of(
                self._model,
                sha256(self._weights),
                self.preprocess,
                self.precision,
                (spec.batch_size, self.context_length),
            )

    def prepare(self, data: bytes, boxes: Sequence[PixelBox] = ()) -> Pixels:
        """Return image bytes as (height, width, 3) uint8; safe in threads.

        boxes: parts of the upright picture that are painted over first.

        Raises ImageRejected.
        """
        spec = self.spec
        least = None
        # Boxes are counted in pixels of the whole picture.
        exact = spec.exact_decode or bool(boxes)
        if not exact:
            least = 2 * max(self.preprocess.height, self.preprocess.width)
        image = decode_rgb(data, spec.max_pixels, spec.background, least)
        return self.preprocess(painted_over(image, boxes), exact)

    def tokenize(self, texts: list[str]) -> Tokens:
        """Return (n, context_length) token ids; safe in threads."""
        limit = CHARACTERS_PER_TOKEN * self.context_length
        cut = [text.lstrip()[:limit] for text in texts]
        # Fast tokenizers refuse to be borrowed by two threads at once.
        with self._tokenizing:
            self._forget_words()
            tokens: Tokens = self._tokenizer(cut).numpy()
        return tokens

    def encode_images(self, pixels: Pixels) -> Vectors:
        """Return (n, dim) unit vectors of (n, height, width, 3) uint8 pixels."""
        return self._encode(pixels, self._image_features)

    def image_features(self, pixels: Pixels) -> Vectors:
        """Return (n, dim) features of pixels as the tower gives them, not scaled."""
        return self._encode(pixels, self._image_features, unit=False)

    def encode_texts(self, texts: list[str]) -> Vectors:
        """Return (n, dim) unit vectors of `texts`."""
        return self.encode_tokens(self.tokenize(texts))

    def encode_tokens(self, tokens: Tokens) -> Vectors:
        """Return (n, dim) unit vectors of (n, context_length) token ids."""
        return self._encode(tokens, self._text_features)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the vectors, for the manifest (plain values)."""
        import open_clip
        import torch

        preprocess = self.preprocess
        return {
            "name": self.spec.name,
            "pretrained": self.spec.pretrained,
            "weights": self._weights.name,
            "weights_sha256": sha256(self._weights),
            "image_size": [preprocess.height, preprocess.width],
            "mean": list(preprocess.mean),
            "std": list(preprocess.std),
            "interpolation": preprocess.interpolation,
            "resize_mode": preprocess.resize_mode,
            "fill_color": preprocess.fill_color,
            "background": self.spec.background,
            "exact_decode": self.spec.exact_decode,
            "context_length": self.context_length,
            "dim": self.dim,
            "precision": self.precision,
            "runtime": releases(LIBRARIES)[0] if self._towers else "torch",
            "open_clip": open_clip.__version__,
            "torch": torch.__version__,
        }

    def _encode(
        self,
        rows: Pixels | Tokens,
        features: Callable[[Any], Any],
        *,
        unit: bool = True,
    ) -> Vectors:
        import torch

        size = self.spec.batch_size
        vectors = np.empty((len(rows), self.dim), np.float32)
        with torch.inference_mode():
            for start in range(0, len(rows), size):
                batch = _padded(rows[start : start + size], size)
                raw = features(torch.from_numpy(batch).to(self.device)).float()
                if unit:
                    raw = torch.nn.functional.normalize(raw, dim=-1)
                vectors[start : start + size] = raw.cpu().numpy()[: len(rows) - start]
        return vectors

    def _text_features(self, tokens: Any) -> Any:
        import torch

        if self._towers is not None:
            return torch.from_numpy(self._towers.texts(tokens.numpy()))
        return self._model.encode_text(tokens)

    def _image_features(self, pixels: Any) -> Any:
        import torch

        if self._towers is not None:
            return torch.from_numpy(self._towers.images(pixels.numpy()))
        return self._model.encode_image(self._normalised(pixels))

    def _normalised(self, pixels: Any) -> Any:
        """Return (b, h, w, 3) uint8 as (b, 3, h, w) in channels_last memory.

        In float32, before the cast to the model's precision. Scanlines of interleaved
        colours, a few images at a time, keep it vectorised and within the cache: a
        fifth of the time of the usual expression on the whole batch.
        """
        import torch

        count, height, width, _ = pixels.shape
        lines = pixels.view(count, height, width * 3)
        out: Any = torch.empty(lines.shape, dtype=self._dtype, device=self.device)
        for some, into in zip(lines.split(4), out.split(4), strict=True):
            into.copy_(torch.addcmul(self._offset, some.float(), self._scale))
        return out.view(pixels.shape).permute(0, 3, 1, 2)

    def _pixel_scaling(self) -> tuple[Any, Any]:
        """Return scale and offset of one scanline: (x / 255 − mean) / std."""
        import torch

        std = np.tile(self.preprocess.std, self.preprocess.width)
        mean = np.tile(self.preprocess.mean, self.preprocess.width)
        scale, offset = (1 / (255 * std), -mean / std)
        return (
            torch.tensor(scale, dtype=torch.float32, device=self.device),
            torch.tensor(offset, dtype=torch.float32, device=self.device),
        )

    def _forget_words(self) -> None:
        words = getattr(self._tokenizer, "cache", None)
        if isinstance(words, dict) and len(words) > _REMEMBERED_WORDS:
            for word in list(words)[_REMEMBERED_WORDS // 2 :]:
                del words[word]


def let_idle_threads_sleep() -> None:
    """Ask OpenMP, where nobody has said otherwise, not to wait in busy loops.

    By default, torch's threads burn processor time at every barrier, time that the
    decoding threads beside them need. Measured on 2 cores that were busy with other
    work: more than 3 times as fast. OpenMP reads the variable once, when torch is
    first imported.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def leave_out_tile_kernels() -> None:
    """Have torch compute, where nobody has said otherwise, without the tiles of AMX.

    oneDNN's kernels for them split a sum by the number of threads. Measured on an Intel
    Xeon: on 2 threads, 5 of 256 drawings had other bfloat16 vectors than on 1, so that
    Spark and one machine decided otherwise; without the tiles none had, on any number
    of threads, at half the images a second. `model.runtime: openvino` uses them and
    keeps its sums.

    A oneDNN reads the variable once, at its first use in a process: torch's does so
    here. OpenVINO brings another, which would heed it, too, and give the same sample
    other vectors after a model that torch computed: so it does not stay.
    """
    if _ONEDNN_ISA in os.environ:
        return
    import torch

    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    os.environ[_ONEDNN_ISA] = "AVX512_CORE_FP16"
    try:
        torch.ones(1).to_mkldnn()
    finally:
        del os.environ[_ONEDNN_ISA]


def _resolve(precision: str, device: str) -> str:
    import torch

    if precision != "auto":
        return precision
    if device == "cuda":
        # 3 more bits of mantissa than bfloat16 for the same speed; vectors that
        # overflow, should any model produce them, are reported as not finite.
        return "float16"
    computes_bfloat16 = any(
        getattr(torch.cpu, test, bool)()
        for test in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return "bfloat16" if computes_bfloat16 else "float32"


def _cast(model: Any, dtype: Any) -> Any:
    """Cast all weights but those of batch norms that could not be folded.

    torch takes these in float32, and a running variance spans many orders of magnitude.
    """
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            continue
        for tensor in (*module.parameters(False), *module.buffers(False)):
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(dtype)
    return model.requires_grad_(False)


def _padded(rows: Any, size: int) -> Any:
    """Return `size` contiguous, writable rows; the first one fills the empty places."""
    if len(rows) == size:
        return np.require(rows, requirements=("C", "W"))
    batch = np.empty((size, *rows.shape[1:]), rows.dtype)
    batch[: len(rows)] = rows
    batch[len(rows) :] = rows[0]
    return batch
