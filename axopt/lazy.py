"""Names of a package that are imported on first use, so that the package itself costs nothing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(
    package: str, module_of: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions that a package can have as its ``__getattr__`` and ``__dir__``.

    Args:
        package: Name of the package.
        module_of: Name -> module that defines it: one inside the package, or one of another
            package by its full name.

    Returns:
        A function of a name: it imports the module, keeps the value in the package and returns
        it. And a function that lists all names of the package.

    Example:
        >>> import json
        >>> get, _ = lazy_names("json", {"JSONDecoder": "decoder"})
        >>> get("JSONDecoder") is json.decoder.JSONDecoder
        True
        >>> get("JSONDecodr")
        Traceback (most recent call last):
            ...
        AttributeError: module 'json' has no attribute 'JSONDecodr'
    """

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = module_of[name]
        full = module if "." in module else f"{package}.{module}"
        value = getattr(importlib.import_module(full), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of})

    return get, names
