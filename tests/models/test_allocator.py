"""Memory that torch frees is kept: the kernel clears no page twice."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_FAULTS = """
import json, resource
import numpy as np
from winnow.models.allocator import keep_freed_memory, release_freed_memory

def faults(rounds=20):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        np.ones(48 * 2**20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

before = faults()
kept = keep_freed_memory()
faults()
after = faults()
np.ones(512 * 2**20, np.uint8)
held = resident()
release_freed_memory()
print(json.dumps([kept, before, after, held - resident()]))
"""


def test_large_blocks_are_used_again_and_given_back_when_told() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FAULTS], capture_output=True, text=True, check=True
    )
    kept, before, after, released = json.loads(done.stdout)
    if not kept:
        pytest.skip("this C library keeps no memory")
    # 20 arrays of 12,288 pages each, or 24 huge ones.
    assert before >= 20 * 24
    assert after < before / 10
    assert released > 500 * 2**20
