"""A retrained model on disk: an assignment, and beside it the weights that go with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save

from axopt.errors import AssignmentError, RunExistsError
from axopt.files import write_atomically
from axopt.model import Assignment, EmulatedModel, assign_, current_assignment
from axopt.multipliers import MultiplierLibrary
from axopt.retraining.state import ModelState
from axopt.zoo import load_weights_

ASSIGNMENT = "assignment.json"
WEIGHTS = "weights.safetensors"

RETRAINED = "retrained"
"""Field of an assignment's ``model`` section: name of the file of weights beside it."""


def save_retrained(
    emulated: EmulatedModel,
    folder: str | os.PathLike[str],
    *,
    source: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    cost: Mapping[str, Any] | None = None,
    force: bool = False,
) -> Path:
    """Write the present weights and assignment of ``emulated``.

    Args:
        emulated: A model made by `prepare`.
        folder: Made if missing; gets ``assignment.json`` and ``weights.safetensors``.
        source: How the model and data were named.
        metrics: Measured quality to keep with it.
        cost: Cost figures to keep with it.
        force: Replace files that are there.

    Returns:
        The path of the assignment.

    Raises:
        RunExistsError: If one of the files exists and ``force`` is not set.
        OSError: If they cannot be written.
    """
    folder = Path(folder)
    check_free(folder, force=force)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: value.detach().cpu().contiguous().clone()  # safetensors refuses shared memory
        for name, value in emulated.state_dict().items()
    }
    write_atomically(folder / WEIGHTS, save(tensors))
    assignment = current_assignment(
        emulated,
        source={**(source or {}), RETRAINED: WEIGHTS},
        metrics=metrics,
        cost=cost,
    )
    assignment.save(folder / ASSIGNMENT)
    return folder / ASSIGNMENT


def check_free(folder: str | os.PathLike[str], *, force: bool) -> None:
    """Refuse a folder that holds a retrained model.

    Raises:
        RunExistsError: If it does and ``force`` is not set.
    """
    for name in (ASSIGNMENT, WEIGHTS):
        if not force and (Path(folder) / name).exists():
            raise RunExistsError(f"{Path(folder) / name} exists; force a new one or name another.")


def load_retrained_(
    emulated: EmulatedModel,
    path: str | os.PathLike[str],
    *,
    library: MultiplierLibrary | None = None,
) -> Assignment:
    """Apply an assignment and the weights beside it, in place; all of it or an error and nothing.

    Args:
        emulated: A model made by `prepare` from the same network.
        path: The assignment, or the folder that `save_retrained` wrote. One that names no weights
            is assigned as it is.
        library: Where multipliers are looked up.

    Returns:
        The assignment.

    Raises:
        AssignmentError: If it is malformed, names weights elsewhere than beside it, or weights
            and digest do not fit each other.
        ModelError: If the weights cannot be read or do not fit the model.
    """
    path = Path(path)
    path = path / ASSIGNMENT if path.is_dir() else path
    assignment = Assignment.load(path)
    before = ModelState.of(emulated)
    circuits = {
        name: (layer.multiplier, layer.swap) for name, layer in emulated.emulated_layers.items()
    }
    try:
        weights = weights_beside(assignment, path)
        if weights is not None:
            load_weights_(emulated, weights)
        assign_(emulated, assignment, library=library)
    except BaseException:
        assign_(emulated, circuits)
        before.restore(emulated)
        raise
    return assignment


def weights_beside(assignment: Assignment, path: Path) -> Path | None:
    """The file of weights that an assignment read from ``path`` names; None if it names none.

    Raises:
        AssignmentError: If the name is not that of a file in the same folder.
    """
    name = assignment.model.get(RETRAINED)
    if name is None:
        return None
    if not isinstance(name, str) or name in ("", ".", "..") or any(c in name for c in "/\\:\0"):
        raise AssignmentError(
            f"{path}: `model.{RETRAINED}` must be the name of a file beside it, got {name!r}."
        )
    return path.parent / name
