"""Image decoders beside Pillow: CPU milliseconds a picture, by size and format.

    python benchmarks/decoders.py [--sides 512 1024 2048] [--rounds 7]

Each of those that are installed (`pip install simplejpeg PyTurboJPEG imagecodecs
opencv-python-headless pyvips pyvips-binary`) on one thread, in alternating rounds,
medians; first to RGB pixels at the picture's own size, then to RGB of the model's input
size: what each library offers for that.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from pictures import FORMATS, SIDES, encoded

Decoder = Callable[[bytes], Any]
#: Pixels across and down that the model takes.
TARGET = 224
_REDUCED_COLOURS = {2: "IMREAD_REDUCED_COLOR_2", 4: "IMREAD_REDUCED_COLOR_4"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    for kind in FORMATS:
        for side in given.sides:
            files = encoded(side, kind)
            for title, decoders in (
                ("own size", full(kind)),
                (f"to {TARGET}", small(kind, side)),
            ):
                times = milliseconds(decoders, files, given.rounds)
                told = ", ".join(f"{name} {ms:.1f}" for name, ms in times.items())
                load = os.getloadavg()[0]
                print(f"{kind} {side} {title}: {told} (load {load:.1f})", flush=True)


def milliseconds(
    decoders: dict[str, Decoder], files: list[bytes], rounds: int
) -> dict[str, float]:
    """Return the median CPU time of the process for each decoder."""
    times: dict[str, list[float]] = {name: [] for name in decoders}
    for turn in range(rounds + 1):
        for name, decode in decoders.items():
            start = time.process_time()
            decode(files[turn % len(files)])
            if turn:
                times[name].append(1e3 * (time.process_time() - start))
    return {name: statistics.median(taken) for name, taken in times.items()}


def fastest(kind: str, side: int, files: list[bytes]) -> tuple[str, Decoder]:
    """Return name and function of what makes RGB of TARGET pixels soonest."""
    decoders = small(kind, side)
    times = milliseconds(decoders, files, 3)
    name = min(times, key=lambda name: times[name])
    return name, decoders[name]


def full(kind: str) -> dict[str, Decoder]:
    """Return the decoders that are installed, to RGB at a picture's own size."""
    decoders: dict[str, Decoder] = {"Pillow": pillow}
    if kind == "JPEG" and installed("simplejpeg"):
        import simplejpeg

        decoders["simplejpeg"] = simplejpeg.decode_jpeg
    if kind == "JPEG" and installed("turbojpeg"):
        import turbojpeg

        library = turbo_library()
        if library:
            decode = turbojpeg.TurboJPEG(library).decode
            decoders["PyTurboJPEG"] = partial(decode, pixel_format=turbojpeg.TJPF_RGB)
    if installed("cv2"):
        import cv2

        cv2.setNumThreads(1)
        decoders["OpenCV"] = lambda data: cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB
        )
    if installed("imagecodecs"):
        import imagecodecs

        named = {"JPEG": "jpeg8", "PNG": "png", "WEBP": "webp"}[kind]
        decoders["imagecodecs"] = getattr(imagecodecs, f"{named}_decode")
    if installed("pyvips"):
        import pyvips

        pyvips.cache_set_max(0)
        pyvips.concurrency_set(1)
        decoders["libvips"] = lambda data: pyvips.Image.new_from_buffer(
            data, ""
        ).write_to_memory()
    return decoders


def small(kind: str, side: int) -> dict[str, Decoder]:
    """Return ways to RGB of TARGET × TARGET pixels; Pillow's is the one of people."""
    decoders: dict[str, Decoder] = {"Pillow": as_people_do}
    if kind == "JPEG":
        decoders["Pillow, draft"] = drafted
    if installed("cv2"):
        others = {n: d for n, d in full(kind).items() if n not in ("Pillow", "libvips")}
        decoders |= {name: partial(by_area, d) for name, d in others.items()}
        factor = max((f for f in _REDUCED_COLOURS if side >= 2 * f * TARGET), default=1)
        if kind == "JPEG" and factor > 1:
            import cv2

            flag = getattr(cv2, _REDUCED_COLOURS[factor])
            reduced = partial(cv2_imdecode, flag=flag)
            decoders["OpenCV, reduced"] = partial(by_area, reduced)
    if kind == "JPEG" and installed("simplejpeg") and installed("cv2"):
        import simplejpeg

        least = {"min_height": 2 * TARGET, "min_width": 2 * TARGET, "min_factor": 1}
        reduced = partial(simplejpeg.decode_jpeg, **least)
        decoders["simplejpeg, reduced"] = partial(by_area, reduced)
    if installed("pyvips"):
        import pyvips

        pyvips.concurrency_set(1)
        decoders["libvips, thumbnail"] = lambda data: pyvips.Image.thumbnail_buffer(
            data, TARGET, height=TARGET, size="force"
        ).write_to_memory()
    return decoders


def pillow(data: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(data)).convert("RGB")


def as_people_do(data: bytes) -> Any:
    from PIL import Image

    resized = pillow(data).resize((TARGET, TARGET), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def drafted(data: bytes) -> Any:
    from PIL import Image

    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (2 * TARGET, 2 * TARGET))
    return np.asarray(image.resize((TARGET, TARGET), Image.Resampling.BICUBIC))


def cv2_imdecode(data: bytes, flag: int) -> Any:
    import cv2

    return cv2.imdecode(np.frombuffer(data, np.uint8), flag)[:, :, ::-1]


def by_area(decode: Decoder, data: bytes) -> Any:
    """Resize by OpenCV's averages over areas, the fastest that does not alias."""
    import cv2

    pixels = decode(data)
    return cv2.resize(pixels, (TARGET, TARGET), interpolation=cv2.INTER_AREA)


def turbo_library() -> str | None:
    """Return libturbojpeg, which PyTurboJPEG does not bring."""
    import ctypes.util

    return ctypes.util.find_library("turbojpeg")


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


if __name__ == "__main__":
    main()
