"""Pictures of samples, small: decoded within a limit, and a bounded number kept.

Whatever the input holds, a browser gets WebP that was encoded here, or a drawing with
the reason why there is no picture. One thread reads: the pictures of a page lie near
each other, and are asked for together as soon as the page is.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from xml.sax.saxutils import escape

from winnow.core.errors import WinnowError
from winnow.core.run_log import told_of
from winnow.models.images import ImageRejected, decode_rgb

#: Sides of pictures in a list, and of the one on a sample's own page.
SMALL, LARGE = 220, 900
_QUALITY = 70
_MAX_PIXELS = 50_000_000
_KEPT_BYTES = 64 * 2**20
#: Encoded images that are held at once while a page's are read.
_GROUP = 16

Place = tuple[str, int]
Picture = tuple[str, bytes]
_Key = tuple[Place, int]


class Thumbnails:
    """Pictures at places of a pool; `read` gives the encoded images at places."""

    def __init__(
        self, read: Callable[[list[Place]], list[bytes | None]], kept: int = _KEPT_BYTES
    ) -> None:
        self._read, self._most = read, kept
        self._kept: OrderedDict[_Key, Picture] = OrderedDict()
        self._bytes = 0
        self._coming: dict[_Key, Future[Picture]] = {}
        self._lock = Lock()
        self._reader = ThreadPoolExecutor(1, "winnow-pictures")

    def close(self) -> None:
        """Stop reading."""
        self._reader.shutdown(wait=True, cancel_futures=True)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the pictures that are kept."""
        return self._bytes

    def prepare(self, places: Sequence[Place], side: int = SMALL) -> None:
        """Begin to read the pictures of a page."""
        with self._lock:
            keys = [
                key
                for source_row in sorted(set(places))
                if (key := (source_row, side)) not in self._kept
                and key not in self._coming
            ]
            for key in keys:
                self._coming[key] = Future()
        for start in range(0, len(keys), _GROUP):
            self._reader.submit(self._fill, keys[start : start + _GROUP])

    def picture(self, source_row: Place, side: int = SMALL) -> Picture:
        """Return a picture's media type and bytes; waits until it is read."""
        key = (source_row, side)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            coming = self._coming.get(key)
        if coming is None:
            self.prepare([source_row], side)
            with self._lock:
                coming = self._coming.get(key)
                if coming is None:
                    return self._kept.get(key) or drawn("not there any more")
        return coming.result(timeout=120)

    def _fill(self, keys: list[_Key]) -> None:
        try:
            images = self._read([source_row for source_row, _ in keys])
            names = (f"{source}, row {row}" for (source, row), _ in keys)
            pictures = [
                small(image, side)
                for image, (_, side) in told_of(names, zip(images, keys, strict=True))
            ]
        except (WinnowError, OSError) as error:
            pictures = [drawn(str(error))] * len(keys)
        except BaseException:
            pictures = [drawn("could not be read")] * len(keys)
            raise
        finally:
            for key, picture in zip(keys, pictures, strict=True):
                self._keep(key, picture)

    def _keep(self, key: _Key, picture: Picture) -> None:
        with self._lock:
            self._kept[key] = picture
            self._bytes += len(picture[1])
            while self._bytes > self._most and len(self._kept) > 1:
                _, (_, gone) = self._kept.popitem(last=False)
                self._bytes -= len(gone)
            coming = self._coming.pop(key)
        coming.set_result(picture)


def small(image: bytes | None, side: int) -> Picture:
    """Return an image as WebP of at most `side` pixels, or why there is none."""
    if image is None:
        return drawn("no image")
    try:
        picture = decode_rgb(image, _MAX_PIXELS)
    except ImageRejected as error:
        return drawn(str(error))
    picture.thumbnail((side, side))
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=_QUALITY, method=2)
    return "image/webp", out.getvalue()


def drawn(why: str) -> Picture:
    """Return a drawing that says why there is no picture."""
    lines = [why[start : start + 26] for start in range(0, min(len(why), 104), 26)]
    words = "".join(
        f'<text x="110" y="{105 + 16 * i}" text-anchor="middle">{escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="220" height="220" '
        'viewBox="0 0 220 220" font-family="sans-serif" font-size="13" fill="#4f5d6b">'
        f'<rect width="220" height="220" fill="#eef1f4"/>{words}</svg>'
    )
    return "image/svg+xml", svg.encode()
