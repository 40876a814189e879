"""What other packages add by entry points: steps, exporters, scores.

A part of such an object may be named (`module:attribute`) instead of being there, so
that whoever asks for one part imports no other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, Generic, Protocol, TypeVar

from winnow.core.errors import ConfigError


class Named(Protocol):
    """What a registry holds."""

    @property
    def name(self) -> str:
        """What recipes and commands call it."""


T = TypeVar("T", bound=Named)


def load_part(part: Any) -> Any:
    """Return a part that is given itself, or by name as `module:attribute`.

    Raises ConfigError if what is named cannot be imported.
    """
    if not isinstance(part, str):
        return part
    module, _, attribute = part.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"cannot import '{part}': {error}") from error


class Registry(Generic[T]):
    """Objects of one kind by name: Winnow's own, then those of entry points.

    group: the entry points' group, as `winnow.steps`.
    kind: the class that an entry point has to name an instance of.
    built_in: those that come with Winnow; no other package may take their names.
    """

    def __init__(self, group: str, kind: type[T], built_in: Iterable[T]) -> None:
        self._group, self._kind = group, kind
        self._own = {item.name: item for item in built_in}

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in points_of(self._group).names

    def names(self) -> list[str]:
        """Return all names, Winnow's own first, without importing anything."""
        others = sorted(points_of(self._group).names - self._own.keys())
        return [*self._own, *others]

    def get(self, name: str) -> T | None:
        """Return the object of a name, or None if there is none.

        Raises ConfigError if two packages use the name, or if what an entry point
        names cannot be imported or is something else.
        """
        if name in self._own:
            return self._own[name]
        points = list(points_of(self._group).select(name=name))
        if not points:
            return None
        origins = sorted({f"{_origin(point)} ({point.value})" for point in points})
        if len(origins) > 1:
            raise ConfigError(
                f"'{name}' is an entry point {self._group} of "
                f"{' and of '.join(origins)}; uninstall one of them"
            )
        return self._loaded(points[0])

    def _loaded(self, point: EntryPoint) -> T:
        said = f"entry point {self._group} '{point.name}' of {_origin(point)}"
        try:
            item = point.load()
        except Exception as error:  # whatever a foreign module raises
            raise ConfigError(f"{said} cannot be imported: {error!r}") from error
        if not isinstance(item, self._kind) or item.name != point.name:
            raise ConfigError(
                f"{said} names {item!r}; it has to be a {self._kind.__name__} called "
                f"'{point.name}'"
            )
        return item


def packages_in(group: str) -> set[str]:
    """Return the packages that a group of entry points names, without importing any."""
    return {point.module.partition(".")[0] for point in points_of(group)}


def points_of(group: str) -> EntryPoints:
    """Return the entry points of a group, of all packages that are installed now.

    To read what every package says of itself takes milliseconds, and a run asks some
    ten times: it is read again only once a folder that packages lie in has changed.
    """
    paths = tuple((path, _changed(path)) for path in sys.path)
    selected: EntryPoints = _all_points(paths).select(group=group)
    return selected


@lru_cache(maxsize=1)
def _all_points(paths: tuple[tuple[str, int], ...]) -> Any:  # 3.11 has another type
    return entry_points()


def _changed(path: str) -> int:
    """Return when a folder got or lost a package, in nanoseconds; 0: not there."""
    try:
        return os.stat(path or os.curdir).st_mtime_ns
    except OSError:
        return 0


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "a package"
