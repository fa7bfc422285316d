"""Named things that users can add to: metrics, objectives, algorithms, file formats, layer kinds.

A `Registry` holds what axopt brings itself, what a program registers, and what installed packages
offer through an entry point. An entry point is imported when its name is asked for, not before.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from axopt.errors import ArgumentError, AxoptError, PluginError

T = TypeVar("T")
Registered = TypeVar("Registered")


@contextmanager
def blamed_on(what: str, name: str, part: str = "") -> Iterator[None]:
    """Raise errors of registered code again as one that names it.

    Errors of axopt, of files and of memory say enough and pass as they are.

    Args:
        what: What is registered: "metric".
        name: Its name.
        part: Which function of it is called.

    Raises:
        PluginError: For any other exception, which is its cause.

    Example:
        >>> with blamed_on("metric", "ratio", "of_all"):
        ...     1 / 0
        Traceback (most recent call last):
            ...
        axopt.errors.PluginError: metric 'ratio': `of_all` failed with ZeroDivisionError: \
division by zero
    """
    try:
        yield
    except (AxoptError, MemoryError, OSError):
        raise
    except Exception as error:
        function = f"`{part}` " if part else ""
        raise PluginError(
            f"{what} {name!r}: {function}failed with {type(error).__name__}: {error}"
        ) from error


class Registry(Generic[T]):
    """Values by name.

    Args:
        what: What a value is, for messages: "metric".
        group: Entry-point group in which packages offer values: "axopt.metrics".
        built_in: Modules that register axopt's own values when they are imported; or name ->
            module, which is then imported when that name is asked for, and not to list names.
        argument: Name of the argument that messages blame for an unknown name; ``what`` if "".
        kind: What an entry point must name: values of this class. None for any.

    Example:
        >>> shapes = Registry[int]("shape", group="axopt.shapes")
        >>> shapes.add("square", 4)
        >>> shapes["square"], shapes.names()
        (4, ['square'])
        >>> shapes["sqare"]
        Traceback (most recent call last):
            ...
        axopt.errors.ArgumentError: `shape` must be a known shape, got 'sqare'; did you mean \
'square'?
    """

    def __init__(
        self,
        what: str,
        *,
        group: str,
        built_in: Sequence[str] | Mapping[str, str] = (),
        argument: str = "",
        kind: type[T] | None = None,
    ) -> None:
        self.what = what
        self.group = group
        self._argument = argument or what
        self._kind = kind
        self._module_of = dict(built_in) if isinstance(built_in, Mapping) else {}
        self._built_in = () if self._module_of else tuple(built_in)
        self._values: dict[str, T] = {}

    def add(self, name: str, value: T) -> None:
        """Make ``value`` known as ``name``.

        Raises:
            ArgumentError: If ``name`` is empty, or another value or an installed package has it.
        """
        if not name or not isinstance(name, str):
            raise ArgumentError(
                f"`name` of the {self.what} must be a non-empty text, got {name!r}."
            )
        if not name.isprintable() or name != name.strip() or "," in name:
            raise ArgumentError(
                f"`name` of the {self.what} must be printable, without commas and surrounding "
                f"spaces, got {name!r}."
            )
        self._import_module_of(name)
        if self._values.get(name, value) is not value:
            raise ArgumentError(f"`name` must be a new {self.what}, got {name!r}.")
        self._values[name] = value

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Return a decorator that makes what it decorates known as ``name``; see `add`."""

        def decorate(value: Registered) -> Registered:
            self.add(name, value)  # type: ignore[arg-type]
            return value

        return decorate

    def remove(self, name: str) -> None:
        """Forget a value that was added; for tests and notebooks that define it again.

        Raises:
            ArgumentError: If no value was added under ``name``.
        """
        if name not in self._values:
            raise ArgumentError(self._unknown(name))
        del self._values[name]

    def names(self) -> list[str]:
        """All names, sorted; entry points are listed without being imported."""
        self._import_built_in()
        return sorted({*self._values, *self._module_of, *self._entry_points()})

    def __contains__(self, name: object) -> bool:
        """Whether there is a value of that name."""
        return isinstance(name, str) and name in self.names()

    def __getitem__(self, name: str) -> T:
        """The value called ``name``.

        Raises:
            ArgumentError: If the name is unknown (the message has near misses) or no text, or if
                the package that offers it cannot be imported.
        """
        if not isinstance(name, str):
            raise ArgumentError(
                f"`{self._argument}` must be the name of a known {self.what}, "
                f"got {type(name).__name__}."
            )
        self._import_built_in()
        self._import_module_of(name)
        if name not in self._values:
            offered = self._entry_points().get(name)
            if offered is None:
                raise ArgumentError(self._unknown(name))
            self._load(offered)
        return self._values[name]

    def _load(self, offered: EntryPoint) -> None:
        """Import an entry point; its module may register the value itself, else it is added."""
        try:
            value = offered.load()
        except (Exception, SystemExit) as error:  # must not look like a fault of axopt
            raise ArgumentError(
                f"the {self.what} {offered.name!r} comes from the entry point {offered.value!r}, "
                f"which cannot be imported: {type(error).__name__}: {error}"
            ) from error
        if offered.name in self._values:
            return
        if self._kind is not None and not isinstance(value, self._kind):
            raise ArgumentError(
                f"the {self.what} {offered.name!r} comes from the entry point {offered.value!r}, "
                f"which must name a {self._kind.__name__} or a module that registers it, "
                f"got {value!r}."
            )
        self._values[offered.name] = value

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}

    def _import_built_in(self) -> None:
        for module in self._built_in:
            importlib.import_module(module)

    def _import_module_of(self, name: str) -> None:
        """Import the module of axopt that registers ``name``, unless that is happening now."""
        if name not in self._values and name in self._module_of:
            importlib.import_module(self._module_of[name])

    def _unknown(self, name: object) -> str:
        names = self.names()
        near = difflib.get_close_matches(str(name), names, n=3)
        if near:
            hint = f"did you mean {' or '.join(map(repr, near))}?"
        else:
            hint = f"known are {', '.join(names) or 'none'}."
        return f"`{self._argument}` must be a known {self.what}, got {name!r}; {hint}"
