"""Running the command line inside the test process."""

from dataclasses import dataclass

import pytest

from axopt.cli import main


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def axopt(capsys, tmp_path, monkeypatch):
    """Call ``axopt(*words)`` in an empty directory; returns `Finished`."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Finished(code, *capsys.readouterr())

    return call
