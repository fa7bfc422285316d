"""``axopt multipliers list``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from axopt.cli.arguments import add_library, word
from axopt.cli.console import as_table, print_result
from axopt.cli.multipliers.figures import MARK, figures_of, kind_of
from axopt.cli.multipliers.options import add_kind, add_widths, library_of

if TYPE_CHECKING:
    from axopt.multipliers import Multiplier

METRICS = ("mae", "wce", "mre", "wcre", "ep", "mse", "bias")
_FIGURES = {"power_mw": "{:.4g}".format, "area_um2": "{:.1f}".format, "delay_ns": "{:.2f}".format}
LISTED = ("multiplier", "kind", "mW", "um2", "ns", "MAE", "WCE", "MRE %", "EP %", "bias")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this action."""
    add_kind(parser, "only signed multipliers", "only unsigned multipliers")
    parser.add_argument("--release", type=word, help="only this release, such as v1")
    parser.add_argument(
        "--pareto", choices=METRICS, help="only the Pareto front of power and this error"
    )
    add_widths(parser)
    parser.add_argument("--degenerate", action="store_true", help="also those of constant output")
    add_library(parser)


def run(options: argparse.Namespace) -> int:
    """Print one row per multiplier."""
    bits_a, bits_w = options.bits_a, options.bits_w
    chosen = library_of(options, narrow=bits_a is not None or bits_w is not None).select(
        signed=options.signed,
        release=options.release,
        pareto=options.pareto,
        degenerate=options.degenerate,
        bits_a=bits_a,
        bits_w=bits_w,
    )
    table = as_table(LISTED, [row_of(multiplier) for multiplier in chosen.values()])
    if any(multiplier.is_estimated for multiplier in chosen.values()):
        table += f"\n{MARK} estimated, not published"
    print_result(options, [figures_of(m) for m in chosen.values()], table)
    return 0


def row_of(multiplier: Multiplier) -> list[str]:
    """Return the cells of `LISTED`."""
    errors = multiplier.metrics
    return [
        multiplier.key,
        kind_of(multiplier),
        *(
            form(getattr(multiplier, figure)) + MARK * (figure in multiplier.intervals)
            for figure, form in _FIGURES.items()
        ),
        f"{errors.mae:.4g}",
        f"{errors.wce:.0f}",
        f"{errors.mre:.3g}",
        f"{errors.ep:.2f}",
        f"{errors.bias:.4g}",
    ]
