"""An S3 server on loopback, which the process finds by its environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def s3_server(bucket: str) -> Iterator[Any]:
    """Serve an empty bucket; yield a file system that sees it."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0)
    s3fs = pytest.importorskip("s3fs")
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        s3fs.S3FileSystem.clear_instance_cache()
        files = s3fs.S3FileSystem()
        # The process keeps what an earlier server of it held.
        if files.exists(bucket):
            files.rm(bucket, recursive=True)
        files.mkdir(bucket)
        yield files
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


class Fetched:
    """What has been fetched of an S3 server's objects: (path, Range, bytes) each."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        server = pytest.importorskip("moto.server").ThreadedMotoServer
        self.gets: list[tuple[str, str | None, int]] = []
        start = server.start

        def listened(this: Any) -> None:
            start(this)
            this._server.app = self._listening(this._server.app)

        patch.setattr(server, "start", listened)

    def _listening(self, app: Callable[..., Any]) -> Callable[..., Any]:
        def answer(asked: dict[str, Any], begin: Callable[..., Any]) -> Any:
            def begun(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
                if asked["REQUEST_METHOD"] == "GET":
                    told = {name.lower(): value for name, value in headers}
                    size = int(told.get("content-length", 0))
                    span = asked.get("HTTP_RANGE")
                    self.gets.append((asked["PATH_INFO"], span, size))
                return begin(status, headers, *more)

            return app(asked, begun)

        return answer
