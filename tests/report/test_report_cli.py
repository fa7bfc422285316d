"""`axopt report` on damaged runs: exit code 2 and one line that names file and field."""

import json

import pytest
from synthetic_records import make_full_record, make_record

from axopt.cli import main


@pytest.fixture
def run(tmp_path):
    """A run folder whose record is the text of a document."""

    def write(document):
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "record.json").write_text(json.dumps(document), "utf-8")
        return folder

    return write


def record_with(**changes):
    document = json.loads(make_record(n_front=2, n_trials=3).to_json())
    document["record"].update(changes)
    return document


def point_with(**changes):
    document = record_with()
    document["record"]["front"][0].update(changes)
    return document


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (record_with(seconds=10**400), "`seconds`"),
        (record_with(title="\ud800"), "`title`"),
        (record_with(stop_reason="x" * 100_000), "`stop_reason`"),
        (record_with(float_quality=[80, -1e308, 1.7e308]), "`float_quality`"),
        (point_with(quality_low=-1e308, quality_high=1.7e308), "`quality_low`"),
        (point_with(rel_power=10**400), "`rel_power`"),
        (point_with(drop=1.0), "`drop`"),
        (record_with(layers=3), "`record.layers`"),
        ({"schema": 10**30}, "`schema`"),
    ],
)
def test_a_record_that_cannot_be_shown_is_refused(run, document, field, capsys):
    folder = run(document)
    assert main(["report", str(folder)]) == 2
    message = capsys.readouterr().err
    assert "record.json" in message
    assert field in message
    assert message.count("\n") == 1
    assert len(message) < 600
    assert [path.name for path in folder.iterdir()] == ["record.json"]


def test_a_sound_record_is_reported(run, capsys):
    folder = run(json.loads(make_full_record().to_json()))
    assert main(["report", str(folder)]) == 0
    assert len(capsys.readouterr().out.split()) == 3
