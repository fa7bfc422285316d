"""Narrow and 8-bit multipliers in one search, with published and estimated figures."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import stripes

import axopt
from axopt.model import Assignment, current_assignment
from axopt.multipliers import Multiplier
from axopt.problem.options import default_reference
from axopt.study import options_of


def narrow(bits, power_mw, intervals):
    return Multiplier.from_function(
        lambda a, w: a * w,
        name=f"exact{bits}",
        signed=True,
        bits_a=bits,
        bits_w=bits,
        power_mw=power_mw,
        area_um2=200,
        delay_ns=1.0,
        intervals=intervals,
    )


FOUR = narrow(4, 0.07, {"power_mw": (0.06, 0.09)})
THREE = narrow(3, 0.04, {})


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A search among two narrow and two 8-bit multipliers, and its folder."""
    data = stripes.make_data((120, 60, 90), contrast=0.25)
    emulated = axopt.prepare(stripes.trained_net(data, steps=80), data.train.batches(50))
    out = tmp_path_factory.mktemp("runs") / "x"
    bundled = axopt.load_library()
    library = [FOUR, THREE, bundled["mul8s_1KV8"], bundled["mul8s_1L1G"]]
    result = axopt.search(
        emulated, data, library=library, budget=20, population=6, seed=3, out=out, correct=True
    )
    return emulated, result, out


def test_exact_narrow_multiplier_is_not_the_reference(found):
    _, result, out = found
    record = json.loads((out / "record.json").read_text())["record"]
    assert record["reference"] == "v1/mul8s_1KV8"
    uniform = {point["label"]: point for point in record["uniform"]}
    assert uniform[FOUR.key]["rel_power"] == pytest.approx(0.07 / 0.425)
    widths = {m["key"]: (m["bits_a"], m["bits_w"], m["power_low"]) for m in record["multipliers"]}
    assert widths[FOUR.key] == (4, 4, 0.06)
    assert widths[THREE.key] == (3, 3, None)
    assert widths["v1/mul8s_1L1G"] == (8, 8, None)


def test_widths_mix_in_one_assignment_and_files_reproduce_them(found):
    emulated, result, out = found
    library = axopt.load_library().with_multiplier(FOUR).with_multiplier(THREE)
    mixed = estimated = False
    for point in result.front.to_dict("records"):
        file = Assignment.load(Path(out) / point["assignment"])
        bits = {layer.bits for layer in file.layers.values()}
        used = {layer.multiplier for layer in file.layers.values()}
        mixed |= len(bits) > 1
        assert ((FOUR.key in used) or (THREE.key in used)) == (bits != {(8, 8)})
        axopt.assign_(emulated, file, library=library)
        assert current_assignment(emulated).layers == file.layers
        price = axopt.cost(emulated)
        assert price.rel_power == pytest.approx(point["rel_power"])
        assert ("rel_power" in price.intervals) == (FOUR.key in used)
        assert file.cost["intervals"].keys() == price.intervals.keys()
        if FOUR.key in used:
            estimated = True
            low, high = price.intervals["rel_power"]
            assert (point["rel_power_low"], point["rel_power_high"]) == pytest.approx((low, high))
            assert low < point["rel_power"] < high
    assert mixed
    assert estimated
    assert "est." in (out / "report.html").read_text()


def test_interval_of_a_cost_adds_up_over_the_layers(found):
    emulated, _, _ = found
    names = list(emulated.emulated_layers)
    axopt.assign_(emulated, {name: "mul8s_1L1G" for name in names})
    assert axopt.cost(emulated).intervals == {}
    axopt.assign_(emulated, {names[0]: FOUR})
    price = axopt.cost(emulated)
    share = price.macs[names[0]] / sum(price.macs.values())
    rest = price.rel_power - share * 0.07 / 0.425
    expected = (rest + share * 0.06 / 0.425, rest + share * 0.09 / 0.425)
    assert price.intervals["rel_power"] == pytest.approx(expected)
    assert "rel_area" not in price.intervals


def test_interval_of_power_under_data_is_scaled_as_the_power(found):
    emulated, _, _ = found
    bundled = axopt.load_library(narrow=True)["mul8x4u_2UU"]
    axopt.assign_(emulated, replace(bundled, intervals={"power_mw": (0.1, 0.2)}))
    price = axopt.cost(emulated, power="activity")
    low, high = price.intervals["rel_power"]
    assert low == pytest.approx(price.rel_power * 0.1 / bundled.power_mw)
    assert high == pytest.approx(price.rel_power * 0.2 / bundled.power_mw)


def test_reference_is_of_8_x_8_bits_even_if_only_a_narrow_option_is_exact():
    options = options_of([FOUR, axopt.load_library()["mul8s_1L1G"]], operand_order=False)
    assert default_reference(options).key == "v1/mul8s_1KV8"


def test_names_of_narrow_multipliers_are_options():
    options = options_of(["mul8x4u_2UU", "mul8u_1JFF"], operand_order=True)
    assert [(o.multiplier.name, o.swap) for o in options] == [
        ("mul8u_1JFF", False),
        ("mul8x4u_2UU", False),
        ("mul8x4u_2UU", True),
    ]


def test_layer_bits_in_a_file_are_checked():
    layer = {"multiplier": "a", "digest": "b", "swap": False}
    document = {"schema": 1, "layers": {"x": layer}}
    assert Assignment.from_json(json.dumps(document)).layers["x"].bits == (8, 8)
    for bits in ([8], [8, 9], [8, "4"], 8, None):
        layer["bits"] = bits
        with pytest.raises(
            axopt.errors.AssignmentError, match="bits must be two integers in 2..8"
        ):
            Assignment.from_json(json.dumps(document))
