"""torchvision imports beside a torch that its compiled library does not fit."""

from __future__ import annotations

import subprocess
import sys

import pytest

WORK = """
def work(_=None):
    from winnow.models.torchvision_ops import ensure_torchvision
    ensure_torchvision()
    ensure_torchvision()
    import open_clip, torchvision
    from torchvision.transforms import Resize
    return open_clip.list_models()[0] and Resize(3).size
"""

IN_WORKERS = (
    WORK
    + """
if __name__ == "__main__":
    import multiprocessing
    {before}
    with multiprocessing.get_context("{method}").Pool(1) as pool:
        assert pool.map(work, [0]) == [3]
"""
)

AFTER_A_FAILURE = """
try:
    import torchvision
except RuntimeError as error:
    assert "torchvision::nms" in str(error)
"""


def run(code: str, tmp_path: object) -> None:
    script = f"{tmp_path}/script.py"
    with open(script, "w", encoding="utf-8") as file:
        file.write(code)
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_after_a_failed_import(tmp_path: object) -> None:
    run(WORK + AFTER_A_FAILURE + "assert work() == 3", tmp_path)


def test_another_package_may_have_defined_the_operators(tmp_path: object) -> None:
    # As open_clip's users do by hand; on a torchvision that loads there is no need.
    define = """
import torch
lib = None
try:
    import torchvision
except RuntimeError:
    lib = torch.library.Library("torchvision", "DEF")
    lib.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
    run(define + WORK + "assert work() == 3", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("before", ["pass", "work()"])
def test_in_worker_processes(method: str, before: str, tmp_path: object) -> None:
    run(IN_WORKERS.format(method=method, before=before), tmp_path)


def test_nothing_heavy_is_imported_by_the_models_room(tmp_path: object) -> None:
    code = """
import pkgutil, sys, importlib
import winnow.models
for module in pkgutil.iter_modules(winnow.models.__path__):
    importlib.import_module(f"winnow.models.{module.name}")
assert not {"torch", "open_clip", "faiss", "PIL", "timm"} & set(sys.modules)
"""
    run(code, tmp_path)
