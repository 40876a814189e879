"""Winnow: decide which training samples are worth keeping, and say why."""

__version__ = "0.1.0"
