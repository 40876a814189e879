"""Freed memory is the kernel's again, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

_HELD = """
import json, resource
import numpy as np
import pyarrow as pa
from winnow.core.free_memory import give_back_memory

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()

def freed(make, blocks):
    held = [make(i) for i in range(blocks)]
    most = resident()
    # Every hundredth stays, so that no heap can be given back as a whole.
    rest = held[::100]
    del held
    give_back_memory()
    return most - resident()

sizes = 64 * 2**10
print(json.dumps([
    freed(lambda i: pa.array(np.full(sizes, i % 99, np.uint8)).take(
        pa.array(np.arange(sizes))), 4000),
    freed(lambda i: np.full(sizes, 1, np.uint8), 4000),
]))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_freed_blocks_of_arrow_and_numpy_are_given_back():
    done = subprocess.run(
        [sys.executable, "-c", _HELD], capture_output=True, text=True, check=True
    )
    for freed in json.loads(done.stdout):
        assert freed > 0.9 * 250 * 2**20


@pytest.mark.parametrize("given", ["", "muzzy_decay_ms:3000"])
def test_polars_is_told_to_give_back_what_it_freed_unless_it_is_told_otherwise(
    given: str,
):
    said = "import winnow, polars, os; print(os.environ['_RJEM_MALLOC_CONF'])"
    others = {n: v for n, v in os.environ.items() if n != "_RJEM_MALLOC_CONF"}
    done = subprocess.run(
        [sys.executable, "-c", said],
        capture_output=True,
        text=True,
        check=True,
        env=others | ({"_RJEM_MALLOC_CONF": given} if given else {}),
    )
    # The last one counts, to the allocator.
    assert done.stdout.strip().split(",")[-1] == (given or "muzzy_decay_ms:0")


_THREADS = """
import threading
import winnow
from winnow.core.free_memory import share_heaps
from winnow.core.task import Task, set_task

set_task(Task(cores=2))
assert share_heaps()

def work():
    held = [bytearray(100_000) for _ in range(10)]
    made.wait()
    seen.wait()

made, seen = threading.Barrier(9), threading.Barrier(9)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
made.wait()
with open("/proc/self/maps") as maps:
    # A thread's heap lies at a multiple of its greatest size.
    alone = [line for line in maps if line.endswith(" 0 \\n")]
    starts = [int(line.partition("-")[0], 16) for line in alone]
seen.wait()
print(sum(start % (64 * 2**20) == 0 for start in starts))
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
def test_eight_threads_share_the_heaps_of_two_cores():
    done = subprocess.run(
        [sys.executable, "-c", _THREADS], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) <= 2
    alone = _THREADS.replace("assert share_heaps()", "")
    done = subprocess.run(
        [sys.executable, "-c", alone], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 2
