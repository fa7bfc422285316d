"""Names of 0.1 that were renamed: they work, and say what the new name is."""

import importlib
import tomllib
from pathlib import Path

import pytest
import torch

import axopt
from axopt import model
from axopt.kernels import Quantiser
from axopt.layers import QuantParams

NAMES = [
    ("corrections", "Choice", "Correction"),
    ("corrections", "exact_steps", "exact_strides"),
    ("layers", "STEPS", "STRIDES"),
    ("report", "Choice", "LayerOption"),
    ("report", "Trial", "TrialRow"),
    ("study", "Choice", "Option"),
    ("study", "choices_of", "options_of"),
]


@pytest.mark.parametrize(("room", "old", "new"), NAMES)
def test_old_names_of_rooms_work_and_warn(room, old, new):
    module = importlib.import_module(f"axopt.{room}")
    words = rf"`axopt.{room}.{old}` is now `axopt.{room}.{new}`; .* removed in 0.3"
    with pytest.warns(FutureWarning, match=words) as caught:
        found = getattr(module, old)
    assert found is getattr(module, new)
    assert caught[0].filename == __file__
    assert old not in module.__all__
    with pytest.raises(AttributeError, match=f"'axopt.{room}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_a_function_that_is_removed_works_and_warns():
    emulated = axopt.prepare(torch.nn.Linear(8, 4), torch.randn(16, 8))
    axopt.assign_(emulated, "mul8s_1L1G")
    with pytest.warns(FutureWarning, match=r"`axopt.model.correct_together` is removed") as caught:
        model.correct_together(list(emulated.emulated_layers.values()), axopt.Corrections())
    assert caught[0].filename == __file__
    assert emulated.emulated_layers["0"].correction is not None
    assert "correct_together" not in model.__all__


@pytest.mark.parametrize(
    ("old", "new"), [("step", "stride"), ("zero_index", "zero_code"), ("indices", "codes")]
)
def test_old_attributes_of_formats_work_and_warn(old, new):
    params = QuantParams(torch.tensor(4.0), torch.tensor(16), stride=8)
    with pytest.warns(FutureWarning, match=f"`QuantParams.{old}` is now `QuantParams.{new}`"):
        assert getattr(params, old) == getattr(params, new)


def test_the_old_attributes_of_code_tables_work_and_warn():
    table = torch.arange(256).to(torch.uint8)
    with pytest.warns(FutureWarning, match="`Quantiser.codes` is now `Quantiser.code_of_level`"):
        assert Quantiser(torch.tensor(0.1), 64, table).codes is table
    params = QuantParams(torch.tensor(4.0), torch.tensor(16), stride=8)
    with pytest.warns(FutureWarning, match="`QuantParams.index_of_level` is now"):
        assert torch.equal(params.index_of_level, params.code_table)


def test_the_version_is_the_one_in_which_the_names_changed():
    with (Path(__file__).parents[1] / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["version"] == axopt.__version__
    assert axopt.__version__.startswith("0.2.")
