"""Both towers of a model, compiled by OpenVINO for the processor's own instructions.

A graph has one shape, a model batch, and its rows do not interact: a vector depends on
its own sample alone, bit for bit, as with torch. Pixels are scaled inside the graph.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from winnow.core.errors import ConfigError
from winnow.core.extras import require
from winnow.core.progress import in_between
from winnow.core.run_folder import remove
from winnow.core.task import available_cores
from winnow.core.user_cache import user_cache
from winnow.core.versions import releases

if TYPE_CHECKING:
    from winnow.models.preprocess import Pixels, Preprocessing

#: Distributions whose version decides the vectors, beside those of every encoder.
LIBRARIES = ("openvino",)
#: The words of recipes, and OpenVINO's.
_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
_TELEMETRY = "openvino_telemetry"


@dataclass(frozen=True)
class OpenVinoTowers:
    """A model's towers as functions of whole batches.

    images: (batch, height, width, 3) uint8 pixels to (batch, dim) float32 features.
    texts: (batch, context_length) int64 token ids to the same.
    """

    images: Callable[[Pixels], npt.NDArray[np.float32]]
    texts: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]

    @classmethod
    def of(
        cls,
        model: Any,
        weights: str,
        preprocess: Preprocessing,
        precision: str,
        shape: tuple[int, int],
    ) -> OpenVinoTowers:
        """Return the towers of an open_clip model in float32 on the CPU.

        weights: digest of the weights, by which graphs are known in the user's cache.
        precision: float32 or bfloat16. shape: rows of a batch, tokens of a text. A
        tower is converted and compiled when it is first asked.

        Raises ConfigError for another precision or one that this processor lacks, and
        MissingExtraError without the extra `cpu`.
        """
        if precision not in _PRECISIONS:
            known = " or ".join(_PRECISIONS)
            raise ConfigError(
                f"model.precision: openvino computes in {known}, not in {precision}"
            )
        require("cpu", "model.runtime: openvino")
        rows, tokens = shape
        pixels = (rows, preprocess.height, preprocess.width, 3)
        key = [weights, *releases(("open_clip_torch", "torch", *LIBRARIES))]
        scaling = (preprocess.mean, preprocess.std)
        return cls(
            _Tower("image", model, pixels, precision, [*key, str(scaling)], scaling),
            _Tower("text", model, (rows, tokens), precision, key),
        )


class _Tower:
    """One tower; made of a torch model, or of a graph that was made of it before."""

    def __init__(
        self,
        name: str,
        model: Any,
        shape: tuple[int, ...],
        precision: str,
        key: Sequence[str],
        scaling: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> None:
        self._name, self._model, self._shape = name, model, shape
        self._precision, self._scaling = precision, scaling
        text = "\n".join([name, str(shape), *key])
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        self._folder = user_cache() / "openvino" / f"{name}-{digest}"
        self._compiled: Any = None

    def __call__(self, rows: Any) -> npt.NDArray[np.float32]:
        if self._compiled is None:
            with in_between(f"compiling the {self._name} tower"):
                self._compiled = self._made()
        features: npt.NDArray[np.float32] = self._compiled(rows)[0]
        return features

    def _made(self) -> Any:
        openvino = _openvino()
        core = openvino.Core()
        graph = _read(core, self._folder)
        if graph is None:
            graph = self._converted(openvino)
            _keep(openvino, graph, self._folder)
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[self._precision],
            "INFERENCE_NUM_THREADS": available_cores(),
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            # Threads tied to a core would wait for whatever else runs on it.
            "ENABLE_CPU_PINNING": False,
        }
        compiled = core.compile_model(graph, "CPU", settings)
        computes = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if computes != _PRECISIONS[self._precision]:
            raise ConfigError(
                f"model.precision: openvino has no {self._precision} on this "
                f"processor; set model.precision=float32"
            )
        return compiled

    def _converted(self, openvino: Any) -> Any:
        import torch

        encode = getattr(self._model, f"encode_{self._name}")
        images = self._scaling is not None
        shape = self._shape
        if images:
            rows, height, width, channels = shape
            shape = (rows, channels, height, width)
        kind = torch.float32 if images else torch.int64
        with torch.inference_mode():
            graph = openvino.convert_model(
                _module(encode),
                example_input=torch.zeros(shape, dtype=kind),
                input=[list(shape)],
            )
        return (
            _with_scaling(openvino, graph, *self._scaling) if self._scaling else graph
        )


def _module(encode: Callable[[Any], Any]) -> Any:
    """Return a function of torch as a module that holds nothing else."""
    import torch

    class Tower(torch.nn.Module):
        def forward(self, rows: Any) -> Any:
            return encode(rows)

    return Tower()


def _with_scaling(
    openvino: Any, graph: Any, mean: Sequence[float], std: Sequence[float]
) -> Any:
    """Have a graph take uint8 pixels, colours last, and scale them itself."""
    steps = openvino.preprocess.PrePostProcessor(graph)
    tensor = steps.input().tensor()
    tensor.set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    inside = steps.input().preprocess().convert_element_type(openvino.Type.f32)
    inside.mean([255 * value for value in mean]).scale([255 * value for value in std])
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    return steps.build()


def _read(core: Any, folder: Path) -> Any:
    """Return a graph that was kept, None if there is none, or none that can be read."""
    file = folder / "tower.xml"
    if not file.is_file():
        return None
    try:
        return core.read_model(file)
    except RuntimeError:
        return None


def _keep(openvino: Any, graph: Any, folder: Path) -> None:
    """Write a graph whole or not at all; else it is made again."""
    with suppress(OSError, RuntimeError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = tempfile.mkdtemp(dir=folder.parent)
        openvino.save_model(graph, f"{beside}/tower.xml", compress_to_fp16=False)
        remove(folder)
        os.replace(beside, folder)


def _openvino() -> Any:
    with _nothing_sent():
        import openvino
        import openvino.preprocess
    return openvino


@contextmanager
def _nothing_sent() -> Iterator[None]:
    """Keep OpenVINO from telling its makers, as it does by itself, that it is used.

    Without the package that would, it takes a class of its own that sends nothing.
    """
    missing = object()
    before: Any = sys.modules.get(_TELEMETRY, missing)
    if before is not missing or "openvino" in sys.modules:
        # What the process has already is the user's own choice.
        yield
        return
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]
