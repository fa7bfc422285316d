"""``axopt multipliers show``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axopt.cli.arguments import add_library, path, word
from axopt.cli.console import print_result
from axopt.cli.multipliers.figures import figures_of
from axopt.cli.multipliers.options import library_of

if TYPE_CHECKING:
    from axopt.multipliers import Multiplier


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this action."""
    parser.add_argument("name", type=word, help="mul8s_1L2H or v2022/mul8s_1L2J")
    parser.add_argument(
        "--plot", type=path, metavar="FILE", help="draw the errors: a .png, .pdf or .svg file"
    )
    add_library(parser)


def run(options: argparse.Namespace) -> int:
    """Print figures, errors, structure and source of one multiplier."""
    from axopt.kernels import explain, plan

    library = library_of(options)
    multiplier = library[options.name]
    result = {
        **figures_of(multiplier),
        "rank": multiplier.rank,
        "commutative": multiplier.is_commutative,
        "degenerate": multiplier.is_degenerate,
        "aliases": [k for k in library.aliases(multiplier.key) if k != multiplier.key],
        "plan": explain(plan(multiplier.code_table)),
        **_circuit(multiplier, options.library),
        "published": dict(multiplier.published),
        "source": multiplier.source,
    }
    if options.plot is not None:
        from axopt.multipliers import error_picture

        result["plot"] = str(error_picture(multiplier, options.plot))
    print_result(options, result, _as_lines(result))
    return 0


def _circuit(multiplier: Multiplier, library: Path | None) -> dict[str, Any]:
    """Return gates and estimated figures; None for a multiplier without a gate list."""
    from axopt.circuits import estimate, gates_of

    netlist = gates_of(multiplier, library)
    if netlist is None:
        return {"gates": None, "depth": None, "estimate": None}
    estimated = estimate(netlist)
    figures = {figure: getattr(estimated, figure) for figure in estimated.intervals}
    return {
        "gates": dict(sorted(netlist.counts.items())),
        "depth": netlist.depth,
        "estimate": {**figures, "intervals": dict(estimated.intervals)},
    }


def _as_lines(result: dict[str, Any]) -> str:
    lines = []
    for name, value in result.items():
        if name == "intervals":
            value = ", ".join(f"{key} {low:.4g}..{high:.4g}" for key, (low, high) in value.items())
            name = "estimated"
        elif name == "estimate" and value is not None:
            name, value = "from gates", _estimate_line(value)
        elif name == "gates" and value is not None:
            counted = ", ".join(f"{count} {op}" for op, count in value.items())
            value = f"{sum(value.values())}: {counted}" if value else "0"
        elif isinstance(value, dict):
            value = ", ".join(f"{key} {number:.6g}" for key, number in value.items())
        elif isinstance(value, list):
            value = ", ".join(value)
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        text = ("" if value is None else str(value)).replace("\n", "\n" + " " * 12) or "-"
        lines.append(f"{name:12}{text}")
    return "\n".join(lines)


def _estimate_line(estimate: dict[str, Any]) -> str:
    """Return the estimated figures with their intervals, in a line."""
    return ", ".join(
        f"{figure} {estimate[figure]:.3g} ({low:.3g}..{high:.3g})"
        for figure, (low, high) in estimate["intervals"].items()
    )
