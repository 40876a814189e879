"""Features as DataComp ships them: beside each shard an .npz with a row for each row.

metadata/00ab.parquet     uid, text, …
metadata/00ab.npz         l14_img, l14_txt, b32_img, b32_txt: (rows, dim) float16
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from winnow.core.errors import InputError, did_you_mean
from winnow.core.hashing import fingerprint
from winnow.formats.clip_retrieval import require_numbers

#: Of a member's own header in the archive: its length, and where two lengths stand.
_HEADER, _LENGTHS = 30, slice(26, 30)


def state_of(folder: str) -> str:
    """Return a fingerprint of the folder's .npz files: names, sizes and times.

    Raises InputError if there is none.
    """
    files = sorted(Path(folder).rglob("*.npz"))
    if not files:
        raise InputError(f"embed.npz: no .npz file in {folder}")
    states = [(file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return fingerprint(repr([*zip(map(str, files), states, strict=True)]))


@dataclass(frozen=True)
class NpzFeatures:
    """A folder of .npz files named as the shards; pickles to any worker.

    arrays: the array of each modality.
    """

    folder: str
    arrays: Mapping[str, str]

    def check(self, shard_rows: Mapping[str, int]) -> int:
        """Return the vectors' length, of all shards and modalities.

        shard_rows: rows of each shard. Raises InputError for a file or an array that
        is missing, has another number of rows, or another length than the others.
        """
        lengths: dict[int, str] = {}
        for source, rows in shard_rows.items():
            for modality, name in self.arrays.items():
                file, matrix = self._file(source), self.read(source, modality)
                if matrix.ndim != 2 or len(matrix) != rows:
                    raise InputError(
                        f"{file}: '{name}' is {matrix.shape}, and {source} has {rows} "
                        "rows; there has to be a vector for each"
                    )
                lengths.setdefault(matrix.shape[1], f"'{name}' of {file}")
        if len(lengths) > 1:
            told = " and ".join(f"{dim} in {where}" for dim, where in lengths.items())
            raise InputError(f"embed.npz: vectors of several lengths: {told}")
        return lengths.popitem()[0]

    def read(self, source: str, modality: str) -> npt.NDArray[Any]:
        """Return a shard's (rows, dim) array, mapped where it is not compressed.

        Raises InputError if the file does not hold it.
        """
        file, name = self._file(source), self.arrays[modality]
        try:
            with zipfile.ZipFile(file) as archive:
                names = [n.removesuffix(".npy") for n in archive.namelist()]
                if name not in names:
                    hint = did_you_mean(name, names)
                    raise InputError(f"{file}: no array '{name}'; {hint}")
                matrix = _member(file, archive, f"{name}.npy")
        except FileNotFoundError as error:
            raise InputError(f"{file} is missing beside {source}") from error
        except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
            raise InputError(f"{file}: not a whole .npz file ({error})") from error
        return require_numbers(matrix, f"{file}: '{name}'")

    def _file(self, source: str) -> Path:
        return Path(self.folder) / PurePosixPath(source).with_suffix(".npz")


def _member(file: Path, archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    member = archive.getinfo(name)
    if member.compress_type == zipfile.ZIP_STORED:
        with open(file, "rb") as plain:
            plain.seek(member.header_offset)
            lengths = np.frombuffer(plain.read(_HEADER)[_LENGTHS], "<u2")
            plain.seek(member.header_offset + _HEADER + int(lengths.sum()))
            if np.lib.format.read_magic(plain) == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(plain)
                if not (fortran or dtype.hasobject) and 0 not in shape:
                    return np.memmap(file, dtype, "r", plain.tell(), shape)
    with archive.open(member) as stream:
        # Untrusted input: without allow_pickle objects are refused.
        array: npt.NDArray[Any] = np.lib.format.read_array(stream)
    return array
