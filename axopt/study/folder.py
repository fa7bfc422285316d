"""The run folder: what a search writes, and how it is found again.

run.toml                      the settings, for --config and for resuming
study.sqlite                  every evaluation, committed before it counts
record.json                   what the report is made from
front.csv, pareto.png, history.png, report.html
search.log                    how the search got on
sensitivity.json, .csv and .png, sensitivity-layers.png   if the search measured them
assignments/point-NN.json

Importing this imports no torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axopt.errors import ArgumentError, ReportError, RunExistsError
from axopt.exploration.lock import check_unlocked
from axopt.files import as_path, read_bytes, remove_stale_temporaries, write_text_atomically
from axopt.study.config import to_toml

if TYPE_CHECKING:
    from axopt.exploration import Store
    from axopt.model import Assignment
    from axopt.report import RunRecord
    from axopt.sensitivities import Sensitivity

_STORE = "study.sqlite"
_RECORD = "record.json"
_SETTINGS = "run.toml"
_OUTPUTS = (
    _RECORD,
    "front.csv",
    "pareto.png",
    "history.png",
    "report.html",
    "sensitivity.json",
    "sensitivity.csv",
    "sensitivity.png",
    "sensitivity-layers.png",
)
_LOG = "search.log"
_ASSIGNMENTS = "assignments"
_MAX_RECORD_BYTES = 1 << 28


class RunFolder:
    """One run on disk.

    Args:
        path: The folder, ``runs/<name>``.

    Example:
        >>> from axopt.study import RunFolder
        >>> folder = RunFolder("runs/x")
        >>> folder.check_free(resume=False, force=False)
        >>> folder.check_free(resume=True, force=False)
        Traceback (most recent call last):
            ...
        axopt.errors.ArgumentError: `resume`: there is no search in runs/x.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = as_path(path, "out")

    @property
    def settings_file(self) -> Path:
        """Path of the settings, which runs of earlier versions do not have."""
        return self.path / _SETTINGS

    @property
    def log_file(self) -> Path:
        """Path of the log of the search."""
        return self.path / _LOG

    def check_free(self, *, resume: bool, force: bool) -> None:
        """Refuse what would overwrite or mix runs, or a run that is in use; writes nothing.

        Args:
            resume: Whether the run in the folder is to be resumed.
            force: Whether it is to be replaced.

        Raises:
            RunExistsError: If the folder holds a run and neither flag is set.
            ArgumentError: If both flags are set, there is nothing to resume, or the path is not
                a folder.
            StoreError: If another process writes to the run; names its process id and host.
        """
        if resume and force:
            raise ArgumentError("`resume` and `force` must not both be set.")
        if self.path.exists() and not self.path.is_dir():
            raise ArgumentError(f"`out` must be a folder, got the file {self.path}.")
        if resume and not (self.path / _STORE).exists():
            raise ArgumentError(f"`resume`: there is no search in {self.path}.")
        if resume or force:
            check_unlocked(self.path / _STORE)
            return
        for name in (_STORE, *_OUTPUTS):
            if (self.path / name).exists():
                raise RunExistsError(
                    f"{self.path / name} exists; resume that search or force a new one."
                )

    def open_store(
        self,
        identity: Mapping[str, Any],
        *,
        resume: bool,
        force: bool,
        settings: Mapping[str, Any] | None = None,
        meaning: Mapping[str, str] | None = None,
    ) -> Store:
        """Open the evaluation store and keep the settings.

        With ``force``, outputs of the earlier run are removed. Temporary files that a killed run
        left are removed too.

        Args:
            identity: See `axopt.exploration.Store.open`.
            resume: Go on with the run in the folder.
            force: Replace it.
            settings: What `settings_file` will hold.
            meaning: See `axopt.exploration.Store.open`.

        Raises:
            RunExistsError: See `check_free`.
            StoreError: If the store is of another search, damaged, or in use.
        """
        from axopt.exploration import Store

        self.check_free(resume=resume, force=force)
        self.path.mkdir(parents=True, exist_ok=True)
        store = Store.open(
            self.path / _STORE, identity, resume=resume, overwrite=force, meaning=meaning
        )
        remove_stale_temporaries(self.path)
        if force:
            self._remove_outputs()
        write_text_atomically(self.settings_file, to_toml(settings or {}) + "\n")
        return store

    def keep(self, sensitivities: Sensitivity | None) -> None:
        """Write table and values of sensitivities, if there are any.

        Args:
            sensitivities: What a search measured before its first evaluation.
        """
        if sensitivities is not None:
            sensitivities.save(self.path)

    def write(self, record: RunRecord, assignments: Mapping[str, Assignment]) -> None:
        """Write the record, the assignments and the report.

        Args:
            record: What the run found.
            assignments: File name relative to the folder -> assignment of a point of the front.
        """
        from axopt import report

        (self.path / _ASSIGNMENTS).mkdir(exist_ok=True)
        for name, assignment in assignments.items():
            assignment.save(self.path / name)
        for stale in self.assignment_files():
            if stale.relative_to(self.path).as_posix() not in assignments:
                stale.unlink()
        write_text_atomically(self.path / _RECORD, record.to_json())
        report.write_report(record, self.path)

    def record(self) -> RunRecord:
        """Return the record of a finished or interrupted run.

        Raises:
            ArgumentError: If there is none.
            ReportError: If it is damaged; names the file and the field.
        """
        from axopt import report

        file = self.path / _RECORD
        if not file.is_file():
            raise ArgumentError(f"{file}: there is no finished run in this folder.")
        try:
            text = read_bytes(file, limit=_MAX_RECORD_BYTES).decode("utf-8")
            return report.RunRecord.from_json(text)
        except UnicodeDecodeError as error:
            raise ReportError(f"{file}: must be UTF-8, {error}.") from error
        except ValueError as error:
            raise ReportError(f"{file}: {error}") from error

    def assignment_files(self) -> list[Path]:
        """Return the files of the points of the front."""
        return sorted((self.path / _ASSIGNMENTS).glob("point-*.json"))

    def _remove_outputs(self) -> None:
        for name in (*_OUTPUTS, _LOG):
            (self.path / name).unlink(missing_ok=True)
        for file in self.assignment_files():
            file.unlink()


def free_folder(out: str | Path | None, resume: bool, force: bool) -> RunFolder | None:
    """Return the run folder, if there is to be one, checked before anything is measured."""
    if out is None:
        return None
    folder = RunFolder(out)
    folder.check_free(resume=resume, force=force)
    return folder


def how_to_resume(folder: RunFolder) -> str:
    """Return how the search of a folder is resumed, for messages."""
    return f"resume with: python -m axopt search --resume --out {folder.path}"
