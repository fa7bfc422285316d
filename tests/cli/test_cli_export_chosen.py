"""``axopt export`` of a point that is chosen on the validation split."""

import json

import pytest

from axopt.report import example_record


@pytest.fixture
def folder(tmp_path):
    from axopt import load_library
    from axopt.model import Assignment
    from axopt.model.assignment import LayerAssignment

    record, library = example_record(), load_library()
    (tmp_path / "run" / "assignments").mkdir(parents=True)
    (tmp_path / "run" / "record.json").write_text(record.to_json())
    for point in record.front:
        layers = {
            layer.name: LayerAssignment(used.multiplier, library[used.multiplier].digest)
            for layer, used in zip(record.layers, point.layers, strict=True)
        }
        Assignment(layers).save(tmp_path / "run" / point.assignment)
    return tmp_path


def test_the_point_within_a_drop_is_written_and_told(axopt, folder):
    done = axopt("export", "run", "--max-drop", "0.5", "--out", "best.json", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["assignment"] == "run/assignments/point-02.json"
    assert found["chosen"]["point"] == "point-02"
    assert found["chosen"]["validation_drop"] == pytest.approx(0.3)
    assert [found["chosen"][name] for name in ("drop_low", "drop", "drop_high")] == pytest.approx(
        [-0.1, 0.3, 0.7]
    )
    assert "v1/mul8s_1KR3" in (folder / "best.json").read_text()
    done = axopt("export", "run", "--max-drop", "0.2", "--to", "csv", "best.csv")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith(
        "point-00: the largest saving with a drop of at most 0.2 pp, chosen"
    )
    assert lines[2:4] == [
        "drop on validation: 0.00 pp (359 samples)",
        "drop on test: 0.00 pp, 95 % interval -0.40..0.40 (359 samples)",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--knee"), "run: the front has no knee"),
        (("run",), "`--point`, `--max-drop` or `--knee` must be given"),
        (("run", "--max-drop", "1", "--knee"), "not allowed with argument"),
        (("run", "--max-drop", "-1"), "--max-drop: must be a finite number >= 0, got '-1'"),
        (("run/record.json", "--knee"), "`--knee` goes with a run folder"),
        (("empty", "--knee"), "there is no finished run in this folder"),
    ],
)
def test_what_cannot_be_chosen_is_one_line(axopt, folder, words, message):
    (folder / "empty").mkdir()
    done = axopt("export", *words, "--out", "x.json")
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_a_point_without_an_assignment_is_told(axopt, folder):
    (folder / "run" / "assignments" / "point-02.json").unlink()
    done = axopt("export", "run", "--max-drop", "1", "--out", "x.json")
    assert (done.code, done.out) == (2, "")
    assert "there is no assignment of point-02" in done.err
