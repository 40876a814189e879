"""Tags that rows are given, and lists that are kept by a name; both beside the run.

`RUN/ui/tags.csv` holds one row for each uid and tag, `RUN/ui/views.json` the address of
each list by its name.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from threading import Lock

from winnow.core.errors import QueryError, RunError, did_you_mean
from winnow.core.run_folder import write_text

#: Their files in the folder `ui` of a run.
TAGS, VIEWS = "tags.csv", "views.json"
_MOST, _MOST_VIEWS, _LONGEST = 200_000, 200, 80

Tags = dict[str, dict[str, None]]


class RowTags:
    """The tags of one run's rows, each with its uids in the order they got it."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, Lock()

    def counts(self) -> dict[str, int]:
        """Return each tag with its number of rows, by name."""
        with self._lock:
            tags = self._read()
        return {tag: len(tags[tag]) for tag in sorted(tags)}

    def uids(self, tag: str) -> list[str]:
        """Return the rows with a tag; raises QueryError if there is none."""
        with self._lock:
            tags = self._read()
        if tag not in tags:
            raise QueryError(f"no tag '{tag}'; {did_you_mean(tag, tags)}")
        return list(tags[tag])

    def of(self, uid: str) -> list[str]:
        """Return the tags of a row."""
        with self._lock:
            return sorted(tag for tag, uids in self._read().items() if uid in uids)

    def give(self, tag: str, uids: Iterable[str]) -> None:
        """Give rows a tag; raises QueryError for a name that is none, or too many."""
        name = named(tag, "tag")
        with self._lock:
            tags = self._read()
            tags.setdefault(name, {}).update(dict.fromkeys(uids))
            if sum(map(len, tags.values())) > _MOST:
                raise QueryError(
                    f"more than {_MOST:,} rows would have tags; a list kept by a name "
                    "needs no tag"
                )
            self._write(tags)

    def take(self, tag: str, uids: Iterable[str]) -> None:
        """Take a tag from rows; a tag that no row has is gone."""
        with self._lock:
            tags = self._read()
            for uid in uids:
                tags.get(tag, {}).pop(uid, None)
            self._write({name: rows for name, rows in tags.items() if rows})

    def _read(self) -> Tags:
        tags: Tags = {}
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return tags
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{self._file} is damaged; remove or mend it") from error
        for row in list(csv.reader(lines))[1:]:
            if len(row) == 2:
                tags.setdefault(row[1], {})[row[0]] = None
        return tags

    def _write(self, tags: Tags) -> None:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("uid", "tag"))
        for tag in sorted(tags):
            writer.writerows((uid, tag) for uid in tags[tag])
        _write(self._file, out.getvalue())


class KeptViews:
    """Lists of one run that somebody has given a name."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, Lock()

    def views(self) -> dict[str, str]:
        """Return each list's address by its name."""
        try:
            views = json.loads(self._file.read_text())
            return {str(name): str(address) for name, address in views.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def keep(self, name: str, address: str) -> None:
        """Keep a list by a name; without an address the name is forgotten.

        Raises QueryError for a name that is none.
        """
        with self._lock:
            views = self.views()
            views.pop(named(name, "view"), None)
            if address:
                views[named(name, "view")] = address
            if len(views) > _MOST_VIEWS:
                raise QueryError(f"more than {_MOST_VIEWS} views; forget one first")
            _write(self._file, json.dumps(views, indent=1, ensure_ascii=False) + "\n")


def named(name: str, what: str) -> str:
    """Return a name without blanks around it; QueryError if it is none, or too long."""
    plain = " ".join(name.split())
    if not plain or len(plain) > _LONGEST:
        raise QueryError(f"a {what} has a name of 1 to {_LONGEST} letters")
    return plain


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(exist_ok=True)
        write_text(file, text)
    except OSError as error:
        raise RunError(f"{file}: cannot be written ({error.strerror})") from error
