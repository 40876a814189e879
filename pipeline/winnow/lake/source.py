"""Where the tables of a recipe are."""

from __future__ import annotations

import os

from winnow.config.lake import LakeConfig
from winnow.core.run_folder import RunFolder
from winnow.lake.files.catalogue import LakeSource
from winnow.lake.files.csv_tables import CsvOptions


def lake_of(config: LakeConfig, folder: RunFolder) -> LakeSource:
    """Return the lake of a recipe; a run made in it, by version 0.1.0, is no part."""
    source = config.input
    return LakeSource(
        source.path,
        source.include,
        source.exclude,
        source.storage_options,
        without=os.fspath(folder.path),
        csv={
            glob: CsvOptions(**options.model_dump())
            for glob, options in config.csv.items()
        },
    )
