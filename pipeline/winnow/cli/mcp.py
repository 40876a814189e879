"""The command `mcp`: a server for agents.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
from typing import Any

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the command of this file."""
    mcp = commands.add_parser(
        "mcp",
        help="answer an agent (Model Context Protocol) about the runs of a folder",
        description="Serve plan, steps, explain, query, what-if and diff to an agent "
        "over standard input and output. It reads what lies in --root, and changes "
        "nothing unless --allow-run is given.",
    )
    mcp.add_argument(
        "--root",
        default=".",
        metavar="DIR",
        help="the folder that the agent may look into (the current one)",
    )
    mcp.add_argument(
        "--allow-run",
        action="store_true",
        help="let the agent run recipes into that folder, too",
    )
    mcp.set_defaults(command=_mcp)


def _mcp(parsed: argparse.Namespace) -> None:
    from winnow import __version__
    from winnow.core.extras import require

    require("mcp", "winnow mcp")
    from winnow.agents.server import serve

    serve(parsed.root, __version__, allow_run=parsed.allow_run)
