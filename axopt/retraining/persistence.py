"""A retrained model on disk: an assignment, and its weights in a file beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save

from axopt.errors import AssignmentError, RunExistsError
from axopt.files import as_path, write_atomically
from axopt.model import Assignment, EmulatedModel, assign_, current_assignment
from axopt.model.emulated_model import check_emulated
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
    """Write the present weights and assignment of an emulated model.

    Args:
        emulated: A model made by `prepare`.
        folder: Made if missing; gets ``assignment.json`` and ``weights.safetensors``.
        source: Names of the model and the data, kept in the assignment.
        metrics: Measured quality, kept in the assignment.
        cost: Cost figures, kept in the assignment.
        force: Replace existing files.

    Returns:
        The path of the assignment.

    Raises:
        ArgumentError: If `prepare` did not make ``emulated``.
        RunExistsError: If one of the files exists and ``force`` is not set.
        OSError: If they cannot be written.

    Example:
        >>> import torch, axopt
        >>> emulated = axopt.prepare(torch.nn.Linear(4, 2), [torch.rand(8, 4)])
        >>> save_retrained(emulated, "my-run").as_posix()
        'my-run/assignment.json'
    """
    check_emulated(emulated)
    folder = as_path(folder, "folder")
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

    Args:
        folder: The folder, which need not exist.
        force: Accept it anyway.

    Raises:
        RunExistsError: If it holds one and ``force`` is not set.

    Example:
        >>> check_free("no-such-run", force=False)
    """
    for name in (ASSIGNMENT, WEIGHTS):
        path = as_path(folder, "folder") / name
        if not force and path.exists():
            raise RunExistsError(f"{path} exists; force a new one or name another.")


def load_retrained_(
    emulated: EmulatedModel,
    path: str | os.PathLike[str],
    *,
    library: MultiplierLibrary | None = None,
) -> Assignment:
    """Apply an assignment and the weights beside it, in place. After an error nothing changed.

    Args:
        emulated: A model made by `prepare` from the same network.
        path: The assignment, or the folder that `save_retrained` wrote. An assignment that names
            no weights is applied without any.
        library: Where multipliers are looked up; the bundled library by default.

    Returns:
        The assignment.

    Raises:
        ArgumentError: If `prepare` did not make ``emulated``.
        AssignmentError: If it is malformed, names weights elsewhere than beside it, or weights
            and digest do not fit each other.
        ModelError: If the weights cannot be read or do not fit the model.

    Example:
        >>> import torch, axopt
        >>> x = torch.rand(8, 4)
        >>> emulated = axopt.prepare(torch.nn.Linear(4, 2), [x])
        >>> _ = save_retrained(emulated, "another-run")
        >>> y = emulated(x)
        >>> _ = torch.nn.init.zeros_(emulated.emulated_layers["0"].weight)
        >>> assignment = load_retrained_(emulated, "another-run")
        >>> torch.equal(emulated(x), y)
        True
    """
    check_emulated(emulated)
    path = as_path(path, "path")
    path = path / ASSIGNMENT if path.is_dir() else path
    assignment = Assignment.load(path)
    before = ModelState.of(emulated)
    multipliers = {
        name: (layer.multiplier, layer.swap) for name, layer in emulated.emulated_layers.items()
    }
    try:
        weights = weights_beside(assignment, path)
        if weights is not None:
            load_weights_(emulated, weights)
        assign_(emulated, assignment, library=library)
    except BaseException:
        assign_(emulated, multipliers)
        before.restore(emulated)
        raise
    return assignment


def weights_beside(assignment: Assignment, path: Path) -> Path | None:
    """Return the file of weights that an assignment names; None if it names none.

    Args:
        assignment: The assignment.
        path: The file that it was read from.

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
