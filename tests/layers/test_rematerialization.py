"""Layers that draw refuse to be run a second time for their gradient."""

import keras
import numpy as np
import pytest

import tfhyper
from tests.helpers.kits import make_kit
from tfhyper import layers

L = keras.layers
X = np.ones((4, 3), "float32")
KITS = (
    "hyper bayes mnf mc_dropout drop_connect concrete_dropout variational_dropout "
    "rank_one subspace bayesian_hypernet vbll"
).split()


def plain():
    return keras.Sequential(
        [keras.Input((3,)), L.Dense(4, activation="relu"), L.Dense(2, name="logits")]
    )


@pytest.mark.parametrize("kit", KITS)
def test_kits_refuse_the_scope(kit):
    model = plain()
    with keras.RematScope(mode="full"):
        with pytest.raises(
            ValueError, match="`keras.RematScope` must leave out layers"
        ):
            tfhyper.convert(model, make_kit(kit))


@pytest.mark.parametrize("mode", ["full", "larger_than", "list_of_layers"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.BayesDense(2, name="drawn"),
        lambda: layers.HyperDense(2, name="drawn"),
        lambda: layers.RandomVariables(L.Dense(2), name="drawn"),
        lambda: layers.MCDropout(0.5, name="drawn"),
    ],
    ids=["bayes", "hyper", "random_variables", "dropout"],
)
def test_layers_refuse_each_mode(make, mode):
    # Those inside of a layer have names of their own.
    names = ["drawn", "drawn_posterior", "latent_code"]
    with keras.RematScope(mode=mode, output_size_threshold=1, layer_names=names):
        layer = make()
    with pytest.raises(ValueError, match="`keras.RematScope` must leave out layers"):
        layer(X)


def test_what_runs_once_is_left_alone():
    with keras.RematScope(mode="activations"):
        layers.BayesDense(2)(X)
    with keras.RematScope(mode="list_of_layers", layer_names=["other"]):
        layers.BayesDense(2)(X)
    layers.BayesDense(2)(X)
