"""How a batch becomes a call of a model, and which of its outputs is meant.

A batch is read by one rule everywhere (calibration, evaluation, retraining):

* A tuple or list of two or more parts ends with the targets; the parts before them are inputs.
  ``(x, y)`` has the inputs ``x``; ``(source, lengths, y)`` has ``(source, lengths)``.
* A tuple or list of one part has that part as inputs and no targets.
* Anything else, such as a tensor or a mapping, is inputs without targets.

Inputs become a call by their type: a tuple or list is passed as ``model(*inputs)``, a mapping as
``model(**inputs)``, anything else (a tensor, a named tuple) as ``model(inputs)``. A ``forward``
of the user's replaces this: it is called as ``forward(model, inputs)`` and must call ``model``
itself, not one of its methods, as hooks run only then.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from axopt.errors import ArgumentError, CalibrationError, InputsError

Forward = Callable[[nn.Module, Any], Any]
"""Calls a model with the inputs of a batch: ``forward(model, inputs)`` -> outputs."""

_DEPTH = 3  # of the outputs that a message lists


@dataclass(frozen=True)
class Adapter:
    """How inputs are passed to a model, and which of its outputs is used.

    Attributes:
        forward: Called as ``forward(model, inputs)``; None for the rule of this module.
        output: Path of the output that is used, such as "logits", "0" or "head.logits": keys of
            mappings, positions in tuples and lists, names of attributes, joined by dots. None
            for models that return one tensor.

    Example:
        >>> model = nn.Bilinear(3, 4, 2)
        >>> Adapter()(model, (torch.ones(5, 3), torch.ones(5, 4))).shape
        torch.Size([5, 2])
        >>> both = Adapter(lambda model, x: {"logits": model(x, x[:, :4]), "x": x}, "logits")
        >>> both(nn.Bilinear(6, 4, 2), torch.ones(5, 6)).shape
        torch.Size([5, 2])
    """

    forward: Forward | None = None
    output: str | None = None

    def __post_init__(self) -> None:
        if self.forward is not None and not callable(self.forward):
            raise ArgumentError(
                f"`forward` must be a function of a model and inputs, got {self.forward!r}."
            )
        if self.output is not None and not (isinstance(self.output, str) and self.output):
            raise ArgumentError(f"`output` must be a path such as 'logits', got {self.output!r}.")

    def __call__(self, model: nn.Module, inputs: Any) -> Any:
        """Call ``model`` and return the output that is used.

        Raises:
            ArgumentError: If ``output`` is no path of what the model returns.
            InputsError: If the model's forward does not take such inputs.
        """
        return self.pick(self.call(model, inputs))

    def call(self, model: nn.Module, inputs: Any) -> Any:
        """Call ``model`` and return all that it returns.

        Raises:
            InputsError: If the model's forward does not take such inputs, or its parameters are
                of another precision.
        """
        try:
            if self.forward is not None:
                return self.forward(model, inputs)
            return self._call(model, inputs)
        except RuntimeError as error:
            reason = _other_precision(model, inputs)
            if reason is None or "type" not in str(error):  # the words of torch differ
                raise
            raise InputsError(f"the model cannot be called with {reason}") from error

    def _call(self, model: nn.Module, inputs: Any) -> Any:
        positional, named = _arguments(inputs)
        try:
            return model(*positional, **named)
        except TypeError as error:
            reason = _misfit(model, positional, named)
            if reason is None:
                raise
            raise InputsError(
                f"the model cannot be called with {_described(inputs)}: {reason}. Inputs that are "
                "a tuple or list are passed as model(*inputs), a mapping as model(**inputs); the "
                "last part of a batch of several parts is its targets. Pass "
                "`forward=lambda model, inputs: ...` for another call."
            ) from error

    def pick(self, outputs: Any) -> Any:
        """Return the output that ``output`` names, or ``outputs`` if it is None.

        Raises:
            ArgumentError: If there is no such output; lists those that there are.
        """
        if self.output is None:
            return outputs
        found = outputs
        for part in self.output.split("."):
            found = _child(found, part)
            if found is None:
                raise ArgumentError(
                    f"`output` must be one of {_listed(outputs)}, got {self.output!r}."
                )
        return found


PLAIN = Adapter()
"""For models that are called by the rule of this module and return one tensor."""


def adapter_of(
    model: nn.Module, forward: Forward | None = None, output: str | None = None
) -> Adapter:
    """Return how a model is called: as the arguments say, else as `prepare` was told.

    Args:
        model: A model, emulated or float.
        forward: See `Adapter`.
        output: See `Adapter`.

    Example:
        >>> adapter_of(nn.Linear(3, 2), output="logits").output
        'logits'
    """
    own = getattr(model, "adapter", None)
    own = own if isinstance(own, Adapter) else PLAIN
    return Adapter(
        own.forward if forward is None else forward, own.output if output is None else output
    )


def only_tensor(outputs: Any) -> Tensor:
    """Return outputs that must be one tensor.

    Raises:
        ArgumentError: If they are a structure; lists the paths that ``output`` can be.
    """
    if isinstance(outputs, Tensor):
        return outputs
    raise ArgumentError(
        f"`output` must name the output to use, as the model returns a "
        f"{type(outputs).__name__}: {_listed(outputs)}."
    )


def parts_of(batch: Any) -> tuple[Any, Any]:
    """Return the inputs and the targets of a batch; None for targets that it does not hold.

    Example:
        >>> parts_of(("x", "y")), parts_of(("source", "lengths", "y")), parts_of(["x"])
        (('x', 'y'), (('source', 'lengths'), 'y'), ('x', None))
    """
    if not isinstance(batch, (tuple, list)) or _is_packed(batch):
        return batch, None
    if len(batch) < 2:
        return (batch[0] if batch else None), None
    return (batch[0] if len(batch) == 2 else tuple(batch[:-1])), batch[-1]


def inputs_of(batch: Any, adapter: Adapter, argument: str = "calibration") -> Any:
    """Return the inputs of a batch that may hold targets too.

    Args:
        batch: Read by the rule of this module; None where there is none.
        adapter: With a ``forward`` of the user's, inputs may be of any type.
        argument: Where the batch comes from, for messages.

    Raises:
        CalibrationError: If there is no batch, or its inputs hold no sample.
    """
    if batch is None:
        raise CalibrationError(f"`{argument}` must hold at least one batch, got none.")
    inputs, _ = parts_of(batch)
    if adapter.forward is None and count(inputs) == 0:
        raise CalibrationError(
            f"`{argument}` must yield non-empty inputs or (inputs, targets), got "
            f"{type(batch).__name__}{list(inputs.shape) if isinstance(inputs, Tensor) else ''}."
        )
    return inputs


def count(inputs: Any) -> int:
    """Return the number of samples: the length of the first tensor among the inputs, or 0."""
    if _is_packed(inputs):
        return int(inputs.batch_sizes[0])
    for leaf in tree_leaves(_opened(inputs)):
        if isinstance(leaf, Tensor):
            return len(leaf) if leaf.ndim else 0
    return 0


def head(inputs: Any, n: int) -> Any:
    """Return the first ``n`` samples of inputs; every tensor that has as many is cut."""
    samples = count(inputs)

    def cut(leaf: Any) -> Any:
        whole = isinstance(leaf, Tensor) and leaf.ndim > 0 and len(leaf) == samples
        return leaf[:n] if whole else leaf

    return tree_map(cut, _opened(inputs))


def joined(inputs: list[Any]) -> Any:
    """Join the inputs of several batches; values that are no tensors come from the first batch.

    Raises:
        InputsError: If the batches' inputs cannot be joined.
    """
    if len(inputs) == 1:
        return inputs[0]

    def join(*leaves: Any) -> Any:
        return torch.cat(leaves) if isinstance(leaves[0], Tensor) else leaves[0]

    try:
        return tree_map(join, *map(_opened, inputs))
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputsError(
            f"the inputs of the batches must be alike to be joined: {error}"
        ) from error


def moved(values: Any, device: torch.device) -> Any:
    """Return inputs or targets with all tensors on ``device``."""

    def move(leaf: Any) -> Any:
        return leaf.to(device) if hasattr(leaf, "to") else leaf

    return tree_map(move, _opened(values))


def trackable(values: Any) -> Any:
    """Return values whose tensors may be trained on: those made in inference mode are copied."""

    def copied(leaf: Any) -> Any:
        return leaf.clone() if isinstance(leaf, Tensor) and leaf.is_inference() else leaf

    return tree_map(copied, _opened(values))


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the model's first parameter; the CPU if it has none."""
    return next((value.device for value in model.parameters()), torch.device("cpu"))


def _arguments(inputs: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if isinstance(inputs, (tuple, list)) and not hasattr(inputs, "_fields"):
        return tuple(inputs), {}
    if isinstance(inputs, Mapping):
        return (), {str(name): value for name, value in inputs.items()}
    return (inputs,), {}


def _opened(inputs: Any) -> Any:
    return dict(inputs) if isinstance(inputs, Mapping) else inputs


def _is_packed(batch: Any) -> bool:
    return isinstance(batch, nn.utils.rnn.PackedSequence)


def _misfit(model: nn.Module, positional: tuple[Any, ...], named: Mapping[str, Any]) -> str | None:
    """Why the arguments do not fit the model's forward; None if they do."""
    emulated = isinstance(getattr(model, "adapter", None), Adapter)  # its forward takes anything
    called = cast(nn.Module, model.module) if emulated else model
    try:
        inspect.signature(called.forward).bind(*positional, **named)
    except TypeError as error:
        return str(error)
    except ValueError:  # a built-in function has no signature
        return None
    return None


def _other_precision(model: nn.Module, inputs: Any) -> str | None:
    """Return how the precision of inputs and parameters differs; None if it does not."""
    tensors = (leaf for leaf in tree_leaves(_opened(inputs)) if isinstance(leaf, Tensor))
    given, own = (
        sorted({str(t.dtype).removeprefix("torch.") for t in values if t.is_floating_point()})
        for values in (tensors, model.parameters())
    )
    if len({*given, *own}) < 2:
        return None
    return (
        f"inputs of {' and '.join(given) or 'integers'}: its parameters are {' and '.join(own)}. "
        "Convert the model, as by `model.float()`, or the inputs."
    )


def _described(inputs: Any) -> str:
    if isinstance(inputs, Mapping):
        return f"the inputs {', '.join(map(repr, inputs))}"
    if isinstance(inputs, (tuple, list)):
        return f"{len(inputs)} inputs"
    return f"one input, a {type(inputs).__name__}"


def _child(value: Any, part: str) -> Any:
    """What is called ``part`` in a mapping, a tuple, a list or an object; None if nothing is."""
    if isinstance(value, Mapping):
        keys = {str(key): key for key in value}
        return value[keys[part]] if part in keys else None
    if isinstance(value, (tuple, list)) and part.isdecimal():
        return value[int(part)] if int(part) < len(value) else None
    if part.startswith("_") or isinstance(value, Tensor):
        return None
    return getattr(value, part, None)


def _listed(outputs: Any) -> str:
    found = [f"{path!r} {list(tensor.shape)}" for path, tensor in _paths(outputs, _DEPTH)]
    return ", ".join(found[:12]) or f"none (a {type(outputs).__name__} without tensors)"


def _paths(value: Any, depth: int) -> Iterator[tuple[str, Tensor]]:
    """Path and tensor of the outputs."""
    if depth == 0:
        return
    for name, child in _children(value):
        if isinstance(child, Tensor):
            yield name, child
        else:
            for rest, tensor in _paths(child, depth - 1):
                yield f"{name}.{rest}", tensor


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((str(key), child) for key, child in value.items())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from zip(value._fields, value, strict=True)
    elif isinstance(value, (tuple, list)):
        yield from ((str(place), child) for place, child in enumerate(value))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from (
            (field.name, getattr(value, field.name)) for field in dataclasses.fields(value)
        )
    elif hasattr(value, "__dict__") and not isinstance(value, Tensor):
        yield from (item for item in vars(value).items() if not item[0].startswith("_"))
