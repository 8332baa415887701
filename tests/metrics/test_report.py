"""The report of one draw."""

import numpy as np
import pytest
import scipy.special
from sklearn.metrics import log_loss

from tfhyper import metrics


def test_single_draw_report_is_the_median_of_the_draws():
    rng = np.random.default_rng(0)
    members = scipy.special.softmax(rng.normal(size=(4, 50, 3)), axis=-1)
    labels = rng.integers(0, 3, 50)
    report = metrics.single_draw_report(labels, members)
    losses = [log_loss(labels, member, labels=range(3)) for member in members]
    errors = [(member.argmax(-1) != labels).mean() for member in members]
    np.testing.assert_allclose(report["nll"], np.median(losses), rtol=1e-6)
    np.testing.assert_allclose(report["error"], np.median(errors))
    assert set(report) == {"error", "nll", "brier", "ece"}


def test_single_draw_report_needs_draws():
    with pytest.raises(ValueError, match="draws, batch, classes"):
        metrics.single_draw_report([0], [[1.0, 0.0]])
