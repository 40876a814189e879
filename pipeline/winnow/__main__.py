"""The command `winnow`, also as `python -m winnow`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command; return its exit code, also if Ctrl-C comes while it loads."""
    try:
        from winnow.cli.main import main as command

        return command()
    except KeyboardInterrupt:
        sys.stderr.write("winnow: stopped\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
