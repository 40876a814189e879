"""An agent's tools over a run with one damaged file: named, or answered as before."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.damaged_files import DAMAGES, Damaged, lose

pytest.importorskip("mcp")
pytestmark = [pytest.mark.slow, pytest.mark.soak]

ROWS = 80
UID = "{:032x}".format
QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("steps", {"run": "run"}),
    ("explain", {"run": "run", "uid": UID(7)}),
    ("views", {"run": "run"}),
    ("query", {"run": "run", "sql": "SELECT * FROM ledger ORDER BY step, uid"}),
    ("query", {"run": "run", "sql": "SELECT uid, text FROM samples ORDER BY uid"}),
    ("query", {"run": "run", "sql": "SELECT * FROM fates ORDER BY uid"}),
    ("search", {"run": "run", "like": UID(7), "where": "fate = 'kept'"}),
    ("what_if", {"run": "run", "settings": {"semantic.epsilon": 0.4}}),
    ("diff", {"a": "run", "b": "other"}),
]
#: A folder without them is a run that has not ended, and is told as such.
LOST = ("manifest.json",)
#: What a what-if had to make again is in its answer.
MADE_AGAIN = re.compile(r'"ran": \[[^]]*\]')
UNFINISHED = ("not finished", "was stopped at", "is under way", "holds no run")


@pytest.fixture(scope="module")
def workspace(
    tmp_path_factory: pytest.TempPathFactory,
    planted_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    winnow: Callable[..., Any],
) -> Path:
    root = tmp_path_factory.mktemp("agent")
    table = planted_table(ROWS).set_column(
        0, "uid", pa.array([UID(i) for i in range(ROWS)])
    )
    pool = write_shards(root / "pool", table)
    steps = ["exact", "embed", "cluster", "semantic", "score", "apply"]
    for name, epsilon in (("whole", 0.1), ("other", 0.3)):
        winnow(
            pool, root / name, steps, cluster={"k": 4}, semantic={"epsilon": epsilon}
        )
    return root


async def _answers(root: Path) -> list[tuple[bool, str]]:
    from mcp import Client
    from winnow.agents.server import make_server

    async with Client(make_server(root, "0")) as client:
        told = []
        for tool, given in QUESTIONS:
            answer = await client.call_tool(tool, given)
            text = " ".join(part.text for part in answer.content)
            told.append((bool(answer.is_error), MADE_AGAIN.sub("", text)))
        return told


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_each_answer_names_what_is_damaged(
    damage: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(workspace)
    damaged = Damaged(workspace / "whole", workspace / "run")
    damaged.renew()
    sound = asyncio.run(_answers(workspace))
    assert not [s for s in sound if s[0]]
    faulty = []
    for name in damaged.each(DAMAGES[damage]):
        if DAMAGES[damage] is lose and name in LOST:
            continue
        now = asyncio.run(_answers(workspace))
        for question, came, wanted in zip(QUESTIONS, now, sound, strict=True):
            if came != wanted and not _named(name, damage, *came):
                faulty.append((name, question[0], came[0], came[1][-300:]))
    assert not faulty, "\n".join(map(str, faulty))


def _named(name: str, damage: str, is_error: bool, told: str) -> bool:
    if is_error and Path(name).name in told:
        return True
    return damage != "flip" and any(words in told for words in UNFINISHED)
