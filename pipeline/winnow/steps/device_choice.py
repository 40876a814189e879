"""Who is to use a device: what a recipe says, and whether the work is worth it."""

from __future__ import annotations

from winnow.core.engine import DeviceChoice, Engine
from winnow.models.torch_device import device_of
from winnow.numeric.device import Device

#: With fewer rows to compare, `auto` would take longer to import torch than to compare.
WORTH_ROWS = 20_000


def kernels_choice(engine: Engine, rows: int) -> DeviceChoice:
    """Return what kernels of a step over so many rows are told."""
    if engine.device == "auto" and rows < WORTH_ROWS:
        return "cpu"
    return engine.device


def drivers_device(engine: Engine, rows: int) -> Device | None:
    """Return the device of the process that runs a step, over so many rows.

    Raises ConfigError if the recipe asks for one that is not there; Spark's driver may
    be without one that its workers have.
    """
    choice = kernels_choice(engine, rows)
    if choice == "cuda" and engine.name == "spark":
        choice = "auto"
    return device_of(choice)
