"""The command `ui`: a run in the browser of this machine.

May import what `cli` may; all of it inside functions.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from winnow.cli.numbers import natural
from winnow.cli.output import json_argument

Commands = Any


def add_commands(commands: Commands) -> None:
    """Register the commands of this file."""
    ui = commands.add_parser("ui", help="look at a whole run in your browser")
    ui.add_argument("run", metavar="RUN", help="folder of a run, or of a lake scan")
    ui.add_argument(
        "--port",
        type=natural,
        default=0,
        metavar="N",
        help="port on 127.0.0.1 (a free one)",
    )
    ui.add_argument(
        "--beside", metavar="OTHER", help="compare a run of samples with this one"
    )
    ui.add_argument("--no-browser", action="store_true", help="only print the address")
    json_argument(ui)
    ui.set_defaults(command=_ui)


def _marks_of(parsed: argparse.Namespace) -> Callable[[Path], None] | None:
    """Fetch the marks of a run at a URL, and return what sends them back."""
    if parsed.run == parsed.asked_run:
        return None
    from winnow.app.marks import MARKS
    from winnow.app.row_index import FOLDER
    from winnow.stores.run_store import RunStore

    store, name = RunStore(parsed.asked_run), f"{FOLDER}/{MARKS}"
    store.fetch_beside(name, Path(parsed.run, name))
    return lambda file: store.send_beside(name, file)


def _ui(parsed: argparse.Namespace) -> None:
    import signal

    from winnow.core.extras import require

    require("ui", "winnow ui")
    from winnow.app.app import Opening
    from winnow.app.serve import browser_on, serve

    # However it is asked to end, what it has open is closed first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    told = (
        f"opening {parsed.asked_run} (the first time, an index of its rows is written)"
    )
    print(told, file=sys.stderr, flush=True)
    with contextlib.ExitStack() as stack, contextlib.suppress(KeyboardInterrupt):

        def none() -> None:
            print("no browser found; open that address", file=sys.stderr)

        def ready(url: str) -> None:
            if parsed.json:  # one line, for the program that reads it
                line = json.dumps({"run": parsed.run, "url": url, "pid": os.getpid()})
                print(line, flush=True)
                return
            print(url, flush=True)
            print("Ctrl-C ends it", file=sys.stderr, flush=True)
            if not parsed.no_browser:
                stack.enter_context(browser_on(url, none))

        opening = Opening(_marks_of(parsed), parsed.beside)
        serve(parsed.run, parsed.port, ready, opening=opening)
