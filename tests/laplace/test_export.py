"""Files of a Laplace predictor give what it gives, without Keras."""

import importlib.util

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("files are made on TensorFlow", allow_module_level=True)

from tests.helpers.export import assert_same, run  # noqa: E402
from tests.helpers.laplace import CLASSES, HELD_OUT, TARGETS, X, network  # noqa: E402
from tests.helpers.runtimes import Onnx  # noqa: E402
from tfhyper import Laplace, export  # noqa: E402

CASES = {
    "classes by draws": lambda: (
        Laplace(network()).fit(X, CLASSES).predictor(num_draws=3)
    ),
    "classes in closed form": lambda: (
        Laplace(network(), hessian="full").fit(X, CLASSES).predictor("closed_form")
    ),
    "targets by draws": lambda: (
        Laplace(network(2), "regression").fit(X, TARGETS).predictor(num_draws=3)
    ),
    "targets in closed form": lambda: (
        Laplace(network(2), "regression").fit(X, TARGETS).predictor("closed_form")
    ),
    "a target in closed form": lambda: (
        Laplace(network(1), "regression", "diag")
        .fit(X, TARGETS[:, :1])
        .predictor("closed_form")
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_saved_model(name, tmp_path):
    predictor = CASES[name]()
    predictor.fit_rejection(X, coverage=0.6)
    expected = predictor.predict(HELD_OUT)
    export.saved_model(predictor, str(tmp_path / "model"))
    found = run(tmp_path / "model", inputs=HELD_OUT)
    np.testing.assert_array_equal(found.pop("rejected"), expected.rejected)
    assert_same(found, expected)
    members = run(tmp_path / "model", "members", inputs=HELD_OUT)
    np.testing.assert_allclose(
        members["members"].swapaxes(0, 1), expected.members, atol=1e-5
    )
    if "member_variance" in members:
        variances = members["member_variance"].swapaxes(0, 1)
        np.testing.assert_allclose(variances, expected.member_variance, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["classes by draws", "classes in closed form", "targets in closed form"]
)
def test_onnx(name, tmp_path):
    for package in Onnx.needs:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    predictor = CASES[name]()
    path = str(tmp_path / Onnx.name)
    export.onnx(predictor, path, verbose=0)
    expected, found = predictor.predict(HELD_OUT), Onnx.run(path, inputs=HELD_OUT)
    members = found.pop("members")
    np.testing.assert_allclose(members.swapaxes(0, 1), expected.members, atol=1e-5)
    found.pop("member_variance", None)
    assert_same(found, expected)


def test_fresh_draws_are_refused(tmp_path):
    with pytest.raises(ValueError, match="made beforehand"):
        export.saved_model(
            CASES["classes by draws"](), str(tmp_path / "model"), sampling=True
        )
