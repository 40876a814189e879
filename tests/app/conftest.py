"""A run that attacks the app's pages, and the app itself behind a real socket."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pyarrow as pa
import pytest

STEPS = ["exact", "embed", "cluster", "semantic", "score", "cluster", "complexity"]
ROWS = 160
#: Two rows that cannot be read: a uid that is there twice, and an image-less vector.
HOSTILE = "<script>alert({i})</script> \"quoted\" 'Picture' {i}"


@pytest.fixture(scope="session")
def app_run(
    tmp_path_factory: pytest.TempPathFactory,
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    winnow: Callable[..., Any],
    make_picture: Callable[..., bytes],
) -> Any:
    """Return a run of 161 rows: hostile captions, folders, columns; duplicates."""
    table = planted_table(ROWS)
    pictures: list[bytes | None] = [
        make_picture(i - i % 7 if i % 7 == 1 else i) for i in range(ROWS)
    ]
    pictures[2] = b"no picture <b>at all</b>"
    captions: list[str | None] = [HOSTILE.format(i=i) for i in range(ROWS)]
    captions[4], captions[5] = "ÉCLAIR au café", "100% _of_ them"
    kinds = [["cat", "dog", "\"><img src='x'>", None][i % 4] for i in range(ROWS)]
    quality = [None if i % 3 == 0 else float(i % 5) for i in range(ROWS)]
    table = (
        table.set_column(2, "image", pa.array(pictures))
        .set_column(1, "text", pa.array(captions))
        .append_column("Kind of \"it\" 'x'", pa.array(kinds))
        .append_column("quality", pa.array(quality))
    )
    table = pa.concat_tables([table, table.slice(3, 1)])
    folder = tmp_path_factory.mktemp("app")
    pool = write_shards(folder / "a 'pool' \"of\" <b>files", table)
    return winnow(
        pool,
        folder / "a 'run' of \"mine\" <i>",
        [*STEPS, "apply"],
        cluster={"k": 4},
        cluster_2={"k": 3},
    )


@dataclass
class Answer:
    """What the server sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Client:
    """A browser as the server sees it: every header as a test wants it."""

    url: str
    cookie: str = ""
    netloc: str = field(init=False)
    token: str = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self.netloc, self.token = parts.netloc, parse_qs(parts.query)["token"][0]

    def ask(
        self, path: str, method: str = "GET", body: str = "", **headers: str | None
    ) -> Answer:
        """Send a request; a header of None is not sent, `_` in names stands for -."""
        sent: dict[str, str | None] = {"host": self.netloc, "cookie": self.cookie}
        if method == "POST":
            sent |= {
                "origin": f"http://{self.netloc}",
                "content-type": "application/x-www-form-urlencoded",
            }
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.netloc, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True)
            for name, value in sent.items():
                if value:
                    connection.putheader(name, value)
            data = body.encode()
            if data:
                connection.putheader("content-length", str(len(data)))
            connection.endheaders(data or None)
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, fields, answer.read())
        finally:
            connection.close()

    def page(self, *fields: tuple[str, str]) -> Answer:
        return self.ask(f"/?{urlencode(fields)}" if fields else "/")

    def mark(self, numbers: list[int], action: str, **more: str) -> Answer:
        fields = [("n", str(n)) for n in numbers]
        fields += [("action", action), *more.items()]
        return self.ask("/marks", "POST", urlencode(fields))

    def enter(self) -> Client:
        """Go through the gate as a browser does."""
        welcome = self.ask(f"/?token={self.token}")
        assert welcome.status == 200
        self.cookie = welcome.headers["set-cookie"].split(";")[0]
        return self


@contextmanager
def served(run: Path) -> Iterator[Client]:
    from winnow.app.serve import serve

    found: dict[str, Any] = {}
    ready = threading.Event()

    def on_ready(url: str) -> None:
        found["url"] = url
        ready.set()

    def work() -> None:
        try:
            serve(run, 0, on_ready, lambda server: found.update(server=server))
        except BaseException as error:
            found["error"] = error
            raise
        finally:
            ready.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(120)
        yield Client(found["url"])
    finally:
        if "server" in found:
            found["server"].should_exit = True
        thread.join(30)
    assert not thread.is_alive()
    assert "error" not in found


@pytest.fixture(scope="session")
def app(app_run: Any) -> Iterator[Client]:
    """Return a client of the app on `app_run`, inside the gate."""
    with served(app_run.path) as client:
        yield client.enter()


@pytest.fixture
def serve_run() -> Iterator[Callable[[Path], Client]]:
    """Return serve(run) -> a client inside the gate; it ends with the test."""
    with ExitStack() as stack:
        yield lambda run: stack.enter_context(served(run)).enter()


@pytest.fixture(scope="session")
def site(app_run: Any, app: Client) -> Iterator[Any]:
    """Return the pages of `app_run` without a server."""
    from winnow.app.site import Site

    opened = Site(app_run.path)
    yield opened
    opened.close()
