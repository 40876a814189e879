"""FAISS computes with what the processor has, unless the user says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from winnow.models.faiss_library import CORE_TYPE, is_amd_with_avx512

AVX512 = "fpu avx2 fma avx512f avx512dq avx512cd avx512bw avx512vl avx512_bf16"
KERNELS_OF_FAISS = """
import os, threadpoolctl
from winnow.models.faiss_library import faiss_library
faiss_library()
(kind,) = [
    each["architecture"] for each in threadpoolctl.threadpool_info()
    if each["internal_api"] == "openblas" and "faiss" in each["filepath"]
]
print(kind, os.environ.get("OPENBLAS_CORETYPE"))
"""


@pytest.mark.parametrize(
    ("vendor", "flags", "told"),
    [
        ("AuthenticAMD", AVX512, True),
        ("AuthenticAMD", AVX512.replace("avx512vl", ""), False),
        ("AuthenticAMD", "fpu avx2 fma", False),
        ("GenuineIntel", AVX512, False),
    ],
)
def test_amds_with_avx512_are_told_to_openblas(vendor, flags, told):
    processor = f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\n"

    assert is_amd_with_avx512(f"{processor}\n{processor}") is told


def test_a_text_without_a_processor_names_none():
    assert not is_amd_with_avx512("")
    assert not is_amd_with_avx512("Features : asimd sve\n")


def kernels_of_faiss(environment: dict[str, str]) -> list[str]:
    others = {name: value for name, value in os.environ.items() if name != CORE_TYPE}
    told = subprocess.run(
        [sys.executable, "-c", KERNELS_OF_FAISS],
        env={**others, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout.split()


def test_faiss_gets_them_and_the_environment_is_as_it_was():
    cpu_info = Path("/proc/cpuinfo")
    if not cpu_info.exists() or not is_amd_with_avx512(cpu_info.read_text()):
        pytest.skip("only where OpenBLAS is told: on an AMD processor with AVX-512")

    assert kernels_of_faiss({}) == ["SkylakeX", "None"]


def test_what_the_user_has_set_stays():
    assert kernels_of_faiss({CORE_TYPE: "Haswell"})[1] == "Haswell"
