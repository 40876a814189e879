"""The command in a Python that lacks some packages, as a small install does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_CODE = """
import contextlib, importlib.machinery, io, json, sys

commands, hidden = json.loads(sys.argv[1])
Finder = importlib.machinery.PathFinder

class Without:
    invalidate_caches = Finder.invalidate_caches
    find_distributions = Finder.find_distributions

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            return None
        return Finder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(Finder)] = Without
from winnow.cli.main import main

answers = []
for words in commands:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    answers.append([code, out.getvalue(), err.getvalue()])
print(json.dumps([answers, sorted(sys.modules)]))
"""


@dataclass(frozen=True)
class Answer:
    """What one command came to."""

    code: int
    out: str
    err: str


def answers_without(
    hidden: Iterable[str], commands: Sequence[Sequence[object]]
) -> tuple[list[Answer], set[str]]:
    """Return what commands of one process answer, and what it has imported by then.

    hidden: top-level modules that it finds no more.
    """
    words = [[str(word) for word in command] for command in commands]
    done = subprocess.run(
        [sys.executable, "-c", _CODE, json.dumps([words, sorted(hidden)])],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd=Path(__file__).resolve().parents[1],
    )
    assert done.returncode == 0, done.stderr
    answers, modules = json.loads(done.stdout.splitlines()[-1])
    imported = {module.partition(".")[0] for module in modules}
    return [Answer(*answer) for answer in answers], imported
