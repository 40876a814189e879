"""What the command line says where one is new to it, or mistaken."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from winnow.cli import query_prompt
from winnow.cli.main import leaves, main, parser
from winnow.core.words import number_of
from winnow.handles.rows import ArrowRows

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


@pytest.fixture(scope="module")
def finished(
    vector_recipe: Callable[..., dict],
    planted_pool: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("words")
    values = vector_recipe(planted_pool, folder / "run", ["random", "apply"])
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    assert main(["run", str(folder / "recipe.yaml"), "-q"]) == 0
    return folder / "run"


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 rows"), (1, "1 row"), (2_000, "2,000 rows")]
)
def test_numbers_of_things(count: int, said: str):
    assert number_of(count, "row") == said


@pytest.mark.parametrize("name", [name for name, _ in leaves(parser())])
def test_every_argument_of_every_command_has_words(name: str):
    command = dict(leaves(parser()))[name]
    silent = [
        action.dest
        for action in command._actions
        if not action.help and not isinstance(action, argparse._SubParsersAction)
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("words", "hint"),
    [(["rnu"], "did you mean 'run'"), (["lake", "scna"], "did you mean 'scan'")],
)
def test_a_mistyped_command_is_told_the_nearest(
    words: list[str], hint: str, command: Call
):
    code, _, error = command(*words)
    assert code == 2
    assert hint in error


def test_a_recipe_file_that_is_not_there_is_said_to_be_no_file(
    command: Call, finished: Path
):
    code, _, error = command("run", finished.parent / "recipes.yaml")
    assert code == 2
    assert "there is no file" in error
    assert str(finished.parent / "recipe.yaml") in error


def test_two_budgets_are_told_how_to_be_one(command: Call, finished: Path):
    code, _, error = command("what-if", finished, "--set", "random.keep_count=3")
    assert code == 2
    assert "keep_fraction=null" in error
    assert "{" not in error


def test_the_beginning_of_a_uid_is_told_the_whole(command: Call, finished: Path):
    _, out, _ = command("query", finished, "SELECT min(uid) FROM fates", "--format=csv")
    uid = out.split()[-1]
    code, _, error = command("explain", finished, uid[:-1])
    assert code == 3
    assert f"did you mean '{uid[:-1]}" in error


def test_a_run_ends_with_what_to_do_next(command: Call, finished: Path):
    _, out, _ = command("run", finished.parent / "recipe.yaml")
    assert f"winnow ui {finished}" in out
    assert f"winnow query {finished}" in out


@pytest.mark.parametrize("seconds", ["0", "-1"])
def test_a_time_limit_is_above_zero(seconds: str, command: Call, finished: Path):
    code, _, error = command("query", finished, "SELECT 1", "--seconds", seconds)
    assert code == 2
    assert "above 0" in error


def test_an_unknown_ending_is_refused(command: Call, finished: Path, tmp_path: Path):
    code, _, error = command("query", finished, "SELECT 1", "--out", tmp_path / "a.xls")
    assert code == 2
    assert ".parquet" in error
    assert not (tmp_path / "a.xls").exists()


def test_a_word_may_follow_an_option(command: Call, finished: Path, tmp_path: Path):
    out = tmp_path / "rows.csv"
    code, _, _ = command("query", finished, "--out", out, "SELECT 6 * 7 AS answer")
    assert code == 0
    assert out.read_text().split() == ["answer", "42"]
    parsed = parser().parse_args(["lake", "restore", "a", "-q", "b", "c"])
    assert (parsed.run, parsed.tables) == ("a", ["b", "c"])


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (
            ["query", "RUN", "--uot", "f.csv", "SELECT 1"],
            "'--uot'; did you mean '--out'",
        ),
        (["run", "recipe.yaml", "--sett=a.b=1"], "'--sett'; did you mean '--set'"),
        (["lake", "scan", ".", "--uot", "x"], "did you mean '--out'"),
        (["lake", "--hepl"], "did you mean '--help'"),
        (["--verison"], "did you mean '--version'"),
    ],
)
def test_a_mistyped_option_is_told_its_neighbour(
    words: list[str], hint: str, command: Call
):
    code, _, error = command(*words)
    assert code == 2
    assert hint in error


def test_an_empty_standard_input_is_no_query(
    command: Call, finished: Path, monkeypatch: pytest.MonkeyPatch
):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(" \n"))
    code, _, error = command("query", finished, "-")
    assert code == 2
    assert "no SQL" in error


def test_more_rows_than_are_shown_are_told():
    rows = ArrowRows.of(_table(25))
    assert repr(rows).endswith("… 15 more rows")
    assert "more" not in repr(ArrowRows.of(_table(10)))
    assert repr(ArrowRows.of(_table(11))).endswith("… 1 more row")


def _table(rows: int) -> Any:
    import pyarrow as pa

    return pa.table({"a": list(range(rows))})


@pytest.mark.parametrize("word", ["exit", "quit", "QUIT;", ".quit", ".exit"])
def test_words_that_leave_the_prompt(word: str):
    assert word.rstrip(";").strip().lower() in query_prompt._LEAVE


def test_schema_prints_the_keys_of_a_section(command: Call):
    code, out, _ = command("schema", "semantic")
    assert code == 0
    assert "epsilon: number = 0.05" in out
    code, out, _ = command("schema", "minhash")
    assert re.search(r"threshold: number = 0.8  \(its source: .+\)", out)


@pytest.mark.parametrize("name", [words for words, _ in leaves(parser())])
def test_each_help_ends_with_examples_that_can_be_typed(
    name: str, command: Call, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    code, told, _ = command(*name.split(), "--help")
    assert code == 0
    examples = told[told.index("\nexamples:\n") :].splitlines()[2:]
    assert examples
    for line in examples:
        first, *words = shlex.split(line.partition(" > ~")[0])
        assert first == "winnow"
        assert words[: len(name.split())] == name.split()
        assert parser().parse_args(words).command


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["export", "RUN", "--to", "uids", "--out"], "kept.foo"),
        (["report", "RUN", "--out"], "page.pdf"),
        (["diff", "RUN", "RUN", "--html"], "diff.docx"),
        (["query", "RUN", "SELECT 1", "--out"], "rows.xls"),
    ],
)
def test_a_file_of_an_unknown_ending_is_refused(
    words: list[str], out: str, finished: Path, tmp_path: Path, command: Call
):
    target = tmp_path / out
    given = [str(finished) if word == "RUN" else word for word in words]
    code, _, told = command(*given, target)
    assert code == 2
    assert f"{out}: name it ." in told
    assert list(tmp_path.iterdir()) == []
