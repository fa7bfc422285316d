"""One writer a store: an advisory lock that the kernel drops when its holder dies.

This module imports nothing heavy, so that the command line can look at a lock first.
"""

import fcntl
import json
import os
import socket
from pathlib import Path
from typing import Any

from axopt.errors import StoreError

_WIDTH = 1000  # bytes of the lock file that are read; a holder's line is far shorter


class WriterLock:
    """An exclusive lock beside a store, in ``<store>.lock``, which names the holder.

    flock(2) is used because the kernel releases it however the holder ends, kill -9 included:
    no lock of a dead process has to be recognised. The file lies beside the store and not in
    it, since closing any descriptor of a database drops SQLite's own locks on it.

    The file also holds how many trials were committed. It is left behind by a killed holder only,
    so that the next one can tell whether the store lost some of them.

    Args:
        store: The path of the store to lock.

    Attributes:
        left_behind: How many trials a holder that was killed had committed; None if unknown.

    Raises:
        StoreError: If another process, or this one, holds the lock; the message names its
            process id and host. Also if the file system has no locks.
        OSError: If the directory is missing or not writable.
    """

    def __init__(self, store: Path) -> None:
        self._path = lock_path(store)
        self._descriptor = self._acquire(store)
        self.left_behind = _committed(_content(self._descriptor))
        self.note_committed(self.left_behind)

    def release(self, *, keep: bool = False) -> None:
        """Drop the lock, and remove its file unless that is to be kept for the next writer."""
        if not keep:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def note_committed(self, committed: int | None) -> None:
        """Keep how many trials are committed, None for unknown; one write of a few bytes."""
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "committed": committed}
        text = json.dumps(holder).encode()
        os.pwrite(self._descriptor, text.ljust(200), 0)

    def _acquire(self, store: Path) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(descriptor, store)
                if self._is_current(descriptor):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        """Return whether the locked file still has its name, or was removed meanwhile."""
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(descriptor))
        except FileNotFoundError:
            return False


def lock_path(store: Path) -> Path:
    """Return the path of the lock file of a store."""
    return store.with_name(store.name + ".lock")


def check_unlocked(store: Path) -> None:
    """Refuse a store that another process writes to; takes no lock and writes nothing.

    Raises:
        StoreError: If one does; the message names its process id and host.
        OSError: If the lock file cannot be opened.
    """
    try:
        descriptor = os.open(lock_path(store), os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        _lock(descriptor, store)
    finally:
        os.close(descriptor)  # which drops the lock


def committed_before(store: Path) -> int | None:
    """Return how many trials the present or killed writer of a store had committed, if known."""
    try:
        descriptor = os.open(lock_path(store), os.O_RDONLY)
    except OSError:
        return None
    try:
        return _committed(_content(descriptor))
    finally:
        os.close(descriptor)


def _lock(descriptor: int, store: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # which is no fault of the machine, so not the cause of the error
        holder = _describe_holder(_content(descriptor))
        raise StoreError(f"{store}: another search writes to it: {holder}.") from None
    except OSError as error:
        raise StoreError(
            f"{store}: cannot be locked ({error.strerror}); a run folder must be on a local file "
            "system."
        ) from error


def _content(descriptor: int) -> dict[str, Any]:
    """Return what a lock file says; nothing if it is damaged or not written yet."""
    try:
        content = json.loads(os.pread(descriptor, _WIDTH, 0))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _committed(content: dict[str, Any]) -> int | None:
    committed = content.get("committed")
    return committed if type(committed) is int and committed >= 0 else None


def _describe_holder(content: dict[str, Any]) -> str:
    if "pid" not in content or "host" not in content:
        return "a process that is just starting"
    return f"process {content['pid']} on host {content['host']!r}"
