"""The image files of a data set, in a folder or in a zip of a folder."""

import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol

from axopt.data.limits import MAX_IMAGE_FILE_BYTES
from axopt.errors import DatasetError
from axopt.files import open_regular, read_bytes

PARTS = ("train", "validation", "test")
SUFFIXES = (".jpg", ".jpeg", ".png")

_MEMBER_BYTES = 1 << 20
_MEMBER_RATIO = 16
"""A member may unpack to `_MEMBER_BYTES` plus `_MEMBER_RATIO` times its compressed size."""


class ImageFile(NamedTuple):
    """One image file. Sorting by its fields gives the order of the data set."""

    part: str
    class_name: str  # empty for an image that is in no class folder
    file_name: str
    key: str  # its path in the source


class ImageSource(Protocol):
    """A set of image files below ``path``."""

    path: Path

    def files(self) -> list[ImageFile]:
        """Return all image files, sorted.

        Raises:
            DatasetError: If something in a class folder is not an image file.
        """

    def packed_bytes(self, files: Iterable[ImageFile]) -> int:
        """Return how many bytes on disk hold ``files``."""

    def read(self, file: ImageFile) -> bytes:
        """Return the content of a file; any exception means that it cannot be read."""


@contextmanager
def open_source(path: Path) -> Iterator[ImageSource]:
    """Open the source at ``path``, a folder or a ``.zip``.

    Raises:
        DatasetError: If it is neither.
    """
    if path.is_dir():
        yield _Folder(path)
        return
    if not path.is_file():
        raise DatasetError(f"{path}: no such folder or .zip of images.")
    with open_regular(path) as file:
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise DatasetError(f"{path}: not a readable .zip: {error}") from error
        with archive:
            yield _Zip(path, archive, os.fstat(file.fileno()).st_size)


def _image_file(source: Path, parts: tuple[str, ...], key: str) -> ImageFile:
    """Return the file at ``parts`` below the root; ``parts[0]`` is one of `PARTS`."""
    if len(parts) not in (2, 3) or not parts[-1].lower().endswith(SUFFIXES):
        raise DatasetError(
            f"{source / key}: must be {parts[0]}/<class>/<name> with <name> ending in "
            f"{', '.join(SUFFIXES)}."
        )
    class_name = parts[1] if len(parts) == 3 else ""
    return ImageFile(parts[0], class_name, parts[-1], key)


def check_labels(source: Path, files: Sequence[ImageFile]) -> bool:
    """Return whether images are in class folders.

    Raises:
        DatasetError: If some are and others are not.
    """
    loose = [file for file in files if not file.class_name]
    if loose and len(loose) < len(files):
        first = loose[0]
        raise DatasetError(
            f"{source / first.key}: must be {first.part}/<class>/<name>, as other images are in "
            "class folders. Without labels, no image is in one."
        )
    return not loose


def _is_hidden(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def files(self) -> list[ImageFile]:
        return sorted(
            _image_file(self.path, parts, str(PurePosixPath(*parts)))
            for part in PARTS
            for parts in self._below(part)
            if not _is_hidden(parts)
        )

    def _below(self, part: str) -> Iterator[tuple[str, ...]]:
        """Return paths below a part: of files in class folders, and of entries out of place."""
        if not (self.path / part).is_dir():
            return
        for entry in (self.path / part).iterdir():
            inside = list(entry.iterdir()) if entry.is_dir() else []
            if not inside:
                yield part, entry.name
            for file in inside:
                yield (part, entry.name, file.name, *(("",) if file.is_dir() else ()))

    def packed_bytes(self, files: Iterable[ImageFile]) -> int:
        return sum((self.path / file.key).stat().st_size for file in files)

    def read(self, file: ImageFile) -> bytes:
        path = self.path / file.key
        try:
            return read_bytes(path, limit=MAX_IMAGE_FILE_BYTES)
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read: {error.strerror}.") from error


class _Zip:
    def __init__(self, path: Path, archive: zipfile.ZipFile, packed: int) -> None:
        self.path, self.archive, self.packed = path, archive, packed

    def files(self) -> list[ImageFile]:
        names = [name for name in self.archive.namelist() if not name.endswith("/")]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise DatasetError(f"{self.path / twice[0]}: is in the .zip more than once.")
        placed = {name: PurePosixPath(name).parts for name in names}
        placed = {name: parts for name, parts in placed.items() if not _is_hidden(parts)}
        placed = {name: parts for name, parts in placed.items() if parts}  # "." has none
        top = {parts[0] for parts in placed.values()}
        if len(top) == 1 and "train" not in top:  # the zip holds the folder, not its content
            placed = {name: parts[1:] for name, parts in placed.items()}
        return sorted(
            _image_file(self.path, parts, name)
            for name, parts in placed.items()
            if parts and parts[0] in PARTS
        )

    def packed_bytes(self, files: Iterable[ImageFile]) -> int:
        return self.packed

    def read(self, file: ImageFile) -> bytes:
        info = self.archive.getinfo(file.key)
        where = self.path / file.key
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DatasetError(f"{where}: must be stored or deflated in the .zip.")
        limit = min(MAX_IMAGE_FILE_BYTES, _MEMBER_BYTES + _MEMBER_RATIO * info.compress_size)
        if info.file_size > limit:
            raise DatasetError(
                f"{where}: has {info.file_size} bytes, more than {limit} are refused."
            )
        return self.archive.read(file.key)
