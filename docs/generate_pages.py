"""Write the reference of recipes, commands and reasons from the code: `make docs`."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from winnow.cli.main import leaves, parser
from winnow.config.keys import FLOWS, SOURCES_FILE, Key, about, recipe_keys
from winnow.config.reasons import DECISIONS, QUARANTINE
from winnow.config.step_kinds import STEPS

FOLDER = Path(__file__).parent
_WRITTEN = "Written by `make docs` from the code; a test holds the two together.\n"
_FLOWS = {
    "image_text": "Samples: images and captions, or texts (`flow: image_text`)",
    "table_lake": "Tables of a lake (`flow: table_lake`)",
    "filter_train": "Training a filter (`flow: filter_train`)",
}


def keys_page() -> str:
    """Return the page of recipe keys."""
    parts = [
        "# Keys of recipes\n",
        f"Every key with its type, default and meaning. {_WRITTEN}"
        "`winnow schema SECTION` prints the same in a terminal, `winnow schema "
        "--json-schema` a schema for editors.\n",
        _toc(),
    ]
    for flow in FLOWS:
        parts.append(f"## {_FLOWS[flow]}\n")
        keys = [key for key in recipe_keys() if key.flow == flow]
        for section, group in itertools.groupby(keys, key=lambda key: key.section):
            parts.append(_section(section, list(group)))
    return "\n".join(parts)


def _toc() -> str:
    steps = ", ".join(f"[{name}](#{name})" for name in _step_sections())
    return f"Steps: {steps}.\n"


def _step_sections() -> list[str]:
    sections = {key.section for key in recipe_keys() if key.flow == "image_text"}
    return [name for name in STEPS.names() if name in sections]


def _section(section: str, keys: list[Key]) -> str:
    title = f"### `{section}`" if section else "### The recipe itself"
    sources = _sources_defaults(section)
    head = "| key | type | default | meaning |"
    rows = [
        f"| `{key.name}` | {_cell(key.type)} | {_default(key)} | {_cell(key.meaning)} |"
        for key in keys
    ]
    if sources:
        head += " source's default |"
        told = [sources.get(key.name, "") for key in keys]
        rows = [f"{row} {cell} |" for row, cell in zip(rows, told, strict=True)]
    table = [head, "|" + "---|" * (head.count("|") - 1), *rows]
    words = [part for part in (about(section), _methods_of(section)) if part]
    spaced = [line for part in words for line in (part, "")]
    return "\n".join([title, "", *spaced, *table, ""])


def _method_pages(section: str) -> list[Path]:
    """Return the pages of methods that are about a section; scores' come last."""
    pages = sorted((FOLDER / "methods").glob("*.md"))
    about_it = [page for page in pages if section in _named("Section", page)]
    if section == "score":
        about_it += [p for p in pages if _named("Score", p) and p not in about_it]
    return about_it


def _named(word: str, page: Path) -> set[str]:
    lines = re.findall(rf"^{word}: (.*)$", page.read_text(), re.M)
    return {name for line in lines for name in re.findall(r"`(\w+)`", line)}


def _methods_of(section: str) -> str:
    """Return the line that leads to a section's methods, or nothing."""
    links = [
        f"[{page.read_text().splitlines()[0].strip('# ')}](methods/{page.name})"
        for page in _method_pages(section)
    ]
    return f"Formula, source, differences: {', '.join(links)}." if links else ""


def _sources_defaults(section: str) -> dict[str, str]:
    """Return what the pages of a section's methods say of the sources' defaults."""
    step, _, within = section.partition(".")
    told: dict[str, str] = {}
    for page in _method_pages(step):
        table = page.read_text().partition("## Defaults")[2].partition("## ")[0]
        for key, said in re.findall(r"^\| `([^`]+)` \|.*\|([^|]+)\|$", table, re.M):
            inside, _, name = key.rpartition(".")
            if inside == within:
                told.setdefault(name, said.strip())
    return told if set(told.values()) - {"–"} else {}


def sources_text() -> str:
    """Return the sources' defaults as `winnow schema` reads them, a JSON file."""
    names = dict.fromkeys(k.section for k in recipe_keys() if k.flow == "image_text")
    told = {name: _sources_defaults(name) for name in names if name}
    given = {
        name: {key: said for key, said in keys.items() if not said.startswith("–")}
        for name, keys in told.items()
        if keys
    }
    return json.dumps(given, indent=1, ensure_ascii=False) + "\n"


def _default(key: Key) -> str:
    return f"`{_cell(key.default)}`" if key.default else "has to be given"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def commands_page() -> str:
    """Return the page of commands, each with its own help."""
    commands = dict(_commands())
    listed = " · ".join(f"[{name}](#{_anchor(name)})" for name in commands)
    head = f"# Commands\n\nWhat `winnow COMMAND --help` says. {_WRITTEN}\n{listed}\n"
    return "\n".join([head, *(_command(name, one) for name, one in commands.items())])


def _commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for name, one in leaves(parser()):
        yield f"winnow {name}", one


def _anchor(name: str) -> str:
    return name.replace(" ", "-")


def _command(name: str, one: argparse.ArgumentParser) -> str:
    return f"## {name}\n\n```text\n{one.format_help().rstrip()}\n```\n"


def reasons_page() -> str:
    """Return the page of reasons in ledgers and quarantines."""
    parts = [
        "# Reasons\n",
        "What a ledger's `reason` says of a row, step by step, and what the "
        f"quarantine's says. {_WRITTEN}`*` stands for what differs.\n",
    ]
    for step, reasons in DECISIONS.items():
        parts.append(_reasons(f"## Step `{step}`", reasons))
    parts.append(
        _reasons(
            "## Quarantine",
            QUARANTINE,
            "Rows that could not be read or judged; what was found follows a colon.",
        )
    )
    return "\n".join(parts)


def _reasons(title: str, reasons: Mapping[str, str], words: str = "") -> str:
    rows = [f"| `{reason}` | {_cell(said)} |" for reason, said in reasons.items()]
    head = [title, "", *([words, ""] if words else [])]
    return "\n".join([*head, "| reason | meaning |", "|---|---|", *rows, ""])


PAGES: Mapping[str, Callable[[], str]] = {
    "keys.md": keys_page,
    "commands.md": commands_page,
    "reasons.md": reasons_page,
}


def main() -> None:
    """Write every page."""
    os.environ["COLUMNS"] = "88"
    sources = FOLDER.parent / "conf" / SOURCES_FILE
    sources.write_text(sources_text(), encoding="utf-8")
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
        sys.stdout.write(f"{FOLDER / name}\n")


if __name__ == "__main__":
    main()
