"""Settings that name files: a recipe that is repeated elsewhere names them whole.

May import: pydantic.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, Field


@dataclass(frozen=True)
class NamesFile:
    """Marks a setting that names a file or folder, from where a command is given.

    after: what stands before such a name; other values name none.
    besides: values that name none. if_there: a value names one only if it is there.
    """

    after: str = ""
    besides: tuple[str, ...] = ()
    if_there: bool = False

    def from_anywhere(self, value: Any) -> Any:
        """Return a name as it is known from any folder; URLs and `~/…` are already."""
        if isinstance(value, tuple):
            return tuple(map(self.from_anywhere, value))
        if not isinstance(value, str) or value in self.besides:
            return value
        path = value.removeprefix(self.after)
        known = "://" in path or path.startswith("~")
        none = self.if_there and not os.path.exists(path)
        if not path or known or none or not value.startswith(self.after):
            return value
        return self.after + os.path.abspath(path)


Part = TypeVar("Part")


def from_anywhere(part: Part) -> Part:
    """Return a recipe, or a part of one, whose files are named from anywhere."""
    if isinstance(part, tuple):
        return cast(Part, tuple(map(from_anywhere, part)))
    if isinstance(part, dict):
        return cast(Part, {key: from_anywhere(value) for key, value in part.items()})
    if not isinstance(part, BaseModel):
        return part
    known = {}
    for name, field in type(part).model_fields.items():
        value = from_anywhere(getattr(part, name))
        marks = [mark for mark in field.metadata if isinstance(mark, NamesFile)]
        known[name] = marks[0].from_anywhere(value) if marks else value
    return part.model_copy(update=known)


#: A file or folder; one that may be left out.
FileName = Annotated[str, NamesFile(), Field(min_length=1)]
MaybeFile = Annotated[str | None, NamesFile()]
