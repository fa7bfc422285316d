"""Where the settings of a search come from: flags, a file, the run that is resumed, defaults."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from axopt.cli.loading import CALIBRATION_SAMPLES, OVERFLOWS
from axopt.cli.source import Source
from axopt.errors import ArgumentError
from axopt.study.config import (
    FLAG,
    RULES,
    TEXT,
    TEXTS,
    Rule,
    SearchConfig,
    read_settings,
    whole,
)
from axopt.study.folder import RunFolder

KEYS: dict[str, Rule] = {
    **RULES,
    "model": TEXT,
    "weights": TEXT,
    "data": TEXT,
    "output": TEXT,
    "library": TEXT,
    "multipliers": TEXTS,
    "activation_codes": TEXT,
    "calibrator": TEXT,
    "calibration_samples": whole(1),
    "weight_scales": TEXT,
    "include": TEXTS,
    "exclude": TEXTS,
    "padded_taps": TEXT,
    "accumulator_bits": whole(1),
    "overflow": TEXT,
    "allow_partial": FLAG,
    "threads": whole(1),
    "out": TEXT,
}
"""Setting -> what its value must be. Each is the key of a file and the name of a flag's value."""

_IF_NOT_SET = {
    "calibrator": Source.calibrator,
    "calibration_samples": CALIBRATION_SAMPLES,
    "weight_scales": Source.weight_scales,
    "padded_taps": Source.padded_taps,
    "overflow": OVERFLOWS[0],
    "batch_size": SearchConfig.batch_size,
}
"""Setting -> what a run that does not hold it was made with."""

_OF_OLDER_RUNS = {"objective": "error", "staged": False}
"""Setting -> what a run was made with before there was such a setting."""

_OF_THE_CALL = {
    "budget",
    "threads",
    "out",
    "allow_partial",
    "confirm_samples",
    "max_points",
    "reuse_mb",
}
"""Settings that may differ when a run is resumed."""


class Settings:
    """Settles the settings of a command: flags win over the file, the file over defaults.

    Made when the parser is complete: it takes the defaults out of the parser, so that flags that
    were given can be told from those that were not.

    Args:
        parser: The parser of the command.
    """

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._defaults: dict[str, Any] = {"batch_size": None}
        self._actions: dict[str, argparse.Action] = {}
        for action in parser._actions:  # argparse has no public list of a parser's arguments
            if action.dest in KEYS:
                self._actions[action.dest] = action
                self._defaults[action.dest] = action.default
                if action.help:
                    action.help = action.help.replace("%(default)s", str(action.default))
                action.default = None

    def settle(self, options: argparse.Namespace) -> None:
        """Set every setting in ``options``.

        Args:
            options: The parsed arguments, among them ``config`` and ``resume``.

        Raises:
            ArgumentError: If a file has a wrong key or value, a flag contradicts the run that is
                resumed, or an algorithm or objective is unknown.
            OSError: If a file cannot be read.
        """
        flags = {key: getattr(options, key, None) for key in self._defaults}
        given: dict[str, Any] = {key: v for key, v in flags.items() if v is not None}
        if options.config is not None:
            given = {**self._read(options.config), **given}
        settled = {**self._defaults, **given}
        kept: dict[str, Any] = {}
        folder = RunFolder(settled["out"] or default_out(settled["model"]))
        if options.resume and os.path.lexists(folder.settings_file):
            kept = {**self._defaults, **_OF_OLDER_RUNS, **self._read(folder.settings_file)}
        if "algorithm_options" in given:
            algorithm = given.get("algorithm") or {**self._defaults, **kept}["algorithm"]
            given["algorithm_options"] = typed_options(algorithm, given["algorithm_options"])
        if kept:
            self._check(given, kept, folder)
            given = {key: value for key, value in given.items() if key in _OF_THE_CALL}
        settled = {**self._defaults, **kept, **given}
        options.out = folder.path
        for key, value in settled.items():
            if key != "out":
                setattr(options, key, value)
        config = SearchConfig(
            **{key: settled[key] for key in RULES if settled.get(key) is not None}
        )
        options.budget = config.evaluations

    def kept(self, options: argparse.Namespace) -> dict[str, Any]:
        """Return what the run keeps of the settled ``options``: plain values, no None."""
        values = {key: _plain(getattr(options, key)) for key in self._defaults if key != "out"}
        return {key: value for key, value in values.items() if value not in (None, {}, [])}

    def _read(self, path: Path) -> dict[str, Any]:
        """Read a file and check its values as those of flags are."""
        values = read_settings(path, KEYS)
        for key, value in values.items():
            action = self._actions.get(key)
            if action is None or isinstance(value, bool | list | dict):
                continue
            if action.choices is not None and value not in action.choices:
                allowed = ", ".join(map(str, action.choices))
                raise ArgumentError(f"{path}: {key}: must be one of {allowed}, got {value!r}.")
            if callable(action.type):
                try:
                    values[key] = action.type(str(value))
                except argparse.ArgumentTypeError as error:
                    raise ArgumentError(f"{path}: {key}: {error}.") from None
        return values

    def _check(self, given: Mapping[str, Any], kept: Mapping[str, Any], folder: RunFolder) -> None:
        """Refuse a flag that contradicts the run."""
        for key, value in given.items():
            now, was = _plain(value), _plain(kept.get(key))
            was = _IF_NOT_SET.get(key) if was is None else was
            if key in _OF_THE_CALL or now == was:
                continue
            action = self._actions.get(key)
            flag = action.option_strings[0] if action else key
            raise ArgumentError(
                f"`{flag}` is {now!r}, but {'not set' if was is None else repr(was)} in the run "
                f"{folder.path}; a resumed run keeps its settings."
            )


def default_out(model: str) -> Path:
    """Return the run folder of a model that names none."""
    return Path("runs") / re.sub(r"[^\w.-]", "-", model)


def option_pair(text: str) -> tuple[str, str]:
    """Argument type of ``name=value``."""
    name, sign, value = text.partition("=")
    if not sign or not name or not text.isprintable():
        raise argparse.ArgumentTypeError(f"must be name=value, got {text!r}")
    return name, value


def weight_pair(text: str) -> tuple[str, float]:
    """Argument type of ``path=weight``."""
    name, weight = option_pair(text)
    try:
        number = float(weight)
    except ValueError:
        number = float("nan")
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be PATH=WEIGHT, a positive number, got {text!r}")
    return name, number


class StorePairs(argparse.Action):
    """Collects pairs of a repeated flag in a mapping; the last value of a name wins."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        name, value = values
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), name: value})


def add_divergence_outputs(group: argparse._ArgumentGroup) -> None:
    """Add ``--divergence-output``.

    Args:
        group: Takes the flag.
    """
    group.add_argument(
        "--divergence-output",
        dest="divergence_outputs",
        type=weight_pair,
        action=StorePairs,
        metavar="PATH=WEIGHT",
        help="an output that the divergence compares, and its weight; repeatable (default: the "
        "output that the metric reads)",
    )


def typed_options(algorithm: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of an algorithm with the texts of flags as values of their kind.

    Args:
        algorithm: Name of the algorithm.
        options: Name -> text of a flag, or value of a file.

    Raises:
        ArgumentError: If the algorithm has no such option, or a text is not of its kind.
    """
    from axopt.exploration.algorithm import algorithm_options, settled_options

    known = algorithm_options(algorithm)
    values = {
        name: _typed(known[name].kind, value)
        if isinstance(value, str) and name in known
        else value
        for name, value in options.items()
    }
    settled_options(algorithm, values)
    return values


def _typed(kind: type, text: str) -> Any:
    """Return ``text`` as a value of ``kind``, or as it is if it is none."""
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return kind(text)
    except ValueError:
        return text


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
