"""Which layers `convert` draws, what becomes of the others, and why."""

import re
import warnings

import keras
import numpy as np
import pytest
from keras import layers as L  # noqa: N812

from tests.helpers.layers import to_numpy
from tests.test_convert import assert_same_prediction, at_the_mean
from tfhyper import PosteriorPredictor, conversion_report, convert, kits, layers

TOKENS = np.random.default_rng(0).integers(0, 9, (3, 5))


def kit(**options):
    return kits.bayes(100, seed=1, **options)


@pytest.fixture(scope="module")
def model():
    """Layers of many kinds, in a nested model too."""
    keras.utils.set_random_seed(0)
    inner_inputs = keras.Input((5, 4))
    x = L.MultiHeadAttention(2, 3, name="attention")(inner_inputs, inner_inputs)
    x = L.LayerNormalization(name="norm")(x)
    inner = keras.Model(inner_inputs, L.Dense(4, name="dense")(x), name="encoder")
    inputs = keras.Input((5,), dtype="int32", name="tokens")
    x = inner(L.Embedding(9, 4, name="embedding")(inputs))
    x = L.PReLU(name="slopes")(x)
    x = L.LSTM(3, name="lstm")(x)
    return keras.Model(inputs, L.Dense(3, name="logits")(x), name="network")


def drawn(model):
    return [x.name for x in model.layers if isinstance(x, layers.StochasticLayer)]


ALL = ["embedding", "attention", "dense", "lstm", "logits"]


@pytest.mark.parametrize(
    "where, expected",
    [
        ("logits", ["logits"]),
        ("encoder/*", ["attention", "dense"]),
        ("*d*ing", ["embedding"]),
        (L.Dense, ["dense", "logits"]),
        (L.RNN, ["lstm"]),
        (["lstm", L.Embedding], ["embedding", "lstm"]),
        ("last", ["logits"]),
        ("last:3", ["dense", "lstm", "logits"]),
        ("last:99", ALL),
        (lambda layer: "e" in layer.name, ["embedding", "attention", "dense"]),
    ],
    ids=["name", "path", "pattern", "class", "base", "several", "last", "three"]
    + ["all", "function"],
)
def test_where(model, where, expected):
    copy = convert(model, kit(), where=where)
    assert drawn(copy) == expected
    # All others are as they were, and may be what no kit draws.
    assert type(copy.get_layer("slopes")) is L.PReLU
    assert_same_prediction(model, at_the_mean(copy), TOKENS, 1e-5)
    report = conversion_report(model, kit(), where=where)
    assert [x.layer.name for x in report.layers if x.is_drawn] == expected
    assert not report.of("refused")


def test_where_and_keep_together(model):
    options = {"where": [L.Dense, "lstm"], "keep": ["logits"]}
    assert drawn(convert(model, kit(), **options)) == ["dense", "lstm"]
    report = conversion_report(model, kit(), **options)
    reasons = {x.path: (x.action, x.reason) for x in report.layers}
    assert reasons["logits"] == ("kept", "`keep` asks for it")
    assert reasons["embedding"] == ("kept", "`where` does not choose it")
    # The last ones are of those that may be drawn.
    copy = convert(model, kit(), where="last", keep=["logits"])
    assert drawn(copy) == ["lstm"]


def test_report_of_all_layers(model):
    report = conversion_report(model, kit())
    found = {x.path: x.action for x in report.layers}
    assert {name: action for name, action in found.items() if "input" not in name} == {
        "tokens": "kept",
        "embedding": "wrapped",
        "encoder/attention": "wrapped",
        "encoder/norm": "kept",
        "encoder/dense": "replaced",
        "slopes": "kept",
        "lstm": "wrapped",
        "logits": "replaced",
    }
    text = repr(report)
    assert text.startswith("Model 'network', kit 'bayes': 2 replaced, 3 wrapped")
    assert "it has no variables of the roles kernel, recurrent_kernel" in text
    assert "<table" in report._repr_html_()
    (left,) = [x for x in report.layers if x.is_left]
    assert left.path == "slopes"
    with pytest.warns(UserWarning, match=r"'slopes' \(PReLU\): it has no variables"):
        copy = convert(model, kit())
    assert drawn(copy) == ALL
    assert_same_prediction(model, at_the_mean(copy), TOKENS, 1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        copy = convert(model, kit(), keep=["slopes"])
    assert drawn(copy) == ALL
    assert_same_prediction(model, at_the_mean(copy), TOKENS, 1e-5)
    # A kit without posteriors over any variables.
    left = [x for x in conversion_report(model, "mc_dropout").layers if x.is_left]
    assert {x.action for x in left} == {"kept"}
    assert [x.layer.name for x in left] == ["embedding", "attention"] + [
        "slopes",
        "lstm",
    ]


def test_variables_by_role(model):
    chosen = kit(variables=["gamma", "beta", "bias"], bias_posterior="gaussian")
    copy = convert(model, chosen, keep=["slopes", "embedding"])
    found = {
        x.name: [y.path for y in x.posterior.chosen]
        for x in copy.layers
        if isinstance(x, layers.RandomVariables)
    }
    assert found["norm"] == ["gamma", "beta"]
    assert found["lstm"] == ["lstm_cell/bias"]
    assert len(found["attention"]) == 4
    with pytest.raises(ValueError, match="`variables` must be one of"):
        kits.bayes(100, variables=["weights"])
    with pytest.raises(ValueError, match="`variables` must be one of"):
        kits.hyper(variables="weights")
    # Dense layers are of the kit's classes, whatever the roles.
    copy = convert(model, kit(variables="gamma"), where=["attention", "norm", "dense"])
    assert drawn(copy) == ["norm", "dense"]
    with pytest.raises(ValueError, match="it has no variables of the roles gamma"):
        convert(model, kit(variables="gamma"), where="attention")


@pytest.mark.parametrize(
    "where, error, message",
    [
        ("lstn", ValueError, r"`where` must choose layers.*'lstn' chooses none of"),
        (L.GRU, ValueError, "`where` must choose layers"),
        (lambda layer: False, ValueError, "`where` must choose layers"),
        ("last:0", ValueError, "`where` must be a pattern"),
        ([], ValueError, "`where` must be a pattern"),
        (7, TypeError, "`where` must be a pattern"),
        ([lambda layer: True], TypeError, "`where` must be a pattern"),
        ("slopes", ValueError, "must have layers to convert.*'slopes', as it has no"),
        ("tokens", ValueError, "must have layers to convert.*'tokens', as it has no"),
    ],
    ids=["name", "class", "function", "zero", "none", "number", "listed", "role", "in"],
)
def test_a_where_that_chooses_nothing_is_named(model, where, error, message):
    with pytest.raises(error, match=message):
        convert(model, kit(), where=where)


def test_moped_reaches_wrapped_layers(model):
    copy = convert(model, kit(prior_scale=0.7), where=["lstm", "logits"], moped=True)
    posterior = copy.get_layer("lstm").posterior
    kl = 0.0
    for x, scale in zip(posterior.chosen, posterior.scales, strict=True):
        mean = to_numpy(x.variable)
        he = np.sqrt(2 / mean.shape[0])
        expected = 0.1 * np.maximum(np.abs(mean), he / 100)
        np.testing.assert_allclose(to_numpy(scale), expected, rtol=1e-3)
        ratio = expected / 0.7
        kl += np.sum(ratio**2 / 2 - 0.5 - np.log(ratio))
    assert float(posterior.kl_divergence()) == pytest.approx(kl, rel=1e-3)
    with pytest.raises(ValueError, match="`moped` must be False.*kit 'hyper'"):
        convert(model, "hyper", where="lstm", moped=True)


class Tied(L.Layer):
    """Gives the logits of an embedding's own words."""

    def __init__(self, embedding, **kwargs):
        super().__init__(**kwargs)
        self.embedding = embedding

    def call(self, inputs):
        return keras.ops.matmul(inputs, keras.ops.transpose(self.embedding.embeddings))


def test_tied_weights_are_named():
    inputs = keras.Input((5,), dtype="int32")
    embedding = L.Embedding(9, 4, name="embedding")
    x = L.LSTM(4, name="lstm")(embedding(inputs))
    model = keras.Model(inputs, Tied(embedding, name="tied")(x))
    with pytest.raises(
        ValueError, match=r"'embedding' \(Embedding\): its variable '.*' is .* 'tied'"
    ):
        convert(model, kit())
    copy = convert(model, kit(), where="lstm")
    assert drawn(copy) == ["lstm"]
    assert_same_prediction(model, at_the_mean(copy), TOKENS, 1e-5)
    report = conversion_report(model, kit(), where=["lstm", "tied"])
    assert {x.path: x.action for x in report.layers}["tied"] == "kept"


@pytest.mark.skipif(
    not hasattr(L, "ReversibleEmbedding"), reason="this Keras does not have it"
)
def test_one_layer_with_two_uses_of_a_variable_has_one_draw():
    inputs = keras.Input((5,), dtype="int32")
    embedding = L.ReversibleEmbedding(9, 4, name="embedding")
    x = L.LSTM(4, return_sequences=True, name="lstm")(embedding(inputs))
    model = keras.Model(inputs, embedding(x, reverse=True))
    copy = convert(model, kit(initial_scale=0.5))
    assert_same_prediction(model, at_the_mean(copy), TOKENS, 1e-5)
    predictor = PosteriorPredictor(copy, 2)
    assert list(predictor.draws[0].noise) == ["embedding", "lstm"]
    plain = predictor.materialize(0)
    assert len([x for x in plain.layers if x.name == "embedding"]) == 1


def test_quantized_layers_are_kept_and_named():
    inputs = keras.Input((5, 4))
    dense = L.Dense(4, name="quantized")
    x = L.LSTM(3, name="lstm")(dense(inputs))
    model = keras.Model(inputs, L.Dense(2, name="logits")(x))
    dense.quantize("int8")
    with pytest.warns(UserWarning, match=r"'quantized' \(Dense\): its weights are q"):
        copy = convert(model, kit())
    assert drawn(copy) == ["lstm", "logits"]
    assert copy.get_layer("quantized").quantization_mode == "int8"
    copy = convert(model, kit(), where=["lstm", "logits"])
    assert drawn(copy) == ["lstm", "logits"]
    x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
    assert_same_prediction(model, at_the_mean(copy), x, 1e-5)


def test_frozen_layers_stay_frozen(model):
    copy = keras.models.clone_model(model)
    copy.get_layer("lstm").trainable = False
    found = convert(copy, kit(), keep=["slopes"]).get_layer("lstm")
    assert type(found) is layers.RandomVariables
    assert not found.trainable_variables and not found.losses


def test_adapters_inside_of_a_layer_go_along():
    inputs = keras.Input((5, 4))
    attention = L.MultiHeadAttention(2, 3, name="attention")
    model = keras.Model(inputs, L.Dense(2)(attention(inputs, inputs)))
    # Which the config of attention does not say.
    attention.query_dense.enable_lora(2)
    attention.query_dense.lora_kernel_b.assign(np.ones((2, 3)))
    copy = convert(model, kit())
    x = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
    assert_same_prediction(model, at_the_mean(copy), x, 1e-5)
    chosen = [x.path for x in copy.get_layer("attention").posterior.chosen]
    assert chosen == [f"{x}/kernel" for x in ("query", "key", "value")] + [
        "attention_output/kernel"
    ]


@keras.saving.register_keras_serializable("tests")
class Gated(L.Layer):
    """A user's layer: two dense layers inside, and a weight of its own."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense, self.gate = L.Dense(units), L.Dense(units, activation="sigmoid")

    def build(self, shape):
        self.dense.build(shape)
        self.gate.build(shape)
        self.kernel = self.add_weight((self.units,), name="kernel")

    def call(self, inputs):
        return self.dense(inputs) * self.gate(inputs) * self.kernel

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def test_layers_of_a_users_own(tmp_path):
    model = keras.Sequential(
        [keras.Input((4,)), Gated(3, name="gated"), L.Dense(2, name="logits")]
    )
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    for name in ("hyper", "bayes"):
        copy = convert(model, kit(initial_scale=0.5) if name == "bayes" else name)
        assert_same_prediction(model, at_the_mean(copy), x, 1e-5)
        chosen = [x.path for x in copy.get_layer("gated").posterior.chosen]
        assert len(chosen) == 3
        members = PosteriorPredictor(copy, 2).predict(x).members
        assert np.abs(members[0] - members[1]).max() > 1e-3
    copy.save(tmp_path / "it.keras")
    loaded = keras.saving.load_model(tmp_path / "it.keras")
    assert_same_prediction(at_the_mean(copy), at_the_mean(loaded), x, 1e-6)


@pytest.mark.parametrize("how", ["kept", "wrapped", "attention"])
def test_what_is_frozen_inside_of_a_layer_stays_frozen(how, tmp_path):
    inputs = keras.Input((5, 4))
    layer = Gated(4) if how != "attention" else L.MultiHeadAttention(2, 3)
    x = layer(*((inputs, inputs) if how == "attention" else (inputs,)))
    inside = list(layer._flatten_layers())
    inside[2].trainable = False
    model = keras.Model(inputs, L.Dense(2, name="logits")(x))
    copy = convert(model, kit(), keep=[layer.name] if how == "kept" else ())
    rows = np.ones((2, 5, 4), "float32")
    assert_same_prediction(model, at_the_mean(copy), rows, 1e-5)
    found = copy.get_layer(layer.name)
    found = found if how == "kept" else found.layer
    for inner, again in zip(inside, found._flatten_layers(), strict=True):
        names = [x.name for x in inner.trainable_variables]
        assert [x.name for x in again.trainable_variables] == names
        assert again.trainable == inner.trainable
    if how != "kept":  # what Keras' own files forget
        copy.save(tmp_path / "it.keras")
        loaded = keras.saving.load_model(tmp_path / "it.keras")
        # Keras numbers what has no name.
        found, expected = (
            [re.sub(r"\d+", "", x.name) for x in model.trainable_variables]
            for model in (loaded, copy)
        )
        assert found == expected


def test_adapters_inside_of_a_users_layer_are_drawn():
    model = keras.Sequential([keras.Input((4,)), Gated(3, name="gated"), L.Dense(2)])
    layer = model.get_layer("gated")
    layer.dense.enable_lora(2)
    layer.dense.lora_kernel_b.assign(np.ones((2, 3)))
    copy = convert(model, kits.bayes_lora(10))
    chosen = [x.path for x in copy.get_layer("gated").posterior.chosen]
    assert [x.rpartition("/")[2] for x in chosen] == ["lora_kernel_a", "lora_kernel_b"]
    rows = np.ones((2, 4), "float32")
    assert_same_prediction(model, at_the_mean(copy), rows, 1e-5)


@keras.saving.register_keras_serializable("tests")
class Renaming(Gated):
    """A user's layer that gives itself another name than it is given."""

    def __init__(self, units, name=None, **kwargs):
        super().__init__(units, **kwargs)
        self.name = f"{name}_0"


def test_a_layer_that_renames_itself_has_its_weights():
    layers_ = [keras.Input((4,)), Renaming(3, name="gated"), L.Dense(2, name="logits")]
    model = keras.Sequential(layers_)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    for name in ("hyper", "bayes", "drop_connect"):
        copy = convert(model, kit() if name == "bayes" else name)
        assert_same_prediction(model, at_the_mean(copy), x, 1e-5)
        assert type(copy.get_layer("gated_0")) is layers.RandomVariables
    copy = convert(model, kit(), where="logits")
    assert_same_prediction(model, at_the_mean(copy), x, 1e-5)
