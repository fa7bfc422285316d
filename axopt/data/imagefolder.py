"""Image files in one folder per class, or without labels: ``train/<class>/*``, ``train/*``."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from axopt.data.dataset import Dataset, Split
from axopt.data.image_files import PARTS, ImageFile, ImageSource, check_labels, open_source
from axopt.data.limits import (
    BYTES_PER_SAMPLE,
    MAX_IMAGE_PIXELS,
    MAX_JPEG_SCANS,
    check_unpacked,
)
from axopt.data.registry import register_reader
from axopt.data.splitting import hold_out
from axopt.errors import DatasetError

_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
"""Pillow's 8-bit modes. Conversion to RGB clips the values of the other modes."""

_FORMATS = ("JPEG", "PNG")
_JPEG_SCAN = b"\xff\xda"  # starts a scan; inside one, 0xff is followed by another byte
FILES_PER_TASK = 256
"""Images that a thread decodes at a time."""

_MAX_THREADS = 8


@register_reader("imagefolder")
def read_imagefolder(path: Path) -> Dataset:
    """Read JPEG and PNG files of one size: images ``(3, H, W)`` uint8 RGB.

    Samples are in the order of (class name, file name), and classes are numbered in sorted order.
    Images that are directly in ``train/``, ``test/`` and ``validation/`` have no labels; then none
    may be in class folders. Without a folder ``validation/``, `hold_out` takes validation from
    train. Alpha channels, orientation tags and hidden files are ignored.

    Args:
        path: Folder with ``train/<class>/`` and ``test/<class>/``, or with images in ``train/``
            and ``test/``; or a ``.zip`` of that folder.

    Raises:
        DatasetError: If a part is missing or empty, a class of another part is not in train, or a
            file is damaged, of another size, or no image.
    """
    with open_source(path) as source:
        files = source.files()
        labelled = check_labels(path, files)
        by_part = {part: [file for file in files if file.part == part] for part in PARTS}
        classes = _classes(path, by_part)
        size = _size(source, by_part["train"][0])
        check_unpacked(
            path,
            packed=source.packed_bytes(files),
            unpacked=len(files) * (3 * math.prod(size) + BYTES_PER_SAMPLE),
        )
        splits = {
            part: Split(
                _images(source, of_part, size), _targets(of_part, classes) if labelled else None
            )
            for part, of_part in by_part.items()
            if of_part
        }
    train = splits["train"]
    if "validation" in splits:
        validation = splits["validation"]
    else:
        train, validation = hold_out(train.inputs_uint8, train.targets, source=path)
    name, names = path.resolve().stem, tuple(classes) if labelled else ()
    return Dataset(name, f"imagefolder:{path}", train, validation, splits["test"], names)


def _classes(path: Path, by_part: Mapping[str, Sequence[ImageFile]]) -> list[str]:
    """Return the classes of train, sorted; the other parts may have no further classes."""
    for part in ("train", "test"):
        if not by_part[part]:
            raise DatasetError(f"{path}: no image in {part}/<class>/.")
    classes = sorted({file.class_name for file in by_part["train"]})
    for file in chain(by_part["validation"], by_part["test"]):
        if file.class_name not in classes:
            raise DatasetError(f"{path / file.key}: class {file.class_name!r} is not in train/.")
    return classes


def _targets(files: Sequence[ImageFile], classes: Sequence[str]) -> Tensor:
    number = {name: index for index, name in enumerate(classes)}
    return torch.tensor([number[file.class_name] for file in files], dtype=torch.int64)


def _images(source: ImageSource, files: Sequence[ImageFile], size: tuple[int, int]) -> Tensor:
    """Decode all ``files``, which must have ``size`` (H, W), into ``(N, 3, H, W)`` uint8."""
    images = np.empty((len(files), 3, *size), np.uint8)

    def decode_from(start: int) -> None:
        for index in range(start, min(start + FILES_PER_TASK, len(files))):
            images[index] = _decode(source, files[index], size).transpose(2, 0, 1)

    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as executor:
        try:
            list(executor.map(decode_from, range(0, len(files), FILES_PER_TASK)))
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
    return torch.from_numpy(images)


def _size(source: ImageSource, file: ImageFile) -> tuple[int, int]:
    """Return height and width that an image declares."""
    with _opened(source, file) as image:
        return image.height, image.width


def _decode(source: ImageSource, file: ImageFile, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return the pixels ``(H, W, 3)`` uint8 of an image that must have ``size`` (H, W)."""
    with _opened(source, file) as image:
        if (image.height, image.width) != size:
            raise DatasetError(
                f"{source.path / file.key}: is {image.width} x {image.height}, "
                f"the images before are {size[1]} x {size[0]}."
            )
        return np.asarray(image.convert("RGB"))


@contextmanager
def _opened(source: ImageSource, file: ImageFile) -> Iterator[Image.Image]:
    """Open an image without decoding it; all failures inside become `DatasetError`."""
    where = source.path / file.key
    try:
        content = source.read(file)
        if content.count(_JPEG_SCAN) > MAX_JPEG_SCANS:
            raise DatasetError(f"{where}: more than {MAX_JPEG_SCANS} scans are refused.")
        with Image.open(BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise DatasetError(
                    f"{where}: is {image.width} x {image.height}, "
                    f"more than {MAX_IMAGE_PIXELS} pixels are refused."
                )
            if image.mode not in _MODES:
                raise DatasetError(f"{where}: must have 8 bits a channel, is {image.mode}.")
            yield image
    except DatasetError:
        raise
    except Exception as error:  # zipfile and Pillow raise a dozen types for damaged files
        raise DatasetError(f"{where}: damaged image: {error}") from error
