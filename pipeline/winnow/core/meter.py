"""Seconds and peak memory of a stretch of work."""

from __future__ import annotations

import resource
import time
from pathlib import Path

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
        peak = _peak_of_stretch() if self._own_peak else _peak_of_process()
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
    return _peak_of_process()


def _peak_of_process() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
