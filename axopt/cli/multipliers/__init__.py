"""``axopt multipliers``: what is done with multipliers alone.

Each action is a module of this package with ``add_arguments(parser)`` and ``run(options) -> int``.
"""

from __future__ import annotations

import argparse

from axopt.cli.arguments import add_common, sentence
from axopt.cli.multipliers import check, compare, design, export, generate, import_, list_, show

ACTIONS = {
    "list": (list_, "print figures and errors of the multipliers"),
    "show": (show, "print everything about one multiplier"),
    "compare": (compare, "print and draw power against error of several multipliers"),
    "import": (import_, "add a multiplier to a library of your own"),
    "generate": (generate, "make multipliers of a family from parameters"),
    "design": (design, "design multipliers for the layers of a network"),
    "check": (check, "compare tables with digests and published figures"),
    "export": (export, "write the table or the gates of a multiplier to a file"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of this command."""
    actions = parser.add_subparsers(dest="action", metavar="<action>", required=True)
    for name, (module, summary) in ACTIONS.items():
        action = actions.add_parser(name, help=summary, description=sentence(summary))
        module.add_arguments(action)
        add_common(action)
        action.set_defaults(act=module.run)


def run(options: argparse.Namespace) -> int:
    """Run the action."""
    return int(options.act(options))
