"""The evaluation store: one SQLite file a search, durable from `Store.commit` on.

WAL with ``synchronous=FULL``: a committed trial survives kill -9 and power loss. Every row has
a checksum, so a damaged file is refused and never gives a silently wrong number.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from axopt.errors import ArgumentError, RunExistsError, StoreError
from axopt.exploration import records
from axopt.exploration.lock import WriterLock
from axopt.exploration.trial import Trial
from axopt.files import write_atomically

_BUSY_TIMEOUT_MS = 60_000
_IN_MEMORY = Path(":memory:")


class Store:
    """The finished trials of one search; use `open`, `open_read_only` or `in_memory`.

    A context manager that closes itself. Belongs to the thread that opened it.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, lock: WriterLock | None = None
    ) -> None:
        self.path = path
        self._connection = connection
        self._lock = lock

    @classmethod
    def open(
        cls,
        path: str | Path,
        identity: Mapping[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
    ) -> Self:
        """Open a store for writing; create it where there is none.

        Args:
            path: The SQLite file, on a local file system.
            identity: JSON-able; everything that the evaluations and their order depend on
                (digests of model, data and library, quantiser, algorithm, seed, space, ...).
            resume: Go on with an existing store, which must have the same identity.
            overwrite: Delete an existing store first.

        Raises:
            ArgumentError: If both ``resume`` and ``overwrite`` are set.
            RunExistsError: If the file exists and neither is set.
            StoreError: If another process writes to it, or it is damaged, of another schema, or
                of another search; the message names the field that differs.
            OSError: If the directory is missing or not writable.
        """
        if resume and overwrite:
            raise ArgumentError("`resume` and `overwrite` must not both be set, got True, True.")
        path = Path(path)
        lock = WriterLock(path)
        try:
            if overwrite:
                _remove(path)
            if not path.exists():
                _remove(path)  # a log that outlived its database would be played into the new one
                write_atomically(path, _new_database(identity))
            elif not resume:
                raise RunExistsError(f"{path}: exists already; resume or overwrite it.")
            connection = _connect(path, str(path))
            try:
                store = cls(path, connection, lock)
                store._check_integrity()
                store._check_identity(identity)
                store._prepare_for_writing()
            except BaseException:
                connection.close()  # and nothing more: a refused file stays as it is
                raise
        except BaseException:
            lock.release()
            raise
        return store

    @classmethod
    def open_read_only(cls, path: str | Path) -> Self:
        """Open a store for reports, also while a search writes to it.

        Raises:
            StoreError: If there is no such file, or it is damaged or of another schema.
        """
        path = Path(path)
        if not path.is_file():
            raise StoreError(f"{path}: there is no such store.")
        store = cls(path, _connect(path, f"file:{quote(str(path))}?mode=ro"))
        try:
            store._check_integrity()
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def in_memory(cls, identity: Mapping[str, Any] | None = None) -> Self:
        """A store that is gone with the process, for searches that nobody resumes."""
        connection = _connect(_IN_MEMORY, ":memory:")
        connection.deserialize(_new_database(identity or {}))
        return cls(_IN_MEMORY, connection)

    @property
    def identity(self) -> dict[str, Any]:
        """The identity that the store was created with."""
        identity: dict[str, Any] = self._note("identity")
        return identity

    def trials(self) -> list[Trial]:
        """All finished trials, by number; numbers run from 0 without a gap.

        Raises:
            StoreError: If the file is damaged or unreadable.
        """
        with self._translated("read"):
            rows = self._connection.execute(records.SELECT_TRIALS).fetchall()
            trials = [records.decode_trial(row) for row in rows]
        for expected, trial in enumerate(trials):
            if trial.number != expected:
                raise StoreError(f"{self.path}: is damaged: trial {expected} is missing.")
        return trials

    def commit(self, trial: Trial) -> None:
        """Make ``trial`` durable. When this returns, no crash loses it.

        Raises:
            StoreError: If the number or the genes are taken, or the file cannot be written
                (disk full, ...): then ``trial`` is not in it and all earlier ones are.
        """
        row = records.encode_trial(trial)
        with self._translated(f"written with trial {trial.number}"), self._transaction():
            self._connection.execute(records.INSERT_TRIAL, row)

    def settle(self, key: str, value: Any) -> Any:
        """Write a note once: the first value given for ``key`` stays, and is returned.

        Raises:
            StoreError: If the file is damaged or cannot be written.
        """
        with self._translated(f"written with note {key!r}"), self._transaction():
            row = self._connection.execute(records.SELECT_NOTE, (key,)).fetchone()
            if row is None:
                row = records.encode_note(key, value)
                self._connection.execute(records.INSERT_NOTE, row)
            return records.decode_note(row)

    def close(self) -> None:
        """Close the file and let the next writer in. Closing twice is allowed."""
        if self._lock is not None:
            self._leave_one_file()
        self._connection.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _prepare_for_writing(self) -> None:
        with self._translated("opened"):
            mode = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            self._connection.execute("PRAGMA synchronous = FULL")
        if mode != "wal":
            raise StoreError(
                f"{self.path}: its file system has no write-ahead log (journal mode {mode!r}); "
                "a run folder must be on a local file system."
            )

    def _leave_one_file(self) -> None:
        """Fold the log into the database, so that a closed store can be copied as one file."""
        try:
            self._connection.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error:  # a reader is at it, or the file is damaged: the log stays, valid
            pass

    def _check_integrity(self) -> None:
        with self._translated("read"):
            report = self._connection.execute("PRAGMA integrity_check").fetchone()[0]
            tables = self._connection.execute("SELECT name FROM sqlite_master").fetchall()
        if report != "ok":
            raise StoreError(f"{self.path}: is damaged: {report}.")
        if ("meta",) not in tables or ("evaluation",) not in tables:
            raise StoreError(f"{self.path}: is not a search store, or its tables are damaged.")
        schema = self._note("schema")
        if schema != records.SCHEMA_VERSION:
            raise StoreError(
                f"{self.path}: has schema {schema}, this axopt reads {records.SCHEMA_VERSION}."
            )
        self._note("identity")
        self.trials()

    def _check_identity(self, identity: Mapping[str, Any]) -> None:
        stored = _flatten(self.identity)
        given = _flatten(records.decode_note(records.encode_note("identity", dict(identity))))
        differing = [
            (field, was, now)
            for field in sorted(stored.keys() | given.keys())
            if (was := stored.get(field, "absent")) != (now := given.get(field, "absent"))
        ]
        if differing:  # digests follow from other fields, and say less
            field, was, now = min(differing, key=lambda d: max(len(str(d[1])), len(str(d[2]))))
            raise StoreError(
                f"{self.path}: belongs to another search: `{field}` is {was!r} in the store and "
                f"{now!r} now."
            )

    def _note(self, key: str) -> Any:
        with self._translated("read"):
            row = self._connection.execute(records.SELECT_NOTE, (key,)).fetchone()
            if row is None:
                raise StoreError(f"{self.path}: is damaged: it lacks the note {key!r}.")
            return records.decode_note(row)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite rolls back by itself when a disk is full
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        try:
            yield
        except records.DamagedRowError as error:
            raise StoreError(f"{self.path}: is damaged: {error}.") from error
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be {action}: {error}.") from error


def _connect(path: Path, target: str) -> sqlite3.Connection:
    """A connection in autocommit mode; transactions are opened by hand."""
    try:
        connection = sqlite3.connect(target, uri=target.startswith("file:"), isolation_level=None)
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be opened: {error}.") from error
    return connection


def _new_database(identity: Mapping[str, Any]) -> bytes:
    """An empty store as the bytes of its file, so that it can appear in one piece."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.executescript(records.CREATE_TABLES)
        notes = {"schema": records.SCHEMA_VERSION, "identity": dict(identity)}
        for key, value in notes.items():
            connection.execute(records.INSERT_NOTE, records.encode_note(key, value))
        return connection.serialize()
    finally:
        connection.close()


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level of dotted names."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(_flatten(item, f"{prefix}.{key}" if prefix else key))
    return flat
