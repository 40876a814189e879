"""The recipe of a table lake: where it is, what counts as equal, what storage costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from winnow.config.file_names import NamesFile
from winnow.config.run import EngineConfig, OutputConfig, as_config_error
from winnow.config.section import Frozen
from winnow.config.yaml_text import require_finite

_Fraction = Annotated[float, Field(gt=0, le=1)]
_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class LakeInput(Frozen):
    """Where the tables are."""

    #: Folder or URL of the lake.
    path: Annotated[str, NamesFile()]
    #: Globs over names below `path`; a table that matches `exclude` is not looked at.
    include: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ("**",)
    #: Globs of names that are left out.
    exclude: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ()
    #: Passed to fsspec (endpoint, keys, …); secrets belong in the environment.
    storage_options: dict[str, Any] = Field(default_factory=dict)
    #: Text columns of at most so many stored MB a table are looked through for bytes
    #: that are no UTF-8 even if no pair needs them; those of writers that check it are
    #: not.
    check_text_mb: Annotated[float, Field(ge=0)] = 1.0


class CsvConfig(Frozen):
    """How CSV files are read where that cannot be told from the file itself."""

    #: A name that Python knows (`latin-1`, `cp1252`); null: UTF-16 if the file is so
    #: marked, else UTF-8.
    encoding: str | None = None
    #: Null: what splits the first line into most columns.
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    #: Unquoted fields that are null, besides the empty one: `NA`, say.
    null_values: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ()
    #: Lines that begin with it are left out.
    comment: Annotated[str, Field(min_length=1, max_length=1)] | None = None


class TableSketchConfig(Frozen):
    """Sizes of the one-sided sketches."""

    #: Smallest hashes kept of a column (and of the rows).
    kmv: Annotated[int, Field(ge=16)] = 256
    #: MinHash values, for near-duplicate tables and partial containment.
    num_perm: Annotated[int, Field(ge=16)] = 128


class ContentConfig(Frozen):
    """How rows are compared."""

    #: Rows of a child that are looked up before it is compared as a whole; a child with
    #: fewer rows is compared as a whole at once.
    sample_rows: Annotated[int, Field(ge=1)] = 1000


class PartialConfig(Frozen):
    """Which tables that are not contained are still worth a number."""

    #: Whether they are estimated.
    enabled: bool = True
    #: Share of a child's rows from which an edge is `partial` and not `refuted`.
    min_containment: _Fraction = 0.9
    #: Estimated similarity of row sets from which equal schemas are compared.
    min_similarity: _Fraction = 0.8
    #: Also sketch the tables of pairs that footers rule out; else such a pair is only
    #: looked at if both of its tables are read for other pairs.
    read_all: bool = False


class RebuildConfig(Frozen):
    """How hard a scan looks for the query that gives a contained table back."""

    #: Stored MB that a scan reads once more to look for the shortest queries (a pair
    #: counts as half a MB at least): first each contained table in the parent that is
    #: cheapest to read, small pairs before large ones. In other pairs rows are named
    #: by their positions, and `winnow lake plan` looks for a shorter query where it
    #: deletes the table.
    search_mb: Annotated[float, Field(ge=0)] = 128.0


class DerivedConfig(Frozen):
    """What is looked for beyond tables that lie in one other under the same names.

    Each of both costs one reading of tables that footers alone would have told apart.
    """

    #: Tables whose rows lie in several others together: unions, concatenated and
    #: re-sharded copies. Every table with the columns of another is read once; what
    #: the sketches leave is compared whole.
    unions: bool = False
    #: Tables that lie in another under other column names. Every table is read once;
    #: their sketches, about 6 kB a column, are held in memory.
    renamed: bool = False


class PlanConfig(Frozen):
    """Prices, speeds and promises that the deletion plan weighs.

    Money is per period (a month, with the defaults); the storage price is that of
    common object stores in 2026.
    """

    #: Price of keeping 1 GB for a period.
    storage_per_gb: _Price = 0.023
    #: Price of keeping a table, whatever its size, for a period.
    maintenance_per_table: _Price = 0.001
    #: Price of reading 1 GB for a rebuild.
    read_per_gb: _Price = 0.0005
    #: Price of computing over 1 GB for a rebuild.
    compute_per_gb: _Price = 0.005
    #: Price of writing 1 GB in a rebuild.
    write_per_gb: _Price = 0.0005
    #: How often a deleted table is asked for in a period; by table name or glob.
    accesses: Annotated[float, Field(ge=0)] = 0.1
    #: The same for some tables.
    accesses_of: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    #: Longest time a rebuild may take, in seconds; by table name or glob.
    max_latency: Annotated[float, Field(ge=0)] = 3600.0
    #: The same for some tables.
    max_latency_of: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict
    )
    #: Bytes per second that a rebuild reads and writes, in MB.
    rebuild_mb_per_s: Annotated[float, Field(gt=0)] = 50.0
    #: `strict`: a rebuild gives a table back in its own types and bits; `relaxed`:
    #: equal values in another type will do (a dictionary as text, 1.0 for 1).
    types: Literal["strict", "relaxed"] = "strict"
    #: Globs over table names that are never deleted.
    protected: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ()


class LakeConfig(Frozen):
    """A validated recipe of the table flow."""

    #: What kind of recipe this is.
    flow: Literal["table_lake"] = "table_lake"
    input: LakeInput
    output: OutputConfig = OutputConfig(path="runs/lake")
    engine: EngineConfig = EngineConfig()
    #: Of the sketches.
    seed: Annotated[int, Field(ge=0)] = 0
    #: Leaf columns (dotted paths) that do not count, row numbers say.
    ignore_columns: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ()
    #: `folded`: column names that differ in case only are the same.
    column_names: Literal["exact", "folded"] = "exact"
    #: How CSV files are read, by glob over their names; the first that fits counts.
    csv: dict[str, CsvConfig] = Field(default_factory=dict)
    #: `set`: a row counts once; `bag`: as often as it occurs.
    semantics: Literal["set", "bag"] = "set"
    sketch: TableSketchConfig = TableSketchConfig()
    content: ContentConfig = ContentConfig()
    partial: PartialConfig = PartialConfig()
    rebuild: RebuildConfig = RebuildConfig()
    derived: DerivedConfig = DerivedConfig()
    plan: PlanConfig = PlanConfig()

    def as_recipe(self) -> dict[str, Any]:
        """Return the recipe as plain values, every default written out."""
        return self.model_dump(mode="json")


def parse(recipe: Mapping[str, Any]) -> LakeConfig:
    """Validate a recipe.

    Raises ConfigError that names each faulty key and the nearest valid one.
    """
    require_finite(recipe)
    try:
        return LakeConfig.model_validate(dict(recipe))
    except ValidationError as error:
        raise as_config_error(error, LakeConfig) from error
