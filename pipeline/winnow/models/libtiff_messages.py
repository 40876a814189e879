"""What libtiff says on standard error, handed to Python instead.

Pillow lets libtiff print its errors and warnings itself, to the process's standard
error. Where Pillow brings its own libtiff, as its wheels do, two handlers of it are
set; a libtiff of the system, which other libraries may share, is left alone.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LONGEST = 1024
#: Kept, since libtiff calls it for as long as the process lives.
_kept: list[Any] = []


def hand_on_libtiff(said: Callable[[str], bool]) -> None:
    """Have libtiff call `said` with each line; what it returns False for is printed."""
    library = _pillows_libtiff()
    if library is None:
        return
    # The third is C's va_list, which is a pointer, or is passed as one.
    signature = ctypes.CFUNCTYPE(
        None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p
    )

    def handler(module: bytes | None, text: bytes | None, values: int | None) -> None:
        line = f"{(module or b'libtiff').decode(errors='replace')}: "
        line += _formatted(text or b"", values).decode(errors="replace")
        if not said(line):
            sys.stderr.write(f"{line}.\n")

    kept = signature(handler)
    _kept.append(kept)
    for setting in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
        setting.restype = ctypes.c_void_p
        setting(kept)


def _formatted(text: bytes, values: int | None) -> bytes:
    buffer = ctypes.create_string_buffer(_LONGEST)
    try:
        print_to = ctypes.CDLL(None).vsnprintf
    except (AttributeError, OSError, TypeError):  # Windows has no C library to ask so
        return text
    print_to(
        buffer,
        ctypes.c_size_t(_LONGEST),
        ctypes.c_char_p(text),
        ctypes.c_void_p(values),
    )
    return buffer.value


def _pillows_libtiff() -> Any:
    """Return the libtiff that Pillow's wheel brings, loaded; None: there is none."""
    import PIL

    package = Path(PIL.__file__).parent
    folders = (package.parent / "pillow.libs", package / ".dylibs")
    for file in (f for folder in folders for f in sorted(folder.glob("libtiff*"))):
        try:
            return ctypes.CDLL(str(file))
        except OSError:
            continue
    return None
