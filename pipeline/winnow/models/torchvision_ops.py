"""A remedy for a CPU-only torch beside a torchvision that was built for CUDA.

torchvision from the default index fails to import there with "operator
torchvision::nms does not exist": its compiled library does not load, yet it registers
fake kernels for that library's operators. With the two schemas defined, everything
that open_clip and timm use of torchvision works.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from typing import Any

_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

# torch unregisters an operator as soon as its Library object is collected.
_kept_alive: list[Any] = []


def ensure_torchvision() -> None:
    """Make `import torchvision` work, in this process, before open_clip needs it.

    Does nothing where torchvision's own library loads, and may be called any number
    of times, in the main process and in forked or spawned workers. Modules that an
    earlier, failed import left behind are forgotten, so that a retry starts afresh.
    """
    if "torchvision" in sys.modules or _own_library_loads():
        return
    torch: Any = importlib.import_module("torch")
    missing = [o for o in _OPERATORS if not hasattr(torch.ops.torchvision, o)]
    if missing:
        # A fragment, since another package may carry a remedy of the same kind.
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in missing:
            library.define(operator + _SCHEMA)
        _kept_alive.append(library)
    _forget_failed_imports()


def _own_library_loads() -> bool:
    torch: Any = importlib.import_module("torch")
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return True  # not installed: open_clip's own error says what is missing
    loader = (
        importlib.machinery.ExtensionFileLoader,
        importlib.machinery.EXTENSION_SUFFIXES,
    )
    folder = str(Path(package.origin).parent)
    library = importlib.machinery.FileFinder(folder, loader).find_spec("_C")
    if library is None or library.origin is None:
        return False
    try:
        torch.ops.load_library(library.origin)
    except (ImportError, OSError):
        return False
    return True


def _forget_failed_imports() -> None:
    for package in ("torchvision", "timm", "open_clip"):
        if package not in sys.modules:
            for name in [m for m in sys.modules if m.startswith(package + ".")]:
                del sys.modules[name]
