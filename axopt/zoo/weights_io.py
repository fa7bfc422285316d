"""Reading weights from files, without ever running code from them."""

import logging
import mmap
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from axopt.errors import ModelError
from axopt.files import as_path

_SHOWN = 3  # names listed in a message
_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Entries under which training scripts save a state_dict beside other things."""

_PREFIXES = ("module.", "_orig_mod.")
"""Prefixes that `DataParallel` and `torch.compile` add to all names."""

_EXPANDING = (b"\nbytearray\n", b" bytearray\n", b"_codecs\nencode\n", b"_codecs encode\n")
"""Calls in a pickle that torch allows and that can make gigabytes of a few bytes."""

_logger = logging.getLogger(__name__)


def load_weights_(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Load a state_dict into a model. If it does not fit, the model is not changed.

    A state_dict that the file holds under ``state_dict``, ``model_state_dict`` or ``model`` is
    taken from there, and the prefixes ``module.`` and ``_orig_mod.`` are removed where all names
    have them. Either is logged as a warning.

    Args:
        model: Module with the parameters and buffers that the file names.
        path: ``.safetensors``, or ``.pt`` / ``.pth`` as of ``torch.save(model.state_dict())``.

    Raises:
        ModelError: If the file is missing, damaged or holds no state_dict; if its names, shapes or
            kinds of numbers are not those of the model; or if a tensor is sparse, nested,
            quantised, complex or on the device "meta", or holds NaN or infinity where the model
            does not have the same values already.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> torch.save({"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, "linear.pt")
        >>> load_weights_(model, "linear.pt")
        >>> model.weight.tolist()
        [[1.0, 1.0]]
    """
    path = as_path(path, "path")
    own = model.state_dict()
    state = _without_prefix(_read_state(path), own, path)
    problems = [
        f"{problem} {_listed(names)}"
        for problem, names in (
            ("missing", own.keys() - state.keys()),
            ("unexpected", state.keys() - own.keys()),
        )
        if names
    ]
    found = (_problem(name, state[name], own[name]) for name in sorted(own.keys() & state.keys()))
    problems += [problem for problem in found if problem][:_SHOWN]
    if problems:
        raise ModelError(
            f"{path}: weights do not fit {type(model).__name__}: {'; '.join(problems)}."
        )
    model.load_state_dict(state)


def _problem(name: str, value: Tensor, own: Tensor) -> str:
    """Return why a tensor of a file cannot replace one of the model, or ""."""
    unusual = _unusual_form(value)
    if unusual:
        return f"{name!r} is {unusual}"
    if is_lazy(own):
        return f"{name!r} of the model has no shape before its first call"
    if own.is_meta:
        return f"{name!r} of the model is on the device 'meta'"
    if value.shape != own.shape:
        return f"{name!r} has shape {tuple(value.shape)} instead of {tuple(own.shape)}"
    if value.is_floating_point() != own.is_floating_point():
        return f"{name!r} is {value.dtype} instead of {own.dtype}"
    if value.is_floating_point():
        converted = value.to(own.dtype)  # may overflow to infinity
        if not bool(converted.isfinite().all()) and not torch.equal(converted, own.cpu()):
            kind = "NaN" if bool(converted.isnan().any()) else "infinity"
            return f"{name!r} holds {kind}"
    return ""


def _unusual_form(value: Tensor) -> str:
    """Return what keeps a tensor from being copied into a parameter, or ""."""
    if value.is_meta:
        return "on the device 'meta', without values"
    if value.is_nested:
        return "a nested tensor"
    if value.layout != torch.strided:
        return f"sparse ({value.layout})"
    if value.is_quantized:
        return f"quantised ({value.dtype})"
    return f"complex ({value.dtype})" if value.is_complex() else ""


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - _SHOWN
    return ", ".join(map(repr, ordered[:_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _without_prefix(
    state: dict[str, Tensor], own: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """Remove a prefix that all names of a file have and the model's names do not."""
    for prefix in 2 * _PREFIXES:  # in either order
        unknown = state.keys() - own.keys()
        if unknown and all(name.startswith(prefix) for name in state):
            _logger.warning("%s: the prefix %r of all names is removed", path, prefix)
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _read_state(path: Path) -> dict[str, Tensor]:
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise ModelError(f"{path}: weights must be a .safetensors, .pt or .pth file.")
    if not path.is_file():
        raise ModelError(f"{path}: no such file of weights.")
    try:
        if path.suffix == ".safetensors":
            content: object = load_file(path)
        else:
            refuse_expansion(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except Exception as error:  # the two libraries raise a dozen types for damaged files
        reason = str(error).strip().split("\n", 1)[0]
        raise ModelError(f"{path}: cannot be read as weights: {reason}") from error
    return _checked_state(_unwrapped(content, path), path)


def refuse_expansion(path: Path) -> None:
    """Refuse a file of `torch.save` that would take far more memory than it has bytes.

    Args:
        path: The file.

    Raises:
        ModelError: If records are compressed, which torch never writes, or its pickle calls what
            makes large byte strings, which a state_dict does not hold.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise ModelError(f"{path}: not weights: its records are compressed.")
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if any(content.find(call) >= 0 for call in _EXPANDING):
                raise ModelError(f"{path}: not weights: its pickle makes byte strings.")


def _unwrapped(content: object, path: Path) -> object:
    """Return the state_dict that a training script saved beside other things, if that is so."""
    if not isinstance(content, dict):
        return content
    for key in _WRAPPERS:
        inner = content.get(key)
        if isinstance(inner, dict):
            _logger.warning("%s: the weights are its entry %r; the rest is ignored", path, key)
            return inner
    return content


def _checked_state(content: object, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, dict) or not content:
        raise ModelError(f"{path}: holds {type(content).__name__}, not a state_dict.")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ModelError(
                f"{path}: not a state_dict: entry {name!r} is {type(value).__name__}, no tensor."
            )
    return content
