"""Write the truncated signed multipliers of the study to a library, with their gate lists.

python -m studies.codesign.library runs/codesign/library
"""

import argparse
from pathlib import Path

from axopt.circuits import generate, multiplier_of, save_netlists
from axopt.multipliers import MultiplierLibrary

WIDTHS = range(2, 8)
MOST_DIFFERENCE = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    multipliers, netlists = [], {}
    for bits_a in WIDTHS:
        for bits_w in range(bits_a, min(bits_a + MOST_DIFFERENCE + 1, WIDTHS.stop)):
            name = f"trunc{bits_a}x{bits_w}s"
            netlist = generate("truncated", bits_a=bits_a, bits_w=bits_w, signed=True)
            multiplier = multiplier_of(netlist, name)
            multipliers.append(multiplier)
            netlists[multiplier.key] = netlist
    MultiplierLibrary(multipliers).save(folder)
    save_netlists(folder / "library.gates.json.gz", netlists)
    for multiplier in multipliers:
        print(f"{multiplier.key} {multiplier.power_mw:.4f} mW")


if __name__ == "__main__":
    main()
