"""A run on an object store: versions, and one object that names the one that counts.

    URL/versions/ID/…   the files of a version, by their paths below the run
    URL/current.json    which version the run is, with length and checksum of each file

An object store has no rename, but writes one object whole or not at all. So a version
is uploaded under a name of its own, which its contents give it, and becomes the run by
one write of `current.json`. Until then the old version stands, whatever is stopped.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from winnow.core.errors import ConfigError, RunError, WinnowError
from winnow.core.hashing import fingerprint
from winnow.core.integrity import Seal, seals, take_check, with_check
from winnow.core.run_folder import PARTS
from winnow.formats.file_access import filesystem

_CURRENT, _VERSIONS, _PROBE = "current.json", "versions", ".writable"
#: Stores that know no folders; asked for one, they would make a bucket.
_WITHOUT_FOLDERS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss"}
#: Transfers under way at once: one alone waits for the network most of the time.
_TRANSFERS = 8


@dataclass(frozen=True)
class RunVersion:
    """A version of a run: its name, and length and checksum of each of its files."""

    id: str
    files: Mapping[str, Seal]

    @classmethod
    def of(cls, folder: Path) -> RunVersion:
        """Return the version that a run's folder is, by what its files hold."""
        files = seals(folder, [folder / name for name in PARTS])
        return cls(fingerprint(json.dumps(files, sort_keys=True)), files)

    def text(self) -> str:
        """Return the version as JSON, with a checksum of what it says."""
        said = {"version": self.id, "files": dict(self.files)}
        return json.dumps(with_check(said), indent=1) + "\n"

    @classmethod
    def parsed(cls, text: str | bytes) -> RunVersion:
        """Return the version that a text describes; raises ValueError if none."""
        said = json.loads(text)
        if not take_check(said):
            raise ValueError("its checksum is another")
        files: dict[str, Seal] = {
            str(name): [int(size), str(digest)]
            for name, (size, digest) in said["files"].items()
        }
        for name in [str(said["version"]), *files]:
            parts = PurePosixPath(name).parts
            if name.startswith("/") or ".." in parts or "\0" in name or "\\" in name:
                raise ValueError(f"it names {name}")
        return cls(str(said["version"]), files)


class RunStore:
    """What lies at a run's URL, and how a version takes the place of another.

    url: of the run, without a slash at its end.

    Raises ConfigError if no file system is known for the URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        with _reaching(self.url, ConfigError):
            self._fs, self._root = filesystem(self.url)

    def current(self) -> RunVersion | None:
        """Return the version that the run is; None if there is none.

        Raises RunError if the store cannot be asked, or what it says is damaged.
        """
        with _reaching(self.url, RunError):
            try:
                text = self._fs.cat_file(self._path(_CURRENT))
            except FileNotFoundError:
                return None
        try:
            return RunVersion.parsed(text)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{self.url}/{_CURRENT} is damaged ({error}); remove it, and "
                "`winnow run` makes the run again"
            ) from error

    def require_writable(self) -> None:
        """Raise ConfigError if nothing can be written there."""
        with _reaching(self.url, ConfigError, "cannot be written to"):
            self._make_folder(self._path(_PROBE))
            self._fs.pipe_file(self._path(_PROBE), b"")
            self._fs.rm_file(self._path(_PROBE))

    def publish(self, folder: Path, base: RunVersion | None) -> RunVersion:
        """Make a run's folder the version that counts, and remove the others.

        base: the version that the folder was made from.

        Files that `base` has are copied within the store. Stopped anywhere, the same
        call goes on. Raises RunError if another version has become the run meanwhile,
        or the store has not taken what was sent.
        """
        version = RunVersion.of(folder)
        with _reaching(self.url, RunError):
            self._upload(folder, version, base)
            self._require_base(base)
            if base is None or base.id != version.id:
                current = version.text().encode()
                self._fs.pipe_file(self._path(_CURRENT), current)
            self._clear(version)
        return version

    def fetch(self, version: RunVersion, name: str, target: Path) -> None:
        """Bring a file of a version; raises FileNotFoundError if it is gone."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with _reaching(self.url, RunError):
            self._fs.get_file(self._file(version, name), str(target))

    def fetch_beside(self, name: str, target: Path) -> None:
        """Bring a file that lies beside the versions; if there is none, leave none."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with _reaching(self.url, RunError):
            try:
                target.write_bytes(self._fs.cat_file(self._path(name)))
            except FileNotFoundError:
                target.unlink(missing_ok=True)

    def send_beside(self, name: str, source: Path) -> None:
        """Keep a small file beside the versions, which no publication removes."""
        with _reaching(self.url, RunError):
            self._make_folder(self._path(name))
            self._fs.pipe_file(self._path(name), source.read_bytes())

    def _upload(
        self, folder: Path, version: RunVersion, base: RunVersion | None
    ) -> None:
        there = self._lengths(version)
        missing = [n for n, (size, _) in version.files.items() if there.get(n) != size]

        def send(name: str) -> None:
            target = self._file(version, name)
            self._make_folder(target)
            if base is None or base.files.get(name) != version.files[name]:
                self._fs.put_file(str(folder / name), target)
                return
            try:
                self._fs.cp_file(self._file(base, name), target)
            except (OSError, NotImplementedError):  # gone, or no copies there
                self._fs.put_file(str(folder / name), target)

        in_parallel(send, missing)
        there = self._lengths(version)
        for name, (size, _) in version.files.items():
            # A listing may lag behind what is written; an object's own size does not.
            if there.get(name) != size and self._size(version, name) != size:
                raise RunError(
                    f"{self.url}: {name} did not arrive whole; give the same command "
                    "again"
                )

    def _require_base(self, base: RunVersion | None) -> None:
        now = self.current()
        if (now and now.id) != (base and base.id):
            raise RunError(
                f"{self.url}: another process has published a run there meanwhile; "
                "give the same command again to go on from it"
            )

    def _lengths(self, version: RunVersion) -> dict[str, int]:
        """Return the length of each file that is there of a version."""
        folder = self._path(_VERSIONS, version.id)
        self._fs.invalidate_cache()
        try:
            listed = self._fs.find(folder, detail=True)
        except FileNotFoundError:
            return {}
        # Some file systems list names with another beginning than they take.
        mark = f"{_VERSIONS}/{version.id}/"
        return {
            name.rpartition(mark)[2]: int(info["size"]) for name, info in listed.items()
        }

    def _size(self, version: RunVersion, name: str) -> int | None:
        try:
            return int(self._fs.info(self._file(version, name))["size"])
        except FileNotFoundError:
            return None

    def _clear(self, version: RunVersion) -> None:
        """Remove every version but this one."""
        self._fs.invalidate_cache()
        folder = self._path(_VERSIONS)
        # What is gone may be listed for a while.
        with suppress(FileNotFoundError):
            for name in self._fs.ls(folder, detail=False):
                if posixpath.basename(name.rstrip("/")) != version.id:
                    with suppress(FileNotFoundError):
                        self._fs.rm(name, recursive=True)

    def _make_folder(self, file: str) -> None:
        """Make the folder of a file, where there are folders."""
        names = self._fs.protocol
        if not _WITHOUT_FOLDERS.intersection([names] if type(names) is str else names):
            self._fs.makedirs(posixpath.dirname(file), exist_ok=True)

    def _file(self, version: RunVersion, name: str) -> str:
        return self._path(_VERSIONS, version.id, name)

    def _path(self, *names: str) -> str:
        return "/".join([self._root.rstrip("/"), *names])


def in_parallel(task: Callable[[str], None], names: list[str]) -> None:
    """Do a task for each name, several at once; raises what the first one raised."""
    with ThreadPoolExecutor(_TRANSFERS) as pool:
        tasks = [pool.submit(task, name) for name in names]
        try:
            for done in tasks:
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _reaching(
    url: str, kind: type[WinnowError], what: str = "cannot be used"
) -> Iterator[None]:
    """Say in one sentence what a store's own library raises."""
    try:
        yield
    except (WinnowError, FileNotFoundError) as error:
        if isinstance(error, WinnowError) or kind is not ConfigError:
            raise
        raise kind(_told(url, what, error)) from error
    # Each store's library has errors of its own, without a common kind.
    except Exception as error:
        raise kind(_told(url, what, error)) from error


def _told(url: str, what: str, error: Exception) -> str:
    lines: list[Any] = str(error).strip().splitlines() or [type(error).__name__]
    return (
        f"{url}: {what} ({lines[0][:300]}); are its address, its bucket and the "
        "credentials in the environment right?"
    )
