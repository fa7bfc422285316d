"""``axopt multipliers check``."""

from __future__ import annotations

import argparse

from axopt.cli.arguments import add_library
from axopt.cli.console import print_result
from axopt.cli.multipliers.options import library_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this action."""
    add_library(parser)


def run(options: argparse.Namespace) -> int:
    """Print the multipliers whose tables do not give their figures; 1 if there are any."""
    from axopt.multipliers import check_library

    problems = {key: found for key, found in check_library(library_of(options)).items() if found}
    lines = [line for found in problems.values() for line in found]
    count = len(library_of(options))
    lines.append(f"{count - len(problems)} of {count} multipliers agree with their figures")
    result = {"checked": count, "problems": problems}
    print_result(options, result, "\n".join(lines))
    return 1 if problems else 0
