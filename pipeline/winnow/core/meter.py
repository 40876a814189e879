"""Seconds and peak memory of a stretch of work."""

from __future__ import annotations

import time
from pathlib import Path

from winnow.core.operating_system import peak_memory_mib

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class Meter:
    """Measures from its making to `read`."""

    def __init__(self) -> None:
        self._own_peak = _reset_peak()
        self._start = time.perf_counter()

    def read(self) -> tuple[float, float]:
        """Return seconds and peak resident memory in MiB.

        Where the kernel cannot reset the peak, it is that of the whole process so far.
        """
        seconds = time.perf_counter() - self._start
        peak = _peak_of_stretch() if self._own_peak else peak_memory_mib()
        return seconds, peak


def _reset_peak() -> bool:
    try:
        _CLEAR.write_text("5")  # proc(5): resets VmHWM
    except OSError:
        return False
    return True


def _peak_of_stretch() -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return peak_memory_mib()
