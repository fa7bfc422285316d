"""Rows of the store: trials and notes to SQLite columns and back, each with a checksum."""

import json
import zlib
from collections.abc import Sequence
from typing import Any

from axopt.exploration.trial import State, Trial

SCHEMA_VERSION = 1

CREATE_TABLES = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    crc INTEGER NOT NULL
);
CREATE TABLE evaluation (
    trial INTEGER PRIMARY KEY,
    genes TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    objectives TEXT NOT NULL,
    info TEXT NOT NULL,
    reason TEXT,
    seconds REAL NOT NULL,
    crc INTEGER NOT NULL
);
CREATE TRIGGER evaluation_keeps BEFORE UPDATE ON evaluation
BEGIN SELECT RAISE(ABORT, 'a finished trial never changes'); END;
CREATE TRIGGER evaluation_stays BEFORE DELETE ON evaluation
BEGIN SELECT RAISE(ABORT, 'a finished trial never goes'); END;
"""

SELECT_NOTE = "SELECT key, value, crc FROM meta WHERE key = ?"
INSERT_NOTE = "INSERT INTO meta VALUES (?, ?, ?)"
SELECT_TRIALS = (
    "SELECT trial, genes, state, objectives, info, reason, seconds, crc "
    "FROM evaluation ORDER BY trial"
)
INSERT_TRIAL = "INSERT INTO evaluation VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


class DamagedRowError(Exception):
    """A row does not have its checksum, or does not decode. Stays inside the store."""


def to_json(value: Any) -> str:
    """Canonical JSON: equal values give equal text; floats come back bit for bit.

    Raises:
        ValueError: If ``value`` holds NaN or infinity.
        TypeError: If ``value`` is not JSON-able.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def encode_note(key: str, value: Any) -> tuple[Any, ...]:
    """The row of one key of the table ``meta``."""
    return _signed((key, to_json(value)))


def decode_note(row: Sequence[Any]) -> Any:
    """The value in a row of ``meta``.

    Raises:
        DamagedRowError: If the row is not as it was written.
    """
    _, value = _verified(row)
    return json.loads(value)


def encode_trial(trial: Trial) -> tuple[Any, ...]:
    """The row of a trial in the table ``evaluation``."""
    return _signed(
        (
            trial.number,
            to_json(trial.genes),
            trial.state.value,
            to_json(trial.objectives),
            to_json(dict(trial.info)),
            trial.reason,
            trial.seconds,
        )
    )


def decode_trial(row: Sequence[Any]) -> Trial:
    """The trial in a row of ``evaluation``.

    Raises:
        DamagedRowError: If the row is not as it was written.
    """
    number, genes, state, objectives, info, reason, seconds = _verified(row)
    return Trial(
        number=number,
        genes=tuple(json.loads(genes)),
        state=State(state),
        objectives=tuple(json.loads(objectives)),
        info=json.loads(info),
        reason=reason,
        seconds=seconds,
    )


def _signed(columns: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*columns, _checksum(columns))


def _verified(row: Sequence[Any]) -> Sequence[Any]:
    try:
        if row[-1] == _checksum(tuple(row[:-1])):
            return row[:-1]
    except (TypeError, ValueError) as error:  # a damaged column may have become a BLOB or a NaN
        raise DamagedRowError(f"row {row[0]!r} does not decode") from error
    raise DamagedRowError(f"row {row[0]!r} does not have its checksum")


def _checksum(columns: tuple[Any, ...]) -> int:
    return zlib.crc32(to_json(columns).encode())
