"""The command `winnow`: parses, calls a file of commands, says what went wrong.

May import: api, flows, reports, config, engines.open_engine, demo; all of them inside
functions, so that `winnow --help` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any

from winnow import __version__
from winnow.cli import (
    analyze,
    budget,
    communities,
    completion,
    demo,
    diff,
    explain,
    export,
    filters,
    index,
    lake,
    map_layout,
    mcp,
    near,
    prove,
    query,
    report,
    run,
    schema,
    search,
    submit,
    tune,
    ui,
    weigh,
    what_if,
)
from winnow.cli.examples import epilog
from winnow.cli.speaking import speaking, volume_arguments
from winnow.core.errors import WinnowError, did_you_mean
from winnow.core.extras import explained
from winnow.core.faults import Told, in_words, unexpected
from winnow.core.inside import is_url
from winnow.core.other_kind import is_scan
from winnow.core.run_folder import RunFolder
from winnow.core.run_log import log_of
from winnow.core.terminal import plain

#: In the order of `winnow --help`; the file of a command is named for it or its group.
_GROUPS = (
    analyze,
    run,
    submit,
    schema,
    explain,
    query,
    search,
    what_if,
    diff,
    prove,
    tune,
    budget,
    weigh,
    export,
    index,
    near,
    communities,
    lake,
    report,
    filters,
    map_layout,
    ui,
    mcp,
    completion,
    demo,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    0 done, 2 usage, 3 input or machine, 1 other, 130 stopped by Ctrl-C. Whatever is
    raised becomes one sentence on standard error; WINNOW_TRACEBACK=1 shows where.
    """
    parsed = parser().parse_args(arguments)
    try:
        with speaking(parsed):
            _bring_runs(parsed)
            parsed.command(parsed)
        _tell_of_update(parsed)
    except BrokenPipeError:
        return _without_reader()
    except KeyboardInterrupt:
        _say("stopped; the same command goes on from here")
        return 130
    except Exception as error:
        if os.environ.get("WINNOW_TRACEBACK"):
            raise
        told = _told(error)
        _say(told.text)
        return told.exit_code
    return 0


def _told(error: Exception) -> Told:
    if isinstance(error, ModuleNotFoundError):
        error = explained(error) or error
    if isinstance(error, WinnowError):
        return Told(str(error), error.exit_code)
    return in_words(error) or unexpected(error, log_of(error))


def _say(text: str) -> None:
    # Nobody may be left to read it.
    with contextlib.suppress(OSError):
        print(f"winnow: {plain(text)}", file=sys.stderr, flush=True)


def _without_reader() -> int:
    """Have Python not fail again where it empties what nobody reads."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    whole = _Parser(
        prog="winnow",
        description="Decide which training samples are worth keeping, and say why.",
    )
    whole.add_argument("--version", action="version", version=f"winnow {__version__}")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for group in _GROUPS:
        group.add_commands(commands)
    _describe(whole)
    for words, command in leaves(whole):
        volume_arguments(command)
        command.epilog = epilog(words)
        command.formatter_class = _Help
    return whole


def _describe(commands: argparse.ArgumentParser) -> None:
    """Have each command's own help begin with what the list says of it."""
    for action in commands._actions:
        if isinstance(action, argparse._SubParsersAction):
            for listed in action._choices_actions:
                command = action.choices[listed.dest]
                said = (listed.help or "")[:1].upper() + (listed.help or "")[1:]
                command.description = command.description or f"{said}."
                _describe(command)


class _Help(argparse.HelpFormatter):
    """Wraps what a command says of itself, and leaves its examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return text
        return super()._fill_text(text, width, indent)


class _Parser(argparse.ArgumentParser):
    """Takes words and options in any order; names the nearest word to a wrong one."""

    _in_order = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Take a word that may be left out also where it follows an option."""
        if self._in_order:  # asked by the method below, which knows what goes where
            return super().parse_known_args(args, namespace)
        words = list(sys.argv[1:] if args is None else args)
        if any(isinstance(a, argparse._SubParsersAction) for a in self._actions):
            self._refuse_unknown(takewhile(_is_option, words))
            return super().parse_known_args(words, namespace)
        # Before what is missing is told: it may be what was mistyped.
        self._refuse_unknown(filter(_is_option, takewhile("--".__ne__, words)))
        self._in_order = True
        try:
            return self.parse_known_intermixed_args(words, namespace)
        finally:
            self._in_order = False

    def _refuse_unknown(self, options: Iterable[str]) -> None:
        """End the command at an option that is none, and name the nearest one."""
        known = self._option_string_actions
        for word in options:
            name = word.partition("=")[0] if word.startswith("--") else word[:2]
            if not any(option.startswith(name) for option in known):
                hint = did_you_mean(name, (o for o in known if o.startswith("--")))
                self.error(f"there is no option '{name}'; {hint}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = action.choices
        if choices is not None and value not in choices:
            hint = did_you_mean(str(value), map(str, choices))
            raise argparse.ArgumentError(action, f"there is no '{value}'; {hint}")


def _is_option(word: str) -> bool:
    """Whether a word is an option to argparse: no number, no sentence, no lone dash."""
    is_number = re.fullmatch(r"-\d+|-\d*\.\d+", word)
    return word.startswith("-") and len(word) > 1 and not (" " in word or is_number)


def leaves(
    parser: argparse.ArgumentParser, name: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command that does something, with its words: `lake scan`."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        yield name, parser
    for action in below:
        for word, inner in action.choices.items():
            yield from leaves(inner, f"{name} {word}".strip())


def _bring_runs(parsed: argparse.Namespace) -> None:
    """Let commands that read a run at a URL read a copy; `asked_run` is the URL."""
    for name in ("run", "run_a", "run_b"):
        given = getattr(parsed, name, None)
        setattr(parsed, f"asked_{name}", given)
        if given is not None and is_url(given):
            from winnow.stores.copies import local_run

            setattr(parsed, name, os.fspath(local_run(given)))


def _tell_of_update(parsed: argparse.Namespace) -> None:
    """Say of a run that was read whether it is finished, or about to change."""
    if not hasattr(parsed, "run") or is_scan(parsed.run):
        return
    folder = RunFolder(parsed.run)
    _tell_of_loss(folder)
    steps = folder.under_way()
    if steps is None or (not steps[1] and not folder.finished):
        return
    stand, to_come = (", ".join(names) or "none" for names in steps)
    now, last = len(steps[0]) + 1, len(steps[0]) + len(steps[1])
    where = f"at step {min(now, last)} of {last}"
    if folder.is_being_written():
        said = f"is under way, {where}"
    else:
        said = f"was stopped {where}; the same `winnow run` goes on with it"
    said = (
        f"an update of {folder.path} {said}; this is the run before it"
        if folder.finished
        else f"{folder.path} is not finished: it {said}"
    )
    print(f"({said}. Steps that stand: {stand}; to come: {to_come})", file=sys.stderr)


def _tell_of_loss(folder: RunFolder) -> None:
    lost = folder.lost_results() if folder.finished else ""
    if lost:
        remedy = "the same `winnow run` writes the kept rows again"
        print(f"({lost}; {remedy})", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
