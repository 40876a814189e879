"""The command `winnow`, also as `python -m winnow`."""

from __future__ import annotations

import sys

from winnow.core.interrupts import STOPPED, Interrupts


def main() -> int:
    """Run the command; return its exit code, also if Ctrl-C comes while it loads."""
    interrupts = Interrupts()
    try:
        from winnow.cli.main import main as command

        code = command()
        return STOPPED if interrupts.came and code == 1 else code
    except BaseException as error:
        stopped = interrupts.came or isinstance(error, KeyboardInterrupt)
        if isinstance(error, SystemExit) or not stopped:
            raise
        sys.stderr.write("winnow: stopped\n")
        return STOPPED
    finally:
        interrupts.over()


if __name__ == "__main__":
    sys.exit(main())
