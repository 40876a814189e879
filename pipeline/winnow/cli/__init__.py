"""The command `winnow`: one file per group of commands."""

from winnow.cli.main import main

__all__ = ["main"]
