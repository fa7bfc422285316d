"""Arrays of the user in one NumPy ``.npz`` file, read without pickle."""

import zipfile
from pathlib import Path

import numpy as np
import torch

from axopt.data.dataset import Dataset, Split
from axopt.data.limits import MAX_CLASSES, MAX_DECODED_BYTES
from axopt.data.registry import register_reader
from axopt.data.splitting import hold_out
from axopt.errors import DatasetError

_REQUIRED = ("x_train", "y_train", "x_test", "y_test")
_OPTIONAL = ("x_validation", "y_validation")


@register_reader("npz")
def read_npz(path: Path) -> Dataset:
    """Read ``x_train``, ``y_train``, ``x_test``, ``y_test`` and, if there, ``*_validation``.

    ``x_*`` are ``(N, C, H, W)``, or of any other sample shape that the model takes: uint8, which
    batches divide by 255, or floats, which stay as they are, as float32. ``y_*`` are ``(N,)``
    integer class numbers; ``y_train`` sets how many classes there are. Without validation arrays,
    `hold_out` takes validation out of train.

    Args:
        path: The ``.npz`` file.

    Raises:
        DatasetError: If the file is missing or damaged, or an array is missing, of another dtype,
            not finite, or does not fit the others.
    """
    arrays = _read_arrays(path)
    parts = [part for part in ("train", "validation", "test") if f"x_{part}" in arrays]
    for part in parts:
        _check_pair(path, arrays, part)
    class_count = _class_count(path, arrays)
    splits = {part: _split(path, arrays, part) for part in parts}
    if "validation" in splits:
        train, validation = splits["train"], splits["validation"]
    else:
        whole = splits["train"]
        train, validation = hold_out(whole.stored, whole.targets, source=path)
    classes = tuple(str(label) for label in range(class_count))
    return Dataset(path.resolve().stem, f"npz:{path}", train, validation, splits["test"], classes)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise DatasetError(f"{path}: no such .npz file.")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_DECODED_BYTES:
            raise DatasetError(
                f"{path}: unpacks to {size} bytes, more than {MAX_DECODED_BYTES} are refused."
            )
        with np.load(path, allow_pickle=False) as arrays:
            names = set(arrays.files)
            wanted = [*_REQUIRED, *(_OPTIONAL if names & set(_OPTIONAL) else ())]
            missing = [name for name in wanted if name not in names]
            if missing:
                raise DatasetError(f"{path}: no array {', '.join(missing)} in it.")
            return {name: arrays[name] for name in wanted}
    except DatasetError:
        raise
    except Exception as error:  # numpy and zipfile raise a dozen types for damaged files
        raise DatasetError(f"{path}: cannot be read as .npz: {error}") from error


def _check_pair(path: Path, arrays: dict[str, np.ndarray], part: str) -> None:
    x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if x.ndim < 2 or x.size == 0 or not (x.dtype == np.uint8 or x.dtype.kind == "f"):
        raise DatasetError(
            f"{path}: `x_{part}` must be uint8 or float of shape (N, ...), not empty, "
            f"got {x.dtype} {x.shape}."
        )
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
        raise DatasetError(
            f"{path}: `y_{part}` must be integers of shape ({len(x)},), got {y.dtype} {y.shape}."
        )


def _class_count(path: Path, arrays: dict[str, np.ndarray]) -> int:
    highest = min(int(arrays["y_train"].max()), MAX_CLASSES - 1)
    for name, y in arrays.items():
        wrong = np.flatnonzero((y < 0) | (y > highest)) if name[0] == "y" else np.empty(0)
        if wrong.size:
            raise DatasetError(
                f"{path}: `{name}` must be in 0..{highest}, got {y[wrong[0]]} at index {wrong[0]}."
            )
    return highest + 1


def _split(path: Path, arrays: dict[str, np.ndarray], part: str) -> Split:
    x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what leaves float32 is infinite and refused below
            x = x.astype(np.float32)
        if not np.isfinite(x).all():
            raise DatasetError(f"{path}: `x_{part}` must be finite as float32.")
    x = np.ascontiguousarray(x)
    return Split(torch.from_numpy(x), torch.from_numpy(y.astype(np.int64)))
