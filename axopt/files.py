"""Atomic writes, and reads of regular files within a bound.

A reader sees the old content of a file or the new one, never a mixture. The new content is written
to a temporary file in the same folder, which is then renamed.
"""

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from axopt.errors import ArgumentError, described

_TEMPORARY_SUFFIX = ".axopt~"
_PREFIX_CHARACTERS = 100  # of the target's name, so that the temporary name is not too long


def as_path(value: object, argument: str) -> Path:
    """Return what a caller gave as a path.

    Args:
        value: What was given.
        argument: Name of the argument, for the message.

    Raises:
        ArgumentError: If it is neither a text nor an `os.PathLike` of one, or holds a NUL
            character.

    Example:
        >>> as_path("runs/x", "out").name
        'x'
        >>> as_path(5, "out")
        Traceback (most recent call last):
            ...
        axopt.errors.ArgumentError: `out` must be a path (a str or os.PathLike), got int 5.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(text, str) and "\0" not in text:
        return Path(text)
    raise ArgumentError(
        f"`{argument}` must be a path (a str or os.PathLike), got {described(value)}."
    )


def write_atomically(
    path: str | os.PathLike[str], content: bytes, *, durable: bool = True
) -> None:
    """Replace the content of a file, or create it, as one step.

    Args:
        path: The file. Its folder must exist.
        content: All bytes of the new content.
        durable: Wait until the content is on the disk. Without it, a crash of the system may
            leave an empty file; for files whose readers notice this.

    Raises:
        OSError: If any step fails, such as for a full disk; ``filename`` is ``path``. The file
            keeps its old content then.

    Example:
        >>> write_atomically("figures.bin", b"new")
        >>> Path("figures.bin").read_bytes()
        b'new'
    """
    with _blamed_on(Path(path)), replacing(path, durable=durable) as file:
        file.write(content)


@contextmanager
def replacing(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Write the new content of a file piece by piece, and replace the file at the end.

    If the body of the ``with`` statement raises, the file keeps its old content.

    Args:
        path: The file. Its folder must exist.
        durable: See `write_atomically`.

    Yields:
        A binary stream for the new content.

    Raises:
        OSError: If a step other than the body fails; ``filename`` is ``path``.

    Example:
        >>> with replacing("lines.txt") as file:
        ...     for line in (b"one ", b"two"):
        ...         _ = file.write(line)
        >>> Path("lines.txt").read_bytes()
        b'one two'
    """
    path = Path(path)
    with _blamed_on(path):
        handle, temporary = _create_temporary(path)
    try:
        with _blamed_on(path):
            stream = os.fdopen(handle, "wb")
        with stream as file:
            yield file
            with _blamed_on(path):
                file.flush()
                if durable:
                    os.fsync(handle)
                os.chmod(temporary, 0o666 & ~_umask())
                os.replace(temporary, path)  # before the lock is dropped with the handle
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        _sync_directory(path.parent)


def write_text_atomically(path: str | os.PathLike[str], text: str) -> None:
    """Replace the content of a file by a text in UTF-8, as one step; see `write_atomically`.

    Args:
        path: The file. Its folder must exist.
        text: The new content.

    Raises:
        OSError: If any step fails; ``filename`` is ``path``.

    Example:
        >>> write_text_atomically("note.txt", "5 µW")
        >>> Path("note.txt").read_text("utf-8")
        '5 µW'
    """
    write_atomically(path, text.encode("utf-8"))


def remove_stale_temporaries(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files that killed processes left in a folder and its direct subfolders.

    Only names made by `write_atomically` are considered. A file that a living process is writing
    is locked by it and stays. What cannot be looked at or removed stays too.

    Args:
        folder: A folder whose files `write_atomically` writes; it may be missing.

    Example:
        >>> Path(".front.csv.x1y2z3.axopt~").touch()
        >>> remove_stale_temporaries(".")
        >>> Path(".front.csv.x1y2z3.axopt~").exists()
        False
    """
    with suppress(OSError):
        entries = list(os.scandir(folder))
        folders = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        for directory in (folder, *folders):
            for path in Path(directory).glob(f".*{_TEMPORARY_SUFFIX}"):
                with suppress(OSError):
                    _remove_unless_locked(path)


def open_regular(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a regular file for reading; a FIFO or a device is refused without waiting for it.

    Args:
        path: The file.

    Returns:
        A buffered binary stream.

    Raises:
        OSError: If the file cannot be opened or is not a regular one; ``filename`` is ``path``.

    Example:
        >>> open_regular("/dev/zero")
        Traceback (most recent call last):
            ...
        OSError: [Errno 22] not a regular file: '/dev/zero'
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: str | os.PathLike[str], *, limit: int) -> bytes:
    """Read a regular file of bounded size.

    Args:
        path: The file.
        limit: The most bytes that the file may have.

    Returns:
        All bytes of the file.

    Raises:
        OSError: If the file cannot be read, is not a regular one or has more bytes than
            ``limit``; ``filename`` is ``path``.

    Example:
        >>> write_atomically("four.bin", b"1234")
        >>> read_bytes("four.bin", limit=4)
        b'1234'
        >>> read_bytes("four.bin", limit=3)
        Traceback (most recent call last):
            ...
        OSError: [Errno 27] expected at most 3 bytes, got 4: 'four.bin'
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(limit + 1) if size <= limit else b""
    if max(size, len(content)) > limit:
        message = f"expected at most {limit} bytes, got {max(size, len(content))}"
        raise OSError(errno.EFBIG, message, os.fspath(path))
    return content


@contextmanager
def _blamed_on(path: Path) -> Iterator[None]:
    """Raise an `OSError` of any step again with ``path`` as the file that it names."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _create_temporary(path: Path) -> tuple[int, str]:
    """Create and lock a temporary file beside ``path``.

    The lock tells `remove_stale_temporaries` that the writer is alive; the kernel drops it
    however the writer ends. That function may lock the file first and remove it: then the file
    has no name any more and another one is made. File systems without locks are used without.
    """
    prefix = f".{path.name[:_PREFIX_CHARACTERS]}."
    while True:
        handle, name = tempfile.mkstemp(_TEMPORARY_SUFFIX, prefix, path.parent)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink > 0:
            return handle, name
        os.close(handle)


def _remove_unless_locked(path: Path) -> None:
    """Remove a temporary file whose writer is dead.

    Raises:
        OSError: If it is locked, or cannot be locked or removed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_directory(directory: Path) -> None:
    """Make the rename itself durable, where the system allows it."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
