"""The readers by name, and `load_data`, which calls the one that a spec names."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from axopt.data.dataset import Dataset
from axopt.errors import ArgumentError, DatasetError
from axopt.registry import Registry

Reader = Callable[..., Dataset]
_Reader = TypeVar("_Reader", bound=Reader)

READERS = Registry[Reader](
    "reader",
    group="axopt.readers",
    built_in={
        name: f"axopt.data.{name.removesuffix('_thirds')}"
        for name in (
            "cifar10",
            "digits",
            "digits_thirds",
            "idx",
            "imagefolder",
            "latents",
            "npz",
            "polarity",
        )
    },
    argument="data",
)
"""The readers of data by name: those of axopt, of `register_reader` and of installed packages."""


def register_reader(name: str) -> Callable[[_Reader], _Reader]:
    """Return a decorator that makes ``load_data("name:PATH", **options)`` call a function.

    Args:
        name: A new name without a colon.

    Returns:
        A decorator of a function that returns a `Dataset`. It takes a parameter ``path`` (`Path`)
        if it reads files, and keyword-only parameters for its options.

    Raises:
        ArgumentError: If the name is empty, taken or holds a colon.

    Example:
        >>> import torch
        >>> from axopt.data import Split
        >>> @register_reader("ramp")
        ... def read_ramp(*, size: int = 3) -> Dataset:
        ...     split = Split(torch.arange(float(size))[:, None], torch.zeros(size).long())
        ...     return Dataset("ramp", "ramp", split, split, split, ("only",))
        >>> len(load_data("ramp", size=5).train)
        5
        >>> READERS.remove("ramp")
    """
    if not name or ":" in name:
        raise ArgumentError(f"`name` must be a new reader name without a colon, got {name!r}.")
    return READERS.register(name)


def list_readers() -> list[str]:
    """Return the names of the readers, sorted.

    Example:
        >>> list_readers()
        ['cifar10', 'digits', 'digits_thirds', 'idx', 'imagefolder', 'latents', 'npz', 'polarity']
    """
    return READERS.names()


def load_data(spec: str, **options: object) -> Dataset:
    """Read a data set into memory.

    Args:
        spec: "<reader>" or "<reader>:PATH"; `list_readers` names the readers.
        **options: Passed on to the reader, as ``download=True`` to "cifar10".

    Returns:
        Three splits: train, validation and test.

    Raises:
        DatasetError: If the reader is unknown, or the source is missing, damaged or inconsistent;
            then nothing of it is used.
        ArgumentError: If the reader does not have one of the options.

    Example:
        >>> data = load_data("digits")
        >>> len(data.train), len(data.validation), len(data.test)
        (1079, 359, 359)
    """
    if not isinstance(spec, str):
        raise ArgumentError(
            f"`spec` must be a name, or one with a path as 'npz:FILE', got {type(spec).__name__}."
        )
    name, _, path = spec.partition(":")
    try:
        reader = READERS[name]
    except ArgumentError as error:
        raise DatasetError(str(error)) from error
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
