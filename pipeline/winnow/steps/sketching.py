"""Settings to kernels: texts of a column to band digests and to shingle sets.

The `minhash` step and the index share this, so that both mean the same by a sketch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from winnow.algorithms.dedup import banding, minhash
from winnow.algorithms.dedup.set_elements import as_words, is_list
from winnow.config.steps import SketchConfig
from winnow.core.errors import ConfigError, InputError
from winnow.core.task import available_cores
from winnow.formats.reader import SampleReader, single, utf8

#: Texts that are sketched at a time.
BLOCK_ROWS = 16_384
_BLOCK_BYTES = 64 * 2**20


class Digested(NamedTuple):
    """Band digests (n, bands) of n texts, and of what each was made.

    `units` counts words or characters, `singles` those that are one character of a
    script without spaces.
    """

    digests: npt.NDArray[np.uint64]
    empty: npt.NDArray[np.bool_]
    units: npt.NDArray[np.int32]
    singles: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Sketching:
    """A column's settings with the bands that follow from them; pickles to a worker."""

    unit: str
    ngram: int
    normalise: tuple[str, ...]
    scheme: str
    token_hash: str
    num_perm: int
    seed: int
    bands: int
    rows: int

    def digests(self, texts: pa.Array) -> Digested:
        """Return the band digests (n, bands) of texts, and which have no shingle."""
        signatures, units, singles = minhash.sketched(
            texts,
            num_perm=self.num_perm,
            seed=self.seed,
            scheme=self.scheme,  # type: ignore[arg-type]
            token_hash=self.token_hash,  # type: ignore[arg-type]
            **self._shingling,
        )
        empty = minhash.is_empty(signatures, self.scheme)  # type: ignore[arg-type]
        digests = banding.band_digests(signatures, self.bands, self.rows)
        return Digested(digests, empty, units, singles)

    def sets(self, texts: pa.Array) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return (bounds, hashes) of the texts' shingle sets."""
        return minhash.shingle_sets(texts, **self._shingling)

    @property
    def _shingling(self) -> dict[str, Any]:
        element = self.unit == "element"
        return {
            "unit": "word" if element else self.unit,
            "ngram": 1 if element else self.ngram,
            "normalise": self.normalise,
            "threads": available_cores(),
        }


def sketching(config: SketchConfig, threshold: float) -> Sketching:
    """Return the settings with (bands, rows) chosen where they are not given.

    Raises ConfigError where no choice reaches what is asked.
    """
    try:
        bands, rows = _shape(
            (config.bands, config.rows),
            config.bands_for or served_threshold(threshold),
            config.num_perm,
            config.weights,
            config.recall,
        )
    except ValueError as error:
        raise ConfigError(f"minhash: {error}") from error
    return Sketching(
        unit=config.unit,
        ngram=1 if config.unit == "element" else config.ngram,
        normalise=_rules(config),
        scheme=config.scheme,
        token_hash=config.token_hash,
        num_perm=config.num_perm,
        seed=config.seed,
        bands=bands,
        rows=rows,
    )


def _rules(config: SketchConfig) -> tuple[str, ...]:
    # Elements of sets are names, which are what they are.
    always = set() if config.unit == "element" else {"nfc"}
    return tuple(sorted(always | set(config.normalise)))


def served_threshold(threshold: float) -> float:
    """Return the threshold that bands are chosen for: tenths, at most 0.8.

    It does not change while a threshold is raised within its tenth or from 0.8 on, so
    neither do the bands, and a raised threshold decides as a fresh run would.
    """
    # The product of a tenth may fall just below a whole number.
    return min(0.8, max(0.1, int(threshold * 10 + 1e-9) / 10))


@cache
def _shape(
    given: tuple[int | None, int | None],
    threshold: float,
    num_perm: int,
    weights: tuple[float, float] | None,
    recall: float,
) -> tuple[int, int]:
    if given[0] is not None and given[1] is not None:
        return given[0], given[1]
    if weights is not None:
        return banding.optimal_bands(threshold, num_perm, weights)
    return banding.bands_for_recall(threshold, num_perm, recall)


@dataclass(frozen=True)
class TextColumn:
    """The column that is sketched, read by reference."""

    reader: SampleReader
    column: str
    extra: tuple[str, ...] = ()

    def blocks(
        self, references: Iterator[pa.RecordBatch]
    ) -> Iterator[tuple[pa.Array, pa.Array, pa.Array, pa.Table]]:
        """Yield (uid, text, reason, extra columns) of bounded blocks of references.

        References come sorted by (source, row) and go out in that order. Lists come out
        as words; a text that cannot be read is null and has a reason.
        """
        wanted = tuple(dict.fromkeys([self.column, *self.extra]))
        held: list[pa.RecordBatch] = []
        rows = size = 0
        for part in self.reader.read(references, (), wanted):
            held.append(part)
            rows, size = rows + len(part), size + part.nbytes
            if rows >= BLOCK_ROWS or size >= _BLOCK_BYTES:
                yield self._block(held)
                held, rows, size = [], 0, 0
        if held:
            yield self._block(held)

    def _block(
        self, held: list[pa.RecordBatch]
    ) -> tuple[pa.Array, pa.Array, pa.Array, pa.Table]:
        table = pa.Table.from_batches(held)
        text, bad = as_text(single(table[f"extra.{self.column}"]))
        reason = pc.coalesce(
            single(table["reason"]), pc.if_else(bad, "text_not_utf8", None)
        )
        names = {f"extra.{name}": name for name in self.extra}
        extra = table.select(list(names)).rename_columns(list(names.values()))
        return single(table["uid"]), text, reason, extra


def as_text(column: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return a column of strings or lists as texts, and which values are invalid."""
    if is_list(column.type):
        return as_words(column), pa.array(np.zeros(len(column), bool))
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return utf8(column)


def require_text(schema: pa.Schema, column: str, unit: str, step: str) -> None:
    """Raise InputError unless the column holds what `unit` takes shingles of."""
    kind = schema.field(column).type
    if unit == "element":
        if not is_list(kind):
            raise InputError(
                f"{step}: unit 'element' takes lists, but '{column}' holds {kind}; "
                "name a list column, or set unit to auto, word or char"
            )
        return
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    string = pa.types.is_string(inner) or pa.types.is_large_string(inner)
    if not (string or pa.types.is_string_view(inner)):
        hint = "; set unit to element for sets" if is_list(kind) else ""
        raise InputError(
            f"{step}: the column '{column}' holds {kind}, not strings{hint}"
        )


def jaccard_threads() -> int:
    """Return how many threads compare pairs here."""
    return available_cores()
