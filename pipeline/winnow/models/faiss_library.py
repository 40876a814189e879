"""FAISS, loaded so that its matrix products use what the processor has.

Its wheel brings an OpenBLAS of 2021, which takes processors younger than itself for old
ones. Measured on an AMD EPYC of 2024, float32 products, GFLOP a CPU second: 44 by what
it chose, 213 by the kernels named here (NumPy's own, newer OpenBLAS: 228).
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

#: OpenBLAS's variable, and its name for any processor with the instructions below.
CORE_TYPE, WITH_AVX512 = "OPENBLAS_CORETYPE", "SkylakeX"
_AVX512 = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}
_CPU_INFO = Path("/proc/cpuinfo")


@cache
def faiss_library() -> Any:
    """Return the module `faiss`.

    OpenBLAS reads its variable once, while it is loaded, so it is set only for that
    long; what the user has set stays.

    >>> faiss_library().IndexFlatIP(8).d
    8
    """
    kernels = _kernels()
    if CORE_TYPE in os.environ or kernels is None:
        return import_module("faiss")
    os.environ[CORE_TYPE] = kernels
    try:
        return import_module("faiss")
    finally:
        del os.environ[CORE_TYPE]


def _kernels() -> str | None:
    try:
        told = _CPU_INFO.read_text(errors="replace")
    except OSError:  # not Linux
        return None
    return WITH_AVX512 if is_amd_with_avx512(told) else None


def is_amd_with_avx512(cpu_info: str) -> bool:
    """Say so of the first processor of a `/proc/cpuinfo`.

    Intel's are known to OpenBLAS by their instructions, AMD's by number alone.

    >>> is_amd_with_avx512("vendor_id\\t: AuthenticAMD\\nflags\\t\\t: fpu avx2\\n")
    False
    """
    first = [
        line.partition(":")
        for line in cpu_info.split("\n\n", maxsplit=1)[0].splitlines()
    ]
    told = {name.strip(): value.split() for name, _, value in first}
    vendor, flags = told.get("vendor_id", []), told.get("flags", [])
    return vendor == ["AuthenticAMD"] and set(flags) >= _AVX512
