"""The user's arrays in one NumPy ``.npz`` file, read without pickle."""

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch

from axopt.data.dataset import Dataset, Split
from axopt.data.limits import BYTES_PER_SAMPLE, MAX_CLASSES, check_unpacked, read_values
from axopt.data.registry import register_reader
from axopt.data.splitting import hold_out
from axopt.errors import DatasetError
from axopt.files import open_regular
from axopt.npy import NpyHeader, read_npy_header

_REQUIRED = ("x_train", "x_test")
_LABELS = ("y_train", "y_validation", "y_test")
_VALIDATION = ("x_validation", "y_validation")


@register_reader("npz")
def read_npz(path: Path) -> Dataset:
    """Read ``x_train``, ``y_train``, ``x_test``, ``y_test`` and, if present, ``*_validation``.

    If there is no ``y_*`` at all, the samples have no labels.
    ``x_*`` are ``(N, C, H, W)``, or ``(N, ...)`` with any other shape of samples that the model
    takes. uint8 values are divided by 255 in batches; floats are converted to float32. ``y_*`` are
    ``(N,)`` integer class numbers, and the largest of ``y_train`` sets the number of classes.
    Without validation arrays, `hold_out` takes validation from train.

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
    classes = tuple(str(label) for label in range(class_count))  # none without labels
    return Dataset(path.resolve().stem, f"npz:{path}", train, validation, splits["test"], classes)


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    if not path.is_file():
        raise DatasetError(f"{path}: no such .npz file.")
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            packed = os.fstat(file.fileno()).st_size
            return _read_members(path, archive, packed)
    except (DatasetError, MemoryError):
        raise
    except Exception as error:  # zipfile raises a dozen types for damaged files
        raise DatasetError(f"{path}: cannot be read as .npz: {error}") from error


def _read_members(
    path: Path, archive: zipfile.ZipFile, packed: int
) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of an archive that has ``packed`` bytes on disk."""
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    wanted = [*_REQUIRED, *(_VALIDATION[:1] if members.keys() & set(_VALIDATION) else ())]
    if members.keys() & set(_LABELS):
        wanted += [name.replace("x_", "y_") for name in wanted]
    missing = [name for name in wanted if name not in members]
    if missing:
        raise DatasetError(f"{path}: no array {', '.join(missing)} in it.")
    unpacked = 0
    for name in wanted:
        with _opened(path, archive, members[name]) as stream:
            header = _header(path, name, stream, members[name])
        unpacked += _memory_of(header)
    check_unpacked(path, packed=packed, unpacked=unpacked)
    arrays = {}
    for name in wanted:
        with _opened(path, archive, members[name]) as stream:
            header = _header(path, name, stream, members[name])
            values = np.empty(math.prod(header.shape), header.dtype)
            if read_values(stream, values) < values.nbytes or stream.read(1):
                raise DatasetError(f"{path}: `{name}` does not have the size that it declares.")
        arrays[name] = values.reshape(header.shape, order="F" if header.fortran_order else "C")
    return arrays


def _opened(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DatasetError(f"{path}: {info.filename!r} must be stored or deflated.")
    return archive.open(info)


def _header(path: Path, name: str, stream: IO[bytes], info: zipfile.ZipInfo) -> NpyHeader:
    """Read the header of an array of numbers whose data have the size that it declares."""
    try:
        header = read_npy_header(stream)
    except ValueError as error:
        raise DatasetError(f"{path}: `{name}`: {error}.") from error
    if header.dtype.kind not in "biufc":
        raise DatasetError(f"{path}: `{name}` must hold numbers, got dtype {header.dtype}.")
    due = math.prod(header.shape) * header.dtype.itemsize
    there = info.file_size - stream.tell()
    if due != there:
        raise DatasetError(
            f"{path}: `{name}` of shape {header.shape} needs {due} bytes, has {there}."
        )
    return header


def _memory_of(header: NpyHeader) -> int:
    """Return the bytes of an array as samples or labels; float16 samples become float32."""
    count = math.prod(header.shape)
    if len(header.shape) < 2:
        return count * BYTES_PER_SAMPLE
    widened = 4 if header.dtype.kind == "f" else 1
    return count * max(header.dtype.itemsize, widened) + header.shape[0] * BYTES_PER_SAMPLE


def _check_pair(path: Path, arrays: dict[str, npt.NDArray[Any]], part: str) -> None:
    x, y = arrays[f"x_{part}"], arrays.get(f"y_{part}")
    if x.ndim < 2 or x.size == 0 or not (x.dtype == np.uint8 or x.dtype.kind == "f"):
        raise DatasetError(
            f"{path}: `x_{part}` must be uint8 or float of shape (N, ...), not empty, "
            f"got {x.dtype} {x.shape}."
        )
    if y is not None and (y.dtype.kind not in "iu" or y.shape != x.shape[:1]):
        raise DatasetError(
            f"{path}: `y_{part}` must be integers of shape ({len(x)},), got {y.dtype} {y.shape}."
        )


def _class_count(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> int:
    if "y_train" not in arrays:
        return 0
    highest = min(int(arrays["y_train"].max()), MAX_CLASSES - 1)
    for name, y in arrays.items():
        wrong = np.flatnonzero((y < 0) | (y > highest)) if name[0] == "y" else np.empty(0)
        if wrong.size:
            first = wrong[0]
            raise DatasetError(
                f"{path}: `{name}` must be in 0..{highest}, got {y[first]} at position {first}."
            )
    return highest + 1


def _split(path: Path, arrays: dict[str, npt.NDArray[Any]], part: str) -> Split:
    x, y = arrays[f"x_{part}"], arrays.get(f"y_{part}")
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):  # values beyond float32 become infinite, refused below
            x = x.astype(np.float32)
        if not np.isfinite(x).all():
            raise DatasetError(f"{path}: `x_{part}` must be finite as float32.")
    x = np.ascontiguousarray(x)
    if y is None:
        return Split(torch.from_numpy(x))
    return Split(torch.from_numpy(x), torch.from_numpy(y.astype(np.int64)))
