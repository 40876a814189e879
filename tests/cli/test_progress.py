"""Progress that is true, on a terminal and in a pipe; Ctrl-C is exit code 130."""

from __future__ import annotations

import os
import pty
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import winnow
import yaml
from winnow.cli import main as cli
from winnow.cli.progress import Lines, Pace, duration
from winnow.core.marker import Marker
from winnow.core.progress import counted, doing, in_between, rows_done, watched

from tests.examples import examples

SLOW = """
import time, warnings
def score(batch):
    warnings.warn("a library grumbles")
    time.sleep(PAUSE)
    return [0.5] * len(batch)
"""


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Told:
    """Takes down what a run tells."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    def started(self, step: str, rows: int) -> None:
        self.said.append(("started", step, rows))

    def doing(self, what: str, unit: str) -> None:
        self.said.append(("doing", what, unit))

    def advanced(self, done: int, total: int) -> None:
        self.said.append(("advanced", done, total))

    def finished(self, marker: Marker, *, again: bool) -> None:
        self.said.append(("finished", marker.step))

    def of(self, step: str, kind: str) -> list[tuple[Any, ...]]:
        first = [i for i, said in enumerate(self.said) if said[:2] == ("started", step)]
        last = self.said.index(("finished", step))
        return [said[1:] for said in self.said[first[0] : last] if said[0] == kind]


@pytest.fixture
def recipe(
    vector_recipe: Callable[..., dict], planted_pool: Path, tmp_path: Path
) -> Path:
    file = tmp_path / "recipe.yaml"
    steps = ["embed", "cluster", "random", "apply"]
    file.write_text(yaml.safe_dump(vector_recipe(planted_pool, tmp_path / "r", steps)))
    return file


@pytest.fixture
def slow_recipe(
    vector_recipe: Callable[..., dict],
    planted_pool: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[float], Path]:
    """Return make(pause) -> a recipe of which each of three shards takes so long."""

    def make(pause: float) -> Path:
        (tmp_path / "slow_scorer.py").write_text(SLOW.replace("PAUSE", str(pause)))
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        monkeypatch.setenv("PYTHONPATH", path)
        steps = ["custom", "apply"]
        function = {"function": "slow_scorer:score", "keep_fraction": 0.5}
        values = vector_recipe(planted_pool, tmp_path / "r", steps, custom=function)
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
        return tmp_path / "recipe.yaml"

    return make


def on_a_terminal(*words: str, **environment: str) -> tuple[int, str]:
    terminal, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "winnow", *words],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", **environment},
    )
    os.close(theirs)
    told = b""
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        told += part
    os.close(terminal)
    return done.wait(), told.decode()


def marker(step: str) -> Marker:
    return Marker(step, step, "", "", 10, 10, 0, True)


def test_a_terminal_has_one_moving_line_and_a_line_for_each_finished_step(
    slow_recipe: Callable[[float], Path],
):
    code, told = on_a_terminal("run", str(slow_recipe(0.4)))
    assert code == 0, told
    for step in ("index", "custom", "apply"):
        assert f"{step} " in told
    # It moves on one line: wiped, and written again.
    assert re.search(r"custom \d+ of 200 rows", told)
    assert "\x1b[2K" in told
    assert "grumbles" not in told


@pytest.mark.slow
def test_a_terminal_that_cannot_move_gets_lines(recipe: Path):
    code, told = on_a_terminal("run", str(recipe), TERM="dumb")
    assert code == 0
    assert "\x1b" not in told
    assert "200 in" in told


@pytest.mark.slow
def test_a_pipe_gets_rows_rate_and_time_left_of_a_step_that_takes_long(
    slow_recipe: Callable[[float], Path],
):
    command = [sys.executable, "-m", "winnow", "run", str(slow_recipe(1.2))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stderr
    assert re.search(
        r"^custom +\d+ of 200 rows, [\d,.]+/s, \d+ s left$", done.stderr, re.M
    ), done.stderr


def test_quiet_says_nothing_and_verbose_what_is_done(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["run", str(recipe), "-q"]) == 0
    assert capsys.readouterr().err == ""
    assert cli.main(["run", str(recipe), "-v", "--out", str(tmp_path / "v")]) == 0
    assert "winnow: … k-means over 200 vectors" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [name.split() for name, _ in cli.leaves(cli.parser())]
)
def test_every_command_takes_quiet_and_verbose(
    words: list[str], capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        cli.main([*words, "--help"])
    told = capsys.readouterr().out
    assert "--quiet" in told
    assert "--verbose" in told


def test_rate_and_time_left_are_of_what_is_counted_now():
    clock = Clock()
    pace = Pace(clock)
    pace.started("embed", 1_000)
    assert pace.told() == "0 s"
    pace.doing("loading the model", "row")
    clock.now += 20
    assert pace.told() == "loading the model, 20 s"
    pace.doing("", "row")
    clock.now += 2
    pace.advanced(64, 1_000)
    # The 20 seconds of loading slow nothing down.
    assert pace.told() == "64 of 1,000 rows, 32/s, 29 s left"
    clock.now += 1
    assert pace.told().endswith("28 s left")


def test_rows_of_an_earlier_run_are_no_speed():
    clock = Clock()
    pace = Pace(clock)
    pace.started("embed", 1_000)
    pace.advanced(900, 1_000)
    clock.now += 10
    pace.advanced(910, 1_000)
    assert pace.told() == "910 of 1,000 rows, 1.0/s, 90 s left".replace("90 s", "2 min")


def test_another_pass_has_a_rate_of_its_own():
    clock = Clock()
    pace = Pace(clock)
    pace.started("minhash", 100)
    clock.now += 1
    pace.advanced(100, 100)
    clock.now += 10
    pace.advanced(20, 100)
    assert pace.told() == "20 of 100 rows, 2.0/s, 40 s left"


def test_more_units_than_rows_have_no_total():
    clock = Clock()
    pace = Pace(clock)
    pace.started("components", 100)
    clock.now += 2
    pace.advanced(1_000, 0)
    assert pace.told() == "1,000 rows, 500/s"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "0 s"), (89, "89 s"), (150, "2 min"), (3_900, "1 h 05 min")],
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str):
    assert duration(seconds) == said


def test_lines_about_one_step_become_rarer():
    clock, written = Clock(), []
    lines = Lines(lambda text: written.append((clock.now, text)), clock)
    lines.started("embed", 100_000)
    for second in range(3_600):
        clock.now = 100.0 + second
        lines.advanced(second * 20 + 1, 100_000)
        lines.tick()
    first = [when - 100 for when, _ in written][:4]
    assert first == [2, 5, 10, 20]
    assert len(written) < 125
    totals = {re.search(r"of ([\d,]+) rows", line)[1] for _, line in written}
    assert totals == {"100,000"}


def test_nothing_is_said_between_steps():
    clock, written = Clock(), []
    lines = Lines(written.append, clock)
    lines.started("exact", 10)
    lines.finished(marker("exact"), again=False)
    clock.now += 1_000
    lines.tick()
    assert len(written) == 1


def test_an_embedding_counts_in_batches_of_the_model(
    picture_table: Callable[..., pa.Table],
    write_shards: Callable[..., Path],
    tiny_vit: str,
    tmp_path: Path,
):
    from winnow.models.encoder import load_encoder

    load_encoder.cache_clear()
    told = Told()
    winnow.run(
        {
            "flow": "image_text",
            "input": {"path": str(write_shards(tmp_path / "pool", picture_table()))},
            "output": {"path": str(tmp_path / "run"), "report": False},
            "model": {"name": tiny_vit, "precision": "float32", "batch_size": 8},
            "steps": ["embed", "apply"],
        },
        progress=told,
    )
    assert ("loading the model", "row") in told.of("embed", "doing")
    moves = told.of("embed", "advanced")
    assert [done for done, _ in moves] == sorted({done for done, _ in moves})
    assert {total for _, total in moves} == {60}
    assert moves[-1] == (60, 60)
    steps = [b - a for (a, _), (b, _) in pairwise(moves)]
    assert max(steps) <= 8, moves


def test_every_pass_over_the_rows_has_the_same_total(recipe: Path):
    told = Told()
    winnow.run(recipe, progress=told)
    for step in ("embed", "cluster", "random"):
        moves = told.of(step, "advanced")
        assert moves
        assert {total for _, total in moves} == {200}
        assert all(done <= 200 for done, _ in moves)


def test_a_kernel_that_takes_in_more_than_it_does_is_not_believed():
    told = Told()
    batch = pa.RecordBatch.from_pydict({"a": list(range(100))})

    def in_tens(batches: Any) -> Any:
        rows_done(0)
        for given in list(batches):  # all taken in before one is done
            with in_between("loading"):
                pass
            for start in range(0, 100, 10):
                yield given.slice(start, 10)
                rows_done(10)

    with watched(told, 100):
        doing("counting")
        assert sum(map(len, counted(in_tens, iter([batch])))) == 100
    assert [said[1:] for said in told.said if said[0] == "advanced"] == [
        (done, 100) for done in range(10, 101, 10)
    ]
    assert [said[1] for said in told.said if said[0] == "doing"] == [
        "counting",
        "loading",
        "counting",
    ]


@pytest.mark.slow
def test_the_log_has_what_the_terminal_has_not(
    slow_recipe: Callable[[float], Path], tmp_path: Path
):
    command = [sys.executable, "-m", "winnow", "run", str(slow_recipe(0.0))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "grumbles" not in done.stderr
    log = (tmp_path / "r" / "winnow.log").read_text()
    assert "a library grumbles" in log
    assert "custom: 200 rows enter" in log


def test_an_interruption_says_how_to_go_on(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("winnow.api.run", interrupted)
    assert cli.main(["run", str(recipe)]) == 130
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_is_exit_code_130_whenever_it_comes(recipe: Path, tmp_path: Path):
    # From the first line of ours on, through every import, to the end of the run.
    script = "import sys; print('in', flush=True); from winnow.__main__ import main"
    command = [sys.executable, "-c", f"{script}; sys.exit(main())", "run", str(recipe)]
    draw = random.Random(7)
    for number in range(examples(5, 24)):
        out = tmp_path / f"run{number}"
        process = subprocess.Popen(
            [*command, "--out", str(out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        # Python's own first milliseconds, before our handler is there.
        time.sleep(0.1 + draw.random() * 2.5)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        assert "Traceback" not in told, told
        assert process.returncode in (130, 0), told
        assert process.returncode == 130 or (out / "manifest.json").is_file()


def test_an_interruption_that_a_library_makes_its_own_error_of_is_one(tmp_path: Path):
    hostile = (
        "import os, signal, sys\n"
        "from winnow.cli import main as cli\n"
        "def command(*_):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except BaseException:\n"
        "        raise ImportError('half loaded')\n"
        "cli.parser = lambda: (_ for _ in ()).throw(ImportError) if 0 else Fake()\n"
        "class Fake:\n"
        "    def parse_args(self, _):\n"
        "        return type('P', (), dict(command=command, quiet=0, verbose=0))()\n"
        "from winnow.__main__ import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", hostile], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_spark_tells_of_tasks(
    spark: Any,
    vector_recipe: Callable[..., dict],
    planted_pool: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    (tmp_path / "slow_on_spark.py").write_text(SLOW.replace("PAUSE", "2"))
    spark.sparkContext.addPyFile(str(tmp_path / "slow_on_spark.py"))
    monkeypatch.syspath_prepend(tmp_path)
    told = Told()
    function = {"function": "slow_on_spark:score", "keep_fraction": 0.5}
    values = vector_recipe(
        planted_pool, tmp_path / "r", ["custom", "apply"], custom=function
    )
    engine = {"name": "spark", "partitions": 6}
    winnow.run(
        {**values, "engine": engine},
        spark=spark,
        progress=told,
    )
    assert ("", "task") in told.of("custom", "doing")
    moves = told.of("custom", "advanced")
    assert any(0 < done < total for done, total in moves)
    log = (tmp_path / "r" / "winnow.log").read_text()
    assert "a library grumbles" in log
