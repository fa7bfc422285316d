"""`evaluate` and `retrain` state power under data where gate lists exist."""

import json
import re

import torch

import axopt as package
from axopt.cli.loading import emulate, load
from axopt.cli.prices import power_text
from axopt.cli.source import Source
from axopt.multipliers import Multiplier, add_to_library

SOURCE = Source(model="digits_cnn", weights=None, data="digits", calibration_samples=60)


def saved(file, multiplier):
    emulated = emulate(SOURCE, *load(SOURCE))
    package.assign_(emulated, multiplier)
    package.model.current_assignment(emulated, source=SOURCE.as_json()).save(file)
    return emulated


def test_evaluate_states_it_beside_published_power(axopt, tmp_path):
    emulated = saved(tmp_path / "x.json", "mul8s_1KR3")
    words = ["evaluate", "--assignment", "x.json", "--samples", "5", "--quiet", "--json"]
    result = json.loads(axopt(*words).out)
    expected = package.cost(emulated, power="activity")
    assert result["cost_under_data"]["rel_power"] == expected.rel_power
    assert result["cost_under_data"]["layer_power_mw"] == expected.layer_power_mw
    assert power_text(package.cost(emulated), expected) == (
        f"{result['cost']['rel_power']:.4f} of v1/mul8s_1KV8, {expected.rel_power:.4f} under data"
    )


def test_evaluate_says_which_multiplier_has_no_gates(axopt, tmp_path):
    table = package.load_library().exact(signed=True).table & ~1
    mine = Multiplier.from_table(
        "gatefree", table, signed=True, power_mw=0.2, area_um2=9, delay_ns=1
    )
    add_to_library(mine, tmp_path / "lib")
    saved(tmp_path / "x.json", mine)
    words = ["evaluate", "--assignment", "x.json", "--samples", "5", "--library", "lib"]
    done = axopt(*words)
    assert done.code == 0
    assert "power under data is not known: multiplier user/gatefree has no gate list" in done.err
    assert "power    0.4706 of v1/mul8s_1KV8\n" in done.out


def test_retrain_states_it(axopt):
    torch.manual_seed(0)
    words = ["retrain", "--multiplier", "mul8s_1L1G", "--epochs", "1", "--train-samples", "20"]
    words += ["--validation-samples", "10", "--test-samples", "10", "--out", "out", "--quiet"]
    words += ["--calibration-samples", "60"]
    done = axopt(*words)
    assert done.code == 0, done.err
    assert re.search(r"^power 0\.2965 of v1/mul8s_1KV8, 0\.\d{4} under data$", done.out, re.M)
