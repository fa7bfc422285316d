"""IDX files of MNIST and of the data sets that share its format: ten classes, plain or gzip.

.. [LeCun1998] Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits", 1998:
   a big-endian magic number 0x08DD (0x08: uint8, DD: dimensions), one 32-bit size per dimension,
   then the values.
"""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from axopt.data.dataset import Dataset, Split
from axopt.data.limits import (
    BYTES_PER_SAMPLE,
    MAX_DECODED_BYTES,
    check_unpacked,
    read_values,
)
from axopt.data.registry import register_reader
from axopt.data.splitting import hold_out, split_three_ways
from axopt.errors import DatasetError
from axopt.files import open_regular

CLASSES = tuple(str(label) for label in range(10))
_UINT8 = 0x08


@register_reader("idx")
def read_idx(path: Path) -> Dataset:
    """Read ``train-*`` and ``t10k-*`` of a folder: images ``(1, H, W)`` uint8.

    If both pairs of files are there, `hold_out` takes validation from train. A single pair is
    split by `split_three_ways`.

    Args:
        path: Folder with ``{train,t10k}-{images-idx3,labels-idx1}-ubyte``, each plain or ``.gz``.

    Raises:
        DatasetError: If a file is missing or damaged, or the files do not fit each other.
    """
    if not path.is_dir():
        raise DatasetError(f"{path}: no such folder of IDX files.")
    pairs = [_read_pair(path, part) for part in ("train", "t10k") if _find(path, part, "images")]
    if not pairs:
        raise DatasetError(f"{path}: no train-images-idx3-ubyte or t10k-images-idx3-ubyte in it.")
    if len(pairs) == 2:
        train, validation = hold_out(*pairs[0], source=path)
        test = Split(*pairs[1])
    else:
        train, validation, test = split_three_ways(*pairs[0], source=path)
    name = path.resolve().name
    return Dataset(name, f"idx:{path}", train, validation, test, CLASSES)


def _find(folder: Path, part: str, kind: str) -> Path | None:
    stem = f"{part}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
    candidates = (folder / stem, folder / f"{stem}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _read_pair(folder: Path, part: str) -> tuple[Tensor, Tensor]:
    """Return images ``(N, 1, H, W)`` uint8 and labels ``(N,)`` int64 of "train" or "t10k"."""
    images_path, labels_path = _find(folder, part, "images"), _find(folder, part, "labels")
    if images_path is None or labels_path is None:
        raise DatasetError(f"{folder}: {part}-labels-idx1-ubyte is missing beside the images.")
    images, labels = _read_array(images_path, 3), _read_array(labels_path, 1)
    if len(images) != len(labels):
        raise DatasetError(
            f"{labels_path}: {len(labels)} labels, but {len(images)} images in {images_path.name}."
        )
    wrong = np.flatnonzero(labels >= len(CLASSES))
    if wrong.size:
        raise DatasetError(
            f"{labels_path}: label {labels[wrong[0]]} at offset {8 + wrong[0]} is not in 0..9."
        )
    return torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels.astype(np.int64))


def _read_array(path: Path, ndim: int) -> npt.NDArray[np.uint8]:
    with open_regular(path) as file:
        packed = os.fstat(file.fileno()).st_size
        try:
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=file)) if path.suffix == ".gz" else file
            return _parse(stream, path, ndim, packed)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DatasetError(f"{path}: damaged gzip: {error}") from error


def _parse(stream: IO[bytes], path: Path, ndim: int, packed: int) -> npt.NDArray[np.uint8]:
    """Read the array of a file that has ``packed`` bytes on disk."""
    header_bytes = 4 + 4 * ndim
    header = stream.read(header_bytes)
    if len(header) < header_bytes:
        raise DatasetError(f"{path}: truncated at offset {len(header)}, inside the header.")
    magic, *shape = struct.unpack(f">{1 + ndim}I", header)
    if magic != _UINT8 << 8 | ndim:
        raise DatasetError(
            f"{path}: magic number at offset 0 must be {_UINT8 << 8 | ndim:#010x}, "
            f"got {magic:#010x}."
        )
    size = math.prod(shape)
    if not 0 < size <= MAX_DECODED_BYTES:
        raise DatasetError(
            f"{path}: sizes at offset 4 must hold 1..{MAX_DECODED_BYTES} values, got {shape}."
        )
    check_unpacked(path, packed=packed, unpacked=size + BYTES_PER_SAMPLE * shape[0])
    values = np.empty(size, np.uint8)
    count = read_values(stream, values)
    if count < size:
        raise DatasetError(
            f"{path}: truncated at offset {header_bytes + count}, "
            f"{header_bytes + size} bytes are due."
        )
    if stream.read(1):
        raise DatasetError(f"{path}: goes on after offset {header_bytes + size}, its end.")
    return values.reshape(shape)
