"""Layers of any class with random variables, against NumPy and the plain layers."""

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812
from keras import ops
from keras.src.testing import TestCase

from tests.helpers.layers import normal, to_numpy
from tfhyper import PosteriorPredictor, export
from tfhyper.layers import (
    BayesDense,
    GaussianPosterior,
    GeneratedPosterior,
    LatentCode,
    RandomVariables,
    VariablePosterior,
    priors,
    role_of,
    variational_layers,
)
from tfhyper.layers.noise import generator_of

X = normal(3, 5, 4)
TOKENS = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 0], [8, 1, 0, 0, 0]])
# A layer, its inputs.
CASES = {
    "lstm": (lambda: L.LSTM(3), (X,)),
    "gru": (lambda: L.GRU(3, return_sequences=True), (X,)),
    "simple_rnn": (lambda: L.SimpleRNN(3), (X,)),
    "bidirectional": (lambda: L.Bidirectional(L.GRU(3)), (X,)),
    "embedding": (lambda: L.Embedding(9, 3), (TOKENS,)),
    "attention": (lambda: L.MultiHeadAttention(2, 3), (X, X[:, :2])),
    "grouped_attention": (lambda: L.GroupQueryAttention(3, 2, 1), (X, X)),
    "einsum": (lambda: L.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d"), (X,)),
    "separable1d": (lambda: L.SeparableConv1D(3, 2), (X,)),
    "separable2d": (lambda: L.SeparableConv2D(3, 2), (X[..., None],)),
    "depthwise1d": (lambda: L.DepthwiseConv1D(2, depth_multiplier=2), (X,)),
    "transpose1d": (lambda: L.Conv1DTranspose(3, 2), (X,)),
    "transpose3d": (lambda: L.Conv3DTranspose(2, 2), (X[..., None, None],)),
    "convolutional_lstm": (lambda: L.ConvLSTM1D(2, 2), (X[..., None],)),
    "distributed": (lambda: L.TimeDistributed(L.Dense(3)), (X,)),
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def weights_of(layer, noise):
    """Returns the weights of a draw by their names, or the ends of their paths."""
    values = map(to_numpy, layer.point_weights(noise))
    paths = ["/".join(x.path.split("/")[-2:]) for x in layer.layer.weights]
    return dict(zip(paths, values, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_a_draw_is_the_plain_layer_and_the_mean_the_layer_inside(case):
    make, inputs = CASES[case]
    layer = RandomVariables(make(), GaussianPosterior(initial_scale=0.5))
    first, second = to_numpy(layer(*inputs)), to_numpy(layer(*inputs))
    assert np.abs(first - second).max() > 1e-3
    inside = to_numpy(layer.layer(*inputs))
    assert first.shape == inside.shape
    mean, drawn = layer.mean_noise(), layer.sample_noise(1)
    for noise, same in ((mean, True), (drawn, False)):
        plain = layer.point_layer()
        assert type(plain) is type(layer.layer) and not plain.built
        plain(*inputs)
        plain.set_weights(list(map(to_numpy, layer.point_weights(noise))))
        difference = np.abs(to_numpy(plain(*inputs)) - inside).max()
        assert (difference < 1e-6) == same


def test_lstm_of_a_draw_is_that_of_numpy():
    layer = RandomVariables(L.LSTM(3), GaussianPosterior(initial_scale=0.5), ["*"])
    layer.build(X.shape)
    weights = weights_of(layer, layer.sample_noise(5))
    kernel, recurrent, bias = (
        weights[f"lstm_cell/{name}"] for name in ("kernel", "recurrent_kernel", "bias")
    )
    # Gates in Keras' order: input, forget, cell, output.
    h = c = np.zeros((3, 3))
    for step in range(X.shape[1]):
        i, f, g, o = np.split(X[:, step] @ kernel + h @ recurrent + bias, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    plain = layer.point_layer()
    plain(X)
    plain.set_weights([kernel, recurrent, bias])
    np.testing.assert_allclose(to_numpy(plain(X)), h, atol=1e-6)
    # A call draws once for the sequence: by the noise of its count.
    noise = layer.posterior.fresh_noise(
        layer.posterior.seed, layer.posterior.current_count(False)
    )
    found = to_numpy(layer(X))
    plain.set_weights(list(map(to_numpy, layer.point_weights(noise))))
    np.testing.assert_allclose(found, to_numpy(plain(X)), atol=1e-6)


def test_attention_of_a_draw_is_that_of_numpy():
    layer = RandomVariables(
        L.MultiHeadAttention(2, 3), GaussianPosterior(initial_scale=0.5), ["*"]
    )
    memory = X[:, :4]
    layer.build(X.shape, memory.shape)
    w = weights_of(layer, layer.sample_noise(2))
    q, k, v = (
        np.einsum("btd,dhe->bhte", x, w[f"{name}/kernel"])
        + w[f"{name}/bias"][:, None, :]
        for name, x in (("query", X), ("key", memory), ("value", memory))
    )
    scores = np.einsum("bhte,bhse->bhts", q, k) / np.sqrt(3)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    scores /= scores.sum(-1, keepdims=True)
    out = np.einsum("bhts,bhse->bthe", scores, v)
    expected = np.einsum("bthe,hed->btd", out, w["attention_output/kernel"])
    expected += w["attention_output/bias"]
    plain = layer.point_layer()
    plain(X, memory)
    plain.set_weights(list(map(to_numpy, layer.point_weights(layer.sample_noise(2)))))
    np.testing.assert_allclose(to_numpy(plain(X, memory)), expected, atol=1e-5)


def test_kl_is_that_of_the_formula_once_for_all_calls():
    posterior = GaussianPosterior(prior_scale=0.7, kl_weight=0.25, initial_scale=0.2)
    layer = RandomVariables(L.GRU(3), posterior)
    layer(X)
    layer(X)
    expected = 0.0
    for x, scale in zip(posterior.chosen, posterior.scales, strict=True):
        mean, scale = to_numpy(x.variable), to_numpy(scale)
        he = 0.2 * np.sqrt(2 / np.prod(mean.shape[:-1]))
        np.testing.assert_allclose(scale, he, rtol=1e-4)
        ratio = scale / 0.7
        expected += np.sum((ratio**2 + (mean / 0.7) ** 2 - 1) / 2 - np.log(ratio))
    (loss,) = layer.losses
    assert float(loss) == pytest.approx(0.25 * expected, rel=1e-4)
    assert variational_layers(layer) == [posterior]
    roles = {v.name: role_of(v) for v in layer.trainable_variables}
    assert roles == {
        "kernel": "posterior",
        "recurrent_kernel": "posterior",
        "bias": None,
        "gru_cell_kernel_rho": "posterior",
        "gru_cell_recurrent_kernel_rho": "posterior",
    }


def test_scales_of_embeddings_and_of_vectors():
    embedding = RandomVariables(L.Embedding(50, 8), GaussianPosterior(initial_scale=1))
    embedding.build((None, 5))
    (scale,) = embedding.posterior.scales
    np.testing.assert_allclose(to_numpy(scale), np.sqrt(2 / 8), rtol=1e-5)
    posterior = GaussianPosterior(initial_scale=1)
    dense = RandomVariables(L.Dense(3), posterior, ["bias", "kernel"])
    dense.build((None, 8))
    assert [x.path for x in posterior.chosen] == ["kernel", "bias"]
    for scale in posterior.scales:  # a bias goes with the kernel beside it
        np.testing.assert_allclose(to_numpy(scale), np.sqrt(2 / 8), rtol=1e-5)


@pytest.mark.parametrize(
    "where, expected",
    [
        ("bias", ["query/bias", "key/bias", "value/bias", "attention_output/bias"]),
        ("query/*", ["query/kernel", "query/bias"]),
        (("key/kernel", "value/kernel"), ["key/kernel", "value/kernel"]),
        (lambda v: "output" in v.path and v.name == "bias", ["attention_output/bias"]),
    ],
    ids=["role", "pattern", "several", "function"],
)
def test_where_by_role_pattern_and_function(where, expected):
    layer = RandomVariables(L.MultiHeadAttention(1, 2), where=where)
    layer(X, X)
    assert [x.path for x in layer.posterior.chosen] == expected
    # Of a function a config has what it chose.
    twin = RandomVariables.from_config(layer.get_config())
    twin(X, X)
    assert [x.path for x in twin.posterior.chosen] == expected


def test_factors_and_shifts_of_norms():
    layer = RandomVariables(L.LayerNormalization(), where=["gamma", "beta"])
    layer(X)
    assert [x.path for x in layer.posterior.chosen] == ["gamma", "beta"]
    layer = RandomVariables(L.RMSNormalization(), where="gamma")
    layer(X)
    assert [x.path for x in layer.posterior.chosen] == ["scale"]


def model_of_tokens(posterior=GaussianPosterior):
    def drawn(layer, **options):
        return RandomVariables(layer, posterior(**options))

    inputs = keras.Input((None,), dtype="int32")
    x = drawn(L.Embedding(9, 4, mask_zero=True))(inputs)
    x = drawn(L.MultiHeadAttention(2, 3, dropout=0.2, seed=1))(
        x, x, use_causal_mask=True
    )
    x, *state = drawn(
        L.LSTM(3, return_state=True, return_sequences=True, dropout=0.2, seed=2)
    )(x)
    x = drawn(L.LSTM(3))(x, initial_state=state)
    return keras.Model(inputs, L.Dense(3)(x))


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    model = model_of_tokens()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.03), loss)
    model.fit(TOKENS, np.arange(3), epochs=3, batch_size=3, verbose=0)
    return model


def softmax(logits):
    return to_numpy(ops.softmax(logits))


@pytest.mark.parametrize("dropout", [None, "sample"])
def test_members_are_the_plain_networks_of_the_draws(trained, dropout, tmp_path):
    predictor = PosteriorPredictor(trained, 2, seed=4, dropout=dropout)
    members = predictor.predict(TOKENS).members
    assert np.abs(members[0] - members[1]).max() > 1e-3
    for i in range(2):
        plain = predictor.materialize(i)
        assert not any(isinstance(x, RandomVariables) for x in plain.layers)
        np.testing.assert_allclose(softmax(plain(TOKENS)), members[i], atol=1e-5)
        alone = softmax(plain(TOKENS[2:]))
        np.testing.assert_allclose(alone[0], members[i][2], atol=1e-5)
    predictor.save(tmp_path / "it.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "it.tfhyper")
    np.testing.assert_allclose(loaded.predict(TOKENS).members, members, atol=1e-6)


def test_the_mean_has_no_dropout(trained):
    means = [
        PosteriorPredictor(trained, deterministic=True, dropout=dropout)
        .predict(TOKENS)
        .mean
        for dropout in ("off", "sample")
    ]
    np.testing.assert_allclose(means[0], means[1], atol=1e-6)


@pytest.mark.parametrize("dropout", ["off", "sample"])
def test_a_saved_model_gives_what_the_predictor_gives(trained, dropout, tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras makes a SavedModel on TensorFlow")
    from tests.helpers.export import run

    predictor = PosteriorPredictor(trained, 2, dropout=dropout)
    export.saved_model(predictor, tmp_path / "it")
    found = run(tmp_path / "it", inputs=TOKENS.astype("int32"))
    np.testing.assert_allclose(
        found["probabilities"], predictor.predict(TOKENS).mean, atol=1e-5
    )


def test_a_model_comes_back_from_its_file_and_goes_on(trained, tmp_path):
    trained.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for _ in range(2):  # the next draws of both are the same
        np.testing.assert_allclose(
            to_numpy(loaded(TOKENS)), to_numpy(trained(TOKENS)), atol=1e-6
        )
    np.testing.assert_allclose(
        [float(x) for x in loaded.losses],
        [float(x) for x in trained.losses],
        rtol=1e-5,
    )


def test_masks_states_and_other_arguments_pass_through():
    embedding = RandomVariables(L.Embedding(9, 4, mask_zero=True), where="*")
    x = embedding(TOKENS)
    # By the mask what stands behind the end of a sequence counts for nothing: the last
    # output of the first is its state after three tokens.
    lstm = RandomVariables(L.LSTM(3, return_state=True, return_sequences=True))
    out, h, _ = lstm(x)
    np.testing.assert_array_equal(to_numpy(out)[0, 2], to_numpy(h)[0])
    other = np.array(to_numpy(x))
    other[0, 3:] = 7.0
    mask = TOKENS != 0
    layer = RandomVariables(L.GRU(3))
    layer(other)
    outs = []
    for inputs in (to_numpy(x), other):
        layer.posterior.draws.assign([0, 0])
        outs.append(to_numpy(layer(inputs, mask=mask)))
    np.testing.assert_allclose(outs[0], outs[1], atol=1e-6)
    attention = RandomVariables(L.MultiHeadAttention(1, 2))
    found, scores = attention(
        X, X, attention_mask=np.tri(5)[None] > 0, return_attention_scores=True
    )
    assert found.shape == X.shape
    assert np.abs(np.triu(to_numpy(scores)[0, 0], 1)).max() < 1e-6


def test_what_a_layer_counts_and_keeps_is_kept():
    lstm = L.LSTM(3, dropout=0.5, stateful=True, activity_regularizer="l2", seed=1)
    layer = RandomVariables(lstm)
    layer(X, training=True)
    (state,) = [v for v in lstm.variables if "seed" in v.path]
    before, first = to_numpy(state), to_numpy(lstm.states[0])
    assert np.abs(first).max() > 0
    layer(X, training=True)
    assert (to_numpy(state) != before).any()
    assert (to_numpy(lstm.states[0]) != first).any()
    # That of its activity, and the KL divergence.
    assert len(layer.losses) == 2
    # What is random is not changed by a call, whatever the layer does.
    spectral = RandomVariables(L.SpectralNormalization(L.Dense(3)))
    spectral.build(X.shape)
    kernel = to_numpy(spectral.layer.layer.kernel)
    spectral(X, training=True)
    np.testing.assert_array_equal(to_numpy(spectral.layer.layer.kernel), kernel)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_precision(policy):
    if policy == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless it is told so")
    cases = {"mixed_bfloat16": ("bfloat16", "float32"), "float64": ("float64",) * 2}
    compute, variable = cases[policy]
    for layer in (L.LSTM(3, dtype=policy), L.MultiHeadAttention(1, 2, dtype=policy)):
        drawn = RandomVariables(layer, GaussianPosterior(initial_scale=1e-12))
        x = ops.cast(X, compute)
        inputs = (x,) if isinstance(layer, L.LSTM) else (x, x)
        outputs = drawn(*inputs)
        assert keras.backend.standardize_dtype(outputs.dtype) == compute
        assert {v.dtype for v in drawn.trainable_variables} == {variable}
        # Drawn in the precision of the variables: with no deviation it is the mean.
        assert np.array_equal(
            to_numpy(ops.cast(outputs, "float32")),
            to_numpy(ops.cast(layer(*inputs), "float32")),
        )


def test_frozen_layers_draw_and_do_not_learn():
    lstm = L.LSTM(3, trainable=False)
    layer = RandomVariables(lstm)
    first, second = to_numpy(layer(X)), to_numpy(layer(X))
    assert not layer.trainable_variables and not layer.losses
    assert np.abs(first - second).max() > 0
    # In part: what is frozen keeps its scale.
    both = L.Bidirectional(L.GRU(2))
    both.build(X.shape)
    both.forward_layer.trainable = False
    layer = RandomVariables(both)
    layer(X)
    names = [v.name for v in layer.trainable_variables if v.name.endswith("rho")]
    assert [name.split("_")[0] for name in names] == ["backward", "backward"]
    assert len(layer.losses) == 1


@keras.saving.register_keras_serializable("tests")
class RandomGRU(RandomVariables):
    """As Keras' checks make several layers of the same arguments, one with none."""

    def __init__(self, layer=None, posterior=None, generated=False, **kwargs):
        if posterior is None:
            posterior = GeneratedPosterior() if generated else GaussianPosterior()
        super().__init__(layer or L.GRU(3), posterior, **kwargs)


@pytest.mark.parametrize("generated", [False, True])
def test_keras_checks_of_a_layer(generated):
    TestCase().run_layer_test(
        RandomGRU,
        {"generated": generated, "where": ["kernel", "recurrent_kernel"]},
        input_shape=(2, 5, 4),
        expected_output_shape=(2, 3),
        expected_num_trainable_weights=6 if generated else 5,
        # The counts of draws; the factor of the divergence, and two counts of examples.
        expected_num_non_trainable_weights=1 if generated else 4,
        expected_num_seed_generators=1,  # that of the GRU's dropout
        expected_num_losses=0 if generated else 1,
        supports_masking=True,
        # The layer's policy is its own.
        run_mixed_precision_check=False,
    )


@keras.saving.register_keras_serializable("tests")
class DropConnect(VariablePosterior):
    """An exercise: each weight is dropped by half, and twice as large otherwise."""

    def values(self, noise):
        uniform = generator_of(noise).uniform
        masks = [uniform(x.variable.shape) for x in self.chosen]
        keep = [2 * ops.cast(mask < 0.5, "float32") for mask in masks]
        return [x.variable * mask for x, mask in zip(self.chosen, keep, strict=True)]

    def mean_noise(self):
        return None


def test_another_posterior_is_one_small_class(tmp_path):
    regularizer = keras.regularizers.L1(0.5)
    lstm = L.LSTM(3, recurrent_regularizer=regularizer)
    layer = RandomVariables(lstm, DropConnect(seed=3))
    model = keras.Sequential([keras.Input((5, 4)), layer, L.Dense(2)])
    drawn = weights_of(layer, layer.sample_noise(1))["lstm_cell/recurrent_kernel"]
    ratio = drawn / to_numpy(lstm.cell.recurrent_kernel)
    np.testing.assert_allclose(np.unique(ratio.round(4)), [0, 2])
    # The regularizer is of what is drawn: there is no prior.
    layer(X)
    noise = layer.posterior.fresh_noise(3, layer.posterior.current_count(False) - 1)
    drawn = weights_of(layer, noise)["lstm_cell/recurrent_kernel"]
    (loss,) = layer.losses
    assert float(loss) == pytest.approx(0.5 * np.abs(drawn).sum(), rel=1e-5)
    assert not variational_layers(model)
    model.save(tmp_path / "it.keras")
    loaded = keras.saving.load_model(tmp_path / "it.keras")
    members = PosteriorPredictor(model, 2, seed=1).predict(X).members
    found = PosteriorPredictor(loaded, 2, seed=1).predict(X).members
    np.testing.assert_allclose(found, members, atol=1e-6)


def test_generated_variables_are_those_of_the_formula():
    posterior = GeneratedPosterior(hidden_units=5, code_units=3, deviation_scale=0.4)
    layer = RandomVariables(L.SimpleRNN(3), posterior)
    layer.build(X.shape)
    code = layer.sample_noise(7)
    hidden = np.maximum(code @ to_numpy(posterior.generator_hidden), 0)
    drawn = weights_of(layer, code)
    for x, output in zip(posterior.chosen, posterior.generator_outputs, strict=True):
        mean = to_numpy(x.variable)
        deviation = (hidden @ to_numpy(output)).reshape(mean.shape)
        expected = mean + 0.4 / np.sqrt(5) * deviation
        np.testing.assert_allclose(drawn[x.path], expected, atol=1e-6)
    assert not layer.losses


@pytest.mark.parametrize(
    ("layer", "ends"),
    [
        (lambda: L.SimpleRNN(3), {"kernel": (4, 3), "recurrent_kernel": (3, 3)}),
        # Of (4, 2, 5) and (2, 5, 4): those with the fewest numbers.
        (
            lambda: L.MultiHeadAttention(2, 5),
            {
                "query": (8, 5),
                "key": (8, 5),
                "value": (8, 5),
                "attention_output": (10, 4),
            },
        ),
    ],
)
def test_generated_factors_are_those_of_the_formula(layer, ends):
    posterior = GeneratedPosterior(5, 3, deviation_scale=0.4, seed=2, rank=2)
    variables = ("kernel", "recurrent_kernel", "bias")
    layer = RandomVariables(layer(), posterior, variables)
    if "query" in ends:
        layer(X, X)
    else:
        layer(X)
    code = layer.sample_noise(7)
    hidden = np.maximum(code @ to_numpy(posterior.generator_hidden), 0) / np.sqrt(5)
    drawn = weights_of(layer, code)
    seen = set()
    for x, output in zip(posterior.chosen, posterior.generator_outputs, strict=True):
        mean, generated = to_numpy(x.variable), (hidden @ to_numpy(output))[0]
        if x.path.endswith("bias"):
            expected = mean + 0.4 * generated.reshape(mean.shape)
        else:
            (name,) = set(ends) & set(x.path.split("/"))
            rows, columns = ends[name]
            a = generated[: 2 * rows].reshape(2, rows)
            b = generated[2 * rows :].reshape(2, columns)
            product = sum(np.outer(a[j], b[j]) for j in range(2))
            expected = mean * (1 + 0.4 / np.sqrt(2) * product.reshape(mean.shape))
            seen.add(name)
        np.testing.assert_allclose(drawn[x.path], expected, atol=1e-6)
    assert seen >= set(ends)
    again = GeneratedPosterior.from_config(posterior.get_config())
    assert again.rank == 2


def test_layers_share_the_code_that_they_are_given():
    inputs = keras.Input((5, 4))
    code = LatentCode(3, name="code")(inputs)
    x = inputs
    for name in "ab":
        posterior = GeneratedPosterior(4, 3)
        rnn = L.SimpleRNN(4, return_sequences=True, name=name)
        x = RandomVariables(rnn, posterior)(x, code=code)
    predictor = PosteriorPredictor(keras.Model(inputs, x), 2, outputs="mean")
    assert list(predictor.draws[0].noise) == ["code"]
    members = predictor.predict(X).members
    for i in range(2):
        found = predictor.materialize(i).predict(X, verbose=0)
        np.testing.assert_allclose(found, members[i], atol=1e-5)
    layer = RandomVariables(L.GRU(2), GeneratedPosterior(code_units=3))
    with pytest.raises(ValueError, match=r"`code` must have shape \(1, 3\)"):
        layer(X, code=np.zeros((1, 4), "float32"))


def test_generated_posteriors_have_dropout_inside_too(trained):
    model = model_of_tokens(GeneratedPosterior)
    predictor = PosteriorPredictor(model, 2, dropout="sample")
    members = predictor.predict(TOKENS).members
    found = softmax(predictor.materialize(1)(TOKENS))
    np.testing.assert_allclose(found, members[1], atol=1e-5)


def quantized():
    layer = L.Dense(4)
    layer.build((None, 4))
    layer.quantize("int8")
    return layer


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: RandomVariables("lstm"), TypeError, "`layer` must be a Keras layer"),
        (
            lambda: RandomVariables(L.GRU(2), "gaussian"),
            TypeError,
            "`posterior` must be a `tfhyper.layers.VariablePosterior`",
        ),
        (
            lambda: RandomVariables(L.GRU(2), dtype="float16"),
            TypeError,
            "`dtype` must be left out",
        ),
        (
            lambda: RandomVariables(L.TimeDistributed(BayesDense(2))),
            ValueError,
            "`layer` must hold no layer that draws its weights",
        ),
        (
            lambda: RandomVariables(quantized()),
            ValueError,
            "weights of full precision.*'int8'",
        ),
        (lambda: RandomVariables(L.GRU(2), where=3), TypeError, "`where` must be"),
        (lambda: RandomVariables(L.GRU(2), where=[3]), TypeError, "`where` must be"),
        (lambda: RandomVariables(L.GRU(2), where=[]), ValueError, "`where` must be"),
        (
            lambda: RandomVariables(L.GRU(2), where=["kernel", "query/*"]).build(
                (None, 5, 4)
            ),
            ValueError,
            r"`where` must choose variables.*gru_cell/kernel.*\['query/\*'\]",
        ),
        (
            lambda: RandomVariables(L.GRU(2), where="gamma").build((None, 5, 4)),
            ValueError,
            "`where` must choose variables",
        ),
        (
            lambda: RandomVariables(L.GRU(2), where=lambda v: False).build(
                (None, 5, 4)
            ),
            ValueError,
            "`where` must choose variables",
        ),
        (lambda: RandomVariables(L.ReLU())(X), ValueError, "`where` must choose"),
        (lambda: GaussianPosterior(prior_scale=-1), ValueError, "`prior_scale` must"),
        (lambda: GeneratedPosterior(prior="flat"), ValueError, "`prior` must"),
        (lambda: GeneratedPosterior(rank=0), ValueError, "`rank` must"),
    ],
    ids=list("abcdefghijklmno"),
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_posterior_is_of_one_layer():
    posterior = GaussianPosterior()
    RandomVariables(L.GRU(2), posterior)
    with pytest.raises(ValueError, match="`posterior` must be of one layer alone"):
        RandomVariables(L.GRU(2), posterior)


def test_a_layer_whose_config_leaves_something_out_has_no_draws():
    layer = L.GRU(2)
    layer.cell.activation = lambda x: 2 * x
    model = keras.Sequential([keras.Input((5, 4)), RandomVariables(layer), L.Dense(2)])
    assert model(X).shape == (3, 2)
    with pytest.raises(ValueError, match="its config does not say all"):
        PosteriorPredictor(model, 2)


def test_a_batch_norm_has_moments_of_a_draw_and_one_inside_a_layer_has_none():
    layer = RandomVariables(L.BatchNormalization(), where="gamma")
    model = keras.Sequential([keras.Input((4,)), layer, L.Dense(2)])
    predictor = PosteriorPredictor(model, 2).estimate_batch_norm(X[:, 0], verbose=0)
    (moments,) = predictor.draws[1].moments.values()
    np.testing.assert_allclose(moments[0], X[:, 0].mean(0), atol=1e-6)
    np.testing.assert_allclose(moments[1], X[:, 0].var(0), atol=1e-6)
    predictor = PosteriorPredictor(model, 2, batch_norm="moving_average")
    members = predictor.predict(X[:, 0]).members
    assert np.abs(members[0] - members[1]).max() > 0
    inside = L.TimeDistributed(L.BatchNormalization())
    layer = RandomVariables(inside, where="gamma")
    model = keras.Sequential([keras.Input((5, 4)), layer, L.Dense(2)])
    with pytest.raises(ValueError, match="has a BatchNorm layer inside"):
        PosteriorPredictor(model, 2).estimate_batch_norm(X)


def test_priors_of_tensorflow_probability():
    tfp = priors.probability_library()
    if tfp is None:
        pytest.skip("this backend has no TensorFlow Probability")
    prior = tfp.distributions.Laplace(np.float32(0), np.float32(0.5))
    posterior = GaussianPosterior(prior=prior, initial_scale=1e-4, kl_weight=1.0)
    layer = RandomVariables(L.SimpleRNN(2), posterior)
    layer.build(X.shape)
    expected = 0.0
    for x, scale in zip(posterior.chosen, posterior.scales, strict=True):
        mean, scale = to_numpy(x.variable), to_numpy(scale)
        # With hardly any deviation: E log q is minus the entropy, E log p at the mean.
        entropy = np.log(scale * np.sqrt(2 * np.pi * np.e))
        expected += np.sum(-entropy + np.abs(mean) / 0.5 + np.log(2 * 0.5))
    found = float(posterior.kl_divergence())
    # One draw: log q of it differs from its mean by sqrt(1 / 2) for each weight.
    count = sum(x.variable.shape[0] * 2 for x in posterior.chosen)
    assert abs(found - expected) < 4 * np.sqrt(count / 2)
