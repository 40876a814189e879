"""`winnow ui` as a process: the address, the browser it opens, how it ends."""

from __future__ import annotations

import http.client
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from winnow.cli.main import main


@pytest.fixture(scope="module")
def run(
    planted_pool: Path,
    winnow: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    out: Path = tmp_path_factory.mktemp("ui") / "run"
    winnow(planted_pool, out, ["random", "apply"])
    return out


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_opens_a_browser_and_leaves_nothing_behind(
    run: Path, tmp_path: Path, end: signal.Signals
):
    browser = tmp_path / "browser.sh"
    # Notes what it was given; the name comes last, when all is written.
    browser.write_text(
        '#!/bin/sh\necho "$@" > "$SEEN/args"\nf=${1#file://}\n'
        'cp -p "$f" "$SEEN/page.tmp"; mv "$SEEN/page.tmp" "$SEEN/page"\n'
    )
    browser.chmod(0o755)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "winnow", "ui", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "BROWSER": f"{browser} %s",
            "SEEN": str(tmp_path),
            "TMPDIR": str(scratch),
        },
    )
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        parts = urlsplit(url)
        assert parts.hostname == "127.0.0.1"
        token = parts.query.removeprefix("token=")
        assert len(token) >= 32
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        connection.request("GET", f"/?{parts.query}")
        assert connection.getresponse().status == 200
        connection.close()
        _wait_for(tmp_path / "page")
    finally:
        process.send_signal(end)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert token not in (tmp_path / "args").read_text()
    page = tmp_path / "page"
    assert url in page.read_text()
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert list(scratch.iterdir()) == []
    assert "Traceback" not in err


def _wait_for(file: Path) -> None:
    import time

    for _ in range(600):
        if file.exists():
            return
        time.sleep(0.05)
    pytest.fail(f"{file} did not appear")


def test_what_is_no_run_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["ui", str(tmp_path), "--no-browser"]) == 1
    assert "holds no run" in capsys.readouterr().err
