"""The input of a run, before a row of it is read, and whether it is still the same."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from winnow.config.run import InputColumns, RunConfig
from winnow.core.errors import ConfigError, InputError
from winnow.core.hashing import digest
from winnow.formats.image_states import States, first_changed, image_states
from winnow.formats.pool_formats import PARQUET
from winnow.formats.reader import SampleReader
from winnow.formats.shard_discovery import (
    Shard,
    common_root,
    find_pool,
    pool_folders,
    read_footers,
)
from winnow.formats.shard_protocol import ShardFormat


@dataclass(frozen=True)
class Pool:
    """The input of a run: shards, their one schema, files that cannot be read.

    columns: what the recipe says they mean. folders: where images that rows name by
    path may lie. kind: what reads the shards. captions: which of a list is read.
    image_contents: whether images that rows name are known by what they hold.
    """

    shards: list[Shard]
    schema: pa.Schema
    bad: list[tuple[str, str]]
    root: str
    columns: InputColumns
    folders: tuple[str, ...]
    kind: ShardFormat = PARQUET
    captions: str = "first"
    image_contents: bool = False
    _states: dict[str, States] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of all readable shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def reader(self) -> SampleReader:
        """Reader of this pool's samples."""
        paths = {shard.name: shard.path for shard in self.shards}
        # A modality that no step reads may be named in the recipe and absent here.
        image, text = (
            name if name in self.schema.names else None
            for name in (self.columns.image, self.columns.text)
        )
        return SampleReader(
            self.root,
            paths,
            image,
            text,
            self.schema,
            self.folders,
            self.kind,
            self.captions,
        )

    def large_pages(self, batch_bytes: int) -> list[str]:
        """Return, in a sentence, that the pool cannot be read in parts so small.

        batch_bytes: as `engine.batch_mb` has it. The shard of the largest rows is
        looked at, for the others are as a rule written alike.
        """
        names = [c for c in (self.columns.image, self.columns.text) if c is not None]
        shards = [shard for shard in self.shards if shard.rows]
        if not shards or not names:
            return []
        heaviest = max(shards, key=lambda s: s.bytes / s.rows)
        held, column = self.kind.held_at_once(heaviest.path, names)
        if held <= 4 * batch_bytes:
            return []
        return [
            f"{heaviest.path}: a page of '{column}' takes {held >> 20:,} MiB, packed "
            "and unpacked: each process holds so much, whatever engine.batch_mb says "
            f"({batch_bytes >> 20}). Written with write_batch_size=1 and "
            "use_dictionary=False, by pyarrow, it is read in parts"
        ]

    def image_files(self) -> str:
        """Return a fingerprint of the files that rows name as images; '' without any.

        Each is looked at once, for its size and when it was changed, or read.
        """
        if not self._states:
            reader = self.reader
            for shard in self.shards:
                states = image_states(
                    reader, shard.name, shard.rows, contents=self.image_contents
                )
                if states is not None:
                    self._states[shard.name] = states
        parts = (states.tobytes() for states in self._states.values())
        return digest(*parts).hex() if self._states else ""

    def require_unchanged(self) -> None:
        """Look at the input again; raises InputError that names what has changed."""
        for shard in self.shards:
            if self.kind.state(shard.path, fresh=True) != shard.state:
                raise InputError(_CHANGED.format(shard.path))
        reader = self.reader
        for source, states in self._states.items():
            name = first_changed(reader, source, states, contents=self.image_contents)
            if name is not None:
                raise InputError(_CHANGED.format(f"{name} (an image of {source})"))


_CHANGED = (
    "{} has changed since this run looked at it first, so that steps have judged what "
    "is no longer there; the run stops before it writes a result. The same command "
    "begins with the input as it is now"
)


def open_pool(config: RunConfig) -> Pool:
    """Find the shards and check their footers.

    Raises InputError if they cannot be used, and ConfigError if the run would be
    written among them.
    """
    _refuse_output_among_shards(config)
    pool = find_pool(config.input.path, config.input.format)
    if config.input.csv is not None:
        options = config.input.csv.model_dump(mode="json")
        pool = replace(pool, kind=pool.kind.configured(options))
    skip = config.input.on_bad_shard == "skip"
    shards, schema, bad = read_footers(
        pool.paths,
        kind=pool.kind,
        skip_bad=skip,
        promote=config.input.schema_rule == "promote",
    )
    folders = pool_folders(config.input.path)
    columns = config.input.columns
    root = common_root(pool.paths)
    return Pool(
        shards,
        schema,
        bad,
        root,
        columns,
        folders,
        pool.kind,
        config.input.captions,
        config.input.image_check == "content",
    )


def _refuse_output_among_shards(config: RunConfig) -> None:
    out = Path(config.output.path).expanduser().resolve()
    for item in config.input.path:
        folder = Path(item).expanduser()
        if folder.is_dir() and folder.resolve() in (out, *out.parents):
            raise ConfigError(
                f"output.path: {out} lies in the input folder {item}, and the next run "
                "would read this one's result; choose another folder with --out"
            )
