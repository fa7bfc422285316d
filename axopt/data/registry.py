"""The readers by name, and `load_data`, which calls the one that a spec names."""

import difflib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from axopt.data.dataset import Dataset
from axopt.errors import ArgumentError, DatasetError

_Reader = TypeVar("_Reader", bound=Callable[..., Dataset])
_READERS: dict[str, Callable[..., Dataset]] = {}


def register_reader(name: str) -> Callable[[_Reader], _Reader]:
    """Decorator that makes ``load_data("name:PATH", **options)`` call a function.

    The function takes a parameter ``path`` (`Path`) if it reads files, keyword-only parameters for
    its options, and returns a `Dataset`.

    Raises:
        ArgumentError: If the name is taken or holds a colon.
    """
    if not name or ":" in name or name in _READERS:
        raise ArgumentError(f"`name` must be a new reader name without a colon, got {name!r}.")

    def register(reader: _Reader) -> _Reader:
        _READERS[name] = reader
        return reader

    return register


def list_readers() -> list[str]:
    """Names of the readers, sorted."""
    return sorted(_READERS)


def load_data(spec: str, **options: object) -> Dataset:
    """Read a data set into memory.

    Args:
        spec: "<reader>" or "<reader>:PATH"; `list_readers` names the readers.
        **options: Passed on to the reader, as ``download=True`` to "cifar10".

    Raises:
        DatasetError: If the reader is unknown, or the source is missing, damaged or inconsistent;
            then nothing of it is used.
        ArgumentError: If the reader does not have one of the options.
    """
    name, _, path = spec.partition(":")
    if name not in _READERS:
        near = difflib.get_close_matches(name, _READERS, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise DatasetError(
            f"unknown reader {name!r}; {hint or 'readers: ' + ', '.join(list_readers())}"
        )
    reader = _READERS[name]
    parameters = inspect.signature(reader).parameters
    for option in options:
        if option not in parameters or option == "path":
            raise ArgumentError(f"reader {name!r} has no option `{option}`.")
    if "path" not in parameters:
        if path:
            raise DatasetError(f"reader {name!r} takes no path, got {path!r}.")
        return reader(**options)
    if not path:
        raise DatasetError(f"reader {name!r} needs a path: write {name}:PATH.")
    try:
        return reader(path=Path(path).expanduser(), **options)
    except OSError as error:
        raise DatasetError(
            f"{error.filename or path}: cannot be read: {error.strerror or error}"
        ) from error
