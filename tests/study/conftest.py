"""What the tests of searches share."""

import pytest
import stripes

import axopt


@pytest.fixture(autouse=True)
def _no_plot(monkeypatch):
    """Draw nothing: the tests of reports and of the command line look at plots."""
    monkeypatch.setattr("axopt.report.write.pareto_png", lambda record: b"a plot")
    monkeypatch.setattr("axopt.report.write.history_png", lambda record: b"a plot")


@pytest.fixture(scope="module")
def data():
    return stripes.make_data((120, 60, 90), contrast=0.25)


@pytest.fixture(scope="module")
def model(data):
    return stripes.trained_net(data, steps=80)


@pytest.fixture
def emulated(model, data):
    return axopt.prepare(model, data.train.batches(50))
