"""Samples as a page shows them: a thumbnail in the page itself, and a caption.

Sections say which rows they want; all are then read at once, in the order of the input.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field

from winnow.core.errors import WinnowError
from winnow.core.run_log import about_row
from winnow.core.sql_text import literal
from winnow.models.images import ImageRejected, decode_rgb
from winnow.reports.database import RunDatabase

_SIDE = 104
_QUALITY = 62
#: Larger pictures are not decoded for a thumbnail.
_MAX_PIXELS = 50_000_000
_CAPTION = 280


@dataclass
class Picture:
    """One sample; without `data`, its picture could not be shown and `why` says so."""

    uid: str
    text: str | None = None
    source: str = ""
    row: int = 0
    data: str | None = None
    width: int = 0
    height: int = 0
    why: str = ""
    uses: int = 0

    @property
    def alt(self) -> str:
        """What to say in place of the picture."""
        said = (self.text or "").strip()
        return said or f"sample {self.uid}, without a caption"


@dataclass
class Pictures:
    """The samples of one page, of at most `budget` bytes together."""

    database: RunDatabase
    budget: int
    wanted: dict[str, Picture] = field(default_factory=dict)
    #: Samples that are shown without their picture, so that the page stays small.
    left_out: int = 0

    def want(self, uid: str) -> Picture:
        """Return a sample, to be filled in by `load`."""
        picture = self.wanted.setdefault(uid, Picture(uid))
        picture.uses += 1
        return picture

    def load(self) -> None:
        """Read captions and pictures, those asked for first before the others."""
        pool = self.database.pool
        if pool is None or not self.wanted:
            return
        try:
            self._places()
            if pool.columns.image in pool.schema.names:
                self._images()
        except WinnowError as error:
            for picture in self.wanted.values():
                picture.why = picture.why or str(error)

    def _places(self) -> None:
        """Read where the samples lie, and their captions there.

        Not by SQL, which would copy a pool that it cannot read, whole.
        """
        pool = self.database.pool
        assert pool is not None
        uids = ", ".join(map(literal, self.wanted))
        placed = self.database.query(
            f"SELECT uid, source, row FROM index_places WHERE uid IN ({uids})"
        ).to_pylist()
        places = [(entry["source"], entry["row"]) for entry in placed]
        for entry, text in zip(placed, pool.texts(places), strict=True):
            picture = self.wanted[entry["uid"]]
            picture.text = text and text[:_CAPTION]
            picture.source, picture.row = entry["source"], entry["row"]

    def _images(self) -> None:
        pool, spent = self.database.pool, 0
        assert pool is not None
        shown = [picture for picture in self.wanted.values() if picture.source]
        for start in range(0, len(shown), 256):
            part = shown[start : start + 256]
            images = pool.images([(p.source, p.row) for p in part])
            for picture, image in zip(part, images, strict=True):
                if spent >= self.budget:
                    picture.why = "left out to keep the page small"
                    self.left_out += 1
                    continue
                fill(picture, image)
                spent += len(picture.data or "") * picture.uses


def fill(picture: Picture, image: bytes | None) -> None:
    """Give a sample its thumbnail, or say why it has none."""
    if image is None:
        picture.why = "no image"
        return
    try:
        with about_row(picture.uid):
            small = decode_rgb(image, _MAX_PIXELS)
        small.thumbnail((_SIDE, _SIDE))
    except ImageRejected as error:
        picture.why = str(error)
        return
    out = io.BytesIO()
    small.save(out, "WEBP", quality=_QUALITY, method=2)
    picture.data = "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()
    picture.width, picture.height = small.size
