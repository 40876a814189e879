"""What earlier scans of a run worked out, as far as it still holds.

Remembered are the catalogue, the sketches of each table and whatever was read of a pair
of tables. A table is known by the fingerprint of its files, so that nothing of a
changed table is believed; all of it only under the settings that it depends on and by
the same code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import NamedTuple

from winnow.config.lake import LakeConfig
from winnow.core.hashing import fingerprint
from winnow.core.run_folder import RunFolder
from winnow.lake.files.catalogue import LakeSource
from winnow.lake.files.known_folders import KnownFolders
from winnow.lake.files.saved_parts import SavedParts
from winnow.lake.files.saved_tables import SavedTables, as_table
from winnow.lake.files.table_files import Surveyed

#: Raised when what is remembered of a table, or of two, is found or kept otherwise.
_VERSION = 2


class Keys(NamedTuple):
    """Under which settings each part of the memory holds."""

    catalogue: str
    sketches: str
    pairs: str
    derived: str


def keys_of(config: LakeConfig, folder: RunFolder) -> Keys:
    """Return the keys of a recipe."""
    lake = config.input.path
    location = lake if "://" in lake else os.path.abspath(lake)
    texts = {glob: options.model_dump() for glob, options in config.csv.items()}
    catalogue = [_VERSION, location, list(texts.items())]
    sketches = [
        *catalogue,
        config.column_names,
        sorted(config.ignore_columns),
        config.sketch.model_dump(),
        config.content.model_dump(),
        config.partial.enabled,
    ]
    pairs = [
        *sketches,
        config.semantics,
        config.partial.model_dump(),
        config.rebuild.model_dump(),
        # Queries name the side files that a plan puts there.
        os.path.abspath(folder.path),
    ]
    derived = [*pairs, config.derived.model_dump()]
    keys = (catalogue, sketches, pairs, derived)
    return Keys(*(fingerprint(json.dumps(key)) for key in keys))


class Catalogue:
    """Tables and the statistics of their footers."""

    def __init__(self, folder: RunFolder, keys: Keys) -> None:
        self._saved = SavedParts(folder.artifacts("catalogue"), keys.catalogue)
        self.known = SavedTables(self._saved.load())
        self._folder, self._key = folder, keys.catalogue
        self._parts, self._before = self._saved.names(), KnownFolders()

    def folders(self, lake: LakeSource) -> KnownFolders:
        """Return the folders all tables of which are known as they were."""
        self._before = KnownFolders.of_tables(self._known_folders(lake).load())
        return self._before

    def remember_folders(self, lake: LakeSource, folders: KnownFolders) -> None:
        """Keep folders, once their tables are."""
        saved = self._known_folders(lake)
        if folders != self._before or self._saved.names() != self._parts:
            saved.settle(folders.as_table())

    def _known_folders(self, lake: LakeSource) -> SavedParts:
        # Of another catalogue nothing holds, nor where others of its tables count.
        chosen = [list(lake.include), list(lake.exclude), self._saved.names()]
        key = fingerprint(json.dumps([self._key, *chosen]))
        return SavedParts(self._folder.artifacts("folders"), key)

    def remember(self, surveyed: Sequence[Surveyed]) -> None:
        """Keep these tables, and no others."""
        if len(surveyed) == len(self.known) and not any(
            self.read(one) for one in surveyed
        ):
            return
        self._saved.settle(as_table(surveyed))

    def add(self, opened: Sequence[Surveyed]) -> None:
        """Keep these tables beside those that are known; the rest is not written."""
        if opened:
            self._saved.append(as_table(opened))
            self._saved.fold("name")

    def read(self, surveyed: Surveyed) -> bool:
        """Whether a table had to be opened: it was not known."""
        return surveyed is not self.known.get(surveyed[0].name)
