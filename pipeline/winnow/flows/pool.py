"""The input of a run, before any row of it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from winnow.config.run import RunConfig
from winnow.core.errors import ConfigError
from winnow.formats.shards import Shard, common_root, find_shards, read_footers


@dataclass(frozen=True)
class Pool:
    """The input of a run: shards, their one schema, files that cannot be read."""

    shards: list[Shard]
    schema: pa.Schema
    bad: list[tuple[str, str]]
    root: str

    @property
    def rows(self) -> int:
        """Rows of all readable shards."""
        return sum(shard.rows for shard in self.shards)


def open_pool(config: RunConfig) -> Pool:
    """Find the shards and check their footers.

    Raises InputError if they cannot be used, and ConfigError if the run would be
    written among them.
    """
    _refuse_output_among_shards(config)
    paths = find_shards(config.input.path)
    skip = config.input.on_bad_shard == "skip"
    shards, schema, bad = read_footers(paths, skip_bad=skip)
    return Pool(shards, schema, bad, common_root(paths))


def _refuse_output_among_shards(config: RunConfig) -> None:
    out = Path(config.output.path).expanduser().resolve()
    for item in config.input.path:
        place = Path(item).expanduser()
        if place.is_dir() and place.resolve() in (out, *out.parents):
            raise ConfigError(
                f"output.path: {out} lies in the input folder {item}, and the next run "
                "would read this one's result; choose another folder with --out"
            )
