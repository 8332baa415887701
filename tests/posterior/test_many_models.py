"""Predictions of many kinds of models are those of their draws, one by one."""

import copy

import keras
import numpy as np
import pytest

import tfhyper
from tests.helpers.many_models import COUNT, KINDS

DRAWS = 3


# Of the module, so that all that is tried with a kind follows one another, with one
# predictor, whose functions are traced once.
@pytest.fixture(scope="module", params=KINDS)
def prepared(request):
    """Returns the kind, a predictor, and its inputs."""
    keras.utils.set_random_seed(7)
    kind = KINDS[request.param]
    model, rng = kind.make(), np.random.default_rng(0)
    for variable in model.weights:  # BatchNorm's too: none is the identity
        if "float" in variable.dtype and "moving" not in variable.name:
            noise = rng.normal(size=variable.shape) * 0.05
            variable.assign(variable + noise.astype("float32"))
    x = kind.data(rng)
    predictor = tfhyper.PosteriorPredictor(model, num_draws=DRAWS, **kind.options)
    predictor.calibrate(x, verbose=0)
    return kind, predictor, x


def part(x, rows):
    return keras.tree.map_structure(lambda array: array[rows], x)


def members(prediction):
    """Returns all that the draws say, (draws, examples, values)."""
    found = [prediction.members]
    if isinstance(prediction, tfhyper.posterior.RegressionPrediction):
        found.append(prediction.member_variance)
        return np.stack(found, -1)
    return prediction.members


def read(outputs, predictor):
    """Returns the numbers of a plain Keras model as predictions: float64 NumPy."""
    if isinstance(outputs, dict):
        outputs = [outputs["mean"], outputs["variance"]]
    arrays = [np.asarray(x, "float64") for x in keras.tree.flatten(outputs)]
    if predictor.outputs == "mean":
        return np.concatenate([arrays[0], np.zeros_like(arrays[0])], -1)
    if predictor.outputs == "logits":
        powers = np.exp(arrays[0] - arrays[0].max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)
    return np.concatenate(arrays, -1)


def one_by_one(predictor, x):
    """Returns what the draws give as plain Keras models, called once each.

    Operation by operation, as nothing is called twice; but for half precision, which a
    graph rounds at other places.
    """
    if any("16" in (layer.compute_dtype or "") for layer in predictor.model.layers):
        networks = [predictor.materialize(i) for i in range(predictor.num_networks)]
        return np.stack([read(n.predict_on_batch(x), predictor) for n in networks])
    tensors = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
    found = []
    for i in range(predictor.num_networks):
        outputs = predictor.materialize(i)(tensors, training=False)
        outputs = keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)
        found.append(read(outputs, predictor))
    return np.stack(found)


def test_there_are_thirty_kinds():
    assert len(KINDS) >= 30


def test_the_draws_of_a_prediction_are_those_one_by_one(prepared):
    kind, predictor, x = prepared
    expected = one_by_one(predictor, x)
    found = members(predictor.predict(x))
    np.testing.assert_allclose(found, expected, atol=kind.tolerance)
    assert np.ptp(found, axis=0).max() > 1e-4, "the draws differ"
    again = members(predictor.predict(x))
    np.testing.assert_array_equal(found, again)


def test_a_prediction_does_not_depend_on_the_batches(prepared):
    kind, predictor, x = prepared
    found = members(predictor.predict(x))
    split = members(predictor.predict(x, batch_size=5))
    np.testing.assert_allclose(split, found, atol=kind.tolerance)
    # Enough of one size, so that all draws predict together, where they can.
    times = -(-64 * 2 // COUNT)
    many = keras.tree.map_structure(lambda array: np.concatenate([array] * times), x)
    expected = members(predictor.predict(many))
    together = members(predictor.predict(many, batch_size=2))
    np.testing.assert_allclose(together, expected, atol=kind.tolerance)


def test_a_copy_of_a_predictor_gives_the_same(prepared):
    _, predictor, x = prepared
    found = members(copy.deepcopy(predictor).predict(x))
    np.testing.assert_allclose(found, members(predictor.predict(x)), atol=1e-6)


def test_a_predictor_from_its_file_gives_the_same(prepared, tmp_path):
    kind, predictor, x = prepared
    path = str(tmp_path / "model.tfhyper")
    if not kind.saves:
        with pytest.raises((TypeError, ValueError)):
            predictor.save(path)
            tfhyper.PosteriorPredictor.load(path)
        return
    predictor.save(path)
    loaded = tfhyper.PosteriorPredictor.load(path)
    found = members(loaded.predict(x))
    np.testing.assert_allclose(found, members(predictor.predict(x)), atol=1e-6)


def test_an_exported_predictor_gives_the_same(prepared, tmp_path):
    tf = pytest.importorskip("tensorflow")
    kind, predictor, x = prepared
    path = str(tmp_path / "model")
    tfhyper.export.saved_model(predictor, path)
    served = tf.saved_model.load(path).signatures["members"]
    tensors = predictor.model.inputs
    if len(tensors) == 1:
        named = {"inputs": x}
    elif isinstance(x, dict):
        named = x
    else:
        named = {tensor.name: part for tensor, part in zip(tensors, x, strict=True)}
    specs = served.structured_input_signature[1]
    found = served(**{k: tf.cast(part, specs[k].dtype) for k, part in named.items()})
    expected = predictor.predict(x)
    found = {k: np.swapaxes(part.numpy(), 0, 1) for k, part in found.items()}
    tolerance = max(kind.tolerance, 2e-6)
    np.testing.assert_allclose(found["members"], expected.members, atol=tolerance)
    if "member_variance" in found:
        variance = expected.member_variance
        np.testing.assert_allclose(found["member_variance"], variance, atol=tolerance)


@pytest.mark.parametrize("form", ["parallelizing", "widening"])
def test_one_network_of_all_draws_is_a_plain_keras_model_or_refused(prepared, form):
    kind, predictor, x = prepared
    try:
        inside = tfhyper.PosteriorPredictor(
            predictor.model, num_draws=DRAWS, averaging=form, **kind.options
        )
    except ValueError as error:
        assert "Received" in str(error) or "model" in str(error)
        return
    inside.calibrate(x, verbose=0)
    expected = one_by_one(inside, x)
    found = members(inside.predict(x))
    np.testing.assert_allclose(found, expected, atol=kind.tolerance)
    split = members(inside.predict(x, batch_size=5))
    np.testing.assert_allclose(split, found, atol=kind.tolerance)
