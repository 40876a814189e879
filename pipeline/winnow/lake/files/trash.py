"""Tables moved out of a lake, and back; nothing is lost wherever a move is cut off.

On one disk a table moves by one rename. Elsewhere its files are copied, the copies are
read and compared with what the files held, and only then do the files go. Only what
holds the bytes that were moved goes back. The journal says before each of these what
is about to be done:

    moving → moved                     by rename
    moving → copied → moved            by copies
    … → restoring → restored           back
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from winnow.core.errors import RunError
from winnow.core.integrity import checksum_of
from winnow.lake.files.files import Files
from winnow.lake.files.journal import Journal
from winnow.lake.kernels.tables import Table

_BLOCK = 1 << 22
_UNFINISHED = ".winnow-part"


@dataclass(frozen=True)
class Move:
    """A table on its way out of the lake."""

    table: str
    #: Where it was, and where it lies now; a file or a folder.
    source: str
    target: str
    fingerprint: str
    #: Files below `source` and their bytes; the empty name is the file itself.
    files: Mapping[str, int]
    #: What else is to be known of it: the parent, the query that gives it back.
    facts: Mapping[str, Any] = field(default_factory=dict)
    state: str = "moving"
    #: Checksums of the files, by their names in `files`; earlier versions took none.
    checksums: Mapping[str, str] = field(default_factory=dict)


class Trash:
    """The folder that tables are moved to, and what was moved there."""

    def __init__(self, journal: Journal, files: Files) -> None:
        self._journal = journal
        self._files = files
        self._latest: dict[str, Move] = {}
        for event in journal.events():
            known = {k: v for k, v in event.items() if k in Move.__dataclass_fields__}
            self._latest[event["table"]] = Move(**known)

    def moves(self) -> dict[str, Move]:
        """Return the tables that were moved or about to be, and not restored."""
        return {
            table: move
            for table, move in self._latest.items()
            if move.state != "restored"
        }

    def move(
        self, table: Table, root: str, facts: Mapping[str, Any] | None = None
    ) -> Move:
        """Move a table below `root`, under its name.

        Raises RunError if something is there already, or if a folder that has to be
        copied holds a link.
        """
        files = self._listed(table.location)
        move = Move(
            table=table.name,
            source=table.location,
            target=f"{root.rstrip('/')}/{table.name}",
            fingerprint=table.fingerprint,
            files=files,
            facts=facts or {},
            checksums={n: self._checksum(_below(table.location, n)) for n in files},
        )
        begun = self.moves().get(table.name)
        if self._exists(move.target) and (begun is None or begun.state != "moving"):
            raise RunError(f"{move.target} exists; empty the trash, or give another")
        self._record(move, "moving")
        return self._carry_out(move)

    def finish(self, move: Move) -> bool:
        """Complete a move that was cut off; False if it had not begun to take effect.

        Then the table is where it was, and has to be checked again before it moves.
        """
        if move.state == "copied":
            self._remove_source(move)
        elif move.state != "moving" or not self._left(move):
            return move.state == "moved"
        self._record(move, "moved")
        return True

    def restore(self, move: Move) -> None:
        """Move a table back to where it was.

        Raises RunError if something else is there by now, or if it is gone from the
        trash or lies there with other contents. One that was cut off goes on.
        """
        if move.state == "moving" and self._exists(move.source):
            # It never left; what there is of a copy was not finished.
            if self._is_whole(move.source, move):
                self._remove(move.target, move.files)
                self._remove(move.target, [n + _UNFINISHED for n in move.files])
            self._record(move, "restored")
            return
        if not self._exists(move.target):
            if move.state == "restoring" and self._is_whole(move.source, move):
                self._record(move, "restored")
                return
            raise RunError(f"{move.target} is gone; {move.table} cannot be restored")
        if move.state in ("moving", "moved"):
            self._require_restorable(move)
        self._record(move, "restoring")
        if not self._renamed(move.target, move.source):
            self._refuse_other_files(move)
            self._copy(move.target, move.source, move)
            self._remove(move.target, move.files)
        self._record(move, "restored")

    def _require_restorable(self, move: Move) -> None:
        if self._exists(move.source):
            raise RunError(
                f"{move.source} exists; move it away, {move.table} would overwrite it"
            )
        if not self._is_whole(move.target, move):
            raise RunError(
                f"{move.target} is not what was moved there; {move.table} stays there: "
                "take it from a copy, or rebuild it by its query in applied.jsonl"
            )

    def _left(self, move: Move) -> bool:
        return self._exists(move.target) and not self._exists(move.source)

    def _refuse_other_files(self, move: Move) -> None:
        for name, size in move.files.items():
            path = _below(move.source, name)
            there = self._size(path)
            if there in (None, size) or (
                there < size and self._begins(_below(move.target, name), path, there)
            ):
                continue
            raise RunError(
                f"{path} has changed; move it away, {move.table} would overwrite it"
            )

    def _begins(self, whole: str, beginning: str, size: int) -> bool:
        """Whether a file is what a copy that was cut off leaves of another."""
        one, other = self._files.filesystem(whole), self._files.filesystem(beginning)
        with one[0].open(one[1], "rb") as long, other[0].open(other[1], "rb") as short:
            return all(
                long.read(min(_BLOCK, size - start)) == short.read(_BLOCK)
                for start in range(0, size, _BLOCK)
            )

    def _carry_out(self, move: Move) -> Move:
        if self._renamed(move.source, move.target):
            return self._record(move, "moved")
        self._copy(move.source, move.target, move)
        copied = self._record(move, "copied")
        self._remove_source(copied)
        return self._record(copied, "moved")

    def _record(self, move: Move, state: str) -> Move:
        latest = Move(**{**asdict(move), "state": state})
        self._journal.add(asdict(latest))
        self._latest[latest.table] = latest
        return latest

    def _listed(self, location: str) -> dict[str, int]:
        sizes = {}
        _, inner = self._files.filesystem(location)
        for entry in self._files.listed(location):
            if self._files.filesystem(entry.path)[1] == inner:
                return {"": entry.bytes}
            if entry.reason is not None:
                raise RunError(f"{entry.path}: {entry.reason}; it cannot be moved")
            sizes[entry.name] = entry.bytes
        return sizes

    def _exists(self, path: str) -> bool:
        """Whether a file is there; folders without any may be left over."""
        fs, inner = self._files.filesystem(path)
        return bool(fs.isfile(inner) or fs.find(inner))

    def _renamed(self, source: str, target: str) -> bool:
        """Rename on one local disk; False where that cannot be done."""
        if not (self._files.is_local(source) and self._files.is_local(target)):
            return False
        one, other = (self._files.filesystem(path)[1] for path in (source, target))
        if os.path.exists(other):
            return False
        os.makedirs(os.path.dirname(other), exist_ok=True)
        try:
            os.rename(one, other)
        except OSError as error:
            if error.errno == errno.EXDEV:
                return False
            raise
        return True

    def _copy(self, source: str, target: str, move: Move) -> None:
        """Copy the files that are not there yet; whole ones are left alone."""
        for name, size in move.files.items():
            if self._size(_below(target, name)) != size:
                self._copy_file(_below(source, name), _below(target, name))
        if not self._is_whole(target, move):
            raise RunError(f"{source} changed while it was copied to {target}")

    def _copy_file(self, source: str, target: str) -> None:
        one, inner = self._files.filesystem(source)
        other, outer = self._files.filesystem(target)
        if self._files.is_local(source) and self._files.is_local(target):
            os.makedirs(os.path.dirname(outer), exist_ok=True)
            # Under another name until it is whole; with its time of change.
            shutil.copy2(inner, outer + _UNFINISHED)
            os.replace(outer + _UNFINISHED, outer)
            return
        other.makedirs(other._parent(outer), exist_ok=True)
        with one.open(inner, "rb") as read, other.open(outer, "wb") as write:
            shutil.copyfileobj(read, write, _BLOCK)

    def _remove_source(self, move: Move) -> None:
        if not self._is_whole(move.target, move):
            raise RunError(
                f"{move.target} is not whole; {move.table} stays where it is"
            )
        unchanged = [
            name
            for name, size in move.files.items()
            if self._size(_below(move.source, name)) == size
        ]
        self._remove(move.source, unchanged)

    def _remove(self, root: str, names: Iterable[str]) -> None:
        """Remove files that stand elsewhere, and folders that become empty by it."""
        for name in names:
            fs, inner = self._files.filesystem(_below(root, name))
            if fs.isfile(inner):
                fs.rm_file(inner)
        fs, inner = self._files.filesystem(root)
        if self._files.is_local(root) and os.path.isdir(inner):
            for folder, _, _ in os.walk(inner, topdown=False):
                if not os.listdir(folder):
                    os.rmdir(folder)

    def _is_whole(self, root: str, move: Move) -> bool:
        """Whether a folder holds the files that were moved, in size and contents."""
        return all(
            self._size(_below(root, name)) == size for name, size in move.files.items()
        ) and all(
            self._checksum(_below(root, name)) == checksum
            for name, checksum in move.checksums.items()
        )

    def _checksum(self, path: str) -> str:
        fs, inner = self._files.filesystem(path)
        with fs.open(inner, "rb") as opened:
            return checksum_of(opened)

    def _size(self, path: str) -> int | None:
        fs, inner = self._files.filesystem(path)
        try:
            return int(fs.size(inner))
        except (FileNotFoundError, NotADirectoryError):
            return None


def _below(root: str, name: str) -> str:
    """Return a file's path; what goes on without a name goes on the file's own."""
    return root + name if name in ("", _UNFINISHED) else f"{root}/{name}"
