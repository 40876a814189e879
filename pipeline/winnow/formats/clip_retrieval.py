"""clip-retrieval's files: img_emb/, text_emb/ and metadata/, numbered alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from winnow.core.errors import InputError, did_you_mean
from winnow.core.hashing import fingerprint
from winnow.formats.parquet_shards import open_shard

_FOLDERS = {"image": "img_emb", "text": "text_emb"}
_BATCH_ROWS = 8_192
#: Bytes of a number that a column of vectors can hold.
_WIDEST = 8


def state_of(folder: str) -> str:
    """Return a fingerprint of the folder's files: names, sizes and times."""
    files = sorted(file for file in Path(folder).rglob("*") if file.is_file())
    states = [(file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return fingerprint(repr([*zip(map(str, files), states, strict=True)]))


def map_numbers(file: Path) -> npt.NDArray[Any]:
    """Map a file of numbers; raises InputError that names it if it is none."""
    try:
        # Untrusted input: np.load's default refuses pickled objects.
        with np.errstate(over="ignore"):
            matrix: npt.NDArray[Any] = np.load(file, "r")
    except Exception as error:  # a header may hold any text, a shape any number
        why = str(error).partition("\n")[0][:200]
        raise InputError(
            f"{file}: not a whole NumPy file of numbers ({why}); write it again"
        ) from error
    if not isinstance(matrix, np.ndarray):
        raise InputError(f"{file}: an archive of arrays; give one array as .npy")
    return require_numbers(matrix, str(file))


def require_numbers(matrix: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    """Return a matrix; raises InputError that says where if it holds no numbers."""
    if matrix.dtype.kind not in "fiu" or matrix.dtype.itemsize > _WIDEST:
        raise InputError(f"{where}: holds {matrix.dtype}, not numbers of 64 bits")
    return matrix


def native(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return numbers in one piece and in this machine's order of bytes."""
    return np.ascontiguousarray(rows, rows.dtype.newbyteorder("="))


@dataclass(frozen=True)
class ClipRetrieval:
    """One folder in clip-retrieval's layout; pickles to any worker."""

    folder: str
    uid_column: str
    modalities: tuple[str, ...]
    parts: tuple[int, ...]
    dim: int

    @classmethod
    def find(
        cls, folder: Path, uid_column: str, modalities: tuple[str, ...]
    ) -> ClipRetrieval:
        """Look the numbered files up.

        Raises InputError if there are none, or if one lacks its vectors, its
        metadata or the uid column.
        """
        numbers = sorted(
            int(match[1])
            for file in (folder / "metadata").glob("metadata_*.parquet")
            if (match := re.fullmatch(r"metadata_(\d+)\.parquet", file.name))
        )
        if not numbers:
            raise InputError(
                f"embed.clip_retrieval: no metadata/metadata_N.parquet in {folder}"
            )
        layout = cls(str(folder), uid_column, modalities, tuple(numbers), 0)
        dims = {layout._check(number) for number in numbers}
        if len(dims) > 1:
            raise InputError(f"{folder}: vectors of several lengths: {sorted(dims)}")
        return cls(str(folder), uid_column, modalities, tuple(numbers), dims.pop())

    def read(self, part: int) -> Iterator[tuple[pa.Array, dict[str, pa.Array]]]:
        """Yield uids and one list column for each modality of a numbered part."""
        matrices = {m: map_numbers(self._vectors(m, part)) for m in self.modalities}
        first = 0
        metadata = open_shard(str(self._metadata(part)))
        for batch in metadata.iter_batches(_BATCH_ROWS, columns=[self.uid_column]):
            rows = slice(first, first + len(batch))
            first += len(batch)
            columns = {
                m: pa.FixedSizeListArray.from_arrays(
                    pa.array(native(matrix[rows]).reshape(-1)), self.dim
                )
                for m, matrix in matrices.items()
            }
            yield batch.column(0).cast(pa.string()), columns

    def _check(self, part: int) -> int:
        """Return the vectors' length after checking one numbered part."""
        footer = open_shard(str(self._metadata(part)))
        if self.uid_column not in footer.schema_arrow.names:
            raise InputError(
                f"{self._metadata(part)}: no column '{self.uid_column}' "
                "(embed.clip_retrieval_uid); "
                + did_you_mean(self.uid_column, footer.schema_arrow.names)
            )
        dims = set()
        for modality in self.modalities:
            file = self._vectors(modality, part)
            if not file.is_file():
                raise InputError(f"{file} is missing beside metadata_{part}.parquet")
            shape = map_numbers(file).shape
            if len(shape) != 2 or shape[0] != footer.metadata.num_rows:
                raise InputError(
                    f"{file}: {shape} vectors for {footer.metadata.num_rows} rows of "
                    f"metadata_{part}.parquet"
                )
            dims.add(shape[1])
        if len(dims) > 1:
            raise InputError(f"{self.folder}: image and text vectors differ in length")
        return int(dims.pop())

    def _metadata(self, part: int) -> Path:
        return Path(self.folder) / "metadata" / f"metadata_{part}.parquet"

    def _vectors(self, modality: str, part: int) -> Path:
        name = _FOLDERS[modality]
        return Path(self.folder) / name / f"{name}_{part}.npy"
