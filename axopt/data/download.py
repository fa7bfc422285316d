"""Download of the official CIFAR-10 archive; its checksum is verified before it gets its name.

Address and checksum: https://www.cs.toronto.edu/~kriz/cifar.html, "CIFAR-10 binary version".
"""

import hashlib
import http.client
import logging
import os
import urllib.request
from pathlib import Path
from typing import IO

from axopt.errors import DatasetError
from axopt.files import as_path, remove_stale_temporaries, replacing

CIFAR10_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR10_URL = f"https://www.cs.toronto.edu/~kriz/{CIFAR10_ARCHIVE}"
CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
MAX_BYTES = 256 << 20
"""Most bytes that are downloaded; the archive has 162 MiB."""

_TIMEOUT_S = 30.0
_CHUNK = 1 << 20

_logger = logging.getLogger(__name__)


def download_cifar10(directory: str | os.PathLike[str]) -> Path:
    """Download the CIFAR-10 binary archive, unless the folder has it.

    Args:
        directory: Folder of the archive; it is made if it is missing.

    Returns:
        Path of the archive, whose checksum has been verified.

    Raises:
        DatasetError: If there is no network, the folder cannot be written, or the checksum of
            what arrived is wrong. No file is left then.

    Example:
        >>> download_cifar10("/dev/null/data")
        Traceback (most recent call last):
            ...
        axopt.errors.DatasetError: https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz: cannot
        be downloaded to /dev/null/data/cifar-10-binary.tar.gz: ...
    """
    directory = as_path(directory, "directory")
    archive = directory / CIFAR10_ARCHIVE
    try:
        if archive.is_file() and _md5(archive) == CIFAR10_MD5:
            return archive
        directory.mkdir(parents=True, exist_ok=True)
        _logger.info("downloading %s to %s", CIFAR10_URL, archive)
        _fetch(archive)
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        reason = getattr(error, "reason", None) or error
        raise DatasetError(
            f"{CIFAR10_URL}: cannot be downloaded to {archive}: {reason}; "
            f"fetch it by other means and put it there."
        ) from error
    return archive


def _fetch(archive: Path) -> None:
    remove_stale_temporaries(archive.parent)
    with replacing(archive) as file:
        with urllib.request.urlopen(CIFAR10_URL, timeout=_TIMEOUT_S) as response:
            received = _copy(response, file)
        if received != CIFAR10_MD5:
            raise DatasetError(
                f"{CIFAR10_URL}: MD5 must be {CIFAR10_MD5}, what arrived has {received}."
            )


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    """Copy a stream and return the MD5 (hex) of what was copied."""
    digest = hashlib.md5(usedforsecurity=False)
    total = 0
    while piece := source.read(_CHUNK):
        total += len(piece)
        if total > MAX_BYTES:
            raise DatasetError(f"{CIFAR10_URL}: sends more than {MAX_BYTES} bytes.")
        target.write(piece)
        digest.update(piece)
    return digest.hexdigest()


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
