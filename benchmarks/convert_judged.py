"""Models of `keras.applications` and KerasHub, and what `tfhyper.convert` draws."""

import os
import tempfile
import warnings
from typing import Any

import convert_hub
import keras
import numpy as np
import tensorflow as tf
from convert_hub import ModelOfTable
from convert_layers import KITS, difference_of, mean_network

import tfhyper
from tfhyper import keras_private

CLASSES = 10
# The least that the architectures take, where it is not 32.
SIZES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}
# The smallest of each family, of one output. (KerasHub's ViT has a layer that does not
# come back from its config, and is in no file.)
WHOLE = (
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionV3",
    "InceptionResNetV2",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "Xception",
    "KerasHub BERT, text classifier",
    "KerasHub DistilBERT",
    "KerasHub EfficientNet",
    "KerasHub GPT-2, language model",
    "KerasHub Gemma, language model",
    "KerasHub MobileNet",
    "KerasHub ResNet, image classifier",
    "KerasHub RoBERTa",
)


def rows() -> dict[str, ModelOfTable]:
    """Returns the models that are here, by name."""
    names = [x for x in dir(keras.applications) if x[0].isupper()]
    found = {name: _application(name) for name in names}
    if convert_hub.is_installed():
        found |= convert_hub.MODELS
    return found


def _application(name: str) -> ModelOfTable:
    size = SIZES.get(name, 32)
    options = {"weights": None, "classes": CLASSES, "classifier_activation": None}
    return ModelOfTable(
        lambda: getattr(keras.applications, name)(
            input_shape=(size, size, 3), **options
        ),
        lambda: (
            np.random.default_rng(3).normal(size=(2, size, size, 3)).astype("float32")
        ),
    )


def make_model(row: ModelOfTable) -> keras.Model:
    """Returns a model of which no norm or bias is as it starts."""
    keras.utils.set_random_seed(1)
    model = row.make()
    rng = np.random.default_rng(1)
    adapted = {
        id(variable)
        for layer in model.layers
        if isinstance(layer, keras.layers.Normalization)
        for variable in layer.weights
    }
    for variable in model.weights:
        if id(variable) not in adapted and variable.name in _MOVED:
            moved = rng.uniform(*_MOVED[variable.name], variable.shape)
            variable.assign(moved)
    return model


_MOVED = {
    "beta": (-0.2, 0.2),
    "bias": (-0.2, 0.2),
    "gamma": (0.8, 1.2),
    "moving_mean": (-0.2, 0.2),
    "moving_variance": (0.8, 1.2),
}


def judge(model: keras.Model, inputs: Any, kit: str) -> dict[str, Any]:
    """Returns what becomes of a model with a kit, and how far the copy is from it.

    Args:
        model: the model.
        inputs: of it.
        kit: name of the kit in `convert_layers.KITS`.

    Returns:
        Counts of layers by their fate in `tfhyper.conversion_report`, the layers that
        are left with a warning and why, and `difference`, the largest one of the
        outputs at the mean over the largest of the outputs. Where the model cannot be
        converted: `error`, in the words of the exception.
    """
    report = tfhyper.conversion_report(model, KITS[kit]())
    left = sorted(
        {f"{type(x.layer).__name__}: {x.reason}" for x in report.layers if x.is_left}
    )
    found: dict[str, Any] = {
        **{action: len(report.of(action)) for action in ("replaced", "wrapped")},
        "kept": len(report.of("kept")),
        "left": left,
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            copy = tfhyper.convert(model, KITS[kit]())
    except ValueError as error:
        return {**found, "error": str(error)[:500]}
    given = mean_network(copy)(inputs, training=False)
    expected = model(inputs, training=False)
    return {**found, "difference": difference_of(given, expected)}


def go_the_whole_way(model: keras.Model, inputs: Any) -> dict[str, Any]:
    """Returns what a model of `kits.bayes` does after conversion, or raises an error.

    Args:
        model: the model, of one output.
        inputs: of it.

    Returns:
        `kl` in nats, `loss` of a step of training, and the largest differences of the
        mean outputs of three draws after loading a file (`loaded`) and an exported
        model (`exported`), over the largest output.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copy = tfhyper.convert(model, KITS["bayes"]())
    copy.compile(keras.optimizers.Adam(1e-5), "mse", jit_compile=False)
    targets = np.zeros_like(keras.ops.convert_to_numpy(model(inputs, training=False)))
    loss = float(copy.train_on_batch(inputs, targets))
    found = {"loss": loss, "kl": float(sum(copy.losses))}
    predictor = tfhyper.PosteriorPredictor(
        copy, 3, batch_norm="moving_average", outputs="mean", seed=1
    )
    expected = predictor.predict(inputs).mean
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "it.tfhyper")
        # Not all of KerasHub's layers are registered.
        with keras.saving.CustomObjectScope(_classes(copy)):
            predictor.save(file)
            loaded = tfhyper.PosteriorPredictor.load(file).predict(inputs).mean
        found["loaded"] = difference_of(loaded, expected)
        served = os.path.join(folder, "it")
        tfhyper.export.saved_model(predictor, served)
        serve = tf.saved_model.load(served).signatures["serving_default"]
        named = inputs if isinstance(inputs, dict) else {"inputs": inputs}
        tensors = {name: tf.constant(x) for name, x in named.items()}
        found["exported"] = difference_of(serve(**tensors)["mean"].numpy(), expected)
    return found


def _classes(model: keras.Model) -> dict[str, type]:
    """Returns the classes of layers that neither Keras nor this package has."""
    classes = {type(x) for x in keras_private.flatten_layers(model)}
    return {
        x.__name__: x
        for x in classes
        if x.__module__.split(".")[0] not in ("keras", "tfhyper")
    }
