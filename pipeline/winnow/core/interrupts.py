"""Ctrl-C: ends a command with exit code 130, wherever it comes."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

STOPPED = 130


class Interrupts:
    """Notes a first Ctrl-C, and lets a second one end the process at once.

    Libraries that are interrupted while they load turn the interruption into errors of
    their own, or drop it; `came` says what it was. What a run has finished stands
    however it ends.
    """

    def __init__(self) -> None:
        self.came = False
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._note)

    def over(self) -> None:
        """Let nothing interrupt the process any more: it ends by itself."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"\n")
            os._exit(STOPPED)
        self.came = True
        raise KeyboardInterrupt
