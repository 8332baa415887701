"""What is True or False is not taken from text, in which all but "" is true."""

import keras
import numpy as np
import pytest

import tfhyper
from tfhyper import checks, kits, layers, models, training


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_])
def test_bools_of_python_and_numpy_are_taken(value):
    found = checks.check_bool("name", value)
    assert type(found) is bool and found == value


def model():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


def predictor(kind, **options):
    return kind([model()] if kind is tfhyper.DeepEnsemble else model(), **options)


CALLS = {
    "mean_kernel": lambda x: layers.HyperDense(2, mean_kernel=x),
    "mean_kernel ": lambda x: kits.hyper(mean_kernel=x),
    "pruned": lambda x: layers.BayesDense(2, pruned=x),
    "trainable_prior_scale": lambda x: layers.BayesDense(2, trainable_prior_scale=x),
    "trainable_prior_scale ": lambda x: kits.bayes(10, trainable_prior_scale=x),
    "bottleneck": lambda x: models.pyramidnet(20, 48, bottleneck=x),
    "preactivation": lambda x: models.resnet_cifar(20, preactivation=x),
    "deterministic": lambda x: predictor(tfhyper.PosteriorPredictor, deterministic=x),
    "deterministic ": lambda x: predictor(tfhyper.DeepEnsemble, deterministic=x),
    "decay_generator": lambda x: training.compile_recipe(
        model(), 1, 1, decay_generator=x
    ),
    "fast_generator": lambda x: training.compile_adam_recipe(
        model(), 1, 1, fast_generator=x
    ),
    "nesterov": lambda x: training.compile_imagenet_recipe(model(), 1, 1, nesterov=x),
    "moped": lambda x: tfhyper.convert(model(), kits.bayes(10), moped=x),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("value", ["False", 1, None, np.array([True, False])])
def test_what_is_no_bool_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"`{name.strip()}` must be True or False"):
        CALLS[name](value)


def test_configs_with_text_are_refused():
    for layer in (layers.HyperDense(2), layers.BayesDense(2)):
        config = layer.get_config()
        for name, value in config.items():
            if name in ("mean_kernel", "pruned", "trainable_prior_scale"):
                with pytest.raises((ValueError, TypeError), match=f"`{name}` must be"):
                    type(layer).from_config({**config, name: str(value)})
