"""The library in a folder to which multipliers are added."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from axopt.multipliers import Multiplier


def prepare_library(directory: Path, multipliers: Sequence[Multiplier]) -> None:
    """Make sure that multipliers can be added to the library in a folder.

    A folder without a library gets the bundled multipliers and their gate lists.

    Raises:
        MultiplierError: If two of the multipliers, or one of them and one of the library, have
            the same release and name. Nothing is written then.
    """
    from axopt.circuits import load_netlists, save_netlists
    from axopt.multipliers import load_library

    exists = directory.is_dir() and any(directory.glob("*.csv"))
    library = load_library(directory) if exists else load_library()
    for multiplier in multipliers:
        library = library.with_multiplier(multiplier)
    if not exists:
        bundled = load_library()
        bundled.save(directory)
        netlists = {key: n for key, n in load_netlists().items() if key in bundled}
        save_netlists(directory / "library.gates.json.gz", netlists)
