"""Corrections on disk: what was found for a layer, by the content of all that decides it.

A layer has one JSON file in the folder ``corrections`` of the cache (`cache_folder`). Its name is
a digest of the layer's weights, options and calibration; an entry's key is a digest of the
multiplier, the uncorrected formats and the allowed corrections. A file is replaced as a whole, so
processes that write at once lose entries at most, which are then computed again. What cannot be
read is ignored and replaced.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import logging
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from axopt.corrections.result import Correction
from axopt.files import as_path, read_bytes, write_atomically
from axopt.layers import EmulatedLayer, Quantisation, QuantParams

CACHE_VARIABLE = "AXOPT_CACHE"
"""Environment variable: the folder of the cache; empty or "off" for no cache."""

VERSION = 2
"""Raised when the same layer and multiplier may get another correction."""

MAX_FILE_BYTES = 16 << 20
"""Most bytes of a layer's file. A larger one is replaced."""

MAX_FOLDER_BYTES = 256 << 20
"""Bytes of all files above which the oldest are removed, down to half."""

_KIND = "axopt corrections"
_MAX_CHANNELS = 1 << 20

_logger = logging.getLogger(__name__)


def cache_folder() -> Path | None:
    """Return the folder of the cache, or None if it is switched off.

    It is the value of ``AXOPT_CACHE``, else ``axopt`` in the user's cache directory
    (``XDG_CACHE_HOME``, or ``~/.cache``). An empty value and "off" switch the cache off.

    Raises:
        ArgumentError: If the value is no path.

    Example:
        >>> folder = cache_folder()
        >>> folder is None or isinstance(folder, Path)
        True
    """
    value = os.environ.get(CACHE_VARIABLE)
    if value is not None:
        return None if value in ("", "off") else as_path(value, CACHE_VARIABLE)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "axopt" if os.path.isabs(base) else None


class StoredCorrections:
    """The corrections of one layer on disk.

    Args:
        layer: A calibrated layer, in its present state.
    """

    def __init__(self, layer: EmulatedLayer) -> None:
        self._layer = layer
        self._channels = layer.out_channels
        self._entries: dict[str, Any] = {}
        self._seen: tuple[object, ...] | None = None

    def get(self, key: str, known: dict[bytes, QuantParams]) -> Correction | None:
        """Return the correction with this key, or None.

        Args:
            key: See `correction_key`.
            known: Formats by `content_of`; a format of the same content is taken from here, and
                others are added.
        """
        path = self._path()
        if path is None:
            return None
        self._read(path)
        entry = self._entries.get(key)
        if entry is None:
            return None
        try:
            return _correction_of(entry, self._channels, known)
        except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
            _logger.warning("%s: ignoring a damaged entry: %s", path, error)
            del self._entries[key]
            return None

    def put(self, key: str, correction: Correction) -> None:
        """Store a correction; a folder that cannot be written is logged, once."""
        path = self._path()
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _bound(path.parent)
            self._read(path)  # another process may have written
            self._entries[key] = _entry_of(correction)
            content = {"kind": _KIND, "version": VERSION, "layer": self._digest}
            text = json.dumps({**content, "entries": self._entries})
            write_atomically(path, text.encode(), durable=False)
            self._seen = _state(path)
        except OSError as error:
            _tell_once(str(path.parent), str(error))

    @functools.cached_property
    def _digest(self) -> str:
        return layer_digest(self._layer)

    def _read(self, path: Path) -> None:
        """Take over the file's entries, unless it is as this object saw it last."""
        state = _state(path)
        if state is not None and state != self._seen:
            self._entries = {**self._entries, **_read(path, self._digest)}
        self._seen = state

    def _path(self) -> Path | None:
        folder = cache_folder()
        return None if folder is None else folder / "corrections" / f"{self._digest}.json"


def _state(path: Path) -> tuple[object, ...] | None:
    """Return what changes when a file is replaced; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return path, found.st_ino, found.st_mtime_ns, found.st_size


@functools.lru_cache(maxsize=64)
def _tell_once(folder: str, error: str) -> None:
    _logger.warning("corrections are not stored in %s: %s", folder, error)


@functools.lru_cache(maxsize=16)
def _bound(folder: Path) -> None:
    """Remove the oldest files of a folder that has become too large, once a process."""
    files = []
    for entry in os.scandir(folder):
        if entry.is_file(follow_symlinks=False) and entry.name.endswith(".json"):
            found = entry.stat(follow_symlinks=False)
            files.append((found.st_mtime, found.st_size, entry.path))
    total = sum(size for _, size, _ in files)
    if total <= MAX_FOLDER_BYTES:
        return
    for _, size, path in sorted(files):
        if total <= MAX_FOLDER_BYTES // 2:
            break
        with suppress(FileNotFoundError):  # another process does the same
            os.unlink(path)
        total -= size


def _read(path: Path, digest: str) -> dict[str, Any]:
    """Return the sound entries of a file; none of a file that is missing, foreign or damaged."""
    try:
        content = json.loads(read_bytes(path, limit=MAX_FILE_BYTES))
        described = [content["kind"], content["version"], content["layer"]]
        entries = content["entries"]
        if described != [_KIND, VERSION, digest] or not isinstance(entries, dict):
            raise ValueError(f"expected corrections of layer {digest}, got {described}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        _logger.warning("%s is ignored and will be replaced: %s", path, error)
        return {}
    sound = {key: entry for key, entry in entries.items() if _is_sound(entry)}
    if len(sound) < len(entries):
        _logger.warning("%s: %d damaged entries ignored", path, len(entries) - len(sound))
    return sound


def _is_sound(entry: object) -> bool:
    return isinstance(entry, dict) and entry.get("sha256") == _checksum(entry)


def _checksum(entry: dict[str, Any]) -> str:
    content = {name: value for name, value in entry.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def layer_digest(layer: EmulatedLayer) -> str:
    """Return the SHA-256 in hex of all of a layer that decides its corrections."""
    channels, sample = layer.channels, layer.sample
    options = (
        type(layer).__name__, layer.definition, layer.calibrator, layer.per_channel, layer.bounds,
        layer.padded_taps, layer.accumulator, layer.has_channels, layer.out_channels,
        channels.limit, channels.padded_share, channels.tap_share,
    )  # fmt: skip
    found = hashlib.sha256(repr((VERSION, options)).encode())
    tensors = [layer.filters, layer.bias, sample.windows, *vars(channels).values()]
    for name in ("histogram", "second"):
        histogram = getattr(layer, name, None)
        if histogram is not None:
            found.update(repr((histogram.limit, histogram.low, histogram.high)).encode())
            tensors.append(histogram.counts)
    for tensor in tensors:
        found.update(_content(tensor) if isinstance(tensor, Tensor) else b"none")
    return found.hexdigest()


def correction_key(*parts: object) -> str:
    """Return the SHA-256 in hex of formats, tensors, plain values, and collections of these."""
    found = hashlib.sha256()

    def add(part: object) -> None:
        if isinstance(part, QuantParams):
            found.update(content_of(part))
        elif isinstance(part, Tensor):
            found.update(_content(part))
        elif isinstance(part, list | tuple):
            found.update(f"{len(part)}(".encode())
            for item in part:
                add(item)
        else:
            found.update(repr(part).encode())
        found.update(b";")

    add(parts)
    return found.hexdigest()


def content_of(params: QuantParams) -> bytes:
    """Return the whole content of a format."""
    tensors = (params.scale, params.zero_point, params.code_of_level)
    parts = [b"none" if tensor is None else _content(tensor) for tensor in tensors]
    return repr(params.stride).encode() + b";" + b";".join(parts)


def _content(tensor: Tensor) -> bytes:
    array = np.ascontiguousarray(tensor.detach().cpu().numpy())
    return repr((array.shape, array.dtype.str)).encode() + array.tobytes()


def _entry_of(correction: Correction) -> dict[str, Any]:
    formats = correction.quantisation
    entry = {
        "swap": correction.swap,
        "error_pct": correction.error_pct,
        "raw_error_pct": correction.raw_error_pct,
        "rejected": [[list(names), error] for names, error in correction.rejected.items()],
        "corrections": list(formats.corrections),
        "activation": _params_entry(formats.activation),
        "weights": _params_entry(formats.weights),
        "gain": _text(formats.gain),
        "shift": _text(formats.shift),
    }
    return {**entry, "sha256": _checksum(entry)}


def _params_entry(params: QuantParams) -> dict[str, Any]:
    return {
        "scale": _text(params.scale),
        "zero_point": params.zero_point.tolist(),
        "stride": params.stride,
        "codes": _text(params.code_of_level),
    }


def _text(tensor: Tensor | None) -> str | None:
    if tensor is None:
        return None
    array = tensor.detach().cpu().numpy()
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def _correction_of(
    entry: dict[str, Any], channels: int, known: dict[bytes, QuantParams]
) -> Correction:
    """Return the correction of an entry.

    Raises:
        KeyError, TypeError, ValueError: If the entry is malformed.
    """
    names = tuple(map(_checked_text, entry["corrections"]))
    quantisation = Quantisation(
        _params_of(entry["activation"], known, 1),
        _params_of(entry["weights"], known, channels),
        _floats(entry["gain"], channels),
        _floats(entry["shift"], channels),
        names,
    )
    rejected = {tuple(map(_checked_text, of)): _number(error) for of, error in entry["rejected"]}
    if type(entry["swap"]) is not bool:
        raise ValueError("`swap` is no truth value")
    return Correction(
        entry["swap"], quantisation, _number(entry["error_pct"]),
        _number(entry["raw_error_pct"]), rejected,
    )  # fmt: skip


def _params_of(
    entry: dict[str, Any], known: dict[bytes, QuantParams], channels: int
) -> QuantParams:
    zero = torch.tensor(entry["zero_point"], dtype=torch.int64)
    if zero.ndim and (channels == 1 or zero.shape != (channels,)):
        raise ValueError(f"expected zero points of {channels} channels, got {tuple(zero.shape)}")
    scale = torch.from_numpy(_array(entry["scale"], "<f4")).reshape(zero.shape)
    codes = None
    if entry["codes"] is not None:
        codes = torch.from_numpy(_array(entry["codes"], "u1"))
    params = QuantParams(scale, zero, entry["stride"], codes)
    return known.setdefault(content_of(params), params)


def _floats(text: str | None, channels: int) -> Tensor | None:
    if text is None:
        return None
    values = torch.from_numpy(_array(text, "<f4"))
    if len(values) not in (1, channels) or not bool(values.isfinite().all()):
        raise ValueError(f"expected {channels} finite numbers, got {len(values)} numbers")
    return values


def _array(text: str, dtype: str) -> np.ndarray[Any, Any]:
    if len(text) > 8 * _MAX_CHANNELS:
        raise ValueError("too many numbers")
    raw = base64.b64decode(text, validate=True)
    return np.frombuffer(raw, dtype).astype(np.dtype(dtype).newbyteorder("="))


def _number(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
        raise ValueError(f"expected a finite number, got {value!r}")
    return float(value)  # type: ignore[arg-type]


def _checked_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, got {value!r}")
    return value
