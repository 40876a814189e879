"""Local folders of runs on object stores: one to work in, and copies to read.

    CACHE/runs/ID-OF-URL/making/NAME        the run as its next version is made
    CACHE/runs/ID-OF-URL/copies/ID/NAME     a version, as it was published

Whatever reads or writes a run works on a folder of this machine; what lies here may be
removed at any time when nothing runs, and is fetched again.
"""

from __future__ import annotations

import os
import posixpath
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from winnow.core.errors import ConfigError, RunError
from winnow.core.hashing import fingerprint
from winnow.core.inside import is_url
from winnow.core.integrity import damage, is_unchanged
from winnow.core.links import link
from winnow.core.operating_system import lock
from winnow.core.run_folder import remove, replace, write_text
from winnow.core.user_cache import user_cache
from winnow.stores.run_store import RunStore, RunVersion, in_parallel

_HERE = re.compile(r"^(file|local)://")
#: Copies of older versions that nobody has opened for so long are removed.
_KEPT_SECONDS = 24 * 3600.0
#: A version that is replaced while it is fetched is fetched as what replaced it.
_TRIES = 5


def local_run(run: str | os.PathLike[str]) -> Path:
    """Return the folder of a run: its own, or of a URL a copy of the run as it is now.

    Raises RunError if no run lies at a URL, or it cannot be fetched.
    """
    url = os.fspath(run)
    if not is_url(url):
        return Path(run)
    if _HERE.match(url):
        return Path(_HERE.sub("", url))
    copy = fetched(url)
    if copy is None:
        raise RunError(f"{url} holds no run; `winnow run RECIPE --out {url}` makes one")
    return copy


def run_or_pool(path: str) -> str:
    """Return a path as it is, or the copy of a run if it is the URL of one."""
    if not is_url(path):
        return path
    # A server that lets nobody ask for what is not there holds a pool.
    with suppress(RunError):
        return os.fspath(fetched(path) or path)
    return path


def fetched(url: str) -> Path | None:
    """Return a copy of the run at a URL as it is now; None if there is none."""
    store = RunStore(url)
    home = _home(store.url)
    for _ in range(_TRIES):
        version = store.current()
        if version is None:
            return None
        # FileNotFoundError: another version has taken its place.
        with _held(home / "copies.lock", wait=True), suppress(FileNotFoundError):
            return _copy(store, version, home)
    raise RunError(f"{url}: files of the run are gone from it; run its recipe again")


@contextmanager
def updating(url: str, scratch: str | None = None) -> Iterator[Path]:
    """Yield a folder that shows the run at a URL; publish it when the body is done.

    scratch: a folder that every worker sees, where the work is done. None: the cache.

    What was begun there and not published is still in it. Raises ConfigError before the
    body if nothing can be written to the URL, RunError if a process of this machine
    updates the run already, or another one's run has been published meanwhile.
    """
    store = RunStore(url)
    home = Path(scratch, "winnow-runs", fingerprint(store.url)) if scratch else None
    home = home or _home(store.url)
    work = home / "making" / _name(store.url)
    with _held(home / "work.lock", wait=False):
        store.require_writable()
        base = store.current()
        noted = home / "base"
        if _text(noted) != (base.id if base else "") or (base and not work.is_dir()):
            _bring(store, base, work)
            write_text(noted, base.id if base else "")
        yield work
        published = store.publish(work, base)
        write_text(noted, published.id)


def work_folder(url: str) -> Path:
    """Return the folder that an update of the run at a URL is made in."""
    url = url.rstrip("/")
    return _home(url) / "making" / _name(url)


def _bring(store: RunStore, base: RunVersion | None, work: Path) -> None:
    """Make the folder of work show a version, or nothing."""
    copy = None if base is None else fetched(store.url)
    remove(work)
    if copy is None or base is None:
        return
    for name in base.files:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        link(copy / name, work / name)


def _copy(store: RunStore, version: RunVersion, home: Path) -> Path:
    """Return the copy of a version, whole; fetch what no local folder holds of it."""
    copies = home / "copies"
    final = copies / version.id
    name = _name(store.url)
    if final.is_dir():
        os.utime(final)
        return final / name
    beside = copies / f".{version.id}"
    known = [*copies.glob(f"*/{name}"), home / "making" / name]

    def bring(file: str) -> None:
        target = beside / name / file
        seal = {file: version.files[file]}
        if not damage(beside / name, seal):
            return
        for folder in known:
            if not damage(folder, seal):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                link(folder / file, target)
                return
        part = target.with_name(target.name + ".part")
        store.fetch(version, file, part)
        if not is_unchanged(part, str(version.files[file][1])):
            raise RunError(
                f"{store.url}: the contents of {file} are not those that were "
                "published; run its recipe again"
            )
        os.replace(part, target)

    in_parallel(bring, list(version.files))
    replace(beside, final)
    _clear_old(copies, final)
    return final / name


def _clear_old(copies: Path, current: Path) -> None:
    for old in copies.iterdir():
        if old != current and time.time() - old.stat().st_mtime > _KEPT_SECONDS:
            remove(old)


def _home(url: str) -> Path:
    return user_cache() / "runs" / fingerprint(url)


def _name(url: str) -> str:
    name = posixpath.basename(url)
    if not name or name in (".", "..") or url.endswith("://" + name):
        raise ConfigError(
            f"{url}: name a folder of the bucket, as in {url.rstrip('/')}/first"
        )
    return name


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


@contextmanager
def _held(file: Path, *, wait: bool) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w") as handle:
        try:
            lock(handle, wait=wait)
        except OSError as error:
            raise RunError(
                f"another process of this machine is writing this run ({file.parent}); "
                "wait for it, or choose another folder with --out"
            ) from error
        yield
