"""The command line names choices without importing the rooms that define them: they must agree."""

import inspect

import axopt
from axopt.cli import loading, main
from axopt.evaluation import METRICS
from axopt.exploration import DEFAULT_POPULATION
from axopt.layers import CALIBRATORS, OVERFLOWS, PADDED_TAPS
from axopt.model import WEIGHT_SCALES
from axopt.study import SearchConfig


def test_choices_are_those_of_the_rooms():
    assert sorted(loading.CALIBRATORS) == sorted(CALIBRATORS)
    assert loading.WEIGHT_SCALES == WEIGHT_SCALES
    assert loading.PADDED_TAPS == PADDED_TAPS
    assert loading.OVERFLOWS == OVERFLOWS
    assert set(loading.METRICS) <= set(METRICS.names())  # others may be registered


def test_default_population_is_the_same_everywhere():
    default = inspect.signature(axopt.search).parameters["population"].default
    assert default == DEFAULT_POPULATION


def test_defaults_of_search_are_those_of_its_config():
    parameters = inspect.signature(axopt.search).parameters
    for name, value in vars(SearchConfig()).items():
        default = parameters[name].default
        settled = name == "budget" or value == {}  # of an argument that is None
        assert default is None if settled else default == value, name


def test_the_command_line_has_the_default_algorithm(capsys):
    assert main(["search", "--help"]) == 0
    default = SearchConfig().algorithm
    words = " ".join(capsys.readouterr().out.split())
    assert f"how assignments are proposed (default: {default})" in words
