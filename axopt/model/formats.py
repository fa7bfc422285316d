"""The formats of a layer's operands and results as plain values, for the file of an assignment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from axopt.errors import AssignmentError
from axopt.layers import STRIDES, Quantisation, QuantParams, strides_of
from axopt.multipliers import Multiplier


def formats_entry(quantisation: Quantisation) -> dict[str, Any]:
    """Return the formats as plain values for `parse_formats`, without defaults."""
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
    if params.stride != 1:
        entry["step"] = params.stride
    if params.code_of_level is not None:
        entry["codes"] = bytes(params.code_of_level.tolist()).hex()
    return entry


def parse_formats(entry: Any, channels: int, where: str) -> Quantisation:
    """Read the formats of a layer.

    Args:
        entry: Entry of the file.
        channels: Number of output channels of the layer.
        where: Name of the entry in messages.

    Raises:
        AssignmentError: If it is malformed or does not fit; names the entry and the rule.
    """
    try:
        _check_fields(entry, ("activation", "weight", "gain", "shift", "corrections"))
        formats = Quantisation(
            _parse_operand(entry, "activation"),
            _parse_operand(entry, "weight"),
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


def check_widths(formats: Quantisation, multiplier: Multiplier, swap: bool, where: str) -> None:
    """Check that the operands of a multiplier have the codes of the formats.

    Args:
        formats: The formats of a layer.
        multiplier: The layer's multiplier.
        swap: Whether the weight is its first operand.
        where: Name of the formats in messages.

    Raises:
        AssignmentError: If an operand is narrower than its format.
    """
    strides = strides_of(multiplier, swap)
    operands = {"activation": formats.activation, "weight": formats.weights}
    for (role, params), stride in zip(operands.items(), strides, strict=True):
        if not params.fits(stride):
            raise AssignmentError(
                f"{where}.{role} must have codes that are multiples of {stride} only, those of an"
                f" operand of {256 // stride} values of {multiplier.key}, got the step"
                f" {params.stride}{'' if params.code_of_level is None else ' and other codes'}."
            )


def _check_fields(entry: Any, known: tuple[str, ...]) -> None:
    unknown = sorted(set(entry) - set(known))
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}")


def _parse_operand(formats: Any, key: str) -> QuantParams:
    entry = formats[key]
    if not isinstance(entry, dict):
        raise ValueError(f"`{key}` must be an object, got {type(entry).__name__}")
    try:
        _check_fields(entry, ("scale", "zero_point", "step", "codes"))
        return QuantParams(
            _parse_numbers(entry["scale"], "scale", torch.float32),
            _parse_numbers(entry["zero_point"], "zero_point", torch.int64),
            _parse_stride(entry.get("step", 1)),
            _parse_codes(entry.get("codes")),
        )
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _parse_numbers(values: Any, key: str, dtype: torch.dtype) -> Tensor:
    """Return ``values`` as a tensor; int64 only from integers."""
    try:
        parsed = torch.tensor(values)
        if parsed.dtype == torch.bool or (parsed.is_floating_point() and dtype == torch.int64):
            raise ValueError(f"got {parsed.dtype}")
        return parsed if parsed.dtype == dtype else torch.tensor(values, dtype=dtype)
    except (OverflowError, RuntimeError, TypeError, ValueError) as error:
        kind = "integers" if dtype == torch.int64 else "numbers"
        raise ValueError(f"`{key}` must hold {kind} only: {error}") from None


def _parse_stride(stride: Any) -> int:
    if type(stride) is not int or stride not in STRIDES:
        raise ValueError(f"`step` must be one of {STRIDES}, got {stride!r}")
    return stride


def _parse_codes(codes: Any) -> Tensor | None:
    if codes is None:
        return None
    try:
        parsed = torch.tensor(list(bytes.fromhex(codes)), dtype=torch.uint8)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`codes` must be hexadecimal digits: {error}") from None
    if len(parsed) != 256:
        raise ValueError(f"`codes` must have 512 hexadecimal digits, got {2 * len(parsed)}")
    return parsed


def _parse_channels(values: Any, key: str, channels: int) -> Tensor | None:
    if values is None:
        return None
    parsed = _parse_numbers(values, key, torch.float32)
    if parsed.shape != (channels,) or not bool(parsed.isfinite().all()):
        raise ValueError(f"`{key}` must be {channels} finite numbers")
    return parsed


def _parse_names(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"`corrections` must be a list of names, got {names!r}")
    return tuple(names)
