"""Recipes: YAML in which a key written twice is an error, found by path or name."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml

from winnow.config import lake
from winnow.config.lake import LakeConfig
from winnow.config.run import RunConfig, is_unused, parse
from winnow.config.yaml_text import parse_yaml, shown
from winnow.core.errors import ConfigError, did_you_mean

# `conf/` lies beside the package in a checkout and inside it in a wheel.
_PACKAGE = Path(__file__).resolve().parents[1]
_FOLDERS = (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf")

_SCHEMA = "recipe.schema.json"
_SUFFIXES = (".yaml", ".yml")
#: Which command takes the recipes of a flow.
_COMMANDS = {
    "image_text": "winnow run",
    "table_lake": "winnow lake scan",
    "filter_train": "winnow filter train",
}


def shipped() -> dict[str, Path]:
    """Return the recipes of every flow that come with the package, by name."""
    for folder in _FOLDERS:
        files = [
            *sorted(folder.glob("*.yaml")),
            *sorted(folder.glob("datacomp/*.yaml")),
        ]
        names = (file.relative_to(folder).with_suffix("") for file in files)
        if files:
            return {str(n.as_posix()): f for n, f in zip(names, files, strict=True)}
    return {}


def find(recipe: str) -> Path:
    """Return the file of a recipe given by path or by name.

    Raises ConfigError with the nearest name if there is none.
    """
    path = Path(recipe)
    # A name too long for the file system is no file's either.
    with contextlib.suppress(OSError):
        if path.is_file():
            return path
    known = shipped()
    if recipe in known:
        return known[recipe]
    if path.suffix in _SUFFIXES or os.sep in recipe:
        near = {str(path.with_name(file.name)) for file in _recipes_in(path.parent)}
        hint = did_you_mean(recipe, near or known)
        raise ConfigError(f"there is no file '{recipe}'; {hint}")
    raise ConfigError(f"no recipe '{recipe}'; {did_you_mean(recipe, known)}")


def _recipes_in(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [f for f in folder.iterdir() if f.suffix in _SUFFIXES]
    return []


def shipped_engines() -> dict[str, Path]:
    """Return the shipped settings of engines (`conf/engine/`), by name."""
    for folder in _FOLDERS:
        engines = {file.stem: file for file in sorted(folder.glob("engine/*.yaml"))}
        if engines:
            return engines
    return {}


def engine_section(engine: str) -> dict[str, Any]:
    """Return the section `engine` of a file given by path or by shipped name.

    Raises ConfigError if there is none, or if it holds anything else.
    """
    known = shipped_engines()
    path = Path(engine) if engine not in known else known[engine]
    if not path.is_file():
        raise ConfigError(f"--engine {engine}: {did_you_mean(engine, known)}")
    values = read(path)
    if set(values) != {"engine"} or not isinstance(values["engine"], dict):
        raise ConfigError(f"{path}: holds one section, `engine:`, and nothing else")
    return values["engine"]


def copy_shipped(folder: str | Path) -> list[Path]:
    """Copy the shipped recipes and engines to a folder for editing.

    Raises ConfigError rather than replacing a file that is there.
    """
    target = Path(folder)
    copies = {source: target / f"{name}.yaml" for name, source in shipped().items()}
    for source in shipped_engines().values():
        copies[source] = target / "engine" / source.name
    there = [copy for copy in copies.values() if copy.exists()]
    if there:
        raise ConfigError(f"{there[0]} exists; choose another folder")
    for source, copy in copies.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        if copy.parent.name == "engine":
            continue
        # Editors complete and check a recipe by it.
        up = "../" * (len(copy.relative_to(target).parts) - 1)
        text = copy.read_text(encoding="utf-8")
        head = f"# yaml-language-server: $schema={up}{_SCHEMA}\n"
        copy.write_text(head + text, encoding="utf-8")
    schema = next(iter(shipped().values())).parent / _SCHEMA
    shutil.copyfile(schema, target / _SCHEMA)
    return list(copies.values())


def read(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; raises ConfigError that names file and line."""
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid YAML: no UTF-8 ({error})") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a recipe is a mapping of sections")
    return values


def flow_of(values: Mapping[str, Any]) -> str:
    """Return the flow that a recipe is for (its key `flow`); samples by default."""
    return str(values.get("flow", "image_text"))


def load(
    recipe: str | Path,
    overrides: Sequence[str] = (),
    out: str | None = None,
    engine: str | None = None,
) -> RunConfig:
    """Read, override (`section.key=value`) and validate a recipe of samples.

    `engine` is a file of engine settings, or the name of a shipped one.
    """
    return parse(load_values(recipe, overrides, out, "image_text", engine))


def load_lake(
    recipe: str | Path,
    overrides: Sequence[str] = (),
    out: str | None = None,
    engine: str | None = None,
) -> LakeConfig:
    """Read, override and validate a recipe of tables."""
    return lake.parse(load_values(recipe, overrides, out, "table_lake", engine))


def load_any(
    recipe: str | Path,
    overrides: Sequence[str] = (),
    out: str | None = None,
    engine: str | None = None,
) -> RunConfig | LakeConfig:
    """Read, override and validate a recipe of any flow."""
    flow = flow_of(read(find(str(recipe))))
    if flow == "table_lake":
        return load_lake(recipe, overrides, out, engine)
    return load(recipe, overrides, out, engine)


def parse_any(recipe: Mapping[str, Any]) -> RunConfig | LakeConfig:
    """Validate a recipe of any flow, given as values."""
    if flow_of(recipe) == "table_lake":
        return lake.parse(recipe)
    return parse(recipe)


def load_scan(
    folder: str, recipe: str, overrides: Sequence[str], out: str | None
) -> LakeConfig:
    """Read a recipe of tables for the lake in `folder`."""
    values = load_values(recipe, overrides, out, "table_lake")
    values["input"] = {**_section(values, "input"), "path": folder}
    return lake.parse(values)


def load_values(
    recipe: str | Path,
    overrides: Sequence[str],
    out: str | None,
    flow: str,
    engine: str | None = None,
) -> dict[str, Any]:
    """Read and override a recipe that must be of the given flow.

    Settings of `engine` take the place of the recipe's, `overrides` of both.
    """
    values = read(find(str(recipe)))
    if flow_of(values) != flow:
        command = _COMMANDS.get(flow_of(values))
        raise ConfigError(
            f"{recipe}: is a recipe for `{command}`"
            if command
            else f"{recipe}: flow: {did_you_mean(flow_of(values), _COMMANDS)}"
        )
    if engine is not None:
        values["engine"] = {**_section(values, "engine"), **engine_section(engine)}
    for setting in overrides:
        override(values, setting)
    if out is not None:
        values["output"] = {**_section(values, "output"), "path": out}
    return values


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = values.get(name) or {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"{name}: give a section of keys, not {shown(section)}")
    return section


def settings(overrides: Sequence[str]) -> dict[str, Any]:
    """Return `KEY=VALUE` settings of one section, values read as YAML."""
    values: dict[str, Any] = {}
    for setting in overrides:
        override(values, setting)
    return values


def override(values: dict[str, Any], setting: str) -> None:
    """Change a recipe's values by one `section.key=value`, the value read as YAML."""
    key, separator, text = setting.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {setting}: write section.key=value")
    *sections, last = key.split(".")
    section_values = values
    for section in sections:
        inner = section_values.setdefault(section, {})
        if inner is None:
            inner = section_values[section] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {setting}: '{section}' is not a section")
        section_values = inner
    try:
        section_values[last] = parse_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"--set {_beginning(setting)}: {error}") from error
    if key == "steps":
        _without_unused(values)


def _without_unused(values: dict[str, Any]) -> None:
    """Remove the sections of steps that are no longer asked for."""
    steps = values["steps"]
    for name in [name for name in values if is_unused(name, steps)]:
        del values[name]


def _beginning(setting: str) -> str:
    return setting if len(setting) <= 100 else setting[:100] + "…"


class ValidRecipe(Protocol):
    """A validated recipe of any flow."""

    def as_recipe(self) -> dict[str, Any]:
        """Return it as plain values."""
        ...


def dump(config: ValidRecipe) -> str:
    """Return the resolved recipe as YAML; running it again gives the same run."""
    return dump_values(config.as_recipe())


def dump_values(values: Mapping[str, Any]) -> str:
    """Return a recipe's values as YAML, in their order."""
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)


def spark_text(value: object) -> str:
    """Write a setting as Spark reads it: YAML's true is Spark's `true`."""
    return str(value).lower() if isinstance(value, bool) else str(value)
