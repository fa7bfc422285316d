"""One writer a store: an advisory lock that the kernel drops when its holder dies."""

import fcntl
import json
import os
import socket
from pathlib import Path

from axopt.errors import StoreError


class WriterLock:
    """An exclusive lock beside a store, in ``<store>.lock``, which names the holder.

    flock(2) is used because the kernel releases it however the holder ends, kill -9 included:
    no lock of a dead process has to be recognised. The file lies beside the store and not in
    it, since closing any descriptor of a database drops SQLite's own locks on it.

    Args:
        store: The path of the store to lock.

    Raises:
        StoreError: If another process, or this one, holds the lock; the message names its
            process id and host. Also if the file system has no locks.
        OSError: If the directory is missing or not writable.
    """

    def __init__(self, store: Path) -> None:
        self._path = store.with_name(store.name + ".lock")
        self._descriptor = self._acquire(store)
        holder = {"pid": os.getpid(), "host": socket.gethostname()}
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, json.dumps(holder).encode())

    def release(self) -> None:
        """Remove the lock file and drop the lock."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _acquire(self, store: Path) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_current(descriptor):
                    return descriptor
            except BlockingIOError as error:
                holder = _describe_holder(descriptor)
                os.close(descriptor)
                raise StoreError(f"{store}: another search writes to it: {holder}.") from error
            except OSError as error:
                os.close(descriptor)
                raise StoreError(
                    f"{store}: cannot be locked ({error.strerror}); a run folder must be on a "
                    "local file system."
                ) from error
            os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        """Whether the locked file still has its name; its last holder may have removed it."""
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(descriptor))
        except FileNotFoundError:
            return False


def _describe_holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {holder['pid']} on host {holder['host']!r}"
    except (ValueError, KeyError, TypeError):  # the holder is just about to write its name
        return "a process that is just starting"
