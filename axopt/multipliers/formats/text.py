"""Texts of C, Verilog and BLIF files: decoding, comments, and the figures that comments state."""

from __future__ import annotations

import re
from collections.abc import Mapping

from axopt.errors import LutFormatError

_HEADER_BYTES = 1 << 16
"""Figures are looked for in this many characters of a file."""

_FIGURE = re.compile(
    r"[\s/*#]*(?P<name>[A-Za-z][A-Za-z0-9_]{0,30}%?)\s*(?P<technology>\(\s*\d+\s*\))?\s*[=:]\s*"
    r"(?P<value>\d{1,20}(?:\.\d{0,20})?(?:[eE][+-]?\d{1,3})?)\s*(?P<unit>%|[A-Za-zµ^]{1,4}\d?)?\s*",
    re.ASCII | re.IGNORECASE,
)
_COMMENT = re.compile(r"\s*(?://|/?\*|#)")

_POWER = {"nw": 1e-6, "uw": 1e-3, "µw": 1e-3, "mw": 1.0, "w": 1e3}
_AREA = {"um2": 1.0, "um^2": 1.0, "mm2": 1e6}
_DELAY = {"ps": 1e-3, "ns": 1.0, "us": 1e3}
_COSTS: Mapping[str, tuple[str, Mapping[str, float]]] = {
    **{name: ("power_mw", _POWER) for name in ("pdk45_pwr", "power", "pwr", "power_mw")},
    **{name: ("area_um2", _AREA) for name in ("pdk45_area", "area", "area_um2")},
    **{name: ("delay_ns", _DELAY) for name in ("pdk45_delay", "delay", "delay_ns")},
}
_ERRORS = {
    **{"mae%": "mae_pct", "mae": "mae", "wce%": "wce_pct", "wce": "wce", "mse": "mse"},
    **{"wcre%": "wcre_pct", "wcre": "wcre_pct", "ep%": "ep_pct", "ep": "ep_pct"},
    **{"mre%": "mre_pct", "mre": "mre_pct"},
}


def decode(content: bytes, where: object) -> str:
    """Return the text of a file in UTF-8.

    Raises:
        LutFormatError: If it is no such text.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LutFormatError(f"{where}: not a text file: {error}.") from error
    if "\0" in text:
        raise LutFormatError(f"{where}: not a text file: it holds a NUL character.")
    return text.replace("\r\n", "\n")


def without_comments(text: str, where: object) -> str:
    """Return C text with blanks instead of comments; lines keep their numbers.

    Raises:
        LutFormatError: If a comment does not end, or a ``/`` starts none: no reader divides.
    """
    pieces = []
    position = 0
    while (start := text.find("/", position)) >= 0:
        pieces.append(text[position:start])
        opening = text[start : start + 2]
        if opening not in ("/*", "//"):
            raise LutFormatError(f"{where}: unexpected '/' at character {start}.")
        closing = "*/" if opening == "/*" else "\n"
        end = text.find(closing, start + 2)
        if end < 0 and opening == "/*":
            raise LutFormatError(f"{where}: the comment at character {start} never ends.")
        stop = len(text) if end < 0 else end + len(closing)
        pieces.append(" " + "\n" * text.count("\n", start, stop))
        position = stop
    pieces.append(text[position:])
    return "".join(pieces)


def stated_figures(text: str) -> dict[str, float]:
    r"""Return the figures that the comments at the start of a file state, as EvoApproxLib's do.

    Args:
        text: The text of the file. Lines such as ``// PDK45_PWR = 0.301 mW``, ``// MAE% = 0.08 %``
            and ``// Power (45) = 0.43`` count; other technologies than 45 nm do not.

    Returns:
        Figures by the names ``power_mw``, ``area_um2``, ``delay_ns`` and those of
        `ErrorMetrics.published_figures`. The first statement of a figure counts.

    Example:
        >>> from axopt.multipliers.formats.text import stated_figures
        >>> stated_figures("// WCE = 255 \n// PDK45_PWR = 301 uW\n// FPGA_POWER = 0.9")
        {'wce': 255.0, 'power_mw': 0.301}
    """
    figures: dict[str, float] = {}
    for line in text[:_HEADER_BYTES].splitlines():
        match = _FIGURE.fullmatch(line) if len(line) < 200 and _COMMENT.match(line) else None
        if match is not None:
            name, value = _figure(match)
            if name:
                figures.setdefault(name, value)
    return figures


def _figure(match: re.Match[str]) -> tuple[str, float]:
    """Return the name of a figure and its value in our unit; "" if it is none of ours."""
    name, unit = match["name"].lower(), (match["unit"] or "").lower()
    value = float(match["value"])
    if name in _ERRORS and unit in ("", "%"):
        name = _ERRORS.get(f"{name}{unit}", _ERRORS[name])  # "MAE = 0.08 %" is no MAE of 0.08
        return ("", 0.0) if unit and not name.endswith("_pct") else (name, value)
    kind, units = _COSTS.get(name, ("", {}))
    nanometres = (match["technology"] or "45").strip("() ")
    if not kind or nanometres != "45" or (unit and unit not in units):
        return "", 0.0
    return kind, value * units.get(unit, 1.0)
