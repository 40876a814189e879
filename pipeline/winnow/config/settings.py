"""Settings given as values, written as the command line's `section.key=value`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from winnow.core.errors import ConfigError


def as_overrides(settings: Mapping[str, Any] | None) -> list[str]:
    """Return settings as the overrides that `load` takes.

    settings: by dotted key (`{"semantic.epsilon": 0.1}`) or by section
    (`{"semantic": {"epsilon": 0.1}}`), which changes the named keys alone. A mapping
    whose own keys hold a dot (settings of Spark, say) is taken whole. None: none.

    Raises ConfigError for a value that a recipe cannot hold.
    """
    return [f"{key}={_yaml(key, value)}" for key, value in _flat("", settings or {})]


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        key = f"{prefix}{name}"
        nested = isinstance(value, Mapping) and value
        if nested and not any("." in str(inner) for inner in value):
            yield from _flat(f"{key}.", value)
        else:
            yield key, value


def _yaml(key: str, value: Any) -> str:
    plain = _plain(value)
    try:
        text = yaml.safe_dump(plain, default_flow_style=True, width=math.inf)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{key}: a recipe cannot hold a {type(value).__name__}; give text, "
            "numbers, lists or mappings"
        ) from error
    return text.removesuffix("\n").removesuffix("\n...")


def _plain(value: Any) -> Any:
    """Return paths and NumPy's numbers as what YAML knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    return value.item() if type(value).__module__ == "numpy" else value
