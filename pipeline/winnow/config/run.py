"""The whole recipe: input, model, engine, output, steps and their sections."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
)

from winnow.config.file_names import MaybeFile, NamesFile
from winnow.config.model import ModelConfig
from winnow.config.section import Frozen, RunLocation, StepConfig
from winnow.config.step_kinds import has_section, packages_of, sections, step_of
from winnow.config.text_encoding import single_byte
from winnow.config.yaml_text import require_finite, shown
from winnow.core.engine import DRIVER_BYTES, DRIVER_ROWS, DeviceChoice
from winnow.core.errors import ConfigError, did_you_mean
from winnow.core.extensions import load_part

_REPEATED = re.compile(r"^(?P<kind>[a-z]+(?:_[a-z]+)*)_(?P<number>[2-9]|[1-9]\d+)$")


class InputColumns(Frozen):
    """Names of the input's columns; a modality without a column is absent."""

    #: None: a content hash of the sample.
    uid: str | None = "uid"
    #: Bytes of an image, a struct of bytes and path, or a path in the pool.
    image: str | None = "image"
    #: A caption or text, or a list of them (see `captions`).
    text: str | None = "text"


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class CsvFilesConfig(Frozen):
    """How the CSV or TSV files of a pool are written, where they do not say it."""

    #: Between two values; null: `,` `;` tab or `|`, as the first line has them.
    delimiter: Annotated[str, Field(pattern=r"^[\x01-\x7f]$")] | None = None
    #: Whether the first line names the columns; null: unless it is a row of a list
    #: of images, one of its values a path or URL of one.
    header: bool | None = None
    #: Names of the columns of files without such a line.
    columns: tuple[str, ...] | None = None
    #: An encoding of one byte a letter, or utf-8; of UTF-16 write UTF-8 first.
    encoding: Annotated[str, AfterValidator(single_byte)] = "utf-8"


class InputConfig(Frozen):
    """Where the pool is and what its columns mean."""

    #: Folders, files, globs or URLs of shards; a table in memory from Python.
    path: Annotated[
        tuple[str, ...],
        NamesFile(),
        BeforeValidator(_one_or_more),
        Field(min_length=1),
    ]
    #: Format of the shards, one of `winnow.formats`; auto: what `path` says.
    format: str = "auto"
    columns: InputColumns = InputColumns()
    #: How CSV and TSV files are written; null: as the files say themselves.
    csv: CsvFilesConfig | None = None
    #: Shards that differ: an error, or one schema that takes them all: the wider of two
    #: widths, null where a shard lacks a column.
    schema_rule: Annotated[Literal["strict", "promote"], Field(alias="schema")] = (
        "strict"
    )
    #: Of a list of captions in `columns.text`: the first, all as lines, or the longest.
    captions: Literal["first", "all", "longest"] = "first"
    #: How images that rows name by path are known from one run to the next: by size and
    #: time of their files, or by what is in them, for which each is read.
    image_check: Literal["size", "content"] = "size"
    #: A shard that is not whole: an error, or left out and reported.
    on_bad_shard: Literal["error", "skip"] = "error"
    #: Further rows of a uid: quarantined, or an error.
    on_duplicate_uid: Literal["quarantine", "error"] = "quarantine"
    #: Share of the pool that may end in quarantine; beyond it the run stops.
    max_quarantined: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5


class EngineConfig(Frozen):
    """Where the steps run."""

    #: This machine, or Apache Spark.
    name: Literal["local", "spark"] = "local"
    #: MiB of rows that a sort, a join or one bucket of groups holds in memory; more go
    #: through scratch files, and a cluster whose vectors are larger is compared block
    #: by block.
    group_mb: Annotated[int, Field(gt=0)] = 256
    #: Bytes of images that a step holds at a time, encoded as they are, whatever holds
    #: them; a larger image is read by itself.
    batch_mb: Annotated[int, Field(gt=0, le=1024)] = 64
    #: Edges (or digests of one band of `minhash`) that one process joins in memory;
    #: above it they are joined where they lie.
    driver_rows: Annotated[int, Field(ge=0)] = DRIVER_ROWS
    #: MiB of rows that Spark's driver joins, sorts and groups by itself, in memory that
    #: `group_mb` bounds, if they are not more than `driver_rows` either; larger tables
    #: are Spark's, and with 0 all are.
    driver_mb: Annotated[int, Field(ge=0)] = DRIVER_BYTES // 2**20
    #: What multiplies vectors: for k-means, nearest centroids and semantic duplicates.
    #: cpu: this processor; auto: a GPU where torch sees one and rows are not few; cuda:
    #: a GPU, or an error. Decisions are the same. Models take a GPU whatever it says.
    device: DeviceChoice = "cpu"
    #: Parts of every shuffle in Spark; null: as many as it finds fit.
    partitions: Annotated[int, Field(gt=0)] | None = None
    #: Rows of an Arrow batch between Spark and Python.
    batch_rows: Annotated[int, Field(gt=0)] = 16_384
    #: Folder for scratch files that driver and workers see; null: in the run's own.
    scratch: MaybeFile = None
    #: Settings of Spark itself, for a session that is not there yet.
    spark: dict[str, str | int | float | bool] = Field(default_factory=dict)


class OutputConfig(Frozen):
    """Where the run goes."""

    #: Folder of the run, or its URL on an object store.
    path: RunLocation = "runs/winnow"
    #: Whether the run ends with a page, `report.html`.
    report: bool = True


class RunConfig(Frozen):
    """A validated recipe."""

    #: What kind of recipe this is.
    flow: Literal["image_text"] = "image_text"
    input: InputConfig
    model: ModelConfig = ModelConfig()
    engine: EngineConfig = EngineConfig()
    output: OutputConfig = OutputConfig()
    #: Of k-means, scores that draw, and random batches; uid hashes need none.
    seed: Annotated[int, Field(ge=0)] = 0
    #: A file of rows to rescue and to drop; see `config.overrides`.
    overrides: MaybeFile = None
    #: Names of step instances, in order: `cluster`, …, `cluster_2`.
    steps: tuple[str, ...]
    sections: dict[str, StepConfig]

    def section(self, step: str) -> StepConfig:
        """Return the settings of a step instance."""
        return self.sections[step]

    @property
    def packages(self) -> list[str]:
        """The packages of others that its steps and scores stand in."""
        parts = (getattr(section, "parts", ()) for section in self.sections.values())
        methods = {part.method for terms in parts for part in terms}
        return packages_of({kind_of(step) for step in self.steps}, methods)

    def as_recipe(self) -> dict[str, Any]:
        """Return the recipe as plain values, every default written out."""
        plain = self.model_dump(mode="json", exclude={"sections"}, by_alias=True)
        for name in self.steps:
            plain[name] = self.sections[name].model_dump(mode="json")
        return plain


def kind_of(step: str) -> str:
    """Return the step's kind: `cluster` for `cluster_2`."""
    match = _REPEATED.match(step)
    return match["kind"] if match else step


def parse(recipe: Mapping[str, Any]) -> RunConfig:
    """Validate a recipe.

    Raises ConfigError that names each faulty key and the nearest valid one.
    """
    require_finite(recipe)
    raw = dict(recipe)
    sections_of = [name for name in raw if _is_section(str(name))]
    given = {name: raw.pop(name) for name in sections_of}
    _known_keys(raw)
    steps = _instances(raw.get("steps"))
    sections: dict[str, StepConfig] = {}
    for name, values in given.items():
        sections[name] = _section(name, values)
    _all_used(given, steps)
    for name in steps:
        if name not in sections:
            inherited = given.get(kind_of(name))
            sections[name] = _section(name, inherited)
    raw["steps"] = steps
    raw["sections"] = {name: sections[name] for name in steps}
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        raise as_config_error(error, RunConfig) from error


def _known_keys(raw: Mapping[str, Any]) -> None:
    for key in raw:
        if key not in RunConfig.model_fields or key == "sections":
            known = {*RunConfig.model_fields, *sections()} - {"sections"}
            raise ConfigError(f"unknown key '{key}'; {did_you_mean(str(key), known)}")


def is_unused(name: str, steps: Any) -> bool:
    """Whether a recipe's key is a section that none of its `steps` takes.

    steps: names as a recipe gives them, `cluster` twice or `cluster` and `cluster_2`.
    """
    if not (_is_section(name) and isinstance(steps, list | tuple)):
        return False
    kind = kind_of(name)
    times = sum(kind_of(str(step)) == kind for step in steps)
    if name == kind:
        return not times
    return int(name.removeprefix(f"{kind}_")) > times


def _all_used(given: Mapping[str, Any], steps: Sequence[str]) -> None:
    """Refuse a section that no step takes: its settings would be ignored."""
    for name in given:
        if is_unused(name, steps):
            raise ConfigError(
                f"{name}: no step takes this section; add '{kind_of(name)}' to steps "
                f"({', '.join(steps)}), or remove the section"
            )


def _instances(steps: Any) -> tuple[str, ...]:
    """Number repeated steps: the second `cluster` becomes `cluster_2`."""
    if not isinstance(steps, list | tuple) or not steps:
        raise ConfigError("steps: give a list of steps, in order")
    seen: dict[str, int] = {}
    names = []
    for step in steps:
        kind = kind_of(str(step))
        if not has_section(kind):
            raise ConfigError(
                f"steps: unknown step '{step}'; {did_you_mean(str(step), sections())}"
            )
        seen[kind] = seen.get(kind, 0) + 1
        name = kind if seen[kind] == 1 else f"{kind}_{seen[kind]}"
        if step not in (kind, name):
            raise ConfigError(f"steps: '{step}' is number {seen[kind]} of its kind")
        names.append(name)
    return tuple(names)


def _section(name: str, values: Any) -> StepConfig:
    model = _model_of(kind_of(name))
    if isinstance(values, str) and model.alone is not None:
        values = {model.alone: values}
    if values is not None and not isinstance(values, Mapping):
        raise ConfigError(f"{name}: give a section of keys, not {shown(values)}")
    try:
        return model.model_validate(dict(values or {}))
    except ValidationError as error:
        raise as_config_error(error, model, f"{name}.") from error


def _model_of(kind: str) -> type[StepConfig]:
    """Return what the settings of a kind of step are."""
    model = load_part(step_of(kind).section or StepConfig)
    if not (isinstance(model, type) and issubclass(model, StepConfig)):
        raise ConfigError(
            f"{kind}: its section is {model!r}, no class that derives from StepConfig"
        )
    return model


def _is_section(key: str) -> bool:
    """Whether a key of a recipe is a step's section rather than one of the recipe."""
    return key not in RunConfig.model_fields and has_section(kind_of(key))


def as_config_error(
    error: ValidationError, model: type[BaseModel], prefix: str = ""
) -> ConfigError:
    """Name each faulty key and the nearest valid one; `prefix` is its section."""
    lines = []
    for fault in error.errors():
        path = [str(part) for part in fault["loc"]]
        where = prefix + ".".join(path)
        if fault["type"] == "extra_forbidden":
            fields = _fields_at(model, path[:-1])
            lines.append(f"unknown key '{where}'; {did_you_mean(path[-1], fields)}")
        elif fault["type"] == "missing":
            lines.append(f"{where}: is required")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            # What a whole section was given helps nobody.
            whole = isinstance(fault["input"], Mapping | BaseModel)
            got = "" if whole else f" (got {shown(fault['input'])})"
            lines.append(f"{where.rstrip('.')}: {message}{got}")
    return ConfigError("\n".join(lines))


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """Names of the fields of the model that a path of keys leads to."""
    for part in path:
        if part not in model.model_fields:
            return []
        inner = model.model_fields[part].annotation
        candidates = [inner, *getattr(inner, "__args__", ())]
        nested = [
            c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)
        ]
        if not nested:
            return []
        model = nested[0]
    return list(model.model_fields)
