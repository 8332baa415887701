"""A posterior over low-rank adapters alone, and what files make of them."""

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812

from tests.helpers.layers import to_numpy
from tests.test_convert import at_the_mean
from tfhyper import PosteriorPredictor, conversion_report, convert, kits, layers

X = np.random.default_rng(0).integers(0, 9, (4, 6))


def moved(model):
    """Gives adapters other factors than they start with, of which B is 0."""
    rng = np.random.default_rng(1)
    for variable in model.weights:
        if "lora" in variable.name:
            variable.assign(rng.normal(0, 0.3, variable.shape))
    return model


def dense(**options):
    layer = L.Dense(3, name="adapted", **options)
    model = keras.Sequential([keras.Input((5,)), layer, L.Dense(2, name="head")])
    layer.enable_lora(2, lora_alpha=4)
    return moved(model)


def attention(quantize=False):
    """Adapters of an embedding, inside of attention, and of a dense layer."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,), dtype="int32")
    embedding, heads = L.Embedding(9, 8, name="words"), L.MultiHeadAttention(2, 4)
    words = embedding(inputs)
    hidden = L.Dense(8, name="hidden")
    x = L.GlobalAveragePooling1D()(hidden(heads(words, words)))
    model = keras.Model(inputs, L.Dense(3, name="head")(x))
    if quantize:
        hidden.quantize("int8")
    embedding.enable_lora(2)
    heads.query_dense.enable_lora(2)
    heads.value_dense.enable_lora(3, lora_alpha=5)
    hidden.enable_lora(2)
    return moved(model)


def kit(**options):
    return kits.bayes_lora(100, seed=1, **options)


def test_a_draw_is_the_sum_of_the_kernel_and_the_drawn_factors():
    model = dense()
    copy = convert(model, kit(initial_scale=0.5))
    predictor = PosteriorPredictor(copy, 2, outputs="mean")
    x = np.random.default_rng(2).normal(size=(7, 5)).astype("float32")
    members = predictor.predict(x).members
    head = model.get_layer("head")
    drawn = []
    for i in range(2):
        weights = predictor.materialize(i).get_layer("adapted").get_weights()
        kernel, bias, a, b = (w.astype("float64") for w in weights)
        hidden = x @ (kernel + 4 / 2 * a @ b) + bias
        expected = hidden @ to_numpy(head.kernel) + to_numpy(head.bias)
        np.testing.assert_allclose(members[i], expected, atol=1e-5)
        np.testing.assert_array_equal(kernel, to_numpy(model.layers[0]._kernel))
        drawn.append((a, b))
    assert np.abs(drawn[0][0] - drawn[1][0]).min() > 0
    assert np.abs(drawn[0][1] - drawn[1][1]).min() > 0


def test_the_divergence_is_that_of_the_factors():
    copy = convert(dense(), kit(initial_scale=0.2, prior_scale=0.7))
    posterior = copy.get_layer("adapted").posterior
    expected = 0.0
    for chosen, scale in zip(posterior.chosen, posterior.scales, strict=True):
        mean, deviation = to_numpy(chosen.variable), to_numpy(scale)
        fan_in = {"lora_kernel_a": 5, "lora_kernel_b": 2}[chosen.path]
        np.testing.assert_allclose(deviation, 0.2 * np.sqrt(2 / fan_in), rtol=1e-5)
        ratio = (deviation**2 + mean**2) / 0.7**2
        expected += 0.5 * np.sum(ratio - 1 - np.log(deviation**2 / 0.7**2))
    np.testing.assert_allclose(float(sum(copy.losses)), expected / 100, rtol=1e-4)


@pytest.mark.parametrize("quantize", [False, True])
def test_embeddings_attention_and_quantized_kernels(tmp_path, quantize):
    model = attention(quantize)
    copy = convert(model, kit(initial_scale=0.5))
    expected = to_numpy(model(X))
    np.testing.assert_allclose(to_numpy(at_the_mean(copy)(X)), expected, atol=1e-5)
    report = conversion_report(model, kit())
    assert [x.layer.name for x in report.of("wrapped")] == [
        "words",
        model.layers[2].name,
        "hidden",
    ]
    assert not any(x.is_left for x in report.layers)
    # What was frozen is frozen, and what was trained is trained, with its scales.
    trained = {x.path for x in copy.trainable_variables}
    assert len(trained) == len(model.trainable_variables) + 8
    assert sum("rho" in x for x in trained) == 8
    predictor = PosteriorPredictor(copy, 3, outputs="mean")
    prediction = predictor.predict(X)
    assert prediction.epistemic.min() > 1e-6
    predictor.save(tmp_path / "it.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "it.tfhyper")
    np.testing.assert_array_equal(loaded.predict(X).mean, prediction.mean)
    copy.save_weights(tmp_path / "it.weights.h5")
    other = convert(attention(quantize), kit())
    other.load_weights(tmp_path / "it.weights.h5")
    found = to_numpy(at_the_mean(other)(X))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_training_moves_factors_and_their_scales_alone():
    model = dense()
    model.layers[1].trainable = False
    copy = convert(model, kit())
    before = {x.path: to_numpy(x).copy() for x in copy.weights}
    copy.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    x = np.random.default_rng(2).normal(size=(8, 5)).astype("float32")
    copy.fit(x, np.ones((8, 2)), epochs=2, verbose=0)
    changed = {
        x.name for x in copy.weights if np.any(to_numpy(x) != before[x.path])
    } - {"draws"}
    factors = {"lora_kernel_a", "lora_kernel_b"}
    assert changed >= factors | {f"{x}_rho" for x in factors}
    assert not changed & {"kernel"}


def test_one_factor_alone():
    copy = convert(dense(), kit(factors="a"))
    chosen = copy.get_layer("adapted").posterior.chosen
    assert [x.path for x in chosen] == ["lora_kernel_a"]


def test_adapters_that_stay_certain_stay_as_they_are(tmp_path):
    model = attention()
    copy = convert(model, kits.bayes(100, seed=1), where="head")
    np.testing.assert_allclose(to_numpy(at_the_mean(copy)(X)), to_numpy(model(X)))
    # In a file they are added to the kernel, as Keras does it.
    predictor = PosteriorPredictor(copy, 2, outputs="mean")
    predictor.save(tmp_path / "it.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "it.tfhyper")
    expected = predictor.predict(X).mean
    np.testing.assert_allclose(loaded.predict(X).mean, expected, atol=1e-5)


def test_a_torn_set_of_variables_is_named(tmp_path):
    copy = convert(dense(), kit())
    plain = convert(dense(), kits.bayes(100), where="head")
    path = tmp_path / "it.weights.h5"
    plain.get_layer("adapted").save_own_variables(store := {})
    assert len(store) == 2  # Keras adds the factors up
    layer = copy.get_layer("adapted").layer
    with pytest.raises(ValueError, match="must have 4 variables in a file"):
        layer.load_own_variables(store)
    assert not path.exists()


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"factors": "c"}, ValueError, "`factors` must be one of.*'c'"),
        ({"factors": []}, ValueError, '`factors` must be "a", "b" or both'),
        ({"factors": 1}, TypeError, '`factors` must be "a", "b" or both'),
        ({"prior_scale": 0}, ValueError, "`prior_scale` must be.*=0"),
        ({"initial_scale": -1}, ValueError, "`initial_scale` must be.*=-1"),
        ({"seed": -1}, ValueError, "`seed` must be"),
    ],
    ids=["factor", "none", "number", "prior", "scale", "seed"],
)
def test_bad_options_are_refused_at_the_door(options, error, message):
    with pytest.raises(error, match=message):
        kits.bayes_lora(100, **options)
    with pytest.raises(ValueError, match="`num_examples` must be given"):
        kits.bayes_lora()


def test_a_network_without_adapters_is_refused():
    model = keras.Sequential([keras.Input((5,)), L.Dense(3, name="plain")])
    message = "must have layers to convert.*'plain', as it has no variables of the ro"
    with pytest.raises(ValueError, match=message):
        convert(model, kit())
    quantized = keras.Sequential([keras.Input((5,)), L.Dense(3)])
    quantized.layers[0].quantize("int8")
    with pytest.raises(ValueError, match="must have weights of full precision, or low"):
        layers.RandomVariables(quantized.layers[0])


def test_a_backbone_of_keras_hub(tmp_path):
    keras_hub = pytest.importorskip("keras_hub")
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=30,
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=8,
    )
    backbone.enable_lora(2)
    moved(backbone)
    tokens = {"token_ids": X, "padding_mask": np.ones_like(X)}
    copy = convert(backbone, kit(initial_scale=0.5))
    found = to_numpy(at_the_mean(copy)(tokens))
    np.testing.assert_allclose(found, to_numpy(backbone(tokens)), atol=1e-5)
    trained = [x.path for x in copy.trainable_variables]
    assert len([x for x in trained if "lora" in x]) == 2 * 2 * 4
    predictor = PosteriorPredictor(copy, 2, outputs="mean")
    predictor.save(tmp_path / "it.tfhyper")
    loaded = PosteriorPredictor.load(tmp_path / "it.tfhyper")
    expected = predictor.predict(tokens).mean
    np.testing.assert_array_equal(loaded.predict(tokens).mean, expected)
