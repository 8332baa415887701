"""Every dropout argument of Keras' layers is drawn by `dropout="sample"`."""

import inspect

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812

from tests.helpers.layers import normal, to_numpy
from tfhyper import PosteriorPredictor, export

NAMES = ("rate", "dropout", "recurrent_dropout")
SEQUENCES = (6, 8)


def arguments():
    """Returns (class, argument) of all layers of Keras that drop something."""
    classes = {
        name: getattr(keras.layers, name)
        for name in dir(keras.layers)
        if inspect.isclass(getattr(keras.layers, name))
    }
    return [
        (name, argument)
        for name, cls in sorted(classes.items())
        for argument in inspect.signature(cls.__init__).parameters
        if argument in NAMES or "drop" in argument
    ]


def recurrent(cls):
    return (lambda **options: cls(8, **options)), SEQUENCES


def cell(cls):
    return (lambda **options: L.RNN(cls(8, **options))), SEQUENCES


def listed(cls):
    """Attention that takes its sequences as a list."""

    def make(**options):
        layer = cls(**options)
        return lambda x: layer([x, x])

    return make, SEQUENCES


def attending(cls, *sizes):
    def make(**options):
        layer = cls(*sizes, **options)
        return lambda x: layer(x, x)

    return make, SEQUENCES


def convolving(cls, *shape):
    return (lambda **options: cls(2, 2, padding="same", **options)), shape


# Class -> what makes what is called on a tensor, and the shape of that.
CASES = {
    "AdditiveAttention": listed(L.AdditiveAttention),
    "AlphaDropout": (L.AlphaDropout, SEQUENCES),
    "Attention": listed(L.Attention),
    "ConvLSTM1D": convolving(L.ConvLSTM1D, 4, 3, 2),
    "ConvLSTM2D": convolving(L.ConvLSTM2D, 4, 3, 3, 2),
    "ConvLSTM3D": convolving(L.ConvLSTM3D, 3, 2, 2, 2, 2),
    "Dropout": (L.Dropout, SEQUENCES),
    "GRU": recurrent(L.GRU),
    "GRUCell": cell(L.GRUCell),
    "GaussianDropout": (L.GaussianDropout, SEQUENCES),
    "GroupQueryAttention": attending(L.GroupQueryAttention, 3, 2, 1),
    "LSTM": recurrent(L.LSTM),
    "LSTMCell": cell(L.LSTMCell),
    "MultiHeadAttention": attending(L.MultiHeadAttention, 2, 3),
    "SimpleRNN": recurrent(L.SimpleRNN),
    "SimpleRNNCell": cell(L.SimpleRNNCell),
    "SpatialDropout1D": (L.SpatialDropout1D, SEQUENCES),
    "SpatialDropout2D": (L.SpatialDropout2D, (3, 3, 4)),
    "SpatialDropout3D": (L.SpatialDropout3D, (2, 2, 2, 4)),
}


def test_each_such_argument_has_a_case():
    found = arguments()
    assert {name for name, _ in found} == set(CASES)
    assert {argument for _, argument in found} == set(NAMES)


@pytest.mark.parametrize("name, argument", arguments())
def test_it_is_drawn_once_for_a_draw(name, argument):
    keras.utils.set_random_seed(0)
    make, shape = CASES[name]
    inputs = keras.Input(shape)
    outputs = L.Flatten()(make(**{argument: 0.5, "seed": 1})(inputs))
    predictor = PosteriorPredictor(
        keras.Model(inputs, outputs), 3, dropout="sample", outputs="mean"
    )
    x = normal(5, *shape)
    members = predictor.predict(x).members
    assert np.ptp(members, axis=0).max() > 1e-4
    # The same masks at each call of a draw, whatever else is in the batch.
    np.testing.assert_allclose(predictor.predict(x).members, members, atol=1e-5)
    found = predictor.predict(x[1:4], batch_size=2).members
    if name in ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"):
        # By the place in the data, as `MCDropout`.
        found = predictor.predict(x, batch_size=2).members
        np.testing.assert_allclose(found, members, atol=1e-5)
    else:
        np.testing.assert_allclose(found, members[:, 1:4], atol=1e-5)


def ones_network(make, shape):
    """The mask of a draw for each example: outputs of inputs that are all one."""
    inputs = keras.Input(shape)
    model = keras.Model(inputs, make(inputs))
    predictor = PosteriorPredictor(model, 2, dropout="sample", outputs="mean")
    # A member's, as a model: its outputs are sequences.
    plain = predictor.materialize(1)
    return to_numpy(plain(np.ones((3, *shape), "float32")))


def test_dropout_of_a_recurrent_layers_inputs_is_one_mask_a_sequence():
    layer = L.SimpleRNN(
        32,
        activation=None,
        kernel_initializer="identity",
        recurrent_initializer="zeros",
        return_sequences=True,
        dropout=0.5,
        seed=1,
    )
    masks = ones_network(layer, (6, 32))
    np.testing.assert_allclose(masks, np.broadcast_to(masks[:1, :1], masks.shape))
    assert set(np.unique(masks)) == {0.0, 2.0}


def test_recurrent_dropout_is_one_mask_a_sequence():
    # h_t = 1 + m h_{t - 1} with m in (0, 2), of one mask: 1, 1, ... or 2^t - 1.
    layer = L.SimpleRNN(
        32,
        activation=None,
        kernel_initializer="identity",
        recurrent_initializer="identity",
        return_sequences=True,
        recurrent_dropout=0.5,
        seed=2,
    )
    y = ones_network(layer, (6, 32))
    kept = y[0, 1] > 1
    assert 0 < kept.sum() < 32
    steps = np.arange(1, 7)[:, None]
    expected = np.where(kept, 2.0**steps - 1, 1.0)
    np.testing.assert_allclose(y, np.broadcast_to(expected, y.shape), rtol=1e-5)


def test_a_convolutional_lstm_has_one_mask_a_sequence():
    # Gates of 0 but the inputs' by the candidate: c_t = c_{t-1} / 2 + tanh(m x) / 2.
    layer = L.ConvLSTM1D(
        2,
        1,
        use_bias=False,
        kernel_initializer=keras.initializers.Constant(0.0),
        recurrent_initializer="zeros",
        recurrent_activation=lambda x: 0.5 + 0.0 * x,
        return_sequences=True,
        dropout=0.5,
        seed=3,
    )
    inputs = keras.Input((4, 3, 5))
    model = keras.Model(inputs, layer(inputs))
    kernel = np.zeros((1, 5, 8), "float32")
    kernel[:, :, 4:6] = np.arange(1, 11).reshape(1, 5, 2) / 20  # the candidate's
    layer.cell.kernel.assign(kernel)
    predictor = PosteriorPredictor(model, 2, dropout="sample", outputs="mean")
    y = to_numpy(predictor.materialize(0)(np.ones((2, 4, 3, 5), "float32")))
    # Inverted: tanh(m x W) of each step, which one mask makes the same.
    h = np.arctanh(2 * y)
    c = [h[:, t] for t in range(4)]
    candidates = [2 * (c[t] - (c[t - 1] / 2 if t else 0)) for t in range(4)]
    for one in candidates[1:]:
        np.testing.assert_allclose(one, candidates[0], atol=1e-5)
    assert np.ptp(candidates[0]) > 0.01


@pytest.mark.parametrize("name", ["Attention", "AdditiveAttention"])
def test_attention_drops_scores_of_a_draw_with_its_masks(name, tmp_path):
    keras.utils.set_random_seed(0)
    tokens = np.array([[1, 2, 3, 0, 0], [4, 5, 0, 0, 0], [6, 7, 8, 1, 2]])
    inputs = keras.Input((5,), dtype="int32")
    x = L.Embedding(9, 4, mask_zero=True)(inputs)

    def model(rate):
        y = getattr(L, name)(dropout=rate, seed=1)([x, x])
        return keras.Model(inputs, L.Dense(2)(L.Flatten()(y)))

    almost = PosteriorPredictor(model(1e-7), 2, dropout="sample", outputs="mean")
    one = almost.model
    expected = to_numpy(one(tokens))
    np.testing.assert_allclose(almost.predict(tokens).mean, expected, atol=1e-6)
    predictor = PosteriorPredictor(model(0.5), 3, dropout="sample", outputs="mean")
    members = predictor.predict(tokens).members
    assert np.ptp(members, axis=0).max() > 1e-4
    predictor.save(tmp_path / "it.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "it.tfhyper")
    np.testing.assert_allclose(loaded.predict(tokens).members, members, atol=1e-6)
    mean = PosteriorPredictor(
        predictor.model, dropout="sample", deterministic=True, outputs="mean"
    )
    np.testing.assert_allclose(
        mean.predict(tokens).mean, to_numpy(predictor.model(tokens)), atol=1e-6
    )
    if keras.backend.backend() == "tensorflow":
        from tests.helpers.export import run

        export.saved_model(predictor, tmp_path / "saved")
        found = run(tmp_path / "saved", inputs=tokens.astype("int32"))
        np.testing.assert_allclose(found["mean"], members.mean(0), atol=1e-5)
