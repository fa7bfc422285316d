"""The evaluation store: one SQLite file a search, durable from `Store.commit` on.

WAL with ``synchronous=FULL``: a committed trial survives kill -9 and power loss. Every row has
a checksum, so a damaged file is refused and never gives a silently wrong number. SQLite drops the
damaged end of a log without a word; how many trials were committed is therefore kept beside it
(`axopt.exploration.lock`), and a loss is logged as a warning.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from axopt.errors import ArgumentError, RunExistsError, StoreError
from axopt.exploration import records
from axopt.exploration.lock import WriterLock, committed_before
from axopt.exploration.trial import Trial
from axopt.files import as_path, write_atomically

_BUSY_TIMEOUT_MS = 60_000
_IN_MEMORY = Path(":memory:")

_logger = logging.getLogger(__name__)


class Store:
    """The finished trials of one search; use `open`, `open_read_only` or `in_memory`.

    A context manager that closes itself. Belongs to the thread that opened it.

    Example:
        >>> from axopt.exploration import State, Store, Trial
        >>> with Store.open("study.sqlite", {"seed": 0}) as store:
        ...     store.commit(Trial(0, (1, 2), State.COMPLETE, (3.0,), {}, None, 0.1))
        >>> with Store.open_read_only("study.sqlite") as store:
        ...     store.identity, store.trials()[0].genes
        ({'seed': 0}, (1, 2))
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, lock: WriterLock | None = None
    ) -> None:
        self.path = path
        self._connection = connection
        self._lock = lock
        self._n_trials = 0
        self._schema = records.SCHEMA_VERSION

    @classmethod
    def open(
        cls,
        path: str | Path,
        identity: Mapping[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
        meaning: Mapping[str, str] | None = None,
    ) -> Self:
        """Open a store for writing; create it where there is none.

        Args:
            path: The SQLite file, on a local file system.
            identity: JSON-able; everything that the evaluations and their order depend on
                (digests of model, data and library, quantiser, algorithm, seed, space, ...).
            resume: Go on with an existing store, which must have the same identity.
            overwrite: Delete an existing store first.
            meaning: Field of the identity -> what it means that it differs, for fields whose
                values are digests: "it was calibrated on other samples".

        Returns:
            The store. A warning is logged if it lost trials that were committed, because its
            log was damaged or removed after its writer was killed.

        Raises:
            ArgumentError: If both ``resume`` and ``overwrite`` are set.
            RunExistsError: If the file exists and neither is set.
            StoreError: If another process writes to it, or it is damaged, of another schema, or
                of another search; the message names the field that differs.
            OSError: If the directory is missing or not writable.
        """
        if resume and overwrite:
            raise ArgumentError("`resume` and `overwrite` must not both be set, got True, True.")
        path = as_path(path, "path")
        lock = WriterLock(path)
        try:
            if overwrite:
                _remove(path)
                lock.note_committed(None)
            if not path.exists():
                _remove(path)  # a log that outlived its database would be played into the new one
                write_atomically(path, _new_database(identity))
            elif not resume:
                raise RunExistsError(f"{path}: exists already; resume or overwrite it.")
            connection = _connect(path, str(path))
            try:
                store = cls(path, connection, lock)
                store._check_integrity()
                store._check_identity(identity, meaning or {})
                store._prepare_for_writing()
            except BaseException:
                connection.close()  # and nothing more: a refused file stays as it is
                raise
        except BaseException:
            lock.release(keep=lock.left_behind is not None and not overwrite)
            raise
        store._warn_of_a_loss(None if overwrite else lock.left_behind)
        lock.note_committed(store._n_trials)
        return store

    @classmethod
    def open_read_only(cls, path: str | Path) -> Self:
        """Open a store for reports, also while a search writes to it.

        Raises:
            StoreError: If there is no such file, or it is damaged or of another schema.
        """
        path = as_path(path, "path")
        if not path.is_file():
            raise StoreError(f"{path}: there is no such store.")
        committed = committed_before(path)  # before the trials are read: a writer may add some
        store = cls(path, _connect(path, f"file:{quote(str(path))}?mode=ro"))
        try:
            store._check_integrity()
            store._warn_of_a_loss(committed)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def in_memory(cls, identity: Mapping[str, Any] | None = None) -> Self:
        """Make a store that is gone with the process, for searches that nobody resumes."""
        connection = _connect(_IN_MEMORY, ":memory:")
        connection.deserialize(_new_database(identity or {}))
        return cls(_IN_MEMORY, connection)

    @property
    def identity(self) -> dict[str, Any]:
        """Identity that the store was created with."""
        identity: dict[str, Any] = self._note("identity")
        return identity

    def trials(self) -> list[Trial]:
        """Return all finished trials, by number; numbers run from 0 without a gap.

        Raises:
            StoreError: If the file is damaged or unreadable.
        """
        with self._translated("read"):
            rows = self._connection.execute(records.select_trials(self._schema)).fetchall()
            trials = [records.decode_trial(row, self._schema) for row in rows]
        for expected, trial in enumerate(trials):
            if trial.number != expected:
                raise StoreError(f"{self.path}: is damaged: trial {expected} is missing.")
        self._n_trials = len(trials)
        return trials

    def commit(self, trial: Trial) -> None:
        """Make ``trial`` durable. When this returns, no crash loses it.

        Raises:
            StoreError: If the number or the genes are taken, or the file cannot be written
                (disk full, ...): then ``trial`` is not in it and all earlier ones are.
        """
        try:
            row = records.encode_trial(trial, self._schema)
        except ValueError as error:
            raise StoreError(
                f"{self.path}: cannot be written with trial {trial.number}: {error}."
            ) from error
        with self._translated(f"written with trial {trial.number}"), self._transaction():
            self._connection.execute(records.insert_trial(self._schema), row)
        self._n_trials = trial.number + 1
        if self._lock is not None:
            self._lock.note_committed(self._n_trials)

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

    def noted(self, key: str) -> Any:
        """Return the note that `settle` wrote, None if there is none.

        Raises:
            StoreError: If the file is damaged.
        """
        with self._translated("read"):
            row = self._connection.execute(records.SELECT_NOTE, (key,)).fetchone()
            return None if row is None else records.decode_note(row)

    def close(self) -> None:
        """Close the file and let the next writer in. Closing twice is allowed."""
        whole = self._lock is None or self._leave_one_file()
        self._connection.close()
        if self._lock is not None:
            self._lock.release(keep=not whole)
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

    def _leave_one_file(self) -> bool:
        """Fold the log into the database, so that a closed store can be copied as one file.

        Returns:
            Whether that was possible. While somebody reads, or if the file is damaged, the log
            stays, and is valid.
        """
        try:
            mode = self._connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
        except sqlite3.Error:
            return False
        return bool(mode == "delete")

    def _check_integrity(self) -> None:
        with self._translated("read"):
            report = self._connection.execute("PRAGMA integrity_check").fetchone()[0]
            tables = self._connection.execute("SELECT name FROM sqlite_master").fetchall()
        if report != "ok":
            raise StoreError(f"{self.path}: is damaged: {report}.")
        if ("meta",) not in tables or ("evaluation",) not in tables:
            raise StoreError(f"{self.path}: is not a search store, or its tables are damaged.")
        schema = self._note("schema")
        if type(schema) is not int or schema not in records.READABLE_SCHEMAS:
            readable = " and ".join(map(str, records.READABLE_SCHEMAS))
            raise StoreError(f"{self.path}: has schema {schema}, this axopt reads {readable}.")
        self._schema = schema
        self._note("identity")
        self.trials()

    def _warn_of_a_loss(self, committed: int | None) -> None:
        if committed is not None and committed > self._n_trials:
            _logger.warning(
                "%s: %d of %d committed trials are lost: its write-ahead log was damaged or "
                "removed. A resumed search evaluates them again.",
                self.path,
                committed - self._n_trials,
                committed,
            )

    def _check_identity(self, identity: Mapping[str, Any], meaning: Mapping[str, str]) -> None:
        stored = _flatten(self.identity)
        given = _flatten(records.decode_note(records.encode_note("identity", dict(identity))))
        differing = [
            (field, was, now)
            for field in sorted(stored.keys() | given.keys())
            if (was := stored.get(field, "absent")) != (now := given.get(field, "absent"))
        ]
        if not differing:
            return
        # digests follow from other fields and say less
        field, was, now = min(differing, key=lambda d: max(len(str(d[1])), len(str(d[2]))))
        what = f"`{field}` is {was!r} in the store and {now!r} now"
        if (name := field.split(".")[0]) in meaning:
            what = meaning[name]
        raise StoreError(f"{self.path}: belongs to another search: {what}.")

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
        except UnicodeDecodeError as error:  # from the text of a message, or of the schema
            raise StoreError(f"{self.path}: is damaged: its schema is not UTF-8.") from error
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be {action}: {error}.") from error


def _connect(path: Path, target: str) -> sqlite3.Connection:
    """Open a connection in autocommit mode; transactions are begun by hand."""
    try:
        connection = sqlite3.connect(target, uri=target.startswith("file:"), isolation_level=None)
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be opened: {error}.") from error
    return connection


def _new_database(identity: Mapping[str, Any]) -> bytes:
    """Return an empty store as the bytes of its file, so that it can appear in one piece."""
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
    """Return nested mappings as one level of dotted names."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(_flatten(item, f"{prefix}.{key}" if prefix else key))
    return flat
