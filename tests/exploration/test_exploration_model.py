"""The additive model: what it learns from few points, and what it leaves alone."""

import numpy as np
import pytest

from axopt.exploration.additive_model import AdditiveModel, Prior
from axopt.exploration.forecast import ESTIMATED, Forecast
from axopt.exploration.predictions import Predictions
from axopt.exploration.programme import Programme
from axopt.exploration.space import Known, SearchSpace


@pytest.fixture
def network(rng):
    """True terms, and a model that begins with terms that are wrong by a factor."""
    true = rng.uniform(0.1, 1, (6, 4)) * np.array([0, 0.1, 0.3, 1])
    guess = true * np.exp(rng.normal(0, 0.4, true.shape))
    return true, AdditiveModel(Prior(guess, np.tile(np.arange(4), (6, 1)), ESTIMATED))


def sums(terms, points):
    return terms[np.arange(len(terms)), points].sum(1)


def test_measured_points_teach_about_others(network, rng):
    true, model = network
    points, others = (rng.integers(0, 4, (n, 6)) for n in (60, 200))
    points, others = points[points.any(1)], others[others.any(1)]

    def spread():
        return np.std(np.log(model.predict(others) / sums(true, others)))

    before = spread()
    model.fit(points, sums(true, points))
    assert spread() < 0.3 * before
    assert np.std(np.log(model.predict(points) / sums(true, points))) < 0.05


def test_options_without_evidence_change_with_those_like_them_only(network):
    true, model = network
    before = model.terms
    points = np.array([[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]])
    model.fit(points, 2 * sums(before, points))  # kind 1 is worse than thought
    change = np.log(model.terms / before)
    assert change[0, 1] > 0.05
    assert 0 < change[5, 1] < change[0, 1]
    assert abs(change[5, 3]) < change[5, 1]


def test_draws_differ_where_little_is_known(network, rng):
    true, model = network
    few = np.zeros((40, 6), int)
    few[:, 0] = 3  # only one option of one gene matters in what is measured
    few[:, 1] = np.arange(40) % 2
    model.fit(np.unique(few, axis=0), sums(true, np.unique(few, axis=0)))
    drawn = np.log([model.draw(rng) for _ in range(40)]).std(0)
    assert drawn[0, 3] < 0.8 * drawn[2:, 3].mean()


def test_options_that_a_gene_lacks_are_infinite():
    prior = Prior(np.array([[0.0, 1.0], [0.5, np.nan]]), np.array([[0, 1], [0, 0]]), ESTIMATED)
    model = AdditiveModel(prior)
    model.fit(np.array([[1, 0]]), np.array([2.0]))
    assert np.isposinf(model.terms[1, 1])
    assert np.isposinf(model.draw(np.random.default_rng(0))[1, 1])
    assert np.isfinite(model.predict(np.array([[0, 0], [1, 0]]))).all()


def test_rank_correlation_is_spearmans(rng):
    from scipy.stats import spearmanr

    guessed, found = rng.integers(1, 6, 40).astype(float), rng.integers(1, 6, 40).astype(float)
    predictions = Predictions()
    points = [(index,) for index in range(40)]
    predictions.predicted(points, guessed)
    for point, value in zip(points, found, strict=True):
        predictions.measured(point, float(value))
    expected = spearmanr(guessed, found).statistic
    assert predictions.summary()["rank_correlation"] == pytest.approx(expected)
    predictions.measured((99,), 1.0)  # never predicted
    assert predictions.summary()["n_predicted"] == 40


def test_options_far_beyond_the_limit_leave_the_programme_alone():
    """The levels of cost are spread over what is left, so few levels are enough."""
    errors = Known(0, ((0.0, 0.01, 100.0),) * 8, exact=False)
    costs = Known(1, tuple((1 + gene / 100, 0.5, -1e4) for gene in range(8)), exact=True)
    space = SearchSpace(tuple("abcdefgh"), (3,) * 8, known=(errors, costs), limits=(0.1, None))
    forecast = Forecast(space, 2)
    found, _ = Programme(space, 2).predicted_front(forecast, forecast.terms(), 64, space.limits)
    assert len(found) == 9
    assert found.max() == 1
