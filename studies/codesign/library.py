"""Write generated multipliers of the study to a library, with their gate lists.

python -m studies.codesign.library runs/codesign/library
python -m studies.codesign.library runs/codesign/narrow --kind narrow
python -m studies.codesign.library runs/codesign/columns --kind columns

Kinds: "truncated", exact signed multipliers of the top bits of both operands; "narrow", signed
multipliers of fewer bits, which make the quantisers of their layers narrow; "columns", unsigned
array multipliers without their lowest columns, as in TRAM (DAC 2026).
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from axopt.circuits import Netlist, generate, multiplier_of, save_netlists
from axopt.multipliers import MultiplierLibrary

WIDTHS = range(2, 8)
MOST_DIFFERENCE = 2
NARROW = ((3, 4), (4, 4), (4, 5), (5, 5))
COLUMNS = range(13)
"""Numbers of low columns that are left out, of 15; powers are relative to 0, the exact array."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=KINDS, default="truncated")
    args = parser.parse_args()
    multipliers, netlists = [], {}
    for name, netlist in KINDS[args.kind]():
        multiplier = multiplier_of(netlist, name)
        multipliers.append(multiplier)
        netlists[multiplier.key] = netlist
    MultiplierLibrary(multipliers).save(args.folder)
    save_netlists(args.folder / "library.gates.json.gz", netlists)
    for multiplier in multipliers:
        print(f"{multiplier.key} {multiplier.power_mw:.4f} mW")


def truncated() -> Iterator[tuple[str, Netlist]]:
    """Yield exact signed multipliers of the top bits, in the 8-bit slot."""
    for bits_a in WIDTHS:
        for bits_w in range(bits_a, min(bits_a + MOST_DIFFERENCE + 1, WIDTHS.stop)):
            netlist = generate("truncated", bits_a=bits_a, bits_w=bits_w, signed=True)
            yield f"trunc{bits_a}x{bits_w}s", netlist


def narrow() -> Iterator[tuple[str, Netlist]]:
    """Yield exact signed multipliers of fewer than 8 bits."""
    for bits_a, bits_w in NARROW:
        netlist = generate("exact", bits_a=bits_a, bits_w=bits_w, signed=True)
        yield f"narrow{bits_a}x{bits_w}s", netlist


def without_columns() -> Iterator[tuple[str, Netlist]]:
    """Yield unsigned array multipliers without their lowest columns."""
    for columns in COLUMNS:
        netlist = generate("column_truncated", columns=columns, constant=0, reduction="array")
        yield f"columns{columns}u", netlist


KINDS: dict[str, Callable[[], Iterator[tuple[str, Netlist]]]] = {
    "truncated": truncated,
    "narrow": narrow,
    "columns": without_columns,
}


if __name__ == "__main__":
    main()
