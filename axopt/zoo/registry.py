"""The models by name, their trained weights and their cards."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from torch import nn

from axopt.errors import ArgumentError, ModelError
from axopt.zoo.weights_io import load_weights_

_HERE = Path(__file__).parent


class _Entry(NamedTuple):
    factory: Callable[[], nn.Module]
    default_data: str | None
    metric: str


_Factory = TypeVar("_Factory", bound=Callable[[], nn.Module])
_MODELS: dict[str, _Entry] = {}


def register_model(
    name: str, *, default_data: str | None = None, metric: str = "top1"
) -> Callable[[_Factory], _Factory]:
    """Decorator that adds a factory without arguments to the zoo.

    Args:
        name: Name in the zoo, of the weights and of the card.
        default_data: Spec of data that the model fits and that needs no path.
        metric: Name of the metric of the model's task, for `axopt.evaluate`.

    Raises:
        ArgumentError: If the name is taken or is no identifier.
    """
    if not name.isidentifier() or name in _MODELS:
        raise ArgumentError(f"`name` must be a new identifier, got {name!r}.")

    def register(factory: _Factory) -> _Factory:
        _MODELS[name] = _Entry(factory, default_data, metric)
        return factory

    return register


def list_models(*, pretrained: bool = True) -> list[str]:
    """Names of the models, sorted.

    Args:
        pretrained: Only those with trained weights, which `create_model` gives by default.
    """
    return sorted(name for name in _MODELS if not pretrained or _weights_of(name).is_file())


def create_model(name: str, *, pretrained: bool = True) -> nn.Module:
    """Build a model of the zoo, in evaluation mode.

    Args:
        name: One of `list_models`; of ``list_models(pretrained=False)`` if ``pretrained`` is
            False.
        pretrained: Load the trained weights; otherwise they are drawn from torch's generator.

    Raises:
        ModelError: If there is no such model, or no weights for it.
    """
    model = _entry(name).factory()
    if pretrained:
        load_weights_(model, _weights_of(name))
    return model.eval()


def model_card(name: str) -> str:
    """The model's card in Markdown: data, recipe, accuracy, size, licence.

    Raises:
        ModelError: If there is no such model, or no card for it.
    """
    _entry(name)
    path = _HERE / "cards" / f"{name}.md"
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ModelError(f"{path}: model {name!r} has no card.") from error


def default_data(name: str) -> str | None:
    """Spec of the data that the model is used with if nothing else is asked for, or None.

    Raises:
        ModelError: If there is no such model.
    """
    return _entry(name).default_data


def task_metric(name: str) -> str:
    """Name of the metric that the model's quality is measured by.

    Raises:
        ModelError: If there is no such model.
    """
    return _entry(name).metric


def _weights_of(name: str) -> Path:
    return _HERE / "weights" / f"{name}.safetensors"


def _entry(name: str) -> _Entry:
    if name not in _MODELS:
        near = difflib.get_close_matches(name, _MODELS, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ModelError(
            f"unknown model {name!r}; {hint or 'models: ' + ', '.join(list_models())}"
        )
    return _MODELS[name]
