"""`winnow mcp`, asked by the official SDK's client as an agent's host would."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import winnow

from tests.damaged_files import flip

pytest.importorskip("mcp")

Ask = Callable[..., list[Any]]
CAPTION = "x" * 5_000


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("agent")
    texts = ["one two", "one two", "three", CAPTION]
    rows = [{"uid": f"u{i}", "text": text} for i, text in enumerate(texts)]
    recipe = {
        "input": {"path": rows, "columns": {"uid": "uid", "image": None}},
        "steps": ["exact", "apply"],
        "exact": {"by": ["caption"]},
    }
    winnow.run({**recipe, "output": {"path": str(root / "first")}})
    (root / "pool.jsonl").write_text('{"uid": "a", "text": "b"}\n')
    (root / "recipe.yaml").write_text(
        "input: {path: pool.jsonl, columns: {uid: uid, image: null, text: text}}\n"
        "steps: [exact, apply]\nexact: {by: [caption]}\n"
    )
    return root


@pytest.fixture
def ask(workspace: Path) -> Ask:
    """Return a function that asks a new server each of some (tool, arguments)."""

    def asked(*questions: tuple[str, dict[str, Any]], flags: Any = ()) -> list[Any]:
        return asyncio.run(_ask(workspace, list(flags), list(questions)))

    return asked


async def _ask(root: Path, flags: list[str], questions: list[Any]) -> list[Any]:
    from mcp import Client, StdioServerParameters

    arguments = ["-m", "winnow", "mcp", "--root", str(root), *flags]
    source = {"PYTHONPATH": os.pathsep.join(sys.path)}
    server = StdioServerParameters(
        command=sys.executable, args=arguments, env=source, cwd=str(root)
    )
    async with Client(server) as client:
        answers: list[Any] = [(await client.list_tools()).tools]
        for tool, given in questions:
            answer = await client.call_tool(tool, given)
            text = " ".join(part.text for part in answer.content)
            answers.append(text if answer.is_error else answer.structured_content)
        return answers


def test_an_agent_reads_a_run(ask: Ask):
    kept = "SELECT uid, fate, text FROM fates JOIN samples USING (uid) ORDER BY uid"
    tools, runs, steps, rows, cut, story, views, changed = ask(
        ("runs", {}),
        ("steps", {"run": "first"}),
        ("query", {"run": "first", "sql": kept}),
        ("query", {"run": "first", "sql": kept, "limit": 2}),
        ("explain", {"run": "first", "uid": "u1"}),
        ("views", {"run": "first"}),
        ("diff", {"a": "first", "b": "first"}),
    )
    assert {tool.name for tool in tools} == {
        *("runs", "plan", "steps", "explain", "views", "query", "search"),
        *("what_if", "diff"),
    }
    assert all(tool.annotations.read_only_hint for tool in tools)
    assert all(tool.description for tool in tools)
    assert runs["runs"] == [{"run": "first", "finished": True}]
    assert [step["dropped"] for step in steps["steps"]] == [0, 1, 0]
    assert [row["fate"] for row in rows["rows"]].count("dropped") == 1
    assert rows["rows"][3]["text"].endswith("… (5,000 letters)")
    assert (len(rows["rows"]), rows["cut"]) == (4, False)
    assert (len(cut["rows"]), cut["cut"]) == (2, True)
    assert story["fate"] in ("kept", "dropped")
    assert "fates" in [view["view"] for view in views["views"]]
    assert changed["kept"]["jaccard"] == 1.0


def test_what_an_agent_may_not_is_one_sentence(
    ask: Ask, workspace: Path, tmp_path: Path
):
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (workspace / "out").symlink_to(outside)
    answers = ask(
        ("steps", {"run": str(outside)}),
        ("steps", {"run": "../.."}),
        ("steps", {"run": "s3://bucket/run"}),
        ("plan", {"recipe": "/etc/passwd"}),
        ("plan", {"recipe": "../../../etc/passwd"}),
        ("plan", {"recipe": "recipe.yaml", "settings": {"input.path": "../*/x"}}),
        ("plan", {"recipe": "recipe.yaml", "settings": {"input": {"path": ["~"]}}}),
        ("plan", {"recipe": "recipe.yaml", "settings": {"input.path": "out/*"}}),
        ("what_if", {"run": "first", "settings": {"custom_2.function": "os:abort"}}),
        ("plan", {"recipe": "recipe.yaml", "settings": {"custom": {"columns": []}}}),
        ("plan", {"recipe": "recipe.yaml", "settings": {"input.path": "/etc"}}),
        ("query", {"run": "first", "sql": "DROP TABLE fates"}),
        ("query", {"run": "first", "sql": "SELECT * FROM '/etc/passwd'"}),
        ("query", {"run": "first", "sql": "SELECT 1", "limit": 0}),
        ("explain", {"run": "first", "uid": "nobody"}),
        ("run", {"recipe": "recipe.yaml", "out": "second"}),
    )[1:]
    words = ["outside", "outside", "only paths in", *["outside"] * 5]
    words += ["names code", "names code", "outside"]
    words += ["SELECT", "", "limit", "no row 'nobody'", "run"]
    for answer, word in zip(answers, words, strict=True):
        assert isinstance(answer, str), answer
        assert word in answer
        assert "Traceback" not in answer
        assert "root:" not in answer


def test_an_agent_is_told_which_file_of_a_run_is_damaged(ask: Ask, workspace: Path):
    shutil.copytree(workspace / "first", workspace / "flipped")
    (ledger,) = (workspace / "flipped" / "ledger" / "step=exact").glob("*.parquet")
    flip(ledger, random.Random(1))
    answers = ask(
        ("explain", {"run": "flipped", "uid": "u1"}),
        ("query", {"run": "flipped", "sql": "SELECT * FROM ledger"}),
        ("diff", {"a": "first", "b": "flipped"}),
    )[1:]
    for answer in answers:
        assert isinstance(answer, str), answer
        assert ledger.name in answer


def test_with_leave_an_agent_runs_recipes(ask: Ask, workspace: Path):
    _, planned, ran = ask(
        ("plan", {"recipe": "recipe.yaml"}),
        ("run", {"recipe": "recipe.yaml", "out": "second"}),
        flags=["--allow-run"],
    )
    assert [step["step"] for step in planned["steps"]] == ["index", "exact", "apply"]
    assert (ran["rows"], ran["kept"], ran["finished"]) == (1, 1, True)
    assert winnow.open(workspace / "second").finished


@pytest.mark.parametrize("text", ["width/2 > 5", "a red car", "pool.jsonl", "*.jsonl"])
def test_what_is_no_path_out_stays_as_it_is(workspace: Path, text: str):
    from winnow.agents.workspace import Workspace

    given = {"where": {"condition": text}, "seed": 3}
    assert Workspace(workspace).settings(given) == given
