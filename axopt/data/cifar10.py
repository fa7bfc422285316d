"""The official CIFAR-10 binary batches: six files of 10,000 records of a label and its pixels.

.. [Krizhevsky2009] A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
   format as on https://www.cs.toronto.edu/~kriz/cifar.html
"""

import gzip
import os
import tarfile
import zlib
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
import torch
from torch import Tensor

from axopt.data.dataset import Dataset, Split
from axopt.data.download import CIFAR10_ARCHIVE, download_cifar10
from axopt.data.limits import BoundedGzip, largest_unpacked
from axopt.data.registry import register_reader
from axopt.data.splitting import hold_out
from axopt.errors import DatasetError
from axopt.files import open_regular

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
RECORDS_PER_FILE = 10_000
_RECORD = 1 + 3 * 32 * 32
_TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
_TEST = "test_batch.bin"
_FILES = (*_TRAIN, _TEST)
_FOLDER_IN_ARCHIVE = "cifar-10-batches-bin"
_CHUNK = 1 << 20
_MAX_ARCHIVE_BYTES = 256 << 20  # the official archive unpacks to 176 MiB


@register_reader("cifar10")
def read_cifar10(path: Path, *, download: bool = False) -> Dataset:
    """Read CIFAR-10: images ``(3, 32, 32)`` uint8; `hold_out` takes validation from train.

    Args:
        path: The folder of the ``.bin`` files, a folder that holds this folder or the archive, or
            the archive.
        download: Whether to fetch the archive into the folder ``path`` if the data are missing.

    Raises:
        DatasetError: If files are missing or damaged, or the download fails.
    """
    if download and _locate(path) is None:
        download_cifar10(path)
    source = _locate(path)
    if source is None:
        raise DatasetError(
            f"{path}: no {_TRAIN[0]} and no {CIFAR10_ARCHIVE} in it "
            f"(`download=True` fetches the archive)."
        )
    contents = _read_folder(source) if source.is_dir() else _read_archive(source)
    batches = {name: _parse(contents[name], source / name) for name in _FILES}
    images = torch.cat([batches[name][0] for name in _TRAIN])
    targets = torch.cat([batches[name][1] for name in _TRAIN])
    train, validation = hold_out(images, targets, source=source)
    test = Split(*batches[_TEST])
    return Dataset("cifar10", f"cifar10:{path}", train, validation, test, CLASSES)


def _locate(path: Path) -> Path | None:
    """Return the folder of the batches or the archive, at ``path`` or in it."""
    if path.is_file():
        return path
    for folder in (path, path / _FOLDER_IN_ARCHIVE):
        if (folder / _TRAIN[0]).is_file():
            return folder
    archive = path / CIFAR10_ARCHIVE
    return archive if archive.is_file() else None


def _read_folder(folder: Path) -> dict[str, bytes]:
    contents = {}
    for name in _FILES:
        path = folder / name
        if not path.is_file():
            raise DatasetError(f"{path}: this batch is missing.")
        _check_size(path, path.stat().st_size)
        contents[name] = path.read_bytes()
    return contents


def _read_archive(path: Path) -> dict[str, bytes]:
    """Return the batches of a ``.tar.gz`` by file name; nothing is unpacked to disk."""
    contents = {}
    try:
        # "r|" reads the members in order, once. gzip compares its checksum at the end.
        with (
            open_regular(path) as file,
            BufferedReader(BoundedGzip(file, _archive_limit(file), path)) as stream,
            tarfile.open(fileobj=stream, mode="r|") as archive,
        ):
            for member in archive:
                name = PurePosixPath(member.name).name
                if name in _FILES and (batch := archive.extractfile(member)):
                    _check_size(path / name, member.size)
                    contents[name] = batch.read()
            while stream.read(_CHUNK):
                pass
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: damaged archive: {error}") from error
    missing = [name for name in _FILES if name not in contents]
    if missing:
        raise DatasetError(f"{path}: the archive lacks {', '.join(missing)}.")
    return contents


def _archive_limit(file: IO[bytes]) -> int:
    """Return how many bytes an archive may unpack to, by its size on disk."""
    return min(largest_unpacked(os.fstat(file.fileno()).st_size), _MAX_ARCHIVE_BYTES)


def _check_size(path: Path, size: int) -> None:
    due = RECORDS_PER_FILE * _RECORD
    if size != due:
        raise DatasetError(f"{path}: must have {due} bytes, has {size}.")


def _parse(content: bytes, path: Path) -> tuple[Tensor, Tensor]:
    """Return images ``(N, 3, 32, 32)`` uint8 and labels ``(N,)`` int64 of one batch file."""
    _check_size(path, len(content))
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    labels = records[:, 0]
    wrong = np.flatnonzero(labels >= len(CLASSES))
    if wrong.size:
        raise DatasetError(
            f"{path}: label {labels[wrong[0]]} at offset {wrong[0] * _RECORD} is not in 0..9."
        )
    images = records[:, 1:].reshape(-1, 3, 32, 32).copy()
    return torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))
