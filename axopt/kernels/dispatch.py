"""The instruction set that the kernels use: by default the fastest that this processor has.

The environment variable ``AXOPT_ISA`` (read once, at the first use) and `force_isa` choose another
by name. A name that is unknown or not supported here is an error, never a silent fallback.
"""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import axopt._lut_gemm as _lut_gemm
from axopt.errors import IsaError

_forced: str | None = None


def available() -> list[str]:
    """Name the instruction sets that are compiled in and supported here, fastest first.

    Returns:
        Names, such as "avx512vbmi" or "avx2"; "portable" and "reference" run everywhere.

    Example:
        >>> from axopt.kernels import available
        >>> available()[-2:]
        ['portable', 'reference']
    """
    return [name for name, supported in _lut_gemm.instruction_sets() if supported]


def active() -> str:
    """Name the instruction set in use.

    Returns:
        The one that `force_isa` or the environment variable ``AXOPT_ISA`` asks for, else the
        fastest.

    Raises:
        IsaError: If ``AXOPT_ISA`` names an unknown or unsupported one.

    Example:
        >>> from axopt.kernels import active, available
        >>> active() in available()
        True
    """
    return _forced or _default()


@contextmanager
def force_isa(name: str) -> Iterator[None]:
    """Use the instruction set ``name`` inside the ``with`` block, in all threads.

    Args:
        name: One of `available`.

    Raises:
        IsaError: If it is unknown or not supported by this processor.

    Example:
        >>> from axopt.kernels import active, force_isa
        >>> with force_isa("portable"):
        ...     active()
        'portable'
    """
    global _forced
    before = _forced
    _forced = _checked(name, "`name`")
    try:
        yield
    finally:
        _forced = before


def active_index() -> int:
    """Return the position of `active` in axk_isa_table, as the binding takes it."""
    return _positions()[active()]


@functools.cache
def _default() -> str:
    name = os.environ.get("AXOPT_ISA")
    return _checked(name, "`AXOPT_ISA`") if name is not None else available()[0]


@functools.cache
def _positions() -> dict[str, int]:
    return {name: index for index, (name, _) in enumerate(_lut_gemm.instruction_sets())}


def _checked(name: str, argument: str) -> str:
    if name in available():
        return name
    reason = "is not supported by this processor" if name in _positions() else "is unknown"
    raise IsaError(
        f"{argument}: instruction set {name!r} {reason}; available here: {', '.join(available())}"
    )
