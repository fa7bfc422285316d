import json
import os
import time

import pytest
import torch
from torch import nn

import axopt
from axopt.errors import AssignmentError, UnknownLayerError, UnknownMultiplierError
from axopt.model import LayerAssignment, current_assignment


@pytest.fixture
def emulated():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 3)
    )
    return axopt.prepare(net, [torch.randn(8, 2, 6, 6)])


def state(emulated):
    return [(info.name, info.multiplier, info.swap) for info in emulated.layers()]


def test_one_for_all_by_name_and_by_layer(emulated):
    axopt.assign_(emulated, "mul8s_1L2H")
    assert {m for _, m, _ in state(emulated)} == {"v1/mul8s_1L2H"}
    axopt.assign_(emulated, {"2": "v2022/mul8s_1L2L", "4": ("mul8s_1KR6", True)})
    assert state(emulated) == [
        ("0", "v1/mul8s_1L2H", False),
        ("2", "v2022/mul8s_1L2L", False),
        ("4", "v1/mul8s_1KR6", True),
    ]


def test_multipliers_change_the_result_and_the_exact_one_restores_it(emulated):
    x = torch.randn(3, 2, 6, 6)
    with torch.no_grad():
        exact = emulated(x)
        axopt.assign_(emulated, "mul8s_1L1G")
        assert not torch.equal(emulated(x), exact)
        axopt.assign_(emulated, "mul8s_1KV8")
        assert torch.equal(emulated(x), exact)


def test_signed_and_unsigned_may_be_mixed(emulated):
    x = torch.randn(3, 2, 6, 6)
    with torch.no_grad():
        exact = emulated(x)
        axopt.assign_(emulated, {"2": "mul8u_1JFF"})  # the exact unsigned one
        assert torch.allclose(emulated(x), exact, atol=0.05)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("mul8s_1L2Z", UnknownMultiplierError, "mul8s_1L2Z"),
        ({"0": "mul8s_1L2H", "3": "mul8s_1L2H"}, UnknownLayerError, "'3'"),
        ({"0": "mul8s_1L2H", "2": "nonsense"}, UnknownMultiplierError, "nonsense"),
        ({"0": 3}, ValueError, "int"),
        ({"0": LayerAssignment("v1/mul8s_1L2H", "00")}, AssignmentError, "digest"),
    ],
)
def test_an_error_changes_nothing(emulated, spec, error, message):
    axopt.assign_(emulated, "mul8s_1KR6")
    before = state(emulated)
    with pytest.raises(error, match=message):
        axopt.assign_(emulated, spec)
    assert state(emulated) == before


def test_file_round_trip_reproduces_outputs_exactly(emulated, tmp_path):
    axopt.assign_(emulated, {"0": "mul8s_1L2D", "2": ("mul8s_1KVL", True), "4": "mul8u_2AC"})
    x = torch.randn(5, 2, 6, 6)
    with torch.no_grad():
        expected = emulated(x)
    path = tmp_path / "point.json"
    current_assignment(emulated, source={"name": "net"}, metrics={"q": 1.5}).save(path)

    # another calibration: the file's own scales must win
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 3)
    )
    other = axopt.prepare(net, [9 * torch.randn(8, 2, 6, 6)])
    loaded = axopt.Assignment.load(path)
    axopt.assign_(other, loaded)
    with torch.no_grad():
        assert torch.equal(other(x), expected)
    assert loaded.model["name"] == "net"
    assert loaded.metrics == {"q": 1.5}

    # and go again when something else is assigned from a file without them
    document = json.loads(path.read_text())
    document["quantisation"] = {}
    axopt.assign_(other, axopt.Assignment.from_json(json.dumps(document)))
    with torch.no_grad():
        assert not torch.equal(other(x), expected)


def test_only_regular_files_of_bounded_size_are_loaded(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    start = time.monotonic()
    for path in ("/dev/zero", tmp_path / "fifo"):
        with pytest.raises(OSError, match="not a regular file"):
            axopt.Assignment.load(path)
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="expected at most 67108864 bytes, got 1099511627776"):
        axopt.Assignment.load(tmp_path / "a.json")
    assert time.monotonic() - start < 5


def test_file_is_stable_sorted_utf8(emulated, tmp_path):
    assignment = current_assignment(emulated, source={"name": "netz-\u00e4"})
    text = assignment.to_json()
    assert axopt.Assignment.from_json(text).to_json() == text
    assert list(json.loads(text)) == sorted(json.loads(text))
    assignment.save(tmp_path / "a.json")
    assert (tmp_path / "a.json").read_bytes() == text.encode("utf-8")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


def test_assignment_of_another_model_is_refused(emulated):
    assignment = current_assignment(emulated)
    with torch.no_grad():
        emulated.module[0].weight.add_(1)
    with pytest.raises(AssignmentError, match="another model"):
        axopt.assign_(emulated, assignment)


def edit(document, path, value):
    *parents, last = path
    for key in parents:
        document = document[key]
    if value is None:
        del document[last]
    else:
        document[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema"], 999, "`schema` must be 1, got 999"),
        (["extra"], 1, "unknown field 'extra'"),
        (["layers"], [], "`layers` must be an object"),
        (["layers", "0"], 7, r"layers\['0'\] must be an object, got 7"),
        (["layers", "0", "swap"], "yes", "swap must be true or false, got 'yes'"),
        (["layers", "0", "digest"], None, "digest must be a string, got None"),
        (["layers", "0", "colour"], 1, "unknown field 'colour'"),
    ],
)
def test_malformed_files_name_file_field_and_value(emulated, tmp_path, path, value, message):
    document = json.loads(current_assignment(emulated).to_json())
    edit(document, path, value)
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(document))
    with pytest.raises(AssignmentError, match=message) as caught:
        axopt.Assignment.load(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "[", "3", '{"schema": 1, "schema": 1}', '{"schema": NaN}', "[" * 100_000, "\ufeff{}"],
)
def test_text_that_is_no_assignment(text):
    with pytest.raises(AssignmentError, match="assignment"):
        axopt.Assignment.from_json(text)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["layers", "0"], None, "leaves out layer '0'"),
        (["layers", "0", "multiplier"], "v1/mul8s_nope", "mul8s_nope"),
        (["quantisation", "0", "weight"], {"scale": 0, "zero_point": 0}, "positive"),
        (["quantisation", "0", "weight"], {"scale": [1.0], "zero_point": [1]}, "1 or 4"),
        (["quantisation", "0", "activation"], None, "activation"),
        (["quantisation", "9"], {}, "'9'"),
    ],
)
def test_assignment_that_does_not_fit_changes_nothing(emulated, path, value, message):
    document = json.loads(current_assignment(emulated).to_json())
    edit(document, path, value)
    axopt.assign_(emulated, "mul8s_1KR6")
    before = state(emulated)
    with pytest.raises((AssignmentError, UnknownMultiplierError), match=message):
        axopt.assign_(emulated, axopt.Assignment.from_json(json.dumps(document)))
    assert state(emulated) == before


def test_future_proof_schema_1_asset_loads():
    """The file format of the first release, kept for ever."""
    text = (
        '{"schema": 1, "layers": {"a": {"multiplier": "v1/mul8s_1L2H", "digest": "d", '
        '"swap": true}}, "model": {"digest": "m"}, "quantisation": {"a": {"activation": '
        '{"scale": 0.5, "zero_point": 128}, "weight": {"scale": [0.25], "zero_point": [128]}}}, '
        '"metrics": {"metric": "top1"}, "cost": {"rel_power": 0.5}}'
    )
    assignment = axopt.Assignment.from_json(text)
    assert assignment.layers == {"a": LayerAssignment("v1/mul8s_1L2H", "d", True)}
    assert assignment.cost == {"rel_power": 0.5}


def test_cost_is_the_mac_weighted_mean(emulated, library):
    exact, l2d = library["mul8s_1KV8"], library["mul8s_1L2D"]
    figures = axopt.cost(emulated)
    assert (figures.rel_power, figures.rel_area) == (1, 1)
    assert figures.macs == {"0": 16 * 4 * 18, "2": 4 * 4 * 36, "4": 48}
    assert figures.delay_ns == exact.delay_ns
    axopt.assign_(emulated, {"0": "mul8s_1L2D"})
    figures = axopt.cost(emulated)
    total = sum(figures.macs.values())
    approximate = figures.macs["0"]
    expected = (approximate * l2d.power_mw + (total - approximate) * exact.power_mw) / total
    assert figures.rel_power == pytest.approx(expected / exact.power_mw, rel=1e-12)
    assert figures.power_mw_macs == pytest.approx(expected * total, rel=1e-12)
    without_fc = total - 48
    expected = (
        approximate * l2d.power_mw + (without_fc - approximate) * exact.power_mw
    ) / without_fc
    assert figures.rel_power_conv == pytest.approx(expected / exact.power_mw, rel=1e-12)
    assert figures.delay_ns == max(exact.delay_ns, l2d.delay_ns)
    assert figures.reference == "v1/mul8s_1KV8"


def test_reference_is_of_the_kind_searched(emulated):
    axopt.assign_(emulated, "mul8u_1JFF")
    figures = axopt.cost(emulated)
    assert figures.reference == "v1/mul8u_1JFF"
    assert figures.rel_power == 1
