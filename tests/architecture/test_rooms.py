"""The shape of the source that a reader relies on."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "pipeline" / "winnow"
ROOMS = sorted(p.parent for p in PACKAGE.glob("*/__init__.py"))
Trees = Mapping[Path, ast.Module]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("room", ROOMS, ids=name)
def test_a_room_opens_with_its_purpose_and_what_it_may_import(room: Path):
    purpose = ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
    assert purpose
    assert re.search(r"^May import[: ]", purpose, re.MULTILINE), purpose


def test_a_module_says_what_it_is_for(trees: Trees):
    assert [name(m) for m, tree in trees.items() if not ast.get_docstring(tree)] == []


def test_nothing_is_called_by_a_name_that_means_anything():
    forbidden = {"util", "utils", "common", "helper", "helpers", "misc"}
    folders = [ROOT / f for f in ("pipeline", "jobs", "tests", "benchmarks", "conf")]
    misnamed = [
        name(path)
        for folder in folders
        for path in folder.rglob("*")
        if path.stem in forbidden
    ]
    assert misnamed == []


def test_folders_of_tests_are_rooms_or_stand_above_them():
    across = {"architecture", "docker", "docs", "end_to_end", "extensions", "golden"}
    across |= {"impostor", "notebooks", "parity", "__pycache__"}
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    assert folders - across <= {room.name for room in ROOMS}


def test_every_step_has_one_name_everywhere():
    from winnow.config.step_kinds import STEPS, step_of
    from winnow.core.extensions import load_part

    for name in STEPS.names():
        step = step_of(name)
        assert step.module == f"winnow.steps.{name}"
        if step.section is not None:
            words = load_part(step.section).__name__.removesuffix("Config")
            assert words.lower() == name.replace("_", "")
        if step.shown.remedy is not None:
            assert callable(load_part(step.shown.remedy))


def test_no_file_of_the_library_writes_to_the_terminal(trees: Trees):
    printing = [
        name(module)
        for module, tree in trees.items()
        if not module.is_relative_to(PACKAGE / "cli")
        and any(
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
            for node in ast.walk(tree)
        )
    ]
    assert printing == []


#: What a process and those that it started itself tell each other, by pipes.
PIPES = {PACKAGE / "core" / "worker.py", PACKAGE / "core" / "worker_pool.py"}


def test_no_pickle_is_ever_loaded(trees: Trees):
    for module in trees.keys() - PIPES:
        for node in ast.walk(trees[module]):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names]
                names.append(getattr(node, "module", None) or "")
                assert not {"pickle", "dill", "joblib", "cloudpickle"} & set(names)
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant)
                assert node.value.value is False, name(module)


def test_jobs_are_short():
    for job in (ROOT / "jobs").glob("*.py"):
        assert len(job.read_text().splitlines()) < 40, name(job)
