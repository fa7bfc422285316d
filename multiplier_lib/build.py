"""Rebuild ``evoapprox8b.csv`` and ``evoapprox8b.npz`` from the raw tables.

    python multiplier_lib/build.py RAW_DIRECTORY

The raw directory holds ``evoapprox8b.csv``, one row a circuit and release, and ``tables.npz``,
one 16-bit array a distinct table, in numeric order of the operands, keyed by the first 16 hex
digits of its SHA-256.
"""

import argparse
import csv
import io
from pathlib import Path

import numpy as np

from axopt.files import write_atomically, write_text_atomically
from axopt.multipliers import Multiplier
from axopt.multipliers.storage import npz_bytes

STEM = "evoapprox8b"
DROPPED_COLUMN = "table"  # the first 16 digits of table_sha256


def main() -> None:
    parser = argparse.ArgumentParser(description="Rebuild the bundled library from raw tables.")
    parser.add_argument("raw", type=Path, help="directory of evoapprox8b.csv and tables.npz")
    raw = parser.parse_args().raw
    target = Path(__file__).resolve().parent
    with open(raw / f"{STEM}.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with np.load(raw / "tables.npz", allow_pickle=False) as tables:
        multipliers = [_checked(row, tables[row["table"]]) for row in rows]
    write_atomically(target / f"{STEM}.npz", npz_bytes(multipliers))
    write_text_atomically(target / f"{STEM}.csv", _csv_text(rows))


def _checked(row: dict[str, str], table: np.ndarray) -> Multiplier:
    multiplier = Multiplier(
        release=row["release"],
        name=row["name"],
        signed=row["signed"] == "1",
        table=table,
        power_mw=float(row["power_mw"]),
        area_um2=float(row["area_um2"]),
        delay_ns=float(row["delay_ns"]),
    )
    if multiplier.digest != row["table_sha256"]:
        raise SystemExit(f"{multiplier.key}: the raw table does not have its digest")
    return multiplier


def _csv_text(rows: list[dict[str, str]]) -> str:
    """Return the figures as their authors print them: their digits tell how they were rounded."""
    columns = [column for column in rows[0] if column != DROPPED_COLUMN]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    main()
