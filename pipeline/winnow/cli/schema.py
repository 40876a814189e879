"""The command `schema`: what a recipe may say.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

from winnow.cli.output import json_argument, print_json, show

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the command of this file."""
    schema = commands.add_parser(
        "schema", help="the keys of recipes: type, default, meaning"
    )
    schema.add_argument(
        "section",
        metavar="SECTION",
        nargs="?",
        help="a section, as semantic or input.columns; all by default",
    )
    schema.add_argument(
        "--json-schema",
        action="store_true",
        help="print the JSON Schema by which editors complete and check recipes",
    )
    json_argument(schema)
    schema.set_defaults(command=_schema)


def _schema(parsed: argparse.Namespace) -> None:
    from dataclasses import asdict

    from winnow.config.keys import (
        about,
        recipe_keys,
        schema_text,
        source_defaults,
    )

    if parsed.json_schema:
        show(schema_text().rstrip("\n"))
        return
    keys, sources = recipe_keys(parsed.section), source_defaults()
    told = [sources.get(key.section, {}).get(key.name, "") for key in keys]
    if parsed.json:
        both = zip(keys, told, strict=True)
        print_json([{**asdict(key), "source_default": said} for key, said in both])
        return
    last = None
    for key, said in zip(keys, told, strict=True):
        if (key.flow, key.section) != last:
            last = (key.flow, key.section)
            show(f"\n{key.section or 'recipe'} ({key.flow})  {about(key.section)}")
        default = f" = {key.default}" if key.default else " (required)"
        source = f"  (its source: {said})" if said else ""
        show(f"  {key.name}: {key.type}{default}{source}")
        if key.meaning:
            show(f"      {key.meaning}")
