"""Reading weights from files, without ever running code from them."""

import os
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from axopt.errors import ModelError

_SHOWN = 3  # names listed in a message


def load_weights_(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Load a state_dict into ``model``; where it does not fit, the model stays as it is.

    Args:
        model: Module with the parameters and buffers that the file names.
        path: ``.safetensors``, or ``.pt`` / ``.pth`` as of ``torch.save(model.state_dict())``.

    Raises:
        ModelError: If the file is missing, damaged or holds no state_dict, or if its names or
            shapes are not those of the model.
    """
    state = _read_state(Path(path))
    own = model.state_dict()
    problems = [
        f"{problem} {_listed(names)}"
        for problem, names in (
            ("missing", own.keys() - state.keys()),
            ("unexpected", state.keys() - own.keys()),
        )
        if names
    ]
    problems += [
        f"{name!r} has shape {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & state.keys())
        if state[name].shape != own[name].shape
    ][:_SHOWN]
    if problems:
        raise ModelError(
            f"{path}: weights do not fit {type(model).__name__}: {'; '.join(problems)}."
        )
    model.load_state_dict(state)


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - _SHOWN
    return ", ".join(map(repr, ordered[:_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _read_state(path: Path) -> dict[str, Tensor]:
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise ModelError(f"{path}: weights must be a .safetensors, .pt or .pth file.")
    if not path.is_file():
        raise ModelError(f"{path}: no such file of weights.")
    try:
        if path.suffix == ".safetensors":
            content: object = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the two libraries raise a dozen types for damaged files
        reason = str(error).strip().split("\n", 1)[0]
        raise ModelError(f"{path}: cannot be read as weights: {reason}") from error
    if not isinstance(content, dict) or not content:
        raise ModelError(f"{path}: holds {type(content).__name__}, not a state_dict.")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ModelError(
                f"{path}: not a state_dict: entry {name!r} is {type(value).__name__}, no tensor."
            )
    return content
