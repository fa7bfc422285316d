"""What the tests of searches share."""

import pytest


@pytest.fixture(autouse=True)
def _no_plot(monkeypatch):
    """Draw nothing: the tests of reports and of the command line look at plots."""
    monkeypatch.setattr("axopt.report.write.pareto_png", lambda record: b"a plot")
    monkeypatch.setattr("axopt.report.write.history_png", lambda record: b"a plot")
