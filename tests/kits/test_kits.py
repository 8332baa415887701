"""Kits: which kernels are generated, and which of them share a code."""

import dataclasses
import inspect
import itertools

import keras
import numpy as np
import pytest
from keras import ops

from tests.helpers.kits import ARGUMENTS, make_kit
from tests.helpers.layers import to_numpy
from tfhyper import kits, models
from tfhyper.layers import (
    BayesDense,
    BayesHyperDense,
    Dropout,
    HyperConv2D,
    LatentCode,
    MCDropout,
    MNFDense,
    RankOneDense,
)
from tfhyper.posterior import PointNetwork

SHAPE = (8, 8, 3)
# Blocks of WRN-10-1 and their generated convolutions.
BLOCKS = {
    "stage1_block1": ["conv1", "conv2"],
    "stage2_block1": ["shortcut", "conv1", "conv2"],
    "stage3_block1": ["shortcut", "conv1", "conv2"],
}
CONVS = [f"{block}_{conv}" for block, convs in BLOCKS.items() for conv in convs]


def network(kit, depth=10, **options):
    return models.wide_resnet(depth, 1, input_shape=SHAPE, kit=kit, **options)


def codes_of(model):
    return [layer for layer in model.layers if isinstance(layer, LatentCode)]


@pytest.mark.parametrize(
    ("kit", "layer", "others"),
    [
        # The kit starts from wider posteriors than the layer by itself.
        ("bayes", BayesDense, {"initial_scale", "kernel_initializer"}),
        ("bayesian_hypernet", BayesHyperDense, set()),
        ("hyper", HyperConv2D, set()),
        ("mnf", MNFDense, set()),
        ("rank_one", RankOneDense, set()),
    ],
)
def test_defaults_of_a_kit_are_those_of_its_layers(kit, layer, others):
    sizes = {"filters": 1, "kernel_size": 1} if layer is HyperConv2D else {"units": 1}
    config = layer(**sizes, name="it").get_config()
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(kits.KITS[kit]).parameters.items()
        if name in config and name != "seed"
    }
    assert len(defaults) >= 4
    assert {x for x in defaults if defaults[x] != config[x]} == others


def test_names_and_classes_of_the_sharing_test_are_those_of_the_network():
    found = [x.name for x in network("hyper").layers if isinstance(x, HyperConv2D)]
    assert sorted(found) == sorted(CONVS)


def correlations(sharing, num_draws, num_weights=12):
    """Mean |Pearson correlation| over draws, for each layer and pair of layers."""
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    # Small codes and generators: what is common stands out.
    kit = kits.hyper(sharing, prior="uniform", code_units=2, hidden_units=8, seed=1)
    point = PointNetwork(network(kit))
    layers = [point.network.get_layer(name) for name in CONVS]
    picks = [rng.choice(layer.kernel.shape[-1], num_weights) for layer in layers]
    weights = np.empty((num_draws, len(CONVS), num_weights))
    for i in range(num_draws):
        point.set(point.sample(seed=1, index=i))
        for j, (layer, pick) in enumerate(zip(layers, picks, strict=True)):
            kernel = ops.convert_to_numpy(layer.kernel)
            weights[i, j] = kernel[0, 0, np.arange(num_weights), pick]
    assert weights.std(axis=0).min() > 0
    table = np.abs(np.corrcoef(weights.reshape(num_draws, -1).T))
    table = table.reshape(2 * (len(CONVS), num_weights))
    others = ~np.eye(num_weights, dtype=bool)
    found = {"layer": [table[j, :, j][others].mean() for j in range(len(CONVS))]}
    found.update(block=[], network=[])
    for a, b in itertools.combinations(range(len(CONVS)), 2):
        blocks = {CONVS[j].rpartition("_")[0] for j in (a, b)}
        found["block" if len(blocks) == 1 else "network"].append(table[a, :, b].mean())
    assert [len(values) for values in found.values()] == [8, 7, 21]
    return found


@pytest.mark.parametrize(
    "sharing, high",
    [
        ("all_in_one", {"layer", "block", "network"}),
        ("block_wise", {"layer", "block"}),
        ("layer_wise", {"layer"}),
    ],
)
def test_what_shares_a_code_correlates_and_nothing_else(sharing, high):
    num_draws = 200
    # Of n independent pairs |r| averages sqrt(2 / (pi n)): 0.056 for 200 draws.
    nil = np.sqrt(2 / (np.pi * num_draws))
    for scope, values in correlations(sharing, num_draws).items():
        # Every pair of layers by itself, and their average.
        if scope in high:
            assert min(values) > 0.25, scope
        else:
            assert max(values) < 3 * nil, scope
            assert np.mean(values) == pytest.approx(nil, rel=0.6), scope


@pytest.mark.parametrize("depth, blocks, convs", [(10, 3, 8), (16, 6, 14)])
def test_number_of_codes(depth, blocks, convs):
    expected = {"all_in_one": 1, "block_wise": blocks, "layer_wise": convs}
    assert expected.keys() == kits.SHARING.keys()
    for sharing, count in expected.items():
        model = network(kits.hyper(sharing), depth)
        assert len(codes_of(model)) == count
        generated = [x for x in model.layers if isinstance(x, HyperConv2D)]
        assert len(generated) == convs
        # Codes are drawn from seeds of their own.
        assert len({code.seed for code in codes_of(model)}) == count


@pytest.mark.parametrize("mean_kernel", [False, True])
def test_only_convolutions_of_residual_blocks_are_generated(mean_kernel):
    model = network(kits.hyper(mean_kernel=mean_kernel))
    for layer in model.layers:
        in_block = layer.name.startswith("stage")
        if isinstance(layer, HyperConv2D):
            assert in_block and layer.bias is None
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            assert layer.name in ("stem", "logits")
    assert type(model.get_layer("stem")) is keras.layers.Conv2D
    assert type(model.get_layer("logits")) is keras.layers.Dense
    # Weights outside of the generators are trained as they are in plain networks.
    names = {w.path.split("/")[-1] for w in model.trainable_weights}
    generator = {"generator_hidden", "generator_output"}
    mean = {"mean_kernel"} if mean_kernel else set()
    assert names == {"kernel", "bias", "gamma", "beta"} | generator | mean


def test_deterministic_kit_has_stock_layers_alone():
    model = network(kits.deterministic())
    for layer in model.layers:
        assert type(layer).__module__.startswith("keras.")
    model = network("deterministic", dropout=0.3)
    dropouts = [layer for layer in model.layers if isinstance(layer, Dropout)]
    assert [layer.rate for layer in dropouts] == [0.3] * 3


def test_options_reach_the_layers():
    kit = kits.hyper(
        "block_wise",
        "half_normal",
        code_units=5,
        hidden_units=7,
        mean_kernel=True,
        deviation_scale=0.125,
        seed=9,
    )
    model = network(kit)
    for code in codes_of(model):
        assert (code.units, code.prior) == (5, "half_normal")
    for layer in model.layers:
        if isinstance(layer, HyperConv2D):
            found = layer.hidden_units, layer.mean_kernel, layer.deviation_scale
            assert found == (7, True, 0.125)
            assert layer.generator_hidden.shape == (5, 7)


@pytest.mark.parametrize("sharing", kits.SHARING)
def test_two_networks_of_one_kit_have_codes_of_their_own(sharing):
    kit = kits.hyper(sharing, seed=4)
    first, second = network(kit), network(kit)
    for a, b in itertools.product(codes_of(first), codes_of(second)):
        assert a is not b
    # Each is whole: it saves and copies without the other.
    for model in (first, second):
        assert len(codes_of(keras.models.clone_model(model))) == len(codes_of(model))
    first(np.zeros((1, *SHAPE), "float32"))
    for code in codes_of(first):
        assert ops.convert_to_numpy(code.draws).tolist() == [0, 1]
    for code in codes_of(second):
        assert ops.convert_to_numpy(code.draws).tolist() == [0, 0]


@pytest.mark.parametrize("sharing", kits.SHARING)
def test_seed_decides_the_codes(sharing):
    def drawn(seed):
        kit = kits.hyper(sharing, seed=seed)
        codes = codes_of(network(kit))
        return {c.name: ops.convert_to_numpy(c.next_code(True)) for c in codes}

    first, same, other = drawn(4), drawn(4), drawn(5)
    assert first.keys() == same.keys() == other.keys()
    for name, code in first.items():
        np.testing.assert_array_equal(same[name], code)
        assert not np.array_equal(other[name], code)
    values = [code.tobytes() for code in first.values()]
    assert len(set(values)) == len(values)


def test_no_seed_is_a_fresh_one():
    seeds = {codes_of(network(kits.hyper()))[0].seed for _ in range(3)}
    assert len(seeds) == 3


def test_kits_by_name():
    assert {"bayes", "deterministic", "hyper", "mc_dropout"} <= set(kits.KITS)
    for name in kits.KITS:
        kit = kits.get(make_kit(name))
        assert kit.name == name
        assert isinstance(kit, kits.LayerKit)
        if name not in ARGUMENTS:
            assert kits.get(name).name == name
    kit = kits.hyper(seed=3)
    assert kits.get(kit).name == "hyper"
    # Fresh state for each network.
    assert kits.get(kit).conv is not kits.get(kit).conv


@pytest.mark.parametrize("name", kits.KITS)
def test_replaced_layers_have_the_name_and_the_shape_of_the_stock_ones(name):
    for cls in make_kit(name).replaces:
        kit = kits.get(make_kit(name))
        rank = next((int(c) for c in cls.__name__ if c.isdigit()), 1)
        options = {} if "Norm" in cls.__name__ else {"rate": 0.5}
        if "Conv" in cls.__name__:
            options = {"kernel_size": 3, "padding": "same"}
            if "Depthwise" not in cls.__name__:
                options["filters"] = 4
        elif cls is keras.layers.Dense:
            options = {"units": 4}
        elif cls is keras.layers.EinsumDense:
            options = {"equation": "abc,cd->abd", "output_shape": (None, 4)}
        inputs = keras.Input((8,) * rank + (2,))
        stock = cls(**options, name="stock")
        layer = cls.from_config({**stock.get_config(), "name": "a_layer"})
        model = keras.Model(inputs, kit.replace(layer, "a/layer")(inputs))
        assert model.get_layer("a_layer").output is model.output
        assert model.output_shape == stock(inputs).shape


def test_a_maker_can_be_replaced():
    def norm(*, name):
        return keras.layers.LayerNormalization(name=kits.kit.layer_name(name))

    kit = dataclasses.replace(kits.hyper(), norm=norm)
    classes = [type(layer) for layer in network(kit).layers]
    assert keras.layers.LayerNormalization in classes
    assert keras.layers.BatchNormalization not in classes
    assert HyperConv2D in classes


@pytest.mark.parametrize("name", ["hyper", "subspace"])
def test_what_a_kit_makes_for_each_network_can_be_replaced(name):
    conv = kits.deterministic().conv
    made = dataclasses.replace(kits.KITS[name](), conv=lambda *a, **k: conv(*a, **k))
    for kit in (made, kits.get(made)):
        classes = {x.name: type(x) for x in network(kit).layers}
        assert classes["stage1_block1_conv1"] is keras.layers.Conv2D
    # And the kit of one network gives the next one a state of its own.
    once = kits.get(name)
    assert once.conv is not kits.get(once).conv is not kits.KITS[name]().conv


def test_get_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match=r"`kit`.*\['bayes', .*'determin.*'\].*'map'"):
        kits.get("map")
    for value in (None, 3, HyperConv2D, kits.hyper):
        with pytest.raises(TypeError, match="`kit` must be a LayerKit or a name"):
            kits.get(value)
    with pytest.raises(ValueError, match="`kit` must be one of"):
        network("bayesian")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sharing": "all"}, "`sharing` must be one of.*layer_wise.*sharing='all'"),
        ({"prior": "gauss"}, "`prior` must be one of.*prior='gauss'"),
        ({"code_units": 0}, "`code_units` must be a positive.*code_units=0"),
        ({"hidden_units": -1}, "`hidden_units` must be a positive.*hidden_units=-1"),
        ({"deviation_scale": -1.0}, "`deviation_scale`.*deviation_scale=-1.0"),
        ({"seed": -1}, "`seed` must be an integer.*seed=-1"),
    ],
)
def test_errors_name_argument_rule_and_value(options, message):
    with pytest.raises(ValueError, match=message):
        kits.hyper(**options)


def dropouts_of(model):
    return {layer.name: layer for layer in model.layers if isinstance(layer, MCDropout)}


def before(model, name):
    return model.get_layer(name)._inbound_nodes[0].input_tensors[0]


def test_mc_dropout_stands_before_every_layer_with_weights_but_the_stem():
    model = network(kits.mc_dropout(0.2))
    found = dropouts_of(model)
    assert {f"{name}_mc_dropout" for name in [*CONVS, "logits"]} == set(found)
    for name, layer in found.items():
        fed = before(model, name.removesuffix("_mc_dropout"))
        assert fed._keras_history.operation is layer
        assert (layer.rate, layer.noise_shape) == (0.2, None)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            assert type(layer).__module__.startswith("keras.")
    # Convolutions whose input is the data are stems, named so or not.
    model = models.lenet5(kit=kits.mc_dropout(), input_shape=(28, 28, 1))
    names = {f"{name}_mc_dropout" for name in ("conv2", "dense1", "dense2", "logits")}
    assert set(dropouts_of(model)) == names


def test_mc_dropout_is_in_the_place_of_a_networks_own_dropout():
    found = dropouts_of(network(kits.mc_dropout(0.2), dropout=0.3))
    blocks = {f"{block}_dropout": 0.3 for block in BLOCKS}
    rest = [name for name in CONVS if not name.endswith("conv2")] + ["logits"]
    rates = {name: layer.rate for name, layer in found.items()}
    assert rates == {**blocks, **{f"{name}_mc_dropout": 0.2 for name in rest}}
    # A rate of 0 turns on what is there and adds nothing.
    found = dropouts_of(network(kits.mc_dropout(0.0), dropout=0.3))
    assert {name: layer.rate for name, layer in found.items()} == blocks


def test_seed_decides_the_masks():
    def seeds(seed):
        found = dropouts_of(network(kits.mc_dropout(seed=seed), dropout=0.3))
        return [layer.seed for layer in found.values()]

    assert seeds(4) == seeds(4) != seeds(5)
    assert len(set(seeds(4))) == len(seeds(4))
    assert not set(seeds(None)) & set(seeds(None))


@pytest.mark.parametrize(
    "cls, shape, same",
    [
        (keras.layers.SpatialDropout1D, (5, 8), (1,)),
        (keras.layers.SpatialDropout2D, (3, 4, 8), (1, 2)),
        (keras.layers.SpatialDropout3D, (3, 2, 2, 8), (1, 2, 3)),
    ],
)
def test_spatial_dropout_drops_channels(cls, shape, same):
    kit = kits.mc_dropout()
    y = to_numpy(kit.replace(cls(0.5), "drop")(np.ones((4, *shape), "float32")))
    np.testing.assert_array_equal(
        y, np.broadcast_to(y.max(same, keepdims=True), y.shape)
    )
    assert set(np.unique(y)) == {0, 2}
    if "2D" in cls.__name__:
        first = cls(0.5, data_format="channels_first", name="first")
        layer = kit.replace(first, "first")
        assert layer.noise_shape == (None, None, 1, 1)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_rate_of_mc_dropout_out_of_range(rate):
    with pytest.raises(ValueError, match=f"`rate` must be in 0.*rate={rate}"):
        kits.mc_dropout(rate)


def test_the_old_name_of_sharing_is_taken_with_a_warning():
    with pytest.warns(DeprecationWarning, match="called `sharing`"):
        kit = kits.hyper(strategy="layer_wise", seed=4)
    found = [layer.name for layer in network(kit).layers]
    expected = [layer.name for layer in network(kits.hyper("layer_wise")).layers]
    assert found == expected
    with pytest.raises(ValueError, match="`strategy` must be one of"):
        kits.hyper(strategy="all")
    with pytest.warns(DeprecationWarning, match="called `SHARING`"):
        assert kits.STRATEGIES is kits.SHARING
