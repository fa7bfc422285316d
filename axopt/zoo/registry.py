"""The models by name, with their trained weights and cards."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from torch import nn

from axopt.errors import ArgumentError, ModelError
from axopt.files import as_path
from axopt.registry import Registry
from axopt.zoo.weights_io import load_weights_

_HERE = Path(__file__).parent
_Factory = TypeVar("_Factory", bound=Callable[[], nn.Module])


@dataclass(frozen=True)
class ZooModel:
    """A model of the zoo.

    Attributes:
        factory: Builds the model with random weights.
        default_data: Spec of data that the model fits and that needs no path, or None.
        metric: Name of the metric of the model's task.
        weights: File of the trained weights; it may be missing.
    """

    factory: Callable[[], nn.Module]
    default_data: str | None
    metric: str
    weights: Path


MODELS = Registry[ZooModel](
    "model",
    group="axopt.models",
    built_in={
        name: f"axopt.zoo.{module}"
        for module, names in {
            "densenet": ["densenet_small"],
            "digits": ["digits_cnn", "digits_small"],
            "mnist": ["mnist_cnn", "mnist_gan"],
            "mobilenet": ["mobilenetv2_small"],
            "resnet": ["resnet8", "resnet20"],
            "sentiment": ["lstm_sentiment"],
            "squeezenet": ["squeezenet_small"],
            "vgg": ["vgg_small"],
            "vit": ["vit_small"],
        }.items()
        for name in names
    },
)
"""The models by name: those of axopt, of `register_model` and of installed packages."""


def register_model(
    name: str,
    *,
    default_data: str | None = None,
    metric: str = "top1",
    weights: str | os.PathLike[str] | None = None,
) -> Callable[[_Factory], _Factory]:
    """Return a decorator that adds a factory without arguments to the zoo.

    Args:
        name: Name in the zoo, an identifier.
        default_data: Spec of data that the model fits and that needs no path.
        metric: Name of the metric of the model's task, for `axopt.evaluate`.
        weights: File of trained weights; by default that of this name in ``axopt/zoo/weights``.

    Returns:
        A decorator that returns the factory as it is.

    Raises:
        ArgumentError: If the name is taken or is no identifier.

    Example:
        >>> @register_model("tiny", default_data="digits")
        ... def tiny() -> nn.Module:
        ...     return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> create_model("tiny", pretrained=False)[1].out_features
        10
        >>> MODELS.remove("tiny")
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ArgumentError(f"`name` must be a new identifier, got {name!r}.")
    trained = _HERE / "weights" / f"{name}.safetensors" if weights is None else weights
    file = as_path(trained, "weights")

    def register(factory: _Factory) -> _Factory:
        MODELS.add(name, ZooModel(factory, default_data, metric, file))
        return factory

    return register


def list_models(*, pretrained: bool = True) -> list[str]:
    """Return the names of the models, sorted.

    Args:
        pretrained: Only those with trained weights, which `create_model` loads by default.

    Example:
        >>> list_models()[:3]
        ['densenet_small', 'digits_cnn', 'digits_small']
    """
    return [name for name in MODELS.names() if not pretrained or MODELS[name].weights.is_file()]


def create_model(name: str, *, pretrained: bool = True) -> nn.Module:
    """Build a model of the zoo, in evaluation mode.

    Args:
        name: One of `list_models`; of ``list_models(pretrained=False)`` if ``pretrained`` is
            False.
        pretrained: Load the trained weights; otherwise they are drawn from torch's generator.

    Returns:
        The model, in evaluation mode.

    Raises:
        ModelError: If there is no such model, or no weights for it.

    Example:
        >>> sum(p.numel() for p in create_model("digits_cnn").parameters())
        32602
    """
    entry = _entry(name)
    model = entry.factory()
    if pretrained:
        load_weights_(model, entry.weights)
    return model.eval()


def model_card(name: str) -> str:
    """Return a model's card in Markdown: data, recipe, accuracy, size, licence.

    Args:
        name: One of `list_models`.

    Raises:
        ModelError: If there is no such model, or no card for it.

    Example:
        >>> model_card("digits_cnn").splitlines()[0]
        '# digits_cnn'
    """
    _entry(name)
    path = _HERE / "cards" / f"{name}.md"
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ModelError(f"{path}: model {name!r} has no card.") from error


def default_data(name: str) -> str | None:
    """Return the spec of the data that a model is used with if no other is given, or None.

    Args:
        name: One of `list_models`.

    Raises:
        ModelError: If there is no such model.

    Example:
        >>> default_data("digits_cnn")
        'digits'
    """
    return _entry(name).default_data


def task_metric(name: str) -> str:
    """Return the name of the metric of a model's task.

    Args:
        name: One of `list_models`.

    Raises:
        ModelError: If there is no such model.

    Example:
        >>> task_metric("mnist_gan")
        'frechet'
    """
    return _entry(name).metric


def _entry(name: str) -> ZooModel:
    try:
        return MODELS[name]
    except ArgumentError as error:
        raise ModelError(str(error)) from error
