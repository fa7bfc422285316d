"""Rebuild the tables and figures of the bundled library from raw ones.

    python multiplier_lib/build.py RAW_DIRECTORY

Of the 8 x 8-bit multipliers, the raw directory holds ``evoapprox8b.csv``, one row a multiplier and
release, and ``tables.npz``, one 16-bit array a distinct table, in numeric order of the operands,
keyed by the first 16 hex digits of its SHA-256. Of the narrower ones it holds ``narrow.csv``,
whose column ``bits_b`` is the width of the second operand, and ``narrow_tables.npz``, one array a
multiplier, keyed by ``release/name``. They get the digests of their tables and their sources.
"""

import argparse
import csv
import io
from pathlib import Path

import numpy as np

from axopt.files import write_atomically, write_text_atomically
from axopt.multipliers import Multiplier
from axopt.multipliers.storage import npz_bytes

WIDE, NARROW = "evoapprox8b", "evoapprox_narrow"
DROPPED_COLUMN = "table"  # the first 16 digits of table_sha256
NARROW_COLUMNS = (
    "release,name,bits_a,bits_w,signed,power_mw,area_um2,delay_ns,"
    "mae_pct,wce_pct,ep_pct,mre_pct,mse,table_sha256,source"
).split(",")

NARROW_SOURCES = {
    "mul7u": (
        "V. Mrazek, S. S. Sarwar, L. Sekanina, Z. Vasicek and K. Roy, "
        '"Design of power-efficient approximate multipliers for approximate artificial neural '
        'networks," 2016 IEEE/ACM International Conference on Computer-Aided Design (ICCAD), '
        "Austin, TX, 2016, pp. 1-7. doi: 10.1145/2966986.2967021"
    ),
    "mul8x": (
        'V. Mrazek, L. Sekanina, Z. Vasicek "Libraries of Approximate Circuits: Automated Design '
        'and Application in CNN Accelerators" IEEE Journal on Emerging and Selected Topics in '
        "Circuits and Systems, Vol 10, No 4, 2020"
    ),
}
"""The articles that EvoApproxLib's files ask to cite, by the first letters of a name."""

Rows = list[dict[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Rebuild the bundled library from raw tables.")
    parser.add_argument("raw", type=Path, help="directory of the raw tables and figures")
    raw = parser.parse_args().raw
    target = Path(__file__).resolve().parent
    rows, multipliers = _wide(raw)
    _write(target, WIDE, rows, multipliers, [c for c in rows[0] if c != DROPPED_COLUMN])
    _write(target, NARROW, *_narrow(raw), NARROW_COLUMNS)


def _wide(raw: Path) -> tuple[Rows, list[Multiplier]]:
    rows = _rows(raw / "evoapprox8b.csv")
    with np.load(raw / "tables.npz", allow_pickle=False) as tables:
        multipliers = [_multiplier(row, tables[row["table"]]) for row in rows]
    for row, multiplier in zip(rows, multipliers, strict=True):
        if multiplier.digest != row["table_sha256"]:
            raise SystemExit(f"{multiplier.key}: the raw table does not have its digest")
    return rows, multipliers


def _narrow(raw: Path) -> tuple[Rows, list[Multiplier]]:
    rows = _rows(raw / "narrow.csv")
    multipliers = []
    with np.load(raw / "narrow_tables.npz", allow_pickle=False) as tables:
        for row in rows:
            row["signed"] = str(int(row["signed"] == "True"))
            multiplier = _multiplier(row, tables[f"{row['release']}/{row['name']}"])
            if (str(multiplier.bits_a), str(multiplier.bits_w)) != (row["bits_a"], row["bits_b"]):
                raise SystemExit(f"{multiplier.key}: the raw table does not have its widths")
            row |= {"bits_w": row["bits_b"], "table_sha256": multiplier.digest}
            row["source"] = NARROW_SOURCES[multiplier.name[:5]]
            multipliers.append(multiplier)
    return rows, multipliers


def _rows(file: Path) -> Rows:
    with open(file, encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def _multiplier(row: dict[str, str], table: np.ndarray) -> Multiplier:
    return Multiplier(
        release=row["release"],
        name=row["name"],
        signed=row["signed"] == "1",
        table=table,
        power_mw=float(row["power_mw"]),
        area_um2=float(row["area_um2"]),
        delay_ns=float(row["delay_ns"]),
    )


def _write(
    target: Path, stem: str, rows: Rows, multipliers: list[Multiplier], columns: list[str]
) -> None:
    """Write figures as their authors print them: their digits tell how they were rounded."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(target / f"{stem}.npz", npz_bytes(multipliers))
    write_text_atomically(target / f"{stem}.csv", text.getvalue())


if __name__ == "__main__":
    main()
