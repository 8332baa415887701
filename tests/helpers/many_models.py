"""Models of many kinds, as people have them, and data for each."""

import dataclasses
from collections.abc import Callable

import keras
from keras import layers as L  # noqa: N812
from keras import ops

import tfhyper

COUNT = 12


@dataclasses.dataclass
class Kind:
    """One kind of model.

    Attributes:
        make: returns the model.
        data: returns COUNT inputs of the model, from a NumPy generator.
        options: of its predictor.
        saves: whether it can be in a file that loads in safe mode.
        tolerance: of members, where types are of half precision.
    """

    make: Callable[[], keras.Model]
    data: Callable
    options: dict = dataclasses.field(default_factory=dict)
    saves: bool = True
    tolerance: float = 1e-6


KINDS = {}


def kind(data, saves=True, tolerance=1e-6, **options):
    """Enters a function that makes a model under its name."""

    def enter(make):
        name = make.__name__
        KINDS[name] = Kind(make, data, options, saves, tolerance)
        return make

    return enter


def vectors(*names, size=6):
    """Returns what makes vectors, in a dict of these names if there are some."""

    def data(rng):
        arrays = [
            rng.normal(size=(COUNT, size)).astype("float32")
            for _ in range(max(1, len(names)))
        ]
        # Not in the order of the model.
        pairs = zip(names, arrays, strict=False)
        return dict(reversed(list(pairs))) if names else arrays[0]

    return data


def two_vectors(rng):
    return [rng.normal(size=(COUNT, 6)).astype("float32") for _ in range(2)]


def images(rng):
    return rng.normal(size=(COUNT, 8, 8, 2)).astype("float32")


def sequences(rng):
    return rng.normal(size=(COUNT, 5, 4)).astype("float32")


def tokens(rng):
    found = rng.integers(1, 9, (COUNT, 5))
    for row, length in enumerate(rng.integers(1, 6, COUNT)):
        found[row, length:] = 0
    return found


def bayes(units, **options):
    return tfhyper.layers.BayesDense(units, initial_scale=0.5, **options)


def hyper_conv(filters, **options):
    return tfhyper.layers.HyperConv2D(filters, 3, padding="same", **options)


class Scaled(keras.layers.Layer):
    """A user's layer whose config leaves out what it does."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, inputs):
        return self.factor * self.scale * inputs


class AlwaysOn(keras.layers.Dropout):
    """Dropout as books have it."""

    def call(self, inputs):
        return super().call(inputs, training=True)


class Sampling(keras.layers.Layer):
    """The noise of a variational autoencoder."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.generator = keras.random.SeedGenerator(1)

    def call(self, inputs):
        noise = keras.random.normal(ops.shape(inputs), seed=self.generator)
        return inputs + 0.3 * noise


def relu(x):
    """A user's activation, by a name that Keras has too."""
    return ops.maximum(x, 0.1 * x)


def functional(body, *inputs):
    """Returns a model of a function of inputs."""
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], body(*inputs))


def vector(name=None, size=6):
    return keras.Input((size,), name=name)


@kind(vectors())
def logistic_regression():
    return keras.Sequential([vector(), bayes(3)])


@kind(vectors(), outputs="mean")
def linear_regression():
    return keras.Sequential([vector(), bayes(1, use_bias=False)])


@kind(vectors())
def last_layer():
    return keras.Sequential([vector(), L.Dense(80, activation="relu"), bayes(3)])


@kind(vectors())
def hyper_without_bias():
    return keras.Sequential([vector(), tfhyper.layers.HyperDense(3, use_bias=False)])


@kind(vectors())
def perceptron():
    return keras.Sequential(
        [vector(), bayes(8, activation="relu"), bayes(8, activation="tanh"), bayes(3)]
    )


@kind(vectors())
def wide_perceptron():
    return keras.Sequential(
        [vector(), bayes(90, activation="relu"), bayes(60), bayes(3)]
    )


@kind(vectors())
def multiplicative_flows():
    return keras.Sequential(
        [vector(), tfhyper.layers.MNFDense(8, activation="relu"), L.Dense(3)]
    )


@kind(vectors())
def generated_factors():
    hidden = tfhyper.layers.HyperDense(8, activation="relu", rank=2)
    return keras.Sequential([vector(), hidden, L.Dense(3)])


@kind(vectors())
def rank_one_members():
    hidden = tfhyper.layers.RankOneDense(8, activation="relu", members=2)
    head = tfhyper.layers.RankOneDense(3, posterior="cauchy", members=3)
    return keras.Sequential([vector(), hidden, head])


@kind(vectors())
def bayesian_hypernetwork():
    return keras.Sequential(
        [vector(), tfhyper.layers.BayesHyperDense(8, activation="relu"), L.Dense(3)]
    )


@kind(vectors())
def gaussian_process():
    return keras.Sequential([vector(), gaussian_process_head()])


@kind(vectors())
def mean_field():
    hidden = bayes(8, activation="relu")
    head = gaussian_process_head(inference="mean_field")
    return keras.Sequential([vector(), hidden, head])


def gaussian_process_head(**options):
    options = {"covariance": "per_class", "seed": 1, **options}
    return tfhyper.layers.RandomFeatureGaussianProcess(3, 16, **options)


@kind(vectors())
def variational_last_layer():
    hidden = tfhyper.layers.SpectralDense(8, activation="relu")
    return keras.Sequential([vector(), hidden, tfhyper.layers.VBLLDense(3)])


@kind(vectors())
def variational_regression():
    return keras.Sequential([vector(), tfhyper.heads.VBLLRegression(2)])


@kind(images)
def convolutions():
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            hyper_conv(4, activation="relu"),
            L.MaxPooling2D(),
            hyper_conv(6),
            L.ReLU(),
            L.Flatten(),
            L.Dense(3),
        ]
    )


@kind(images)
def convolutions_with_norms():
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            hyper_conv(4),
            L.BatchNormalization(),
            L.ReLU(),
            tfhyper.layers.BayesConv2D(5, 3, strides=2),
            L.BatchNormalization(scale=False, center=False),
            L.GlobalAveragePooling2D(),
            L.Dense(3, activation="softmax"),
        ]
    )


@kind(images)
def simplex_of_convolutions_and_norms():
    x = keras.Input((8, 8, 2))
    y = L.ReLU()(L.BatchNormalization()(L.Conv2D(4, 3)(x)))
    y = L.BatchNormalization()(L.Conv2D(4, 3, strides=2)(y))
    y = L.Dense(3)(L.GlobalAveragePooling2D()(y))
    kit = tfhyper.kits.subspace("simplex", spread=1.0, seed=3)
    return tfhyper.convert(keras.Model(x, y), kit)


@kind(images)
def residual():
    def block(x):
        y = hyper_conv(4)(L.ReLU()(L.BatchNormalization()(x)))
        return L.Add()([x, hyper_conv(4)(L.ReLU()(L.BatchNormalization()(y)))])

    def body(x):
        x = block(block(L.Conv2D(4, 3, padding="same")(x)))
        return L.Dense(3)(L.GlobalAveragePooling2D()(x))

    return functional(body, keras.Input((8, 8, 2)))


@kind(images)
def depthwise():
    def body(x):
        x = tfhyper.layers.BayesDepthwiseConv2D(3, activation="relu")(x)
        return L.Dense(3)(L.GlobalMaxPooling2D()(x))

    return functional(body, keras.Input((8, 8, 2)))


@kind(sequences)
def one_dimension():
    return keras.Sequential(
        [
            keras.Input((5, 4)),
            tfhyper.layers.HyperConv1D(6, 3, padding="causal", activation="relu"),
            L.GlobalAveragePooling1D(),
            L.Dense(3),
        ]
    )


@kind(two_vectors)
def two_inputs():
    def body(a, b):
        return bayes(3)(L.Concatenate()([bayes(5, activation="relu")(a), b]))

    return functional(body, vector("first"), vector("second"))


@kind(vectors("zebra", "ant"))
def inputs_by_name():
    inputs = {"zebra": vector("zebra"), "ant": vector("ant")}
    x = L.Subtract()([bayes(5)(inputs["zebra"]), L.Dense(5)(inputs["ant"])])
    return keras.Model(inputs, L.Dense(3)(x))


@kind(vectors("zebra", "ant"))
def listed_inputs_given_by_name():
    zebra, ant = vector("zebra"), vector("ant")
    x = L.Subtract()([bayes(5)(zebra), L.Dense(5)(ant)])
    return keras.Model([zebra, ant], L.Dense(3)(x))


@kind(vectors(), outputs="mean_and_variance")
def outputs_by_name():
    def body(x):
        x = bayes(8, activation="relu")(x)
        variance = L.Dense(1, activation="softplus", name="a")(x)
        return {"variance": variance, "mean": L.Dense(1, name="z")(x)}

    return functional(body, vector())


@kind(vectors(), outputs="mean_and_variance")
def two_outputs():
    def body(x):
        x = bayes(8, activation="relu")(x)
        return [L.Dense(1, name="z")(x), L.Dense(1, activation="softplus", name="a")(x)]

    return functional(body, vector())


@kind(tokens)
def masked_recurrent():
    def body(x):
        x = L.LSTM(5)(L.Embedding(9, 4, mask_zero=True)(x))
        return bayes(3)(x)

    return functional(body, keras.Input((5,), dtype="int32"))


@kind(tokens)
def masked_mean():
    def body(x):
        x = L.Embedding(9, 4, mask_zero=True)(x)
        x = L.BatchNormalization()(tfhyper.layers.HyperConv1D(6, 1)(x))
        return L.Dense(3)(L.GlobalAveragePooling1D()(x))

    return functional(body, keras.Input((5,), dtype="int32"))


@kind(sequences)
def bidirectional():
    return keras.Sequential(
        [
            keras.Input((5, 4)),
            L.Masking(),
            L.Bidirectional(L.GRU(3, return_sequences=True)),
            L.TimeDistributed(L.Dense(4, activation="relu")),
            L.GlobalMaxPooling1D(),
            bayes(3),
        ]
    )


@kind(sequences)
def attention():
    def body(x):
        x = L.LayerNormalization()(L.Add()([x, L.MultiHeadAttention(2, 3)(x, x)]))
        x = L.Dense(4)(bayes(8, activation="gelu")(x))
        return L.Dense(3)(x[:, 0])

    return functional(body, keras.Input((5, 4)))


def drawn(layer, **options):
    posterior = tfhyper.layers.GaussianPosterior(initial_scale=0.5)
    return tfhyper.layers.RandomVariables(layer, posterior, **options)


@kind(tokens)
def random_variables():
    def body(x):
        x = drawn(L.Embedding(9, 4, mask_zero=True))(x)
        x = drawn(L.MultiHeadAttention(2, 3), where=lambda v: v.name == "bias")(x, x)
        x, *state = drawn(L.LSTM(4, return_sequences=True, return_state=True))(x)
        return L.Dense(3)(drawn(L.LSTM(4))(x, initial_state=state))

    return functional(body, keras.Input((5,), dtype="int32"))


@kind(sequences, dropout="sample")
def random_variables_and_dropout():
    def body(x):
        posterior = tfhyper.layers.GeneratedPosterior(hidden_units=4, code_units=3)
        lstm = L.LSTM(5, dropout=0.3, recurrent_dropout=0.2, seed=1)
        attention = L.MultiHeadAttention(2, 3, dropout=0.3, seed=2)
        x = L.Add()([x, drawn(attention)(x, x)])
        return L.Dense(3)(tfhyper.layers.RandomVariables(lstm, posterior)(x))

    return functional(body, keras.Input((5, 4)))


@kind(vectors())
def shared_layer():
    def body(x):
        layer = bayes(6, activation="relu")
        return L.Dense(3)(layer(layer(x)))

    return functional(body, vector())


@kind(two_vectors)
def siamese():
    branch = functional(lambda x: bayes(4)(L.Dense(5, activation="relu")(x)), vector())

    def body(a, b):
        return L.Dense(3)(ops.abs(branch(a) - branch(b)))

    return functional(body, vector("left"), vector("right"))


@kind(vectors())
def nested():
    inner = keras.Sequential([vector(), L.Dense(6, activation="relu", name="dense")])
    outer = functional(lambda x: L.Dense(6, name="dense")(inner(x)), vector())
    return keras.Sequential([vector(), outer, bayes(3)])


@kind(vectors(), tolerance=2e-3)
def mixed_precision():
    return keras.Sequential(
        [
            vector(),
            bayes(8, activation="relu", dtype="mixed_bfloat16"),
            L.Dense(3, activation="softmax", dtype="mixed_bfloat16"),
            L.Activation("linear", dtype="float32"),
        ]
    )


@kind(vectors())
def double_precision():
    return keras.Sequential(
        [
            keras.Input((6,), dtype="float64"),
            bayes(8, activation="relu", dtype="float64"),
            L.BatchNormalization(dtype="float64"),
            L.Dense(3, dtype="float64"),
        ]
    )


@kind(images)
def norm_of_another_axis():
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            hyper_conv(4),
            L.BatchNormalization(axis=1, scale=False),
            L.GlobalAveragePooling2D(),
            L.Dense(3),
        ]
    )


@kind(images)
def frozen_norm():
    norm = L.BatchNormalization()
    norm.trainable = False
    return keras.Sequential(
        [keras.Input((8, 8, 2)), hyper_conv(4), norm, L.Flatten(), L.Dense(3)]
    )


@kind(vectors(), saves=False)
def lambdas():
    return keras.Sequential(
        [vector(), bayes(6), L.Lambda(lambda x: 2 * x), L.Lambda(relu), L.Dense(3)]
    )


@kind(vectors(), saves=False)
def functions_as_activations():
    return keras.Sequential(
        [
            vector(),
            L.Dense(6, activation=lambda x: ops.relu(x) ** 2),
            bayes(6, activation=relu),
            L.Dense(3),
        ]
    )


@kind(vectors(), saves=False)
def custom_layer():
    scaled = Scaled()
    scaled.factor = 3.0
    return keras.Sequential([vector(), bayes(6), scaled, L.Dense(3)])


@kind(vectors(), saves=False)
def dropout_of_a_book():
    return keras.Sequential(
        [vector(), L.Dense(8, activation="relu"), AlwaysOn(0.5), L.Dense(3)]
    )


@kind(vectors(), saves=False)
def sampled_code():
    return keras.Sequential([vector(), L.Dense(4), Sampling(), bayes(3)])


@kind(vectors(), dropout="sample")
def dropout_in_training_mode():
    def body(x):
        x = L.Dropout(0.5)(L.Dense(8, activation="relu")(x), training=True)
        return L.Dense(3)(x)

    return functional(body, vector())


@kind(images)
def concrete_dropout():
    def dropped(layer):
        return tfhyper.layers.ConcreteDropout(layer, 0.3, kl_weight=0.01)

    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            dropped(L.Conv2D(4, 3, activation="relu")),
            L.GlobalAveragePooling2D(),
            dropped(L.Dense(3)),
        ]
    )


@kind(sequences)
def dropped_weights():
    posterior = tfhyper.layers.BernoulliPosterior(0.3)
    lstm = tfhyper.layers.RandomVariables(L.LSTM(5), posterior)
    return keras.Sequential([keras.Input((5, 4)), lstm, L.Dense(3)])


@kind(vectors())
def variational_dropout():
    hidden = bayes(8, activation="relu", prior="log_uniform")
    return keras.Sequential([vector(), hidden, bayes(3, prior="log_uniform")])


@kind(tokens, dropout="sample")
def dropped_scores():
    def body(x):
        x = L.Embedding(9, 4, mask_zero=True)(x)
        x = L.Attention(dropout=0.3, seed=1)([x, x])
        return L.Dense(3)(L.GlobalAveragePooling1D()(x))

    return functional(body, keras.Input((5,), dtype="int32"))


@kind(vectors())
def mc_dropout():
    return keras.Sequential([vector(), tfhyper.layers.MCDropout(0.3), L.Dense(3)])


@kind(tokens, dropout="sample")
def recurrent_dropout():
    def body(x):
        x = L.Embedding(9, 4, mask_zero=True)(x)
        return L.Dense(3)(L.LSTM(5, dropout=0.3, recurrent_dropout=0.2)(x))

    return functional(body, keras.Input((5,), dtype="int32"))


@kind(sequences, dropout="sample")
def attention_dropout():
    def body(x):
        x = L.Add()([x, L.MultiHeadAttention(2, 3, dropout=0.3)(x, x)])
        x = L.GaussianDropout(0.2)(L.SpatialDropout1D(0.2)(L.LayerNormalization()(x)))
        return L.Dense(3)(L.GlobalAveragePooling1D()(L.AlphaDropout(0.2)(x)))

    return functional(body, keras.Input((5, 4)))


@kind(vectors())
def softmax_of_ops():
    def body(x):
        return ops.softmax(L.Dense(3)(bayes(6, activation="relu")(x)))

    return functional(body, vector())


@kind(vectors())
def mean_of_heads():
    def body(x):
        x = bayes(6, activation="relu")(x)
        heads = [
            L.Dense(3, activation="softmax")(x),
            L.Dense(3, activation=ops.softmax)(x),
        ]
        return L.Average()(heads)

    return functional(body, vector())
