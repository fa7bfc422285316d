"""Checkpoints of a retraining: tensors and plain values in one file, replaced atomically."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch

from axopt.errors import CheckpointError
from axopt.files import write_atomically
from axopt.zoo.weights_io import refuse_expansion

SCHEMA = 1


def save_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a checkpoint.

    Args:
        path: The file; an older checkpoint is replaced.
        state: Tensors and plain values.

    Raises:
        OSError: If it cannot be written; an older checkpoint is then unchanged.
    """
    buffer = io.BytesIO()
    torch.save({"schema": SCHEMA, **state}, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: str | os.PathLike[str], identity: dict[str, Any]) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote.

    Args:
        path: The file.
        identity: Fields that must match those stored under "identity".

    Returns:
        The state.

    Raises:
        CheckpointError: If there is no checkpoint, it is damaged, or a field of the identity
            differs.
    """
    where = os.fspath(path)
    if not Path(path).is_file():
        raise CheckpointError(f"`resume`: there is no checkpoint {where}.")
    try:
        refuse_expansion(Path(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types for damaged files
        reason = str(error).strip().split("\n", 1)[0]
        raise CheckpointError(f"{where}: not a checkpoint: {reason}") from error
    if not isinstance(state, dict) or state.get("schema") != SCHEMA:
        raise CheckpointError(f"{where}: not a checkpoint of this version of axopt.")
    theirs = state["identity"]
    for key in sorted(identity.keys() | theirs.keys()):
        if identity.get(key) != theirs.get(key):
            raise CheckpointError(
                f"{where}: of another retraining: its {key} is {theirs.get(key)!r}, this one's "
                f"is {identity.get(key)!r}."
            )
    return state
