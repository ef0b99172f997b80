"""Fixtures of the tests of the loop."""

import pytest


@pytest.fixture
def no_loss_plot(monkeypatch):
    """Runs do not plot the loss, which takes longer than a tiny run."""
    monkeypatch.setattr("turnwise.training.loggers.plot_loss", lambda *_, **__: None)
