"""The command `completion`: what a shell completes of `winnow`.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

from winnow.cli.output import show

Commands = Any

_SHELLS = ("bash", "zsh", "tcsh")
#: Arguments that are folders, and that are files, by what the help calls them.
_FOLDERS = ("RUN", "RUN_A", "RUN_B", "INDEX", "FOLDER", "DIR", "MODEL")
_FILES = ("RECIPE", "FILE", "ENGINE", "DATA", "POOL", "RUN_OR_INPUT")


def add_commands(commands: Commands) -> None:
    """Register the command of this file."""
    completion = commands.add_parser(
        "completion", help="print what a shell completes: commands, options, files"
    )
    completion.add_argument(
        "shell", choices=_SHELLS, help="the shell that will read it"
    )
    completion.set_defaults(command=_completion)


def _completion(parsed: argparse.Namespace) -> None:
    import shtab

    from winnow.cli.main import leaves, parser

    whole = parser()
    for _, command in leaves(whole):
        for action in command._actions:
            if action.metavar in _FOLDERS:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
            elif action.metavar in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    show(shtab.complete(whole, shell=parsed.shell))
