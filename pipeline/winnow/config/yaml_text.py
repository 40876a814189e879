"""YAML that somebody wrote: plain values of a bounded size, or one sentence.

PyYAML's constructors raise whatever their conversions do (ValueError of a date without
such a month, IndexError of an empty `!!int`), its parser recurses into every bracket,
and an alias may stand for itself or for a billion values.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Hashable, Mapping
from typing import Any

import yaml

from winnow.core.errors import ConfigError

#: Values that stand in each other, and values in all, aliases written out.
_DEEPEST = 40
_MOST = 1_000_000

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80


class _UniqueKeys(yaml.SafeLoader):
    """YAML's safe loader, but a repeated key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, Hashable):
                raise ConfigError(f"line {line}: a key is a word, not {shown(key)}")
            if key in seen:
                raise ConfigError(f"line {line}: the key '{key}' is written twice")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def parse_yaml(text: str, *, as_texts: bool = False) -> Any:
    """Return what YAML says, as plain values.

    as_texts: whether every value stays the text it is (a uid of digits, say).

    Raises ConfigError for what is no YAML, repeats a key, nests more than 40 deep or
    holds more than a million values. Example: `parse_yaml("a: [1, 2]")` is
    `{"a": [1, 2]}`.
    """
    loader = yaml.BaseLoader if as_texts else _UniqueKeys
    try:
        value = yaml.load(text, Loader=loader)
    except (ConfigError, MemoryError):
        raise
    except RecursionError as error:
        raise ConfigError("not valid YAML: too deeply nested") from error
    except Exception as error:  # any constructor may raise anything on hostile text
        raise ConfigError(f"not valid YAML: {_reason(error)}") from error
    check_size(value)
    return _unshared(value)


def check_size(value: Any) -> None:
    """Raise ConfigError for values that nest too deeply, or in themselves."""
    count = 0
    waiting = [(value, 1)]
    while waiting:
        inner, depth = waiting.pop()
        count += 1
        if depth > _DEEPEST:
            raise ConfigError(f"more than {_DEEPEST} values stand in each other")
        if count > _MOST:
            raise ConfigError(f"more than {_MOST:,} values, aliases written out")
        if isinstance(inner, Mapping):
            waiting += [(part, depth + 1) for part in inner.values()]
        elif isinstance(inner, list | tuple):
            waiting += [(part, depth + 1) for part in inner]


def _unshared(value: Any) -> Any:
    """Return a copy in which nothing stands twice: a setting changes one place."""
    if isinstance(value, dict):
        return {key: _unshared(inner) for key, inner in value.items()}
    return [_unshared(inner) for inner in value] if isinstance(value, list) else value


def require_finite(values: Mapping[str, Any]) -> None:
    """Raise ConfigError if a setting is infinite or no number; it names the key.

    So is a whole number beyond 64 bits, which no column and no seed takes. A model's
    own fields refuse infinity themselves; this looks where any value is allowed.
    """
    check_size(values)
    waiting: list[tuple[str, Any]] = [(str(key), values[key]) for key in values]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [(f"{key}.{name}", inner) for name, inner in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [(f"{key}.{n}", inner) for n, inner in enumerate(value)]
        elif isinstance(value, float | int) and not _is_finite(key, value):
            raise ConfigError(f"{key}: give a finite number (got {shown(value)})")


def _is_finite(key: str, value: float) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    may = key.rpartition(".")[2] in _MAY_BE_INFINITE and not math.isnan(value)
    return may or math.isfinite(value)


#: Settings for which infinity has a meaning of its own.
_MAY_BE_INFINITE = ("penalty",)


def shown(value: Any) -> str:
    """Return a value as an error shows it: the beginning of a long one."""
    return _repr.repr(value)


def _reason(error: Exception) -> str:
    """Return what is wrong in one line, with the line of the text where known."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        where = f"line {error.problem_mark.line + 1}"
        return f"{where}: {error.problem or error.context}"
    return " ".join(str(error).split())[:200] or type(error).__name__
