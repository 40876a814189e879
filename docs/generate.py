"""Write docs/reference.md from the docstrings of all public names: `make docs`."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import winnow

REFERENCE = Path(__file__).with_name("reference.md")

_HEAD = """# Reference

All that `import winnow` gives. Written by `make docs` from the docstrings; the examples
are run by the tests, over a pool of 60 rows in `pool/`, a run of it in `runs/first`
(`run`), 40 other rows in `held_out/`, a lake of two tables in `lake/` with its scan in
`runs/lake` (`lake`) and an index in `texts.index` (`texts`).

"""

_SECTIONS = {
    "Runs of samples": (
        *("analyze", "run", "plan", "open", "load_recipe", "submit", "demo_run"),
    ),
    "Lakes of tables": ("scan", "open_lake"),
    "Indexes of texts": ("index", "open_index"),
    "Proof": (
        *("prove", "tune", "budget", "weigh"),
        *("Proving", "Tuning", "Spending", "Weighing"),
    ),
    "Filters": ("train_filter", "evaluate_filter", "compare_filters"),
    "Theory": ("teacher_student",),
    "What they return": (
        *("Run", "FinishedRun", "KeptDataset", "Lake", "FinishedScan"),
        "AppFrame",
        *("TextIndex", "FilterResult", "ClassifierResult", "ArrowRows", "Facts"),
    ),
    "What filters are told": (
        *("Evaluation", "EvaluationColumns", "Distances", "Choosing", "Proxy"),
    ),
    "Errors": (
        *("WinnowError", "ConfigError", "InputError", "RunError", "QueryError"),
        "ConservationError",
    ),
}

_ITEM = re.compile(r"(\w+): (?=\S)")


def public_names() -> list[str]:
    """Return the public names, in the order of the reference."""
    return [name for names in _SECTIONS.values() for name in names]


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield a class's public methods and properties that Winnow defines, by name."""
    for name in sorted(vars_of(kind)):
        value = inspect.getattr_static(kind, name)
        inner = value.fget if isinstance(value, property) else value
        inner = getattr(inner, "__func__", getattr(inner, "func", inner))
        if inspect.isfunction(inner) and inner.__module__.startswith("winnow."):
            yield name, value


def vars_of(kind: type) -> set[str]:
    """Return the public names that a class and its bases define."""
    return {n for base in kind.__mro__ for n in vars(base) if not n.startswith("_")}


def function_of(member: Any) -> Any:
    """Return what carries the docstring and the signature of a method or property."""
    inner = member.fget if isinstance(member, property) else member
    return getattr(inner, "__func__", getattr(inner, "func", inner))


def parameters(value: Any) -> list[str]:
    """Return the parameters of a function or class that a caller names."""
    if inspect.isclass(value) and issubclass(value, Exception):
        return []
    if inspect.isclass(value) and not dataclasses.is_dataclass(value):
        value = value.__init__
    names = inspect.signature(value).parameters
    return [name for name in names if name not in ("self", "cls")]


def markdown(docstring: str) -> str:
    """Return a docstring with its parameters as a list and its example as code."""
    lines: list[str] = []
    example = False
    for line in inspect.cleandoc(docstring).splitlines():
        if line.startswith(">>> ") and not example:
            lines.append("```python")
            example = True
        elif example and not line:
            lines.append("```")
            example = False
        item = None if example else _ITEM.match(line)
        lines.append(f"- `{item[1]}`: {line[item.end() :]}" if item else line)
    return "\n".join([*lines, "```"] if example else lines)


def entry(name: str) -> str:
    """Return the entry of a public name."""
    value = getattr(winnow, name)
    title = f"### `winnow.{name}`\n\n"
    if not inspect.isclass(value):
        return f"{title}{_signature(name, value)}\n{markdown(value.__doc__)}\n"
    head = "" if issubclass(value, Exception) else _signature(name, value)
    parts = [f"{title}{head}\n{markdown(value.__doc__)}\n"]
    for inner, member in members(value):
        function = function_of(member)
        shown = f"#### `{name}.{inner}`\n\n"
        if not isinstance(member, property) and not hasattr(member, "func"):
            shown += f"{_signature(inner, function)}\n"
        parts.append(shown + markdown(function.__doc__) + "\n")
    return "\n".join(parts)


def _signature(name: str, value: Any) -> str:
    signature = inspect.signature(value)
    shown = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    returns = signature.return_annotation
    if inspect.isclass(value):
        returns = inspect.Signature.empty
    bare = signature.replace(parameters=shown, return_annotation=returns)
    text = str(bare).replace("'", "") if not _strings(shown) else _unquoted(bare)
    if len(name) + len(text) > 80 and shown:
        text = _broken(text)
    return f"```text\n{name}{text}\n```\n"


def _strings(shown: list[inspect.Parameter]) -> bool:
    return any(isinstance(p.default, str) for p in shown)


def _unquoted(signature: inspect.Signature) -> str:
    """Return a signature whose annotations lose their quotes and defaults keep them."""
    text = str(signature)
    text = re.sub(r": '([^']*)'", r": \1", text)
    return re.sub(r"-> '([^']*)'", r"-> \1", text)


def _broken(text: str) -> str:
    """Return a long signature with one parameter to a line."""
    inner, _, returns = text.rpartition(")")
    parts, depth, start = [], 0, 1
    for place, sign in enumerate(inner):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 1:
            parts.append(inner[start:place].strip())
            start = place + 1
    parts.append(inner[start:].strip())
    return "(\n" + "".join(f"    {part},\n" for part in parts) + f"){returns}"


def reference() -> str:
    """Return the reference as Markdown."""
    sections = (
        f"## {title}\n\n" + "\n".join(entry(name) for name in names)
        for title, names in _SECTIONS.items()
    )
    return _HEAD + "\n".join(sections)


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
    sys.stdout.write(f"{REFERENCE}\n")
