"""What `prepare` is given, checked before it is used: calibration data, names and weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from axopt.errors import ArgumentError
from axopt.layers import EmulatedLayer
from axopt.model.adapter import Adapter, inputs_of, trackable
from axopt.modules.called import Called

_BATCH_SIZE = 64


@runtime_checkable
class _Batched(Protocol):
    """Data that gives batches of a size, as `axopt.data.Split` does."""

    def batches(self, size: int) -> Iterable[Any]: ...


def calibration_inputs(calibration: Any, adapter: Adapter) -> Iterator[Any]:
    """Yield the inputs of each calibration batch.

    Args:
        calibration: Batches; or data with ``batches(size)`` (a `Split`) or with a training split
            ``train`` that has it (a `Dataset`), read in batches of 64; or one batch, as a tensor
            or a mapping of names to tensors.
        adapter: How inputs are passed to the model.

    Raises:
        ArgumentError: If ``calibration`` is nothing of that kind.
        CalibrationError: If there is no batch, or a batch without samples.
    """
    batches = iter(_batches(calibration))
    yield trackable(inputs_of(next(batches, None), adapter))
    for batch in batches:
        yield trackable(inputs_of(batch, adapter))


def _batches(calibration: Any) -> Iterable[Any]:
    if isinstance(calibration, (Tensor, Mapping)):
        return [calibration]
    train = getattr(calibration, "train", None)
    for data in (calibration, train):
        if isinstance(data, _Batched) and not isinstance(data, type):
            return data.batches(_BATCH_SIZE)
    if isinstance(calibration, (str, bytes)) or not isinstance(calibration, Iterable):
        raise ArgumentError(
            "`calibration` must be batches of inputs, a Split, a Dataset or one tensor, got "
            f"{type(calibration).__name__}."
        )
    return calibration


def check_float_model(model: Any) -> None:
    """Check that ``model`` is a module that is not emulated yet.

    Raises:
        ArgumentError: If it is not.
    """
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"`model` must be a torch.nn.Module, got {type(model).__name__}.")
    for name, part in model.named_modules():
        if isinstance(part, EmulatedLayer):
            raise ArgumentError(
                f"`model` must be a float model, but its layer {name!r} is emulated already; "
                "prepare the original model again."
            )


def check_parameters(module: nn.Module) -> None:
    """Check that no parameter and no statistic of a batch norm is NaN.

    A NaN would show up in the calibration of a layer behind it, and be blamed on the data.

    Raises:
        ArgumentError: Names the first that is.
    """
    for name, part in module.named_modules():
        tensors = dict(part.named_parameters(recurse=False))
        if isinstance(part, _BatchNorm):
            tensors |= dict(part.named_buffers(recurse=False))
        for key, tensor in tensors.items():
            if is_lazy(tensor):
                continue
            if bool(torch.isnan(tensor).any()):
                raise ArgumentError(
                    f"`model` must have finite weights, but {f'{name}.{key}'.lstrip('.')!r} "
                    f"({type(part).__name__}) holds NaN."
                )


def check_weights(layers: Mapping[str, nn.Module]) -> None:
    """Check that the weights of the layers to emulate are finite.

    Raises:
        ArgumentError: Names the first parameter that is not.
    """
    for name, layer in layers.items():
        tensors: dict[str, Tensor] = dict(layer.named_parameters(recurse=False))
        if isinstance(layer, Called):  # whose weight follows from parameters of others
            tensors = {"weight": layer.weight}
        for key, tensor in tensors.items():
            if not bool(torch.isfinite(tensor).all()):
                raise ArgumentError(
                    f"`model` must have finite weights, but '{name}.{key}' holds infinite values."
                )


def patterns_of(given: Any, argument: str) -> Sequence[str] | None:
    """Names or patterns as a sequence; a single string is one pattern.

    Raises:
        ArgumentError: If it is something else.
    """
    if given is None or isinstance(given, str):
        return given if given is None else (given,)
    if isinstance(given, Sequence | Set) and all(isinstance(item, str) for item in given):
        return tuple(given)
    raise ArgumentError(
        f"`{argument}` must be a name or pattern, or several, got {type(given).__name__}."
    )
