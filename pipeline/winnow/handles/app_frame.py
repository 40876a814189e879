"""The app in a frame of a notebook, served while the kernel runs."""

from __future__ import annotations

import html
import os
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING

from winnow.core.errors import ConfigError
from winnow.core.extras import require

if TYPE_CHECKING:
    import uvicorn

_STYLE = "border: 1px solid #8888; width: 100%; height: {height}px"


class AppFrame:
    """The local app over a run or a scan, as a notebook shows it.

    path: folder of the run or scan.
    height: of the frame, in pixels.

    It is served on 127.0.0.1 by a thread of this process until `close`, or the process
    ends. A kernel on another machine serves it there: forward the port of its address,
    `url`, whose token lets a browser in.

    Raises MissingExtraError without the extra `ui`, RunError if the folder holds none,
    ConfigError for a height of 0.

    >>> shown = winnow.AppFrame("runs/first", 600)
    >>> shown.url.startswith("http://localhost:")
    True
    >>> shown.close()
    """

    def __init__(self, path: str | os.PathLike[str], height: int) -> None:
        require("ui", "show")
        if height <= 0:
            raise ConfigError(f"height={height}: give pixels above 0")
        self.height = height
        began: Queue[str | Exception] = Queue()
        self._servers: Queue[uvicorn.Server] = Queue()
        self._thread = Thread(target=self._serve, args=(path, began), daemon=True)
        self._thread.start()
        answer = began.get()
        if isinstance(answer, Exception):
            raise answer
        # Notebooks are open at localhost, mostly: a cookie of 127.0.0.1 is another
        # site's there, and a browser keeps it back.
        self.url = answer.replace("127.0.0.1", "localhost")

    def _serve(
        self, path: str | os.PathLike[str], began: Queue[str | Exception]
    ) -> None:
        from winnow.app.serve import serve

        try:
            serve(os.fspath(path), 0, began.put, self._servers.put, framed=True)
        except Exception as error:
            began.put(error)

    def close(self) -> None:
        """Stop serving."""
        if self._thread.is_alive():
            server = self._servers.get()
            server.should_exit = True
            self._thread.join()

    def __repr__(self) -> str:
        return self.url

    def _repr_html_(self) -> str:
        url = html.escape(self.url, quote=True)
        return (
            f'<iframe src="{url}" title="Winnow" '
            f'style="{_STYLE.format(height=self.height)}"></iframe>'
            f'<p><a href="{url}" target="_blank" rel="noopener">In a tab of its own</a>'
            "</p>"
        )
