"""The formats of a layer's operands and results as plain values, for the file of an assignment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from axopt.errors import AssignmentError
from axopt.layers import Quantisation, QuantParams


def formats_entry(quantisation: Quantisation) -> dict[str, Any]:
    """What `parse_formats` reads back; what has its default is left out."""
    entry: dict[str, Any] = {
        "activation": _operand_entry(quantisation.activation),
        "weight": _operand_entry(quantisation.weights),
    }
    for key in ("gain", "shift"):
        values: Tensor | None = getattr(quantisation, key)
        if values is not None:
            entry[key] = values.tolist()
    if quantisation.corrections:
        entry["corrections"] = list(quantisation.corrections)
    return entry


def _operand_entry(params: QuantParams) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "scale": params.scale.tolist(),
        "zero_point": params.zero_point.tolist(),
    }
    if params.step != 1:
        entry["step"] = params.step
    if params.codes is not None:
        entry["codes"] = bytes(params.codes.tolist()).hex()
    return entry


def parse_formats(entry: Any, channels: int, where: str) -> Quantisation:
    """Read the formats of a layer with so many output channels.

    Args:
        entry: What the file holds.
        channels: Output channels of the layer.
        where: How messages name the entry.

    Raises:
        AssignmentError: If it is malformed or does not fit; names the entry and what is wrong.
    """
    try:
        formats = Quantisation(
            _parse_operand(entry["activation"]),
            _parse_operand(entry["weight"]),
            _parse_channels(entry.get("gain"), "gain", channels),
            _parse_channels(entry.get("shift"), "shift", channels),
            _parse_names(entry.get("corrections", [])),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AssignmentError(f"{where} is malformed: {error}") from None
    activation, weights = formats.activation, formats.weights
    if activation.per_channel or weights.scale.shape not in ((), (channels,)):
        raise AssignmentError(
            f"{where} must have one activation scale and 1 or {channels} weight scales, got "
            f"shapes {list(activation.scale.shape)} and {list(weights.scale.shape)}."
        )
    return formats


def _parse_operand(entry: Any) -> QuantParams:
    codes = entry.get("codes")
    return QuantParams(
        torch.tensor(entry["scale"], dtype=torch.float32),
        torch.tensor(entry["zero_point"], dtype=torch.int64),
        entry.get("step", 1),
        None if codes is None else torch.tensor(list(bytes.fromhex(codes)), dtype=torch.uint8),
    )


def _parse_channels(values: Any, key: str, channels: int) -> Tensor | None:
    if values is None:
        return None
    parsed = torch.tensor(values, dtype=torch.float32)
    if parsed.shape != (channels,) or not bool(parsed.isfinite().all()):
        raise ValueError(f"`{key}` must be {channels} finite numbers")
    return parsed


def _parse_names(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"`corrections` must be a list of names, got {names!r}")
    return tuple(names)
