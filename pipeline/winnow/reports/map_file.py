"""The map of a run's rows: where it lies, and whether it is still the run's.

RUN/map/layout.parquet   a row's uid, x, y, and whether it was laid out itself
RUN/map/done.json        what it was made of, and the checksum of the file
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from winnow.core.errors import QueryError
from winnow.core.hashing import fingerprint
from winnow.core.integrity import Seal, damage, take_check, with_check
from winnow.core.marker import Marker
from winnow.core.run_folder import RunFolder
from winnow.reports.vector_files import vector_files

#: Folder of the map below the run's, and its files.
MAP_FOLDER, LAYOUT, ABOUT = "map", "layout.parquet", "done.json"


@dataclass(frozen=True)
class MapFacts:
    """What a map says of itself.

    of: fingerprint of the vectors. modality: image or text. rows: that have a place.
    sampled: rows that were laid out; the others lie between their nearest of these.
    seed: of its draws. made_with: library and version. files: lengths and checksums.
    """

    of: str
    modality: str
    rows: int
    sampled: int
    seed: int
    made_with: str
    files: dict[str, Seal]


def vectors_of(folder: RunFolder) -> tuple[Marker, list[Path], str]:
    """Return the step that made what a map is drawn from, its files, its modality.

    Vectors of images, or of texts where there are no others. Raises QueryError if the
    run has none.
    """
    markers = folder.markers()
    try:
        return *vector_files(folder, markers, "image"), "image"
    except QueryError as error:
        try:
            return *vector_files(folder, markers, "text"), "text"
        except QueryError:
            raise QueryError(
                "this run has no vectors, so there is no map of it; a recipe with the "
                "step `embed` makes them"
            ) from error


def state_of(marker: Marker, files: Sequence[Path]) -> str:
    """Return a fingerprint of the vectors that a map would be drawn from."""
    names = {file.name for file in files}
    seals = [seal for name, seal in marker.files.items() if Path(name).name in names]
    return fingerprint(json.dumps([marker.fingerprint, sorted(map(str, seals))]))


def write_facts(folder: Path, facts: MapFacts) -> None:
    """Write what a map says of itself into its unfinished folder."""
    text = json.dumps(with_check(asdict(facts)), indent=1) + "\n"
    (folder / ABOUT).write_text(text)


def read_map(folder: RunFolder) -> tuple[Path, MapFacts]:
    """Return the file of a run's map and what it says of itself.

    Raises QueryError, with the command that makes one, if there is none, if it is
    damaged, or if the run's vectors have changed since.
    """
    beside = folder.file(MAP_FOLDER)
    remedy = f"`winnow map {folder.path}` makes it"
    try:
        said = json.loads((beside / ABOUT).read_text())
        sealed = take_check(said)
        facts = MapFacts(**said)
    except FileNotFoundError:
        raise QueryError(f"this run has no map yet; {remedy}") from None
    except (AttributeError, OSError, TypeError, ValueError):
        raise QueryError(f"the run's map is damaged; {remedy} again") from None
    fault = damage(beside, facts.files) if sealed else f"{ABOUT} is not as written"
    if fault or LAYOUT not in facts.files:
        raise QueryError(f"the run's map is damaged ({fault}); {remedy} again")
    marker, files, _ = vectors_of(folder)
    if facts.of != state_of(marker, files):
        raise QueryError(
            f"the run's vectors are others than those of its map; {remedy} again"
        )
    return beside / LAYOUT, facts
