"""Names that work until 0.3: old names of what was renamed in 0.2, and what nothing needs."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any


def renamed_names(
    module: str, names: Mapping[str, str], otherwise: Callable[[str], Any] | None = None
) -> Callable[[str], Any]:
    """Return a function that a module can have as its ``__getattr__``.

    Args:
        module: Name of the module.
        names: Old name -> new name of the module.
        otherwise: What the module does with all other names; by default there are none.

    Returns:
        A function of a name: it warns and returns what has the new name.

    Example:
        >>> old = renamed_names("math", {"square_root": "sqrt"})
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     old("square_root")(4.0)
        2.0
        >>> print(caught[0].message)
        `math.square_root` is now `math.sqrt`; the old name is removed in 0.3.
    """

    def lookup(name: str) -> Any:
        if name not in names:
            if otherwise is not None:
                return otherwise(name)
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _warn(f"{module}.{name}", f"{module}.{names[name]}")
        return getattr(sys.modules[module], names[name])

    return lookup


def renamed_attribute(old: str, new: str) -> Any:
    """Return a read-only property that has been renamed.

    Args:
        old: Class and old name, for the warning: "QuantParams.step".
        new: Name of the attribute or method now.

    Example:
        >>> class Circle:
        ...     radius = 2.0
        ...     r = renamed_attribute("Circle.r", "radius")
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     Circle().r
        2.0
    """

    def get(self: object) -> Any:
        _warn(old, f"{old.split('.')[0]}.{new}")
        return getattr(self, new)

    return property(get, doc=f"Old name of `{new}`, removed in 0.3.")


def warn_removed(name: str, instead: str) -> None:
    """Warn the caller of the caller that a function is removed in 0.3.

    Args:
        name: The function with its room: "axopt.model.correct_together".
        instead: What to do: "use `axopt.correct_`".

    Example:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn_removed("math.cube", "use `x**3`")
        >>> print(caught[0].message)
        `math.cube` is removed in 0.3; use `x**3`.
    """
    warnings.warn(f"`{name}` is removed in 0.3; {instead}.", FutureWarning, stacklevel=3)


def _warn(old: str, new: str) -> None:
    words = f"`{old}` is now `{new}`; the old name is removed in 0.3."
    warnings.warn(words, FutureWarning, stacklevel=3)
