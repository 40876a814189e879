"""The folder of an index: held by one writer, empty, or holding what is to be built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from winnow.core.errors import ConfigError, InputError
from winnow.core.operating_system import lock
from winnow.indexes.state import FILE, additions_of, read_state

LOCK = ".lock"


def state_built_of(
    folder: Path, begun: Mapping[str, Any], sources: Sequence[str]
) -> dict[str, Any] | None:
    """Return the state of an index with one addition, of these sources, if it is there.

    begun: the state that an index of these settings and columns begins with.
    """
    try:
        state = read_state(folder)
    except (ConfigError, InputError):
        return None
    additions = [addition["sources"] for addition in additions_of(state)]
    alike = all(state.get(n) == begun[n] for n in ("kind", "settings", "columns"))
    return state if alike and additions == [list(sources)] else None


def holds(state: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what an index holds, however its rows lie in segments."""
    return additions_of(state), state["content"]


def require_empty(folder: Path) -> None:
    """Raise ConfigError if there is a file, or a folder that holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        told = f"{folder} is not empty; choose another folder with --out"
        if (folder / FILE).is_file():
            told += f", or keep the index that it holds (winnow index show {folder})"
        raise ConfigError(told)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold an index's folder for writing."""
    with open(folder / LOCK, "w") as handle:
        try:
            lock(handle)
        except OSError as error:
            raise ConfigError(
                f"{folder}: another process is writing; try again later"
            ) from error
        yield
