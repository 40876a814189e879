"""What recipes may say: every key with its type, default and meaning, and as a schema.

Meanings are the comments above the keys (`#:`) in the sections' models: they are
written once.
"""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from winnow.config.filter_train import FilterTrainConfig
from winnow.config.lake import LakeConfig
from winnow.config.recipes import shipped
from winnow.config.run import RunConfig
from winnow.config.section import StepConfig
from winnow.config.step_kinds import sections, step_of
from winnow.core.errors import ConfigError, did_you_mean
from winnow.core.extensions import load_part

#: The model of each flow's recipes.
FLOWS: Mapping[str, type[BaseModel]] = {
    "image_text": RunConfig,
    "table_lake": LakeConfig,
    "filter_train": FilterTrainConfig,
}
SCHEMA_FILE = "recipe.schema.json"
#: What the methods' sources have as defaults: {section: {key: words}}; `make docs`
#: writes it from the methods' pages.
SOURCES_FILE = "source_defaults.json"
_MEANT = re.compile(r"((?:^    #:.*\n)+)^    (\w+)\s*:", re.MULTILINE)
_WORDS: dict[Any, str] = {
    int: "integer",
    float: "number",
    str: "text",
    bool: "true or false",
    type(None): "null",
}


@dataclass(frozen=True)
class Key:
    """One key of a recipe.

    section: where it stands, '' for the recipe itself, `input.columns` for what is
    nested. default: as YAML would say it; '' for a key that has to be given.
    """

    flow: str
    section: str
    name: str
    type: str
    default: str
    meaning: str


def source_defaults() -> dict[str, dict[str, str]]:
    """Return the defaults of the methods' sources, by section and key, in words."""
    file = next(iter(shipped().values())).parent / SOURCES_FILE
    told: dict[str, dict[str, str]] = json.loads(file.read_text(encoding="utf-8"))
    return told


def recipe_keys(section: str | None = None) -> list[Key]:
    """Return the keys of all flows' recipes, in order.

    section: only those of a section (`semantic`) and of what is nested in it.

    Raises ConfigError for a section that no recipe has.
    """
    keys = [key for flow in FLOWS for key in _of_flow(flow)]
    if section is None:
        return keys
    wanted = [
        k
        for k in keys
        if k.section.split(".")[: len(section.split("."))] == section.split(".")
    ]
    if not wanted:
        known = {key.section for key in keys if key.section}
        raise ConfigError(f"no section '{section}'; {did_you_mean(section, known)}")
    return wanted


def about(section: str) -> str:
    """Return what a section is for, '' if nobody says."""
    for flow in FLOWS:
        for name, model in _models(flow):
            if name == section:
                return (inspect.getdoc(model) or "").partition("\n")[0]
    return ""


def recipe_schema() -> dict[str, Any]:
    """Return a JSON Schema of recipes of any flow, for editors."""
    branches, definitions = [], {}
    for flow, model in FLOWS.items():
        one = _schema_of(model)
        if flow == "image_text":
            definitions = _add_steps(one)
        named = {"properties": {"flow": {"const": flow}}}
        if flow != "image_text":
            named["required"] = ["flow"]  # type: ignore[assignment]
        branches.append({"if": named, "then": one})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A recipe of Winnow",
        "type": "object",
        "properties": {"flow": {"enum": list(FLOWS)}},
        "allOf": branches,
        "$defs": definitions,
    }


def schema_text() -> str:
    """Return the schema as the text of the file that is shipped."""
    return json.dumps(recipe_schema(), indent=1, ensure_ascii=False) + "\n"


def _of_flow(flow: str) -> Iterator[Key]:
    for section, model in _models(flow):
        meanings = _meanings(model)
        for name, field in model.model_fields.items():
            if name == "sections" or _model_in(field.annotation) is not None:
                continue
            meaning = meanings.get(name, "")
            kind, said = _type(field.annotation), field.alias or name
            yield Key(flow, section, said, kind, _default(field), meaning)


def _models(flow: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield from _nested("", FLOWS[flow])
    if flow == "image_text":
        for kind in sections():
            yield from _nested(kind, load_part(step_of(kind).section or StepConfig))


def _nested(
    section: str, model: type[BaseModel]
) -> Iterator[tuple[str, type[BaseModel]]]:
    yield section, model
    for name, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        if inner is not None:
            said = field.alias or name
            yield from _nested(f"{section}.{said}".lstrip("."), inner)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    for one in (annotation, *_alternatives(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """Return what a value may be, or what it is a list of."""
    if get_origin(annotation) in (tuple, list) or _is_union(annotation):
        inner = get_args(annotation)
        return (*inner, *(deep for one in inner for deep in _alternatives(one)))
    return ()


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    told: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if issubclass(one, BaseModel) and one is not BaseModel:
            told |= _said_of(one)
    return told


@cache
def _said_of(model: type[BaseModel]) -> dict[str, str]:
    """Return the meanings in a class's own source, which is parsed to be found."""
    told: dict[str, str] = {}
    for comment, name in _MEANT.findall(inspect.getsource(model)):
        lines = (
            line.strip().removeprefix("#:").strip() for line in comment.splitlines()
        )
        told[name] = " ".join(lines)
    return told


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0])
    if origin is Literal:
        return ", ".join(map(str, inner))
    if _is_union(annotation):
        return " or ".join(dict.fromkeys(map(_type, inner)))
    if origin in (tuple, list):
        kinds = dict.fromkeys(_type(one) for one in inner if one is not Ellipsis)
        return f"list of {' or '.join(kinds)}"
    if origin is dict or annotation is dict:
        return "section of your own keys"
    return _WORDS.get(annotation, "anything")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    plain = list(value) if isinstance(value, tuple) else value
    return plain if isinstance(plain, str) and plain else json.dumps(plain, default=str)


def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/$defs/{model}")
    _inlined(schema, schema.pop("$defs", {}))
    _say_meanings(schema, model)
    return schema


def _inlined(value: Any, definitions: Mapping[str, Any]) -> None:
    """Put what is referred to in its place: branches have no definitions in common."""
    inner = list(value.values()) if isinstance(value, dict) else value
    if isinstance(value, dict) and "$ref" in value:
        name = value.pop("$ref").rpartition("/")[2]
        value.update(
            {
                k: v
                for k, v in json.loads(json.dumps(definitions[name])).items()
                if k not in value
            }
        )
        inner = list(value.values())
    for one in inner if isinstance(inner, list) else ():
        if isinstance(one, dict | list):
            _inlined(one, definitions)


def _say_meanings(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Describe a model's keys, and let a text stand for what it may stand for."""
    meanings, entries = _meanings(model), schema.get("properties", {})
    for name, field in model.model_fields.items():
        said, inner = field.alias or name, _model_in(field.annotation)
        entry = entries.get(said)
        if entry is None:
            continue
        if inner is not None:
            for part in (entry, entry.get("items", {}), *entry.get("anyOf", ())):
                if "properties" in part:
                    _say_meanings(part, inner)
        if _takes_text(field, inner):
            entries[said] = {"anyOf": [dict(entry), {"type": "string"}]}
        if name in meanings:
            entries[said]["description"] = meanings[name]


def _takes_text(field: FieldInfo, inner: type[BaseModel] | None) -> bool:
    """Whether a key reads a text as a list of one, or as a section's main setting."""
    if any(isinstance(one, BeforeValidator) for one in field.metadata):
        return True
    if inner is None:
        return False
    checks = inner.__pydantic_decorators__.model_validators.values()
    return any(check.info.mode == "before" for check in checks)


def _add_steps(schema: dict[str, Any]) -> dict[str, Any]:
    """Refer to the steps' sections, and return them and what stands for them."""
    properties = schema["properties"]
    properties.pop("sections")
    schema["required"] = [n for n in schema["required"] if n != "sections"]
    numbered, definitions = {}, {}
    for kind in sections():
        model = load_part(step_of(kind).section or StepConfig)
        may_be = [_schema_of(model), {"type": "null"}]
        if model.alone is not None:
            may_be.append({"type": "string"})
        definitions[kind] = {"anyOf": may_be, "description": about(kind)}
        section = {"$ref": f"#/$defs/{kind}"}
        properties[kind] = section
        numbered[f"^{kind}_([2-9]|[1-9][0-9]+)$"] = section
    schema["patternProperties"] = numbered
    return definitions
