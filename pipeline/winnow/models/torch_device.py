"""Products of vectors on a GPU by torch, which says which pairs could decide.

What crosses the bus are vectors on the way there, and pairs on the way back.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from winnow.core.engine import DeviceChoice
from winnow.core.errors import ConfigError
from winnow.numeric.device import (
    Device,
    Ids,
    Nominated,
    Singles,
    uncertainty,
)

#: Names a device of torch that is taken for the GPU: `cpu` in tests of this code.
STAND_IN = "WINNOW_TORCH_DEVICE"
#: Products of one tile; with what is derived of them 0.3 GB, 0.8 GB if all are equal.
_PRODUCTS = 1 << 25
# Where not even so many fit, the processor makes them.
_FEWEST = 1 << 20
# What NVIDIA's driver has made by the time a program may use it: of Linux, of
# Linux under Windows, of Tegra.
_DEVICE_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/nvmap")
_PROBED = 256


def device_of(choice: DeviceChoice) -> Device | None:
    """Return the device that vectors are compared on, or None: this processor.

    Without torch, or a GPU that torch sees, `auto` is None; torch, which takes seconds
    to import, is loaded only where a driver's file says that there may be one. Raises
    ConfigError that says what is missing where the choice is `cuda`.
    """
    if choice == "cpu":
        return None
    device, lacking = _opened(os.environ.get(STAND_IN, ""))
    if device is None and choice == "cuda":
        raise ConfigError(
            f"engine.device: cuda, but {lacking}; `auto` goes on without one"
        )
    return device


@cache
def _opened(stand_in: str) -> tuple[TorchDevice | None, str]:
    """Return the device, or why there is none."""
    if find_spec("torch") is None:
        return None, "torch is not installed (pip install 'datawinnow[images]')"
    if not stand_in and not _may_have_gpu():
        return None, "this machine shows no NVIDIA driver"
    import torch

    if not stand_in and not torch.cuda.is_available():
        return None, f"torch {torch.__version__} sees no GPU that it can use"
    device = TorchDevice(stand_in or "cuda")
    try:
        error = device.error()
    except RuntimeError as why:
        first = str(why).strip().partition("\n")[0]
        return None, f"the GPU makes no products: {first}"
    if error > uncertainty(_PROBED) / 2:
        return None, f"the GPU's products are no float32: {error:.1e} off (TF32?)"
    return device, ""


def _may_have_gpu() -> bool:
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return False
    on_linux = sys.platform.startswith("linux")
    return "torch" in sys.modules or not on_linux or any(map(_exists, _DEVICE_FILES))


def _exists(path: str) -> bool:
    return Path(path).exists()


class TorchDevice:
    """The device of a name that torch knows, such as `cuda`.

    Where its memory is too small for a tile of products the tile is halved, and at
    last this processor makes them.
    """

    def __init__(self, name: str) -> None:
        import torch

        self._torch = torch
        self._device = torch.device(name)
        self._size = _PRODUCTS
        self._multiplying = Lock()

    def error(self) -> float:
        """Return how far products of unit vectors are from float64, the farthest.

        One vector's numbers lie in the middle between two that TensorFloat-32 can hold.
        """
        random = np.random.default_rng(0)
        rows = random.standard_normal((_PROBED, _PROBED)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        rows[0] = np.float32((1 + 2.0**-11) / np.sqrt(_PROBED))
        placed = self.placed(rows)
        with self._multiplying, _full_precision():
            products = (placed @ placed.T).cpu().numpy()
        exact = rows.astype(np.float64) @ rows.T.astype(np.float64)
        return float(np.abs(products - exact).max())

    def placed(self, rows: Singles) -> Any:
        """Return rows on the device, or where they are if it has no room."""
        tensor = self._torch.from_numpy(np.require(rows, None, ["C", "W"]))
        moved = self._tried(lambda: tensor.to(self._device))
        return tensor if moved is None else moved

    def nominated(
        self, rows: Any, candidates: Any, first: Ids | None, least: Singles
    ) -> Iterator[Nominated]:
        """Yield the pairs that could be a row's largest product."""
        left, right = self._as_placed(rows), self._as_placed(candidates)
        if left.device != right.device:
            left, right = left.cpu(), right.cpu()
        start = 0
        while start < len(left):
            part = slice(start, start + max(1, self._size // len(right)))
            tile = self._tried(partial(self._tile, left, right, (first, least), part))
            if tile is not None:
                yield tile
                start = part.stop
            elif self._size > _FEWEST:
                self._size //= 2
            else:
                left, right = left.cpu(), right.cpu()
                yield self._tile(left, right, (first, least), part)
                start = part.stop

    def _as_placed(self, rows: Any) -> Any:
        return self.placed(rows) if isinstance(rows, np.ndarray) else rows

    def _tile(
        self,
        rows: Any,
        candidates: Any,
        limits: tuple[Ids | None, Singles],
        part: slice,
    ) -> Nominated:
        torch, mine, (first, least) = self._torch, rows[part], limits
        with self._multiplying, _full_precision(), torch.inference_mode():
            products = mine @ candidates.T
            if first is not None and int(first.max()) > part.start:
                number = torch.arange(len(mine), device=mine.device) + part.start
                seen_from = torch.from_numpy(first).to(mine.device)
                unseen = number[:, None] < seen_from[None, :]
                products.masked_fill_(unseen, -torch.inf)
            largest = products.amax(dim=1)
            longest = torch.linalg.vector_norm(candidates, dim=1).max()
            lengths = torch.linalg.vector_norm(mine, dim=1) * longest
            known = torch.from_numpy(least[part]).to(mine.device)
            bar = torch.maximum(largest, known) - uncertainty(rows.shape[1]) * lengths
            # What a row does not see is below any number.
            bar.clamp_(min=torch.finfo(bar.dtype).min)
            pairs = (products >= bar[:, None]).nonzero().cpu().numpy()
            told = largest.cpu().numpy()
        row, candidate = np.ascontiguousarray(pairs.T)
        return Nominated(part.start, told, row + part.start, candidate)

    def _tried(self, work: Callable[[], Any]) -> Any:
        """Return what work comes to, or None where the device's memory is too small."""
        try:
            return work()
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
        if self._device.type == "cuda":
            self._torch.cuda.empty_cache()
        return None


@contextmanager
def _full_precision() -> Iterator[None]:
    """Keep products from TensorFloat-32, 10 of 23 bits, which a user may have chosen.

    For the whole process: one thread at a time.
    """
    import torch

    matmul: Any = torch.backends.cuda.matmul
    # Until torch 2.9 a flag, which newer ones refuse to mix with what replaced it.
    newer = hasattr(matmul, "fp32_precision")
    name, full = ("fp32_precision", "ieee") if newer else ("allow_tf32", False)
    chosen = getattr(matmul, name)
    setattr(matmul, name, full)
    try:
        yield
    finally:
        setattr(matmul, name, chosen)


def _is_out_of_memory(error: RuntimeError) -> bool:
    told = str(error)
    return "out of memory" in told.lower() or "ALLOC_FAILED" in told
