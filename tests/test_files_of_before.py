"""Files of the version before: the same predictions, the same training."""

import shutil

import numpy as np
import pytest

import tfhyper
from tests.helpers import version_before
from tests.helpers.version_before import EPOCHS, FOLDER, X


@pytest.fixture(scope="module")
def expected():
    with np.load(FOLDER / "expected.npz") as arrays:
        return dict(arrays)


def test_a_predictor(expected):
    predictor = tfhyper.PosteriorPredictor.load(FOLDER / "predictor.tfhyper")
    found = predictor.predict(X)
    # Another processor rounds otherwise.
    np.testing.assert_allclose(found.members, expected["predictor"], atol=1e-5)
    np.testing.assert_array_equal(found.rejected, expected["rejected"])
    assert (predictor.seed, predictor.num_draws) == (5, 3)


def test_a_deep_ensemble(expected):
    ensemble = tfhyper.DeepEnsemble.load(FOLDER / "ensemble.tfhyper")
    found = ensemble.predict(X).members
    np.testing.assert_allclose(found, expected["ensemble"], atol=1e-5)
    assert (ensemble.num_members, ensemble.draws_per_member) == (2, 2)


def test_the_same_draws_are_made_of_the_same_seed(expected):
    predictor = tfhyper.PosteriorPredictor(
        version_before.network(), num_draws=3, seed=5
    )
    found = predictor.calibrate(X, verbose=0).predict(X).members
    np.testing.assert_allclose(found, expected["predictor"], atol=1e-5)


def test_a_training_goes_on(expected, tmp_path):
    pytest.importorskip("tensorflow")
    folder = tmp_path / "workdir"
    shutil.copytree(FOLDER / "workdir", folder)
    model, history = version_before.train(folder, EPOCHS)
    assert len(history["loss"]) == EPOCHS
    for i, value in enumerate(model.get_weights()):
        np.testing.assert_allclose(value, expected[f"weight{i}"], atol=1e-5)
