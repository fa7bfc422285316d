"""Models of the user: a factory that is named ``package.module:factory``."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from axopt.errors import ModelError
from axopt.files import as_path
from axopt.zoo.registry import create_model
from axopt.zoo.weights_io import load_weights_


def load_model(spec: str, weights: str | os.PathLike[str] | None = None) -> nn.Module:
    """Build a model of the zoo or of the user.

    Args:
        spec: Name in the zoo, or ``package.module:factory``. The module is imported, which runs
            its code, from the current directory or from Python's path. The factory is called
            without arguments and must return an `nn.Module`.
        weights: File for `load_weights_`. None loads the trained weights of a model of the zoo and
            keeps the weights of a user's model as the factory set them.

    Returns:
        The model, in evaluation mode.

    Raises:
        ModelError: If the model is unknown, its module or factory fails or returns something else,
            or the weights are missing or do not fit.
        ArgumentError: If ``weights`` is no path.

    Example:
        >>> _ = Path("mine.py").write_text("from torch import nn; net = lambda: nn.Linear(3, 2)")
        >>> load_model("mine:net")
        Linear(in_features=3, out_features=2, bias=True)
    """
    if weights is not None:
        weights = as_path(weights, "weights")
    if isinstance(spec, str) and ":" in spec:
        model = _call_factory(spec)
    else:
        model = create_model(spec, pretrained=weights is None)
    if weights is not None:
        load_weights_(model, weights)
    return model.eval()


def _call_factory(spec: str) -> nn.Module:
    module_name, _, factory_name = spec.partition(":")
    if not module_name or not factory_name:
        raise ModelError(f"`model` must be package.module:factory, got {spec!r}.")
    with _importable(Path.cwd()):
        try:
            module = importlib.import_module(module_name)
        except Exception as error:  # any exception of the user's code
            what = f"{spec!r}: module {module_name!r} cannot be imported"
            raise _failure(what, error) from error
        factory = getattr(module, factory_name, None)
        if not callable(factory):
            found = "is not callable" if hasattr(module, factory_name) else "does not exist"
            raise ModelError(f"{spec!r}: {factory_name!r} of {module_name!r} {found}.")
        try:
            model = factory()
        except Exception as error:  # as above
            raise _failure(f"{spec!r}: {factory_name!r} failed", error) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{spec!r}: must return an nn.Module, returned {type(model).__name__}.")
    return model


def _failure(what: str, error: Exception) -> ModelError:
    reason = str(error).strip().split("\n", 1)[0]
    return ModelError(f"{what}: {type(error).__name__}: {reason}")


@contextmanager
def _importable(directory: Path) -> Iterator[None]:
    """Put ``directory`` first on `sys.path`, as ``python -m`` does."""
    entry = str(directory)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:  # the user's code may have changed the path
            sys.path.remove(entry)
