"""What every section of a recipe is built from."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from winnow.core.inside import is_url

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(gt=0)]
Modality = Literal["image", "text"]


#: How paths of stores are miswritten, or meant where nothing is mounted.
_ONE_SLASH = re.compile(r"(abfss?|az|dbfs|gcs|gs|hdfs|https?|s3a?):/(?!/)")
_LOCAL = re.compile(r"^(file|local)://")


def _here(path: str) -> str:
    path = _LOCAL.sub("", _not_mangled(path))
    if is_url(path):
        raise ValueError(
            "results go to a folder of this machine, or one mounted here, where "
            "renames make them whole or absent; name one, and copy it there afterwards"
        )
    return path


def _here_or_store(path: str) -> str:
    path = _LOCAL.sub("", _not_mangled(path))
    if path.startswith(("http://", "https://")):
        raise ValueError(
            "a web server takes no files: name a folder, or a store as in "
            "s3://bucket/run"
        )
    if is_url(path) and "::" in path:
        raise ValueError(
            "chained URLs are read, not written: name the store itself, as in "
            "s3://bucket/run"
        )
    return path


def _not_mangled(path: str) -> str:
    match = _ONE_SLASH.match(path)
    if match and match[1] == "dbfs":
        raise ValueError(
            "dbfs:/… is a path within Databricks; name it as it is mounted there: "
            f"/dbfs/{path[match.end() :]}"
        )
    if match:
        raise ValueError(f"a URL has two slashes: {match[1]}://{path[match.end() :]}")
    return path


#: A folder of this machine that results go to.
OutputFolder = Annotated[str, AfterValidator(_here)]
#: Such a folder, or the URL of one on an object store.
RunLocation = Annotated[str, AfterValidator(_here_or_store)]


class Frozen(BaseModel):
    """Base of every part of a recipe: frozen, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", defer_build=True, allow_inf_nan=False
    )


class StepConfig(Frozen):
    """Base of every step's section.

    alone: the setting that a string in the section's place stands for, if any.
    """

    alone: ClassVar[str | None] = None


class Budget(StepConfig):
    """How many rows to keep: a fraction or a count, exact to the row."""

    #: Share of the rows to keep, 0 to 1.
    keep_fraction: Fraction | None = None
    #: Number of rows to keep.
    keep_count: Annotated[int, Field(ge=0)] | None = None
    #: What a fraction refers to: the rows that enter the step, or the whole pool.
    of: Literal["entering", "pool"] = "entering"

    @model_validator(mode="after")
    def _one_budget(self) -> Budget:
        if self.keep_fraction is not None and self.keep_count is not None:
            raise ValueError(
                "give keep_fraction or keep_count, not both: set the other one to "
                "null (keep_fraction=null)"
            )
        return self

    @property
    def has_budget(self) -> bool:
        """Whether a fraction or a count is set."""
        return self.keep_fraction is not None or self.keep_count is not None


class TiedBudget(Budget):
    """A budget of scores that may be equal."""

    #: uid: exactly as many rows, equal scores by uid. keep: as DataComp's code, the
    #: score of the row after the last one is the least, and all rows of it stay.
    ties: Literal["uid", "keep"] = "uid"


class RequiredBudget(Budget):
    """A budget that has to be given."""

    @model_validator(mode="after")
    def _some_budget(self) -> RequiredBudget:
        if not self.has_budget:
            raise ValueError("give keep_fraction (0 to 1) or keep_count (rows)")
        return self
