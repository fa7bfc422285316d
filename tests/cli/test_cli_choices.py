"""The command line names choices without importing the rooms that define them: they must agree."""

import inspect

import axopt
from axopt.cli import loading, search
from axopt.evaluation import METRICS
from axopt.exploration import DEFAULT_POPULATION, list_algorithms
from axopt.layers import CALIBRATORS, OVERFLOWS, PADDED_TAPS
from axopt.model import WEIGHT_SCALES


def test_choices_are_those_of_the_rooms():
    assert sorted(search.ALGORITHMS) == list_algorithms()
    assert sorted(loading.CALIBRATORS) == sorted(CALIBRATORS)
    assert loading.WEIGHT_SCALES == WEIGHT_SCALES
    assert loading.PADDED_TAPS == PADDED_TAPS
    assert loading.OVERFLOWS == OVERFLOWS
    assert set(loading.METRICS) <= set(METRICS.names())  # others may be registered


def test_default_population_is_the_same_everywhere():
    default = inspect.signature(axopt.search).parameters["population"].default
    assert search.POPULATION == default == DEFAULT_POPULATION
