"""``axopt report``: write the table, plot and page of a run again from its record."""

from __future__ import annotations

import argparse

from axopt.cli.arguments import add_common, path
from axopt.cli.console import print_result

FILES = ("front.csv", "pareto.png", "report.html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("run", type=path, help="the folder of a run")
    add_common(parser)


def run(options: argparse.Namespace) -> int:
    """Write the report; the model and the data are not needed."""
    from axopt.report import write_report
    from axopt.study import RunFolder

    write_report(RunFolder(options.run).record(), options.run)
    files = [str(options.run / name) for name in FILES]
    print_result(options, {"files": files}, "\n".join(files))
    return 0
