"""The app over a run or a scan with one damaged file: named, or shown as before."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient
from winnow.app.app import make_app, open_site
from winnow.cli.main import main
from winnow.core.errors import WinnowError

from tests.damaged_files import DAMAGES, Damage, Damaged, lose

pytestmark = [pytest.mark.slow, pytest.mark.soak]
every_damage = pytest.mark.parametrize("damage", sorted(DAMAGES))

OF_A_RUN = [
    *("/", "/?kept=kept", "/row/7", "/picture/7", "/groups", "/uids.txt"),
    *("/rows.csv", "/rows.parquet", "/overrides.csv", "/map", "/map/points"),
    *("/map/codes?by=fate", "/cuts", "/brief?n=7"),
]
OF_A_SCAN = ["/", "/view/tables", "/view/edges", "/view/plan"]
#: Without it there is none, or no end of it, as before it was made.
LOST = ("manifest.json", "map/done.json", "plan.parquet", "ui/overrides.csv")
#: What differs from one opening to the next.
FLEETING = re.compile(r'name="token" value="[^"]*"|token=[\w-]+')


def answers(run: Path, paths: list[str]) -> list[tuple[int, Any]]:
    """Return status and contents of each page, as a browser sees them."""
    try:
        site = open_site(run)
    except WinnowError as error:
        return [(400, str(error))] * len(paths)
    try:
        app = make_app(site, 8000, "t")
        client = TestClient(
            app,  # type: ignore[arg-type]
            base_url="http://127.0.0.1:8000",
            raise_server_exceptions=False,
        )
        assert client.get("/?token=t").status_code == 200
        told = []
        for path in paths:
            came = client.get(path)
            binary = "text" not in came.headers.get("content-type", "")
            shown = came.content if binary else FLEETING.sub("", came.text)
            told.append((came.status_code, shown))
        return told
    finally:
        site.close()


def hold_pages(damaged: Damaged, damage: Damage, paths: list[str]) -> None:
    """Require each page to name the damaged file, or to be the sound one."""
    damaged.renew()
    sound = answers(damaged.copy, paths)
    refused = [(p, s) for p, s in zip(paths, sound, strict=True) if s[0] != 200]
    assert not refused
    faulty = []
    for name in damaged.each(damage):
        if damage is lose and name in LOST:
            continue
        now = answers(damaged.copy, paths)
        for path, came, wanted in zip(paths, now, sound, strict=True):
            if came != wanted and not is_named(name, *came):
                faulty.append((name, path, came[0], str(came[1])[-300:]))
    assert not faulty, "\n".join(map(str, faulty))


def is_named(name: str, status: int, shown: Any) -> bool:
    """Whether a page says which file is damaged; a map's are one thing to people."""
    told = html.unescape(str(shown))
    of_map = name.startswith("map/") and "the run's map is damaged" in told
    return status == 400 and (Path(name).name in told or of_map)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory, app_run: Any) -> Path:
    """A run with a map and marks."""
    run = tmp_path_factory.mktemp("mapped") / "run"
    shutil.copytree(app_run.path, run)
    assert main(["map", str(run), "-q"]) == 0
    site = open_site(run)
    site.mark([3, 5], "rescue", "")
    site.close()
    return run


@every_damage
def test_a_run(damage: str, mapped: Path, tmp_path: Path):
    hold_pages(Damaged(mapped, tmp_path / "copy"), DAMAGES[damage], OF_A_RUN)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan with its plan, beside the lake."""
    folder = tmp_path_factory.mktemp("scanned")
    (folder / "lake").mkdir()
    rows = pa.table({"id": list(range(90)), "name": [f"n{i % 7}" for i in range(90)]})
    pq.write_table(rows, folder / "lake" / "whole.parquet")
    pq.write_table(rows.slice(10, 30), folder / "lake" / "part.parquet")
    run = str(folder / "run")
    assert main(["lake", "scan", str(folder / "lake"), "--out", run]) == 0
    assert main(["lake", "plan", run]) == 0
    shutil.copytree(folder / "run", folder / "whole")
    return folder


@every_damage
def test_a_scan(damage: str, scanned: Path):
    damaged = Damaged(scanned / "whole", scanned / "run")
    hold_pages(damaged, DAMAGES[damage], OF_A_SCAN)
