"""Reads the linear layers of a head from a `.safetensors` file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from winnow.algorithms.filter.heads import Layer
from winnow.core.errors import ConfigError, InputError
from winnow.core.extras import require_package

_WEIGHT, _BIAS = "weight", "bias"
#: What a head may weigh: it travels with the kernel to every worker.
_MOST_BYTES = 256 * 2**20


def read_layers(path: str, names: Sequence[str] = ()) -> list[Layer]:
    """Return the layers of a file, in the order that they are applied.

    path: a `.safetensors` file with tensors `NAME.weight`, (out, in), and, where a
    layer has one, `NAME.bias`, (out,), as torch.nn.Linear is saved.
    names: the layers in their order. Empty: all, numbers in names by their value.

    Raises InputError if there is no such file or it is damaged, ConfigError if it holds
    no layer, something else, or more than 256 MiB.
    """
    tensors = _tensors(_file(path))
    known = sorted({name.rpartition(".")[0] for name in tensors}, key=_natural)
    unknown = [name for name in names if name not in known]
    if not tensors:
        raise ConfigError(f"{path}: it holds no layer")
    if unknown:
        raise ConfigError(
            f"{path}: there is no layer '{unknown[0]}'; it has {', '.join(known)}"
        )
    chosen = list(names or known)
    others = {
        name
        for name, tensor in tensors.items()
        if name.rpartition(".")[2] not in (_WEIGHT, _BIAS) or tensor.dtype.kind != "f"
    }
    if others:
        raise ConfigError(
            f"{path}: '{min(others)}' is part of no linear layer; a head holds "
            "NAME.weight and NAME.bias alone: fold what normalises into the layer "
            "after it"
        )
    return [_layer(path, name, tensors) for name in chosen]


def _layer(path: str, name: str, tensors: dict[str, npt.NDArray[np.floating]]) -> Layer:
    prefix = f"{name}." if name else ""
    weight = tensors.get(prefix + _WEIGHT)
    if weight is None:
        raise ConfigError(f"{path}: layer '{name}' has a bias and no weight")
    none = np.zeros(weight.shape[:1], weight.dtype)
    return Layer(name, weight, tensors.get(prefix + _BIAS, none))


def _file(path: str) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"{path}: there is no such file of a head's weights")
    if file.stat().st_size > _MOST_BYTES:
        raise ConfigError(
            f"{path}: more than {_MOST_BYTES >> 20} MiB; a head is a few layers on "
            "vectors, a whole model goes under model"
        )
    return file


def _tensors(file: Path) -> dict[str, npt.NDArray[np.floating]]:
    require_package("safetensors", "score.method: head")
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(file.read_bytes())
    except (SafetensorError, TypeError, KeyError) as error:
        raise InputError(
            f"{file}: no whole .safetensors file of float16, float32 or float64 "
            f"({str(error)[:120]})"
        ) from error
    return dict(tensors)


def _natural(name: str) -> list[tuple[int, str]]:
    """Order `layers.2` before `layers.10`."""
    parts = re.split(r"(\d+)", name)
    return [(int(p), "") if p.isdigit() else (-1, p) for p in parts]
