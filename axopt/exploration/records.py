"""Rows of the store: trials and notes to SQLite columns and back, each with a checksum.

Schema 2 added the fidelity of a trial. A store of schema 1 is read and continued as it is, so that
the axopt that made it can read it still; all its trials have the fidelity 1.
"""

import json
import zlib
from collections.abc import Sequence
from typing import Any

from axopt.exploration.trial import FULL, State, Trial

SCHEMA_VERSION = 2
READABLE_SCHEMAS = (1, 2)

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
    fidelity REAL NOT NULL,
    crc INTEGER NOT NULL
);
CREATE TRIGGER evaluation_keeps BEFORE UPDATE ON evaluation
BEGIN SELECT RAISE(ABORT, 'a finished trial never changes'); END;
CREATE TRIGGER evaluation_stays BEFORE DELETE ON evaluation
BEGIN SELECT RAISE(ABORT, 'a finished trial never goes'); END;
"""

SELECT_NOTE = "SELECT key, value, crc FROM meta WHERE key = ?"
INSERT_NOTE = "INSERT INTO meta VALUES (?, ?, ?)"

_COLUMNS_OF_1 = "trial, genes, state, objectives, info, reason, seconds"
_COLUMNS = {1: f"{_COLUMNS_OF_1}, crc", 2: f"{_COLUMNS_OF_1}, fidelity, crc"}


def select_trials(schema: int) -> str:
    """Return the statement that reads all trials of a store of that schema, by number."""
    return f"SELECT {_COLUMNS[schema]} FROM evaluation ORDER BY trial"


def insert_trial(schema: int) -> str:
    """Return the statement that adds the row of `encode_trial`."""
    places = ", ".join("?" * len(_COLUMNS[schema].split(",")))
    return f"INSERT INTO evaluation ({_COLUMNS[schema]}) VALUES ({places})"


class DamagedRowError(Exception):
    """A row does not have its checksum, or does not decode. Stays inside the store."""


def to_json(value: Any) -> str:
    """Return canonical JSON: equal values give equal text; floats come back bit for bit.

    Raises:
        ValueError: If ``value`` holds NaN or infinity.
        TypeError: If ``value`` is not JSON-able.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def encode_note(key: str, value: Any) -> tuple[Any, ...]:
    """Return the row of one key of the table ``meta``."""
    return _signed((key, to_json(value)))


def decode_note(row: Sequence[Any]) -> Any:
    """Return the value in a row of ``meta``.

    Raises:
        DamagedRowError: If the row is not as it was written.
    """
    _, value = _verified(row)
    return json.loads(value)


def encode_trial(trial: Trial, schema: int = SCHEMA_VERSION) -> tuple[Any, ...]:
    """Return the row of a trial in the table ``evaluation`` of a store of that schema.

    Raises:
        ValueError: If the schema has no column for what the trial holds.
    """
    columns = (
        trial.number,
        to_json(trial.genes),
        trial.state.value,
        to_json(trial.objectives),
        to_json(dict(trial.info)),
        trial.reason,
        trial.seconds,
    )
    if schema > 1:
        return _signed((*columns, trial.fidelity))
    if trial.fidelity != FULL or trial.state is State.PRUNED:
        raise ValueError("a store of schema 1 cannot hold pruned trials; start a new search")
    return _signed(columns)


def decode_trial(row: Sequence[Any], schema: int = SCHEMA_VERSION) -> Trial:
    """Return the trial in a row of ``evaluation`` of a store of that schema.

    Raises:
        DamagedRowError: If the row is not as it was written.
    """
    number, genes, state, objectives, info, reason, seconds, *fidelity = _verified(row)
    return Trial(
        number=number,
        genes=tuple(json.loads(genes)),
        state=State(state),
        objectives=tuple(json.loads(objectives)),
        info=json.loads(info),
        reason=reason,
        seconds=seconds,
        fidelity=fidelity[0] if schema > 1 else FULL,
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
