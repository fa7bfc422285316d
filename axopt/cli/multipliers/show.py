"""``axopt multipliers show``."""

from __future__ import annotations

import argparse
from typing import Any

from axopt.cli.arguments import add_library, word
from axopt.cli.console import print_result
from axopt.cli.multipliers.figures import figures_of
from axopt.cli.multipliers.options import library_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this action."""
    parser.add_argument("name", type=word, help="mul8s_1L2H or v2022/mul8s_1L2J")
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
        "published": dict(multiplier.published),
        "source": multiplier.source,
    }
    print_result(options, result, _as_lines(result))
    return 0


def _as_lines(result: dict[str, Any]) -> str:
    lines = []
    for name, value in result.items():
        if name == "intervals":
            value = ", ".join(f"{key} {low:.4g}..{high:.4g}" for key, (low, high) in value.items())
            name = "estimated"
        elif isinstance(value, dict):
            value = ", ".join(f"{key} {number:.6g}" for key, number in value.items())
        elif isinstance(value, list):
            value = ", ".join(value)
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        text = str(value).replace("\n", "\n" + " " * 12) or "-"
        lines.append(f"{name:12}{text}")
    return "\n".join(lines)
