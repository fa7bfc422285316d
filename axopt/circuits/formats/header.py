"""The comment at the head of an exported circuit: origin, licence, figures and digest.

Figures stand in the manner of EvoApproxLib, so that importers read them. Estimated figures do not:
their lines say that they are estimates, and no importer takes them for published ones.
"""

from __future__ import annotations

import textwrap

from axopt.circuits.netlist import Netlist
from axopt.multipliers import Multiplier, load_library

_WIDTH = 96
_ORIGIN = (
    "From EvoApproxLib, https://ehw.fit.vutbr.cz/evoapproxlib",
    "Copyright 2018 EHW@FIT, Faculty of Information Technology, Brno University of Technology",
    "SPDX-License-Identifier: MIT",
)
_ERRORS = {
    "mae": ("MAE", ""),
    "mae_pct": ("MAE%", " %"),
    "wce": ("WCE", ""),
    "wce_pct": ("WCE%", " %"),
    "wcre_pct": ("WCRE%", " %"),
    "mre_pct": ("MRE%", " %"),
    "ep_pct": ("EP%", " %"),
    "mse": ("MSE", ""),
}
_COSTS = {"power_mw": ("PWR", "mW"), "area_um2": ("AREA", "um2"), "delay_ns": ("DELAY", "ns")}


def header_of(netlist: Netlist, name: str, multiplier: Multiplier | None = None) -> list[str]:
    """Return the lines of the comment at the head of a circuit, without comment marks.

    Args:
        netlist: The gates.
        name: Name of the circuit, for the case without a multiplier.
        multiplier: The multiplier whose gates they are, or None.

    Returns:
        Lines of printable characters; none ends in a backslash, which would continue a comment.

    Example:
        >>> from axopt.circuits import load_netlists
        >>> multiplier = load_library()["mul8s_1L2H"]
        >>> lines = header_of(load_netlists()[multiplier.key], "x", multiplier)
        >>> lines[0], lines[-3]
        ('v1/mul8s_1L2H: signed multiplier of 8 x 8 bits, 158 gates', 'PDK45_PWR = 0.301 mW')
    """
    kind = "signed" if netlist.signed else "unsigned"
    what = f"{kind} multiplier of {netlist.bits_a} x {netlist.bits_w} bits"
    title = name if multiplier is None else multiplier.key
    lines = [f"{title}: {what}, {len(netlist.gates)} gates"]
    if multiplier is not None:
        published = is_evoapprox(multiplier)
        lines += _ORIGIN if published else ()
        if multiplier.source:
            source = ("Cite: " if published else "Source: ") + multiplier.source
            lines += textwrap.wrap(_printable(source), _WIDTH, break_on_hyphens=False)
        lines.append("a is the first operand (rows of the table), b the second (columns)")
        lines.append(f"SHA-256 of the table: {multiplier.digest}")
        lines += _figures(multiplier, "PDK45_" if published else "")
    return [_printable(line) for line in lines]


def is_evoapprox(multiplier: Multiplier) -> bool:
    """Return whether a multiplier is one of EvoApproxLib: name and table are those bundled.

    Example:
        >>> is_evoapprox(load_library()["mul8s_1L2H"])
        True
    """
    bundled = load_library(narrow=True)
    key = multiplier.key
    return key in bundled and bundled[key].digest == multiplier.digest


def _figures(multiplier: Multiplier, prefix: str) -> list[str]:
    """Return one line for each figure."""
    bits = multiplier.bits_a + multiplier.bits_w
    errors = {**multiplier.metrics.published_figures(bits), **multiplier.published}
    lines = [f"{shown} = {errors[name]:.12g}{unit}" for name, (shown, unit) in _ERRORS.items()]
    for figure, (shown, unit) in _COSTS.items():
        value, interval = getattr(multiplier, figure), multiplier.intervals.get(figure)
        if interval is None:
            label = f"{prefix}{shown}" if prefix or figure != "power_mw" else "POWER"
            lines.append(f"{label} = {value:.12g} {unit}")
        else:
            low, high = interval
            lines.append(
                f"estimated {shown}, 45 nm: {value:.4g} {unit}, interval {low:.4g} to {high:.4g}"
            )
    return lines


def _printable(line: str) -> str:
    """Return a line that ends no comment and continues none."""
    text = "".join(c if c.isprintable() else " " for c in line)
    return text.replace("*/", "* /").replace("/*", "/ *").rstrip(" \\")
