"""Serve a run on this machine until it is stopped."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import uvicorn

from winnow.app.app import ALONE, Opening, make_app, open_site
from winnow.core.errors import ConfigError

_HOST = "127.0.0.1"
#: Shown by the file that opens the browser, which holds the token: the owner's alone.
_OPENER = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Winnow</title>'
    '<meta http-equiv="refresh" content="0; url={url}">'
    '<p><a href="{url}">Open the run</a></p></html>'
)


def serve(
    run: str | Path,
    port: int = 0,
    on_ready: Callable[[str], None] | None = None,
    watch: Callable[[uvicorn.Server], None] | None = None,
    opening: Opening = ALONE,
    *,
    framed: bool = False,
) -> None:
    """Serve a run on 127.0.0.1 until the process is interrupted.

    port: 0 takes a free one. on_ready: called with the address, once it answers.
    watch: called with the server, so that another thread may stop it. opening: what
    belongs to the run beside its folder. framed: whether a notebook of this machine may
    hold it in a frame.

    Raises RunError if the folder holds no run, ConfigError if the port is taken.
    """
    with listening(port) as listener:
        site = open_site(run, opening)
        number = listener.getsockname()[1]
        token = secrets.token_urlsafe(24)
        config = uvicorn.Config(
            make_app(site, number, token, framed=framed),
            access_log=False,  # it would show the token
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=2,
        )
        server = uvicorn.Server(config)
        if watch is not None:
            watch(server)
        if on_ready is not None:
            # The socket listens already: who asks now waits for the first answer.
            on_ready(f"http://{_HOST}:{number}/?token={token}")
        try:
            server.run(sockets=[listener])
        finally:
            site.close()


@contextlib.contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """Listen on 127.0.0.1; raises ConfigError if the port cannot be had."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"--port {port}: {error}; --port 0 takes a free one"
            ) from error
        listener.listen(64)
        yield listener


@contextlib.contextmanager
def browser_on(url: str, on_none: Callable[[], None]) -> Iterator[None]:
    """Open the owner's browser; calls `on_none` if there is none.

    By way of a file that only the owner can read: other users of the machine see the
    arguments of its programs, and so would see the token. In a thread, since a browser
    in the terminal returns when it is closed.
    """
    import webbrowser

    handle, name = tempfile.mkstemp(prefix="winnow-", suffix=".html")

    def open_it() -> None:
        if not webbrowser.open(Path(name).as_uri()):
            on_none()

    try:
        with os.fdopen(handle, "w") as file:
            file.write(_OPENER.format(url=url))
        Thread(target=open_it, daemon=True).start()
        yield
    finally:
        Path(name).unlink(missing_ok=True)
